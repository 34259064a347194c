"""The live resampler measured: quality of every pair of rates, and its cost one call at a time and in a batch.

usage: OPENBLAS_NUM_THREADS=1 python bench/resample.py [--rounds N] [--json]. Method: docs/audio.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import permutations

import numpy as np
import numpy.typing as npt

from offhook.audio.pcm import RATES, Frame, samples_per_frame
from offhook.audio.resample import BlockResampler, StreamResampler, delay_seconds

AMPLITUDE = 20_000
PASS_BAND = np.linspace(0.025, 0.85, 12)
STOP_BAND_FROM = 1.2
PAIRS = list(permutations(RATES, 2))
BATCH = 100
SECONDS = 1

Convert = Callable[[Frame, int, int], Frame]


@dataclass(frozen=True)
class Fit:
    """A sine found in samples: amplitude, phase at sample 0 in radians, and RMS of all that is not it."""

    amplitude: float
    phase: float
    rest: float


@dataclass(frozen=True)
class Quality:
    """Of one pair of rates; decibels, except the delay in ms. None where the pair has no such band."""

    snr_db: float
    droop_db: float
    ripple_db: float
    images_db: float | None
    aliases_db: float | None
    delay_ms: float


@dataclass(frozen=True)
class Cost:
    """Microseconds per frame of one call: one at a time, in a batch, and how many times cheaper the batch is."""

    one_us: float
    batch_us: float
    ratio: float


def live(samples: Frame, from_rate: int, to_rate: int) -> Frame:
    """The samples through a `StreamResampler`, frame by frame."""
    resampler, size = StreamResampler(from_rate, to_rate), samples_per_frame(from_rate)
    return np.concatenate([resampler.process(samples[i : i + size]) for i in range(0, len(samples), size)])


def sounding(hz: float, rate: int) -> Frame:
    """A second of a sine of amplitude 20000."""
    wave: npt.NDArray[np.float64] = AMPLITUDE * np.sin(2 * np.pi * hz / rate * np.arange(rate * SECONDS))
    return np.rint(wave).astype(np.int16)


def fit(samples: Frame, hz: float, rate: int) -> Fit:
    """The least-squares sine of `hz` in the middle half of the samples."""
    at = np.arange(len(samples) // 4, len(samples) * 3 // 4)
    turn = 2 * np.pi * hz / rate * at
    base = np.column_stack((np.sin(turn), np.cos(turn), np.ones(len(at))))
    wave = samples[at].astype(np.float64)
    (sine, cosine, constant), *_ = np.linalg.lstsq(base, wave)
    rest = wave - base @ np.array((sine, cosine, constant))
    return Fit(float(np.hypot(sine, cosine)), float(np.arctan2(cosine, sine)), float(np.sqrt(np.mean(rest**2))))


def quality(from_rate: int, to_rate: int, convert: Convert = live) -> Quality:
    """Pass band, images, aliases and delay of one pair."""
    half = min(from_rate, to_rate) / 2
    tones = [float(share * half) for share in PASS_BAND]
    outs = [convert(sounding(hz, from_rate), from_rate, to_rate) for hz in tones]
    fits = [fit(out, hz, to_rate) for out, hz in zip(outs, tones, strict=True)]
    gains = [decibels(found.amplitude / AMPLITUDE) for found in fits]
    return Quality(
        snr_db=min(decibels(found.amplitude / np.sqrt(2) / found.rest) for found in fits),
        droop_db=-gains[-1],
        ripple_db=max(gains) - min(gains),
        images_db=_images(tones, outs, from_rate, to_rate),
        aliases_db=_aliases(convert, from_rate, to_rate),
        delay_ms=1000 * max(_delay(hz, from_rate, to_rate, convert) for hz in tones),
    )


def decibels(ratio: float) -> float:
    """20 log10, not below -200."""
    return float(20 * np.log10(max(ratio, 1e-10)))


def cost(from_rate: int, to_rate: int, rounds: int) -> Cost:
    """Medians of `rounds` interleaved rounds, in CPU time of this process."""
    size = samples_per_frame(from_rate)
    chance = np.random.default_rng(1)
    frame = chance.integers(-9000, 9000, size).astype(np.int16)
    resampler, block = StreamResampler(from_rate, to_rate), BlockResampler(BATCH, from_rate, to_rate)
    block.inputs[:] = chance.integers(-9000, 9000, (BATCH, size))

    def one() -> None:
        resampler.process(frame)

    pairs = [(_microseconds(one, 400), _microseconds(block.run, 12) / BATCH) for _ in range(rounds)]
    single, many = zip(*pairs, strict=True)
    ratio = statistics.median(a / b for a, b in pairs)
    return Cost(statistics.median(single), statistics.median(many), ratio)


def main() -> None:
    """Print a line for each pair, or one JSON object."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=11)
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        sys.exit("set OPENBLAS_NUM_THREADS=1: the threads of numpy's products make small ones many times slower")
    rows = []
    for pair in PAIRS:
        found, spent = quality(*pair), cost(*pair, chosen.rounds)
        rows.append({"from": pair[0], "to": pair[1], **asdict(found), **asdict(spent)})
        if not chosen.json:
            print(_line(pair, found, spent), flush=True)
    if chosen.json:
        machine = f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}"
        print(json.dumps({"bench": "resample", "machine": machine, "batch": BATCH, "pairs": rows}))


