"""Recognising: body of `:recognize` and its events; tones, speech, or one of some choices (protocol.md §3.3, §5.5)."""

from __future__ import annotations

from typing import Any, Final, Self

import msgspec

from offhook.wire.events import CallEvent
from offhook.wire.fields import Fields, WireStruct, wrong
from offhook.wire.playing import MOST_SOURCES, PlaySource
from offhook.wire.tones import ToneRequest, read_tone, targeted

MOST_TO_COLLECT: Final = 256
"""Tones after which a recognition ends, whatever maximum the app gave: it must have some end."""
LONGEST_END_SILENCE: Final = 300_000  # milliseconds; ours, no published limit was found
MOST_PHRASES: Final = 20_000  # characters of all phrases together: each is looked for in what was said; ours

_INPUTS: Final = ("dtmf", "speech", "speechOrDtmf", "choices")


class DtmfOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`dtmfOptions`. `inter_tone` in seconds; the default is what the JavaScript SDK sends (protocol.md §3.10)."""

    inter_tone: int = 2
    most: int | None = None
    stop_tones: frozenset[str] = frozenset()

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(
            inter_tone=fields.whole("interToneTimeoutInSeconds", 1, 60) or 2,
            most=fields.whole("maxTonesToCollect", 1),
            stop_tones=frozenset(fields.items("stopTones", read_tone)),
        )


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One of `choices`: chosen by its tone, a key character, where it has one, or by one of its phrases."""

    label: str
    phrases: tuple[str, ...] = ()
    tone: str | None = None

    @classmethod
    def read(cls, value: Any, path: str) -> Self:
        """The choice at `path`. WireError naming the field for anything that cannot be used."""
        fields = Fields(value, path)
        label, tone = fields.required_text("label", "give the name that the event is to have"), fields.raw("tone")
        phrases = fields.items("phrases", _phrase)
        if tone is None and not phrases:
            raise wrong(fields.at("phrases"), "is empty, and there is no tone: nobody could choose this")
        return cls(label=label, phrases=phrases, tone=None if tone is None else read_tone(tone, fields.at("tone")))


class RecognizeRequest(ToneRequest, frozen=True, kw_only=True):
    """POST :recognize. `input_type`: dtmf, speech, speechOrDtmf or choices; `prompt`: what is played first.

    `initial_silence` and `end_silence` in seconds; defaults of times are those of the JavaScript SDK (§3.10).
    """

    input_type: str
    prompt: tuple[PlaySource, ...] = ()
    interrupt: bool = False
    interrupt_prompt: bool = False
    initial_silence: int = 5
    end_silence: float = 2.0
    language: str = "en-US"
    dtmf: DtmfOptions = DtmfOptions()
    choices: tuple[Choice, ...] = ()

    @classmethod
    def read(cls, fields: Fields) -> Self:
        fields.required("recognizeOptions", "name the targetParticipant in it")
        options = Fields(fields.raw("recognizeOptions"), fields.at("recognizeOptions"))
        input_type = fields.choice("recognizeInputType", _INPUTS)
        if input_type != "dtmf" and options.text("speechRecognitionModelEndpointId"):
            raise wrong(options.at("speechRecognitionModelEndpointId"), "names a model of one's own; leave it out")
        initial = options.whole("initialSilenceTimeoutInSeconds", 0, 300)
        return cls(
            input_type=input_type,
            prompt=_prompt(fields),
            interrupt=fields.flag("interruptCallMediaOperation"),
            interrupt_prompt=options.flag("interruptPrompt"),
            initial_silence=5 if initial is None else initial,
            end_silence=options.part("speechOptions", _end_silence) or 2.0,
            language=options.text("speechLanguage") or "en-US",
            dtmf=options.part("dtmfOptions", DtmfOptions.read) or DtmfOptions(),
            choices=_choices(options) if input_type == "choices" else (),
            **targeted(fields, options),
        )


def _phrase(value: Any, field: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise wrong(field, "must be words that somebody can say")
    return value


def _prompt(fields: Fields) -> tuple[PlaySource, ...]:
    """`playPrompts`, or else the one `playPrompt` that came before it."""
    several = fields.items("playPrompts", PlaySource.read)
    if len(several) > MOST_SOURCES:
        raise wrong(fields.at("playPrompts"), f"holds {len(several)} sources; give at most {MOST_SOURCES}")
    one = fields.raw("playPrompt")
    return several or (() if one is None else (PlaySource.read(one, fields.at("playPrompt")),))


def _end_silence(options: Fields) -> float:
    """In seconds; 0, which is what SDKs in languages without null write for "not given", is the default too."""
    return (options.whole("endSilenceTimeoutInMs", 0, LONGEST_END_SILENCE) or 2000) / 1000


def _choices(options: Fields) -> tuple[Choice, ...]:
    choices = options.items("choices", Choice.read)
    if not choices:
        raise wrong(options.at("choices"), "is required for recognizeInputType choices; give at least one")
    labels = [choice.label for choice in choices]
    tones = [choice.tone for choice in choices if choice.tone is not None]
    for what, given in (("label", labels), ("tone", tones)):
        if len(set(given)) < len(given):
            raise wrong(options.at("choices"), f"names the same {what} twice; nobody could tell the two apart")
    length = sum(len(phrase) for choice in choices for phrase in choice.phrases)
    if length > MOST_PHRASES:
        raise wrong(options.at("choices"), f"has {length} characters of phrases; give at most {MOST_PHRASES}")
    return choices


# events -------------------------------------------------------------------------------------------------------------


class DtmfResult(WireStruct, frozen=True, kw_only=True):
    """`dtmfResult`: names of the tones that were collected."""

    tones: tuple[str, ...]


class ChoiceResult(WireStruct, frozen=True, kw_only=True):
    """`choiceResult`: the phrase, left out where it was chosen by its tone, is as the app wrote it."""

    label: str
    recognized_phrase: str | None = None
    confidence: float | None = None


class SpeechResult(WireStruct, frozen=True, kw_only=True):
    """`speechResult`; the confidence is 0 to 1, where there is one."""

    speech: str
    confidence: float | None = None


class RecognizeCompleted(CallEvent, frozen=True, kw_only=True):
    """The participant gave what was asked for; `recognition_type` is dtmf, speech or choices."""

    recognition_type: str
    dtmf_result: DtmfResult | None = None
    choice_result: ChoiceResult | None = None
    speech_result: SpeechResult | None = None


class RecognizeFailed(CallEvent, frozen=True, kw_only=True):
    """The participant did not give what was asked for, or was not asked: the index is the prompt at fault."""

    failed_play_source_index: int | None = None


class RecognizeCanceled(CallEvent, frozen=True, kw_only=True):
    """The app gave it up."""


RECOGNIZE_EVENTS: Final[tuple[type[CallEvent], ...]] = (RecognizeCompleted, RecognizeFailed, RecognizeCanceled)
