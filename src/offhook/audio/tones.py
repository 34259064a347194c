"""Tones made from sines: test tones, DTMF keys (ITU-T Q.23) and call-progress tones (ITU-T E.180 Supplement 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import cycle
from math import isfinite, pi

import numpy as np

from offhook.audio.pcm import FRAMES_PER_SECOND, Frame, fade_in, fade_out, samples_per_frame
from offhook.errors import AudioError

AMPLITUDE = 10_000
"""Peak of a tone when nothing else is asked for: 10 dB under full scale."""

_ROWS, _COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
_KEYPAD = ("123A", "456B", "789C", "*0#D")
_PAIRS = {key: (_ROWS[row], _COLUMNS[column]) for row, keys in enumerate(_KEYPAD) for column, key in enumerate(keys)}
_EDGE_MS = 2
_LOOP_FRAMES = FRAMES_PER_SECOND


def sine(hz: float, rate: int, seconds: float, amplitude: int = AMPLITUDE) -> Frame:
    """`seconds` of a sine that starts at zero, rising; round(rate * seconds) samples.

    AudioError for a frequency that is not above 0 and below half the rate.
    """
    _check(hz, rate)
    return _sum_of_sines((hz,), rate, round(rate * seconds), amplitude)


class ToneSource:
    """An endless sine in 20 ms frames without a seam: `next()` gives the next one.

    Whole numbers of Hz repeat within a second, so their frames are made once and shared, read-only.
    AudioError for a rate that is not in `RATES` and for a frequency as in `sine`.
    """

    __slots__ = ("next",)

    next: Callable[[], Frame]

    def __init__(self, hz: float, rate: int, amplitude: int = AMPLITUDE) -> None:
        samples_per_frame(rate)
        _check(hz, rate)
        whole = float(hz).is_integer()
        frames = cycle(_loop(int(hz), rate, amplitude)) if whole else _endless(hz, rate, amplitude)
        self.next = frames.__next__


def dtmf_tone(character: str, rate: int, ms: int = 100, amplitude: int = AMPLITUDE) -> Frame:
    """The two tones of a key, each of half the `amplitude`, with edges of 2 ms that do not click.

    `character` is one of 0-9 * # A-D (a-d too); AudioError for another one, and for a length that is not above 0.
    """
    pair = _PAIRS.get(character.upper())
    if pair is None:
        raise AudioError(f"{character!r} is no DTMF key; use one of {' '.join(_PAIRS)}")
    if ms <= 0:
        raise AudioError(f"a tone of {ms} ms cannot be made; the length must be above 0")
    _check(pair[1], rate)
    return _soft(_sum_of_sines(pair, rate, rate * ms // 1000, amplitude // 2), rate)


def ring_back(rate: int, amplitude: int = AMPLITUDE) -> Frame:
    """One turn of the North American ringing tone: 440 and 480 Hz for 2 s, then 4 s of silence."""
    return _cadence((440, 480), rate, (2.0, 4.0), amplitude)


def busy(rate: int, amplitude: int = AMPLITUDE) -> Frame:
    """One turn of the North American busy tone: 480 and 620 Hz for 0.5 s, then 0.5 s of silence."""
    return _cadence((480, 620), rate, (0.5, 0.5), amplitude)


def _check(hz: float, rate: int) -> None:
    if not (isfinite(hz) and 0 < hz < rate / 2):
        raise AudioError(f"a tone of {hz:g} Hz cannot be made at {rate} Hz; it must be above 0 and below {rate // 2}")


def _sum_of_sines(frequencies: tuple[float, ...], rate: int, size: int, amplitude: int) -> Frame:
    at = np.arange(size) * (2 * pi / rate)
    total = sum((np.sin(at * hz) for hz in frequencies), np.zeros(size))
    return np.clip(np.rint(total * amplitude), -32768, 32767).astype(np.int16)


def _soft(samples: Frame, rate: int) -> Frame:
    edge = rate * _EDGE_MS // 1000
    return fade_out(fade_in(samples, edge), edge)


def _cadence(frequencies: tuple[float, ...], rate: int, seconds: tuple[float, float], amplitude: int) -> Frame:
    samples_per_frame(rate)
    on, off = (round(rate * part) for part in seconds)
    tone = _soft(_sum_of_sines(frequencies, rate, on, amplitude // 2), rate)
    return np.concatenate((tone, np.zeros(off, np.int16)))


@lru_cache(maxsize=32)
def _loop(hz: int, rate: int, amplitude: int) -> tuple[Frame, ...]:
    """One second of a whole number of Hz, cut into frames."""
    second = _sum_of_sines((hz,), rate, rate, amplitude)
    second.flags.writeable = False
    return tuple(np.split(second, _LOOP_FRAMES))


def _endless(hz: float, rate: int, amplitude: int) -> Iterator[Frame]:
    """Any frequency: the first frame's sine and cosine, turned on by the phase that each frame starts with."""
    size = samples_per_frame(rate)
    at = np.arange(size) * (2 * pi * hz / rate)
    waves = np.array((np.sin(at), np.cos(at))) * amplitude
    turns, step = 0.0, hz / FRAMES_PER_SECOND
    while True:
        angle = 2 * pi * turns
        yield np.rint(np.array((np.cos(angle), np.sin(angle))) @ waves).astype(np.int16)
        turns = (turns + step) % 1.0
