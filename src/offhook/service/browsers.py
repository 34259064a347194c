"""Browsers as phones of a node: their sockets (`/console/api/phone`), who they are, and the port of their media.

A browser is a communication user of the resource. Whoever holds the secret of an identity has it: the secret is signed
by the node's own key, so nothing of it has to be kept. The messages are documented in docs/softphone.md.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import re
import secrets
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import WSMsgType, web

from offhook.errors import ConfigError, LegError
from offhook.legs.leg import LegEvent
from offhook.legs.webrtc import BrowserLeg, Told
from offhook.legs.webrtc_sockets import WebRtcSockets
from offhook.service.browser_session import BrowserSession, Link
from offhook.service.clock import Handle
from offhook.service.identities import display_of
from offhook.service.node import Node
from offhook.service.webrtc_plan import TURN_SECONDS, WebRtcPlan
from offhook.wire.identifiers import communication_user

log = logging.getLogger("offhook.webrtc")

MOST_SESSIONS = 1000
LARGEST_MESSAGE = 64 * 1024
HELLO_SECONDS = 10.0
RESUME_SECONDS = 12.0
"""How long a call goes on without the socket of its browser."""
REPLACED, CROWDED = 4001, 4002
"""Codes of sockets that we close: the identity is used in another page; there are too many browsers."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Browsers:
    """All browsers that are phones now. `start` before the first socket, `close` at the end."""

    def __init__(self, node: Node, resource_id: str, key: bytes, plan: WebRtcPlan) -> None:
        """`key`: signs what browsers prove their identity with."""
        self.sockets = WebRtcSockets(plan.host, plan.port, plan.advertise, node.clock.monotonic)
        self.still: Callable[[web.Request], bool] = lambda request: True
        """Whether a page that was let in would be let in now: it may have logged out."""
        self.deleted: Callable[[str], bool] = lambda raw_id: False
        """Whether a user of the resource is no more: an app may have deleted it."""
        self._node = node
        self._plan = plan
        self._resource_id = resource_id
        self._key = key
        self._sessions: dict[str, BrowserSession] = {}
        self._links: set[Link] = set()
        self._ends: dict[str, Handle] = {}
        self._second: Handle | None = None

    def start(self) -> None:
        """Bind the port. ConfigError when it cannot be had."""
        try:
            self.sockets.start()
        except LegError as error:
            raise ConfigError(f"{error.detail}; choose another port in [webrtc], or --webrtc-port") from None

    async def close(self) -> None:
        """Close every socket, after its last message is out; calls have ended before."""
        links = list(self._links)
        for link in links:
            link.close(1001)
        await asyncio.gather(*(link.finish() for link in links), return_exceptions=True)
        for timer in (self._second, *self._ends.values()):
            if timer is not None:
                timer.cancel()
        self.sockets.close()

    @property
    def description(self) -> dict[str, Any]:
        """Where browsers send their media, as the node's status shows it."""
        return {
            "host": self._plan.host,
            "port": self.sockets.port,
            "candidates": [host for host, _ in self.sockets.candidates],
            "browsers": len(self._sessions),
        }

    def leg(self, leg_id: str, event: Callable[[str, LegEvent], None], told: Told, *, inbound: bool) -> BrowserLeg:
        """See `Legs`."""
        clock = self._node.clock.monotonic
        self._keep_seconds()
        return BrowserLeg(leg_id, event, self.sockets, clock, secrets.randbits, told, inbound=inbound)

    # sockets ----------------------------------------------------------------------------------------------------

    async def socket(self, request: web.Request) -> web.StreamResponse:
        """A browser's socket, until it is closed. Who may open one is decided before (`Guard.socket`)."""
        socket = web.WebSocketResponse(max_msg_size=LARGEST_MESSAGE, heartbeat=20.0, compress=False)
        await socket.prepare(request)
        link = Link(socket)
        self._links.add(link)
        session: BrowserSession | None = None
        try:
            session = await self._hello(link)
            if session is not None:
                await self._serve(link, session, request)
        finally:
            self._links.discard(link)
            if session is not None:
                self._lost(link, session)
            await link.finish()
        return socket

    async def _hello(self, link: Link) -> BrowserSession | None:
        """The first message, and who it is from."""
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                first = await link.socket.receive()
        except TimeoutError:
            link.say("error", about="hello", message=f"no hello came within {HELLO_SECONDS:g} s")
            link.close(1008)
            return None
        if first.type is not WSMsgType.TEXT:
            return None
        try:
            message = _object(first.data)
            if message.get("kind") != "hello":
                raise ValueError("the first message must be hello")
            name = message.get("name") or ""
            if not isinstance(name, str):
                raise ValueError("name must be a text")
        except ValueError as error:
            link.say("error", about="hello", message=str(error))
            link.close(1008)
            return None
        return self._enter(link, message, name)

    def _enter(self, link: Link, message: Mapping[str, Any], name: str) -> BrowserSession | None:
        """Give a page its identity: the one that it proves, or a new one."""
        session_id = self._proved(message) or str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))
        session = self._sessions.get(session_id)
        if session is None:
            if len(self._sessions) >= MOST_SESSIONS and not self._make_room():
                link.say("error", about="hello", message=f"{MOST_SESSIONS} browsers are in calls: try again later")
                link.close(CROWDED)
                return None
            identity = communication_user(self._user(session_id))
            session = self._sessions[session_id] = BrowserSession(self._node, self, identity, session_id)
        if session.link is not None:
            session.say("error", about="hello", message="this phone is used in another page now")
            session.link.close(REPLACED)
        if timer := self._ends.pop(session_id, None):
            timer.cancel()
        session.note("socket back" if session.link is None else "socket of another page")
        session.link, session.name, session.used_at = link, display_of(name), self._node.clock.monotonic()
        self._node.phones[session.identity.raw_id] = session
        link.say(
            "ready",
            identity=session.identity.raw_id,
            session=session_id,
            secret=self._secret(session_id),
            iceServers=self._servers(session),
            calls=session.calls,
            resumeSeconds=RESUME_SECONDS,
        )
        return session

    async def _serve(self, link: Link, session: BrowserSession, request: web.Request) -> None:
        async for received in link.socket:
            if session.link is not link:
                return  # another page has taken the identity
            if not self.still(request) or self.deleted(session.identity.raw_id):
                link.close(1008)
                return
            if received.type is not WSMsgType.TEXT:
                link.say("error", about=None, message="messages are text: JSON objects with a kind")
                continue
            try:
                message = _object(received.data)
            except ValueError as error:
                link.say("error", about=None, message=str(error))
                continue
            if message.get("kind") == "bye":
                session.leave()
                link.close(1000)
                self._forget(session)
                return
            session.take(message)
            self._renew(session)
            await asyncio.sleep(0)  # a flood of messages is not to hold up the media of others

    def _servers(self, session: BrowserSession) -> list[dict[str, Any]]:
        session.servers_at = self._node.clock.monotonic()
        return self._plan.ice_servers(session.session, self._node.clock.wall())

    def _renew(self, session: BrowserSession) -> None:
        """Give a page that stays open new accounts of the TURN servers, halfway through the life of those it has."""
        if self._plan.turn_secret and self._node.clock.monotonic() - session.servers_at >= TURN_SECONDS / 2:
            session.say("servers", iceServers=self._servers(session))

    # sessions ---------------------------------------------------------------------------------------------------

    def _lost(self, link: Link, session: BrowserSession) -> None:
        """A socket is gone. Its call goes on for a while; without one there is nothing to come back to."""
        if session.link is not link:
            return
        session.link = None
        if session.leg is None:
            self._forget(session)
            return
        session.note("socket lost", resumeSeconds=RESUME_SECONDS)
        end = self._node.clock.monotonic() + RESUME_SECONDS
        self._ends[session.session] = self._node.clock.call_at(end, lambda: self._over(session))

    def _over(self, session: BrowserSession) -> None:
        self._ends.pop(session.session, None)
        if session.link is None:
            session.lost()
            self._forget(session)

    def _forget(self, session: BrowserSession) -> None:
        session.link = None
        if self._sessions.get(session.session) is session:
            del self._sessions[session.session]
            if self._node.phones.get(session.identity.raw_id) is session:
                del self._node.phones[session.identity.raw_id]

    def _make_room(self) -> bool:
        """Let go of the browser that has been idle for longest; False when all are in calls."""
        idle = min((s for s in self._sessions.values() if s.leg is None), key=lambda s: s.used_at, default=None)
        if idle is None:
            return False
        if idle.link is not None:
            idle.link.close(CROWDED)
        self._forget(idle)
        return True

    def _proved(self, message: Mapping[str, Any]) -> str:
        """The session that a page proves to have had; empty without."""
        session, secret = message.get("session"), message.get("secret")
        if not isinstance(session, str) or not isinstance(secret, str):
            return ""
        if not _UUID.fullmatch(session) or not secret.isascii() or self.deleted(self._user(session)):
            return ""
        return session if hmac.compare_digest(secret, self._secret(session)) else ""

    def _user(self, session: str) -> str:
        return f"8:acs:{self._resource_id}_{session}"

    def _secret(self, session: str) -> str:
        return hmac.new(self._key, b"browser " + session.encode(), hashlib.sha256).hexdigest()

    def _keep_seconds(self) -> None:
        if self._second is None:
            self._second = self._node.clock.call_at(self._node.clock.monotonic() + 1.0, self._tell_figures)

    def _tell_figures(self) -> None:
        """Once a second, while there are calls: how their media is."""
        self._second = None
        calling = [session for session in self._sessions.values() if session.leg is not None]
        for session in calling:
            session.figures()
        if calling:
            self._keep_seconds()


def _object(text: str) -> dict[str, Any]:
    """A message. ValueError when it is none."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"a message is a JSON object: {error}") from None
    if not isinstance(message, dict):
        raise ValueError("a message is a JSON object")
    return message
