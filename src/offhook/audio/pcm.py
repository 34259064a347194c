"""Frames of PCM: 20 ms of mono 16-bit samples (RFC 3551 L16 made little-endian, protocol.md §2.4).

Owns the rates, silence, bytes in and out, mixing, gain, fades, level, and the comparison of two recordings.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from offhook.errors import AudioError

Frame = npt.NDArray[np.int16]
"""Mono PCM16. A frame proper has `samples_per_frame(rate)` samples; whole recordings use the same type."""

PTIME_MS = 20
FRAMES_PER_SECOND = 50
RATES = (8000, 16000, 24000, 48000)
FLOOR_DBFS = -120.0

_LOW, _HIGH = -32768, 32767
_FULL_SCALE = 32768.0
_ACTIVE_DBFS = -50.0
_GAP_MS = 5


def samples_per_frame(rate: int) -> int:
    """Samples in 20 ms at `rate` Hz. AudioError for a rate that is not in `RATES`."""
    if rate not in RATES:
        raise AudioError(f"sample rate {rate} Hz is not supported; use one of {', '.join(map(str, RATES))}")
    return rate // FRAMES_PER_SECOND


@cache
def silence(rate: int) -> Frame:
    """The one zero frame of `rate` Hz, shared and read-only."""
    frame = np.zeros(samples_per_frame(rate), np.int16)
    frame.flags.writeable = False
    return frame


def from_bytes(data: bytes | bytearray | memoryview) -> Frame:
    """Little-endian PCM16 as samples, read-only where `data` is and without a copy where the machine agrees.

    AudioError for an odd byte count.
    """
    size = data.nbytes if isinstance(data, memoryview) else len(data)
    if size % 2:
        raise AudioError(f"{size} bytes are no 16-bit samples; the count must be even")
    samples = np.frombuffer(data, np.dtype("<i2"))
    return samples if sys.byteorder == "little" else samples.astype(np.int16)


def to_bytes(samples: Frame) -> bytes:
    """Samples as little-endian PCM16."""
    return samples.astype("<i2", copy=False).tobytes()


def saturate(wide: npt.NDArray[np.int32]) -> Frame:
    """32-bit sums as 16-bit samples, held at the ends of the range; `wide` is overwritten."""
    return np.clip(wide, _LOW, _HIGH, out=wide).astype(np.int16)


def mix(frames: Sequence[Frame]) -> Frame:
    """The saturating sum of frames of one length. AudioError when there is none or the lengths differ."""
    return saturate(total(frames))


def total(frames: Sequence[Frame]) -> npt.NDArray[np.int32]:
    """The plain sum of frames of one length in 32 bits. AudioError as for `mix`."""
    if not frames:
        raise AudioError("there is no frame to mix")
    wide = frames[0].astype(np.int32)
    for frame in frames[1:]:
        if len(frame) != len(wide):
            raise AudioError(f"frames of {len(wide)} and {len(frame)} samples cannot be mixed; resample one first")
        wide += frame
    return wide


def gain(frame: Frame, db: float) -> Frame:
    """The frame `db` decibels louder, rounded and saturating; 0 dB gives the frame itself."""
    if db == 0:
        return frame
    scaled = frame * np.float64(10.0 ** (db / 20))
    return np.clip(np.rint(scaled, out=scaled), _LOW, _HIGH, out=scaled).astype(np.int16)


def level_dbfs(frame: Frame) -> float:
    """RMS level in dB under full scale (a full-scale square wave is 0 dB); silence is -120.0."""
    if not len(frame):
        return FLOOR_DBFS
    wide = frame.astype(np.float64)
    power = float(wide @ wide) / len(wide) / _FULL_SCALE**2
    return max(FLOOR_DBFS, 10 * float(np.log10(power))) if power else FLOOR_DBFS


def fade_in(samples: Frame, length: int) -> Frame:
    """A copy whose first `length` samples rise in a straight line from nothing."""
    return fade_out(samples[::-1], length)[::-1].copy()


def fade_out(samples: Frame, length: int) -> Frame:
    """A copy whose last `length` samples fall in a straight line to exactly nothing."""
    faded = samples.copy()
    length = min(max(length, 0), len(faded))
    if length:
        ramp = np.arange(length - 1, -1, -1, dtype=np.float64) / length
        faded[-length:] = np.rint(faded[-length:] * ramp).astype(np.int16)
    return faded


def find_delay(reference: Frame, heard: Frame, max_lag: int) -> int:
    """By how many samples `heard` is behind `reference`: the lag of 0..max_lag where they correlate best.

    Both are at one rate. The correlation of each lag is divided by the energy of the part of `heard` that it
    compares, so that a loud passage elsewhere cannot win. 0 when either is silent or empty.
    """
    lags = min(max_lag, len(heard) - 1) + 1
    if lags <= 0 or not reference.any() or not heard.any():
        return 0
    span = len(reference) + lags
    size = 1 << (span + len(heard)).bit_length()
    spectrum = np.conj(np.fft.rfft(reference, size)) * np.fft.rfft(heard, size)
    cross = np.fft.irfft(spectrum, size)[:lags]
    energy = np.concatenate(([0.0], np.cumsum(np.square(heard, dtype=np.float64))))
    ends = np.minimum(np.arange(lags) + len(reference), len(heard))
    own = energy[ends] - energy[:lags]
    # A floor keeps a lag that compares almost nothing from dividing noise by nothing.
    return int(np.argmax(cross / np.sqrt(np.maximum(own, own.max() * 1e-3))))


def correlation(a: Frame, b: Frame) -> float:
    """Normalised correlation of two recordings over the shorter length: 1.0 same shape, 0.0 unrelated or silent."""
    size = min(len(a), len(b))
    left, right = a[:size].astype(np.float64), b[:size].astype(np.float64)
    scale = float(np.sqrt(left @ left) * np.sqrt(right @ right)) if size else 0.0
    return float(left @ right) / scale if scale else 0.0


def longest_gap(reference: Frame, heard: Frame, delay: int, rate: int) -> int:
    """The longest run of samples, where the reference speaks, that `heard` lacks.

    `reference` is cut into 5 ms windows; those above -50 dBFS speak. A sample is lacking when `heard`, `delay`
    samples later, is digital zero in a run of at least 5 ms that lies in speaking windows, or ends before it: speech
    has lone zeros where it crosses the axis, but no 5 ms of them. The result is in samples, 0 when nothing lacks.
    """
    window = max(1, rate * _GAP_MS // 1000)
    speaks = _speaking(reference, window)
    there = np.zeros(len(reference), np.int16)
    shifted = heard[max(delay, 0) :][: len(reference)]
    there[: len(shifted)] = shifted
    longest = _longest_run(speaks & (there == 0))
    return longest if longest >= window else 0


def _speaking(samples: Frame, window: int) -> npt.NDArray[np.bool_]:
    """For each sample whether its window is above -50 dBFS."""
    whole = -(-len(samples) // window)
    padded = np.zeros(whole * window)
    padded[: len(samples)] = samples
    power = np.mean(np.square(padded.reshape(whole, window)), axis=1)
    loud = power > (_FULL_SCALE * 10 ** (_ACTIVE_DBFS / 20)) ** 2
    return np.repeat(loud, window)[: len(samples)]


def _longest_run(flags: npt.NDArray[np.bool_]) -> int:
    """Length of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False]))))
    return int(np.max(edges[1::2] - edges[::2], initial=0))
