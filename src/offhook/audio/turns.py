"""Turns: who speaks when, found in the levels of frames, and what a conversation's timing is by that.

Activity of one side: a frame of 20 ms is loud at `ON_DB` over the side's own noise, at least `QUIETEST_ON_DBFS`; speech
goes on while frames are above `HYSTERESIS_DB` below that, over pauses of up to `HANGOVER_MS`, and ends where the last
such frame does. What is shorter than `SHORTEST_MS` is a click. The noise is the tenth percentile of the frames that
are not digital silence, `LOUDEST_NOISE_DBFS` at most, so that one long tone is not its own noise.

Times are frames, counted on one line for both sides. So every figure is exact to a frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from offhook.audio.pcm import PTIME_MS, Frame

ON_DB: Final = 10.0
HYSTERESIS_DB: Final = 6.0
QUIETEST_ON_DBFS: Final = -50.0
LOUDEST_NOISE_DBFS: Final = -40.0
HANGOVER_MS: Final = 300
SHORTEST_MS: Final = 60
LONGEST_REPLY_MS: Final = 15_000
"""What is heard later is not an answer to what was said."""
BARGED_WITHIN_MS: Final = 5_000
"""How long before a StopAudio the caller may have begun to speak for it to be the reason."""
_NOTHING_DBFS = -100.0
_FULL_SCALE = 32768.0

Levels = npt.NDArray[np.float32]
"""dBFS of each frame; -120 is digital silence, and also what is not there."""


@dataclass(frozen=True, slots=True)
class Spell:
    """A stretch of activity: frames from `begin` up to `end`."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Turn:
    """The caller has said something; `heard` None: nothing was heard after it."""

    ended: int
    heard: int | None


def levels_of(samples: Frame, size: int) -> Levels:
    """RMS level of each whole frame of `size` samples."""
    frames = samples[: len(samples) // size * size].reshape(-1, size).astype(np.float32)
    power = np.einsum("ij,ij->i", frames, frames) / (size * _FULL_SCALE**2)
    levels: Levels = np.maximum(10 * np.log10(np.maximum(power, 1e-12)), -120).astype(np.float32)
    return levels


def thresholds(levels: Levels) -> tuple[float, float] | None:
    """Level at which speech begins and below which it pauses, in dBFS; None for digital silence."""
    there = levels[levels > _NOTHING_DBFS]
    if not len(there):
        return None
    noise = min(float(np.percentile(there, 10)), LOUDEST_NOISE_DBFS)
    on = max(noise + ON_DB, QUIETEST_ON_DBFS)
    return on, on - HYSTERESIS_DB


def activity(levels: Levels) -> list[Spell]:
    """When there is speech or other sound, in order."""
    found = thresholds(levels)
    if found is None:
        return []
    on, off = found
    loud, open_ = levels >= on, levels >= off
    spells: list[Spell] = []
    for begin, end in _runs(open_):
        if not loud[begin:end].any():
            continue
        if spells and (begin - spells[-1].end) * PTIME_MS <= HANGOVER_MS:
            spells[-1] = Spell(spells[-1].begin, end)
        else:
            spells.append(Spell(begin, end))
    return [spell for spell in spells if (spell.end - spell.begin) * PTIME_MS >= SHORTEST_MS]


def turns(said: list[Spell], heard: list[Spell]) -> list[Turn]:
    """Each time that the caller stops speaking to silence, and when something is heard then.

    Not a turn: who speaks on before anything is heard, and the end of what was said while something was heard.
    """
    found = []
    for index, spell in enumerate(said):
        again = said[index + 1].begin if index + 1 < len(said) else None
        if any(other.begin < spell.end < other.end for other in heard):
            continue
        reply = next((other.begin for other in heard if other.begin >= spell.end), None)
        if again is not None and (reply is None or again <= reply):
            continue
        if reply is not None and (reply - spell.end) * PTIME_MS > LONGEST_REPLY_MS:
            reply = None
        found.append(Turn(spell.end, reply))
    return found


def barged(said: list[Spell], heard: list[Spell], stop: int) -> int | None:
    """When the caller began the speech over the app's sound that a StopAudio at frame `stop` answers; None: it did not.

    The sound must have been there before the caller was, or the caller's words were not over it.
    """
    over = next((spell for spell in heard if spell.begin <= stop <= spell.end + 1), None)
    if over is None:
        return None
    begun = [spell.begin for spell in said if over.begin < spell.begin <= stop]
    return begun[-1] if begun and (stop - begun[-1]) * PTIME_MS <= BARGED_WITHIN_MS else None


def interrupted(said: list[Spell], heard: list[Spell], within_ms: int = 2000) -> list[tuple[int, int]]:
    """Where the caller spoke over sound that then ended within so long while the caller still spoke: begin and end."""
    found = []
    for spell in said:
        over = next((other for other in heard if other.begin < spell.begin < other.end), None)
        if over is not None and over.end <= spell.end and (over.end - spell.begin) * PTIME_MS <= within_ms:
            found.append((spell.begin, over.end))
    return found


def _runs(flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Begin and end of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False]))))
    return [(int(begin), int(end)) for begin, end in zip(edges[::2], edges[1::2], strict=True)]
