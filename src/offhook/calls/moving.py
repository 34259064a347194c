"""Apps and people that come from elsewhere into a call that is there, and people who leave it for another call:
steps of requests (protocol.md §3.2, §9 rows 38, 39 and 41)."""

from __future__ import annotations

from typing import Final

from offhook.calls.actions import MoveLeg
from offhook.calls.connection import Connection
from offhook.calls.conversation import CallLeg, Conversation
from offhook.calls.roster import MOST_PARTICIPANTS
from offhook.calls.subscription import Operation
from offhook.errors import CallError
from offhook.wire.identifiers import Identifier
from offhook.wire.transfer import MoveParticipantFailed, MoveParticipantsRequest, MoveParticipantSucceeded

MOST_APPS: Final = 32


def join(call: Conversation, connection: Connection, now: float) -> None:
    """One more app: in the call at once, or as soon as the call is established. CallError for too many."""
    if len(call.connections) >= MOST_APPS:
        raise CallError("invalid_argument", f"callLocator: {MOST_APPS} apps are in that call already.")
    call.connections[connection.connection_id] = connection
    if call.state in ("connected", "bridged"):
        call.state = "connected"
        connection.open_planned_stream()
        connection.establish(call.roster())


def leaving(
    source: Conversation, target: Conversation, request: MoveParticipantsRequest
) -> tuple[list[CallLeg], dict[Identifier, str]]:
    """Who of `source` can go to `target`, and why each of the others cannot, as an outcome. Nothing changes.

    CallError `participant_not_found` for a stranger, `invalid_argument` where the target holds no more people.
    """
    moving, staying = [], dict[Identifier, str]()
    for person in request.people:
        leg = source.leg_of(person)
        if leg is None:
            raise CallError("participant_not_found", f"Nobody with the raw id {person.raw_id} is in the call fromCall.")
        if target.leg_of(person) is not None:
            staying[person] = "conflict"
        elif not leg.joined:
            staying[person] = "participant_not_present"
        elif source.transfers.of(leg.leg_id):
            staying[person] = "transfer_conflict"
        else:
            moving.append(leg)
    if len(target.legs) + len(moving) > MOST_PARTICIPANTS:
        raise CallError("invalid_argument", f"A call holds at most {MOST_PARTICIPANTS} participants.")
    return moving, staying


def move_out(call: Conversation, legs: list[CallLeg], call_id: str, now: float) -> None:
    """These go on in another call; without anybody this one ends (§5.8: 0/5003)."""
    for leg in legs:
        call.forget(leg)
        call.outbox.append(MoveLeg(leg.leg_id, call_id))
    if not call.deserted("far_end_left", now):
        call.tell_roster()


def move_in(
    call: Conversation,
    connection: Connection,
    request: MoveParticipantsRequest,
    legs: list[CallLeg],
    staying: dict[Identifier, str],
) -> None:
    """Who has come is heard and hears: to be muted or on hold is of the call that was left. One event for each who was
    named, then the roster."""
    operation = Operation(request.operation_context, request.operation_callback_uri)
    for leg in legs:
        here = call.legs[leg.leg_id] = CallLeg(leg.leg_id, leg.identifier, "waiting")
        call.join(here)
    outcomes = {**{leg.identifier: "success" for leg in legs}, **staying}
    for person, outcome in outcomes.items():
        event = MoveParticipantSucceeded if outcome == "success" else MoveParticipantFailed
        connection.tell(event, outcome, operation, participant=person, from_call=request.from_call)
    if legs:
        call.tell_roster()
