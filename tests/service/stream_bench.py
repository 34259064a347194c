"""A stream ticked by hand against real servers on loopback: shared by the tests of MediaStream."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from picows import WSMsgType
from tests.live import until
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from offhook.audio.buffers import Cut
from offhook.service.clock import ManualClock
from offhook.service.stream_port import Batch, StreamPort
from offhook.service.streaming import MediaStream
from offhook.service.targets import Targets
from offhook.wire.turns import TurnReport

TEXT_KIND = WSMsgType.TEXT
AUDIO = {"kind": "AudioData", "audioData": {"data": base64.b64encode(b"\1\0" * 320).decode()}}
STOP = '{"kind":"StopAudio","stopAudio":{}}'
CONTINUATION = 0


class Owner:
    """Keeps what it is told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []
        self.notes: list[tuple[str, dict[str, object]]] = []
        self.cuts: list[Cut] = []
        self.marks: list[tuple[str, bool]] = []
        self.turns: list[TurnReport] = []

    def stream_opened(self, stream: MediaStream) -> None:
        self.told.append(("opened",))

    def stream_reestablished(self, stream: MediaStream) -> None:
        self.told.append(("reestablished",))

    def stream_failed(self, stream: MediaStream, outcome: str, detail: str) -> None:
        self.told.append(("failed", outcome, detail))

    def stream_closed_by_app(self, stream: MediaStream) -> None:
        self.told.append(("closed by the app",))

    def stream_cut(self, stream: MediaStream, cut: Cut) -> None:
        self.cuts.append(cut)

    def stream_mark(self, stream: MediaStream, mark: str, *, completed: bool) -> None:
        self.marks.append((mark, completed))

    def stream_turn(self, stream: MediaStream, report: TurnReport) -> None:
        self.turns.append(report)

    def stream_note(self, stream: MediaStream, name: str, detail: dict[str, object]) -> None:
        self.notes.append((name, detail))

    @property
    def kinds(self) -> list[str]:
        return [item[0] for item in self.told]

    def problems(self) -> list[object]:
        return [detail["problem"] for name, detail in self.notes if name == "bad message"]


class Bench:
    """A stream with its port and owner, ticked by hand."""

    def __init__(self, url: str, *, mixed: bool = True, tls: ssl.SSLContext | None = None, dtmf: bool = False) -> None:
        self.clock = ManualClock()
        self.owner = Owner()
        self.batch = Batch(TEXT_KIND)
        self.port = StreamPort(16000, mixed=mixed, bidirectional=True, batch=self.batch, restart_ms=0)
        self.dials = 0
        self.stream = MediaStream(
            "connection",
            "subscription",
            url,
            self.port,
            headers=self._headers,
            tls=tls or ssl.create_default_context(),
            targets=Targets(private=True),
            clock=self.clock,
            owner=self.owner,
            dtmf_tones=dtmf,
        )

    def _headers(self) -> dict[str, str]:
        self.dials += 1
        return {"Authorization": f"Bearer token-{self.dials}", "x-ms-call-connection-id": "connection"}

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.batch.stamp = b"2024-11-15T19:16:12.925Z"
            self.batch.read()
            self.port.read()
            self.port.write(None, ())
            self.batch.flush()

    async def until_told(self, count: int = 1, deadline: float = 10) -> list[str]:
        await until(lambda: len(self.owner.told) >= count, f"{count} told; so far {self.owner.told}", deadline)
        return self.owner.kinds

    async def failure(self) -> tuple[str, str]:
        await until(lambda: "failed" in self.owner.kinds, f"failed; so far {self.owner.told}")
        _, outcome, detail = self.owner.told[-1]
        return outcome, detail


@contextlib.asynccontextmanager
async def bench(url: str, **options: Any) -> AsyncIterator[Bench]:
    """An open stream; at the end it is closed, and nothing of it is left."""
    one = Bench(url, **options)
    one.stream.open()
    try:
        yield one
    finally:
        one.stream.close()
        await one.stream.closed()
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "stream connection"]


@contextlib.asynccontextmanager
async def app(
    handler: Callable[[ServerConnection], Awaitable[None]], **options: Any
) -> AsyncIterator[tuple[str, list[ServerConnection]]]:
    """A server by the `websockets` package; gives its URL and every connection that came."""
    came: list[ServerConnection] = []

    async def keep(connection: ServerConnection) -> None:
        came.append(connection)
        with contextlib.suppress(ConnectionClosed):
            await handler(connection)

    async with serve(keep, "127.0.0.1", 0, compression=None, **options) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"{'wss' if options.get('ssl') else 'ws'}://localhost:{port}/ws?call=1", came


async def hold(connection: ServerConnection) -> None:
    await connection.wait_closed()
