"""The messages of the media stream socket, both ways (protocol.md 2.3-2.6, 2.11, 2.12).

Written exactly as the contract has them; read without regard to the case of keys and kinds, and by
`kind` alone. Every message is one JSON object of text.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from pybase64 import b64encode as _b64

from offhook.errors import WireError
from offhook.wire.app_side import (
    AudioData,
    AudioMetadata,
    DtmfData,
    MarkData,
    ServiceMessage,
    TranscriptionData,
    TranscriptionMetadata,
    WordData,
    parse_service_message,
)
from offhook.wire.folding import UNREADABLE, Text, members, string
from offhook.wire.turns import TurnReport, read_turn

__all__ = [
    "MAX_MESSAGE",
    "AppAudio",
    "AudioData",
    "AudioMetadata",
    "DtmfData",
    "FrameWriter",
    "Mark",
    "MarkData",
    "ServiceMessage",
    "StopAudio",
    "TranscriptionData",
    "TranscriptionMetadata",
    "WordData",
    "audio_metadata",
    "dtmf_data",
    "mark_data",
    "parse_app_message",
    "parse_service_message",
    "timestamp",
]

MAX_MESSAGE: Final = 2048
"""Readers in the field give each message one 2048-byte receive (real-cases.md 2 #4)."""

_MAX_PARTICIPANT: Final = 512
_TONES: Final = frozenset("0123456789*#ABCD")

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


class _FastAudio(Struct, forbid_unknown_fields=True, gc=False):
    data: bytes | UnsetType = UNSET
    Data: bytes | UnsetType = UNSET
    timestamp: Any = None
    Timestamp: Any = None
    participant: None = None
    Participant: None = None
    isSilent: Any = None
    IsSilent: Any = None
    # What an echo sends back as it came.
    silent: Any = None
    participantRawID: Any = None
    mark: None = None
    Mark: None = None


_FastKind: TypeAlias = Literal["AudioData", "audioData", "StopAudio", "stopAudio"]


class _FastMessage(Struct, forbid_unknown_fields=True, gc=False):
    kind: _FastKind | UnsetType = UNSET
    Kind: _FastKind | UnsetType = UNSET
    audioData: _FastAudio | UnsetType = UNSET
    AudioData: _FastAudio | UnsetType = UNSET
    stopAudio: Any = None
    StopAudio: Any = None
    MarkData: None = None


_decode_fast: Final = msgspec.json.Decoder(_FastMessage).decode
_decode_base64: Final = msgspec.json.Decoder(bytes).decode


def parse_app_message(data: Text) -> AppAudio | StopAudio | TurnReport | None:
    """Read what an app sent (protocol.md 2.6).

    None: nothing for us (not JSON, no object, another kind); to be ignored without closing.
    WireError: an audio message that holds no whole samples, or a bad report of a turn (§9 row 67); its text says what
    and where.
    """
    # The spellings of all known senders are fields of one struct. Anything else, two spellings of
    # one key included, is read again by the case-folding path, whose answer is the rule.
    try:
        message = _decode_fast(data)
    except UNREADABLE:
        return _parse_folded(data)
    audio = message.AudioData
    if audio is UNSET:
        audio = message.audioData
    elif message.audioData is not UNSET:
        return _parse_folded(data)
    kind = message.Kind
    if kind is UNSET:
        kind = message.kind
    elif message.kind is not UNSET:
        return _parse_folded(data)
    if audio is UNSET or (kind != "AudioData" and kind != "audioData"):
        return _parse_folded(data)
    pcm = audio.Data
    if pcm is UNSET:
        pcm = audio.data
    elif audio.data is not UNSET:
        return _parse_folded(data)
    if pcm is UNSET or len(pcm) & 1:
        return _parse_folded(data)
    return AppAudio(pcm)


def _parse_folded(data: Text) -> AppAudio | StopAudio | TurnReport | None:
    found = members(data)
    if found is None:
        return None
    kind = string(found.get("kind"))
    match kind.lower() if kind is not None else None:
        case "audiodata":
            return _read_audio(found.get("audiodata"))
        case "stopaudio":
            return _STOP
        case "offhookturn":
            return read_turn(found.get("offhookturn"))
    return None


def _read_audio(raw: Raw | None) -> AppAudio:
    audio = members(raw) if raw is not None else None
    if audio is None:
        raise WireError("an AudioData message needs an object audioData", "audioData")
    text = audio.get("data")
    if text is None or bytes(text) == b"null":
        raise WireError("an AudioData message needs audioData.data, base64 of PCM16", "audioData.data")
    try:
        pcm = _decode_base64(text)
    except UNREADABLE:
        raise WireError("audioData.data is not whole, padded, standard base64", "audioData.data") from None
    if len(pcm) & 1:
        raise WireError(f"audioData.data has {len(pcm)} bytes; PCM16 needs an even number", "audioData.data")
    return AppAudio(pcm, _read_mark(audio.get("mark")))


def _read_mark(raw: Raw | None) -> Mark | None:
    """A mark needs a text id; one that cannot be told apart later is not worth losing audio for."""
    mark = members(raw) if raw is not None else None
    mark_id = string(mark.get("id")) if mark else None
    if mark is None or mark_id is None:
        return None
    try:
        sequence = msgspec.json.decode(mark.get("sequence", b"null"), type=int | None)
    except UNREADABLE:
        sequence = None
    return Mark(mark_id, sequence)
