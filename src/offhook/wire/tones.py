"""Tones: bodies and events of sending them, of hearing every one, and of collecting some (protocol.md §3.3, §5.5).

On the wire a tone has a name ("pound"); everywhere else it is the character on its key ("#").
"""

from __future__ import annotations

from typing import Any, Final, Self

import msgspec

from offhook.wire.events import CallEvent
from offhook.wire.fields import Fields, WireStruct, json_type, shown, wrong
from offhook.wire.identifiers import Identifier, read_identifier

__all__ = [
    "MOST_TO_COLLECT", "MOST_TO_SEND", "TONE_EVENTS", "TONE_NAMES", "ContinuousDtmfRecognitionStopped",
    "ContinuousDtmfRecognitionToneFailed", "ContinuousDtmfRecognitionToneReceived", "DtmfOptions", "DtmfResult",
    "RecognizeCanceled", "RecognizeCompleted", "RecognizeFailed", "RecognizeRequest", "SendDtmfTonesCompleted",
    "SendDtmfTonesFailed", "SendDtmfTonesRequest", "SendDtmfTonesResult", "StartContinuousDtmfRequest",
    "StopContinuousDtmfRequest", "ToneRequest",
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
MOST_TO_COLLECT: Final = 256
"""Tones after which a recognition ends, whatever maximum the app gave: it must have some end."""

_KEYS: Final = {name: key for key, name in TONE_NAMES.items()}


def _tone(value: Any, field: str) -> str:
    """The key of a tone's name, in any letter case."""
    key = _KEYS.get(value.lower()) if isinstance(value, str) else None
    if key is None:
        raise wrong(field, f"{shown(value)} is no tone; name one of {', '.join(_KEYS)}")
    return key


def _whole(fields: Fields, name: str, least: int, most: int | None) -> int | None:
    """A whole number within bounds, or None if absent."""
    value = fields.raw(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong(fields.at(name), f"must be a whole number, not {json_type(value)}")
    if value < least or (most is not None and value > most):
        raise wrong(fields.at(name), f"{value} must be " + (f"{least} to {most}" if most else f"at least {least}"))
    return value


class ToneRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the requests about tones have in common: whose tones, and where the result goes."""

    target_participant: Identifier
    operation_context: str | None = None
    operation_callback_uri: str | None = None

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(**_common(fields, fields))


def _common(fields: Fields, target: Fields) -> dict[str, Any]:
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
        tones = fields.items("tones", _tone)
        if not 1 <= len(tones) <= MOST_TO_SEND:
            raise wrong(fields.at("tones"), f"holds {len(tones)} tones; give 1 to {MOST_TO_SEND}")
        return cls(tones=tones, **_common(fields, fields))


class SendDtmfTonesResult(WireStruct, frozen=True, kw_only=True):
    """Answer to :sendDtmfTones."""

    operation_context: str | None = None


class StartContinuousDtmfRequest(ToneRequest, frozen=True, kw_only=True):
    """POST :startContinuousDtmfRecognition."""


class StopContinuousDtmfRequest(ToneRequest, frozen=True, kw_only=True):
    """POST :stopContinuousDtmfRecognition."""


class DtmfOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`dtmfOptions`. `inter_tone` in seconds; the default is what the JavaScript SDK sends (protocol.md §3.10)."""

    inter_tone: int = 2
    most: int | None = None
    stop_tones: frozenset[str] = frozenset()

    @classmethod
    def read(cls, fields: Fields) -> Self:
        inter_tone = _whole(fields, "interToneTimeoutInSeconds", 1, 60)
        return cls(
            inter_tone=2 if inter_tone is None else inter_tone,
            most=_whole(fields, "maxTonesToCollect", 1, None),
            stop_tones=frozenset(fields.items("stopTones", _tone)),
        )


class RecognizeRequest(ToneRequest, frozen=True, kw_only=True):
    """POST :recognize. `input_type`: dtmf, speech, speechOrDtmf or choices; `initial_silence` in seconds."""

    input_type: str
    prompted: bool = False
    interrupt: bool = False
    initial_silence: int = 5
    dtmf: DtmfOptions = DtmfOptions()

    @classmethod
    def read(cls, fields: Fields) -> Self:
        fields.required("recognizeOptions", "name the targetParticipant in it")
        options = Fields(fields.raw("recognizeOptions"), fields.at("recognizeOptions"))
        initial = _whole(options, "initialSilenceTimeoutInSeconds", 0, 300)
        return cls(
            input_type=fields.choice("recognizeInputType", ("dtmf", "speech", "speechOrDtmf", "choices")),
            prompted=bool(fields.raw("playPrompt") or fields.raw("playPrompts")),
            interrupt=fields.flag("interruptCallMediaOperation"),
            initial_silence=5 if initial is None else initial,
            dtmf=options.part("dtmfOptions", DtmfOptions.read) or DtmfOptions(),
            **_common(fields, options),
        )


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


class DtmfResult(WireStruct, frozen=True, kw_only=True):
    """`dtmfResult`: names of the tones that were collected."""

    tones: tuple[str, ...]


class RecognizeCompleted(CallEvent, frozen=True, kw_only=True):
    """The participant gave what was asked for."""

    recognition_type: str
    dtmf_result: DtmfResult | None = None


class RecognizeFailed(CallEvent, frozen=True, kw_only=True):
    """The participant did not give what was asked for."""


class RecognizeCanceled(CallEvent, frozen=True, kw_only=True):
    """The app gave it up."""


TONE_EVENTS: Final[tuple[type[CallEvent], ...]] = (
    SendDtmfTonesCompleted,
    SendDtmfTonesFailed,
    ContinuousDtmfRecognitionToneReceived,
    ContinuousDtmfRecognitionToneFailed,
    ContinuousDtmfRecognitionStopped,
    RecognizeCompleted,
    RecognizeFailed,
    RecognizeCanceled,
)
