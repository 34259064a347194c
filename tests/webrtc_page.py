"""The page of a browser without a browser: its socket to the node, and a `WebRtcPeer` for its media."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType
from tests.live import LiveNode, until
from tests.webrtc_peer import WebRtcPeer


class WebRtcPage:
    """One page: what the node said is in `messages`; `peer` is its newest connection."""

    def __init__(self, node: LiveNode, session: ClientSession) -> None:
        self.messages: list[dict[str, Any]] = []
        self.ready: dict[str, Any] = {}
        self.call = ""
        self.peer: WebRtcPeer | None = None
        self.socket: ClientWebSocketResponse | None = None
        self.peers: list[WebRtcPeer] = []
        self._node, self._session = node, session
        self._sockets: list[ClientWebSocketResponse] = []
        self._readers: list[asyncio.Task[None]] = []

    @property
    def identity(self) -> str:
        return str(self.ready["identity"])

    async def open(self, **known: Any) -> dict[str, Any]:
        """Connect, and say hello; with the credentials of `ready` it is who it was."""
        self.messages.clear()
        self.socket = await self._session.ws_connect(
            self._node.http + "/console/api/phone", headers={"Origin": self._node.http}
        )
        self._sockets.append(self.socket)
        self._readers.append(asyncio.create_task(self._read(self.socket)))
        await self.say("hello", **{"name": "Ada", **known})
        self.ready = await self.heard("ready")
        return self.ready

    async def again(self) -> dict[str, Any]:
        """A new socket for the same identity."""
        return await self.open(session=self.ready["session"], secret=self.ready["secret"])

    async def say(self, kind: str, **message: Any) -> None:
        assert self.socket is not None
        await self.socket.send_json({"kind": kind, **message})

    def named(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["kind"] == kind]

    async def heard(self, kind: str, count: int = 1, deadline: float = 15.0) -> dict[str, Any]:
        """The `count`-th message of a kind."""

        def found() -> dict[str, Any] | None:
            known = self.named(kind)
            return known[count - 1] if len(known) >= count else None

        return dict(await until(found, f"{kind}: {self.messages[-5:]}", deadline))

    async def dial(self, to: str, *codecs: str) -> dict[str, Any]:
        """Place a call; the media is connected as soon as the node has said how."""
        peer = self._new_peer(*codecs)
        await self.say("dial", to=to, sdp=await peer.offer())
        placed = await self.heard("placed")
        self.call = placed["call"]
        await peer.connect(placed["sdp"])
        return placed

    async def accept(self, *codecs: str) -> dict[str, Any]:
        """Take the call that rings."""
        invite = await self.heard("invite")
        self.call = invite["call"]
        peer = self._new_peer(*codecs)
        await self.say("accept", call=self.call, sdp=await peer.offer())
        await peer.connect((await self.heard("answer"))["sdp"])
        return invite

    async def restart(self, *codecs: str) -> WebRtcPeer:
        """The media anew, with another certificate: a page that was loaded again."""
        peer, count = self._new_peer(*codecs), len(self.named("answer"))
        await self.say("restart", call=self.call, sdp=await peer.offer())
        await peer.connect((await self.heard("answer", count + 1))["sdp"])
        return peer

    def drop(self) -> None:
        """Lose the socket without a close frame."""
        assert self.socket is not None
        self.socket.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def _new_peer(self, *codecs: str) -> WebRtcPeer:
        self.peer = WebRtcPeer(*codecs)
        self.peers.append(self.peer)
        return self.peer

    async def _read(self, opened: ClientWebSocketResponse) -> None:
        async for message in opened:
            if message.type == WSMsgType.TEXT:
                self.messages.append(message.json())

    async def close(self) -> None:
        for opened in self._sockets:
            await opened.close()
        for reader in self._readers:
            reader.cancel()
        for peer in self.peers:
            await peer.close()


@contextlib.asynccontextmanager
async def webrtc_page(node: LiveNode) -> AsyncIterator[WebRtcPage]:
    """A page that is closed at the end, and that has said hello."""
    async with ClientSession() as session:
        page = WebRtcPage(node, session)
        try:
            await page.open()
            yield page
        finally:
            await page.close()
