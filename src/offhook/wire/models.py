"""Bodies of REST requests and answers (protocol.md §3.3, §3.4, §3.7, §3.8), for the operations that are built.

Reading is lenient: enum values in any case, null for anything optional, unknown fields ignored. What is refused is
refused with a WireError that names the field's path. URLs are kept letter by letter as the app wrote them.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, Protocol, Self, TypeVar, runtime_checkable

import msgspec

from offhook.wire.contexts import calling_context
from offhook.wire.events import CallParticipant
from offhook.wire.exclusions import excluded
from offhook.wire.fields import Fields, WireStruct, decode_object, encode, wrong
from offhook.wire.identifiers import (
    Identifier,
    read_identifier,
    read_phone,
    read_user,
    write_phone,
    write_user,
)
from offhook.wire.results import Result
from offhook.wire.versions import API_VERSIONS

__all__ = [
    "API_VERSIONS", "AnswerCallRequest", "CallConnectionProperties", "CallParticipant", "CreateCallRequest",
    "GetParticipantsResponse", "MediaStreamingOptions", "MediaStreamingSubscription", "RedirectCallRequest",
    "RejectCallRequest", "Request", "StartMediaStreamingRequest", "StopMediaStreamingRequest", "TranscriptionOptions",
    "TranscriptionSubscription", "decode_request", "encode", "error_body", "error_of",
]  # fmt: skip

_SAMPLE_RATES: Final = {"pcm16KMono": 16000, "pcm24KMono": 24000}
_CALLBACK_FIX: Final = "give the absolute http:// or https:// URL that events are posted to"


@runtime_checkable
class Request(Protocol):
    """A request body: a frozen struct that reads itself from fields."""

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """WireError naming the field for anything that cannot be used."""
        ...


R = TypeVar("R", bound=Request)


class MediaStreamingOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of the audio stream, normalised. `sample_rate` in Hz; `transport_url` None where the app gave none."""

    audio_channel_type: str
    transport_url: str | None = None
    start: bool = False
    bidirectional: bool = False
    sample_rate: int = 16000
    dtmf_tones: bool = False

    @classmethod
    def read(cls, fields: Fields) -> Self:
        fields.choice("transportType", ("websocket",))
        fields.choice("contentType", ("audio",), "audio")
        return cls(
            audio_channel_type=fields.choice("audioChannelType", ("mixed", "unmixed")),
            transport_url=fields.url("transportUrl", ("ws", "wss")),
            start=fields.flag("startMediaStreaming"),
            bidirectional=fields.flag("enableBidirectional"),
            sample_rate=_SAMPLE_RATES[fields.choice("audioFormat", tuple(_SAMPLE_RATES), "pcm16KMono")],
            dtmf_tones=fields.flag("enableDtmfTones"),
        )


class TranscriptionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of live transcription, normalised."""

    locale: str
    transport_url: str | None = None
    start: bool = False
    intermediate_results: bool = False
    speech_model_endpoint_id: str | None = None

    @classmethod
    def read(cls, fields: Fields) -> Self:
        fields.choice("transportType", ("websocket",))
        for name in ("enableSentimentAnalysis", "locales", "piiRedactionOptions", "summarizationOptions"):
            if fields.raw(name):
                raise excluded(name, fields.at(name))
        return cls(
            locale=fields.required_text("locale", "write it as en-US"),
            transport_url=fields.url("transportUrl", ("ws", "wss")),
            start=fields.flag("startTranscription"),
            intermediate_results=fields.flag("enableIntermediateResults"),
            speech_model_endpoint_id=fields.text("speechModelEndpointId")
            or fields.text("speechRecognitionModelEndpointId"),
        )


def _callback_uri(fields: Fields) -> str:
    fields.required_text("callbackUri", _CALLBACK_FIX)
    return fields.url("callbackUri", ("http", "https")) or ""


def _operation_callback(fields: Fields) -> str | None:
    return fields.url("operationCallbackUri", ("http", "https"))


def _cognitive_endpoint(fields: Fields) -> str | None:
    return fields.part("callIntelligenceOptions", lambda options: options.text("cognitiveServicesEndpoint"))


def _user(fields: Fields, name: str) -> Identifier | None:
    value = fields.raw(name)
    return None if value is None else read_user(value, fields.at(name))


def _phone(fields: Fields, name: str) -> Identifier | None:
    value = fields.raw(name)
    return None if value is None else read_phone(value, fields.at(name))


class CreateCallRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST callConnections: place a call to `targets` (one or more).

    `sip_headers` and `voip_headers` are those of `customCallingContext`, which the API has where a participant is
    added; we take it here.
    """

    targets: tuple[Identifier, ...]
    callback_uri: str
    source_caller_id_number: Identifier | None = None
    source_display_name: str | None = None
    source: Identifier | None = None
    operation_context: str | None = None
    cognitive_services_endpoint: str | None = None
    media_streaming_options: MediaStreamingOptions | None = None
    transcription_options: TranscriptionOptions | None = None
    sip_headers: tuple[tuple[str, str], ...] = ()
    voip_headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def read(cls, fields: Fields) -> Self:
        if fields.raw("teamsAppSource") is not None:
            raise excluded("teamsAppSource", fields.at("teamsAppSource"))
        fields.required("targets", "give at least one participant to call")
        targets = fields.items("targets", read_identifier)
        if not targets:
            raise wrong(fields.at("targets"), "must not be empty; give at least one participant to call")
        return cls(
            targets=targets,
            callback_uri=_callback_uri(fields),
            source_caller_id_number=_phone(fields, "sourceCallerIdNumber"),
            source_display_name=fields.text("sourceDisplayName"),
            source=_user(fields, "source"),
            operation_context=fields.text("operationContext"),
            cognitive_services_endpoint=_cognitive_endpoint(fields),
            media_streaming_options=fields.part("mediaStreamingOptions", MediaStreamingOptions.read),
            transcription_options=fields.part("transcriptionOptions", TranscriptionOptions.read),
            **calling_context(fields),
        )


class AnswerCallRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST callConnections:answer: take the incoming call that `incoming_call_context` names."""

    incoming_call_context: str
    callback_uri: str
    operation_context: str | None = None
    cognitive_services_endpoint: str | None = None
    answered_by: Identifier | None = None
    media_streaming_options: MediaStreamingOptions | None = None
    transcription_options: TranscriptionOptions | None = None

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(
            incoming_call_context=fields.required_text("incomingCallContext", "send it back as IncomingCall gave it"),
            callback_uri=_callback_uri(fields),
            operation_context=fields.text("operationContext"),
            cognitive_services_endpoint=_cognitive_endpoint(fields),
            answered_by=_user(fields, "answeredBy"),
            media_streaming_options=fields.part("mediaStreamingOptions", MediaStreamingOptions.read),
            transcription_options=fields.part("transcriptionOptions", TranscriptionOptions.read),
        )


class RedirectCallRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST callConnections:redirect: send the incoming call to `target` instead."""

    incoming_call_context: str
    target: Identifier

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(
            incoming_call_context=fields.required_text("incomingCallContext", "send it back as IncomingCall gave it"),
            target=read_identifier(fields.required("target"), fields.at("target")),
        )


class RejectCallRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST callConnections:reject. `call_reject_reason` is none, busy or forbidden."""

    incoming_call_context: str
    call_reject_reason: str = "none"

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(
            incoming_call_context=fields.required_text("incomingCallContext", "send it back as IncomingCall gave it"),
            call_reject_reason=fields.choice("callRejectReason", ("none", "busy", "forbidden"), "none"),
        )


class _StreamingRequest(msgspec.Struct, frozen=True, kw_only=True):
    operation_context: str | None = None
    operation_callback_uri: str | None = None

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(
            operation_context=fields.text("operationContext"), operation_callback_uri=_operation_callback(fields)
        )


class StartMediaStreamingRequest(_StreamingRequest, frozen=True, kw_only=True):
    """POST :startMediaStreaming; the body may be empty."""


class StopMediaStreamingRequest(_StreamingRequest, frozen=True, kw_only=True):
    """POST :stopMediaStreaming; the body may be empty."""


def decode_request(kind: type[R], body: bytes) -> R:
    """The request in `body`. No body at all reads as `{}`. WireError naming the field; nothing else, for any bytes."""
    return kind.read(Fields(decode_object(body, "The request body") if body else {}))


class MediaStreamingSubscription(WireStruct, frozen=True, kw_only=True):
    """`mediaStreamingSubscription`: state is disabled, inactive or active (protocol.md §2.1)."""

    id: str
    state: str
    subscribed_content_types: tuple[str, ...] = ("audio",)


class TranscriptionSubscription(WireStruct, frozen=True, kw_only=True):
    """`transcriptionSubscription`; result types are final and intermediate."""

    id: str
    state: str
    subscribed_result_types: tuple[str, ...] = ("final",)
    locale: str | None = None


class CallConnectionProperties(WireStruct, frozen=True, kw_only=True):
    """Answer to create, answer and get. `call_connection_state`: connecting, connected, disconnecting, disconnected."""

    wire_as: ClassVar[dict[str, Any]] = {
        "source_caller_id_number": write_phone,
        "answered_by": write_user,
        "answered_for": write_phone,
    }

    call_connection_id: str
    call_connection_state: str
    callback_uri: str
    correlation_id: str
    targets: tuple[Identifier, ...]
    server_call_id: str | None = None
    source: Identifier | None = None
    source_caller_id_number: Identifier | None = None
    source_display_name: str | None = None
    answered_by: Identifier | None = None
    answered_for: Identifier | None = None
    media_streaming_subscription: MediaStreamingSubscription | None = None
    transcription_subscription: TranscriptionSubscription | None = None


class GetParticipantsResponse(WireStruct, frozen=True, kw_only=True):
    """Answer to listing participants; `next_link` is the absolute URL of the next page, where there is one."""

    value: tuple[CallParticipant, ...]
    next_link: str | None = None


def error_body(code: str, message: str) -> bytes:
    """The error envelope (protocol.md §3.7)."""
    return encode({"error": {"code": code, "message": message}})


def error_of(row: Result, detail: str = "") -> bytes:
    """The error envelope of a row of the results table."""
    return error_body(row.error_code, row.text(detail))
