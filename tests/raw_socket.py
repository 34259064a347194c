"""An app's WebSocket by hand, on a plain TCP server: what no library would do, such as a fixed buffer for a message."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
KINDS = {"AudioMetadata": "audioMetadata", "AudioData": "audioData", "DtmfData": "dtmfData"}


@dataclass
class RawSocket:
    """One connection after its upgrade."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: str
    messages: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    close_at: float | None = None
    close_code: int | None = None
    gone_at: float | None = None

    async def frame(self) -> tuple[int, int, bytes]:
        """First byte, opcode and payload of the next frame."""
        first, second = await self.reader.readexactly(2)
        size = second & 127
        if size == 126:
            (size,) = struct.unpack(">H", await self.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", await self.reader.readexactly(8))
        if not second & 128:
            self.problems.append("a client's frame must be masked")
        mask, payload = await self.reader.readexactly(4), await self.reader.readexactly(size)
        key = int.from_bytes((mask * (size // 4 + 1))[:size])
        return first, first & 15, (int.from_bytes(payload) ^ key).to_bytes(size)

    def send(self, payload: bytes, opcode: int = TEXT, *, fin: bool = True) -> None:
        """Send one frame, unmasked as a server does."""
        size = len(payload)
        head = bytes([opcode | (0x80 if fin else 0)])
        if size < 126:
            head += bytes([size])
        elif size < 65536:
            head += b"\x7e" + struct.pack(">H", size)
        else:
            head += b"\x7f" + struct.pack(">Q", size)
        self.writer.write(head + payload)

    async def read_strictly(self) -> None:
        """Read as the docs' C# does: one receive of 2048 bytes for a message, exact kinds and keys; anything else
        is a problem. A Close is never answered; then read on until the connection is gone."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                first, opcode, payload = await self.frame()
                if opcode == CLOSE:
                    self.close_at, self.close_code = loop.time(), struct.unpack(">H", payload[:2])[0]
                elif first != 0x80 | TEXT:
                    self.problems.append(f"a frame that is no whole text message: {first:#x}")
                elif len(payload) >= 2048:
                    self.problems.append(f"{len(payload)} bytes do not fit the buffer")
                else:
                    self._take(json.loads(payload))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone_at = loop.time()

    def _take(self, message: dict[str, Any]) -> None:
        kind = message.get("kind")
        if kind not in KINDS or set(message) != {"kind", KINDS[kind]}:
            self.problems.append(f"unknown kind or key: {message}")
        self.messages.append(message)

    @property
    def pcm(self) -> bytes:
        """The audio of all messages."""
        return b"".join(base64.b64decode(m["audioData"]["data"]) for m in self.messages if m["kind"] == "AudioData")


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def tcp_app(handle: Handler, **options: Any) -> AsyncIterator[int]:
    """A TCP server on a free port of loopback, gives the port; at the end every connection is gone, not only closing.

    `options` are those of `asyncio.start_server`.
    """
    tasks: set[asyncio.Task[Any]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handle(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    if "sock" not in options:
        options = {"host": "127.0.0.1", "port": 0, **options}
    server = await asyncio.start_server(connected, **options)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def raw_app(serve: Callable[[RawSocket], Awaitable[None]]) -> AsyncIterator[str]:
    """Serve WebSockets by hand on a free port with small buffers; gives the ws:// URL. `serve` has each socket."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = next(
            line.split(":", 1)[1].strip()
            for line in head.split("\r\n")
            if line.lower().startswith("sec-websocket-key:")
        )
        accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        await serve(RawSocket(reader, writer, head))

    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listening.bind(("127.0.0.1", 0))
    async with tcp_app(connected, sock=listening, limit=4096) as port:
        yield f"ws://127.0.0.1:{port}/stream"
