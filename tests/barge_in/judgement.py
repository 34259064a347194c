"""What becomes of each clip in a conversation: went on, or interrupted; after how long; and a table by kind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from tests.barge_in.clips import APPS, LEAD_MS, Label, sound_of
from tests.barge_in.playout import Conversation, silence

from offhook.audio.pcm import Frame
from offhook.audio.resample import resample
from offhook.kit.turns import Interrupted, TurnTaking

RATE = 16000
BEFORE_MS = 1200
AFTER_MS = 1400


@dataclass(frozen=True)
class Judged:
    label: Label
    interrupted: bool
    held_after_ms: float | None
    """From the onset to the end of the frame at which the app was held for good, or first; None: never."""
    holds: int

    @property
    def right(self) -> bool:
        return self.interrupted == self.label.interrupts


def judge(label: Label, pcm: Frame, settings: TurnTaking, phase: int = 0) -> Judged:
    """`pcm` at the rate of the clip's line. `phase`: samples by which its frames are moved."""
    return asyncio.run(_judge(label, pcm, settings, phase))


async def _judge(label: Label, pcm: Frame, settings: TurnTaking, phase: int) -> Judged:
    clip = resample(pcm, label.rate, RATE)
    lead = clip[: min(label.onset_ms, LEAD_MS) * RATE // 1000 - RATE // 100]
    talk = Conversation(settings)
    if label.app:
        before, app = 0, sound_of(label.app, RATE)
        said = np.concatenate([app, silence(4000)])
        line = np.concatenate([silence(20), clip, silence(AFTER_MS)])
        onset = 20 + label.onset_ms
    else:
        before = BEFORE_MS * RATE // 1000 - phase
        quiet = np.concatenate([lead, lead[::-1]])
        said = np.tile(np.concatenate([sound_of(file, RATE) for file in APPS]), 3)
        line = np.concatenate([np.resize(quiet, before), clip, np.resize(quiet, AFTER_MS * RATE // 1000)])
        onset = before * 1000 // RATE + label.onset_ms
    playback = talk.play(said)
    size = RATE // 50
    for start in range(0, len(line) - size + 1, size):
        talk.hear(line[start : start + size])
        if settings.understand is not None:
            await asyncio.sleep(0)
    cut = [frame for frame, event in talk.events if isinstance(event, Interrupted)]
    holds = [frame for frame in talk.held if not cut or frame <= cut[0]]
    held = holds[-1] * 20 - onset if holds else None
    talk.barge_in.close()
    return Judged(label, playback.cut and bool(cut), held, len(talk.held))


def table(judged: Iterable[Judged]) -> str:
    """Rows by kind: clips, right, holds."""
    rows: dict[tuple[bool, str], list[Judged]] = {}
    for one in judged:
        rows.setdefault((not one.label.interrupts, one.label.kind), []).append(one)
    lines = [f"{'':14} {'clips':>5} {'right':>5} {'held':>5}"]
    group = None
    for (false, kind), ones in sorted(rows.items()):
        if false != group:
            group = false
            lines.append("no interruption: goes on" if false else "interruption: stops")
        right, held = sum(one.right for one in ones), sum(bool(one.holds) for one in ones)
        lines.append(f"  {kind:12} {len(ones):5} {right:5} {held:5}")
    return "\n".join(lines)


def rates(judged: Iterable[Judged]) -> tuple[float, float]:
    """Share of the false ones after which the app went on, and of the true ones that were missed."""
    ones = list(judged)
    false = [one.right for one in ones if not one.label.interrupts]
    true = [one.right for one in ones if one.label.interrupts]
    return sum(false) / max(1, len(false)), 1 - sum(true) / max(1, len(true))
