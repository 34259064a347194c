"""A stand-in for a node's console API in a thread of its own: plays one scripted call, remembers what it is told."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from offhook.cli.console_client import LOCAL_KEY
from offhook.errors import SignatureError
from offhook.wire.signing import verify_hmac

CALL_ID = "11111111-2222-8333-8444-555555555555"
ENDED = {"kind": "ended", "code": 0, "subCode": 560000, "message": "The far end hung up.", "endedBy": "caller"}

Send = Callable[[dict[str, Any] | bytes], Awaitable[None]]


@dataclass
class FakeNode:
    """`scene` plays the leg once the client has placed or registered; it gets this node and a way to send."""

    scene: Callable[[FakeNode, Send], Awaitable[None]] | None = None
    key: str = LOCAL_KEY
    status: dict[str, Any] = field(default_factory=dict)
    trace: dict[str, Any] = field(default_factory=dict)
    origin: str = ""
    told: list[dict[str, Any]] = field(default_factory=list)
    audio: bytearray = field(default_factory=bytearray)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def names(self) -> list[str]:
        """The kinds of messages that the client sent."""
        return [message["kind"] for message in self.told]

    async def until_told(self, kind: str) -> None:
        """Waits for a message of the client."""
        while kind not in self.names():
            self.news.clear()
            await asyncio.wait_for(self.news.wait(), 10)

    async def settled(self, quiet: float = 0.3) -> None:
        """Waits until no audio has come for a while."""
        while True:
            before = len(self.audio)
            await asyncio.sleep(quiet)
            if len(self.audio) == before:
                return

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/console/api/leg", self._leg)
        app.router.add_get("/console/api/status", self._status)
        app.router.add_get("/console/api/calls/{id}", self._call)
        return app

    def _check(self, request: web.Request) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            verify_hmac("GET", request.raw_path, headers, b"", base64.b64decode(self.key), time.time())
        except SignatureError as why:
            raise web.HTTPUnauthorized(text=str(why)) from why

    async def _status(self, request: web.Request) -> web.Response:
        self._check(request)
        return web.json_response(self.status)

    async def _call(self, request: web.Request) -> web.Response:
        self._check(request)
        return web.json_response({**self.trace, "callId": request.match_info["id"]})

    async def _leg(self, request: web.Request) -> web.WebSocketResponse:
        self._check(request)
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)

        async def send(what: dict[str, Any] | bytes) -> None:
            await (socket.send_bytes(what) if isinstance(what, bytes) else socket.send_json(what))

        assert self.scene is not None
        playing = asyncio.create_task(self._play(send, socket))
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                self.told.append(message.json())
            elif message.type is WSMsgType.BINARY:
                self.audio += message.data
            self.news.set()
        playing.cancel()
        return socket

    async def _play(self, send: Send, socket: web.WebSocketResponse) -> None:
        assert self.scene is not None
        while not self.told:
            self.news.clear()
            await self.news.wait()
        await self.scene(self, send)
        if self.told[0]["kind"] == "place":
            await socket.close()


def frame(index: int, pcm: bytes, of_app: bool = True) -> bytes:
    """A frame message."""
    return index.to_bytes(4, "little") + bytes([of_app]) + pcm


@contextmanager
def serving(node: FakeNode) -> Iterator[FakeNode]:
    """Runs the node on a free loopback port until the block is left."""
    ready, stop = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        runner = web.AppRunner(node.application(), shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        node.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        yield node
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(10)


def echo_scene(delay_frames: int = 3, rate: int = 16000, lose: frozenset[int] = frozenset()) -> Any:
    """Answers, waits until all is said, and plays it back `delay_frames` later; frames in `lose` never come."""

    async def scene(node: FakeNode, send: Send) -> None:
        lead = float(node.told[0]["lead"])
        await send({"kind": "ringing"})
        await send({"kind": "placed", "callId": CALL_ID, "legId": "l"})
        await send({"kind": "answered", "rate": rate, "answerMs": 21})
        await node.until_told("eof")
        start = round(lead * rate)
        await send({"kind": "spoke", "atSample": start})
        size = rate // 50 * 2
        line = bytes(start * 2 + delay_frames * size) + bytes(node.audio)
        line += bytes(-len(line) % size)
        frames = [line[at : at + size] for at in range(0, len(line), size)]
        for index, pcm in enumerate(frames):
            if index not in lose:
                await send(frame(index, pcm, of_app=index >= delay_frames))
        stats = {"durationMs": len(frames) * 20, "framesSent": len(frames), "framesHeard": 1, "gaps": 0}
        await send({**ENDED, "stats": {**stats, "lateFrames": 2, "firstAudioMs": 60}})

    return scene


def ending_scene(*messages: dict[str, Any]) -> Any:
    """Sends these messages and nothing else."""

    async def scene(node: FakeNode, send: Send) -> None:
        for message in messages:
            await send(message)

    return scene
