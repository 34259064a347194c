"""The messages of the media stream socket, both ways (protocol.md 2.3-2.6, 2.11, 2.12).

Written exactly as the contract has them; read without regard to the case of keys and kinds, and by
`kind` alone. Every message is one JSON object of text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from pybase64 import b64encode as _b64

from offhook.errors import WireError

Text: TypeAlias = str | bytes | bytearray | memoryview

MAX_MESSAGE: Final = 2048
"""Readers in the field give each message one 2048-byte receive (real-cases.md 2 #4)."""

_MAX_PARTICIPANT: Final = 512
_TONES: Final = frozenset("0123456789*#ABCD")
_UNREADABLE: Final = (msgspec.DecodeError, ValueError, RecursionError, BufferError)

# --------------------------------------------------------------------------- service to app: writing


class FrameWriter:
    """Builds the AudioData messages of one participant (protocol.md 2.4), or of the mix with None.

    Raises WireError when the raw id is too long for a frame to stay under MAX_MESSAGE.
    """

    __slots__ = ("_head", "_middle", "_tail")

    def __init__(self, participant_raw_id: str | None) -> None:
        self._head = b'{"kind":"AudioData","audioData":{"timestamp":"'
        # An absent participant is left out: the JS parser throws on null (protocol.md 2.5).
        self._middle = b'",' + _participant_member(participant_raw_id) + b'"data":"'
        self._tail = (b'","silent":false}}', b'","silent":true}}')

    def build(self, pcm: bytes | bytearray | memoryview, timestamp: bytes, silent: bool) -> bytes:
        """One message. `pcm`: 640 or 960 contiguous bytes of PCM16; `timestamp`: from `timestamp()`."""
        return b"".join((self._head, timestamp, self._middle, _b64(pcm), self._tail[silent]))


def audio_metadata(subscription_id: str, sample_rate: int) -> bytes:
    """The first message of every connection. `sample_rate` is 16000 or 24000."""
    if sample_rate not in (16000, 24000):
        raise WireError(f"a stream runs at 16000 or 24000 Hz, not {sample_rate!r}", "audioMetadata.sampleRate")
    return b'{"kind":"AudioMetadata","audioMetadata":{"subscriptionId":%b,"encoding":"PCM",%b}}' % (
        msgspec.json.encode(subscription_id),
        b'"sampleRate":%d,"channels":1,"length":%d' % (sample_rate, sample_rate // 50 * 2),
    )


def dtmf_data(tone: str, timestamp: bytes | None = None, participant_raw_id: str | None = None) -> bytes:
    """A key press: one of 0-9 * # A-D, as a character (protocol.md 2.4)."""
    if tone not in _TONES:
        raise WireError(f"a tone is one of 0-9 * # A-D, not {tone!r}", "dtmfData.data")
    when = b'"timestamp":"%b",' % timestamp if timestamp is not None else b""
    members = b'"data":"%b",%b%b' % (tone.encode(), when, _participant_member(participant_raw_id))
    return b'{"kind":"DtmfData","dtmfData":{%b}}' % members.rstrip(b",")


def mark_data(mark_id: str, status: Literal["Completed", "Cancelled"]) -> bytes:
    """Says what became of a mark (protocol.md 2.12). Only for apps that sent one: others throw on it."""
    return b'{"kind":"MarkData","markData":{"id":%b,"status":"%b"}}' % (msgspec.json.encode(mark_id), status.encode())


def timestamp(unix_seconds: float) -> bytes:
    """UTC with milliseconds and Z, such as 2024-11-15T19:16:12.925Z. WireError outside the years 1-9999."""
    try:
        moment = datetime.fromtimestamp(unix_seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise WireError(f"{unix_seconds!r} s after 1970 is no time a timestamp can say", "timestamp") from None
    return moment.isoformat(timespec="milliseconds")[:23].encode() + b"Z"


def _participant_member(raw_id: str | None) -> bytes:
    if raw_id is None:
        return b""
    try:
        text = msgspec.json.encode(raw_id)
    except UnicodeEncodeError:
        raise WireError("a raw id cannot hold half a surrogate pair", "participantRawID") from None
    if len(text) > _MAX_PARTICIPANT:
        raise WireError(f"a raw id of {len(text)} bytes is too long for a stream message", "participantRawID")
    return b'"participantRawID":%b,' % text


# --------------------------------------------------------------------------- app to service: reading


class Mark(Struct, frozen=True):
    """A place in the app's audio that it wants to hear about once played (protocol.md 2.12)."""

    id: str
    sequence: int | None = None


class AppAudio(Struct, frozen=True, gc=False):
    """Audio to play into the call: whole samples of PCM16 LE mono at the stream's rate, any length."""

    pcm: bytes
    mark: Mark | None = None


class StopAudio(Struct, frozen=True):
    """Throw away all queued audio that has not been played."""


_STOP: Final = StopAudio()


class _FastAudio(Struct, forbid_unknown_fields=True):
    data: bytes | UnsetType = UNSET
    Data: bytes | UnsetType = UNSET
    timestamp: Any = None
    Timestamp: Any = None
    participant: None = None
    Participant: None = None
    isSilent: Any = None
    IsSilent: Any = None
    mark: None = None
    Mark: None = None


class _FastMessage(Struct, forbid_unknown_fields=True):
    kind: str | UnsetType = UNSET
    Kind: str | UnsetType = UNSET
    audioData: _FastAudio | UnsetType | None = UNSET
    AudioData: _FastAudio | UnsetType | None = UNSET
    stopAudio: Any = None
    StopAudio: Any = None
    MarkData: None = None


_decode_fast: Final = msgspec.json.Decoder(_FastMessage).decode
_decode_members: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_text: Final = msgspec.json.Decoder(str).decode
_decode_base64: Final = msgspec.json.Decoder(bytes).decode


def parse_app_message(data: Text) -> AppAudio | StopAudio | None:
    """Read what an app sent (protocol.md 2.6).

    None: nothing for us (not JSON, no object, another kind); to be ignored without closing.
    WireError: an audio message that holds no whole samples; its text says what and where.
    """
    # The spellings of all known senders are fields of one struct. Anything else, two spellings of
    # one key included, is read again by the case-folding path, whose answer is the rule.
    try:
        message = _decode_fast(data)
    except _UNREADABLE:
        return _parse_folded(data)
    kind = message.kind
    if kind is UNSET:
        kind = message.Kind
    elif message.Kind is not UNSET:
        return _parse_folded(data)
    if kind == "AudioData" or kind == "audioData":
        audio = message.audioData
        if audio is UNSET:
            audio = message.AudioData
        elif message.AudioData is not UNSET:
            return _parse_folded(data)
        if audio.__class__ is _FastAudio:
            pcm = audio.data
            if pcm is UNSET:
                pcm = audio.Data
            elif audio.Data is not UNSET:
                return _parse_folded(data)
            if pcm is not UNSET and not len(pcm) & 1:
                return AppAudio(pcm)
    elif kind == "StopAudio" or kind == "stopAudio":
        return _STOP
    return _parse_folded(data)


def _parse_folded(data: Text) -> AppAudio | StopAudio | None:
    members = _members(data)
    if members is None:
        return None
    kind = _string(members.get("kind"))
    match kind.lower() if kind is not None else None:
        case "audiodata":
            return _read_audio(members.get("audiodata"))
        case "stopaudio":
            return _STOP
    return None


def _read_audio(raw: Raw | None) -> AppAudio:
    audio = _members(raw) if raw is not None else None
    if audio is None:
        raise WireError("an AudioData message needs an object audioData", "audioData")
    text = audio.get("data")
    if text is None or bytes(text) == b"null":
        raise WireError("an AudioData message needs audioData.data, base64 of PCM16", "audioData.data")
    try:
        pcm = _decode_base64(text)
    except _UNREADABLE:
        raise WireError("audioData.data is not whole, padded, standard base64", "audioData.data") from None
    if len(pcm) & 1:
        raise WireError(f"audioData.data has {len(pcm)} bytes; PCM16 needs an even number", "audioData.data")
    return AppAudio(pcm, _read_mark(audio.get("mark")))


def _read_mark(raw: Raw | None) -> Mark | None:
    """A mark needs a text id; one that cannot be told apart later is not worth losing audio for."""
    mark = _members(raw) if raw is not None else None
    mark_id = _string(mark.get("id")) if mark else None
    if mark is None or mark_id is None:
        return None
    try:
        sequence = msgspec.json.decode(mark.get("sequence", b"null"), type=int | None)
    except _UNREADABLE:
        sequence = None
    return Mark(mark_id, sequence)


def _members(data: Text | Raw) -> dict[str, Raw] | None:
    """The members of a JSON object under lower-case names, the last of equals; None if it is none."""
    try:
        return {name.lower(): value for name, value in _decode_members(data).items()}
    except _UNREADABLE:
        return None


def _string(raw: Raw | None) -> str | None:
    if raw is None:
        return None
    try:
        return _decode_text(raw)
    except _UNREADABLE:
        return None


# --------------------------------------------------------------------------- service to app: reading


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


class _FastService(Struct, rename="camel"):
    kind: str
    audio_data: AudioData | None = None


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
        message = _decode_service(data)
    except _UNREADABLE:
        return _parse_service_folded(data)
    audio = message.audio_data
    if message.kind == "AudioData" and audio is not None and not len(audio.data) & 1:
        return audio
    return _parse_service_folded(data)


def _parse_service_folded(data: Text) -> ServiceMessage:
    members = _members(data)
    if members is None:
        raise WireError("a stream message is one JSON object")
    kind = _string(members.get("kind"))
    if kind is None:
        raise WireError("a stream message needs a text kind", "kind")
    row = _SERVICE_KINDS.get(kind.lower())
    if row is None:
        raise WireError(f"no stream message is of kind {kind[:60]!r}", "kind")
    name, _ = row
    inner = _members(members.get(name.lower(), Raw(b"null")))
    if inner is None:
        raise WireError(f"a message of kind {kind} needs an object {name}", name)
    text = msgspec.json.encode({_spelling.get(key, key): value for key, value in inner.items()})
    try:
        message: ServiceMessage = _decoders[kind.lower()](text)
    except _UNREADABLE as error:
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
