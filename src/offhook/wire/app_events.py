"""Events as an app receives them: Event Grid posts and call callbacks, read (protocol.md 5.2, 5.3, 6.2, 6.3).

The classes of the callbacks are in `callbacks`.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from offhook.errors import WireError
from offhook.wire.callbacks import CallbackEvent, Party, typed

__all__ = [
    "CallbackEvent", "CustomContext", "GridEvent", "IncomingCall", "OtherGridEvent", "SubscriptionValidation",
    "read_callbacks", "read_grid_events",
]  # fmt: skip

TYPE_PREFIX: Final = "Microsoft.Communication."
_VALIDATION: Final = "Microsoft.EventGrid.SubscriptionValidationEvent"
_INCOMING: Final = TYPE_PREFIX + "IncomingCall"
_T = TypeVar("_T")


class SubscriptionValidation(Struct, frozen=True, rename="camel"):
    """Event Grid asks whether this webhook wants its events: answer 200 with the body `answer`."""

    validation_code: str
    validation_url: str = ""

    @property
    def answer(self) -> bytes:
        """The JSON body that says yes."""
        return msgspec.json.encode({"validationResponse": self.validation_code})


class CustomContext(Struct, frozen=True, rename="camel"):
    """What the caller's side gave along: headers of SIP, and of calls over the network."""

    sip_headers: dict[str, Any] | None = None
    voip_headers: dict[str, Any] | None = None


class IncomingCall(Struct, frozen=True, rename={
    "incoming_call_context": "incomingCallContext", "caller": "from", "callee": "to", "server_call_id": "serverCallId",
    "caller_display_name": "callerDisplayName", "correlation_id": "correlationId",
    "custom_context": "customContext"}):  # fmt: skip
    """A call rings: answer, redirect or reject it with `incoming_call_context`. It may be delivered twice."""

    incoming_call_context: str
    caller: Party = Party()
    callee: Party = Party()
    server_call_id: str = ""
    caller_display_name: str = ""
    correlation_id: str = ""
    custom_context: CustomContext | None = None


class OtherGridEvent(Struct, frozen=True):
    """An Event Grid event that is neither; `type` is its full name."""

    type: str


GridEvent: TypeAlias = SubscriptionValidation | IncomingCall | OtherGridEvent


class _Grid(Struct, rename="camel"):
    event_type: str
    data: msgspec.Raw = msgspec.Raw(b"{}")


class _Cloud(Struct):
    type: str
    data: dict[str, Any]
    id: str = ""


class _Result(Struct, rename="camel"):
    code: int | None = None
    sub_code: int | None = None
    message: str | None = None


class _Data(Struct, rename="camel"):
    call_connection_id: str = ""
    correlation_id: str = ""
    operation_context: str | None = None
    result_information: _Result | None = None


def read_grid_events(body: bytes) -> list[GridEvent]:
    """The events of an Event Grid post. WireError when it is none."""
    return [_grid_event(row) for row in _decode(body, list[_Grid], "an Event Grid post")]


def read_callbacks(body: bytes) -> list[CallbackEvent]:
    """The events of a callback post: an array of CloudEvents. WireError when it is none."""
    found = []
    for row in _decode(body, list[_Cloud], "a callback"):
        try:
            data = msgspec.convert(_given(row.data), _Data)
        except (msgspec.ValidationError, RecursionError) as error:
            raise WireError(f"a callback's data cannot be read: {error}", "data") from None
        result = data.result_information or _Result()
        event = CallbackEvent(
            row.type.removeprefix(TYPE_PREFIX),
            row.id,
            data.call_connection_id,
            data.correlation_id,
            data.operation_context,
            result.code,
            result.sub_code,
            result.message or "",
            row.data,
        )
        found.append(typed(event))
    return found


def _grid_event(row: _Grid) -> GridEvent:
    if row.event_type == _VALIDATION:
        return _decode(bytes(row.data), SubscriptionValidation, "a subscription validation")
    if row.event_type == _INCOMING:
        data = _given(_decode(bytes(row.data), dict[str, Any], "an IncomingCall event"))
        return _decode(msgspec.json.encode(data), IncomingCall, "an IncomingCall event")
    return OtherGridEvent(row.event_type)


def _given(data: dict[str, Any]) -> dict[str, Any]:
    """Without what is null: that is not given."""
    return {name: value for name, value in data.items() if value is not None}


def _decode(body: bytes, shape: type[_T], what: str) -> _T:
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise WireError(f"{what} cannot be read: {error}", "$") from None
