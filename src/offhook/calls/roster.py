"""Who comes into a connected call, who is taken out of it, who is muted: steps of requests (protocol.md §3.2).

An invitation ends in exactly one of AddParticipantSucceeded, AddParticipantFailed and, where the app calls it off,
CancelAddParticipantSucceeded; the end of the call ends it too, and then CallDisconnected is all that is told.
"""

from __future__ import annotations

from typing import Final

from offhook.calls.actions import MuteLeg
from offhook.calls.connection import Connection
from offhook.calls.conversation import CallLeg, Conversation, Invitation, shown_to
from offhook.calls.subscription import Operation
from offhook.errors import CallError
from offhook.wire.events import (
    AddParticipantFailed,
    AddParticipantSucceeded,
    CancelAddParticipantFailed,
    CancelAddParticipantSucceeded,
    RemoveParticipantFailed,
    RemoveParticipantSucceeded,
)
from offhook.wire.identifiers import Identifier
from offhook.wire.participants import (
    AddParticipantRequest,
    CancelAddParticipantRequest,
    MuteParticipantsRequest,
    RemoveParticipantRequest,
)

INVITATION_TIMEOUT: Final = 60.0  # seconds; protocol.md §9 row 13
MOST_PARTICIPANTS: Final = 350  # protocol.md §7


def add(
    call: Conversation,
    connection: Connection,
    invitation_id: str,
    leg_id: str,
    request: AddParticipantRequest,
    now: float,
) -> None:
    """Ring somebody; who answers is in the call. CallError `conflict` for who is there or rings already."""
    target = request.participant_to_add
    known = call.leg_of(target)
    if known is not None:
        how = "is in the call already" if known.joined else "is being rung already"
        raise CallError("conflict", f"participantToAdd: {target.raw_id} {how}.")
    if len(call.legs) >= MOST_PARTICIPANTS:
        raise CallError("invalid_argument", f"A call holds at most {MOST_PARTICIPANTS} participants.")
    source = shown_to(target, request.source_caller_id_number, connection.identity)
    shown = request.source_display_name or ""
    leg = call.dial(leg_id, target, source, request.sip_headers, shown, request.voip_headers)
    operation = Operation(request.operation_context, request.operation_callback_uri)
    leg.invitation = Invitation(invitation_id, connection.connection_id, operation)
    leg.deadline = now + (request.invitation_timeout or INVITATION_TIMEOUT)


def added(call: Conversation, leg: CallLeg) -> None:
    """Who was invited is in the call; the roster follows (§5.7)."""
    invitation, leg.invitation = leg.invitation, None
    asker = None if invitation is None else call.connections.get(invitation.connection_id)
    if invitation is not None and asker is not None:
        asker.tell(AddParticipantSucceeded, "success", invitation.operation, participant=leg.identifier)


def not_added(call: Conversation, leg: CallLeg, outcome: str, detail: str = "") -> None:
    """Who was invited did not come; `outcome` says why (§5.8)."""
    call.transfers.lost(leg, outcome, detail)
    invitation, leg.invitation = leg.invitation, None
    asker = None if invitation is None else call.connections.get(invitation.connection_id)
    if invitation is not None and asker is not None:
        asker.tell(AddParticipantFailed, outcome, invitation.operation, detail, participant=leg.identifier)


def cancel_add(call: Conversation, connection: Connection, request: CancelAddParticipantRequest, now: float) -> None:
    """Stop ringing somebody. What is too late to be called off is told by an event (§5.5)."""
    operation = Operation(request.operation_context, request.operation_callback_uri)
    wanted = request.invitation_id
    for leg in call.legs.values():
        if leg.invitation is not None and leg.invitation.invitation_id == wanted:
            call.release(leg, "ended_by_app")
            connection.tell(CancelAddParticipantSucceeded, "success", operation, invitation_id=wanted)
            call.deserted("far_end_left", now)
            return
    connection.tell(CancelAddParticipantFailed, "invitation_not_found", operation, invitation_id=wanted)


def remove(call: Conversation, connection: Connection, request: RemoveParticipantRequest, now: float) -> None:
    """Take somebody out. With nobody left the app is alone, and the call ends.

    CallError `participant_not_found` for a stranger; who is only being rung fails with an event.
    """
    person = request.participant_to_remove
    operation = Operation(request.operation_context, request.operation_callback_uri)
    leg = _leg_of(call, person)
    if not leg.joined:
        detail = "It is being rung: cancel the invitation instead." if leg.invitation else "It is being rung."
        connection.tell(RemoveParticipantFailed, "participant_not_present", operation, detail, participant=person)
        return
    call.release(leg, "removed")
    connection.tell(RemoveParticipantSucceeded, "success", operation, participant=leg.identifier)
    if not call.deserted("far_end_left", now):
        call.tell_roster()


def mute(call: Conversation, connection: Connection, request: MuteParticipantsRequest, now: float) -> None:
    """Nobody hears them any more, or everybody again; they hear all along. CallError `participant_not_found`: none."""
    legs = [_leg_of(call, person, joined=True) for person in request.target_participants]
    changed = [leg for leg in dict.fromkeys(legs) if leg.muted != request.muted]
    for leg in changed:
        leg.muted = request.muted
        call.outbox.append(MuteLeg(leg.leg_id, leg.muted))
    if changed:
        call.tell_roster()


def _leg_of(call: Conversation, person: Identifier, *, joined: bool = False) -> CallLeg:
    """The leg of somebody. CallError `participant_not_found`; `invalid_argument` for an app."""
    leg = call.leg_of(person)
    if leg is not None and (leg.joined or not joined):
        return leg
    if any(app.identity == person for app in call.connections.values()):
        raise CallError("invalid_argument", f"{person.raw_id} is the app itself; hang up to leave the call.")
    raise CallError("participant_not_found", f"Nobody with the raw id {person.raw_id} is in the call.")
