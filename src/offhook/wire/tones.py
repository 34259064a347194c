"""Tones: bodies and events of sending them, and of hearing every one (protocol.md §3.3, §5.5).

On the wire a tone has a name ("pound"); everywhere else it is the character on its key ("#").
"""

from __future__ import annotations

from typing import Any, Final, Self

import msgspec

from offhook.wire.events import CallEvent
from offhook.wire.fields import Fields, WireStruct, shown, wrong
from offhook.wire.identifiers import Identifier, read_identifier

__all__ = [
    "MOST_TO_SEND", "TONE_EVENTS", "TONE_NAMES", "ContinuousDtmfRecognitionStopped",
    "ContinuousDtmfRecognitionToneFailed", "ContinuousDtmfRecognitionToneReceived", "SendDtmfTonesCompleted",
    "SendDtmfTonesFailed", "SendDtmfTonesRequest", "SendDtmfTonesResult", "StartContinuousDtmfRequest",
    "StopContinuousDtmfRequest", "ToneRequest", "read_tone", "targeted",
]  # fmt: skip

TONE_NAMES: Final[dict[str, str]] = {
    "0": "zero",
    "1": "one",
    "2": "two",
    "3": "three",
    "4": "four",
    "5": "five",
    "6": "six",
    "7": "seven",
    "8": "eight",
    "9": "nine",
    "A": "a",
    "B": "b",
    "C": "c",
    "D": "d",
    "#": "pound",
    "*": "asterisk",
}
"""Key character to the tone's name (protocol.md §3.3, row Tone)."""

MOST_TO_SEND: Final = 18
"""Tones of one request (protocol.md §7)."""

_KEYS: Final = {name: key for key, name in TONE_NAMES.items()}


def read_tone(value: Any, field: str) -> str:
    """The key of a tone's name, in any letter case."""
    key = _KEYS.get(value.lower()) if isinstance(value, str) else None
    if key is None:
        raise wrong(field, f"{shown(value)} is no tone; name one of {', '.join(_KEYS)}")
    return key


class ToneRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the requests about tones have in common: whose tones, and where the result goes."""

    target_participant: Identifier
    operation_context: str | None = None
    operation_callback_uri: str | None = None

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(**targeted(fields, fields))


def targeted(fields: Fields, target: Fields) -> dict[str, Any]:
    """The fields of a `ToneRequest`; the participant is named in `target`."""
    return {
        "target_participant": read_identifier(target.required("targetParticipant"), target.at("targetParticipant")),
        "operation_context": fields.text("operationContext"),
        "operation_callback_uri": fields.url("operationCallbackUri", ("http", "https")),
    }


class SendDtmfTonesRequest(ToneRequest, frozen=True, kw_only=True):
    """POST :sendDtmfTones. `tones` are key characters, 1 to `MOST_TO_SEND`."""

    tones: tuple[str, ...]

    @classmethod
    def read(cls, fields: Fields) -> Self:
        fields.required("tones", "give at least one tone")
        tones = fields.items("tones", read_tone)
        if not 1 <= len(tones) <= MOST_TO_SEND:
            raise wrong(fields.at("tones"), f"holds {len(tones)} tones; give 1 to {MOST_TO_SEND}")
        return cls(tones=tones, **targeted(fields, fields))


class SendDtmfTonesResult(WireStruct, frozen=True, kw_only=True):
    """Answer to :sendDtmfTones."""

    operation_context: str | None = None


class StartContinuousDtmfRequest(ToneRequest, frozen=True, kw_only=True):
    """POST :startContinuousDtmfRecognition."""


class StopContinuousDtmfRequest(ToneRequest, frozen=True, kw_only=True):
    """POST :stopContinuousDtmfRecognition."""


# events -------------------------------------------------------------------------------------------------------------


class SendDtmfTonesCompleted(CallEvent, frozen=True, kw_only=True):
    """The last tone has been played."""


class SendDtmfTonesFailed(CallEvent, frozen=True, kw_only=True):
    """Not all tones could be played."""


class ContinuousDtmfRecognitionToneReceived(CallEvent, frozen=True, kw_only=True):
    """The participant pressed a key; `sequence_id` counts them from 1, `tone` is its name."""

    sequence_id: int
    tone: str


class ContinuousDtmfRecognitionToneFailed(CallEvent, frozen=True, kw_only=True):
    """No further tones of the participant can be heard."""


class ContinuousDtmfRecognitionStopped(CallEvent, frozen=True, kw_only=True):
    """No further tones are told of, as asked."""


TONE_EVENTS: Final[tuple[type[CallEvent], ...]] = (
    SendDtmfTonesCompleted,
    SendDtmfTonesFailed,
    ContinuousDtmfRecognitionToneReceived,
    ContinuousDtmfRecognitionToneFailed,
    ContinuousDtmfRecognitionStopped,
)
