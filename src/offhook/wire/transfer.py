"""Bodies and events of transferring people to somebody else, and of moving them to another call (protocol.md §3.3)."""

from __future__ import annotations

from typing import Final, Self

import msgspec

from offhook.wire.contexts import Headers, calling_context
from offhook.wire.events import CallEvent, CallParticipant
from offhook.wire.fields import Fields, WireStruct, wrong
from offhook.wire.identifiers import (
    Identifier,
    read_identifier,
    read_phone,
)

__all__ = [
    "TRANSFER_EVENTS", "CallTransferAccepted", "CallTransferFailed", "MoveParticipantFailed",
    "MoveParticipantSucceeded", "MoveParticipantsRequest", "MoveParticipantsResponse", "TransferCallResponse",
    "TransferRequest",
]  # fmt: skip


class TransferRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST :transferToParticipant: `transferee` talks to `target` from now on; None is the one other person."""

    target: Identifier
    transferee: Identifier | None = None
    source_caller_id_number: Identifier | None = None
    operation_context: str | None = None
    operation_callback_uri: str | None = None
    sip_headers: Headers = ()
    voip_headers: Headers = ()

    @classmethod
    def read(cls, fields: Fields) -> Self:
        target = read_identifier(
            fields.required("targetParticipant", "name whom the call is transferred to"), fields.at("targetParticipant")
        )
        transferee, number = fields.raw("transferee"), fields.raw("sourceCallerIdNumber")
        return cls(
            target=target,
            transferee=None if transferee is None else read_identifier(transferee, fields.at("transferee")),
            source_caller_id_number=None if number is None else read_phone(number, fields.at("sourceCallerIdNumber")),
            operation_context=fields.text("operationContext"),
            operation_callback_uri=fields.url("operationCallbackUri", ("http", "https")),
            **calling_context(fields),
        )


class TransferCallResponse(WireStruct, frozen=True, kw_only=True):
    """Answer to :transferToParticipant."""

    operation_context: str | None = None


class MoveParticipantsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST participants:moveHere: `people` leave the call of connection `from_call` for this one. One or more."""

    people: tuple[Identifier, ...]
    from_call: str
    operation_context: str | None = None
    operation_callback_uri: str | None = None

    @classmethod
    def read(cls, fields: Fields) -> Self:
        fields.required("targetParticipants", "name at least one participant")
        people = fields.items("targetParticipants", read_identifier)
        if not people:
            raise wrong(fields.at("targetParticipants"), "must not be empty; name at least one participant")
        return cls(
            people=tuple(dict.fromkeys(people)),
            from_call=fields.required_text("fromCall", "give the callConnectionId of the call that they are in"),
            operation_context=fields.text("operationContext"),
            operation_callback_uri=fields.url("operationCallbackUri", ("http", "https")),
        )


class MoveParticipantsResponse(WireStruct, frozen=True, kw_only=True):
    """Answer to participants:moveHere: who is in the call now."""

    participants: tuple[CallParticipant, ...]
    from_call: str
    operation_context: str | None = None


class CallTransferAccepted(CallEvent, frozen=True, kw_only=True):
    """The transferee talks to the target, and is no longer in this call."""

    transfer_target: Identifier
    transferee: Identifier


class CallTransferFailed(CallEvent, frozen=True, kw_only=True):
    """The transferee is still in this call."""


class _MoveEvent(CallEvent, frozen=True, kw_only=True):
    participant: Identifier
    from_call: str


class MoveParticipantSucceeded(_MoveEvent, frozen=True, kw_only=True):
    """Somebody of another call is in this one now."""


class MoveParticipantFailed(_MoveEvent, frozen=True, kw_only=True):
    """Somebody of another call is still there."""


TRANSFER_EVENTS: Final[tuple[type[CallEvent], ...]] = (
    CallTransferAccepted,
    CallTransferFailed,
    MoveParticipantSucceeded,
    MoveParticipantFailed,
)
