"""Captures: what each leg was really given, whatever happens to its seat; late events; what a plan leaves out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.scenarios.stage import CALLER, Stage
from tests.scenarios.test_faults import stall
from tests.scenarios.test_participants import PEOPLE, add, conference, mute, remove

from offhook.audio.jitter import JitterBuffer
from offhook.audio.pcm import Frame
from offhook.legs.leg import RateChanged
from offhook.legs.simulated import SimulatedLeg
from offhook.service import capturing
from offhook.service.call_sound import CallSound
from offhook.service.capturing import Captures

RATE = 16000


def stage_in(folder: Path, **keeps: bool) -> Stage:
    """A stage whose node keeps its calls in a folder; nothing is written until `CallSound` is asked for."""
    stage = Stage()
    stage.node.captures = Captures(stage.clock, stage.node.media, folder, **keeps)
    return stage


def sound_of(stage: Stage, call_id: str) -> CallSound:
    """What there is of a call: of one that is over, after the thread has had its turn."""
    captures = stage.node.captures
    assert captures is not None
    if call_id not in stage.node.calls:
        captures.writer.drain()
    found = captures.find(call_id)()
    assert found is not None
    return found


def whole(sound: CallSound, leg_id: str, side: str, part: int = 1) -> Frame:
    """All of a stretch."""
    [one] = [one for one in sound.of(leg_id, side) if one.part == part]
    return one.read(0, one.samples)


def test_the_track_of_a_call_is_what_its_caller_heard_and_said_live_and_kept(tmp_path: Path) -> None:
    stage = stage_in(tmp_path)
    party = stage.call(lead=0.0)
    party.leg.say(np.arange(1, 8001, dtype="<i2").tobytes())
    stage.answer()
    stage.run(0.3)
    stage.streams[0].say(np.full(RATE * 3, 777, "<i2").tobytes())
    stage.run(1.5)
    stage.streams[0].stop()
    stage.run(0.31)
    assert party.live is not None
    call_id, leg_id = party.live.call.call_id, party.leg.leg_id
    for over in (False, True):
        if over:
            stage.node.terminate(next(iter(party.live.call.connections)))
            stage.run(0.1)
        sound, heard = sound_of(stage, call_id), party.pcm(RATE)
        assert np.array_equal(whole(sound, leg_id, "heard"), heard)
        said = whole(sound, leg_id, "said")
        assert len(said) == len(heard)
        spoken = int(np.flatnonzero(said)[0])
        assert np.array_equal(said[spoken : spoken + 8000], np.arange(1, 8001))
    cut = next(event for event in party.live.trace.events if event.kind == "stopAudio")
    at = cut.detail["atSample"]
    assert abs(int(np.flatnonzero(heard)[-1]) + 1 - at) <= 1
    assert {path.name for path in (tmp_path / call_id).iterdir()} == {
        "01-said.wav", "01-heard.wav", "tracks.json", "series.json",
    }  # fmt: skip
    [row] = json.loads((tmp_path / call_id / "tracks.json").read_text())["tracks"]
    assert row == {"legId": leg_id, "number": 1, "part": 1, "beginMs": 20.0, "rate": RATE, "samples": len(heard),
                   "leftOut": 0}  # fmt: skip


def test_when_the_clock_slips_the_track_is_silent_and_stays_on_the_axis(tmp_path: Path) -> None:
    """A second is not ticked: the track has it as silence, so what comes later is where its time is; so is a stop."""
    stage = stage_in(tmp_path)
    party = stage.call(tone=440.0)
    stage.answer()
    stage.run(1.0)
    stall(stage.clock, 1.0)
    stage.run(0.1)
    stage.streams[0].say(np.full(RATE, 777, "<i2").tobytes())
    stage.run(0.5)
    slips = stage.node.media.slips
    assert slips >= 40 and party.live is not None
    stage.streams[0].stop()
    stage.run(0.1)
    sound = sound_of(stage, party.live.call.call_id)
    said, heard = (whole(sound, party.leg.leg_id, side) for side in ("said", "heard"))
    assert len(said) == len(party.pcm(RATE)) + slips * 320
    gaps = np.flatnonzero(~said.reshape(-1, 320).any(axis=1))
    assert len(gaps) in (slips, slips + 1) and (np.diff(gaps[-slips:]) == 1).all()
    cut = next(event for event in party.live.trace.events if event.kind == "stopAudio")
    last = int(np.flatnonzero(heard)[-1]) + 1
    assert abs(last - cut.detail["atSample"]) <= 1
    assert cut.detail["atSample"] == cut.detail["readAtSample"] + 80
    assert party.live.trace.answered is not None
    at_ms = (cut.at - party.live.trace.answered) * 1000
    assert abs(at_ms - 20 - cut.detail["readAtSample"] / 16) <= 20


def test_in_a_conference_everybody_hears_their_own_mix_muted_or_not(tmp_path: Path) -> None:
    stage = stage_in(tmp_path)
    app, people = conference(stage, 5)
    mute(stage, app, PEOPLE[1])
    stage.run(0.2)
    live = people[CALLER].live
    assert live is not None
    sound = sound_of(stage, live.call.call_id)
    for number, party in enumerate(people.values()):
        heard = whole(sound, party.leg.leg_id, "heard")
        assert np.array_equal(heard, party.pcm(RATE)[: len(heard)])
        assert whole(sound, party.leg.leg_id, "said")[-1] == 2**number
    assert whole(sound, people[PEOPLE[2]].leg.leg_id, "heard")[-1] == 31 - 4 - 2


def test_another_codec_does_not_break_the_track(tmp_path: Path) -> None:
    stage = stage_in(tmp_path)
    _, people = conference(stage, 3)
    party = people[PEOPLE[1]]
    assert party.live is not None
    for _ in range(3):
        stage.node.leg_event(party.live, party.leg.leg_id, RateChanged())
        stage.run(0.1)
    sound = sound_of(stage, party.live.call.call_id)
    assert len(sound.of(party.leg.leg_id, "said")) == 1
    heard = whole(sound, party.leg.leg_id, "heard")
    assert np.array_equal(heard, party.pcm(RATE)[: len(heard)])


def test_legs_that_come_and_go_have_stretches_of_their_own(tmp_path: Path) -> None:
    """Who is called again is another leg; a call that a leg leaves keeps what it said there."""
    stage = stage_in(tmp_path)
    app, people = conference(stage, 3)
    live = people[CALLER].live
    assert live is not None
    stage.run(0.5)
    first = people[PEOPLE[1]].leg.leg_id
    remove(stage, app, PEOPLE[1])
    stage.run(0.5)
    add(stage, app, PEOPLE[1])
    stage.run(0.5)
    sound = sound_of(stage, live.call.call_id)
    rows = [row for row in sound.tracks() if row["side"] == "said"]
    assert [row["number"] for row in rows] == [1, 2, 3, 4]
    gone, back = rows[1], rows[3]
    assert gone["legId"] == first != back["legId"]
    assert gone["beginMs"] + gone["samples"] * 1000 / RATE <= back["beginMs"] - 500
    numbers = {leg["legId"]: leg["number"] for leg in live.trace.header()["legs"]}
    assert {row["legId"]: row["number"] for row in rows} == numbers


@pytest.mark.parametrize("series", [True, False])
def test_a_plan_without_sound_or_without_history_keeps_what_it_says(tmp_path: Path, series: bool) -> None:
    stage = stage_in(tmp_path, keeps_sound=False, keeps_series=series)
    party = stage.call(tone=440.0)
    app = stage.answer()
    stage.run(1.0)
    assert party.live is not None
    call_id = party.live.call.call_id
    live = sound_of(stage, call_id)
    assert live.segments == ()
    page = live.series()
    assert page is not None and len(page["clock"]["lateMs"]) == 11
    stage.node.terminate(app)
    stage.run(0.1)
    assert stage.node.captures is not None
    stage.node.captures.writer.drain()
    assert [path.name for path in tmp_path.rglob("*.*")] == (["series.json"] if series else [])


def test_a_call_that_was_never_answered_leaves_nothing(tmp_path: Path) -> None:
    stage = stage_in(tmp_path)
    party = stage.call()
    stage.run(0.2)
    party.leg.leave()
    stage.run(0.2)
    captures = stage.node.captures
    assert captures is not None
    captures.writer.drain()
    assert list(tmp_path.iterdir()) == [] and captures._live == captures._ending == {}


def test_what_came_late_is_told_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ticks that began over 10 ms late, and packets lost or late at an RTP leg; no more than a bound of events."""
    monkeypatch.setattr(capturing, "MOST_LATE", 2)
    stage = stage_in(tmp_path)
    party = stage.call(tone=440.0)
    stage.answer()
    stage.run(0.5)
    told: list[tuple[str, dict[str, Any]]] = []
    assert party.live is not None

    def events() -> list[tuple[str, dict[str, Any]]]:
        assert party.live is not None
        return [(one.name, one.detail) for one in party.live.trace.events if one.kind == "late"]

    for second in range(4):
        for late in (0.011, 0.012, 0.03):
            stage.node.media._count(late)
        stage.run(1.1)
        told.append(("ticks", {"ticks": 3, "overMs": 10}))
        assert events() == told[:2], second
    series = sound_of(stage, party.live.call.call_id).series()
    assert series is not None and max(series["clock"]["lateMs"]) == 30


