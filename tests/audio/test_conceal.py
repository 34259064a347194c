"""Loss concealment: what is put in the place of a missing frame, and how the next good one joins it."""

from __future__ import annotations

import numpy as np
import pytest

from offhook.audio.conceal import Concealer
from offhook.audio.pcm import Frame, samples_per_frame
from offhook.audio.tones import sine


def voiced(rate: int, hz: float = 120.0, seconds: float = 1.0) -> Frame:
    """Something like a vowel: a fundamental with overtones."""
    parts = [sine(hz * n, rate, seconds, 8000 // n).astype(int) for n in (1, 2, 3, 4)]
    return np.clip(sum(parts), -32768, 32767).astype(np.int16)


def feed(concealer: Concealer, samples: Frame, size: int, count: int) -> None:
    for start in range(0, count * size, size):
        concealer.heard(samples[start : start + size])


@pytest.mark.parametrize("rate", [8000, 16000])
def test_a_vowel_goes_on_in_its_pitch(rate: int) -> None:
    size, speech, concealer = samples_per_frame(rate), voiced(rate), Concealer(rate)
    feed(concealer, speech, size, 10)
    made, real = concealer.conceal().astype(float), speech[10 * size : 11 * size].astype(float)
    likeness = (made @ real) / np.sqrt((made @ made) * (real @ real))
    assert likeness > 0.9
    assert abs(int(made[0]) - int(speech[10 * size - 1])) < 4000  # no click where it begins


def test_it_fades_and_is_silent_after_sixty_milliseconds() -> None:
    concealer, speech = Concealer(8000), voiced(8000)
    feed(concealer, speech, 160, 10)
    levels = [float(np.abs(concealer.conceal()).max()) for _ in range(5)]
    assert levels[0] > levels[1] > levels[2] > 0
    assert levels[3] == levels[4] == 0


def test_the_next_good_frame_is_blended_in() -> None:
    concealer, speech = Concealer(8000), voiced(8000)
    feed(concealer, speech, 160, 10)
    last = concealer.conceal()
    good = speech[11 * 160 : 12 * 160]
    joined = concealer.heard(good)
    assert np.array_equal(joined[32:], good[32:]) and not np.array_equal(joined[:32], good[:32])
    steps = np.abs(np.diff(np.concatenate((last[-4:], joined[:40])).astype(int)))
    assert steps.max() < np.abs(np.diff(speech.astype(int))).max() * 1.5


def test_without_loss_nothing_is_changed_and_silence_stays_silence() -> None:
    concealer, speech = Concealer(8000), voiced(8000)
    assert all(np.array_equal(concealer.heard(speech[n : n + 160]), speech[n : n + 160]) for n in range(0, 1600, 160))
    assert not Concealer(8000).conceal().any()
