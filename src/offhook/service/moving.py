"""Legs that go on in another call of the node: moved by an app, or transferred (protocol.md §9 rows 40 and 41).

A leg keeps its socket, codec and place in its dialog; it leaves one bridge and is seated on the other at that one's
rate. What its endpoint does from then on is told to the call that it is in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from offhook.calls import moving
from offhook.calls.actions import SplitCall
from offhook.calls.call import Call
from offhook.errors import CallError
from offhook.legs.pair import PairedLeg
from offhook.service.live import LiveCall
from offhook.wire.ids import server_call_id
from offhook.wire.transfer import MoveParticipantsRequest, MoveParticipantsResponse

if TYPE_CHECKING:
    from offhook.service.node import Node


def move(node: Node, connection_id: str, request: MoveParticipantsRequest) -> MoveParticipantsResponse:
    """Take people out of the call of connection `from_call` into that of `connection_id`.

    MoveParticipantSucceeded or -Failed follows for each. CallError `call_not_found` and `call_not_established` for
    either call, `invalid_argument` for one and the same, `conflict` for both ends of one call, and those of `leaving`.
    """
    target, source, now = node.find(connection_id), node.known(request.from_call), node.clock.monotonic()
    connection = target.call.connection(connection_id)
    if not connection.established:
        raise CallError("call_not_established")
    held = None if source is None else source.call.connections.get(request.from_call)
    if source is None or held is None:
        raise CallError("call_not_found", "fromCall: this connection is over, or never was.")
    if source is target:
        raise CallError("invalid_argument", "fromCall: this is the same call.")
    if not held.established:
        raise CallError("call_not_established", "It is that of fromCall.")
    legs, staying = moving.leaving(source.call, target.call, request)
    for moved in legs:
        leg = source.legs[moved.leg_id]
        if isinstance(leg, PairedLeg) and leg.other_id in target.legs:
            # In one call, each would say again what the other has said, louder and louder.
            detail = f"targetParticipants: {moved.identifier.raw_id} is the other end of somebody of this call."
            raise CallError("conflict", detail)
    if legs:
        moving.move_out(source.call, legs, target.call.call_id, now)
        source.settle()
    moving.move_in(target.call, connection, request, legs, staying)
    people = target.call.roster()
    target.settle()
    return MoveParticipantsResponse(
        participants=people, from_call=request.from_call, operation_context=request.operation_context
    )


def move_leg(node: Node, live: LiveCall, leg_id: str, call_id: str) -> None:
    """A leg leaves one live call for another."""
    leg, identifier, inbound = live.give(leg_id)
    other, row = node.calls[call_id], live.trace.legs.get(leg_id)
    other.add_leg(leg, identifier, inbound, "" if row is None else row.display_name)
    node.moved[leg_id] = other
    live.note("leg", "moved", leg=leg_id, to=call_id)
    other.note("leg", "moved here", leg=leg_id, participant=identifier.raw_id, of=live.call.call_id)


def split(node: Node, live: LiveCall, action: SplitCall) -> None:
    """Two legs of a live call go on in a new one."""
    call_id = node.mint()
    call = Call.split(
        call_id=call_id,
        server_call_id=server_call_id(node.identity.number, call_id),
        correlation_id=node.mint(),
        caller=(action.caller_id, live.name(action.caller_id)),
        callee=(action.callee_id, live.name(action.callee_id)),
    )
    other = node.begin(call_id, call, live.rate)
    for leg_id in (action.caller_id, action.callee_id):
        move_leg(node, live, leg_id, call_id)
    other.settle()
