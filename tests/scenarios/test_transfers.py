"""Transfers on a manual clock: who talks to whom before, meanwhile and after, and every way to fail."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.scenarios.meeting import PEOPLE, add, answered, hears, speaking, transfer
from tests.scenarios.stage import CALLEE, CALLER, OTHER, Party, Stage

from offhook.errors import CallError
from offhook.legs.leg import Answered, Dtmf, Referred


def test_the_one_person_talks_to_the_target_and_the_app_is_out() -> None:
    stage = Stage()
    app, caller = answered(stage)
    parties = speaking(stage, OTHER, 2, answers=1.0)
    transfer(stage, app, OTHER)
    assert stage.node.properties(app).call_connection_state == "transferring"
    stage.streams[0].say(b"\x00\x10" * 48000)
    stage.run(0.5)
    assert hears(caller) == 0x1000, "it goes on as before meanwhile"
    stage.run(1.0)
    assert (hears(caller), hears(parties[0])) == (2, 1)
    assert stage.events[-2:] == ["CallTransferAccepted", "CallDisconnected"]
    accepted = stage.event("CallTransferAccepted")
    assert stage.result("CallTransferAccepted") == (200, 7015) and accepted["operationContext"] == "transfer"
    assert (accepted["transferee"]["rawId"], accepted["transferTarget"]["rawId"]) == (CALLER.raw_id, OTHER.raw_id)
    assert stage.streams[0].closed_at is not None
    with pytest.raises(CallError):
        stage.node.properties(app)
    assert len(stage.node.calls) == 1 and len(stage.node.moved) == 2
    caller.leg.leave()
    stage.run(0.1)
    assert parties[0].end is not None and caller.end is not None
    assert stage.empty() and not stage.node.moved


@pytest.mark.parametrize("rate", [8000, 48000])
def test_each_has_a_rate_of_its_own(rate: int) -> None:
    stage = Stage()
    caller = stage.call(rate=rate, tone=440.0)
    app = stage.answer(rate=24000)
    stage.run(0.1)
    parties = speaking(stage, OTHER, 500)
    transfer(stage, app, OTHER)
    stage.run(1.0)
    assert hears(caller) == pytest.approx(500, abs=5)
    assert parties[0].heard[-1] is not None
    parties[0].leg.leave()
    stage.run(0.1)
    assert caller.end is not None and stage.empty()


def test_in_a_group_the_named_one_leaves_and_the_others_stay() -> None:
    stage = Stage()
    app, caller = answered(stage)
    second = speaking(stage, PEOPLE[1], 2)
    third = speaking(stage, PEOPLE[2], 4)
    target = speaking(stage, OTHER, 8)
    for person in PEOPLE[1:3]:
        add(stage, app, person)
        stage.run(0.2)
    with pytest.raises(CallError) as refused:
        transfer(stage, app, OTHER)
    assert refused.value.outcome == "invalid_argument" and "transferee" in refused.value.detail
    transfer(stage, app, OTHER, transferee=PEOPLE[1])
    stage.run(0.3)
    assert [hears(party) for party in (caller, second[0], third[0], target[0])] == [4, 8, 1, 2]
    assert stage.events[-2:] == ["CallTransferAccepted", "ParticipantsUpdated"]
    assert [p.identifier for p in stage.node.participants(app)] == [CALLER, PEOPLE[2], CALLEE]
    stage.node.terminate(app)
    stage.run(0.1)
    assert caller.end is not None and third[0].end is not None and second[0].end is None
    second[0].leg.leave()
    stage.run(0.1)
    assert target[0].end is not None and stage.empty() and not stage.node.moved


@pytest.mark.parametrize(
    ("settings", "figures", "wait"),
    [
        ({"refuses": "declined"}, (603, 0), 2),
        ({"refuses": "busy"}, (486, 560486), 1),
        ({"answers": None}, (487, 10004), 61),
        (None, (404, 8544), 1),
    ],
)
def test_a_transfer_that_fails_keeps_the_call(
    settings: dict[str, Any] | None, figures: tuple[int, int], wait: float
) -> None:
    stage = Stage()
    app, caller = answered(stage)
    if settings is not None:
        stage.phone(OTHER, **settings)
    transfer(stage, app, OTHER, operation_callback_uri="http://app.test/other")
    stage.run(wait)
    assert stage.events[-1] == "CallTransferFailed" and stage.result("CallTransferFailed") == figures
    assert stage.callbacks[-1]["uri"] == "http://app.test/other"
    assert stage.node.properties(app).call_connection_state == "connected"
    stage.streams[0].say(b"\x00\x10" * 16000)
    stage.run(0.2)
    assert hears(caller) == 0x1000, "they talk on"
    speaking(stage, OTHER, 2)
    transfer(stage, app, OTHER)
    stage.run(0.3)
    assert hears(caller) == 2, "and another try may work"


@pytest.mark.parametrize("end", ["caller leaves", "hang up", "terminate", "stop"])
def test_a_transfer_ends_with_its_call(end: str) -> None:
    stage = Stage()
    app, caller = answered(stage)
    phone = stage.phone(OTHER, answers=None)
    transfer(stage, app, OTHER)
    stage.run(0.2)
    if end == "caller leaves":
        caller.leg.leave()
    elif end == "stop":
        stage.node.shut_down()
    else:
        getattr(stage.node, end.replace(" ", "_"))(app)
    stage.run(0.1)
    assert stage.events[-2:] == ["CallTransferFailed", "CallDisconnected"]
    assert stage.result("CallTransferFailed") == ((400, 8558) if end == "caller leaves" else (400, 8508))
    assert phone.parties[0].end is not None and stage.empty() and not stage.node.moved


def test_what_cannot_be_transferred_is_refused() -> None:
    stage = Stage()
    app, _ = answered(stage)
    stage.phone(OTHER, answers=None)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"to": CALLER}, "invalid_argument"),
        ({"to": OTHER, "transferee": PEOPLE[4]}, "participant_not_found"),
        ({"to": OTHER, "transferee": CALLEE}, "participant_not_found"),
    ]
    for options, outcome in cases:
        with pytest.raises(CallError) as refused:
            transfer(stage, app, **options)
        assert refused.value.outcome == outcome
    transfer(stage, app, OTHER)
    for to, outcome in ((OTHER, "conflict"), (PEOPLE[3], "transfer_conflict")):
        with pytest.raises(CallError) as refused:
            transfer(stage, app, to)
        assert refused.value.outcome == outcome


def test_who_is_shown_to_the_target_and_what_goes_along() -> None:
    stage = Stage()
    actions: list[Any] = []
    phone = stage.phone(OTHER, answers=None)
    ring = phone.ring

    def keeping(action: Any, call_id: str) -> Any:
        actions.append(action)
        return ring(action, call_id)

    phone.ring = keeping  # type: ignore[method-assign]
    for options in ({}, {"source_caller_id_number": PEOPLE[5], "sip_headers": (("X-MS-Custom-a", "b"),)}):
        app, caller = answered(stage)
        transfer(stage, app, OTHER, **options)
        stage.run(0.1)
        caller.leg.leave()
        stage.run(0.1)
    assert [action.source for action in actions] == [CALLER, PEOPLE[5]]
    assert [action.sip_headers for action in actions] == [(), (("X-MS-Custom-a", "b"),)]


@pytest.mark.parametrize("in_sound", [False, True])
def test_a_key_of_who_was_transferred_reaches_the_target(in_sound: bool) -> None:
    """One whose tones are heard anyway is not played once more."""
    stage = Stage()
    app, caller = answered(stage)
    parties: list[Party] = speaking(stage, OTHER, 2)
    transfer(stage, app, OTHER)
    stage.run(0.3)
    stage.node.leg_event(caller.live, caller.leg.leg_id, Dtmf("5", in_sound))
    stage.run(0.1)
    heard = parties[0].heard[-1]
    assert heard is not None and (np.abs(heard).max() > 1000) != in_sound
    assert hears(caller) == 2, "and not who has pressed it"
    parties[0].leg.leave()
    stage.run(0.1)
    assert stage.events[-1] == "CallDisconnected" and stage.empty()


def test_who_leaves_in_the_tick_in_which_the_target_answers_ends_the_new_call() -> None:
    stage = Stage()
    app, caller = answered(stage)
    phone = stage.phone(OTHER, answers=None)
    transfer(stage, app, OTHER)
    target = phone.parties[0]

    def in_a_tick(stream: Any, audio: Any) -> None:
        stage.on_frame = None
        stage.node.leg_event(target.live, target.leg.leg_id, Answered())
        caller.leg.leave()

    stage.on_frame = in_a_tick
    stage.run(0.1)
    assert stage.events[-2:] == ["CallTransferAccepted", "CallDisconnected"]
    assert caller.end is not None and target.end is not None and stage.empty() and not stage.node.moved


def test_who_was_invited_while_a_trunk_was_asked_is_not_rung_twice() -> None:
    stage = Stage()
    app, caller = answered(stage)
    phone = stage.phone(OTHER, answers=None)
    stage.node.refer = lambda leg, action: True
    transfer(stage, app, OTHER)
    add(stage, app, OTHER)
    stage.node.leg_event(caller.live, caller.leg.leg_id, Referred("leg_failed", refused=True))
    assert stage.result("CallTransferFailed") == (409, 8519) and len(phone.parties) == 1
    assert stage.node.properties(app).call_connection_state == "connected"
