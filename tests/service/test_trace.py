"""Traces: what a page holds, its times, how calls are found, and the bounds."""

from __future__ import annotations

from typing import Any

from offhook.service.clock import ManualClock
from offhook.service.masking import MAX_BODY, Body
from offhook.service.trace import (
    MAX_CALLS,
    MAX_CONNECTIONS,
    MAX_DETAIL,
    MAX_ENDED_DETAIL,
    MAX_EVENTS,
    MAX_LEGS,
    CallTrace,
    Traces,
    share,
)


class Bench:
    def __init__(self) -> None:
        self.clock = ManualClock(start=100.0, wall=1_700_000_000.25)
        self.told: list[tuple[str, str, str, dict[str, Any]]] = []
        self.traces = Traces(self.clock, self._listen)

    def _listen(self, trace: CallTrace, kind: str, name: str, detail: dict[str, Any]) -> None:
        self.told.append((trace.call_id, kind, name, detail))


def test_times_count_from_the_answer_and_are_negative_before() -> None:
    bench = Bench()
    trace = bench.traces.begin("call")
    bench.traces.note(trace, "leg", "placed", leg="l")
    bench.clock.advance(1.5)
    bench.traces.leg(trace, "l", "4:+1555", "sip")
    bench.traces.joined(trace, "l", 16000)
    bench.traces.connect(trace, "conn")
    bench.clock.advance(0.0123)
    bench.traces.note(trace, "callback", "CallConnected")
    page = trace.page()
    events, legs = page.pop("events"), page.pop("legs")
    assert {
        name: page[name] for name in ("callId", "callConnectionId", "callConnectionIds", "rate", "state", "ended")
    } == {
        "callId": "call",
        "callConnectionId": "conn",
        "callConnectionIds": ["conn"],
        "rate": 16000,
        "state": "connected",
        "ended": False,
    }
    assert (page["startedAt"], page["answeredAt"]) == ("2023-11-14T22:13:20.250Z", "2023-11-14T22:13:21.750Z")
    assert (page["endedAt"], page["droppedEvents"]) == (None, 0)
    assert events == [
        {
            "seq": 1,
            "atMs": -1500.0,
            "kind": "leg",
            "name": "placed",
            "leg": "l",
            "connection": None,
            "detail": {"leg": "l"},
        },
        {
            "seq": 2,
            "atMs": 12.3,
            "kind": "callback",
            "name": "CallConnected",
            "leg": None,
            "connection": None,
            "detail": {},
        },
    ]
    (leg,) = legs
    assert (leg["legId"], leg["number"], leg["kind"], leg["joinedMs"], leg["leftMs"]) == ("l", 1, "sip", 0.0, None)
    assert bench.told == [("call", "leg", "placed", {"leg": "l"}), ("call", "callback", "CallConnected", {})]


def test_without_an_answer_times_count_from_the_start() -> None:
    bench = Bench()
    trace = bench.traces.begin("call")
    bench.clock.advance(0.5)
    bench.traces.note(trace, "call", "ended")
    page = trace.page()
    assert (page["answeredAt"], page["callConnectionId"], page["rate"]) == (None, None, None)
    assert page["events"][0]["atMs"] == 500.0


def test_a_call_is_found_by_every_id() -> None:
    bench = Bench()
    trace = bench.traces.begin("call")
    bench.traces.connect(trace, "one")
    bench.traces.connect(trace, "two")
    assert {id(bench.traces.find(key)) for key in ("call", "one", "two")} == {id(trace)}
    assert bench.traces.find("three") is None


def test_apps_that_come_and_go_leave_the_call_its_first_id() -> None:
    bench = Bench()
    trace = bench.traces.begin("call")
    for number in range(MAX_CONNECTIONS + 3):
        bench.traces.connect(trace, str(number))
    assert trace.header()["callConnectionId"] == "0" and bench.traces.find("0") is trace
    assert bench.traces.find("3") is None and bench.traces.find(str(MAX_CONNECTIONS + 2)) is trace
    assert len(trace.connection_ids) == len(bench.traces._connections) == MAX_CONNECTIONS


def test_events_are_bounded_and_the_rest_is_counted() -> None:
    bench = Bench()
    trace = bench.traces.begin("call")
    most = round(MAX_EVENTS * share("dtmf", "pressed"))
    for index in range(most + 7):
        bench.traces.note(trace, "dtmf", str(index))
    page = trace.page()
    assert len(page["events"]) == most
    assert page["events"][-1]["name"] == str(most - 1)
    assert page["droppedEvents"] == 7
    assert page["droppedByKind"] == {"dtmf": 7}


def test_what_comes_in_masses_leaves_room_for_what_is_rare_and_for_the_end() -> None:
    bench = Bench()
    trace = bench.traces.begin("call")
    body = Body.of(b"x" * 8000)
    for _ in range(MAX_EVENTS):
        bench.traces.note(trace, "dtmf", "pressed")
        bench.traces.note(trace, "sip", "INFO", more={"text": body})
    for _ in range(MAX_EVENTS):
        bench.traces.note(trace, "stopAudio", "StopAudio", playedMs=1.0)
        bench.traces.note(trace, "callback", "PlayCompleted", more={"body": body})
    ends = [("leg", "ended"), ("callback", "CallDisconnected"), ("delivery", "CallDisconnected"), ("call", "ended")]
    for kind, name in ends:
        bench.traces.note(trace, kind, name, more={"body": body})
    kept = [(event.kind, event.name) for event in trace.events]
    assert kept[-4:] == ends and kept.count(("stopAudio", "StopAudio")) > 50
    assert len(trace.events) <= MAX_EVENTS and trace.size <= MAX_DETAIL


