"""What the API does about participants: requests go to the call, answers come from the request (protocol.md §3.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from offhook.calls.call import Call
from offhook.wire.events import CallParticipant
from offhook.wire.models import GetParticipantsResponse
from offhook.wire.participants import (
    AddParticipantRequest,
    AddParticipantResponse,
    CancelAddParticipantRequest,
    CancelAddParticipantResponse,
    MuteParticipantsRequest,
    ParticipantsResponse,
    RemoveParticipantRequest,
)

if TYPE_CHECKING:
    from offhook.service.operations import Asked, CallControl

PAGE: Final = 100
"""Participants of one answer."""
AskCall = Callable[[Call, float], None]
"""A request to the machine of a call, given the time in monotonic seconds; it may raise CallError."""


def page(control: CallControl, asked: Asked) -> GetParticipantsResponse:
    """A page of the roster as it is now. Every SDK signs the link to the next one as it is (protocol.md §3.4)."""
    people = control.participants(asked.connection)
    end = asked.page * PAGE
    following = (
        f"{asked.endpoint.rstrip('/')}/calling/callConnections/{asked.connection}/participants"
        f"?api-version={asked.api_version}&page={asked.page + 1}"
    )
    return GetParticipantsResponse(
        value=tuple(people[end - PAGE : end]), next_link=following if len(people) > end else None
    )


def add(control: CallControl, asked: Asked, body: AddParticipantRequest) -> AddParticipantResponse:
    """Ring somebody."""
    invitation_id, leg_id = control.mint(), control.mint()
    control.ask(
        asked.connection,
        lambda call, now: call.add_participant(asked.connection, invitation_id, leg_id, body, now),
    )
    return AddParticipantResponse(
        participant=CallParticipant(identifier=body.participant_to_add),
        invitation_id=invitation_id,
        operation_context=body.operation_context,
    )


def remove(control: CallControl, asked: Asked, body: RemoveParticipantRequest) -> ParticipantsResponse:
    """Take somebody out."""
    control.ask(asked.connection, lambda call, now: call.remove_participant(asked.connection, body, now))
    return ParticipantsResponse(operation_context=body.operation_context)


def mute(control: CallControl, asked: Asked, body: MuteParticipantsRequest) -> ParticipantsResponse:
    """Mute somebody."""
    control.ask(asked.connection, lambda call, now: call.mute_participants(asked.connection, body, now))
    return ParticipantsResponse(operation_context=body.operation_context)


def cancel_add(control: CallControl, asked: Asked, body: CancelAddParticipantRequest) -> CancelAddParticipantResponse:
    """Call an invitation off."""
    control.ask(asked.connection, lambda call, now: call.cancel_add_participant(asked.connection, body, now))
    return CancelAddParticipantResponse(invitation_id=body.invitation_id, operation_context=body.operation_context)
