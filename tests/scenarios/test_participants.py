"""Several people in one call: who hears whom, sample by sample, while they come, go and fall silent."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from tests.scenarios.stage import CALLEE, CALLER, OTHER, Party, Stage, Stream

from offhook.audio.pcm import Frame
from offhook.legs.leg import RateChanged
from offhook.legs.simulated import Script
from offhook.wire.identifiers import Identifier, parse_raw_id
from offhook.wire.participants import (
    AddParticipantRequest,
    CancelAddParticipantRequest,
    MuteParticipantsRequest,
    RemoveParticipantRequest,
)

PEOPLE = [parse_raw_id(f"4:+1555020000{n}") for n in range(8)]


def add(stage: Stage, app: str, person: Identifier, **options: Any) -> str:
    """Invite somebody; the invitation's id."""
    invitation, leg = stage.node.mint(), stage.node.mint()
    request = AddParticipantRequest(participant_to_add=person, **options)
    stage.node.ask(app, lambda call, now: call.add_participant(app, invitation, leg, request, now))
    return invitation


def mute(stage: Stage, app: str, *people: Identifier) -> None:
    request = MuteParticipantsRequest(target_participants=people)
    stage.node.ask(app, lambda call, now: call.mute_participants(app, request, now))


def remove(stage: Stage, app: str, person: Identifier) -> None:
    request = RemoveParticipantRequest(participant_to_remove=person)
    stage.node.ask(app, lambda call, now: call.remove_participant(app, request, now))


def speaker(stage: Stage, person: Identifier, level: int) -> list[Party]:
    """A phone whose every sample is `level`, so that a mix is a sum that can be told."""
    phone = stage.phone(person, answers=0.1, script=Script(lead=0.0))
    ring = phone.ring

    def speaking(action: Any, call_id: str) -> Any:
        leg = ring(action, call_id)
        leg.say(np.full(16000 * 20, level, "<i2").tobytes())
        return leg

    phone.ring = speaking  # type: ignore[method-assign]
    return phone.parties


def conference(stage: Stage, count: int) -> tuple[str, dict[Identifier, Party]]:
    """The caller says 1, each further person the next power of two; the app's connection and everybody."""
    caller = stage.call()
    caller.leg.say(np.full(16000 * 20, 1, "<i2").tobytes())
    app = stage.answer(audio_channel_type="unmixed")
    stage.run(0.1)
    people = {CALLER: caller}
    for n in range(1, count):
        parties = speaker(stage, PEOPLE[n], 2**n)
        add(stage, app, PEOPLE[n])
        stage.run(0.2)
        people[PEOPLE[n]] = parties[0]
    return app, people


def now_heard(party: Party) -> int:
    """The one level that is in the newest frame somebody heard; 0 is silence."""
    frame = party.heard[-1]
    return 0 if frame is None else level(np.asarray(frame))


def level(frame: Frame) -> int:
    assert len(set(frame.tolist())) == 1, "a mix of steady levels is steady"
    return int(frame[0])


def streamed(stream: Stream) -> dict[str, tuple[int, bool]]:
    """Level and `silent` of the newest frame of each speaker."""
    return {
        frame["participantRawID"]: (level(np.frombuffer(base64.b64decode(frame["data"]), "<i2")), frame["silent"])
        for frame in stream.frames[-8:]
    }


@pytest.mark.parametrize("count", [2, 3, 4, 6])
def test_everybody_hears_the_sum_of_the_others(count: int) -> None:
    stage = Stage()
    app, people = conference(stage, count)
    total = 2**count - 1
    for n, party in enumerate(people.values()):
        assert now_heard(party) == total - 2**n
    levels = [now_level for now_level, _ in streamed(stage.streams[0]).values()]
    assert all(bin(one).count("1") == 1 for one in levels), "each speaker alone"
    assert [p.identifier for p in stage.node.participants(app)] == [*people, CALLEE]
    stage.streams[0].say(np.full(16000, 1024, "<i2").tobytes())
    stage.run(0.1)
    for n, party in enumerate(people.values()):
        assert now_heard(party) == total - 2**n + 1024, "the app is heard by all"
    stage.node.terminate(app)
    stage.run(0.1)
    assert stage.empty()


def test_the_muted_hear_and_are_not_heard_and_stay_muted_with_another_codec() -> None:
    stage = Stage()
    app, people = conference(stage, 3)
    mute(stage, app, PEOPLE[1])
    stage.run(0.02)
    caller, muted, third = people.values()
    for _ in range(2):
        assert [now_heard(party) for party in (caller, muted, third)] == [4, 1 + 4, 1]
        assert streamed(stage.streams[0]) == {
            CALLER.raw_id: (1, False),
            PEOPLE[1].raw_id: (0, True),
            PEOPLE[2].raw_id: (4, False),
        }
        stage.node.leg_event(muted.live, muted.leg.leg_id, RateChanged())
        stage.run(0.1)
    assert stage.event("ParticipantsUpdated")["participants"][1]["isMuted"]


