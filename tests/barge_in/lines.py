"""Clips after one another on one line, as callers of tests/soak/barge_in.py say them, but without a node: at any rate,
their frames cut anywhere, over the same sounds of the app.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from tests.barge_in.playout import Conversation
from tests.ear import coded
from tests.soak.barge_in import Clip, Plan, committed_clips, plans

from offhook.kit.turns import Interrupted, SpeechEnded, TurnTaking

_MS = 20
_AT_ONCE = 2  # frames until the caller speaks
_LATE_MS = 40  # of a line's last frames
SECONDS = 25.0


@dataclass(frozen=True)
class Outcome:
    """What became of a clip."""

    clip: Clip
    interrupted: bool
    held_after_ms: float | None
    """From the onset to the end of the frame at which the app was held for good; None: never."""

    @property
    def right(self) -> bool:
        return self.interrupted == self.clip.interrupts


def outcomes(rate: int, draw: int = 0) -> list[Outcome]:
    """Of all committed clips but echoes, three a line, in another order and at other places for each draw."""
    clips = committed_clips()
    random.Random(rate + draw).shuffle(clips)
    return [one for plan in plans(clips, 3, ("0",), rate + draw) for one in _on_line(plan, rate)]


def _on_line(plan: Plan, rate: int) -> list[Outcome]:
    talk, size = Conversation(TurnTaking(), rate), rate * _MS // 1000
    line = np.concatenate([np.zeros(_AT_ONCE * size, np.int16), plan.said(rate)])
    turn, cut, seen = 0, False, 0
    talk.play(coded(plan.number * 100, rate, SECONDS))
    for start in range(0, len(line) - size + 1, size):
        talk.hear(line[start : start + size])
        for _, event in talk.events[seen:]:
            cut |= isinstance(event, Interrupted)
            if cut and isinstance(event, SpeechEnded):
                turn, cut = turn + 1, False
                talk.play(coded(plan.number * 100 + turn, rate, SECONDS))
        seen = len(talk.events)
    talk.barge_in.close()
    onsets = [_AT_ONCE * _MS + at + clip.onset_ms for at, clip in plan.clips]
    until = [*onsets[1:], len(line) * 1000 / rate + _LATE_MS]
    return [_outcome(talk, clip, *span) for (_, clip), *span in zip(plan.clips, onsets, until, strict=True)]


def _outcome(talk: Conversation, clip: Clip, onset: float, until: float) -> Outcome:
    cuts = [frame * _MS for frame, event in talk.events if isinstance(event, Interrupted)]
    cut = next((at for at in cuts if onset < at < until), None)
    holds = [frame * _MS for frame in talk.held if onset < frame * _MS <= (cut or until)]
    return Outcome(clip, cut is not None, holds[-1] - onset if holds else None)
