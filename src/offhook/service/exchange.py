"""A REST request with its answer, and which call it is about, for the trace of that call (docs/trace.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from offhook.errors import SignatureError, WireError
from offhook.service.masking import Body
from offhook.service.trace import CallTrace
from offhook.wire.ids import read_server_call_id
from offhook.wire.signing import open_context

if TYPE_CHECKING:
    from offhook.service.node import Node


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request. `path`: with its query; `ids`: of the path; `trusted`: an app of ours asked, by key or token."""

    method: str
    path: str
    ms: float
    request: bytes
    response: bytes
    ids: dict[str, str]
    trusted: bool = True

    def kept(self) -> dict[str, Any]:
        """What of it a trace keeps."""
        return {
            "method": self.method,
            "path": self.path,
            "ms": round(self.ms, 2),
            "requestBody": Body.of(self.request),
            "responseBody": Body.of(self.response),
        }


def call_of(node: Node, connection_id: str | None, exchange: Exchange | None) -> CallTrace | None:
    """The call that a request is about: by its connection, else by what its path or its body names."""
    if connection_id:
        return node.traces.find(connection_id)
    if exchange is None or not exchange.trusted:
        return None
    recording = exchange.ids.get("recordingId")
    if recording is not None:
        for live in node.calls.values():
            if live.call.recording is not None and live.call.recording.recording_id == recording:
                return live.trace
        return None
    return _named(node, exchange.request)


class _Locator(msgspec.Struct, rename="camel"):
    server_call_id: str = ""


class _Names(msgspec.Struct, rename="camel"):
    """The fields by which bodies name calls; whatever else they hold is left alone."""

    incoming_call_context: str = ""
    call_locator: _Locator | None = None


def _named(node: Node, body: bytes) -> CallTrace | None:
    try:
        names = msgspec.json.decode(body, type=_Names)
    except (ValueError, RecursionError):
        return None
    try:
        if names.incoming_call_context:
            # It may have expired: it names its call all the same.
            payload = open_context(names.incoming_call_context, node.identity.context_key, 0.0)
            return node.traces.find(str(payload.get("call")))
        if names.call_locator is not None and names.call_locator.server_call_id:
            return node.traces.find(read_server_call_id(names.call_locator.server_call_id)[1])
    except (SignatureError, WireError):
        pass
    return None
