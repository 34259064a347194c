"""A caller calls the app: answered, refused, sent on, given up, forgotten; each to its very end."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.scenarios.stage import CALLEE, CALLER, OTHER, Stage

from offhook.errors import CallError
from offhook.wire.identifiers import Identifier


def incoming_to(stage: Stage) -> str:
    return str(json.loads(stage.posts[-1].body)[0]["data"]["to"]["rawId"])


def test_a_caller_hears_itself_through_the_app_exactly_one_tick_later() -> None:
    stage = Stage()
    stage.echo()
    caller = stage.call(tone=440.0, duration=3.0)
    assert stage.events == [] and not stage.node.media.running  # it only rings
    stage.run(0.5)
    stage.answer()
    stage.run(4)
    assert len(caller.heard) == 150
    said, heard = stage.streams[0].pcm(), caller.pcm()
    assert np.array_equal(said[:-320], heard[320:])
    assert caller.figures is not None
    assert (caller.figures.heard, caller.figures.gaps, caller.figures.late) == (149, 0, 0)
    assert stage.events == ["CallConnected", "ParticipantsUpdated", "MediaStreamingStarted", "CallDisconnected"]
    assert stage.empty()


def test_the_restart_rule_costs_a_live_echo_two_ticks() -> None:
    stage = Stage(restart_ms=40)
    stage.echo()
    caller = stage.call(tone=440.0, duration=3.0)
    stage.answer()
    stage.run(4)
    assert np.array_equal(stage.streams[0].pcm()[:-640], caller.pcm()[640:])
    assert caller.figures is not None and caller.figures.gaps == 0


def test_one_who_hangs_up_ends_the_call_with_the_figures_of_the_far_end() -> None:
    stage = Stage()
    caller = stage.call(duration=2.0)
    connection = stage.answer()
    stage.run(3)
    assert stage.result("CallDisconnected") == (0, 560000)
    assert caller.end is not None
    assert (caller.end.code, caller.end.sub_code, caller.end.ended_by) == (0, 560000, "caller")
    assert stage.streams[0].closed_at is not None
    assert stage.finished == [connection]
    with pytest.raises(CallError) as refused:
        stage.node.hang_up(connection)
    assert refused.value.outcome == "call_not_found"


@pytest.mark.parametrize("way", ["hang_up", "terminate"])
def test_the_app_ends_the_call(way: str) -> None:
    stage = Stage()
    caller = stage.call()
    connection = stage.answer()
    stage.run(1)
    getattr(stage.node, way)(connection)
    assert stage.events[-1] == "CallDisconnected"
    assert caller.end is not None and caller.end.ended_by == "app"
    assert caller.figures is not None and caller.figures.frames == 50
    assert stage.empty()


def test_a_caller_gives_up_and_the_context_is_worth_nothing() -> None:
    stage = Stage()
    caller = stage.call()
    stage.run(2)
    assert stage.posts[0].still_ringing()
    caller.leg.leave()
    assert not stage.posts[0].still_ringing()
    with pytest.raises(CallError) as late:
        stage.answer()
    assert late.value.outcome == "call_not_found"
    assert caller.end is not None and stage.events == []
    assert stage.empty()


def test_nobody_answers_for_thirty_seconds() -> None:
    stage = Stage()
    caller = stage.call()
    stage.run(29.8)
    assert caller.end is None
    stage.run(0.4)
    assert caller.end is not None and caller.end.ended_by == "timeout"
    assert (caller.end.code, caller.end.sub_code) == (487, 10004)
    assert stage.empty()


def test_nobody_is_told_of_the_call() -> None:
    stage = Stage()
    stage.subscriptions = 0
    caller = stage.call()
    assert caller.end is None  # the caller is told after it knows of its call
    stage.run(0.1)
    assert caller.end is not None and caller.end.ended_by == "service"
    assert (caller.end.code, caller.end.sub_code) == (404, 8544)
    assert stage.empty()


def test_the_second_to_answer_is_told_so_and_changes_nothing() -> None:
    stage = Stage()
    caller = stage.call(duration=2.0)
    stage.answer()
    with pytest.raises(CallError) as second:
        stage.answer()
    assert second.value.outcome == "context_spent"
    assert stage.events.count("CallConnected") == 1 and len(stage.streams) == 1
    stage.run(3)
    assert len(caller.heard) == 100


@pytest.mark.parametrize(
    ("reason", "ends"), [("none", (200, 5002)), ("busy", (486, 560486)), ("forbidden", (403, 560403))]
)
def test_the_app_rejects(reason: str, ends: tuple[int, int]) -> None:
    stage = Stage()
    caller = stage.call()
    stage.reject(reason)
    assert caller.end is not None
    assert (caller.end.code, caller.end.sub_code) == ends and caller.end.ended_by == "app"
    assert caller.heard == [] and stage.events == []
    assert stage.empty()


def test_redirected_to_a_phone_they_talk_without_the_app() -> None:
    stage = Stage()
    phone = stage.phone(OTHER, answers=2.0)
    caller = stage.call(tone=440.0, duration=2.0)
    stage.redirect(OTHER)
    stage.run(1)
    with pytest.raises(CallError):
        stage.answer()
    stage.run(4)
    assert stage.events == []
    (called,) = phone.parties
    assert np.abs(called.pcm()).max() > 1000
    assert len(called.heard) == len(caller.heard) == 100
    assert caller.end is not None and called.end is not None
    assert stage.empty()


def test_redirected_to_another_app_it_is_told_anew_and_the_old_context_is_spent() -> None:
    stage = Stage()
    caller = stage.call(duration=1.0)
    first = stage.context
    stage.redirect(OTHER)
    assert len(stage.posts) == 2 and incoming_to(stage) == OTHER.raw_id
    assert not stage.posts[0].still_ringing() and stage.posts[1].still_ringing()
    with pytest.raises(CallError) as stale:
        stage.answer(context=first)
    assert stale.value.outcome == "context_spent"
    stage.answer()
    stage.run(2)
    assert len(caller.heard) == 50
    assert stage.empty()


def test_a_call_sent_round_in_circles_is_redirected_ten_times() -> None:
    """Then it is refused, and the call rings on until somebody answers or nobody does."""
    stage = Stage()
    caller = stage.call()
    targets: list[Identifier] = [OTHER, CALLEE]
    for hop in range(10):
        stage.redirect(targets[hop % 2])
    with pytest.raises(CallError) as refused:
        stage.redirect(OTHER)
    assert refused.value.outcome == "conflict" and caller.end is None
    stage.run(31)
    assert caller.end is not None and caller.end.code == 487
    assert stage.empty()


def test_a_redirected_phone_that_never_answers_ends_the_call() -> None:
    stage = Stage()
    phone = stage.phone(OTHER, answers=None)
    caller = stage.call()
    stage.redirect(OTHER)
    stage.run(31)
    assert caller.end is not None and caller.end.code == 487
    assert phone.parties[0].end is not None
    assert stage.empty()


def test_the_roster_names_the_caller_and_the_one_called() -> None:
    stage = Stage()
    stage.call()
    connection = stage.answer()
    listed = [participant.identifier for participant in stage.node.participants(connection)]
    assert listed == [CALLER, CALLEE]
    assert stage.node.participant(connection, CALLER.raw_id).identifier == CALLER
    told = stage.event("ParticipantsUpdated")["participants"]
    assert [participant["identifier"]["rawId"] for participant in told] == [CALLER.raw_id, CALLEE.raw_id]
    with pytest.raises(CallError) as unknown:
        stage.node.participant(connection, OTHER.raw_id)
    assert unknown.value.outcome == "participant_not_found"
