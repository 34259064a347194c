"""The media stream as its app has it: what the service sends, read; what an app sends, written.

protocol.md 2.4 and 2.11 for reading; 2.6, the .NET shape, for writing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Raw, Struct
from pybase64 import b64encode as _b64_bytes
from pybase64 import b64encode_as_string as _b64

from offhook.errors import WireError
from offhook.wire.folding import UNREADABLE, Text, members, string

_AUDIO_HEAD: Final = '{"Kind":"AudioData","AudioData":{"Data":"'
_AUDIO_TAIL: Final = '","Timestamp":"0001-01-01T00:00:00+00:00","Participant":null,"IsSilent":false},"StopAudio":null}'
_STOP_TEXT: Final = '{"Kind":"StopAudio","AudioData":null,"StopAudio":{}}'
_AUDIO_HEAD_BYTES: Final = _AUDIO_HEAD.encode()
_AUDIO_TAIL_BYTES: Final = _AUDIO_TAIL.encode()


def app_audio(pcm: bytes | bytearray | memoryview) -> str:
    """Audio for the call, as the .NET SDK writes it. `pcm`: PCM16 LE mono at the stream's rate, whole samples.

    WireError for an odd number of bytes.
    """
    if len(pcm) & 1:
        raise WireError(f"{len(pcm)} bytes are no whole PCM16 samples", "AudioData.Data")
    return "".join((_AUDIO_HEAD, _b64(pcm), _AUDIO_TAIL))


def app_audio_bytes(pcm: bytes | bytearray | memoryview) -> bytes:
    """As `app_audio`, in UTF-8: for sockets that take the bytes of a text message, which then need no second copy."""
    if len(pcm) & 1:
        raise WireError(f"{len(pcm)} bytes are no whole PCM16 samples", "AudioData.Data")
    return b"".join((_AUDIO_HEAD_BYTES, _b64_bytes(pcm), _AUDIO_TAIL_BYTES))


def app_stop() -> str:
    """Asks the service to throw away the app's audio that has not been played."""
    return _STOP_TEXT


class AudioMetadata(Struct, frozen=True, rename="camel"):
    """What the frames will be: `sample_rate` in Hz, `length` in bytes of one 20 ms frame."""

    subscription_id: str
    encoding: str
    sample_rate: int
    channels: int
    length: int


class AudioData(
    Struct,
    frozen=True,
    gc=False,
    rename={"timestamp_text": "timestamp", "is_silent": "silent", "participant_raw_id": "participantRawID"},
):
    """20 ms of a speaker, or of the mix when `participant_raw_id` is None. `data`: PCM16 LE mono."""

    data: bytes
    timestamp_text: str | None = None
    participant_raw_id: str | None = None
    is_silent: bool = False

    @property
    def timestamp(self) -> datetime | None:
        """When it was said, with its zone; None when the text is no ISO 8601."""
        return _moment(self.timestamp_text)


class DtmfData(Struct, frozen=True, rename={"timestamp_text": "timestamp", "participant_raw_id": "participantRawID"}):
    """A key was pressed; `data` is its character, 0-9 * # A-D."""

    data: str
    timestamp_text: str | None = None
    participant_raw_id: str | None = None

    @property
    def timestamp(self) -> datetime | None:
        """When it was pressed, with its zone; None when the text is no ISO 8601."""
        return _moment(self.timestamp_text)


class MarkData(Struct, frozen=True):
    """A mark was played (`status` Completed) or thrown away (Cancelled)."""

    id: str
    status: str


class TranscriptionMetadata(Struct, frozen=True, rename="camel"):
    """First message of a transcription socket (protocol.md 2.11)."""

    subscription_id: str
    locale: str
    call_connection_id: str
    correlation_id: str


class WordData(Struct, frozen=True):
    """One recognised word; `offset` and `duration` in ticks of 100 ns."""

    text: str
    offset: int
    duration: int


class TranscriptionData(
    Struct, frozen=True, rename={"participant_raw_id": "participantRawID", "result_status": "resultStatus"}
):
    """Recognised speech; `offset` and `duration` in ticks of 100 ns, `result_status` Final or Intermediate."""

    text: str
    format: str
    confidence: float
    offset: int
    duration: int
    words: tuple[WordData, ...]
    participant_raw_id: str
    result_status: str


ServiceMessage: TypeAlias = AudioMetadata | AudioData | DtmfData | MarkData | TranscriptionMetadata | TranscriptionData


class _FastService(Struct, rename="camel", tag_field="kind", tag="AudioData", gc=False):
    audio_data: AudioData


_SERVICE_KINDS: Final[dict[str, tuple[str, type[Any]]]] = {
    "audiometadata": ("audioMetadata", AudioMetadata),
    "audiodata": ("audioData", AudioData),
    "dtmfdata": ("dtmfData", DtmfData),
    "markdata": ("markData", MarkData),
    "transcriptionmetadata": ("transcriptionMetadata", TranscriptionMetadata),
    "transcriptiondata": ("transcriptionData", TranscriptionData),
}

_decode_service: Final = msgspec.json.Decoder(_FastService).decode
_decoders: Final[dict[str, Callable[[Any], Any]]] = {
    word: msgspec.json.Decoder(shape).decode for word, (_, shape) in _SERVICE_KINDS.items()
}
_spelling: Final[dict[str, str]] = {
    name.lower(): name for _, shape in _SERVICE_KINDS.values() for name in shape.__struct_encode_fields__
}


def parse_service_message(data: Text) -> ServiceMessage:
    """Read what the service sends to an app (protocol.md 2.4, 2.11). WireError for anything else."""
    try:
        audio = _decode_service(data).audio_data
    except UNREADABLE:
        return _parse_service_folded(data)
    return audio if not len(audio.data) & 1 else _parse_service_folded(data)


def _parse_service_folded(data: Text) -> ServiceMessage:
    found = members(data)
    if found is None:
        raise WireError("a stream message is one JSON object")
    kind = string(found.get("kind"))
    if kind is None:
        raise WireError("a stream message needs a text kind", "kind")
    row = _SERVICE_KINDS.get(kind.lower())
    if row is None:
        raise WireError(f"no stream message is of kind {kind[:60]!r}", "kind")
    name, _ = row
    inner = members(found.get(name.lower(), Raw(b"null")))
    if inner is None:
        raise WireError(f"a message of kind {kind} needs an object {name}", name)
    text = msgspec.json.encode({_spelling.get(key, key): value for key, value in inner.items()})
    try:
        message: ServiceMessage = _decoders[kind.lower()](text)
    except UNREADABLE as error:
        raise _fault(name, error) from None
    if isinstance(message, AudioData) and len(message.data) & 1:
        raise WireError(f"audioData.data has {len(message.data)} bytes; PCM16 needs an even number", "audioData.data")
    return message


def _fault(name: str, error: BaseException) -> WireError:
    """A decoder's complaint as ours; msgspec ends its texts with the JSON path at fault."""
    what, _, path = str(error).partition(" - at ")
    inside = re.sub(r"[`$\s]", "", path)
    missing = re.search(r"missing required field `(\w+)`", what)
    field = f"{name}{inside}.{missing[1]}" if missing else f"{name}{inside}"
    return WireError(f"{field}: {what}", field)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
