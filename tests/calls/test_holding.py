"""Hold in a call's machine: who is on hold, what they hear, and every way in which it ends."""

from __future__ import annotations

import pytest
from tests.calls.stage import APP, CALLER, OTHER, THIRD, Input, created, hang_up, leaves, said, shut_down
from tests.calls.test_keys import one
from tests.calls.test_playing import SOURCES, cancel, ended, fails, play, ready, refusal
from tests.calls.test_recognition import another_app, ask, group

from offhook.calls.actions import HoldLeg, StartPrompt
from offhook.calls.call import Call
from offhook.wire.holding import HoldRequest, UnholdRequest
from offhook.wire.identifiers import Identifier
from offhook.wire.recognizing import DtmfOptions

ELSEWHERE = "https://app.test/elsewhere"


def hold(to: Identifier = CALLER, prompted: bool = False, name: str = "hold", app: str = APP) -> Input:
    request = HoldRequest(
        target_participant=to, source=SOURCES[0] if prompted else None, operation_context=name,
        operation_callback_uri=ELSEWHERE,
    )  # fmt: skip
    return lambda call: call.hold(app, name, request, 10.0)


def unhold(to: Identifier = CALLER) -> Input:
    return lambda call: call.unhold(APP, UnholdRequest(target_participant=to), 11.0)


def told(call: Call, given: Input) -> list[str]:
    call.drain()
    given(call)
    return said(call)


def test_on_hold_and_off_it() -> None:
    call = one()
    hold()(call)
    assert call.drain()[0] == HoldLeg("leg0", True)
    assert call.participant(APP, CALLER.raw_id).is_on_hold
    unhold()(call)
    assert call.drain()[0] == HoldLeg("leg0", False)
    assert not call.participant(APP, CALLER.raw_id).is_on_hold
    hold()(call)


def test_the_roster_says_so() -> None:
    call = group()
    assert told(call, hold(OTHER)) == ["HoldLeg leg0", "ParticipantsUpdated #3 other(held) third callee"]
    assert told(call, hold(THIRD)) == ["HoldLeg leg1", "ParticipantsUpdated #4 other(held) third(held) callee"]
    assert told(call, unhold(OTHER)) == ["HoldLeg leg0", "ParticipantsUpdated #5 other third(held) callee"]


def test_a_prompt_plays_in_a_loop_to_who_is_on_hold() -> None:
    call = one()
    assert told(call, hold(prompted=True)) == [
        "HoldLeg leg0", "LoadPrompt app hold", "ParticipantsUpdated #2 caller(held) callee",
    ]  # fmt: skip
    ready("hold")(call)
    assert call.drain() == [StartPrompt(APP, "hold", True, frozenset({CALLER.raw_id}))]
    assert told(call, unhold())[:2] == ["DropPrompt hold", "HoldLeg leg0"]
    assert told(call, ended("hold")) == []


@pytest.mark.parametrize(("outcome", "code"), [("play_not_downloaded", "400/8536"), ("speech_not_set_up", "400/8565")])
@pytest.mark.parametrize("loaded", [False, True])
def test_a_prompt_that_cannot_be_played_ends_it(outcome: str, code: str, loaded: bool) -> None:
    call = one()
    hold(prompted=True)(call)
    if loaded:
        ready("hold")(call)
    assert told(call, fails("hold", outcome)) == [
        "HoldLeg leg0", f"HoldFailed {code} [hold] -> {ELSEWHERE}", "ParticipantsUpdated #3 caller callee",
    ]  # fmt: skip
    assert refusal(call, unhold()) == "media_state"


def test_it_excludes_nothing_and_nothing_cancels_it() -> None:
    call = one()
    hold(prompted=True)(call)
    ready("hold")(call)
    call.drain()
    for given in (play("a"), play("one", CALLER), ready("a"), ready("one"), cancel, play("b", interrupt=True)):
        given(call)
    assert call.participant(APP, CALLER.raw_id).is_on_hold
    assert not [line for line in said(call) if "hold" in line]


def test_refusals() -> None:
    call = one()
    assert refusal(call, unhold()) == "media_state"
    assert refusal(call, hold(OTHER)) == refusal(call, unhold(OTHER)) == "participant_not_found"
    hold()(call)
    call.drain()
    assert refusal(call, hold()) == "media_state"
    ringing = created(OTHER)
    ringing.drain()
    assert refusal(ringing, hold(OTHER)) == "call_not_established"
    hang_up()(call)
    call.drain()
    assert refusal(call, hold()) == refusal(call, unhold()) == "call_not_found"


@pytest.mark.parametrize("end", [hang_up(), leaves("leg0"), shut_down])
def test_nothing_of_it_is_left_when_the_call_ends(end: Input) -> None:
    call = one()
    hold(prompted=True)(call)
    lines = told(call, end)
    assert lines[0] == "DropPrompt hold" and not [line for line in lines if "HoldFailed" in line]
    assert [line for line in lines if line.startswith("Participants")] == []


def test_who_leaves_is_not_on_hold_any_more() -> None:
    call = group()
    hold(OTHER)(call)
    assert told(call, leaves("leg0")) == ["LegLeft leg0", "ParticipantsUpdated #4 third callee"]


def test_an_app_that_leaves_takes_who_it_holds_off_hold() -> None:
    call = group()
    hold(OTHER, app=another_app(call))(call)
    lines = told(call, lambda call: call.drop(call.connection("second"), "ended_by_app"))
    assert lines[:2] == ["HoldLeg leg0", "ParticipantsUpdated #4 other third callee"]


def test_keys_of_who_is_on_hold_still_count() -> None:
    call = one()
    hold()(call)
    ask(call, dtmf=DtmfOptions(most=1))
    call.drain()
    call.leg_dtmf("leg0", "1", 12.0)
    assert said(call) == ["RecognizeCompleted 200/8531 [ask]"]