def _images(tones: list[float], outs: list[Frame], from_rate: int, to_rate: int) -> float | None:
    """The strongest mirror of a pass-band tone at k * from_rate +- hz, against the tone; only when rates go up."""
    found = [
        decibels(fit(out, image, to_rate).amplitude / AMPLITUDE)
        for hz, out in zip(tones, outs, strict=True)
        for image in (k * from_rate + side * hz for k in range(1, to_rate // from_rate + 1) for side in (-1, 1))
        if image < to_rate / 2
    ]
    return max(found) if found else None


def _aliases(convert: Convert, from_rate: int, to_rate: int) -> float | None:
    """The most that is left, against the tone, of tones from 1.2 x the new half rate up; only when rates go down."""
    first, last = STOP_BAND_FROM * to_rate / 2, 0.98 * from_rate / 2
    if first >= last:
        return None
    outs = (convert(sounding(float(hz), from_rate), from_rate, to_rate) for hz in np.linspace(first, last, 20))
    rms = (np.sqrt(np.mean(out[len(out) // 4 :].astype(np.float64) ** 2)) for out in outs)
    return max(decibels(float(left) / (AMPLITUDE / np.sqrt(2))) for left in rms)


def _delay(hz: float, from_rate: int, to_rate: int, convert: Convert) -> float:
    """Group delay in seconds: how the phase shift differs between two tones 20 Hz apart."""
    shifts = []
    for near in (hz - 10, hz + 10):
        tone = sounding(near, from_rate)
        out = convert(tone, from_rate, to_rate)
        shifts.append(fit(tone, near, from_rate).phase - fit(out, near, to_rate).phase)
    turn = (shifts[1] - shifts[0] + np.pi) % (2 * np.pi) - np.pi
    return float(turn / (2 * np.pi * 20))


def _microseconds(step: Callable[[], None], times: int) -> float:
    started = time.process_time_ns()
    for _ in range(times):
        step()
    return (time.process_time_ns() - started) / times / 1000


def _line(pair: tuple[int, int], found: Quality, spent: Cost) -> str:
    """One row of the table."""

    def band(value: float | None) -> str:
        return "      -" if value is None else f"{value:7.1f}"

    return (
        f"{pair[0]:6d} -> {pair[1]:5d}  SNR {found.snr_db:5.1f} dB  images {band(found.images_db)}  "
        f"aliases {band(found.aliases_db)}  at 0.85: -{found.droop_db:.2f} dB  "
        f"delay {found.delay_ms:.3f} ms (design {1000 * delay_seconds(*pair):.3f})  "
        f"one {spent.one_us:5.2f} us  {BATCH} rows {spent.batch_us:5.2f} us/row  x{spent.ratio:.1f}"
    )


if __name__ == "__main__":
    main()
