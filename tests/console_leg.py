"""A simulated caller or phone on the console socket: what it says and hears, sample by sample from the answer."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import struct
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType
from tests.live import CALLEE, CALLER, DEADLINE, LiveNode, until

from offhook.wire.signing import http_date, sign_hmac

Samples = npt.NDArray[np.int16]
_HEAD = struct.Struct("<IB")


class Leg:
    """One console socket. Frames are kept in order of arrival, and must come without a hole."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket
        self.said: list[dict[str, Any]] = []
        self.of_app: list[bool] = []
        self._heard: list[bytes] = []
        self._frame = 0

    async def read(self) -> None:
        """Take what the node sends until it closes."""
        async for message in self.socket:
            if message.type == WSMsgType.TEXT:
                said = json.loads(message.data)
                if said["kind"] == "answered":
                    self._heard, self.of_app = [], []
                self.said.append(said)
            elif message.type == WSMsgType.BINARY:
                index, flags = _HEAD.unpack_from(message.data)
                assert index == len(self._heard), (index, len(self._heard))
                self._heard.append(message.data[_HEAD.size :])
                self.of_app.append(bool(flags & 1))

    async def send(self, **message: Any) -> None:
        """One console message."""
        await self.socket.send_str(json.dumps(message))

    async def speak(self, pcm: bytes) -> None:
        """Queue PCM16 at the call's rate, to be said from `lead` on."""
        await self.socket.send_bytes(pcm)

    async def told(self, kind: str, count: int = 1, deadline: float = DEADLINE) -> dict[str, Any]:
        """The `count`-th message of a kind, as soon as it is there."""

        def found() -> dict[str, Any] | None:
            of_kind = [said for said in self.said if said["kind"] == kind]
            return of_kind[count - 1] if len(of_kind) >= count else None

        return dict(await until(found, f"{kind}; so far {self.said}", deadline))

    @property
    def frames(self) -> int:
        """Frames heard so far."""
        return len(self._heard)

    @property
    def heard(self) -> Samples:
        """Everything heard since the answer."""
        return np.frombuffer(b"".join(self._heard), "<i2").astype(np.int16)

    def heard_from(self, frame: int) -> Samples:
        """What was heard from that frame on."""
        return np.frombuffer(b"".join(self._heard[frame:]), "<i2").astype(np.int16)

    async def heard_frames(self, count: int) -> Samples:
        """What was heard, once it is at least that many frames."""
        await until(lambda: self.frames >= count, f"{count} frames", DEADLINE + count / 50)
        return self.heard

    async def heard_app(self, count: int = 1) -> None:
        """Wait for that many frames with audio of the app."""
        await until(lambda: sum(self.of_app) >= count, f"{count} frames of the app")

    async def hang_up(self) -> dict[str, Any]:
        """Hang up; the `ended` message."""
        await self.send(kind="hangup")
        return await self.told("ended")


@contextlib.asynccontextmanager
async def leg(node: LiveNode) -> AsyncIterator[Leg]:
    """An open console socket that has not said anything yet."""
    path = "/console/api/leg"
    signed = sign_hmac("GET", path, urlsplit(node.http).netloc, http_date(time.time()), b"", base64.b64decode(node.key))
    async with (
        ClientSession() as session,
        session.ws_connect(node.http + path, headers=signed, max_msg_size=0) as socket,
    ):
        one = Leg(socket)
        reader = asyncio.create_task(one.read())
        try:
            yield one
        finally:
            await socket.close()
            await reader


@contextlib.asynccontextmanager
async def caller(node: LiveNode, *, to: str = CALLEE, sender: str = CALLER, **script: Any) -> AsyncIterator[Leg]:
    """A placed call; it is hung up at the end when it is still up."""
    async with leg(node) as one:
        await one.send(kind="place", to=f"4:{to}", **{"from": f"4:{sender}", "lead": 0, **script})
        await one.told("placed")
        yield one
        if not any(said["kind"] == "ended" for said in one.said):
            await one.hang_up()


@contextlib.asynccontextmanager
async def phone(node: LiveNode, number: str = CALLEE, **script: Any) -> AsyncIterator[Leg]:
    """A registered phone."""
    async with leg(node) as one:
        await one.send(kind="register", identity=f"4:{number}", **script)
        await one.told("registered")
        yield one
