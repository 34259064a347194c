"""Turns: what is speech, and timing of conversations whose truth is known, to a frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.audio.pcm import Frame
from offhook.audio.turns import Levels, Spell, Turn, activity, barged, interrupted, levels_of, thresholds, turns

RATE = 16000
SIZE = RATE // 50


def sound(seconds: float, *parts: tuple[float, float, float], noise_dbfs: float = -120, rate: int = RATE) -> Frame:
    """Tones (begin, end, dBFS) in noise of a level."""
    rng, count = np.random.default_rng(5), round(seconds * rate)
    wave = rng.normal(0, 32768 * 10 ** (noise_dbfs / 20), count) if noise_dbfs > -120 else np.zeros(count)
    for begin, end, level in parts:
        at = np.arange(round(begin * rate), round(end * rate))
        wave[at] += 32768 * 10 ** (level / 20) * np.sqrt(2) * np.sin(2 * np.pi * 440 * at / rate)
    return np.clip(wave, -32768, 32767).astype(np.int16)


def spells(wave: Frame, rate: int = RATE) -> list[tuple[int, int]]:
    return [(spell.begin, spell.end) for spell in activity(levels_of(wave, rate // 50))]


def test_levels_are_rms_of_whole_frames() -> None:
    wave = np.concatenate([np.full(SIZE, 32767), np.zeros(SIZE), np.full(SIZE, 328), np.zeros(7)]).astype(np.int16)
    assert levels_of(wave, SIZE).tolist() == pytest.approx(
        [
            0,
            -120,
            -40,
        ],
        abs=0.02,
    )


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
def test_speech_is_found_where_it_is(rate: int) -> None:
    wave = sound(4, (1.0, 1.5, -20), (2.5, 3.0, -30), rate=rate)
    assert spells(wave, rate) == [(50, 75), (125, 150)]


def test_silence_has_no_speech() -> None:
    assert spells(sound(3)) == []
    assert thresholds(levels_of(sound(1), SIZE)) is None
    assert activity(np.zeros(0, np.float32)) == []


@pytest.mark.parametrize("level", [-70, -55, -50, -45, -40])
def test_noise_is_no_speech_and_speech_in_noise_is(level: float) -> None:
    assert spells(sound(5, noise_dbfs=level)) == []
    found = spells(sound(5, (2.0, 3.0, level + 20), noise_dbfs=level))
    assert len(found) == 1
    assert np.abs(np.array(found[0]) - [100, 150]).max() <= 1


def test_noise_that_begins_only_when_the_line_is_there_is_no_speech() -> None:
    wave = np.concatenate([sound(1), sound(4, (2.0, 3.0, -15), noise_dbfs=-42)])
    [found] = spells(wave)
    assert np.abs(np.array(found) - [150, 200]).max() <= 1


def test_one_long_tone_is_sound() -> None:
    assert spells(sound(3, (0, 3, -20))) == [(0, 150)]


def test_pauses_within_the_hangover_belong_to_it_and_clicks_do_not() -> None:
    assert spells(sound(3, (0.5, 1.0, -20), (1.3, 1.8, -20))) == [(25, 90)]
    assert spells(sound(3, (0.5, 1.0, -20), (1.32, 1.8, -20))) == [(25, 50), (66, 90)]
    assert spells(sound(3, (1.0, 1.04, -20))) == []


def test_soft_ends_of_words_belong_to_them() -> None:
    """Hysteresis: under the level at which speech begins, over that at which it pauses."""
    wave = sound(5, (0.9, 1.0, -53), (1.0, 1.4, -35), (1.4, 1.6, -52), noise_dbfs=-60)
    assert spells(wave) == [(45, 80)]


def of(*parts: tuple[int, int]) -> list[Spell]:
    return [Spell(*part) for part in parts]


def test_a_turn_is_from_the_end_of_speech_to_the_first_sound() -> None:
    assert turns(of((50, 100), (200, 250)), of((0, 40), (130, 180), (275, 300))) == [Turn(100, 130), Turn(250, 275)]


def test_no_turn_without_an_end_in_silence() -> None:
    assert turns([], of((0, 40))) == []
    assert turns(of((50, 100)), []) == [Turn(100, None)]
    assert turns(of((50, 100)), of((90, 200))) == []  # double talk: it was heard before the end
    assert turns(of((50, 100), (120, 150)), of((160, 200))) == [Turn(150, 160)]  # the caller spoke on
    assert turns(of((50, 100)), of((900, 950))) == [Turn(100, None)]  # that is no answer any more
    assert turns(of((50, 100)), of((100, 150))) == [Turn(100, 100)]


def test_a_barge_in_is_speech_over_the_apps_sound_before_its_stop() -> None:
    app = of((0, 120))
    assert barged(of((80, 140)), app, 118) == 80
    assert barged(of((20, 40), (80, 140)), app, 118) == 80
    assert barged([], app, 118) is None
    assert barged(of((80, 140)), app, 60) is None  # it stopped before
    assert barged(of((80, 140)), [], 118) is None
    assert barged(of((10, 20)), of((0, 500)), 400) is None  # long ago
    assert barged(of((0, 140)), of((10, 120)), 118) is None  # the caller was first


def test_sound_that_ends_soon_after_the_caller_spoke_over_it() -> None:
    assert interrupted(of((80, 140)), of((0, 120))) == [(80, 120)]
    assert interrupted(of((80, 100)), of((0, 120))) == []
    assert interrupted(of((80, 400)), of((0, 300))) == []
    assert interrupted(of((80, 400)), of((90, 100))) == []


@given(st.lists(st.tuples(st.integers(16, 60), st.integers(5, 60)), min_size=1, max_size=8))
def test_spells_are_found_whatever_their_rhythm(parts: list[tuple[int, int]]) -> None:
    """Gaps longer than the hangover, speech longer than a click: each spell is there, exact to the frame."""
    levels, truth = [], []
    for gap, length in parts:
        levels += [-120.0] * gap
        truth.append(Spell(len(levels), len(levels) + length))
        levels += [-20.0] * length
    assert activity(np.array(levels, np.float32)) == truth


@given(st.lists(st.floats(-120, 0, width=32), max_size=200))
def test_any_levels_give_spells_in_order(levels: list[float]) -> None:
    found = activity(np.array(levels, np.float32))
    edges = [edge for spell in found for edge in (spell.begin, spell.end)]
    assert edges == sorted(set(edges))
    assert all(0 <= edge <= len(levels) for edge in edges)


def test_levels_type() -> None:
    made: Levels = levels_of(sound(0.1), SIZE)
    assert made.dtype == np.float32
