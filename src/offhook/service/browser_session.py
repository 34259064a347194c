"""One browser as a phone: who it is, its socket, the one call that it may have, and its messages.

The messages are documented in docs/softphone.md.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from aiohttp import web

from offhook.calls.actions import DialLeg
from offhook.errors import AudioError, CallError, LegError, SipError, WireError
from offhook.legs import webrtc_sdp
from offhook.legs.leg import LegEnd, LegEvent, Ringing
from offhook.legs.webrtc import BrowserLeg, Told
from offhook.service.identities import display_of
from offhook.service.masking import SipText
from offhook.service.node import Node
from offhook.wire.identifiers import COMMUNICATION_USER, PHONE_NUMBER, Identifier, resolve_target
from offhook.wire.results import RESULTS

log = logging.getLogger("offhook.webrtc")

MOST_WAITING = 256
"""Messages that a socket has not taken; then it is closed, and the browser may come back."""
TONES = frozenset("0123456789*#ABCD")
LONGEST_TARGET = 256


class Link:
    """An open socket of a browser: what is said goes out in order, and nobody waits for it."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self._out: deque[str] = deque()
        self._wake = asyncio.Event()
        self._closing: int | None = None
        self._writer = asyncio.get_running_loop().create_task(self._write())

    def say(self, kind: str, **message: Any) -> None:
        """Queue a message. Who takes none any more is closed."""
        if self._closing is None:
            if len(self._out) >= MOST_WAITING:
                self._out.clear()
                self.close(1013)
            else:
                self._out.append(json.dumps({"kind": kind, **message}))
        self._wake.set()

    def close(self, code: int) -> None:
        """Close once what is queued is out."""
        self._closing = self._closing or code
        self._wake.set()

    async def finish(self) -> None:
        """Nothing more comes of the other side: let what was queued before a close go out, for a second at most."""
        if self._closing is not None:
            await asyncio.wait([self._writer], timeout=1.0)
        self._writer.cancel()

    async def _write(self) -> None:
        try:
            while self._closing is None or self._out:
                if not self._out:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                await self.socket.send_str(self._out[0])
                self._out.popleft()
            await self.socket.close(code=self._closing)
        except ConnectionError:
            self._out.clear()


class Legs(Protocol):
    """Makes legs for browsers."""

    def leg(self, leg_id: str, event: Callable[[str, LegEvent], None], told: Told, *, inbound: bool) -> BrowserLeg:
        """A leg without any media yet."""


