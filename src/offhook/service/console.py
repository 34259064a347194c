"""The node's console: its pages under `/console/`, and the API below `/console/api` (docs/console.md)."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web

from offhook.legs.rtp import RtpPort
from offhook.legs.simulated import SimulatedLeg
from offhook.legs.sip import SipLeg
from offhook.legs.webrtc import BrowserLeg
from offhook.service.call_book import CallBook
from offhook.service.call_facts import leg_kind
from offhook.service.checks import Network
from offhook.service.clock import LATENESS_BOUNDS
from offhook.service.console_calls import Calls
from offhook.service.console_feeds import Feeds
from offhook.service.console_guard import Guard, Handler, unknown
from offhook.service.console_leg import MAX_UPLOAD, LegSession
from offhook.service.console_login import Login
from offhook.service.console_logins import ConsoleRule, Sessions
from offhook.service.console_setup import Setup
from offhook.service.node import Node
from offhook.service.web_files import WebFiles

log = logging.getLogger("offhook.console")


class Console:
    """The handlers of `/console`."""

    def __init__(
        self,
        node: Node,
        book: CallBook,
        rule: ConsoleRule,
        keys: Callable[[], Sequence[bytes]],
        status: Callable[[], dict[str, Any]],
        hosts: Callable[[], Sequence[str]] = tuple,
        *,
        network: Network,
        public_url: str = "",
        known_key: bool = False,
    ) -> None:
        """`hosts`: further names that requests may be signed for, as clients know the node behind a proxy.

        `public_url`: scheme and host of that proxy, if there is one. `network`: how the node reaches apps.
        `known_key`: the access key is the published one.
        """
        self._node = node
        self._status = status
        sessions = Sessions(rule.session_hours * 3600, os.urandom)
        self.guard = Guard(
            rule,
            sessions,
            keys=keys,
            wall=node.clock.wall,
            hosts=hosts,
            public_origin=public_url,
            known_key=known_key,
        )
        self._login = Login(rule, sessions, self.guard, node.clock.wall, node.clock.monotonic)
        self._setup = Setup(self.guard, self._status_now, network)
        self._calls = Calls(book, self.guard)
        self._feeds = Feeds(book, self.guard)
        self._files = WebFiles()
        self._legs: set[LegSession] = set()

    def routes(self) -> list[web.RouteDef]:
        """The routes of data, each behind the guard."""
        read, socket = self.guard.read, self.guard.socket
        return [
            *self._login.routes(),
            *self._setup.routes(),
            web.get("/console/api/leg", socket(self._leg)),
            web.get("/console/api/status", read(self._show_status)),
            *self._calls.routes(),
            *self._feeds.routes(),
        ]

    def pages(self, otherwise: Handler) -> list[web.RouteDef]:
        """The routes of pages; add them after all routes of data. `otherwise` answers at `/` who is no browser."""

        async def front(request: web.Request) -> web.StreamResponse:
            if self.guard.rule.pages and "text/html" in request.headers.get("Accept", ""):
                return web.Response(status=302, headers={"Location": "/console/"})
            return await otherwise(request)

        return [
            web.get("/", front),
            web.route("*", "/console/api{path:(?s:(/.*)?)}", self.guard.page(self._nothing)),
            web.route("*", "/console{name:(?s:(/.*)?)}", self.guard.page(self._show_page)),
        ]

    async def dress(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Give every answer of the console its headers: a signal of the application, sent before an answer is."""
        route = getattr(request, "match_info", None)
        resource = None if route is None else route.route.resource
        if resource is not None and (resource.canonical == "/" or resource.canonical.startswith("/console")):
            self.guard.dress(response)

    async def close(self) -> None:
        """End every stream, and every leg socket after its last message is out."""
        legs = (session.close() for session in list(self._legs))
        await asyncio.gather(self._feeds.close(), *legs, return_exceptions=True)

    # pages ------------------------------------------------------------------------------------------------------

    async def _show_page(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if not name:
            return web.Response(status=308, headers={"Location": "/console/"})
        if request.method not in ("GET", "HEAD"):
            return web.json_response({"error": {"code": "8520", "message": "Pages take GET and HEAD."}}, status=405)
        found = self._files.answer(name[1:], request.headers.get("If-None-Match", ""))
        if found is None:
            raise unknown("There is no such page; begin at /console/.")
        return found

    async def _nothing(self, request: web.Request) -> web.StreamResponse:
        raise unknown(f"{request.method} has no such path: docs/console.md lists the API.")

    # data -------------------------------------------------------------------------------------------------------

    async def _show_status(self, request: web.Request) -> web.StreamResponse:
        media = self._node.media
        legs = [
            leg.figures
            for live in self._node.calls.values()
            for leg in live.legs.values()
            if isinstance(leg, SimulatedLeg)
        ]
        ports = [leg.port for live in self._node.calls.values() for leg in live.legs.values()]
        rtp = [port for port in ports if isinstance(port, RtpPort)]
        streams = [stream.port for live in self._node.calls.values() for stream in live.streams.values()]
        figures = {
            "rtpStreams": len(rtp),
            "rtpReceived": sum(port.counters.received for port in rtp),
            "rtpLost": sum(port.jitter.counters.lost for port in rtp),
            "rtpLate": sum(port.jitter.counters.late for port in rtp),
            "jitterDelayMs": round(sum(port.jitter.delay for port in rtp) * 1000 / max(len(rtp), 1), 1),
            "playoutQueuedMs": round(
                sum(port.playout.queued_samples * 1000 / port.rate for port in streams) / max(len(streams), 1), 1
            ),
            "legFrames": sum(leg.frames for leg in legs),
            "legFramesHeard": sum(leg.heard for leg in legs),
            "calls": len(self._node.calls),
            "callsTaken": self._node.calls_taken,
            "tasks": len(asyncio.all_tasks()),
            "ticks": media.ticks,
            "ticksMadeUp": media.made_up,
            "clockSlips": media.slips,
            "worstLatenessMs": round(media.worst_lateness * 1000, 3),
            "lateness": media.lateness,
            "latenessBoundsMs": [bound * 1000 for bound in LATENESS_BOUNDS],
            "busySeconds": round(media.busy, 6),
        }
        return web.json_response({**self._status_now(), "figures": figures})

    def _status_now(self) -> dict[str, Any]:
        return {**self._status(), "media": self._media()}

    def _media(self) -> list[dict[str, Any]]:
        """The audio of live legs that come over a network, the first hundred."""
        found: list[dict[str, Any]] = []
        for live in self._node.calls.values():
            for leg in live.legs.values():
                if not isinstance(leg, SipLeg | BrowserLeg) or len(found) >= 100:
                    continue
                remote = leg.path.remote if isinstance(leg, BrowserLeg) else leg.port.remote
                if remote is not None:
                    host, port = remote
                    whose = {"callId": live.call.call_id, "leg": leg.leg_id, "kind": leg_kind(leg)}
                    stands = {"host": host, "port": port, "held": leg.held, "frames": leg.port.sender.frames}
                    found.append({**whose, **stands, **leg.port.describe()})
        return found

    async def _leg(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=MAX_UPLOAD, heartbeat=20.0, compress=False)
        await socket.prepare(request)
        session = LegSession(self._node, socket)
        self._legs.add(session)
        try:
            await session.run()
        finally:
            self._legs.discard(session)
        return socket
