"""SIP messages in the traces of their calls: those before the call, those after it, repeated ones; nobody else's."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.service.clock import ManualClock
from offhook.service.sip_notes import MOST_MESSAGES, MOST_WAITING, SipNotes
from offhook.service.trace import Traces
from offhook.sip.transaction import Peer

PEER = Peer("udp", "192.0.2.1", 5060)


def message(first: str, call_id: str = "one", cseq: str = "1 INVITE", name: str = "Call-ID") -> bytes:
    return f"{first}\r\nVia: SIP/2.0/UDP a\r\n{name}: {call_id}\r\nCSeq: {cseq}\r\n\r\nv=0\r\n".encode()


INVITE, TRYING = message("INVITE sip:1@b SIP/2.0"), message("SIP/2.0 100 Trying")


class Bench:
    def __init__(self) -> None:
        self.clock = ManualClock(start=100.0)
        self.traces = Traces(self.clock, lambda *note: None)
        self.notes = SipNotes(self.traces, self.clock.monotonic)

    def call(self, call_id: str = "one", leg: str = "leg") -> Any:
        trace = self.traces.begin(f"call-of-{leg}")
        self.notes.known(call_id, leg)
        self.traces.leg(trace, leg, "4:+1")
        return trace


def said(trace: Any) -> list[tuple[str, str]]:
    return [(event.name, event.detail["direction"]) for event in trace.events]


def test_messages_before_there_is_a_call_are_in_it_at_their_time() -> None:
    bench = Bench()
    bench.notes.saw("in", INVITE, PEER)
    bench.notes.saw("out", TRYING, PEER)
    trace = bench.call()
    bench.clock.advance(0.5)
    bench.notes.saw("out", message("SIP/2.0 180 Ringing"), PEER)
    assert said(trace) == [("INVITE", "in"), ("100 INVITE", "out"), ("180 INVITE", "out")]
    assert [event.at for event in trace.events] == [100.0, 100.0, 100.5]
    first = trace.page()["events"][0]
    assert first["leg"] == "leg" and first["detail"]["text"].startswith("INVITE sip:1@b")
    assert first["detail"]["peer"] == str(PEER)


def test_repetitions_and_messages_after_the_end_are_in_it() -> None:
    bench = Bench()
    trace = bench.call()
    for _ in range(3):
        bench.notes.saw("in", INVITE, PEER)
    bench.traces.end(trace)
    bench.notes.saw("in", message("SIP/2.0 200 OK", cseq="2 BYE"), PEER)
    assert [name for name, _ in said(trace)] == ["INVITE"] * 3 + ["200 BYE"]


def test_the_short_form_of_a_header_names_the_call_too() -> None:
    bench = Bench()
    trace = bench.call()
    bench.notes.saw("in", message("BYE sip:x SIP/2.0", name="i", cseq="2 BYE"), PEER)
    assert said(trace) == [("BYE", "in")]


def test_an_endless_call_id_names_its_call_and_is_not_kept_whole() -> None:
    bench, long = Bench(), "x" * 9000
    trace = bench.call(long)
    bench.notes.saw("in", message("BYE sip:x SIP/2.0", long, "2 BYE"), PEER)
    assert said(trace) == [("BYE", "in")] and all(len(key) < 1000 for key in bench.notes._legs)


def test_messages_of_nobody_are_forgotten_and_bounded() -> None:
    bench = Bench()
    for number in range(MOST_WAITING * 3):
        for _ in range(MOST_MESSAGES + 2):
            bench.notes.saw("in", message("INVITE sip:x SIP/2.0", f"stranger-{number}"), PEER)
        bench.notes.saw("in", message("REGISTER sip:x SIP/2.0", f"phone-{number}", "1 REGISTER"), PEER)
        bench.notes.saw("in", b"\r\n\r\n", PEER)
    assert len(bench.notes._waiting) == MOST_WAITING
    assert max(map(len, bench.notes._waiting.values())) == MOST_MESSAGES


def test_a_leg_that_moves_takes_its_messages_to_its_new_call() -> None:
    bench = Bench()
    old, new = bench.call(), bench.traces.begin("new")
    bench.traces.leg(new, "leg", "4:+1")
    bench.notes.saw("in", message("BYE sip:x SIP/2.0", cseq="2 BYE"), PEER)
    assert said(new) == [("BYE", "in")] and not old.events


@pytest.mark.parametrize(
    "head",
    [
        b"Call-ID:" + b" " * 1500 + b"\rX",
        b"Call-ID: a" + b" " * 15000 + b"b",
        b"CSeq:" + b" " * 15000,
        b"i" + b" " * 15000,
    ],
)
def test_no_message_takes_longer_than_it_is_long(head: bytes) -> None:
    bench, began = Bench(), time.process_time()
    bench.notes.saw("in", b"INVITE sip:x SIP/2.0\r\n" + head + b"\r\n\r\n", PEER)
    assert time.process_time() - began < 0.5, "one packet must not stop the clock of all calls"


@given(st.binary(max_size=200))
def test_any_bytes_may_come(data: bytes) -> None:
    bench = Bench()
    trace = bench.call()
    bench.notes.saw("in", data, PEER)
    bench.notes.saw("in", b"x\r\nCall-ID: one\r\n" + data, PEER)
    assert len(trace.page()["events"]) >= 1 or b"\ncall-id" in data.lower()
