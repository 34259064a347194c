"""What an app is told: call events as CloudEvents (protocol.md §5) and Event Grid posts (§6).

Ids and times are arguments; every post holds exactly one event, because apps read only the first (§5.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from offhook.wire.fields import WireStruct, encode
from offhook.wire.identifiers import Identifier, write_identifier
from offhook.wire.results import Result, ResultInformation

__all__ = [
    "EVENT_TYPES", "AddParticipantFailed", "AddParticipantSucceeded", "AnswerFailed", "CallConnected",
    "CallDisconnected", "CallEvent", "CallParticipant", "CancelAddParticipantFailed", "CancelAddParticipantSucceeded",
    "CreateCallFailed", "MediaStreamingFailed", "MediaStreamingStarted", "MediaStreamingStopped",
    "MediaStreamingUpdate", "ParticipantsUpdated", "PlayCanceled", "PlayCompleted", "PlayFailed", "PlayStarted",
    "RemoveParticipantFailed", "RemoveParticipantSucceeded", "ResultInformation", "encode_callback", "event_time",
    "grid_event", "grid_time", "incoming_call", "media_streaming_update", "subscription_validation",
]  # fmt: skip

_TYPE_PREFIX: Final = "Microsoft.Communication."
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class CallParticipant(WireStruct, frozen=True, kw_only=True):
    """One person of the roster, in events and in answers to participant requests (protocol.md §3.4)."""

    identifier: Identifier
    is_muted: bool = False
    is_on_hold: bool = False


class MediaStreamingUpdate(WireStruct, frozen=True, kw_only=True):
    """State of the audio stream (protocol.md §5.6)."""

    content_type: str = "Audio"
    media_streaming_status: str
    media_streaming_status_details: str


class CallEvent(WireStruct, frozen=True, kw_only=True):
    """Fields of every event. The class name is the event's type without "Microsoft.Communication."."""

    call_connection_id: str
    server_call_id: str
    correlation_id: str
    operation_context: str | None = None
    result_information: ResultInformation | None = None

    @property
    def name(self) -> str:
        return type(self).__name__

    @property
    def type(self) -> str:
        return _TYPE_PREFIX + self.name

    @property
    def source(self) -> str:
        """Where it happened (protocol.md §5.2); the events of recordings have another."""
        return f"calling/callConnections/{self.call_connection_id}"


class CallConnected(CallEvent, frozen=True, kw_only=True):
    """The app's side of the call is up."""


class CallDisconnected(CallEvent, frozen=True, kw_only=True):
    """The app's side is gone; the last event of its connection."""


class CreateCallFailed(CallEvent, frozen=True, kw_only=True):
    """A created call was never answered."""


class AnswerFailed(CallEvent, frozen=True, kw_only=True):
    """An answered call could not be connected."""


class ParticipantsUpdated(CallEvent, frozen=True, kw_only=True):
    """The roster as of now; `sequence_number` rises within a call."""

    sequence_number: int
    participants: tuple[CallParticipant, ...]


class _ParticipantEvent(CallEvent, frozen=True, kw_only=True):
    participant: Identifier


class AddParticipantSucceeded(_ParticipantEvent, frozen=True, kw_only=True):
    """Somebody who was invited is in the call."""


class AddParticipantFailed(_ParticipantEvent, frozen=True, kw_only=True):
    """Somebody who was invited did not come."""


class RemoveParticipantSucceeded(_ParticipantEvent, frozen=True, kw_only=True):
    """Somebody was taken out of the call."""


class RemoveParticipantFailed(_ParticipantEvent, frozen=True, kw_only=True):
    """Somebody could not be taken out of the call."""


class _InvitationEvent(CallEvent, frozen=True, kw_only=True):
    invitation_id: str


class CancelAddParticipantSucceeded(_InvitationEvent, frozen=True, kw_only=True):
    """An invitation was called off; whoever it was for is not rung any more."""


class CancelAddParticipantFailed(_InvitationEvent, frozen=True, kw_only=True):
    """There was no such invitation, or it was decided already."""


class PlayStarted(CallEvent, frozen=True, kw_only=True):
    """The first sample of a play is heard with the next tick. SDKs know it since 2024-06-15-preview."""


class PlayCompleted(CallEvent, frozen=True, kw_only=True):
    """All sources of a play were heard to their end."""


class PlayFailed(CallEvent, frozen=True, kw_only=True):
    """A source cannot be had or used. The index is its place in the request; left out where none is at fault."""

    failed_play_source_index: int | None = None


class PlayCanceled(CallEvent, frozen=True, kw_only=True):
    """A play was cut, or taken out of the queue, before its end."""


class _StreamingEvent(CallEvent, frozen=True, kw_only=True):
    media_streaming_update: MediaStreamingUpdate


class MediaStreamingStarted(_StreamingEvent, frozen=True, kw_only=True):
    """The stream is open, or open again after a break."""


