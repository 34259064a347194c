"""Transcription: bodies of its requests, its events, and the messages of its socket (protocol.md §2.11, §3.3, §5.6)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Self

import msgspec

from offhook.wire.events import CallEvent
from offhook.wire.fields import Fields, WireStruct, encode
from offhook.wire.results import Result

__all__ = [
    "TRANSCRIPTION_EVENTS", "StartTranscriptionRequest", "StopTranscriptionRequest", "TranscriptionFailed",
    "TranscriptionRequest", "TranscriptionStarted", "TranscriptionStopped", "TranscriptionUpdate",
    "TranscriptionUpdated", "UpdateTranscriptionRequest", "transcription_data", "transcription_metadata",
    "transcription_update",
]  # fmt: skip

_TICKS: Final = 10_000_000  # of 100 ns in a second


class TranscriptionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the three requests share. `locale` None: as it was."""

    locale: str | None = None
    speech_model_endpoint_id: str | None = None
    operation_context: str | None = None
    operation_callback_uri: str | None = None

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(**cls._speech(fields), **cls._operation(fields))

    @staticmethod
    def _speech(fields: Fields) -> dict[str, Any]:
        model = fields.text("speechModelEndpointId") or fields.text("speechRecognitionModelEndpointId")
        return {"locale": fields.text("locale") or None, "speech_model_endpoint_id": model or None}

    @staticmethod
    def _operation(fields: Fields) -> dict[str, Any]:
        return {
            "operation_context": fields.text("operationContext"),
            "operation_callback_uri": fields.url("operationCallbackUri", ("http", "https")),
        }


class StartTranscriptionRequest(TranscriptionRequest, frozen=True, kw_only=True):
    """POST :startTranscription; the body may be empty."""


class StopTranscriptionRequest(TranscriptionRequest, frozen=True, kw_only=True):
    """POST :stopTranscription; the body may be empty."""

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(**cls._operation(fields))


class UpdateTranscriptionRequest(TranscriptionRequest, frozen=True, kw_only=True):
    """POST :updateTranscription: another `locale` from the next utterance on."""

    @classmethod
    def read(cls, fields: Fields) -> Self:
        fields.required_text("locale", "write it as en-US")
        return cls(**cls._speech(fields), **cls._operation(fields))


class TranscriptionUpdate(WireStruct, frozen=True, kw_only=True):
    """State of the transcription (protocol.md §5.6)."""

    transcription_status: str
    transcription_status_details: str


class _TranscriptionEvent(CallEvent, frozen=True, kw_only=True):
    transcription_update: TranscriptionUpdate


class TranscriptionStarted(_TranscriptionEvent, frozen=True, kw_only=True):
    """Speech is recognised from now on, or the socket is open again after a break."""


class TranscriptionStopped(_TranscriptionEvent, frozen=True, kw_only=True):
    """It ended as asked, or the app closed its socket in order."""


class TranscriptionUpdated(_TranscriptionEvent, frozen=True, kw_only=True):
    """It goes on in another language."""


class TranscriptionFailed(_TranscriptionEvent, frozen=True, kw_only=True):
    """It could not be started, kept or changed; the call lives on."""


TRANSCRIPTION_EVENTS: Final[tuple[type[CallEvent], ...]] = (
    TranscriptionStarted,
    TranscriptionStopped,
    TranscriptionUpdated,
    TranscriptionFailed,
)

# Rows that are not of a socket have no details of their own; but for a bad request they are the recogniser's.
_BAD_REQUEST: Final = frozenset({8523, 8605})


def transcription_update(event: type[CallEvent], row: Result) -> TranscriptionUpdate:
    """The update that goes with a Transcription* event class and a row of the results table."""
    name = event.__name__
    other = "badRequest" if row.sub_code in _BAD_REQUEST else "speechServicesConnectionError"
    return TranscriptionUpdate(
        transcription_status=name[0].lower() + name[1:], transcription_status_details=row.details or other
    )


def transcription_metadata(subscription_id: str, locale: str, connection_id: str, correlation_id: str) -> bytes:
    """The first message of every connection of a transcription socket."""
    return encode(
        {
            "kind": "TranscriptionMetadata",
            "transcriptionMetadata": {
                "subscriptionId": subscription_id,
                "locale": locale,
                "callConnectionId": connection_id,
                "correlationId": correlation_id,
            },
        }
    )


def transcription_data(
    text: str,
    confidence: float,
    start: float,
    seconds: float,
    words: Iterable[tuple[str, float, float]],
    participant_raw_id: str,
    *,
    final: bool,
) -> bytes:
    """What a participant said. `start`: seconds since the transcription began; words: text, start and length."""
    return encode(
        {
            "kind": "TranscriptionData",
            "transcriptionData": {
                "text": text,
                "format": "display",
                "confidence": confidence,
                "offset": round(start * _TICKS),
                "duration": round(seconds * _TICKS),
                "words": [
                    {"text": word, "offset": round(at * _TICKS), "duration": round(length * _TICKS)}
                    for word, at, length in words
                ],
                "participantRawID": participant_raw_id,
                "resultStatus": "Final" if final else "Intermediate",
            },
        }
    )
