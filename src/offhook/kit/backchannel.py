"""Backchannels: short words and sounds by which a listener says "go on" ("mm-hmm", "yeah"), which interrupt nobody.

Two ways to know them: by their words, where somebody recognises those, or by their sound, with a small network over
the course of 16 bands of the spectrum (85 kB of weights, trained by `tests/barge_in/training.py` on synthetic voices).
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from offhook.audio.pcm import Frame

AGREEMENTS: Final = frozenset(
    "uh huh mm hmm mhm mmm hm hmm um aha ah oh yeah yep yup yes okay ok right sure good great cool nice fine got it i "
    "see ha haha".split()
)
"""Words that only say "go on"."""

LIKELY_AGREES: Final = 0.72
"""How likely it must be: rather stop for nothing than go on over somebody."""

_WINDOW, _HOP = 400, 160  # samples at 16 kHz: 25 and 10 ms
_EDGES: Final = (5, 8, 11, 14, 18, 22, 26, 31, 36, 42, 49, 56, 64, 73, 83, 94)  # bins of 40 Hz, 200 Hz to 3.8 kHz
_SLICES: Final = 12
_UNDER_DB: Final = 26.0  # what is softer than the loudest by that is around the word, not in it
_LONGEST: Final = 70  # columns that are looked at
_SHORTEST: Final = 6

Features = npt.NDArray[np.float32]


def only_agrees(text: str, agreements: frozenset[str] = AGREEMENTS) -> bool:
    """Whether all words of it are such; no words at all agree too."""
    return all(word in agreements for word in re.findall(r"[^\W_]+", text.lower().replace("'", "")))


def agreement(pcm: Frame) -> float:
    """By its sound (16 kHz), how likely something short is such a word, a laugh or a cough: 0 to 1."""
    found = features(pcm)
    if found is None:
        return 1.0
    hidden = np.maximum(found @ _weights()["w1"] + _weights()["b1"], 0)
    return float(1 / (1 + np.exp(-(hidden @ _weights()["w2"] + _weights()["b2"]))))


def features(pcm: Frame) -> Features | None:
    """The course of the bands over the word, as long as it may be, its level taken off; None: too short for any."""
    if len(pcm) < _WINDOW + _SHORTEST * _HOP:
        return None
    frames = np.lib.stride_tricks.sliding_window_view(pcm, _WINDOW)[::_HOP] * _hann()
    spectrum = np.fft.rfft(frames)
    power = (spectrum.real**2 + spectrum.imag**2)[:, : _EDGES[-1]]
    bands = np.log10(np.add.reduceat(power, _EDGES[:-1], axis=1) + 1.0) * 10
    loud = bands.max(axis=1)
    inside = np.flatnonzero(loud > loud.max() - _UNDER_DB)
    bands = np.maximum(bands[inside[0] : inside[-1] + 1][:_LONGEST], loud.max() - 45)
    if len(bands) < _SHORTEST:
        return None
    places = np.linspace(0, len(bands) - 1, 2 * _SLICES)
    whole = places.astype(int)
    part = (places - whole)[:, None]
    course = bands[whole] * (1 - part) + bands[np.minimum(whole + 1, len(bands) - 1)] * part
    course = course.reshape(_SLICES, 2, -1).mean(axis=1)
    course = (course - course.max()) / 20 + 1
    return np.append(course.ravel(), (len(bands) - 40) / 20).astype(np.float32)


@cache
def _hann() -> Features:
    return np.hanning(_WINDOW).astype(np.float32)


@cache
def _weights() -> dict[str, Features]:
    with np.load(Path(__file__).with_name("backchannel.npz")) as file:
        return {name: file[name].astype(np.float32) for name in file.files}
