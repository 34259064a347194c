"""How one more app comes into a call: by the id of a call that is there, or by that of a group (protocol.md §9 rows
38 and 39)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from offhook.calls.call import Call
from offhook.errors import CallError, WireError
from offhook.service.live import LiveCall
from offhook.wire.connecting import CallLocator, ConnectRequest
from offhook.wire.ids import read_server_call_id, server_call_id
from offhook.wire.models import CallConnectionProperties

if TYPE_CHECKING:
    from offhook.service.node import Node


def connect(node: Node, request: ConnectRequest, api_version: str) -> CallConnectionProperties:
    """Let an app take part in a call; CallConnected follows, or ConnectFailed when the call ends before it is up.

    CallError `call_not_found`, `call_not_established`, `throttled`, `service_unavailable`.
    """
    options = request.media_streaming_options
    if node.stopping:
        raise CallError("service_unavailable")
    if node.overloaded and options is not None:
        raise CallError("throttled", "the media clock has no room for another stream")
    live = _located(node, request.locator, 0 if options is None else options.sample_rate)
    connection_id = node.mint()
    live.call.connect(connection_id, node.mint(), request, api_version, node.clock.monotonic())
    node.claim(live, connection_id)
    # As the service answers (the published example): the app is in the call when it hears CallConnected.
    properties = replace(live.call.properties(connection_id), call_connection_state="connecting")
    live.settle()
    return properties


def _located(node: Node, locator: CallLocator, rate: int) -> LiveCall:
    if locator.kind == "groupCallLocator":
        return _group(node, locator.id, rate)
    try:
        _, call_id = read_server_call_id(locator.id)
    except WireError as error:
        raise CallError("call_not_found", f"callLocator.serverCallId: {error.message}.") from None
    live = node.calls.get(call_id)
    if live is None:
        raise CallError("call_not_found", "callLocator.serverCallId: the call is over, or never was.")
    return live


def _group(node: Node, group_id: str, rate: int) -> LiveCall:
    """The call of a group; the first app that wants it makes it, at the rate of its stream."""
    live = node.groups.get(group_id)
    if live is not None and live.call.state != "ended":
        return live
    node.admit()
    node.groups = {id: other for id, other in node.groups.items() if other.call.state != "ended"}
    call_id = node.mint()
    call = Call.group(
        call_id=call_id,
        server_call_id=server_call_id(node.identity.number, call_id),
        correlation_id=node.mint(),
        now=node.clock.monotonic(),
    )
    live = node.groups[group_id] = node.begin(call_id, call, *([rate] if rate else []))
    live.note("call", "group", group=group_id)
    return live
