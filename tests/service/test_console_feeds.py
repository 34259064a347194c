"""Streams of changes: what readers are told, how often, and that neither slow nor vanished ones cost anything."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import WSMsgType
from tests.live import until
from tests.service.console_book import TOKEN, Book, Desk, desk

from offhook.service import console_feeds, console_guard
from offhook.service.console_logins import ConsoleRule


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Book:
    monkeypatch.setattr(console_feeds, "LINGER_S", 0.3)
    return Book(tmp_path)


async def _nobody_left(d: Desk, book: Book) -> None:
    await until(lambda: not d.feeds.readers and not book.readers, "no reader, and nobody listening")


async def test_events_come_once_and_in_order_and_the_call_when_it_changes(book: Book) -> None:
    book.add(name="first")
    async with desk(book) as d, d.page.feed("calls/connection/stream") as feed:
        await until(lambda: feed.named("event"), "what was there before")
        for n in range(200):
            book.add(name=str(n))
        await until(lambda: len(feed.named("event")) == 201, "all events")
        assert [event["seq"] for event in feed.named("event")] == list(range(1, 202))
        assert [number for name, _, number in feed.events if name == "event"][-1] == "201"
        assert len(feed.named("call")) == 1
        book.become("ended")
        await feed.ended()
        assert [page["state"] for page in feed.named("call")] == ["connected", "ended"]
        assert feed.events[-1][0] == "end"
        await _nobody_left(d, book)


async def test_the_answer_moves_the_times_of_what_was_before(book: Book) -> None:
    book.state = "ringing"
    book.add(name="placed", atMs=0)
    async with desk(book) as d, d.page.feed("calls/c/stream") as feed:
        await until(lambda: feed.named("event"), "the first event")
        book.events_of[0]["atMs"] = -500
        book.become("connected")
        await until(lambda: len(feed.named("event")) == 2, "the first event again")
        assert [(event["seq"], event["atMs"]) for event in feed.named("event")] == [(1, 0), (1, -500)]


async def test_late_events_of_a_call_that_ends_are_told(book: Book) -> None:
    async with desk(book) as d, d.page.feed("calls/c/stream") as feed:
        await until(lambda: feed.named("call"), "the call")
        book.become("ended")
        await until(lambda: len(feed.named("call")) == 2, "the end of the call")
        book.add(name="delivery")
        await feed.ended()
        assert [event["name"] for event in feed.named("event")] == ["delivery"]


async def test_rows_that_change_often_are_told_twice_a_second(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    assert console_feeds.LIST_GAP_S == 0.5
    monkeypatch.setattr(console_feeds, "LIST_GAP_S", 0.1)
    async with desk(book) as d, d.page.feed("stream") as feed:
        await until(lambda: book.readers, "a listener")
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() < began + 0.25:
            book.become("connected")
            book.add(name="no change of the row")
            await asyncio.sleep(0)
        assert 1 <= len(feed.named("row")) <= 4


async def test_a_quiet_stream_beats_and_ends_with_its_session(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_feeds, "HEARTBEAT_S", 0.05)
    async with desk(book, ConsoleRule(token=TOKEN)) as d:
        assert (await d.page.get("stream"))[0] == 401
        assert (await d.page.post("login", {"token": TOKEN}))[0] == 200
        async with d.page.feed("stream") as rows, d.page.feed("calls/c/stream") as feed:
            await until(lambda: rows.beats > 3 and feed.beats > 3, "heartbeats")
            assert (await d.page.post("logout"))[0] == 200
            await rows.ended()
            await feed.ended()
            assert not feed.named("end"), "the call goes on"
        assert (await d.page.post("login", {"token": TOKEN}))[0] == 200
        async with d.page.feed("stream") as rows:
            d.now[0] += 12 * 3600
            await rows.ended()


async def test_readers_are_limited_and_those_that_vanish_make_room(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_feeds, "MOST_READERS", 8)
    async with desk(book) as d:
        place = f"{d.page.origin}/console/api/calls/c/stream"
        open_ones = [await d.page.session.get(place) for _ in range(8)]
        async with d.page.session.get(place) as refused:
            assert refused.status == 503 and refused.headers["Retry-After"] == "5"
            assert "8 streams" in (await refused.json())["error"]["message"]
        for each in open_ones[:3]:
            each.close()
        more = []
        for _ in range(3):
            response = await d.page.session.get(place)
            while response.status == 503:  # the node has not seen yet that they are gone
                response = await d.page.session.get(place)
            more.append(response)
        for each in open_ones[3:] + more:
            each.close()
        book.add(name="something")
        await _nobody_left(d, book)


async def test_a_reader_that_takes_nothing_is_closed_and_holds_up_nobody(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_feeds, "STALLED_S", 0.2)
    async with desk(book) as d, d.page.feed("calls/c/stream") as feed:
        await until(lambda: feed.named("call"), "the call")
        deaf = await d.page.session.get(f"{d.page.origin}/console/api/calls/c/stream")
        deaf_tasks = d.feeds.readers
        for _ in range(400):
            book.add(text="x" * 100_000)
        await until(lambda: len(feed.named("event")) == 400, "the other reader's events")
        await until(lambda: d.feeds.readers < deaf_tasks, "the deaf one is closed")
        deaf.close()


async def test_a_list_reader_that_cannot_follow_is_closed(book: Book) -> None:
    async with desk(book) as d, d.page.feed("stream") as feed:
        await until(lambda: book.readers, "a listener")
        for n in range(console_feeds.MOST_CHANGED + 1):
            for heard in book.readers:
                heard(f"call {n}", None)
        await feed.ended()
        await _nobody_left(d, book)


async def test_streams_end_with_the_node(book: Book) -> None:
    async with desk(book) as d, d.page.feed("stream") as rows, d.page.feed("calls/c/stream") as feed:
        await until(lambda: d.feeds.readers == 2, "both")
        await asyncio.wait_for(d.feeds.close(), 2)
        await rows.ended()
        await feed.ended()
        assert not book.readers


async def test_a_socket_ends_with_its_session(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_guard, "LOOK_EVERY_S", 0.05)
    async with desk(book, ConsoleRule(token=TOKEN)) as d:
        place, headers = f"{d.page.origin}/console/api/echo", {"Origin": d.page.origin}
        assert (await d.page.post("login", {"token": TOKEN}))[0] == 200
        async with d.page.session.ws_connect(place, headers=headers) as socket:
            await socket.send_str("still here")
            assert (await socket.receive_str(timeout=5)) == "still here"
            assert (await d.page.post("logout"))[0] == 200
            assert (await socket.receive(timeout=5)).type in (WSMsgType.CLOSED, WSMsgType.CLOSING, WSMsgType.ERROR)


async def test_a_browser_that_leaves_while_its_socket_opens_is_no_fault(
    book: Book, caplog: pytest.LogCaptureFixture
) -> None:
    async with desk(book) as d:
        port = int(d.page.origin.rpartition(":")[2])
        head = (
            f"GET /console/api/gone HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: {d.page.origin}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode())
        await writer.drain()
        await until(lambda: d.leaving, "the request is there")
        writer.transport.abort()
        await until(lambda: d.leaving == ["begun", "over"], "it was answered")
        assert (await d.page.get("calls"))[0] == 200
    assert not caplog.records