class BrowserSession:
    """A browser's hold on its identity (`Phone`). It lives while its socket does, and for a while without."""

    def __init__(self, node: Node, legs: Legs, identity: Identifier, session: str) -> None:
        self.identity = identity
        self.session = session
        self.name = ""
        self.link: Link | None = None
        self.leg: BrowserLeg | None = None
        self.used_at = 0.0
        """When its browser came, or its last call ended."""
        self.servers_at = 0.0
        """When its browser was told STUN and TURN servers last."""
        self._node = node
        self._legs = legs
        self._call: dict[str, Any] = {}  # what the page is told of the call when it comes back
        self._acts: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "dial": self._dial,
            "accept": self._accept,
            "restart": self._restart,
            "decline": lambda message: self._mine(message).refuse("declined"),
            "hangup": lambda message: self._mine(message).leave(),
            "dtmf": lambda message: self._mine(message).press(_tone(message)),
            "hold": lambda message: self._mine(message).hold(_flag(message, "held")),
            "mute": self._mute,
            "ping": lambda message: self.say("pong"),
        }

    def say(self, kind: str, **message: Any) -> None:
        """Tell the page, if it is there."""
        if self.link is not None:
            self.link.say(kind, **message)

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The call that goes on, for a page that comes back."""
        leg = self.leg
        if leg is None:
            return []
        state = "connected" if leg.up else "ringing"
        return [
            {**self._call, "state": state, "held": leg.held, "direction": "outgoing" if leg.inbound else "incoming"}
        ]

    def note(self, name: str, **detail: Any) -> None:
        """Add to the trace of the call that goes on, if one does."""
        if self.leg is not None:
            self._note(self.leg.leg_id, name, detail)

    def lost(self) -> None:
        """The page is gone for good, without a word: so is what it took part in."""
        if self.leg is not None:
            self.leg.leave("media_lost")

    def leave(self) -> None:
        """The page is gone on purpose."""
        if self.leg is not None:
            self.leg.leave()

    def figures(self) -> None:
        """Tell how the call's media is."""
        leg = self.leg
        if leg is not None and leg.up:
            self.say("figures", call=leg.leg_id, held=leg.held, **leg.port.describe())

    def take(self, message: Mapping[str, Any]) -> None:
        """Do what a message asks; what is wrong with it is said, and nothing else follows."""
        kind = message.get("kind")
        act = self._acts.get(kind) if isinstance(kind, str) else None
        try:
            if act is None:
                raise ValueError(f"unknown kind {kind!r}: bye, {', '.join(self._acts)}")
            act(message)
        except (ValueError, WireError, SipError, AudioError) as error:
            self._wrong(message, str(error))
        except (CallError, LegError) as error:
            self._wrong(message, RESULTS[error.outcome].text(error.detail))

    def _wrong(self, message: Mapping[str, Any], what: str) -> None:
        self.say("error", about=message.get("kind"), call=message.get("call"), message=what)

    # Phone ------------------------------------------------------------------------------------------------------

    def ring(self, action: DialLeg, call_id: str) -> BrowserLeg:
        """See `Phone`."""
        if self.leg is not None:
            raise LegError("busy", f"{self.identity.raw_id} is in another call")
        if self.link is None:
            raise LegError("unreachable", f"the page of {self.identity.raw_id} is gone")
        node, caller = self._node, action.source
        live = node.calls[call_id]

        def event(leg: str, what: LegEvent) -> None:
            node.leg_event(live, leg, what)

        self._call = {
            "call": action.leg_id,
            "callId": call_id,
            "from": None if caller is None else caller.raw_id,
            "displayName": display_of(action.display_name),
            "customContext": {"sipHeaders": dict(action.sip_headers), "voipHeaders": dict(action.voip_headers)},
        }
        leg = self.leg = self._legs.leg(action.leg_id, event, self._told(action.leg_id), inbound=False)
        self.say("invite", **self._call)
        asyncio.get_running_loop().call_soon(event, action.leg_id, Ringing())
        return leg

    # the page's messages ----------------------------------------------------------------------------------------

    def _dial(self, message: Mapping[str, Any]) -> None:
        if self.leg is not None:
            raise ValueError("there is a call already: hang it up first")
        callee = _callee(message)
        offer, made = _offer(message), []
        name = display_of(_text(message, "displayName") if message.get("displayName") else self.name)

        def make(leg_id: str, event: Callable[[str, LegEvent], None]) -> BrowserLeg:
            leg = self._legs.leg(leg_id, event, self._told(leg_id), inbound=True)
            leg.agree(offer)
            made.append(leg)
            self.leg = leg
            return leg

        try:
            live = self._node.place(self.identity, callee, name, make)
        except Exception:
            self.leg = None
            raise
        leg = made[0]
        self._call = {"call": leg.leg_id, "callId": live.call.call_id, "to": callee.raw_id}
        self._note_descriptions(message, leg)
        # With our description already: the page that uses it has its media up before the call is.
        self.say("placed", call=leg.leg_id, callId=live.call.call_id, sdp=leg.description)
        self.say("ringing", call=leg.leg_id)

    def _accept(self, message: Mapping[str, Any]) -> None:
        leg = self._mine(message)
        if leg.inbound or leg.up:
            raise ValueError("this call was accepted already, or is none that rings here")
        self._agree(message, leg)

    def _restart(self, message: Mapping[str, Any]) -> None:
        leg = self._mine(message)
        if not leg.description:
            raise ValueError("this call was not accepted yet: send accept")
        self._agree(message, leg)

    def _agree(self, message: Mapping[str, Any], leg: BrowserLeg) -> None:
        try:
            leg.agree(_offer(message))
        except SipError as error:
            self._note(leg.leg_id, "offer refused", {"about": message["kind"], "reason": str(error)})
            raise
        self._note_descriptions(message, leg)
        self.say("answer", call=leg.leg_id, sdp=leg.description)

    def _mute(self, message: Mapping[str, Any]) -> None:
        """The page sends silence itself; whoever misses its sound is to see why."""
        self._note(self._mine(message).leg_id, "mute" if _flag(message, "muted") else "unmute", {})

    def _mine(self, message: Mapping[str, Any]) -> BrowserLeg:
        if self.leg is None or message.get("call") != self.leg.leg_id:
            raise ValueError("there is no such call here, or it is over")
        return self.leg

    # its trace --------------------------------------------------------------------------------------------------

    def _note_descriptions(self, message: Mapping[str, Any], leg: BrowserLeg) -> None:
        for name, direction, text in (("offer", "in", message["sdp"]), ("answer", "out", leg.description)):
            detail = {"direction": direction, "about": message["kind"]}
            self._note(leg.leg_id, name, {**detail, "text": SipText.of(text.encode("utf-8", "replace"))})

    def _note(self, leg_id: str, name: str, detail: Mapping[str, Any]) -> None:
        traces = self._node.traces
        if (trace := traces.of_leg(leg_id)) is not None:
            traces.note(trace, "browser", name, leg=leg_id, **detail)

    # what the leg says ------------------------------------------------------------------------------------------

    def _told(self, leg_id: str) -> Told:
        def ended(end: LegEnd) -> None:
            if self.leg is not None and self.leg.leg_id == leg_id:
                self.leg, self.used_at = None, self._node.clock.monotonic()
            self.say(
                "ended",
                call=leg_id,
                code=end.code,
                subCode=end.sub_code,
                message=end.message,
                endedBy=end.ended_by,
            )

        return Told(
            taken=lambda description: self.say("answer", call=leg_id, sdp=description),
            key=lambda key: self.say("key", call=leg_id, tone=key),
            problem=lambda reason: self.say("error", about="media", call=leg_id, message=reason),
            ended=ended,
            note=lambda name, detail: self._note(leg_id, name, detail),
        )


