"""A page of the console as the node sees it: requests with the headers that a browser sends, and event streams."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientResponse, ClientSession, ClientTimeout
from tests.live import until

API = "/console/api"


@dataclass
class Feed:
    """An open event stream: `(event, data, id)` of each event so far, and how many heartbeats came."""

    response: ClientResponse
    events: list[tuple[str, Any, str]] = field(default_factory=list)
    beats: int = 0
    over: bool = False

    def named(self, name: str) -> list[Any]:
        """The data of the events of one name."""
        return [data for event, data, _ in self.events if event == name]

    async def ended(self) -> None:
        """Wait until the node has ended it."""
        await until(lambda: self.over, "the end of a stream")

    async def read(self) -> None:
        """Take what comes until the node ends it."""
        fields: dict[str, str] = {}
        with contextlib.suppress(ConnectionError):
            async for line in self.response.content:
                text = line.decode().rstrip("\n")
                if text.startswith(":"):
                    self.beats += 1
                elif text:
                    name, _, value = text.partition(": ")
                    fields[name] = value
                elif fields:
                    self.events.append((fields["event"], json.loads(fields["data"]), fields.get("id", "")))
                    fields = {}
        self.over = True


class Page:
    """What a page at `origin` may do there. Cookies stay in it; `headers` go with every request."""

    def __init__(self, session: ClientSession, origin: str, headers: dict[str, str] | None = None) -> None:
        self.session = session
        self.origin = origin
        self.headers = headers or {}

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """The status, and the JSON or the text."""
        async with self.session.get(
            f"{self.origin}{API}/{path}", headers={**self.headers, **headers}, allow_redirects=False
        ) as response:
            return response.status, await _content(response)

    async def post(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """As a page of the console writes; `headers` change or add some."""
        told = {"Origin": self.origin, "X-Offhook-Console": "1", **self.headers, **headers}
        async with self.session.post(
            f"{self.origin}{API}/{path}", json=body, headers={name: value for name, value in told.items() if value}
        ) as response:
            return response.status, await _content(response)

    @contextlib.asynccontextmanager
    async def feed(self, path: str, **headers: str) -> AsyncIterator[Feed]:
        """An event stream."""
        async with self.session.get(
            f"{self.origin}{API}/{path}", headers={**self.headers, **headers}, timeout=_LONG
        ) as response:
            assert response.status == 200, await response.text()
            assert response.content_type == "text/event-stream"
            feed = Feed(response)
            reader = asyncio.create_task(feed.read())
            try:
                yield feed
            finally:
                reader.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await reader


async def _content(response: ClientResponse) -> Any:
    if response.content_type == "application/json":
        return await response.json()
    return await response.read()


_LONG = ClientTimeout(total=None)
