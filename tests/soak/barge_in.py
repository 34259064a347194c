"""Barge-in measured at the caller's ear: simulated callers who interrupt an app on the kit, and what they then hear.

What a caller says and hears share one axis of samples, so the time from the first sample of their speech, whose place
in what they say is known, to the last sample of the app's sound is exact. The same recording says how much of that
sound was heard (tests/ear.py), which the app's own count and the node's trace are compared with.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from tests.console_leg import caller
from tests.ear import Run, Samples, taken_apart
from tests.examples.running import Example, example_node, running_app
from tests.live import LiveNode, trace
from tests.soak import barge_in_app
from tests.soak.barge_in_app import BURST, FILE, PACED, STREAMED

from offhook.audio.resample import resample

FRAME_MS = 20
WAYS = {BURST: "burst", STREAMED: "streamed", PACED: "paced", FILE: "file"}
FIRST_MS, AGAIN_MS = (1500, 2800), (2600, 4400)
"""After the answer, and after the last interruption has ended: when callers speak."""
STAY_MS = 1500


@dataclass(frozen=True)
class Clip:
    """Something that a caller says: samples at `rate`, of which the one at `onset` is the first of speech."""

    name: str
    samples: Samples
    rate: int
    onset: int
    speech: bool = True
    """Whether it is an interruption; False: a cough, a word of agreement, an echo."""

    def at(self, rate: int) -> Samples:
        """The samples at another rate."""
        return resample(self.samples, self.rate, rate)


@dataclass(frozen=True)
class Interruption:
    """One clip over the app's sound, in ms; those of the ear are on the caller's axis."""

    clip: str
    way: str
    rate: int
    turn: int
    onset_ms: float
    silent_ms: float | None
    """Where the app's sound ended; None: it did not."""
    heard_ms: float | None
    """How much of the sound the caller had heard, by the recording."""
    told_ms: float | None
    """The same by the app: `Interrupted.heard_ms`."""
    traced_ms: float | None
    """Where the node's trace says that the sound ended: `atSample`."""
    stop_ms: float | None
    """From the app's StopAudio to the leaving of the last frame with its sound."""
    old_ms: float
    """Sound of this turn or one before that was heard after the end."""

    @property
    def latency_ms(self) -> float | None:
        """From speech to silence."""
        return None if self.silent_ms is None else self.silent_ms - self.onset_ms

    @property
    def heard_error_ms(self) -> float | None:
        """By how much the app's count is above the recording."""
        return None if self.told_ms is None or self.heard_ms is None else self.told_ms - self.heard_ms


@dataclass(frozen=True)
class Plan:
    """One call: how the app hands its sound over, which caller it is, and what they say when (ms from the answer)."""

    way: str
    number: int
    clips: tuple[tuple[float, Clip], ...]

    @property
    def sender(self) -> str:
        """The caller's number, as the app reads it."""
        return f"+15550100{self.way}0{self.number:02d}"

    def said(self, rate: int) -> Samples:
        """All that the caller says, from the answer."""
        line = np.zeros(round((self.end_ms + STAY_MS) * rate / 1000), np.int16)
        for at_ms, clip in self.clips:
            samples, start = clip.at(rate), round(at_ms * rate / 1000)
            line[start : start + len(samples)] = samples
        return line

    @property
    def end_ms(self) -> float:
        """When the last clip ends."""
        at_ms, clip = self.clips[-1]
        return at_ms + len(clip.samples) * 1000 / clip.rate


def plans(clips: Sequence[Clip], each: int, ways: Sequence[str], seed: int = 1) -> list[Plan]:
    """Calls that say all the clips, `each` a call, at times of no pattern."""
    chance = random.Random(seed)
    made = []
    for number, first in enumerate(range(0, len(clips), each)):
        at, placed = chance.uniform(*FIRST_MS), []
        for clip in clips[first : first + each]:
            placed.append((at, clip))
            at += len(clip.samples) * 1000 / clip.rate + chance.uniform(*AGAIN_MS)
        made.append(Plan(ways[number % len(ways)], number % 100, tuple(placed)))
    return made


