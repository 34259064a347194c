"""Bodies of the requests that change who is in a call, and their answers (protocol.md §3.3, §3.4)."""

from __future__ import annotations

from typing import ClassVar, Final, Self

import msgspec

from offhook.wire.contexts import calling_context
from offhook.wire.events import CallParticipant
from offhook.wire.fields import Fields, WireStruct, wrong
from offhook.wire.identifiers import Identifier, read_identifier, read_phone

LONGEST_INVITATION: Final = 180


def _callback(fields: Fields) -> str | None:
    return fields.url("operationCallbackUri", ("http", "https"))


class AddParticipantRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST participants:add: ring somebody who joins the call by answering.

    `invitation_timeout` in seconds, 1-180; None where the app left it to the service (absent, null or 0).
    """

    participant_to_add: Identifier
    source_caller_id_number: Identifier | None = None
    source_display_name: str | None = None
    invitation_timeout: int | None = None
    operation_context: str | None = None
    operation_callback_uri: str | None = None
    sip_headers: tuple[tuple[str, str], ...] = ()
    voip_headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def read(cls, fields: Fields) -> Self:
        number = fields.raw("sourceCallerIdNumber")
        wanted = fields.required("participantToAdd", "name who is to be added")
        return cls(
            participant_to_add=read_identifier(wanted, fields.at("participantToAdd")),
            source_caller_id_number=None if number is None else read_phone(number, fields.at("sourceCallerIdNumber")),
            source_display_name=fields.text("sourceDisplayName"),
            invitation_timeout=_invitation_timeout(fields),
            operation_context=fields.text("operationContext"),
            operation_callback_uri=_callback(fields),
            **calling_context(fields),
        )


def _invitation_timeout(fields: Fields) -> int | None:
    """0 is what SDKs in languages without null write for "not given"."""
    name = "invitationTimeoutInSeconds"
    value = fields.raw(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LONGEST_INVITATION:
        raise wrong(fields.at(name), f"must be a whole number of seconds from 0 to {LONGEST_INVITATION}")
    return value or None


class RemoveParticipantRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST participants:remove: somebody leaves the call."""

    participant_to_remove: Identifier
    operation_context: str | None = None
    operation_callback_uri: str | None = None

    @classmethod
    def read(cls, fields: Fields) -> Self:
        named = fields.required("participantToRemove", "name who is to leave")
        return cls(
            participant_to_remove=read_identifier(named, fields.at("participantToRemove")),
            operation_context=fields.text("operationContext"),
            operation_callback_uri=_callback(fields),
        )


class MuteParticipantsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST participants:mute: nobody hears them any more. One or more people."""

    muted: ClassVar[bool] = True
    target_participants: tuple[Identifier, ...]
    operation_context: str | None = None

    @classmethod
    def read(cls, fields: Fields) -> Self:
        fields.required("targetParticipants", "name at least one participant")
        targets = fields.items("targetParticipants", read_identifier)
        if not targets:
            raise wrong(fields.at("targetParticipants"), "must not be empty; name at least one participant")
        return cls(target_participants=targets, operation_context=fields.text("operationContext"))


class UnmuteParticipantsRequest(MuteParticipantsRequest, frozen=True, kw_only=True):
    """POST participants:unmute, of api-version 2023-10-03-preview: everybody hears them again."""

    muted: ClassVar[bool] = False


class CancelAddParticipantRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST participants:cancelAddParticipant: stop ringing somebody."""

    invitation_id: str
    operation_context: str | None = None
    operation_callback_uri: str | None = None

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(
            invitation_id=fields.required_text(
                "invitationId", "send it back as the answer to participants:add gave it"
            ),
            operation_context=fields.text("operationContext"),
            operation_callback_uri=_callback(fields),
        )


class AddParticipantResponse(WireStruct, frozen=True, kw_only=True):
    """Answer to participants:add."""

    participant: CallParticipant
    invitation_id: str
    operation_context: str | None = None


class CancelAddParticipantResponse(WireStruct, frozen=True, kw_only=True):
    """Answer to participants:cancelAddParticipant."""

    invitation_id: str
    operation_context: str | None = None


class ParticipantsResponse(WireStruct, frozen=True, kw_only=True):
    """Answer to participants:remove and participants:mute."""

    operation_context: str | None = None
