"""Figures from two recordings on one time line: how late, how alike, and where something is missing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from offhook.audio.pcm import correlation, find_delay, longest_gap
from offhook.cli.voice import Samples

WEAK = 0.3
MAX_DELAY_SECONDS = 30


@dataclass(frozen=True)
class Likeness:
    """`delay` in samples from spoken to heard, and the normalised `correlation` (-1 to 1) at that delay."""

    delay: int
    correlation: float
    rate: int

    @property
    def delay_ms(self) -> float:
        return round(self.delay * 1000 / self.rate, 2)


def likeness(spoken: Samples, heard: Samples, rate: int) -> Likeness | None:
    """Compares all that was said with what came back; what did not come back counts as silence. None when either
    is silent throughout."""
    if not spoken.any() or not heard.any():
        return None
    delay = find_delay(spoken, heard, MAX_DELAY_SECONDS * rate)
    return Likeness(delay, round(correlation(spoken, _later(heard, delay, len(spoken))), 4), rate)


def echo_delay_ms(spoken: Samples, heard: Samples, rate: int) -> float | None:
    """Delay of the echo; None when what was heard is not what was said."""
    found = likeness(spoken, heard, rate)
    return found.delay_ms if found is not None and found.correlation >= WEAK else None


def longest_gap_ms(spoken: Samples, heard: Samples, found: Likeness) -> float:
    """The longest stretch in which the caller had spoken and, the delay later, nothing was heard."""
    later = _later(heard, found.delay, len(spoken))
    return round(longest_gap(spoken, later, 0, found.rate) * 1000 / found.rate, 2)


def _later(heard: Samples, delay: int, length: int) -> Samples:
    """`length` samples of `heard` from `delay` on, with silence where the recording has ended."""
    piece = heard[delay : delay + length]
    return np.pad(piece, (0, length - len(piece)))
