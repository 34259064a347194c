"""A stream whose events go to a plain function, on every adapter's real socket."""

from __future__ import annotations

import asyncio
import base64
import socket
from urllib.parse import urlsplit

import pytest
from tests.kit.test_adapters import FRAME, METADATA, Serving, dial, every_adapter, heard, on_plain, until
from websockets.frames import Frame, Opcode

from offhook.kit import Audio, Dtmf, Event, Opened, Stream, StreamClosed
from offhook.wire.app_side import app_audio_bytes
from offhook.wire.streaming import AppAudio, StopAudio, dtmf_data

PCM = b"\x01\x02" * 320


@every_adapter
async def test_a_conversation(serving: Serving) -> None:
    kinds: list[type[Event]] = []
    ended = asyncio.Event()

    async def handle(stream: Stream) -> None:
        def take(event: Event) -> None:
            kinds.append(type(event))
            if isinstance(event, Audio):
                stream.play_soon(event.pcm)
            elif isinstance(event, Dtmf):
                assert stream.stop_soon() >= 0

        await stream.each(take)
        ended.set()
        with pytest.raises(StreamClosed, match="closed"):
            stream.play_soon(PCM)

    async with serving(handle, None) as url:
        async with dial(url) as ws:
            for message in (METADATA, *[FRAME] * 50, "no JSON", dtmf_data("5").decode()):
                await ws.send(message)
            assert [await heard(ws) for _ in range(51)] == [AppAudio(PCM)] * 50 + [StopAudio()]
            assert not ended.is_set()
        await asyncio.wait_for(ended.wait(), 5)
    assert [one.__name__ for one in kinds] == ["Opened", *["Audio"] * 50, "Unreadable", "Dtmf"]


@every_adapter
async def test_what_the_function_raises_ends_it_there(serving: Serving) -> None:
    seen: list[Event] = []
    raised: list[Exception] = []

    async def handle(stream: Stream) -> None:
        def take(event: Event) -> None:
            seen.append(event)
            if len(seen) == 3:
                raise ZeroDivisionError

        try:
            await stream.each(take)
        except ZeroDivisionError as error:
            raised.append(error)
        await stream.play(PCM)  # the stream goes on
        seen.extend([event async for event in stream])

    async with serving(handle, None) as url, dial(url) as ws:
        for message in (METADATA, FRAME, FRAME, FRAME, FRAME):
            await ws.send(message)
        assert await heard(ws) == AppAudio(PCM)
    await until(lambda: len(seen) == 5)
    assert len(raised) == 1


async def test_what_came_before_it_was_asked_for_comes_first() -> None:
    tones: list[str] = []
    came, go = asyncio.Event(), asyncio.Event()

    async def handle(stream: Stream) -> None:
        await stream.opened()
        came.set()
        await go.wait()
        await stream.each(lambda event: tones.append(event.tone) if isinstance(event, Dtmf) else None)

    async with on_plain(handle, None) as url, dial(url) as ws:
        await ws.send(METADATA)
        await came.wait()
        many = [str(number % 10) for number in range(400)]  # more than is read ahead: the socket is read again
        for tone in many[:399]:
            await ws.send(dtmf_data(tone).decode())
        go.set()
        await ws.send(dtmf_data(many[399]).decode())
        await until(lambda: len(tones) == 400)
    assert tones == many


@every_adapter
async def test_a_slow_service_is_not_waited_for_and_gets_all(serving: Serving) -> None:
    played = asyncio.Event()
    pieces = [bytes([number, 0]) * 3200 for number in range(200)]

    async def handle(stream: Stream) -> None:
        def take(event: Event) -> None:
            if isinstance(event, Opened):
                for piece in pieces:
                    stream.play_soon(piece)
                played.set()

        await stream.each(take)

    async with serving(handle, None) as url, dial(url, max_queue=1) as ws:
        await ws.send(METADATA)
        await asyncio.wait_for(played.wait(), 5)
        sound = b""
        while len(sound) < 200 * 6400:
            message = await heard(ws)
            assert isinstance(message, AppAudio)
            sound += message.pcm
        assert sound == b"".join(pieces)


