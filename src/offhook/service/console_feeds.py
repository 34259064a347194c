"""Live changes as server-sent events (WHATWG HTML §9.2): of the list of calls, and of one call (docs/console.md).

A reader has no queue: it knows how far it has come, and reads on in the call's trace. So a slow one misses nothing and
costs nothing, and one that takes nothing at all is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from aiohttp import web

from offhook.service.call_book import CallBook
from offhook.service.console_guard import Guard, Problem, unknown
from offhook.service.console_query import Query, checked_id, checked_whole

MOST_READERS: Final = 64
MOST_CHANGED: Final = 1000
"""Calls that have changed and that a reader of the list has not been told of; with more it is closed."""
LIST_GAP_S: Final = 0.5
CALL_GAP_S: Final = 0.1
"""Least time between two looks for what is new."""
HEARTBEAT_S: Final = 15.0
STALLED_S: Final = 30.0
LINGER_S: Final = 1.0
"""Quiet after the end of a call, after which nothing more of it is expected: posts may still be under way."""
_AT_ONCE: Final = 10
"""Events that are written in one go: their bodies may be long, and the media clock waits meanwhile."""


class _Closed(Exception):
    """The reader is gone, or must go."""


class _Reader:
    """One open stream. `call`: the id of the call that it follows; empty for the list."""

    def __init__(self, request: web.Request, call: str, allowed: Callable[[], bool]) -> None:
        self.call = call
        self.changed: dict[str, None] = {}
        """Calls of which the row has changed, in order."""
        self._over = asyncio.Event()
        self._request = request
        self._allowed = allowed
        self._wake = asyncio.Event()
        self.response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})

    @property
    def gone(self) -> bool:
        """Whether nobody is there any more."""
        return self._request.transport is None or self._request.transport.is_closing()

    def hear(self, call: str, row: bool) -> None:
        """Something is new; runs within ticks."""
        if row:
            self.changed[call] = None
        self._wake.set()
        if len(self.changed) > MOST_CHANGED:
            self.close()

    def close(self) -> None:
        """End the stream soon."""
        self._over.set()
        self._wake.set()

    async def begin(self) -> None:
        """Send the head."""
        self.response.headers["X-Accel-Buffering"] = "no"
        await self.response.prepare(self._request)
        await self.send(": the console of Offhook\n\n")

    async def heard(self, patience: float) -> bool:
        """Wait for news; False when there were none within `patience` seconds. _Closed when it is over."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), patience)
        news = self._wake.is_set()
        self._wake.clear()
        if self._over.is_set() or self.gone or not self._allowed():
            raise _Closed
        return news

    async def rest(self, seconds: float) -> None:
        """Let some time pass, so that what comes in a row goes out together; news stay news."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds)

    async def send(self, text: str) -> None:
        """Send events. _Closed when they are not taken."""
        try:
            await asyncio.wait_for(self.response.write(text.encode()), STALLED_S)
        except (ConnectionError, TimeoutError):
            if self._request.transport is not None:
                self._request.transport.abort()
            raise _Closed from None


class Feeds:
    """The two streams. Nothing is listened to while nobody reads."""

    def __init__(self, book: CallBook, guard: Guard) -> None:
        self._book = book
        self._guard = guard
        self._readers: set[_Reader] = set()
        self._deaf: Callable[[], None] | None = None

    @property
    def readers(self) -> int:
        """Streams that are open."""
        return len(self._readers)

    def routes(self) -> list[web.RouteDef]:
        """Both are reads."""
        return [
            web.get("/console/api/stream", self._guard.read(self._list), allow_head=False),
            web.get("/console/api/calls/{id}/stream", self._guard.read(self._call), allow_head=False),
        ]

    async def close(self) -> None:
        """End every stream."""
        for reader in self._readers:
            reader.close()
        while self._readers:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    # the list ---------------------------------------------------------------------------------------------------

    async def _list(self, request: web.Request) -> web.StreamResponse:
        Query(request)
        async with self._reading(request, "") as reader:
            await reader.begin()
            while True:
                if not await reader.heard(HEARTBEAT_S):
                    await reader.send(":\n\n")
                changed, reader.changed = reader.changed, {}
                rows = [row for call in changed if (row := self._book.row(call)) is not None]
                for first in range(0, len(rows), _AT_ONCE):
                    await reader.send("".join(_event("row", row) for row in rows[first : first + _AT_ONCE]))
                if rows:
                    await reader.rest(LIST_GAP_S)
        return reader.response

    # one call ---------------------------------------------------------------------------------------------------

    async def _call(self, request: web.Request) -> web.StreamResponse:
        after = Query(request, "after").whole("after", 0, 10**9, 0)
        if last := request.headers.get("Last-Event-ID"):
            after = max(after, checked_whole("Last-Event-ID", last, 0, 10**9))
        asked = checked_id(request)
        header = self._book.header(asked) if await self._book.open(asked) else None
        if header is None:
            raise unknown("No such call is kept: GET /console/api/calls lists them.")
        async with self._reading(request, str(header["callId"])) as reader:
            await reader.begin()
            await self._follow(reader, after)
        return reader.response

    async def _follow(self, reader: _Reader, after: int) -> None:
        """Everything of a call that comes after an event, until it is over."""
        call, lived = reader.call, False
        header: dict[str, Any] | None = None
        while await self._book.open(call):
            if header is None or reader.changed:
                reader.changed.clear()
                fresh = self._book.header(call)
                if fresh is None:
                    break
                if header is not None and header["answeredAt"] != fresh["answeredAt"]:
                    after = 0  # times count from the answer now, so that events so far have other ones
                header = fresh
                await reader.send(_event("call", header))
            events = self._book.events(call, after) or []
            for first in range(0, len(events), _AT_ONCE):
                part = events[first : first + _AT_ONCE]
                await reader.send("".join(_event("event", event, event["seq"]) for event in part))
                after = part[-1]["seq"]
                await asyncio.sleep(0)
            lived |= not header["ended"]
            if not lived:
                break
            await reader.rest(CALL_GAP_S)
            if await reader.heard(LINGER_S if header["ended"] else HEARTBEAT_S):
                continue
            if header["ended"]:
                break
            await reader.send(":\n\n")
        await reader.send(_event("end", {"callId": call}))

    # readers ----------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _reading(self, request: web.Request, call: str) -> AsyncIterator[_Reader]:
        if len(self._readers) >= MOST_READERS:
            self._turn_out()
        reader = _Reader(request, call, lambda: self._guard.still(request))
        self._readers.add(reader)
        if self._deaf is None:
            self._deaf = self._book.listen(self._heard)
        try:
            yield reader
        except _Closed:
            pass
        finally:
            self._readers.discard(reader)
            if not self._readers and self._deaf is not None:
                self._deaf()
                self._deaf = None

    def _turn_out(self) -> None:
        """Make room by those whose readers are gone; where there are none, the new one is refused."""
        gone = [reader for reader in self._readers if reader.gone]
        for reader in gone:
            reader.close()
            self._readers.discard(reader)
        if not gone:
            message = f"{MOST_READERS} streams are open already: close some of the console's pages."
            raise Problem(503, "8516", message, {"Retry-After": "5"})

    def _heard(self, call: str, event: dict[str, Any] | None) -> None:
        for reader in self._readers:
            if reader.call == call or (not reader.call and event is None):
                reader.hear(call, event is None)


def _event(name: str, data: dict[str, Any], seq: int | None = None) -> str:
    """One event as text. JSON has no line ends of its own."""
    return f"{'' if seq is None else f'id: {seq}{chr(10)}'}event: {name}\ndata: {json.dumps(data)}\n\n"
