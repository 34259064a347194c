"""Calls to users that apps watch, on a manual clock: who is told, every way to end, and that nothing is left."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from tests.scenarios.meeting import GROUP, add, answered, connect, hears, move, transfer
from tests.scenarios.stage import CALLBACK, CALLER, OTHER, VERSION, Stage

from offhook.audio.tones import ToneSource
from offhook.errors import CallError
from offhook.service.app_phones import AppPhones
from offhook.service.identities import WITHHELD
from offhook.wire.connecting import CallLocator
from offhook.wire.identifiers import parse_raw_id
from offhook.wire.models import CreateCallRequest, decode_request
from offhook.wire.tones import StartContinuousDtmfRequest

USER = parse_raw_id("8:acs:11111111-0000-0000-0000-000000000001_00000000-0000-0000-0000-000000000001")

NEXT = parse_raw_id("8:acs:11111111-0000-0000-0000-000000000001_00000000-0000-0000-0000-000000000002")


def watching(stage: Stage) -> list[tuple[str, str]]:
    """An app watches every user from now on; who was asked about."""
    asked: list[tuple[str, str]] = []

    def watched(callee: str, caller: str) -> bool:
        asked.append((callee, caller))
        return True

    stage.node.find_app = AppPhones(stage.node, watched).find
    return asked


def incoming(stage: Stage) -> dict[str, Any]:
    return dict(json.loads(stage.posts[-1].body)[0]["data"])


@pytest.mark.parametrize("rate", [16000, 24000])
def test_the_apps_of_both_calls_hear_each_other_whole(rate: int) -> None:
    stage = Stage()
    asked = watching(stage)
    first = stage.create(USER)
    stage.run(1)
    assert stage.events == [] and asked == [(USER.raw_id, "4:anonymous")]
    assert (incoming(stage)["to"]["rawId"], incoming(stage)["from"]["rawId"]) == (USER.raw_id, "4:anonymous")
    stage.answer(rate=rate)
    assert stage.events.count("CallConnected") == 2
    stage.run(0.2)
    calling, called = stage.streams
    source = ToneSource(500.0, 16000)
    calling.say(b"".join(source.next().tobytes() for _ in range(50)))
    stage.run(1.5)
    loud = np.flatnonzero(called.pcm())
    assert abs(int(np.ptp(loud)) - rate) < rate // 50 and np.diff(loud).max() <= 3, "a second of it, without a hole"
    assert np.abs(called.pcm()).max() == pytest.approx(np.abs(ToneSource(500.0, 16000).next()).max(), rel=0.1)
    stage.node.hang_up(first)
    stage.run(0.1)
    assert stage.events.count("CallDisconnected") == 2 and stage.empty()


@pytest.mark.parametrize(
    ("reason", "ends"), [("busy", (486, 560486)), ("forbidden", (403, 560403)), ("none", (200, 5002))]
)
def test_a_refusal_is_that_of_the_app(reason: str, ends: tuple[int, int]) -> None:
    stage = Stage()
    watching(stage)
    stage.create(USER)
    stage.reject(reason)
    stage.run(0.1)
    assert stage.result("CreateCallFailed") == ends and stage.empty()


def test_nobody_answers() -> None:
    stage = Stage()
    watching(stage)
    stage.create(USER)
    stage.run(60)
    assert stage.result("CreateCallFailed") == (487, 10004) and stage.empty()


def test_the_caller_gives_up() -> None:
    stage = Stage()
    watching(stage)
    connection = stage.create(USER)
    stage.run(1)
    stage.node.hang_up(connection)
    stage.run(0.1)
    assert stage.events == ["CreateCallFailed", "CallDisconnected"] and stage.empty()


def test_the_app_redirects_to_a_phone() -> None:
    """The calling app hears the phone that the other app sent it to."""
    stage = Stage()
    watching(stage)
    phone = stage.phone(OTHER)
    stage.create(USER)
    stage.redirect(OTHER)
    stage.run(3)
    assert stage.events.count("CallConnected") == 1 and phone.parties[0].heard
    phone.parties[0].leg.leave()
    stage.run(0.1)
    assert stage.events.count("CallDisconnected") == 1 and stage.empty()


def test_a_node_that_is_full_takes_the_call_of_neither() -> None:
    stage = Stage()
    watching(stage)
    stage.node._most_calls = 1
    stage.create(USER)
    stage.run(0.1)
    failed = stage.event("CreateCallFailed")["resultInformation"]
    assert (failed["code"], failed["subCode"]) == (486, 560486) and "most_calls" in failed["message"]
    assert stage.empty()


def test_a_node_that_is_being_drained_says_so() -> None:
    stage = Stage()
    watching(stage)
    app, _ = answered(stage)
    stage.node.draining = True
    add(stage, app, USER)
    assert "The service is stopping." in stage.event("AddParticipantFailed")["resultInformation"]["message"]


def test_a_node_that_stops_ends_both() -> None:
    stage = Stage()
    watching(stage)
    stage.create(USER)
    stage.answer()
    stage.run(0.1)
    stage.node.shut_down()
    assert stage.events.count("CallDisconnected") == 2 and stage.empty()


def test_names_and_headers_go_along() -> None:
    stage = Stage()
    watching(stage)
    body = {
        "targets": [{"rawId": USER.raw_id}],
        "callbackUri": CALLBACK,
        "sourceDisplayName": "First app",
        "source": {"id": USER.raw_id[:-1] + "2"},
        "customCallingContext": {"voipHeaders": {"a": "b"}, "sipHeaders": {"X-MS-Custom-one": "1"}},
    }
    stage.node.create(decode_request(CreateCallRequest, json.dumps(body).encode()), VERSION)
    told = incoming(stage)
    assert told["callerDisplayName"] == "First app" and told["from"]["rawId"] == USER.raw_id[:-1] + "2"
    assert told["customContext"]["sipHeaders"] == {"X-MS-Custom-one": "1"}


def test_numbers_and_users_that_nobody_watches_are_not_reached() -> None:
    stage = Stage()
    asked = watching(stage)
    stage.create(OTHER)
    assert stage.result("CreateCallFailed") == (404, 8544) and asked == []
    stage.node.find_app = AppPhones(stage.node, lambda callee, caller: False).find
    stage.create(USER)
    stage.run(0.1)
    assert stage.result("CreateCallFailed") == (404, 8544) and stage.posts == [] and stage.empty()
    assert "[[webhook]]" in stage.event("CreateCallFailed")["resultInformation"]["message"]


@pytest.mark.parametrize("rate", [16000, 24000])
def test_a_call_is_transferred_to_an_app_and_its_legs_live_on_elsewhere(rate: int) -> None:
    """The call that rang the app is over when the app answers: what happens to its leg then is told to the new one."""
    stage = Stage()
    watching(stage)
    app, caller = answered(stage)
    along = {"sip_headers": (("User-To-User", "u"), ("X-MS-Custom-a", "b")), "voip_headers": (("order", "7"),)}
    transfer(stage, app, USER, **along)
    told = incoming(stage)
    assert (told["from"]["rawId"], told["callerDisplayName"]) == (CALLER.raw_id, "Ann")
    assert told["customContext"] == {
        "sipHeaders": {"userToUser": "u", "X-MS-Custom-a": "b"},
        "voipHeaders": {"order": "7"},
    }
    other = stage.answer(rate=rate)
    stage.run(0.3)
    assert stage.events.count("CallTransferAccepted") == stage.events.count("CallDisconnected") == 1
    stage.streams[1].say(np.full(rate, 700, "<i2").tobytes())
    stage.run(0.3)
    assert hears(caller) == pytest.approx(700, abs=5)
    keys = StartContinuousDtmfRequest(target_participant=CALLER)
    stage.node.ask(other, lambda call, now: call.tones(other, keys, now))
    caller.leg.press("5")
    stage.run(0.3)
    assert stage.event("ContinuousDtmfRecognitionToneReceived")["tone"] == "five", "its menu can be used"
    stage.node.hang_up(other)
    stage.run(0.1)
    assert caller.end is not None and stage.empty() and not stage.node.moved


def test_the_app_that_was_transferred_to_refuses() -> None:
    stage = Stage()
    watching(stage)
    app, caller = answered(stage)
    transfer(stage, app, USER)
    stage.reject("busy")
    stage.run(0.1)
    assert stage.result("CallTransferFailed") == (486, 560486)
    assert stage.node.properties(app).call_connection_state == "connected" and caller.end is None


def test_an_app_is_added_to_a_call_and_redirects_with_what_went_along() -> None:
    stage = Stage()
    watching(stage)
    app, caller = answered(stage)
    add(stage, app, USER, sip_headers=(("User-To-User", "u"),), voip_headers=(("order", "7"),))
    first = incoming(stage)
    stage.redirect(NEXT)
    again = incoming(stage)
    assert again["to"]["rawId"] == NEXT.raw_id and again["customContext"] == first["customContext"]
    assert first["customContext"] == {"sipHeaders": {"userToUser": "u"}, "voipHeaders": {"order": "7"}}
    other = stage.answer()
    stage.run(0.3)
    assert stage.events.count("AddParticipantSucceeded") == 1
    stage.streams[1].say(np.full(16000, 700, "<i2").tobytes())
    stage.run(0.3)
    assert hears(caller) == 700
    stage.node.hang_up(other)
    stage.run(0.1)
    assert [p.identifier for p in stage.node.participants(app)][0] == CALLER and caller.end is None


def test_both_ends_of_a_call_are_not_moved_into_one() -> None:
    stage = Stage()
    watching(stage)
    first = stage.create(USER)
    second = stage.answer()
    stage.run(0.1)
    with pytest.raises(CallError) as refused:
        move(stage, first, second, WITHHELD)
    assert refused.value.outcome == "conflict" and "4:anonymous" in refused.value.detail
    assert [p.identifier for p in stage.node.participants(second)][0] == WITHHELD
    meeting = connect(stage, CallLocator("groupCallLocator", GROUP))
    move(stage, meeting, second, WITHHELD)
    stage.run(0.1)
    assert stage.events.count("MoveParticipantSucceeded") == 1
    stage.node.hang_up(first)
    stage.node.terminate(meeting)
    stage.run(0.1)
    assert stage.empty() and not stage.node.moved
