"""Keys in the sound: every key at every rate, bent as the standards allow; speech and music are none."""

from __future__ import annotations

import numpy as np
import pytest

from offhook.audio.dtmf import KeyDetector
from offhook.audio.pcm import Frame
from offhook.audio.tones import dtmf_tone, ring_back, sine

KEYS = "0123456789*#ABCD"


def heard(samples: Frame, rate: int) -> str:
    detector, size = KeyDetector(rate), rate // 50
    return "".join(detector.hear(samples[at : at + size]) for at in range(0, len(samples) - size + 1, size))


def pressed(keys: str, rate: int, ms: int = 80, gap: int = 60, offset: int = 0, amplitude: int = 10000) -> Frame:
    pause = np.zeros(rate * gap // 1000, np.int16)
    parts = [np.zeros(offset, np.int16)]
    for key in keys:
        parts += [dtmf_tone(key, rate, ms, amplitude), pause]
    return np.concatenate([*parts, np.zeros(rate // 10, np.int16)])


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("offset", [0, 40, 80, 120])
def test_every_key_wherever_it_falls(rate: int, offset: int) -> None:
    assert heard(pressed(KEYS, rate, 70, 60, offset), rate) == KEYS


def test_one_key_held_is_one_and_pressed_twice_is_two() -> None:
    assert heard(pressed("5", 8000, 600), 8000) == "5"
    assert heard(pressed("5555", 8000, 80, 60), 8000) == "5555"


@pytest.mark.parametrize("low", [697, 770, 852, 941])
@pytest.mark.parametrize(("bend", "twist"), [(1.015, 0), (0.985, 0), (1.0, 6), (1.0, -4)])
def test_bent_tones_and_twist(low: int, bend: float, twist: float) -> None:
    """1.5 % off must be taken (Q.24), and one tone some decibels above the other."""
    key = {697: "1", 770: "4", 852: "7", 941: "*"}[low]
    one = sine(low * bend, 8000, 0.1, round(4000 * 10 ** (-twist / 20)))
    other = sine(1209 * bend, 8000, 0.1, 4000)
    assert heard(np.concatenate([one + other, np.zeros(800, np.int16)]).astype(np.int16), 8000) == key


def test_with_noise_behind() -> None:
    samples = pressed(KEYS, 8000).astype(float)
    noise = np.random.default_rng(1).standard_normal(len(samples)) * 10000 / 2 * 10 ** (-18 / 20)
    assert heard(np.clip(samples + noise, -32768, 32767).astype(np.int16), 8000) == KEYS


def test_what_is_too_faint_too_short_or_something_else_is_no_key() -> None:
    assert heard(pressed("123", 8000, amplitude=100), 8000) == ""
    assert heard(pressed("123", 8000, 20), 8000) == ""
    assert heard(ring_back(8000), 8000) == ""
    assert heard(np.concatenate([sine(697, 8000, 0.5), sine(1209, 8000, 0.5)]), 8000) == ""


def test_a_voice_is_no_key() -> None:
    """Ten minutes of vowels: harmonics of a gliding pitch under moving formants."""
    rng, rate = np.random.default_rng(7), 8000
    found = ""
    for _ in range(600):
        at = np.arange(rate) / rate
        pitch = rng.uniform(90, 260) + rng.uniform(-60, 60) * at
        phase = 2 * np.pi * np.cumsum(pitch) / rate
        formants = rng.uniform((300, 900, 2200), (800, 2000, 3200))
        voice = np.zeros(rate)
        for harmonic in range(1, 30):
            strength = sum(np.exp(-(((harmonic * pitch[::80] - f) / 120) ** 2)) for f in formants)
            voice += np.repeat(strength, 80) * np.sin(harmonic * phase)
        voice *= 8000 / max(np.abs(voice).max(), 1)
        found += heard(voice.astype(np.int16), rate)
    assert found == ""
