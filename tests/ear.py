"""What a caller heard, taken apart to the sample: which sound of the app, from where in it, and where that was cut.

Sounds made by `coded` are speech with a faint noise of their own, so that every two milliseconds of them are found in
one place of one of them only. The node hands the samples of a simulated leg through as they are, but for the ramp of
5 ms that ends what StopAudio cuts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from offhook.assets import speech_wav
from offhook.audio.buffers import RAMP_MS
from offhook.audio.pcm import FRAMES_PER_SECOND
from offhook.audio.wav import read_wav

Samples = npt.NDArray[np.int16]
_KEY_MS = 2


@dataclass(frozen=True)
class Run:
    """`length` samples of the sound `name` from its sample `start` on, heard from sample `at` of the recording on.

    `faded`: how many more were heard of it, in the ramp that ends a cut.
    """

    name: str
    start: int
    at: int
    length: int
    faded: int = 0

    @property
    def end(self) -> int:
        """The first sample of the sound that was not heard, the ramp counted as heard."""
        return self.start + self.length + self.faded

    @property
    def silent_at(self) -> int:
        """The first sample of the recording behind it."""
        return self.at + self.length + self.faded


@cache
def coded(seed: int, rate: int, seconds: float, percent: int = 50) -> Samples:
    """Speech of `seconds` that begins at another place for each `seed`, with a noise of 16 steps of its own."""
    sound = read_wav(speech_wav())
    size = round(seconds * rate)
    # In whole numbers, so that it comes out the same in every process.
    wide = np.append(np.roll(sound.samples, -seed * 7919).astype(np.int64), 0)
    place, rest = np.divmod(np.arange(size) * sound.rate, rate)
    place %= len(sound.samples)
    speech = (wide[place] * (rate - rest) + wide[place + 1] * rest) // rate
    noise = np.random.default_rng(seed).integers(1, 17, size)
    made: Samples = (speech * percent // 100 + noise).astype(np.int16)
    made[made == 0] = 1
    return made


def taken_apart(heard: Samples, sounds: Mapping[str, Samples], rate: int, *, others: bool = False) -> list[Run]:
    """The runs of `sounds` in what was heard, in order.

    AssertionError where something else was heard, unless there may be `others`.
    """
    key = rate * _KEY_MS // 1000
    raw = {name: sound.tobytes() for name, sound in sounds.items()}
    runs: list[Run] = []
    at = 0
    while at < len(heard):
        rest = np.flatnonzero(heard[at:])
        if not rest.size:
            break
        at += int(rest[0])
        run = _run(heard, at, key, sounds, raw, rate, runs[-1].name if runs else None)
        if run is None and others:
            at += key
            continue
        assert run is not None, f"at {at * 1000 / rate:.1f} ms something was heard that is none of the app's sounds"
        runs.append(run)
        at = run.silent_at
    return runs


def _run(
    heard: Samples, at: int, key: int, sounds: Mapping[str, Samples], raw: Mapping[str, bytes], rate: int,
    likely: str | None,
) -> Run | None:  # fmt: skip
    sought = heard[at : at + key].tobytes()
    for name in sorted(sounds, key=lambda each: each != likely):
        place = raw[name].find(sought)
        while place % 2 and place > 0:
            place = raw[name].find(sought, place + 1)
        if place < 0:
            continue
        start, sound = place // 2, sounds[name]
        size = min(len(sound) - start, len(heard) - at)
        different = np.flatnonzero(heard[at : at + size] != sound[start : start + size])
        length = int(different[0]) if different.size else size
        # A cut's ramp begins with a frame, and so quietly that its first samples may be as they were.
        back = (at + length) % (rate // FRAMES_PER_SECOND)
        if back < length and (faded := _faded(heard[at + length - back :], sound[start + length - back :], rate)):
            return Run(name, start, at, length - back, faded)
        return Run(name, start, at, length)
    return None


def _faded(heard: Samples, sound: Samples, rate: int) -> int:
    """How many samples of `sound` were heard as the ramp of a cut; 0 when it was none."""
    size = min(rate * RAMP_MS // 1000, len(heard), len(sound))
    ramp = (sound[:size] * np.linspace(1.0, 0.0, size, dtype=np.float32)).astype(np.int16)
    return size if (heard[:size] == ramp).all() else 0
