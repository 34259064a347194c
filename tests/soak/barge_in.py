"""Barge-in measured at the caller's ear: simulated callers who interrupt an app on the kit, and what they then hear.

What a caller says and hears share one axis of samples, so the time from the first sample of their speech, whose place
in what they say is known, to the last sample of the app's sound is exact. The same recording says how much of that
sound was heard (tests/ear.py), which the app's own count and the node's trace are compared with.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from tests.console_leg import caller
from tests.ear import Run, Samples, taken_apart
from tests.examples.running import ROOT, Example, example_node, running_app
from tests.live import LiveNode, trace, until
from tests.soak import barge_in_app
from tests.soak.barge_in_app import BURST, FILE, PACED, RUSHED, STREAMED
from tests.soak.test_leaks import figures as status_figures

from offhook.audio.resample import resample
from offhook.audio.wav import read_wav

CLIPS = ROOT / "tests/fixtures/barge_in"
WAYS = {BURST: "burst", STREAMED: "streamed", PACED: "paced", FILE: "file", RUSHED: "rushed"}
STAY_MS = 1500
"""How long callers stay when they have said all."""
FRAME_MS = 20
AT_ONCE = 6
"""Calls at once: more would measure the machine."""
TRIES = 3


@dataclass(frozen=True)
class Clip:
    """Something that a caller says: samples at `rate`, of which those from `onset_ms` on are what it is."""

    name: str
    kind: str
    interrupts: bool
    """Whether it is meant to stop the app; False: a cough, a word of agreement, a noise."""
    samples: Samples
    rate: int
    onset_ms: float

    @property
    def length_ms(self) -> float:
        """All of it."""
        return len(self.samples) * 1000 / self.rate


@dataclass(frozen=True)
class Plan:
    """One call: how the app hands its sound over, which caller it is, what they say when (ms of the app's sound)."""

    way: str
    number: int
    clips: tuple[tuple[float, Clip], ...]

    @property
    def sender(self) -> str:
        """The caller's number, as the app reads it."""
        return f"+15550100{self.way}0{self.number:02d}"

    def said(self, rate: int) -> Samples:
        """All that the caller says, from the moment at which they hear the app."""
        at_ms, last = self.clips[-1]
        end_ms = at_ms + last.length_ms + STAY_MS
        line = np.zeros(round(end_ms * rate / 1000), np.int16)
        done = 0
        for number, (at_ms, clip) in enumerate(self.clips):
            samples, start = resample(clip.samples, clip.rate, rate), round(at_ms * rate / 1000)
            after = round((self.clips[number + 1][0] if number + 1 < len(self.clips) else end_ms) * rate / 1000)
            alone = samples[: round(clip.onset_ms * 0.8 * rate / 1000)]
            until = min(after, start + len(samples) + rate // 2)
            line[done:until] = _going_on(alone, until - done)
            line[start : start + len(samples)] = samples
            done = until
        line[done:] = _going_on(alone, len(line) - done)
        return line


def _going_on(line: Samples, size: int) -> Samples:
    """`size` samples of noise as a line has it on which nobody speaks, of which there are a few: of its spectrum."""
    noise = np.fft.rfft(np.random.default_rng(size).standard_normal(size))
    shape = np.abs(np.fft.rfft(line * np.hanning(len(line))))
    noise *= np.interp(np.linspace(0, 1, len(noise)), np.linspace(0, 1, len(shape)), shape)
    made = np.fft.irfft(noise, size)
    level = float(np.sqrt(np.mean(np.square(line, dtype=np.float64))))
    return np.rint(made * (level / max(float(np.sqrt(np.mean(np.square(made)))), 1e-9))).astype(np.int16)


@dataclass(frozen=True)
class Heard:
    """One clip over the app's sound, in ms; those of the ear are on the caller's axis."""

    clip: str
    kind: str
    interrupts: bool
    way: str
    rate: int
    onset_ms: float
    silent_ms: float | None
    """Where the app's sound ended, for good or for a while; None: it did not."""
    heard_ms: float | None
    """How much of the sound the caller had heard by then, from its beginning; or from where in it it went on."""
    told_ms: float | None
    """The same by the app, in `Interrupted` or `Resumed`; None: it told neither."""
    traced_ms: float | None
    """Where the node's trace says that the sound ended: `atSample`."""
    stop_ms: float | None
    """From the app's StopAudio to the leaving of the last frame with its sound."""
    resumed_after_ms: float | None
    """How long it was silent until it went on; None: it did not go on."""
    repeated_ms: float
    """What was heard twice when it went on."""
    lost_ms: float
    """What was never heard when it went on."""
    stalled_ms: float
    """How long the machine kept node or app from running in this call; its times are left out of figures then."""

    @property
    def latency_ms(self) -> float | None:
        """From the beginning of the clip to silence."""
        return None if self.silent_ms is None else self.silent_ms - self.onset_ms

    @property
    def heard_error_ms(self) -> float | None:
        """By how much the app's count is above the recording."""
        return None if self.told_ms is None or self.heard_ms is None else self.told_ms - self.heard_ms

    @property
    def ended(self) -> bool:
        """Whether the app's sound ended for good."""
        return self.silent_ms is not None and self.resumed_after_ms is None


def committed_clips() -> list[Clip]:
    """Those of tests/fixtures/barge_in that need no echo of a certain sound."""
    with (CLIPS / "labels.csv").open() as table:
        return [_clip(row) for row in csv.DictReader(table) if not row["echo"]]


def _clip(row: dict[str, str]) -> Clip:
    sound = read_wav((CLIPS / row["file"]).read_bytes())
    name, interrupts = row["file"].removesuffix(".wav"), row["interrupts"] == "True"
    return Clip(name, row["kind"], interrupts, sound.samples, sound.rate, float(row["onset_ms"]))


def plans(
    clips: Sequence[Clip], each: int, ways: Sequence[str], seed: int,
    first_ms: tuple[float, float] = (1500, 2800), again_ms: tuple[float, float] = (2600, 4400),
) -> list[Plan]:  # fmt: skip
    """Calls that say all the clips, `each` a call, at times of no pattern after the app began and after each other."""
    chance = random.Random(seed)
    made = []
    for number, first in enumerate(range(0, len(clips), each)):
        at, placed = chance.uniform(*first_ms), []
        for clip in clips[first : first + each]:
            placed.append((at, clip))
            at += clip.length_ms + chance.uniform(*again_ms)
        made.append(Plan(ways[number % len(ways)], number, tuple(placed)))
    return made


Again = Callable[["Recording"], bool]


@contextlib.asynccontextmanager
async def world(folder: Path, port: int, rate: int) -> AsyncIterator[tuple[LiveNode, Example]]:
    """A node, and the app that is interrupted."""
    env = {"BARGE_IN_RATE": str(rate), "BARGE_IN_FOLDER": str(folder)}
    async with (
        example_node(folder / "state", port) as node,
        running_app(node, "-m", barge_in_app.__name__, env=env) as app,
    ):
        yield node, app


async def measured(
    node: LiveNode, app: Example, calls: Sequence[Plan], rate: int, *, at_once: int = AT_ONCE, again: Again
) -> list[Heard]:
    """All calls, a few at once, and what was heard in them."""
    room = asyncio.Semaphore(at_once)

    async def one(plan: Plan) -> list[Heard]:
        async with room:
            recording = await undisturbed(node, app, plan, rate, again)
        assert recording.old_ms() == 0.0, f"{plan.sender} heard old sound after new: {recording.runs}"
        return recording.rows()

    return [row for rows in await asyncio.gather(*map(one, calls)) for row in rows]


async def undisturbed(node: LiveNode, app: Example, plan: Plan, rate: int, again: Again) -> Recording:
    """A call; another one, twice at most, where the machine has stalled and `again` says that it shows."""
    for _ in range(TRIES):
        recording = await recorded(node, app, plan, rate)
        if not recording.stalled_ms or not again(recording):
            break
    return recording


async def all_clips(folder: Path, port: int, rate: int) -> list[Heard]:
    """All committed clips at one rate, some three minutes long."""
    clips = committed_clips()
    random.Random(rate).shuffle(clips)
    folder.mkdir(exist_ok=True)
    calls = plans(clips, 3, (BURST, STREAMED, PACED, FILE), rate)
    async with world(folder, port, rate) as (node, app):
        return await measured(node, app, calls, rate, again=lambda _: True)


async def recorded(node: LiveNode, app: Example, plan: Plan, rate: int) -> Recording:
    """One call to its end."""
    said, begun, made_up = plan.said(rate), len(app.log), (await status_figures(node))["ticksMadeUp"]
    async with caller(node, sender=plan.sender) as leg:
        call_id = (await leg.told("placed"))["callId"]
        await leg.heard_app()
        await leg.speak(said.tobytes())
        spoke = (await leg.told("spoke"))["atSample"]
        heard = await leg.heard_frames((spoke + len(said)) * 50 // rate)
        page = await trace(node, call_id)
    told = await _told(app, plan, begun)
    late = ((await status_figures(node))["ticksMadeUp"] - made_up) * FRAME_MS
    late += sum(line["ms"] for line in told if line["event"] == "stalled")
    sounds = {str(turn): barge_in_app.sound(plan.sender, turn, rate) for turn in range(len(plan.clips) + 1)}
    return Recording(plan, rate, spoke, taken_apart(heard, sounds, rate), told, page, late)


async def _told(app: Example, plan: Plan, begun: int) -> list[dict[str, Any]]:
    """All that the app has told of a call since a line, once it is over."""
    mine: list[dict[str, Any]] = []

    def over() -> bool:
        mine[:] = [json.loads(line) for line in app.log[begun:] if line.startswith("{") and plan.sender in line]
        return bool(mine) and mine[-1]["event"] == "over"

    await until(over, f"the app has seen the end of the call of {plan.sender}")
    return mine


async def echoed(node: LiveNode, app: Example, number: int, rate: int, *, decibels: float, late_ms: int) -> Recording:
    """A call of four seconds whose line gives back to the app what the caller hears, softer and later."""
    plan, begun = Plan(BURST, number, ()), len(app.log)
    async with caller(node, sender=plan.sender, live=True) as leg:
        call_id = (await leg.told("placed"))["callId"]
        await leg.told("answered")
        await leg.speak(bytes(late_ms * rate // 1000 * 2))
        done = 0
        while done < 4000 // FRAME_MS:
            await until(lambda: leg.frames > done, "sound")  # noqa: B023
            heard = leg.heard_from(done)
            done += len(heard) * 50 // rate
            await leg.speak((heard * 10 ** (decibels / 20)).astype("<i2").tobytes())
        page, heard = await trace(node, call_id), leg.heard
    told = await _told(app, plan, begun)
    runs = taken_apart(heard, {"0": barge_in_app.sound(plan.sender, 0, rate)}, rate)
    return Recording(plan, rate, 0, runs, told, page, 0.0)


@dataclass(frozen=True)
class Recording:
    """A call: `runs` of what was heard, what the app `told` of its turns, and the `page` of the node's trace.

    `spoke`: the sample of the caller's axis at which what they say begins; `stalled_ms`: how long
    node or app could not run when they had to.
    """

    plan: Plan
    rate: int
    spoke: int
    runs: list[Run]
    told: list[dict[str, Any]]
    page: dict[str, Any]
    stalled_ms: float

    def rows(self) -> list[Heard]:
        """What became of each clip that was said over the app's sound, until the next clip."""
        onsets = [self._ms(self.spoke) + at_ms + clip.onset_ms for at_ms, clip in self.plan.clips]
        until = [*onsets[1:], onsets[-1] + 3000]
        spans = zip(self.plan.clips, onsets, until, strict=True)
        return [self._row(clip, *span) for (_, clip), *span in spans if self._sounds_at(span[0])]

    def _sounds_at(self, ms: float) -> bool:
        place = ms * self.rate / 1000
        return any(run.at <= place < run.silent_at + self.rate * FRAME_MS // 1000 for run in self.runs)

    def _row(self, clip: Clip, onset_ms: float, until_ms: float) -> Heard:
        onset, until = onset_ms * self.rate / 1000, until_ms * self.rate / 1000
        turn = [run for run in self.runs if run.at <= onset][-1].name
        cuts = [run for run in self.runs if run.name == turn and run.faded and onset < run.silent_at < until]
        if not cuts:
            return self._went_on(clip, onset_ms)
        cut = cuts[-1]
        later = [run for run in self.runs if run.at >= cut.silent_at]
        again = later[0] if later and later[0].name == turn else None
        told = self._told_of(turn, "interrupted" if again is None else "resumed", cut)
        place = cut.end if again is None else again.start
        stop = self._stop(cut)
        return Heard(
            clip=clip.name,
            kind=clip.kind,
            interrupts=clip.interrupts,
            way=WAYS[self.plan.way],
            rate=self.rate,
            onset_ms=onset_ms,
            silent_ms=self._ms(cut.silent_at),
            heard_ms=self._ms(place),
            told_ms=None if told is None else told["heardMs"],
            traced_ms=None if stop is None else self._ms(stop["detail"]["atSample"]),
            stop_ms=None if stop is None else self._stop_ms(stop),
            resumed_after_ms=None if again is None else self._ms(again.at - cut.silent_at),
            repeated_ms=0.0 if again is None else self._ms(max(0, cut.end - again.start)),
            lost_ms=0.0 if again is None else self._ms(max(0, again.start - cut.end)),
            stalled_ms=self.stalled_ms,
        )

    def old_ms(self) -> float:
        """How much was heard of a sound after a later one had begun."""
        newest, old = 0, 0
        for run in self.runs:
            newest = max(newest, int(run.name))
            old += run.length if int(run.name) < newest else 0
        return self._ms(old)

    def _went_on(self, clip: Clip, onset_ms: float) -> Heard:
        row = (clip.name, clip.kind, clip.interrupts, WAYS[self.plan.way], self.rate, onset_ms)
        return Heard(*row, None, None, None, None, None, None, 0.0, 0.0, self.stalled_ms)

    def _ms(self, samples: int) -> float:
        return samples * 1000 / self.rate

    def _told_of(self, turn: str, event: str, cut: Run) -> dict[str, Any] | None:
        """The app's event of a cut: of its turn, the nearest in what was heard."""
        events = [line for line in self.told if line["event"] == event and line["turn"] == int(turn)]
        return min(events, key=lambda line: abs(line["heardMs"] - self._ms(cut.end)), default=None)

    def _stop(self, cut: Run) -> dict[str, Any] | None:
        """The trace's StopAudio of a cut, with the moment `sent` at which the app sent it."""
        traced = [event for event in self.page["events"] if event["kind"] == "stopAudio"]
        sent = [line["at"] for line in self.told if line["event"] == "stop"]
        stops = [{**event, "sent": at} for event, at in zip(traced, sent, strict=False) if event["detail"]["cutMs"]]
        return min(stops, key=lambda event: abs(event["detail"]["atSample"] - cut.silent_at), default=None)

    def _stop_ms(self, stop: dict[str, Any]) -> float:
        """From its sending, by the clock of app and node, to the tick that read the last frame with sound."""
        (track,) = [audio for leg in self.page["legs"] for audio in leg["audio"] if audio["side"] == "heard"]
        answered = datetime.fromisoformat(self.page["answeredAt"]).timestamp() * 1000
        return float(answered + track["beginMs"] + self._ms(stop["detail"]["readAtSample"]) - stop["sent"] * 1000)


def table(rows: Sequence[Heard]) -> str:
    """A line for each."""
    lines = [f"{'clip':16} {'by':9} {'Hz':>5} {'to silence':>10} {'heard':>7} {'told':>5} {'stop':>5}  went on"]
    for row in rows:
        shown = (row.latency_ms, row.heard_ms, row.heard_error_ms, row.stop_ms)
        silence, heard, told, stop = ("-" if value is None else f"{value:.0f}" for value in shown)
        again = "" if row.resumed_after_ms is None else f"after {row.resumed_after_ms:.0f}, {row.repeated_ms:.0f} twice"
        lines.append(
            f"{row.clip:16} {row.way:9} {row.rate:5} {silence:>10} {heard:>7} {told:>5} {stop:>5}  {again}"
            f"{' (stalled)' if row.stalled_ms else ''}"
        )
    return "\n".join(lines)


def figures(rows: Sequence[Heard]) -> dict[str, Any]:
    """What the issue asks for, of all rows."""
    real, false = [row for row in rows if row.interrupts], [row for row in rows if not row.interrupts]
    timed = [row for row in rows if not row.stalled_ms]
    ended = [row for row in real if row.ended]
    latencies = sorted(row.latency_ms for row in ended if row in timed and row.latency_ms is not None)
    stops = sorted(row.stop_ms for row in timed if row.stop_ms is not None)
    errors = sorted(row.heard_error_ms for row in timed if row.heard_error_ms is not None)
    held = [row for row in false if row.resumed_after_ms is not None]
    return {
        "interruptions": len(real),
        "missed": len(real) - len(ended),
        "stalled": len(rows) - len(timed),
        "speechToSilenceMs": _quantiles(latencies),
        "stopToLastFrameMs": _quantiles(stops),
        "heardErrorMs": [_round(errors[0]), _round(errors[-1])] if errors else None,
        "traceErrorMs": max((abs(row.traced_ms - row.silent_ms) for row in rows if row.traced_ms and row.silent_ms),
                            default=None),
        "noInterruptions": len(false),
        "cutByMistake": sum(row.ended for row in false),
        "heldForAWhile": len(held),
        "pauseMs": _quantiles(sorted(row.resumed_after_ms for row in held if row.resumed_after_ms is not None)),
        "repeatedMs": _round(max((row.repeated_ms for row in rows), default=0.0)),
        "lostMs": _round(max((row.lost_ms for row in rows), default=0.0)),
    }  # fmt: skip


def _quantiles(ordered: Sequence[float]) -> dict[str, float] | None:
    if not ordered:
        return None
    places = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {name: _round(ordered[min(len(ordered) - 1, int(share * len(ordered)))]) for name, share in places.items()}


def _round(value: float) -> float:
    return round(value, 1)
