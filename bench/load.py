"""Load for a node: an app that answers every call with a stream to the echo app, and N simulated callers.

The callers' sound is made in the node (a tone) and not sent down to them, so that the figures are of the stream leg.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from offhook.wire.signing import http_date, sign_hmac

API = "2026-03-12"


@dataclass(frozen=True, slots=True)
class Window:
    """What a node did in a stretch of time; `lost`: the share of frames in which callers heard nothing of the app."""

    seconds: float
    cpu: float
    ticks: int
    lost: float
    late: list[int]
    bounds_ms: list[float]

    def late_share(self, over_ms: float) -> float:
        """Share of ticks that began more than `over_ms` behind the grid; a bound of the node's histogram."""
        first = self.bounds_ms.index(over_ms) + 1
        return sum(self.late[first:]) / max(sum(self.late), 1)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Load:
    """Callers and app for one node. `echo_url` is dialled by the node for every call."""

    def __init__(self, node: str, key: bytes, pid: int, echo_url: str) -> None:
        self._node = node
        self._host = node.partition("://")[2]
        self._key = key
        self._pid = pid
        self._echo_url = echo_url
        self._session: aiohttp.ClientSession | None = None
        self._callers: list[aiohttp.ClientWebSocketResponse] = []
        self.failed = 0
        self.info: dict[str, Any] = {}

    def point(self, node: str, key: bytes, pid: int) -> None:
        """Aim at a node that was started later."""
        self._node, self._key, self._pid = node, key, pid
        self._host = node.partition("://")[2]

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def answer(self, context: str, callback: str) -> None:
        """Answer one incoming call."""
        options = {
            "transportType": "websocket", "audioChannelType": "mixed", "transportUrl": self._echo_url,
            "contentType": "audio", "startMediaStreaming": True, "enableBidirectional": True,
            "audioFormat": "pcm16KMono",
        }  # fmt: skip
        body = json.dumps(
            {"incomingCallContext": context, "callbackUri": callback, "mediaStreamingOptions": options}
        ).encode()
        path = f"/calling/callConnections:answer?api-version={API}"
        headers = sign_hmac("POST", path, self._host, http_date(time.time()), body, self._key)
        headers["Content-Type"] = "application/json"
        assert self._session is not None
        async with self._session.post(self._node + path, data=body, headers=headers) as reply:
            if reply.status != 200:
                self.failed += 1

    async def place(self, calls: int, at_once: int = 25) -> None:
        """Add callers until there are `calls`; back when all are answered."""
        while len(self._callers) < calls:
            more = min(at_once, calls - len(self._callers))
            self._callers += await asyncio.gather(*(self.call() for _ in range(more)))

    async def call(self, *, listen: bool = False, tone: int | None = 440) -> aiohttp.ClientWebSocketResponse:
        """One caller, once it is answered; nothing of it is kept here."""
        assert self._session is not None
        path = "/console/api/leg"
        headers = sign_hmac("GET", path, self._host, http_date(time.time()), b"", self._key)
        socket = await self._session.ws_connect(self._node + path, headers=headers, heartbeat=None)
        await socket.send_json(
            {
                "kind": "place",
                "from": "4:+15550100001",
                "to": "4:+15550100002",
                "tone": tone,
                "lead": 0,
                "listen": listen,
            }  # fmt: skip
        )
        while True:
            message = await socket.receive_json(timeout=30)
            if message["kind"] == "answered":
                return socket
            if message["kind"] in ("ended", "error"):
                raise RuntimeError(f"a call was not answered: {message}")

    async def hang_up(self) -> list[dict[str, Any]]:
        """End all calls; the figures that each caller was told."""
        figures = []
        for socket in self._callers:
            await socket.send_json({"kind": "hangup"})
        for socket in self._callers:
            while (message := await socket.receive_json(timeout=30))["kind"] != "ended":
                pass
            figures.append(message["stats"])
            await socket.close()
        self._callers.clear()
        return figures

    async def figures(self) -> dict[str, Any]:
        """The node's own figures."""
        path = "/console/api/status"
        headers = sign_hmac("GET", path, self._host, http_date(time.time()), b"", self._key)
        assert self._session is not None
        async with self._session.get(self._node + path, headers=headers) as reply:
            return dict((await reply.json())["figures"])

    async def window(self, seconds: float) -> Window:
        """Watch the node for a while."""
        before, cpu, began = await self.figures(), cpu_seconds(self._pid), time.monotonic()
        await asyncio.sleep(seconds)
        spent, lasted = cpu_seconds(self._pid) - cpu, time.monotonic() - began
        after = await self.figures()
        late = [b - a for a, b in zip(before["lateness"], after["lateness"], strict=True)]
        frames = after["legFrames"] - before["legFrames"]
        lost = 1 - (after["legFramesHeard"] - before["legFramesHeard"]) / max(frames, 1)
        return Window(lasted, spent, after["ticks"] - before["ticks"], lost, late, after["latenessBoundsMs"])


def app(load: Load) -> web.Application:
    """The app that the node tells of calls: answers all of them, takes all callbacks."""
    tasks: set[asyncio.Task[None]] = set()

    async def events(request: web.Request) -> web.Response:
        for event in await request.json():
            data = event["data"]
            if "validationCode" in data:
                return web.json_response({"validationResponse": data["validationCode"]})
            callback = str(request.url.with_path("/callbacks"))
            task = asyncio.create_task(load.answer(data["incomingCallContext"], callback))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        return web.Response()

    async def callbacks(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    application = web.Application()
    application.add_routes([web.post("/events", events), web.post("/callbacks", callbacks)])
    return application