def test_the_detail_of_a_call_is_bounded_by_its_size() -> None:
    bench = Bench()
    trace = bench.traces.begin("call")
    body = Body.of(b"x" * MAX_BODY)
    for _ in range(MAX_EVENTS):
        bench.traces.note(trace, "rest", "Play", more={"requestBody": body})
    assert len(trace.events) == int(MAX_DETAIL * share("rest", "Play")) // (MAX_BODY + 200)
    assert trace.size <= MAX_DETAIL and trace.dropped["rest"] == MAX_EVENTS - len(trace.events)
    bench.traces.end(trace)
    assert bench.traces.find("call") is trace


def test_calls_that_are_over_share_a_bound_on_memory() -> None:
    bench = Bench()
    body = Body.of(b"x" * MAX_BODY)
    for index in range(40):
        trace = bench.traces.begin(f"call-{index}")
        for _ in range(MAX_DETAIL // MAX_BODY):
            bench.traces.note(trace, "rest", "Play", more={"requestBody": body})
        bench.traces.end(trace)
    held = sum(trace.size for trace in bench.traces.all)
    assert held <= MAX_ENDED_DETAIL and len(bench.traces.all) >= 15
    assert bench.traces.find("call-0") is None and bench.traces.find("call-39") is not None


def test_what_is_only_kept_is_not_told() -> None:
    bench = Bench()
    trace = bench.traces.begin("call")
    bench.traces.note(trace, "rest", "Play", status=202, more={"requestBody": Body.of(b"{}")})
    bench.traces.note(trace, "mark", "heard", mark="m")
    bench.traces.note(trace, "sip", "BYE")
    assert bench.told == [("call", "rest", "Play", {"status": 202})]
    assert trace.events[0].detail == {"status": 202, "requestBody": Body(b"{}")}


def test_how_a_call_ended_is_how_its_last_leg_was_told() -> None:
    bench = Bench()
    trace = bench.traces.begin("call")
    for leg_id in ("a", "b"):
        bench.traces.leg(trace, leg_id, f"4:+{leg_id}")
        bench.traces.joined(trace, leg_id, 16000)
    bench.clock.advance(1.0)
    bench.traces.left(trace, "a")
    bench.traces.over(trace, "callee", 0, 1, "a left")
    assert (trace.page()["endedBy"], trace.page()["result"]) == (None, None), "it goes on"
    bench.clock.advance(1.0)
    bench.traces.left(trace, "b")
    bench.traces.over(trace, "caller", 0, 2, "b left")
    bench.traces.end(trace)
    page = trace.page()
    assert (page["endedBy"], page["result"]) == ("caller", {"code": 0, "subCode": 2, "message": "b left"})
    legs = [(leg["number"], leg["joinedMs"], leg["leftMs"]) for leg in page["legs"]]
    assert legs == [(1, 0.0, 1000.0), (2, 0.0, 2000.0)]
    assert page["endedAt"] == "2023-11-14T22:13:22.250Z" and trace.row()["durationMs"] == 2000


def test_the_oldest_ended_call_makes_room() -> None:
    bench = Bench()
    first = bench.traces.begin("live")
    bench.traces.connect(first, "live-conn")
    for index in range(MAX_CALLS + 20):
        trace = bench.traces.begin(str(index))
        bench.traces.connect(trace, f"conn-{index}")
        bench.traces.end(trace)
    assert len(bench.traces.pages()) == MAX_CALLS + 1
    assert bench.traces.find("live") is first, "a live call stays"
    assert bench.traces.find("live-conn") is first
    assert bench.traces.find("0") is None
    assert bench.traces.find("conn-0") is None
    assert bench.traces.find(f"conn-{MAX_CALLS + 19}") is not None


def test_live_calls_take_no_room_from_those_that_are_over() -> None:
    bench = Bench()
    over = bench.traces.begin("over")
    bench.traces.end(over)
    traces = [bench.traces.begin(str(index)) for index in range(MAX_CALLS + 5)]
    assert len(bench.traces.pages()) == MAX_CALLS + 6 and bench.traces.find("over") is over
    for trace in traces:
        bench.traces.end(trace)
    assert len(bench.traces.pages()) == MAX_CALLS and bench.traces.find("over") is None


def test_what_is_noted_of_a_forgotten_call_changes_no_bound() -> None:
    bench = Bench()
    for index in range(MAX_CALLS + 1):
        trace = bench.traces.begin(str(index))
        bench.traces.end(trace)
        if not index:
            first = trace
    bench.traces.note(first, "delivery", "late", more={"body": Body.of(b"x" * MAX_BODY)})
    assert bench.traces._ended_size == sum(trace.size for trace in bench.traces.all)


def test_legs_beyond_the_bound_leave_nothing_behind() -> None:
    bench = Bench()
    trace = bench.traces.begin("busy")
    for number in range(MAX_LEGS + 5):
        bench.traces.leg(trace, f"leg-{number}", "4:+1555")
    bench.traces.end(trace)
    for index in range(MAX_CALLS):
        bench.traces.end(bench.traces.begin(str(index)))
    assert bench.traces.find("busy") is None and not bench.traces._legs


def test_rows_are_newest_first() -> None:
    bench = Bench()
    bench.traces.begin("old")
    new = bench.traces.begin("new")
    bench.traces.connect(new, "conn")
    bench.traces.note(new, "leg", "placed")
    rows = bench.traces.pages()
    assert [(row["callId"], row["callConnectionId"], row["events"], row["state"]) for row in rows] == [
        ("new", "conn", 1, "ringing"),
        ("old", None, 0, "ringing"),
    ]
    assert rows[0]["startedAt"] == "2023-11-14T22:13:20.250Z"
