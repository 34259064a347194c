"""A simulated leg or phone over one WebSocket: `GET /console/api/leg` (docs/console.md).

A leg's sound goes up and down its socket; the node opens no path and no URL that a client names.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from aiohttp import WSMsgType, web

from offhook.audio.pcm import FRAMES_PER_SECOND, PTIME_MS, Frame, silence
from offhook.calls.actions import DialLeg
from offhook.errors import CallError, LegError, WireError
from offhook.legs.leg import Answered, LegEnd, LegEvent, Refused, Ringing
from offhook.legs.simulated import Figures, Hooks, Script, SimulatedLeg
from offhook.service.clock import Handle
from offhook.service.identities import display_of
from offhook.service.node import Node
from offhook.wire.identifiers import Identifier, parse_raw_id
from offhook.wire.results import RESULTS

BEHIND_FRAMES = 15 * FRAMES_PER_SECOND
MAX_UPLOAD = 4 * 1024 * 1024
MAX_PENDING = 64 * 1024 * 1024
TONES = frozenset("0123456789*#ABCD")
REJECTS = {"busy": "busy", "declined": "declined"}


class LegSession:
    """One client: it places a call, or registers a phone and takes calls one after another."""

    def __init__(self, node: Node, socket: web.WebSocketResponse) -> None:
        self._node = node
        self._socket = socket
        self._out: deque[str | bytes] = deque()
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._leg: SimulatedLeg | None = None
        self._listen = True
        self._placed_at = 0.0
        self._quiet = b""
        self._identity: str | None = None
        self._registration: dict[str, Any] = {}
        self._pending_bytes = 0
        self._timer: Handle | None = None

    async def run(self) -> None:
        """Serve until the client is gone; a leg that is still up then hangs up."""
        writer = asyncio.get_running_loop().create_task(self._write())
        try:
            async for message in self._socket:
                if message.type == WSMsgType.BINARY:
                    self._upload(message.data)
                elif message.type == WSMsgType.TEXT:
                    self._command(message.data)
        finally:
            self._forget_phone()
            if self._leg is not None:
                self._leg.leave()
            writer.cancel()

    async def close(self) -> None:
        """Let what is queued go out for at most a second, then close."""
        if self._out and not self._socket.closed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), 1.0)
        await asyncio.wait_for(self._socket.close(code=1001), 1.0)

    # the client's messages --------------------------------------------------------------------------------------

    def _command(self, text: str) -> None:
        try:
            message = json.loads(text)
            if not isinstance(message, dict):
                raise ValueError("a JSON object is expected")
            self._act(message)
        except (ValueError, TypeError, KeyError, RecursionError, WireError) as error:
            self._send({"kind": "error", "message": f"bad message: {error}"})
        except CallError as error:
            self._send({"kind": "error", "message": RESULTS[error.outcome].text(error.detail)})

    def _act(self, message: dict[str, Any]) -> None:
        match message.get("kind"):
            case "place":
                self._place(message)
            case "register":
                self._register(message)
            case "dtmf":
                if self._leg is not None:
                    self._leg.press(_tone(message.get("tone")))
            case "hangup":
                if self._leg is not None:
                    self._leg.leave()
            case "eof":
                pass
            case other:
                raise ValueError(f"unknown kind {other!r}: place, register, dtmf, eof or hangup")

    def _place(self, message: dict[str, Any]) -> None:
        if self._leg is not None:
            raise ValueError("a call is up on this socket already")
        caller, callee = _identity(message, "from"), _identity(message, "to")
        script = _script(message)
        self._listen = bool(message.get("listen", True))
        self._placed_at = self._node.clock.monotonic()
        self._pending_bytes = 0

        def make(leg_id: str, event: Callable[[str, LegEvent], None]) -> SimulatedLeg:
            self._leg = SimulatedLeg(leg_id, script, self._hooks(event))
            self._send({"kind": "ringing"})
            return self._leg

        live = self._node.place(caller, callee, str(message.get("displayName") or ""), make)
        leg_id = None if self._leg is None else self._leg.leg_id
        self._send({"kind": "placed", "callId": live.call.call_id, "legId": leg_id})

    def _register(self, message: dict[str, Any]) -> None:
        identity = _identity(message, "identity").raw_id
        if self._node.phones.get(identity, self) is not self:
            raise ValueError(f"{identity} is registered by another phone")
        reject = message.get("reject")
        if reject is not None and reject not in REJECTS:
            raise ValueError(f"reject is one of {', '.join(REJECTS)}, not {reject!r}")
        _script(message)
        _number(message, "answerAfter", 0.0)
        self._forget_phone()
        self._identity, self._registration = identity, message
        self._node.phones[identity] = self
        self._send({"kind": "registered", "identity": identity})

    def _forget_phone(self) -> None:
        if self._identity is not None and self._node.phones.get(self._identity) is self:
            del self._node.phones[self._identity]

    def _upload(self, pcm: bytes) -> None:
        leg = self._leg
        if leg is None or len(pcm) % 2:
            self._send({"kind": "error", "message": "audio needs a call, and an even number of bytes of PCM16"})
            return
        if not leg.answered:
            self._pending_bytes += len(pcm)
            if self._pending_bytes > MAX_PENDING:
                self._send({"kind": "error", "message": "too much audio before the answer"})
                return
        if leg.say(pcm) < len(pcm):
            self._send({"kind": "error", "message": "more than 10 minutes of audio are waiting: the rest is refused"})

    # Phone ------------------------------------------------------------------------------------------------------

    def ring(self, action: DialLeg, call_id: str) -> SimulatedLeg:
        """See `Phone`."""
        leg_id, caller = action.leg_id, action.source
        if self._leg is not None:
            raise LegError("busy", f"{self._identity} is in another call")
        node, registration = self._node, self._registration
        live = node.calls[call_id]

        def event(leg: str, what: LegEvent) -> None:
            node.leg_event(live, leg, what)

        leg = self._leg = SimulatedLeg(leg_id, _script(registration), self._hooks(event))
        self._listen = bool(registration.get("listen", True))
        self._placed_at = node.clock.monotonic()
        self._pending_bytes = 0
        self._send(
            {
                "kind": "invite",
                "from": None if caller is None else caller.raw_id,
                "displayName": display_of(action.display_name),
                "sipHeaders": dict(action.sip_headers),
                "to": self._identity,
                "callId": call_id,
            }
        )
        asyncio.get_running_loop().call_soon(event, leg_id, Ringing())
        reject = registration.get("reject")
        if not registration.get("never") or reject:
            after = cast(float, _number(registration, "answerAfter", 0.0))
            decision: LegEvent = Refused(REJECTS[reject]) if reject else Answered()
            self._timer = node.clock.call_at(node.clock.monotonic() + after, lambda: self._decide(leg, event, decision))
        return leg

    def _decide(self, leg: SimulatedLeg, event: Callable[[str, LegEvent], None], decision: LegEvent) -> None:
        if self._leg is leg:
            event(leg.leg_id, decision)

    # the leg's outputs ------------------------------------------------------------------------------------------

    def _hooks(self, event: Callable[[str, LegEvent], None]) -> Hooks:
        return Hooks(
            event=event,
            hear=self._hear if self._listen else None,
            answered=self._answered,
            spoke=lambda at: self._send({"kind": "spoke", "atSample": at}),
            key=lambda key: self._send({"kind": "key", "tone": key}),
            ended=self._ended,
            pace=self._node.pace,
        )

    def _answered(self, rate: int) -> None:
        self._quiet = silence(rate).tobytes()
        ms = round((self._node.clock.monotonic() - self._placed_at) * 1000)
        self._send({"kind": "answered", "rate": rate, "answerMs": ms})

    def _hear(self, index: int, frame: Frame | None) -> None:
        if len(self._out) >= BEHIND_FRAMES:
            return
        head = index.to_bytes(4, "little")
        self._out.append(head + b"\0" + self._quiet if frame is None else head + b"\1" + frame.tobytes())
        self._wake.set()

    def _ended(self, end: LegEnd, figures: Figures) -> None:
        self._leg = None
        first = figures.first_heard
        self._send(
            {
                "kind": "ended",
                "code": end.code,
                "subCode": end.sub_code,
                "message": end.message,
                "endedBy": end.ended_by,
                "stats": {
                    "durationMs": figures.frames * PTIME_MS,
                    "framesSent": figures.sent,
                    "framesHeard": figures.heard,
                    "gaps": figures.gaps,
                    "lateFrames": figures.late,
                    "firstAudioMs": None if first is None else first * PTIME_MS,
                },
            }
        )

    def _send(self, message: dict[str, Any]) -> None:
        self._out.append(json.dumps(message))
        self._empty.clear()
        self._wake.set()

    async def _write(self) -> None:
        """Send what is queued, in order; the queue is bounded in `_hear`."""
        out, socket = self._out, self._socket
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while out:
                    item = out[0]
                    if isinstance(item, str):
                        await socket.send_str(item)
                    else:
                        await socket.send_bytes(item)
                    out.popleft()
                self._empty.set()
        except ConnectionError:
            out.clear()
            self._empty.set()


def _identity(message: dict[str, Any], field: str) -> Identifier:
    value = message.get(field)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{field} must be a raw id such as 4:+15550100002")
    return parse_raw_id(value)


def _tone(value: object) -> str:
    if not isinstance(value, str) or value.upper() not in TONES:
        raise ValueError(f"a tone is one of 0-9 * # A-D, not {value!r}")
    return value.upper()


def _number(message: dict[str, Any], field: str, default: float | None) -> float | None:
    value = message.get(field)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 86400:
        raise ValueError(f"{field} must be a number of seconds from 0 to 86400, not {value!r}")
    return float(value)


def _script(message: dict[str, Any]) -> Script:
    """What the client asks its endpoint to do; ValueError names the field."""
    tone, rate, presses = message.get("tone"), message.get("rate"), message.get("dtmf") or []
    if tone is not None and (isinstance(tone, bool) or not isinstance(tone, int | float) or not 20 <= tone <= 7000):
        raise ValueError(f"tone must be a frequency from 20 to 7000 Hz, not {tone!r}")
    if rate not in (None, 8000, 16000, 24000, 48000):
        raise ValueError(f"rate must be 8000, 16000, 24000 or 48000 Hz, not {rate!r}")
    if not isinstance(presses, list) or len(presses) > 1000:
        raise ValueError("dtmf must be a list of [seconds, tone]")
    return Script(
        lead=cast(float, _number(message, "lead", 0.5)),
        duration=_number(message, "duration", None),
        tone=None if tone is None else float(tone),
        dtmf=tuple((cast(float, _number({"dtmf": at}, "dtmf", 0.0)), _tone(press)) for at, press in presses),
        live=bool(message.get("live", False)),
        rate=rate,
    )
