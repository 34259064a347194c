"""Callbacks and IncomingCall events posted once more, as they were, to find out what an app makes of them.

The body and the event id are those of the first time; the token is new, and the same rules of targets and of --map
apply (docs/trace.md).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from offhook.errors import CallError
from offhook.service.call_folder import encode
from offhook.service.delivery import Delivery
from offhook.service.eventgrid import INCOMING_CALL, IncomingPost
from offhook.service.masking import COVER, Body
from offhook.service.posting import DeliveryReport
from offhook.service.recording_room import FILE_STATUS
from offhook.service.trace import Event

_FIX: Final = "call it as it is now, or send the one of a call that is still in the node's memory"


@dataclass(frozen=True, slots=True)
class Again:
    """An event to be posted again. `uri` empty: an event of Event Grid, for whoever is subscribed to it."""

    subject: str
    name: str
    event_type: str
    event_id: str
    body: bytes
    uri: str = ""
    connection: str | None = None
    callee: str = ""
    caller: str = ""

    @property
    def incoming(self) -> bool:
        """Whether it announces a call."""
        return self.event_type == INCOMING_CALL

    def detail(self, report: DeliveryReport) -> dict[str, Any]:
        """What a trace says of a try to post it."""
        return {
            "connection": self.connection,
            "eventId": self.event_id,
            "uri": report.uri,
            "attempt": report.attempt,
            "status": report.status,
            "error": report.error,
            "ms": round(report.ms, 1),
            "final": report.final,
        }


Resend = Callable[[Again], Awaitable[Sequence[DeliveryReport]]]
"""Posts an event; a report for each place that it went to, at least one."""


def again_of(page: dict[str, Any], seq: int, events: Sequence[Event] | None) -> Again:
    """What an event of a page needs to be sent again; `events`: those of the trace, where it is in memory.

    CallError `call_not_found`, `invalid_argument`, `conflict`.
    """
    shown = next((event for event in page["events"] if event["seq"] == seq), None)
    if shown is None:
        raise CallError("call_not_found", f"This call has no event {seq}.")
    if shown["kind"] != "callback":
        raise CallError("invalid_argument", f"Event {seq} is {shown['kind']}: only a callback can be sent again.")
    if page["imported"]:
        raise CallError("conflict", "This call was opened from a file: open it in its node to send anything.")
    detail: dict[str, Any] = shown["detail"]
    if events is not None:
        detail = events[seq - 1].detail
    uri, body = str(detail.get("uri") or ""), _body(detail)
    if COVER in uri:
        raise CallError("conflict", f"The secrets of its URL {uri} were not kept: {_FIX}.")
    if shown["name"] == "IncomingCall":
        kind, callee, caller = INCOMING_CALL, str(detail.get("to") or ""), str(detail.get("from") or "")
    else:
        kind, callee, caller = str(detail.get("type") or ""), "", ""
        if not uri and kind != FILE_STATUS:
            raise CallError("conflict", "It is not known where it was sent to.")
    connection = detail.get("connection")
    subject = str(connection or page["callId"])
    return Again(subject, shown["name"], kind, str(detail.get("eventId") or ""), body, uri, connection, callee, caller)


def _body(detail: dict[str, Any]) -> bytes:
    body = detail.get("body")
    if body is None:
        raise CallError("conflict", "Its body was not kept.")
    if isinstance(body, Body):
        if body.cut:
            raise CallError("conflict", f"Its body was too long to be kept whole: {_FIX}.")
        return body.data
    if detail.get("cut"):
        raise CallError("conflict", f"Its body was too long to be kept whole: {_FIX}.")
    if COVER in json.dumps(body):
        raise CallError("conflict", f"The secrets in its body were not kept: {_FIX}.")
    return encode(body)


class Resending:
    """Posts events of a node's calls again."""

    def __init__(
        self, delivery: Delivery, announce: Callable[[IncomingPost], Awaitable[Sequence[DeliveryReport]]]
    ) -> None:
        """`announce` posts an IncomingCall once to each webhook that wants it."""
        self._delivery = delivery
        self._announce = announce

    async def __call__(self, again: Again) -> Sequence[DeliveryReport]:
        """See `Resend`. CallError `conflict` when nobody is to be told of such a call."""
        if again.uri:
            return [await self._delivery.once(again.subject, again.uri, again.body, again.event_type, again.event_id)]
        post = IncomingPost(
            again.subject, again.event_id, again.body, lambda: True, again.callee, again.caller, again.event_type
        )
        reports = await self._announce(post)
        if not reports:
            raise CallError("conflict", "No webhook wants it: see --incoming, and to and from in [[webhook]].")
        return reports