class MediaStreamingStopped(_StreamingEvent, frozen=True, kw_only=True):
    """The stream ended as asked, or the app closed it in order."""


class MediaStreamingFailed(_StreamingEvent, frozen=True, kw_only=True):
    """The stream could not be opened or kept; the call lives on."""


EVENT_TYPES: Final[dict[str, type[CallEvent]]] = {
    _TYPE_PREFIX + event.__name__: event
    for event in (
        CallConnected,
        CallDisconnected,
        CreateCallFailed,
        AnswerFailed,
        ParticipantsUpdated,
        PlayStarted,
        PlayCompleted,
        PlayFailed,
        PlayCanceled,
        MediaStreamingStarted,
        MediaStreamingStopped,
        MediaStreamingFailed,
        AddParticipantSucceeded,
        AddParticipantFailed,
        RemoveParticipantSucceeded,
        RemoveParticipantFailed,
        CancelAddParticipantSucceeded,
        CancelAddParticipantFailed,
    )
}


def media_streaming_update(event: type[CallEvent], row: Result) -> MediaStreamingUpdate:
    """The update that goes with a MediaStreaming* event class and a stream row of the results table."""
    name = event.__name__
    return MediaStreamingUpdate(
        media_streaming_status=name[0].lower() + name[1:],
        media_streaming_status_details=row.details or "unspecifiedError",
    )


def encode_callback(event: CallEvent, *, event_id: str, time: str, api_version: str) -> bytes:
    """The body of a callback post: a JSON array of one CloudEvent 1.0.

    `event_id` is a GUID, `time` from `event_time`, `api_version` the one that the app asked for. There must be no
    further top-level key: the Python parser refuses any that is not lower-case alphanumeric (protocol.md §5.2).
    """
    source = event.source
    data = {"eventSource": source, **event.to_wire(), "version": api_version, "publicEventType": event.type}
    return encode(
        [
            {
                "id": event_id,
                "source": source,
                "type": event.type,
                "data": data,
                "time": time,
                "specversion": "1.0",
                "datacontenttype": "application/json",
                "subject": source,
            }
        ]
    )


def event_time(unix: float) -> str:
    """Seconds since 1970 as callbacks write them: '2024-05-02T11:20:42.9110236+00:00'."""
    return f"{_seven_digits(unix)}+00:00"


def grid_time(unix: float) -> str:
    """Seconds since 1970 as Event Grid writes them: '2022-08-25T19:27:24.2415391Z'."""
    return f"{_seven_digits(unix)}Z"


def _seven_digits(unix: float) -> str:
    seconds, ticks = divmod(round(unix * 10_000_000), 10_000_000)
    return f"{(_EPOCH + timedelta(seconds=seconds)).strftime('%Y-%m-%dT%H:%M:%S')}.{ticks:07d}"


def incoming_call(
    *,
    event_id: str,
    topic: str,
    time: str,
    to: Identifier,
    from_: Identifier,
    server_call_id: str,
    display_name: str,
    context: str,
    correlation_id: str,
    custom_context: Mapping[str, Mapping[str, str]] | None = None,
) -> bytes:
    """The body of an IncomingCall post (protocol.md §6.3): `time` from `grid_time`, `context` a sealed context."""
    data: dict[str, Any] = {
        "to": write_identifier(to),
        "from": write_identifier(from_),
        "serverCallId": server_call_id,
        "callerDisplayName": display_name,
        "incomingCallContext": context,
        "correlationId": correlation_id,
    }
    if custom_context is not None:
        data["customContext"] = custom_context
    return grid_event(
        event_id=event_id,
        topic=topic,
        subject=f"/caller/{from_.raw_id}/recipient/{to.raw_id}",
        event_type=_TYPE_PREFIX + "IncomingCall",
        data=data,
        data_version="1.0",
        time=time,
    )


def subscription_validation(*, event_id: str, topic: str, time: str, code: str, url: str) -> bytes:
    """The body of the validation post (protocol.md §6.2); the app answers 200 with `validationResponse` = code."""
    return grid_event(
        event_id=event_id,
        topic=topic,
        subject="",
        event_type="Microsoft.EventGrid.SubscriptionValidationEvent",
        data={"validationCode": code, "validationUrl": url},
        data_version="2",
        time=time,
    )


def grid_event(
    *, event_id: str, topic: str, subject: str, event_type: str, data: dict[str, Any], data_version: str, time: str
) -> bytes:
    """The body of any Event Grid post (protocol.md §6): an array of one event, `time` from `grid_time`."""
    return encode(
        [
            {
                "id": event_id,
                "topic": topic,
                "subject": subject,
                "data": data,
                "eventType": event_type,
                "dataVersion": data_version,
                "metadataVersion": "1",
                "eventTime": time,
            }
        ]
    )