class Raw:
    """A connection whose frames are written in one system call: what is written to some of them before the loop turns
    is read in one turn."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self._socket = socket.create_connection((where.hostname, where.port))
        key = base64.b64encode(bytes(16)).decode()
        upgrade = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}"
        self._socket.sendall(f"GET {where.path} HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n\r\n".encode())
        self._socket.setblocking(False)

    async def opened(self) -> None:
        assert b" 101 " in await asyncio.get_running_loop().sock_recv(self._socket, 4096)

    def write(self, *messages: str, close: bool = False) -> None:
        frames = [Frame(Opcode.TEXT, message.encode()) for message in messages]
        frames += [Frame(Opcode.CLOSE, b"\x03\xe8")] if close else []
        self._socket.send(b"".join(frame.serialize(mask=True) for frame in frames))

    async def rest(self) -> bytes:
        """All that comes until the other side closes."""
        came = b""
        while piece := await asyncio.get_running_loop().sock_recv(self._socket, 1 << 16):
            came += piece
        self._socket.close()
        return came


async def test_what_comes_at_once_with_the_end_is_answered_before_it() -> None:
    async def handle(stream: Stream) -> None:
        await stream.each(lambda event: stream.play_soon(event.pcm) if isinstance(event, Audio) else None)

    async with on_plain(handle, None) as url:
        raw = Raw(url)
        await raw.opened()
        raw.write(METADATA, FRAME, FRAME, FRAME, close=True)
        came = await asyncio.wait_for(raw.rest(), 5)
    assert came.count(app_audio_bytes(PCM)) == 3
    assert came.endswith(b"\x88\x02\x03\xe8")


async def test_one_that_fails_touches_nothing_else_that_came_with_it() -> None:
    seen: dict[str, list[str]] = {}
    raised: list[str] = []

    async def handle(stream: Stream) -> None:
        mine: list[str] = []
        seen[str(len(seen))] = mine

        def take(event: Event) -> None:
            if isinstance(event, Dtmf):
                mine.append(event.tone)
                if event.tone == "*":
                    raise ZeroDivisionError

        try:
            await stream.each(take)
        except ZeroDivisionError:
            raised.append("".join(mine))
            async for event in stream:
                mine.extend([event.tone] if isinstance(event, Dtmf) else [])

    async with on_plain(handle, None) as url:
        raws = [Raw(url), Raw(url)]
        for raw in raws:
            await raw.opened()
            raw.write(METADATA)
        await until(lambda: len(seen) == 2)
        for raw, tones in zip(raws, ("1*23", "4567"), strict=True):
            raw.write(*(dtmf_data(tone).decode() for tone in tones))
        await until(lambda: sum(map(len, seen.values())) == 8)
        for raw in raws:
            raw.write(close=True)
            await asyncio.wait_for(raw.rest(), 5)
    assert {"".join(tones) for tones in seen.values()} == {"1*23", "4567"}
    assert raised == ["1*"]


class Full:
    """A socket whose other side is slow until `room` is set."""

    def __init__(self) -> None:
        self.posted: list[bytes] = []
        self.room = asyncio.Event()

    async def receive(self) -> str | None:
        return None

    async def send(self, text: str) -> None:
        raise AssertionError("it posts")

    async def close(self, code: int, reason: str) -> None:
        pass

    def post(self, data: bytes) -> bool:
        self.posted.append(data)
        return self.room.is_set()

    async def drained(self) -> None:
        await self.room.wait()

    async def each(self, take: object) -> None:
        raise AssertionError("nothing comes")


async def test_nothing_is_pushed_at_a_service_that_is_slow() -> None:
    full = Full()
    stream = Stream(full, {})
    for number in range(5):
        stream.play_soon(bytes([number, 0]) * 320)
        await asyncio.sleep(0)
    assert len(full.posted) == 1
    full.room.set()
    await until(lambda: stream.session.unsent_bytes == 0)
    pieces = [app_audio_bytes(bytes([0, 0]) * 320)]
    pieces.append(app_audio_bytes(b"".join(bytes([number, 0]) * 320 for number in range(1, 5))))
    assert full.posted == pieces