def test_packets_that_a_leg_missed_are_in_the_trace_and_the_series(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leg with a jitter buffer, as those over RTP have."""
    monkeypatch.setattr(capturing, "RtpPort", SimulatedLeg)
    stage, jitter = stage_in(tmp_path), JitterBuffer(8000)
    party = stage.call(tone=440.0)
    party.leg.jitter, party.leg.describe = jitter, lambda: {"codec": "PCMU"}  # type: ignore[attr-defined]
    stage.answer()
    stage.run(1.5)
    jitter.counters.lost += 4
    jitter.counters.late += 1
    stage.run(2.5)
    assert party.live is not None
    late = [event for event in party.live.trace.events if event.kind == "late"]
    assert [(event.name, event.detail["lost"], event.detail["late"]) for event in late] == [("packets", 4, 1)]
    sound = sound_of(stage, party.live.call.call_id)
    series = sound.series()
    assert series is not None and sum(series["legs"][party.leg.leg_id]["lost"]) == 4
    assert sound.rtp == {party.leg.leg_id: {"codec": "PCMU"}}


def test_a_call_of_hours_is_found_until_its_files_are_whole(tmp_path: Path) -> None:
    stage = stage_in(tmp_path)
    party = stage.call(tone=440.0)
    app = stage.answer()
    stage.run(1.0)
    assert party.live is not None
    call_id, captures = party.live.call.call_id, stage.node.captures
    assert captures is not None
    heard = captures.audio(call_id)
    assert heard[party.leg.leg_id][0]["samples"] == len(party.pcm(RATE))
    stage.node.terminate(app)
    stage.run(0.1)
    before = captures.find(call_id)()
    assert before is not None and len(before.segments) == 2
    captures.writer.drain()
    after = captures.find(call_id)()
    assert after is not None and after.tracks() == before.tracks()
    assert captures.audio(call_id) == {}
    for strange in ("../etc", "", "a/b", "x" * 200, "."):
        assert captures.find(strange)() is None
