"""Calls as the console's API gives them: what is asked of the book, and what becomes of sound, files and refusals."""

from __future__ import annotations

import asyncio
import io
import wave
from pathlib import Path
from typing import Any

import pytest
from tests.live import until
from tests.service.console_book import Book, desk

from offhook.service import console_calls


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path)


async def test_parameters_reach_the_book(book: Book) -> None:
    async with desk(book) as d:
        await d.page.get("calls?state=ended&q=+1555&limit=7&before=c9")
        await d.page.get("calls")
        status, found = await d.page.get("calls/c/peaks?leg=l1&side=heard&fromMs=-5.5&toMs=2e3&bins=12")
        assert status == 200 and found == {"peaks": [-1, 1]}
    assert book.aside, "a long search holds up no tick"
    assert book.asked == [
        ("ended", " 1555", 7, "c9"),
        (None, "", 100, ""),
        ("c", "l1", "heard", -5.5, 2000.0, 12),
    ]


async def test_sound_is_a_wav_file_of_one_side_or_both(book: Book) -> None:
    book.sounds = {"said": (8000, b"\1\0" * 80), "both": (16000, b"\1\0\2\0" * 160)}
    async with desk(book) as d:
        for side, channels, rate in (("said", 1, 8000), ("both", 2, 16000)):
            place = f"{d.page.origin}/console/api/calls/connection/sound.wav?leg=l1&side={side}&fromMs=0&toMs=10"
            async with d.page.session.get(place) as response:
                body = await response.read()
                assert response.headers["Content-Type"] == "audio/wav"
                assert response.headers["Content-Disposition"] == f'inline; filename="connection-{side}.wav"'
            with wave.open(io.BytesIO(body)) as file:
                assert (file.getnchannels(), file.getframerate()) == (channels, rate)
                assert file.getnframes() == rate // 100
        status, _ = await d.page.get("calls/c/sound.wav?leg=l1&side=heard&fromMs=0&toMs=10")
        assert status == 404


async def test_what_the_book_refuses_is_told(book: Book) -> None:
    async with desk(book) as d:
        assert await d.page.post("calls/c/events/1/resend") == (200, {"status": 200, "ms": 1.5, "error": None})
        for seq, words in ((2, "The event 2 is no callback."), (3, "the body of event 3 was cut.")):
            status, body = await d.page.post(f"calls/c/events/{seq}/resend")
            assert status == 400 and words in body["error"]["message"]
        for path, status in (("calls/c/events/x/resend", 400), ("calls/none/events/1/resend", 404)):
            assert (await d.page.post(path))[0] == status
        assert (await d.page.post("calls/c/events/1/resend", {"url": "http://elsewhere/"}))[0] == 400
        assert (await d.page.get("calls/c/figures")) == (200, {"turns": []})
        assert (await d.page.get("calls/c/series")) == (200, None), "nothing is known"


async def test_only_so_many_events_are_sent_again_at_once(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_calls, "MOST_RESENT", 2)
    answered, sent = asyncio.Event(), list[int]()

    async def slow(any_id: str, seq: int) -> dict[str, Any]:
        sent.append(seq)
        await answered.wait()
        return {"status": 200, "ms": 1.0, "error": None}

    monkeypatch.setattr(book, "resend", slow)
    async with desk(book) as d:
        waiting = [asyncio.create_task(d.page.post("calls/c/events/1/resend")) for _ in range(2)]
        await until(lambda: len(sent) == 2, "two that are under way")
        status, body = await d.page.post("calls/c/events/1/resend")
        assert status == 429 and "2 events are being sent already" in body["error"]["message"]
        answered.set()
        assert [(await one)[0] for one in waiting] == [200, 200]
        assert (await d.page.post("calls/c/events/1/resend"))[0] == 200


async def test_an_export_is_sent_whole_and_leaves_nothing(book: Book) -> None:
    book.archived = bytes(range(256)) * 4096
    async with desk(book) as d:
        async with d.page.session.get(f"{d.page.origin}/console/api/calls/connection/export") as response:
            assert response.headers["Content-Type"] == "application/zip"
            assert response.headers["Content-Disposition"] == 'attachment; filename="offhook-call-connection.zip"'
            assert await response.read() == book.archived
        assert not list(book.folder.iterdir())


async def test_an_export_without_room_says_so(book: Book) -> None:
    book.archived = b""
    async with desk(book) as d:
        status, body = await d.page.get("calls/c/export")
        assert status == 507 and "No space left" in body["error"]["message"]


@pytest.mark.parametrize("reads", [0, 1])
async def test_an_export_that_nobody_takes_leaves_nothing(
    book: Book, monkeypatch: pytest.MonkeyPatch, reads: int
) -> None:
    """A client that goes away, and one that stays and reads no more: room is made for the next."""
    monkeypatch.setattr(console_calls, "STALLED_S", 0.1)
    monkeypatch.setattr(console_calls, "MOST_EXPORTS", 1)
    book.archived = bytes(32 * 1024 * 1024)
    async with desk(book) as d:
        place = f"{d.page.origin}/console/api/calls/c/export"
        response = await d.page.session.get(place)
        assert (await d.page.get("calls/c/export"))[0] == 429
        if not reads:
            response.close()

        async def another() -> bool:
            async with d.page.session.get(place) as second:
                return second.status == 200 and len(await second.read()) == len(book.archived)

        async def settled() -> None:
            while not await another():
                pass

        await asyncio.wait_for(settled(), 15)
        assert not list(book.folder.iterdir())
        response.close()
    assert not list(book.folder.iterdir())


async def test_names_of_files_are_harmless(book: Book) -> None:
    hostile = 'x"\r\nSet-Cookie: a=b\r\n\r\n<script>/../\u202e;é'
    header = console_calls._named("attachment", hostile, "zip")["Content-Disposition"]
    assert header.startswith('attachment; filename="x___Set-Cookie__a_b____') and header.isascii()
    assert not any(char in header for char in "\r\n<>/\\") and header.count('"') == 2


async def test_pages_may_be_long(book: Book) -> None:
    book.events_of = [{"seq": n, "detail": {"text": "\u2028</script>\ud800" + "x" * 500}} for n in range(1, 2001)]
    async with desk(book) as d:
        status, page = await d.page.get("calls/c")
        assert status == 200 and page["events"] == book.events_of
        status, found = await d.page.get("calls/c/events?after=1999")
        assert found == {"events": book.events_of[-1:]}


@pytest.mark.parametrize("body", [b"[]", b"{", b'"x"', b"[" * 60_000, b"\xff", b"{}" + b" " * 70_000])
async def test_bodies_that_cannot_be_read(book: Book, body: bytes) -> None:
    async with desk(book) as d:
        place = f"{d.page.origin}/console/api/calls/c/events/1/resend"
        headers = {"Origin": d.page.origin, "X-Offhook-Console": "1", "Content-Type": "application/json"}
        async with d.page.session.post(place, data=io.BytesIO(body), headers=headers) as response:
            found: dict[str, Any] = await response.json()
            assert response.status == (413 if len(body) > 65536 else 400), found
            assert "body" in found["error"]["message"]