def _text(message: Mapping[str, Any], field: str, longest: int = 0) -> str:
    value = message.get(field)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{field} must be a text that is not empty")
    if longest and len(value) > longest:
        raise ValueError(f"{field} has {len(value)} characters; at most {longest} are taken")
    return value


def _offer(message: Mapping[str, Any]) -> webrtc_sdp.Offer:
    return webrtc_sdp.read(_text(message, "sdp"))


def _callee(message: Mapping[str, Any]) -> Identifier:
    """Whom to call. ValueError, WireError for what is neither a number nor a user of a resource."""
    text = _text(message, "to", LONGEST_TARGET)
    callee = resolve_target(text)
    if callee.kind not in (PHONE_NUMBER, COMMUNICATION_USER) or not text.isprintable():
        raise ValueError(f"to is {text!r}, which cannot be called: give a number such as +15550100, or 8:acs:...")
    return callee


def _flag(message: Mapping[str, Any], field: str) -> bool:
    value = message.get(field)
    if not isinstance(value, bool):
        raise ValueError(f"{field} must be true or false, not {value!r}")
    return value


def _tone(message: Mapping[str, Any]) -> str:
    value = message.get("tone")
    if not isinstance(value, str) or value.upper() not in TONES:
        raise ValueError(f"a tone is one of 0-9 * # A-D, not {value!r}")
    return value.upper()
