"""A book of calls for tests of the console's handlers, and the handlers on a port of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from aiohttp import ClientSession, CookieJar, web
from tests.console_page import Page

from offhook.errors import CallError
from offhook.service.call_book import CallBook
from offhook.service.console_calls import Calls
from offhook.service.console_feeds import Feeds
from offhook.service.console_guard import Guard
from offhook.service.console_login import Login
from offhook.service.console_logins import ConsoleRule, Sessions

TOKEN = "eN1-vC9_tR4wKq7xZs2m"
Heard = Callable[[str, dict[str, Any] | None], None]


@dataclass
class Book:
    """One call, "c", with whatever events the test adds; `folder`: where archives are made."""

    folder: Path
    events_of: list[dict[str, Any]] = field(default_factory=list)
    state: str = "connected"
    sounds: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    readers: list[Heard] = field(default_factory=list)
    archived: bytes = b"zip"
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    aside: bool = False
    """Whether rows were looked for beside the loop."""

    def header(self, any_id: str) -> dict[str, Any] | None:
        answered = None if self.state == "ringing" else "2026-01-01T00:00:00Z"
        page = {"callId": "c", "state": self.state, "ended": self.state == "ended", "answeredAt": answered}
        return page if any_id in ("c", "connection") else None

    row = header

    async def open(self, any_id: str) -> bool:
        return self.header(any_id) is not None

    def rows(self, **asked: Any) -> list[dict[str, Any]]:
        self.asked.append(tuple(asked.values()))
        self.aside = threading.current_thread() is not threading.main_thread()
        return [self.header("c") or {}]

    def page(self, any_id: str) -> dict[str, Any] | None:
        header = self.header(any_id)
        return None if header is None else {**header, "events": self.events_of}

    def events(self, any_id: str, after: int) -> list[dict[str, Any]] | None:
        return [event for event in self.events_of if event["seq"] > after]

    def listen(self, heard: Heard) -> Callable[[], None]:
        self.readers.append(heard)
        return lambda: self.readers.remove(heard)

    async def figures(self, any_id: str) -> dict[str, Any] | None:
        return {"turns": []}

    async def series(self, any_id: str) -> dict[str, Any] | None:
        return None

    async def peaks(self, *asked: Any) -> dict[str, Any] | None:
        self.asked.append(asked)
        return {"peaks": [-1, 1]}

    async def sound(self, any_id: str, leg: str, side: str, begin: float, end: float) -> tuple[int, bytes] | None:
        self.asked.append((any_id, leg, side, begin, end))
        return self.sounds.get(side)

    async def archive(self, any_id: str) -> Path | None:
        if not self.archived:
            raise OSError(28, "No space left on device")
        path = self.folder / "made.zip"
        path.write_bytes(self.archived)
        return path

    async def resend(self, any_id: str, seq: int) -> dict[str, Any]:
        if seq == 2:
            raise CallError("invalid_argument", "The event 2 is no callback.")
        if seq == 3:
            raise ValueError("the body of event 3 was cut")
        return {"status": 200, "ms": 1.5, "error": None}

    def add(self, **event: Any) -> None:
        """One more event, which is heard at once."""
        made = {"seq": len(self.events_of) + 1, **event}
        self.events_of.append(made)
        for heard in list(self.readers):
            heard("c", made)

    def become(self, state: str) -> None:
        """The call's state changes."""
        self.state = state
        for heard in list(self.readers):
            heard("c", None)


@dataclass
class Desk:
    """Handlers that serve: a page on them, the feeds, and the clock of their sessions."""

    page: Page
    feeds: Feeds
    sessions: Sessions
    now: list[float]
    leaving: list[str] = field(default_factory=list)
    """What became of a socket whose browser leaves while it opens."""


async def _echo(request: web.Request) -> web.StreamResponse:
    """A socket that says back what it hears."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data)
    return socket


@contextlib.asynccontextmanager
async def desk(
    book: Book, rule: ConsoleRule | None = None, public: str = "", *, known_key: bool = False
) -> AsyncIterator[Desk]:
    """Serve a book on loopback. `public`: scheme and host of a proxy before it; `known_key`: everybody has the key."""
    now = [1000.0]
    rule = rule or ConsoleRule(open=True)
    sessions = Sessions(rule.session_hours * 3600, os.urandom)
    guard = Guard(
        rule, sessions, keys=tuple, wall=lambda: now[0], hosts=tuple, public_origin=public, known_key=known_key
    )
    held = cast(CallBook, book)
    feeds = Feeds(held, guard)
    app = web.Application()
    app.add_routes(Login(rule, sessions, guard, lambda: now[0], lambda: now[0]).routes())
    app.add_routes(Calls(held, guard).routes())
    app.add_routes(feeds.routes())
    leaving: list[str] = []

    async def gone(request: web.Request) -> web.StreamResponse:
        leaving.append("begun")
        while request.transport is not None:
            await asyncio.sleep(0.01)
        try:
            return await _echo(request)
        finally:
            leaving.append("over")

    app.add_routes(
        [web.get("/console/api/echo", guard.socket(_echo)), web.get("/console/api/gone", guard.socket(gone))]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
            yield Desk(Page(session, f"http://127.0.0.1:{runner.addresses[0][1]}"), feeds, sessions, now, leaving)
    finally:
        await feeds.close()
        await runner.cleanup()