@contextlib.asynccontextmanager
async def world(folder: Path, port: int, rate: int) -> AsyncIterator[tuple[LiveNode, Example]]:
    """A node, and the app that is interrupted."""
    env = {"BARGE_IN_RATE": str(rate), "BARGE_IN_FOLDER": str(folder)}
    async with (
        example_node(folder / "state", port) as node,
        running_app(node, "-m", barge_in_app.__name__, env=env) as app,
    ):
        yield node, app


async def interrupted(node: LiveNode, app: Example, plan: Plan, rate: int) -> list[Interruption]:
    """One call to its end, and its interruptions."""
    said = plan.said(rate)
    async with caller(node, sender=plan.sender) as leg:
        call_id = (await leg.told("placed"))["callId"]
        await leg.speak(said.tobytes())
        await leg.told("answered")
        heard = await leg.heard_frames(len(said) * 50 // rate)
        spoke = (await leg.told("spoke"))["atSample"]
        page = await trace(node, call_id)
        await leg.hang_up()
    told = [json.loads(line) for line in app.log if line.startswith("{") and plan.sender in line]
    sounds = {str(turn): barge_in_app.sound(plan.sender, turn, rate) for turn in range(len(plan.clips) + 1)}
    runs = taken_apart(heard, sounds, rate)
    return [
        _row(plan, clip, (spoke / rate * 1000) + at_ms + clip.onset * 1000 / clip.rate, runs, told, page, rate)
        for at_ms, clip in plan.clips
    ]


def _row(
    plan: Plan, clip: Clip, onset_ms: float, runs: list[Run], told: list[dict[str, Any]], page: dict[str, Any],
    rate: int,
) -> Interruption:  # fmt: skip
    onset = onset_ms * rate / 1000
    begun = [run for run in runs if run.at <= onset]
    assert begun, f"nothing was heard before {onset_ms:.0f} ms"
    turn = begun[-1].name
    cut = next((run for run in runs if run.name == turn and run.faded and run.silent_at > onset), None)
    said = [line for line in told if line["event"] == "interrupted" and line["turn"] == int(turn)]
    stop = None if cut is None else _stop(page, cut, rate)
    old = [] if cut is None else [run for run in runs if run.at >= cut.silent_at and int(run.name) <= int(turn)]
    return Interruption(
        clip=clip.name,
        way=WAYS[plan.way],
        rate=rate,
        turn=int(turn),
        onset_ms=onset_ms,
        silent_ms=None if cut is None else cut.silent_at * 1000 / rate,
        heard_ms=None if cut is None else cut.end * 1000 / rate,
        told_ms=said[0]["heardMs"] if said else None,
        traced_ms=None if stop is None else stop["detail"]["atSample"] * 1000 / rate,
        stop_ms=None if stop is None or not said else _stop_ms(page, stop, said[0]["at"], rate),
        old_ms=sum(run.length for run in old) * 1000 / rate,
    )


def _stop(page: dict[str, Any], cut: Run, rate: int) -> dict[str, Any] | None:
    """The trace's StopAudio that made a cut."""
    stops = [event for event in page["events"] if event["kind"] == "stopAudio" and event["detail"]["cutMs"]]
    return min(stops, key=lambda event: abs(event["detail"]["atSample"] - cut.silent_at), default=None)


def _stop_ms(page: dict[str, Any], stop: dict[str, Any], at: float, rate: int) -> float:
    (track,) = [audio for leg in page["legs"] for audio in leg["audio"] if audio["side"] == "heard"]
    answered = datetime.fromisoformat(page["answeredAt"]).timestamp() * 1000
    return float(answered + track["beginMs"] + stop["detail"]["readAtSample"] * 1000 / rate - at * 1000)
