"""What the trace of a call says of the call itself, its legs and the media that a call asks for (docs/trace.md)."""

from __future__ import annotations

from typing import Any, Final

from offhook.audio.pcm import PTIME_MS
from offhook.calls.actions import (
    DialLeg,
    DropPrompt,
    HoldLeg,
    LoadPrompt,
    MuteLeg,
    ReferLeg,
    SendKey,
    SplitCall,
    StartHearing,
    StartPrompt,
    StopHearing,
)
from offhook.calls.call import Call
from offhook.legs.leg import Dtmf, Ended, KeySent, Leg, LegEvent, Refused
from offhook.legs.pair import PairedLeg
from offhook.legs.simulated import SimulatedLeg
from offhook.legs.sip import SipLeg
from offhook.legs.webrtc import BrowserLeg
from offhook.service.trace import About
from offhook.wire.playing import PlaySource
from offhook.wire.turns import MOMENTS, TurnReport

ENDED_BY: Final = {
    "ended_by_app": "app",
    "removed": "app",
    "rejected": "app",
    "declined": "app",
    "busy": "app",
    "refused": "app",
    "not_answered": "timeout",
    "service_stopping": "service",
    "gave_up": "caller",
    "unreachable": "service",
}
"""Who ended a leg, by the outcome of its end; for any other it is the one who left."""
_KINDS: Final[dict[type, str]] = {SimulatedLeg: "simulated", SipLeg: "sip", BrowserLeg: "browser", PairedLeg: "app"}
_SHOWN_WORDS: Final = 200


def about(call: Call) -> About:
    """Who calls whom: of a call that an app makes, the one that it is shown to first, and its first target."""
    caller, callee, direction, name = call.caller, call.callee, "incoming", call.display_name
    if call.state in ("dialing", "connected"):
        direction = "outgoing"
        dialled = next((action for action in call.outbox if isinstance(action, DialLeg)), None)
        if dialled is not None:
            caller, callee, name = dialled.source, dialled.target, dialled.display_name
    return About(
        server_call_id=call.server_call_id,
        correlation_id=call.correlation_id,
        direction=direction,
        from_id="" if caller is None else caller.raw_id,
        from_name=name,
        to_id="" if callee is None else callee.raw_id,
    )


def leg_kind(leg: Leg) -> str:
    """How somebody is reached: simulated, sip, browser, or app for a call of the node to an app of its own."""
    return _KINDS.get(type(leg)) or str(getattr(leg, "kind", "other"))


def leg_note(event: LegEvent) -> tuple[str, str, dict[str, Any]]:
    """The kind, name and detail of what an endpoint did."""
    match event:
        case Dtmf(tone):
            return "dtmf", "pressed", {"tone": tone, "direction": "in"}
        case KeySent(tone):
            return "dtmf", "played", {"tone": tone, "direction": "out"}
    detail = {"outcome": event.outcome} if isinstance(event, Ended | Refused) and event.outcome else {}
    return "leg", type(event).__name__.lower(), detail


def turn_note(report: TurnReport, begin_ms: float, dropped: int) -> dict[str, Any]:
    """The detail of a turn that an app told of; `begin_ms`: where on the call's axis its stream begins.

    The app counts the frames that it got: what was `dropped` of them makes it late by 20 ms each.
    """
    names = [f"{first}{rest.title().replace('_', '')}" for first, _, rest in (name.partition("_") for name in MOMENTS)]
    moments = dict(zip(names, report.moments, strict=True))
    return {
        "number": report.number,
        "turn": report.kind,
        "spans": report.spans,
        "responseMs": report.response_ms,
        **{name: None if at is None else round(begin_ms + at, 1) for name, at in moments.items()},
        "heardMs": report.heard_ms,
        "playbacks": report.playbacks,
        "resumed": report.resumed,
        "errorMs": report.error_ms + dropped * PTIME_MS,
    }


def media_note(action: object) -> tuple[str, dict[str, Any]] | None:
    """The name and detail of what a call asks of its media, for the trace; None for what is noted elsewhere."""
    match action:
        case LoadPrompt(connection_id, prompt_id, sources):
            return "load", {
                "connection": connection_id,
                "prompt": prompt_id,
                "sources": [_source(source) for source in sources],
            }
        case StartPrompt(connection_id, prompt_id, loop, to):
            heard = None if to is None else sorted(to)
            return "play", {"connection": connection_id, "prompt": prompt_id, "loop": loop, "to": heard}
        case DropPrompt(prompt_id):
            return "play stopped", {"prompt": prompt_id}
        case HoldLeg(leg_id, held):
            return "hold" if held else "unhold", {"leg": leg_id}
        case MuteLeg(leg_id, muted):
            return "mute" if muted else "unmute", {"leg": leg_id}
        case ReferLeg(leg_id, target):
            return "transfer", {"leg": leg_id, "target": target.raw_id}
        case SplitCall(caller_id, callee_id):
            return "transferred", {"leg": caller_id, "to": callee_id}
        case SendKey(leg_id, key):
            return "send tone", {"leg": leg_id, "tone": key}
        case StartHearing(hearing_id, leg_id, language):
            return "recognize", {"leg": leg_id, "recognition": hearing_id, "language": language}
        case StopHearing(hearing_id):
            return "recognize stopped", {"recognition": hearing_id}
    return None


def _source(source: PlaySource) -> str:
    return source.uri or source.words[:_SHOWN_WORDS]
