"""What a Realtime service says, read from both vocabularies by one table, and what the relay tells your app.

Names and fields are those of the `openai` package's types: `openai.types.realtime` (general release) and
`openai.types.beta.realtime` (preview). Fields that the relay does not use are not read, so new ones do no harm.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct


class SpeechChange(Struct, frozen=True):
    """The service's turn detection: the caller began or stopped; or what they said became an item."""

    type: str
    item_id: str = ""


class ErrorBody(Struct, frozen=True):
    """What is wrong, and which of our events caused it."""

    type: str | None = None
    code: str | None = None
    message: str | None = None
    param: str | None = None
    event_id: str | None = None


class StatusDetails(Struct, frozen=True):
    """Why a response is not complete."""

    reason: str | None = None
    error: ErrorBody | None = None


class ResponseRef(Struct, frozen=True):
    """A response, as far as it matters here."""

    id: str = ""
    status: str | None = None
    status_details: StatusDetails | None = None


class ResponseChange(Struct, frozen=True):
    """`response.created`, `response.done`."""

    type: str
    response: ResponseRef


class AudioDelta(Struct, frozen=True):
    """Base64 of PCM16 at 24 kHz, cut anywhere."""

    delta: str
    item_id: str
    response_id: str = ""
    content_index: int = 0


class AudioDone(Struct, frozen=True):
    """No more audio of this part."""

    item_id: str
    content_index: int = 0


class AgentText(Struct, frozen=True):
    """What the model says, as text: a piece (`delta`), or all of it (`transcript`)."""

    item_id: str
    delta: str | None = None
    transcript: str | None = None


class CallerText(Struct, frozen=True):
    """What the caller said, as text: a piece, or all of it."""

    item_id: str
    delta: str | None = None
    transcript: str | None = None


class CallerTextFailed(Struct, frozen=True):
    """What the caller said could not be transcribed; the model has heard it all the same."""

    item_id: str = ""
    error: Any = None


class Item(Struct, frozen=True):
    """An item of a conversation, as far as it matters here."""

    id: str = ""
    type: str = ""
    status: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None


class ItemDone(Struct, frozen=True):
    """An item of a response is whole, or (without `response_id`) one of ours is in the conversation."""

    item: Item
    response_id: str = ""


class ErrorEvent(Struct, frozen=True):
    """`error`."""

    error: ErrorBody


ServerEvent: TypeAlias = (
    SpeechChange
    | ResponseChange
    | AudioDelta
    | AudioDone
    | AgentText
    | CallerText
    | CallerTextFailed
    | ItemDone
    | ErrorEvent
)

SPEECH_STARTED: Final = "input_audio_buffer.speech_started"
SPEECH_STOPPED: Final = "input_audio_buffer.speech_stopped"
COMMITTED: Final = "input_audio_buffer.committed"

_TABLE: Final[dict[str, type[ServerEvent]]] = {
    SPEECH_STARTED: SpeechChange,
    SPEECH_STOPPED: SpeechChange,
    COMMITTED: SpeechChange,
    "response.created": ResponseChange,
    "response.done": ResponseChange,
    "response.output_audio.delta": AudioDelta,
    "response.audio.delta": AudioDelta,
    "response.output_audio.done": AudioDone,
    "response.audio.done": AudioDone,
    "response.output_audio_transcript.delta": AgentText,
    "response.audio_transcript.delta": AgentText,
    "response.output_audio_transcript.done": AgentText,
    "response.audio_transcript.done": AgentText,
    "conversation.item.input_audio_transcription.delta": CallerText,
    "conversation.item.input_audio_transcription.completed": CallerText,
    "conversation.item.input_audio_transcription.failed": CallerTextFailed,
    "response.output_item.done": ItemDone,
    "conversation.item.added": ItemDone,
    "conversation.item.created": ItemDone,
    "error": ErrorEvent,
}


class _Kind(Struct):
    type: str = ""


_read_kind: Final = msgspec.json.Decoder(_Kind).decode
_readers: Final = {name: msgspec.json.Decoder(kind).decode for name, kind in _TABLE.items()}


def read_event(data: bytes | str) -> ServerEvent | None:
    """One server event; None for a kind that the relay has no use for. ValueError when it cannot be read."""
    try:
        reader = _readers.get(_read_kind(data).type)
        return reader(data) if reader is not None else None
    except msgspec.DecodeError as error:
        raise ValueError(f"unreadable event of the service: {error}") from None


# ------------------------------------------------------------------ what the app is told


class Said(Struct, frozen=True):
    """Words of a conversation. A piece (`final` false) as it comes, then all of them.

    The model's words come ahead of its voice: `Truncated` tells what of them was not heard.
    """

    by: str
    """"caller" or "agent"."""
    text: str
    final: bool
    item_id: str = ""


class Truncated(Struct, frozen=True):
    """The caller cut the model short; the service was told how much of the item they had heard."""

    item_id: str
    heard_ms: float
    text: str
    """About what of its words was heard."""


class ToolCalled(Struct, frozen=True):
    """A function was called for the model; `output` is the text it was given, `failed` whether that is an error."""

    name: str
    arguments: str
    output: str
    failed: bool
    seconds: float


class ServiceError(Struct, frozen=True):
    """The service reported an error; the relay goes on unless `fatal`."""

    code: str
    message: str
    fatal: bool = False


class Reconnected(Struct, frozen=True):
    """The service's connection was lost and is there again: `lost` says what is gone, in words."""

    attempts: int
    seconds: float
    lost: str


RelayEvent: TypeAlias = Said | Truncated | ToolCalled | ServiceError | Reconnected