def test_who_is_removed_is_out_of_the_mix_and_may_come_again_unmuted() -> None:
    stage = Stage()
    app, people = conference(stage, 3)
    mute(stage, app, PEOPLE[1])
    remove(stage, app, PEOPLE[1])
    stage.run(0.1)
    end = people[PEOPLE[1]].end
    assert end is not None and (end.code, end.sub_code, end.ended_by) == (0, 5300, "app")
    assert set(streamed(stage.streams[0])) == {CALLER.raw_id, PEOPLE[2].raw_id}
    assert now_heard(people[CALLER]) == 4
    add(stage, app, PEOPLE[1])
    stage.run(0.3)
    assert now_heard(people[CALLER]) == 4 + 2
    assert not any(p.is_muted for p in stage.node.participants(app))


def test_one_who_is_muted_alone_is_silence_that_says_so_in_a_mixed_stream() -> None:
    stage = Stage()
    stage.call(tone=440.0)
    app = stage.answer()
    stage.run(0.2)
    assert not stage.streams[0].frames[-1]["silent"]
    mute(stage, app, CALLER)
    stage.run(0.1)
    newest = stage.streams[0].frames[-1]
    assert newest["silent"] and not any(base64.b64decode(newest["data"]))


def test_what_the_caller_sent_along_is_not_passed_on_to_who_is_added() -> None:
    """Only a redirected call goes on with its headers."""
    stage = Stage()
    actions: list[Any] = []
    phone = stage.phone(OTHER)
    ring = phone.ring

    def keeping(action: Any, call_id: str) -> Any:
        actions.append(action)
        return ring(action, call_id)

    phone.ring = keeping  # type: ignore[method-assign]
    party = stage.call()
    party.live.custom_context = {"sipHeaders": {"User-To-User": "secret"}, "voipHeaders": {}}
    app = stage.answer()
    stage.run(0.1)
    ours = (("X-MS-Custom-a", "b"),)
    invitation = add(stage, app, OTHER, sip_headers=ours)
    cancel = CancelAddParticipantRequest(invitation_id=invitation)
    stage.node.ask(app, lambda call, now: call.cancel_add_participant(app, cancel, now))
    add(stage, app, OTHER)
    assert [action.sip_headers for action in actions] == [ours, ()]


def test_who_came_and_went_is_forgotten_while_the_call_goes_on() -> None:
    stage = Stage()
    party = stage.call()
    app = stage.answer()
    stage.run(0.1)
    live, ids = party.live, {party.leg.leg_id}
    stage.phone(PEOPLE[1], answers=0.1)
    stage.phone(PEOPLE[2], refuses="declined")
    stage.phone(PEOPLE[3], refuses="busy")
    stage.phone(PEOPLE[4], answers=0.1, script=Script(lead=0.0, duration=0.2))
    for person in PEOPLE[:5]:
        add(stage, app, person)
    stage.run(0.2)
    mute(stage, app, PEOPLE[1])
    remove(stage, app, PEOPLE[1])
    stage.run(2)
    assert set(live.call.legs) == set(live.legs) == set(live._names) == set(live._ports) == set(live._seats) == ids
    assert len(live.bridge.members) == 2 and not live._leaving


def test_nobody_is_added_where_the_clock_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    phone = stage.phone(OTHER)
    stage.call()
    app = stage.answer()
    stage.run(0.1)
    monkeypatch.setattr(stage.node, "_tick_mean", 1.0)
    add(stage, app, OTHER)
    assert stage.result("AddParticipantFailed") == (429, 8516) and not phone.parties
    assert [p.identifier for p in stage.node.participants(app)] == [CALLER, CALLEE]


def test_an_invitation_that_runs_out_leaves_nothing() -> None:
    stage = Stage()
    phone = stage.phone(OTHER, answers=None)
    stage.call(duration=8.0)
    app = stage.answer()
    stage.run(0.1)
    add(stage, app, OTHER, invitation_timeout=3)
    stage.run(2.8)
    assert phone.parties[0].end is None
    stage.run(0.4)
    assert stage.result("AddParticipantFailed") == (487, 10004)
    assert phone.parties[0].end is not None
    stage.run(6)
    assert stage.events[-1] == "CallDisconnected" and stage.empty()
