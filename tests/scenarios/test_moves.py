"""People who are moved from one call to another: heard there, told in both, and nothing left behind."""

from __future__ import annotations

import numpy as np
import pytest
from tests.scenarios.meeting import GROUP, PEOPLE, add, answered, connect, hears, move, speaking, told, transfer
from tests.scenarios.stage import CALLER, OTHER, Stage

from offhook.errors import CallError
from offhook.wire.connecting import CallLocator
from offhook.wire.participants import MuteParticipantsRequest
from offhook.wire.tones import SendDtmfTonesRequest

GROUP_CALL = CallLocator("groupCallLocator", GROUP)


def test_the_one_person_of_a_call_is_moved_and_that_call_ends() -> None:
    stage = Stage()
    app, caller = answered(stage)
    parties = speaking(stage, OTHER, 2)
    meeting = connect(stage, GROUP_CALL, rate=24000)
    add(stage, meeting, OTHER)
    stage.run(0.3)
    assert (hears(caller), hears(parties[0])) == (0, 0)
    answer = move(stage, meeting, app, CALLER)
    assert [p.identifier for p in answer.participants] == [OTHER, CALLER] and answer.from_call == app
    stage.run(0.1)
    assert (hears(caller), hears(parties[0])) == (2, 1)
    assert told(stage, app)[-1] == "CallDisconnected" and stage.result("CallDisconnected") == (0, 5003)
    assert told(stage, meeting)[-2:] == ["MoveParticipantSucceeded", "ParticipantsUpdated"]
    moved = stage.event("MoveParticipantSucceeded")
    assert (moved["participant"]["rawId"], moved["fromCall"], moved["operationContext"]) == (CALLER.raw_id, app, "move")
    trace = stage.node.traces.find(meeting)
    assert trace is not None
    shown = {leg.raw_id: leg.display_name for leg in trace.legs.values()}
    assert shown == {OTHER.raw_id: "", CALLER.raw_id: "Ann"}, "a moved leg keeps its name"
    assert caller.end is None
    caller.leg.press("7")
    caller.leg.leave()
    stage.run(0.1)
    assert caller.end is not None and [p.identifier for p in stage.node.participants(meeting)] == [OTHER]
    stage.node.terminate(meeting)
    stage.run(0.1)
    assert stage.empty() and not stage.node.moved


def test_who_is_left_talks_on_and_who_was_muted_is_heard_again() -> None:
    stage = Stage()
    app, caller = answered(stage)
    second, third = speaking(stage, PEOPLE[1], 2), speaking(stage, PEOPLE[2], 4)
    for person in PEOPLE[1:3]:
        add(stage, app, person)
        stage.run(0.2)
    mute = MuteParticipantsRequest(target_participants=(PEOPLE[1],))
    stage.node.ask(app, lambda call, now: call.mute_participants(app, mute, now))
    stage.run(0.1)
    assert hears(caller) == 4
    meeting = connect(stage, GROUP_CALL)
    stage.run(0.1)
    move(stage, meeting, app, PEOPLE[1], PEOPLE[2])
    stage.run(0.1)
    assert [hears(party) for party in (caller, second[0], third[0])] == [0, 4, 2]
    assert told(stage, meeting)[-3:] == ["MoveParticipantSucceeded"] * 2 + ["ParticipantsUpdated"]
    assert told(stage, app)[-1] == "ParticipantsUpdated"
    assert not any(p.is_muted for p in stage.node.participants(meeting))
    move(stage, app, meeting, PEOPLE[2])
    stage.run(0.1)
    assert [hears(party) for party in (caller, second[0], third[0])] == [4, 0, 1], "and back again"
    stage.node.terminate(app)
    stage.node.terminate(meeting)
    stage.run(0.1)
    assert stage.empty() and not stage.node.moved


def test_each_who_cannot_be_moved_is_told_of() -> None:
    stage = Stage()
    app, caller = answered(stage)
    stage.phone(OTHER, answers=None)
    stage.phone(PEOPLE[2], answers=None)
    parties = speaking(stage, PEOPLE[1], 2)
    add(stage, app, PEOPLE[1])
    add(stage, app, OTHER)
    stage.run(0.2)
    meeting = connect(stage, GROUP_CALL)
    add(stage, meeting, PEOPLE[1])
    transfer(stage, app, PEOPLE[2], transferee=CALLER)
    move(stage, meeting, app, OTHER, PEOPLE[1], CALLER)
    stage.run(0.1)
    failed = [event["data"] for event in stage.callbacks if event["type"].endswith("MoveParticipantFailed")]
    assert {one["participant"]["rawId"]: one["resultInformation"]["subCode"] for one in failed} == {
        OTHER.raw_id: 8558,
        PEOPLE[1].raw_id: 8519,
        CALLER.raw_id: 8607,
    }
    assert hears(caller) == 2 and parties[0].end is None


def test_moves_that_are_refused() -> None:
    stage = Stage()
    app, _ = answered(stage)
    meeting = connect(stage, GROUP_CALL, stream=False)
    ringing_phone = stage.phone(OTHER, answers=None)
    dialing = stage.create(OTHER)
    cases = [
        (meeting, "nobody's", (CALLER,), "call_not_found"),
        ("nobody's", app, (CALLER,), "call_not_found"),
        (app, app, (CALLER,), "invalid_argument"),
        (meeting, app, (CALLER, PEOPLE[3]), "participant_not_found"),
        (meeting, dialing, (OTHER,), "call_not_established"),
        (dialing, "nobody's", (CALLER,), "call_not_established"),
    ]
    before = list(stage.events)
    for to, of, people, outcome in cases:
        with pytest.raises(CallError) as refused:
            move(stage, to, of, *people)
        assert refused.value.outcome == outcome
    assert stage.events == before and ringing_phone.parties[0].end is None


def test_keys_that_were_being_sent_are_not_heard_in_the_other_call() -> None:
    stage = Stage()
    app, caller = answered(stage)
    meeting = connect(stage, GROUP_CALL)
    speaking(stage, OTHER, 2)
    add(stage, meeting, OTHER)
    stage.run(0.3)
    keys = SendDtmfTonesRequest(tones=("5",), target_participant=CALLER)
    stage.node.ask(app, lambda call, now: call.tones(app, keys, now))
    stage.run(0.06)
    assert caller.heard[-1] is not None and np.abs(caller.heard[-1]).max() > 1000
    move(stage, meeting, app, CALLER)
    stage.run(0.02)
    assert hears(caller) == 2 and stage.result("SendDtmfTonesFailed") == (400, 8558)
