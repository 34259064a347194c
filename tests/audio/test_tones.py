"""Test tones, DTMF keys and call-progress tones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offhook.audio.pcm import RATES, Frame, samples_per_frame
from offhook.audio.tones import ToneSource, busy, dtmf_tone, ring_back, sine
from offhook.errors import AudioError

ROWS, COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
PAD = {
    key: (ROWS[r], COLUMNS[c]) for r, keys in enumerate(["123A", "456B", "789C", "*0#D"]) for c, key in enumerate(keys)
}


def strength(samples: Frame, hz: float, rate: int) -> float:
    """Amplitude of one frequency."""
    turn = np.exp(-2j * np.pi * hz / rate * np.arange(len(samples)))
    return float(2 * abs(turn @ samples) / len(samples))


def taken(source: ToneSource, frames: int) -> Frame:
    return np.concatenate([source.next() for _ in range(frames)])


def test_sine_has_its_length_frequency_and_peak() -> None:
    tone = sine(1000, 16000, 0.5, 12000)
    assert len(tone) == 8000
    assert tone[0] == 0
    assert tone[1] > 0
    assert tone.max() == 12000
    assert tone.min() == -12000
    assert strength(tone, 1000, 16000) == pytest.approx(12000, rel=1e-3)


@pytest.mark.parametrize("hz", [0, -1, 8000, 9000, float("nan"), float("inf")])
def test_a_frequency_that_the_rate_cannot_carry_is_refused(hz: float) -> None:
    for make in (lambda: sine(hz, 16000, 1), lambda: ToneSource(hz, 16000)):
        with pytest.raises(AudioError, match="it must be above 0 and below 8000"):
            make()


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("hz", [440, 1000.0, 1, 333])
def test_frames_of_a_whole_frequency_run_on_without_a_seam(hz: float, rate: int) -> None:
    frames = taken(ToneSource(hz, rate), 120)
    assert len(frames) == 120 * samples_per_frame(rate)
    assert np.abs(frames.astype(int) - sine(hz, rate, 2.4)).max() <= 1


@settings(deadline=None)
@given(st.floats(20, 3900), st.sampled_from(RATES))
def test_frames_of_any_frequency_run_on_without_a_seam(hz: float, rate: int) -> None:
    frames = taken(ToneSource(hz, rate), 60)
    assert np.abs(frames.astype(int) - sine(hz, rate, 1.2)).max() <= 1


def test_a_fraction_of_a_hertz_still_fits_after_an_hour() -> None:
    source, rate, frames = ToneSource(440.7, 8000), 8000, 20_000
    last = [source.next() for _ in range(frames)][-1]
    at = (frames - 1) * 160 + np.arange(160)
    expected = 10_000 * np.sin(2 * np.pi * ((440.7 * at / rate) % 1.0))
    assert np.abs(last - expected).max() < 1


def test_sources_share_frames_that_nobody_can_change() -> None:
    one, two = ToneSource(440, 16000), ToneSource(440, 16000)
    first = one.next()
    assert two.next() is first
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1


def test_a_source_wants_a_rate_of_the_tick() -> None:
    with pytest.raises(AudioError, match="44100"):
        ToneSource(440, 44100)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("key", list(PAD))
def test_a_key_sounds_its_two_frequencies_and_no_other(key: str, rate: int) -> None:
    tone = dtmf_tone(key, rate, 200)
    assert len(tone) == rate // 5
    for hz in ROWS + COLUMNS:
        level = strength(tone, hz, rate)
        assert level > 4500 if hz in PAD[key] else level < 500
    assert np.abs(tone).max() <= 10_000


def test_a_key_starts_and_ends_softly() -> None:
    tone = dtmf_tone("5", 8000, 80)
    assert tone[0] == tone[-1] == 0
    assert np.abs(tone[:4]).max() < 3000


def test_small_letters_are_keys_and_other_characters_are_not() -> None:
    assert (dtmf_tone("d", 8000) == dtmf_tone("D", 8000)).all()
    for wrong in ("E", "", "11", "é"):
        with pytest.raises(AudioError, match="is no DTMF key"):
            dtmf_tone(wrong, 8000)
    with pytest.raises(AudioError, match="0 ms"):
        dtmf_tone("1", 8000, 0)


def test_ring_back_and_busy_keep_their_cadence() -> None:
    ring, engaged = ring_back(16000), busy(16000)
    assert len(ring) == 6 * 16000
    assert not ring[2 * 16000 :].any()
    assert strength(ring[: 2 * 16000], 440, 16000) == pytest.approx(5000, rel=0.02)
    assert strength(ring[: 2 * 16000], 480, 16000) == pytest.approx(5000, rel=0.02)
    assert len(engaged) == 16000
    assert not engaged[8000:].any()
    assert strength(engaged[:8000], 620, 16000) == pytest.approx(5000, rel=0.02)
