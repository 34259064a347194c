"""The book of calls: lists and pages of live and kept calls alike, listening, and what is said of sending again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from offhook.errors import CallError
from offhook.service.call_archive import ArchiveBook
from offhook.service.call_book import AT_ONCE, PAGES_KEPT, CallBook
from offhook.service.clock import ManualClock
from offhook.service.history import History, HistoryRule
from offhook.service.masking import MAX_BODY, Body
from offhook.service.posting import DeliveryReport
from offhook.service.resending import Again
from offhook.service.trace import About, CallTrace, Traces

BODY = b'[{"id":"event-1","data":{"a":1}}]'


class Bench:
    """Traces, a history on disk and the book over both; what is sent again is kept, and answered as wanted."""

    def __init__(self, root: Path) -> None:
        self.clock = ManualClock(start=100.0, wall=1_700_000_000.0)
        self.traces = Traces(self.clock, lambda *note: None)
        self.history = History(root, HistoryRule(), self.traces, self.clock.wall)
        self.book = CallBook(self.traces, self.history, None, self.send)
        self.sent: list[Again] = []
        self.answers: list[tuple[int | None, str | None]] = [(200, None)]

    async def send(self, again: Again) -> Sequence[DeliveryReport]:
        self.sent.append(again)
        return [
            DeliveryReport(again.subject, again.uri, again.event_type, again.event_id, 1, status, error, 12.34, True)
            for status, error in self.answers
        ]

    def call(self, name: str, who: str = "Ada", **callback: Any) -> CallTrace:
        self.clock.advance(10.0)
        trace = self.traces.begin(name, About("s", "c", "incoming", f"4:+1555{name[-1]}", who, "4:+1666"))
        self.traces.connect(trace, f"connection-{name}")
        self.traces.leg(trace, "leg", "4:+1555", "sip")
        self.traces.joined(trace, "leg", 16000)
        self.traces.note(trace, "callback", "IncomingCall", to="4:+1666", more={
            "eventId": "event-0", "from": "4:+1555", "body": Body.of(BODY),
        })  # fmt: skip
        detail = {"uri": "https://a/cb", "connection": f"connection-{name}", **callback}
        more = {"eventId": "event-1", "type": "Microsoft.Communication.CallConnected", "body": Body.of(BODY)}
        self.traces.note(trace, "callback", "CallConnected", more={**more, **callback}, **detail)
        return trace

    async def keep(self, trace: CallTrace) -> None:
        """The call is over, on disk and no longer in memory."""
        if not trace.ended:
            self.traces.end(trace)
        await self.history.written(trace)
        del self.traces._calls[trace.call_id]
        del self.traces._connections[f"connection-{trace.call_id}"]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path / "calls")
    made.history.start()
    yield made
    await made.history.close()


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["callId"] for row in rows]


async def test_lists_hold_live_and_kept_calls_newest_first(bench: Bench) -> None:
    for number in range(6):
        trace = bench.call(f"call-{number}", "Ada" if number % 2 else "Bob")
        if number in (0, 2, 3):
            await bench.keep(trace)
        elif number == 4:
            bench.traces.end(trace)
    book = bench.book
    assert ids(book.rows()) == [f"call-{number}" for number in (5, 4, 3, 2, 1, 0)]
    assert ids(book.rows(state="live")) == ["call-5", "call-1"]
    assert ids(book.rows(state="ended")) == ["call-4", "call-3", "call-2", "call-0"]
    assert ids(book.rows(query="ada")) == ["call-5", "call-3", "call-1"]
    assert ids(book.rows(query="ADA +15553")) == ["call-3"]
    assert ids(book.rows(query="connection-call-2")) == ["call-2"]
    assert ids(book.rows(limit=2)) == ["call-5", "call-4"]
    assert ids(book.rows(limit=2, before="call-4")) == ["call-3", "call-2"]
    assert ids(book.rows(before=book.rows()[3]["startedAt"])) == ["call-1", "call-0"]
    assert book.rows(limit=0) == book.rows(before="nobody") == book.rows(query="nobody") == []
    assert book.row("connection-call-3") == book.rows()[2], "a row alone is that of the list"


async def test_pages_of_a_list_fit_together_though_the_clock_on_the_wall_went_back(bench: Bench) -> None:
    for number in range(9):
        trace = bench.call(f"call-{number}")
        if number % 2:
            bench.traces.end(trace)
        if number % 3 == 0:
            await bench.keep(trace)
        if number == 4:
            bench.clock._offset -= 3600
    every, pages, last = ids(bench.book.rows()), list[str](), ""
    while rows := bench.book.rows(limit=2, before=last):
        pages += ids(rows)
        last = pages[-1]
    assert pages == every and sorted(every) == [f"call-{number}" for number in range(9)]
    began = [row["startedAt"] for row in bench.book.rows()]
    assert began == sorted(began, reverse=True)


async def test_a_kept_call_is_the_page_that_it_was(bench: Bench) -> None:
    trace = bench.call("call-1")
    bench.traces.end(trace)
    page = trace.page()
    await bench.book.open("call-1")
    assert bench.book.page("call-1") == page == bench.book.page("connection-call-1")
    await bench.keep(trace)
    assert bench.book.page("call-1") is None, "it must be opened first: it is on disk"
    assert await bench.book.open("connection-call-1")
    kept = bench.book.page("connection-call-1")
    assert kept == page
    kept.pop("events")
    assert bench.book.page("call-1") == page, "what somebody does with it is theirs"
    assert bench.book.events("call-1", 1) == page["events"][1:]
    assert bench.book.header("call-1") == {name: page[name] for name in page if name != "events"}
    assert not await bench.book.open("nobody") and bench.book.page("nobody") is None
    assert bench.book.events("nobody", 0) is None and bench.book.header("nobody") is bench.book.row("nobody") is None


async def test_only_so_many_pages_stay_in_memory(bench: Bench) -> None:
    for number in range(PAGES_KEPT + 3):
        await bench.keep(bench.call(f"call-{number}"))
        assert await bench.book.open(f"call-{number}")
    assert len(bench.book._pages) == PAGES_KEPT
    assert bench.book.page("call-0") is None and await bench.book.open("call-0")


async def test_many_events_of_a_live_call_are_made_beside_the_loop_and_only_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace, made = bench.call("call-1"), list[int]()
    kept = CallTrace.kept

    def counted(self: CallTrace, event: Any) -> dict[str, Any]:
        made.append(event.seq)
        return kept(self, event)

    monkeypatch.setattr(CallTrace, "kept", counted)
    for number in range(AT_ONCE * 3):
        bench.traces.note(trace, "leg", "noise", number=number)
    await bench.book.open("call-1")
    bench.traces.note(trace, "leg", "one more")
    page = bench.book.page("call-1")
    assert page is not None and [event["seq"] for event in page["events"]] == list(range(1, AT_ONCE * 3 + 4))
    assert sorted(made) == list(range(1, AT_ONCE * 3 + 4)), "each once"
    assert bench.book.events("call-1", AT_ONCE * 3 + 2) == page["events"][-1:]


async def test_who_listens_hears_events_and_changes_until_they_stop(bench: Bench) -> None:
    heard: list[tuple[str, Any]] = []
    stop = bench.book.listen(lambda call, event: heard.append((call, event and event["name"])))
    trace = bench.call("call-1")
    bench.traces.end(trace)
    assert [what for what in heard if what[1]] == [("call-1", "IncomingCall"), ("call-1", "CallConnected")]
    assert heard[0] == heard[-1] == ("call-1", None)
    stop()
    stop()
    bench.call("call-2")
    assert {call for call, _ in heard} == {"call-1"}


@pytest.mark.parametrize("kept", [False, True])
async def test_a_callback_is_sent_again_as_it_was(bench: Bench, kept: bool) -> None:
    trace = bench.call("call-1")
    if kept:
        await bench.keep(trace)
    told = await bench.book.resend("connection-call-1", 2)
    assert told == {"status": 200, "ms": 12.3, "error": None}
    (again,) = bench.sent
    assert (again.uri, again.body, again.event_id) == ("https://a/cb", BODY, "event-1")
    assert (again.subject, again.event_type) == ("connection-call-1", "Microsoft.Communication.CallConnected")
    await bench.book.open("call-1")
    page = bench.book.page("call-1")
    assert page is not None
    last = page["events"][-1]
    assert (last["seq"], last["kind"], last["name"]) == (3, "delivery", "CallConnected")
    assert last["detail"]["resent"] is True and last["detail"]["eventId"] == "event-1"
    await bench.book.resend("call-1", 2)
    page = bench.book.page("call-1")
    assert page is not None and page["events"][-1]["seq"] == 4


async def test_an_app_that_is_away_is_an_answer_too(bench: Bench) -> None:
    bench.call("call-1")
    bench.answers = [(200, None), (None, "cannot connect to a:443 (refused)")]
    told = await bench.book.resend("call-1", 1)
    assert told["status"] is None and "cannot connect" in told["error"]
    assert "was answered" in told["note"], "nobody can answer that call again"
    assert bench.sent[0].incoming and (bench.sent[0].callee, bench.sent[0].caller) == ("4:+1666", "4:+1555")
    page = bench.book.page("call-1")
    assert page is not None and [event["kind"] for event in page["events"]][-2:] == ["delivery", "delivery"]


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize(
    ("call", "seq", "callback", "outcome", "problem"),
    [
        ("nobody", 1, {}, "call_not_found", "No call nobody"),
        ("call-1", 9, {}, "call_not_found", "no event 9"),
        ("call-1", 0, {}, "call_not_found", "no event 0"),
        ("call-1", 2, {"uri": ""}, "conflict", "not known where"),
        ("call-1", 2, {"body": None}, "conflict", "was not kept"),
        ("call-1", 2, {"body": Body.of(b"x" * (MAX_BODY + 1))}, "conflict", "too long"),
    ],
)
async def test_what_cannot_be_sent_again_says_why(
    bench: Bench, kept: bool, call: str, seq: int, callback: dict[str, Any], outcome: str, problem: str
) -> None:
    trace = bench.call("call-1", **callback)
    if kept:
        await bench.keep(trace)
    with pytest.raises(CallError, match=problem) as refused:
        await bench.book.resend(call, seq)
    assert refused.value.outcome == outcome and not bench.sent


@pytest.mark.parametrize(
    ("callback", "problem"),
    [
        ({"uri": "https://a/cb?sig=secret"}, "secrets of its URL"),
        ({"body": Body.of(b'{"u":"https://a/b?token=x"}')}, "secrets in its body"),
    ],
)
async def test_secrets_live_in_memory_only(bench: Bench, callback: dict[str, Any], problem: str) -> None:
    trace = bench.call("call-1", **callback)
    assert (await bench.book.resend("call-1", 2))["status"] == 200
    await bench.keep(trace)
    with pytest.raises(CallError, match=problem):
        await bench.book.resend("call-1", 2)


async def test_only_callbacks_are_sent(bench: Bench) -> None:
    trace = bench.call("call-1")
    bench.traces.note(trace, "rest", "Play", status=202)
    with pytest.raises(CallError, match="only a callback"):
        await bench.book.resend("call-1", 3)


async def test_an_export_of_a_call_without_sound_has_its_events(bench: Bench) -> None:
    trace = bench.call("call-1")
    path = await bench.book.archive("call-1")
    assert path is not None
    book = ArchiveBook(path)
    path.unlink()
    assert book.call == {**trace.page(), "imported": True}, "live as it is"
    book.close()
    assert await bench.book.archive("nobody") is None
    assert await bench.book.peaks("call-1", "leg", "said", 0, 1, 1) is None
    assert await bench.book.sound("nobody", "leg", "said", 0, 1) is None
