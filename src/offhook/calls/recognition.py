"""Recognition: what somebody is asked for, what they have given so far, and what ends it (protocol.md §3.3, §5.8).

A prompt comes first, if there is one. Keys and speech count from its end on, or, with `interruptPrompt`, from its
begin, and then they cut it short. The initial silence begins with its end.
"""

from __future__ import annotations

from typing import Any, Final

from offhook.calls.actions import StartHearing, StopHearing
from offhook.calls.connection import Connection, row_of
from offhook.calls.media import MAIN, NOT_BEGUN, SUB, MediaAction
from offhook.calls.phrases import best_match
from offhook.calls.subscription import Operation
from offhook.wire.events import CallEvent
from offhook.wire.recognizing import (
    MOST_TO_COLLECT,
    Choice,
    ChoiceResult,
    DtmfResult,
    RecognizeCanceled,
    RecognizeCompleted,
    RecognizeFailed,
    RecognizeRequest,
    SpeechResult,
)
from offhook.wire.results import RESULTS
from offhook.wire.tones import TONE_NAMES

LONGEST_SPEECH: Final = 60.0
"""Seconds that one utterance may last."""

_EVENTS: Final[dict[str, type[CallEvent]]] = {
    "tones_complete": RecognizeCompleted,
    "stop_tone": RecognizeCompleted,
    "tone_matched": RecognizeCompleted,
    "phrase_matched": RecognizeCompleted,
    "speech_recognized": RecognizeCompleted,
    "media_canceled": RecognizeCanceled,
    "play_shut_down": RecognizeCanceled,
}
"""Event of each outcome; RecognizeFailed for all others."""


class Recognition(MediaAction):
    """One request, of the participant with the leg `leg_id`; in a `group` it is on the sub leg.

    A stop tone ends it and is not one of the tones collected. The inter-tone time-out fails it, unless the app gave no
    maximum: then it is the only end that a list of unknown length has, and what was collected is the result.
    With speech and keys, the first key decides for keys, and the end of an utterance for speech.
    """

    def __init__(
        self, action_id: str, connection: Connection, leg_id: str, request: RecognizeRequest, *, group: bool
    ) -> None:
        super().__init__(
            action_id,
            SUB if group else MAIN,
            connection,
            Operation(request.operation_context, request.operation_callback_uri),
            sources=request.prompt,
            to=frozenset((request.target_participant.raw_id,)),
        )
        self.leg_id = leg_id
        self.tones: list[str] = []
        self._request = request
        self._listens = False
        self._hears = False
        self._speaks = False
        self._unheard = ""
        """Why nobody hears speech, where keys will do."""
        self._choice: Choice | None = None
        self._phrase: str | None = None
        self._speech = ""
        self._confidence: float | None = None

    # its turn ---------------------------------------------------------------------------------------------------

    def begin(self, now: float | None) -> None:
        """See `MediaAction`."""
        prompting = self.phase == "prompting"
        if not prompting:
            self.deadline = NOT_BEGUN if now is None else now + self._request.initial_silence
        if not prompting or self._request.interrupt_prompt:
            self._listen()

    def prompt_ended(self, now: float) -> str:
        """See `MediaAction`."""
        self.deadline = now + self._request.initial_silence
        if not self._listens:
            self._listen()
        return ""

    def time_out(self, now: float) -> str:
        """See `MediaAction`."""
        if self.deadline == NOT_BEGUN:
            self.deadline = now + self._request.initial_silence
            return ""
        if self.tones:
            return "inter_tone_timeout"
        return "speech_not_recognized" if self._speaks else "initial_silence"

    def left(self, leg_id: str, present: frozenset[str]) -> str:
        """See `MediaAction`."""
        return "participant_left" if leg_id == self.leg_id else ""

    def stop(self) -> None:
        """See `MediaAction`."""
        if self._hears:
            self._hears = False
            self.outbox.append(StopHearing(self.action_id))

    def _listen(self) -> None:
        request, self._listens = self._request, True
        phrases = tuple(phrase for choice in request.choices for phrase in choice.phrases)
        if request.input_type in ("speech", "speechOrDtmf") or phrases:
            self._hears = True
            self.outbox.append(
                StartHearing(self.action_id, self.leg_id, request.language, request.end_silence, phrases)
            )

    # keys -------------------------------------------------------------------------------------------------------

    def pressed(self, leg_id: str, key: str, now: float) -> str:
        """See `MediaAction`."""
        request = self._request
        if leg_id != self.leg_id or not self._listens or request.input_type == "speech":
            return ""
        self.drop_prompt()
        self.stop()
        if request.input_type == "choices":
            self._choice = next((choice for choice in request.choices if choice.tone == key), None)
            return "wrong_tone" if self._choice is None else "tone_matched"
        if key in request.dtmf.stop_tones:
            return "stop_tone"
        self.tones.append(key)
        if len(self.tones) >= min(request.dtmf.most or MOST_TO_COLLECT, MOST_TO_COLLECT):
            return "tones_complete"
        self.deadline = now + request.dtmf.inter_tone
        return ""

    # speech -----------------------------------------------------------------------------------------------------

    def speech_began(self, now: float) -> str:
        """See `MediaAction`."""
        if self._hears:
            self.drop_prompt()
            self._speaks, self.deadline = True, now + LONGEST_SPEECH
        return ""

    def speech_heard(self, text: str, confidence: float | None, now: float) -> str:
        """See `MediaAction`."""
        if not self._hears:
            return ""
        if not text.strip():
            return "speech_not_recognized"
        self.drop_prompt()
        self._speech, self._confidence = text, confidence
        if self._request.input_type != "choices":
            return "speech_recognized"
        found = best_match(text, [choice.phrases for choice in self._request.choices])
        if found is None:
            return "speech_not_matched"
        index, self._phrase = found
        self._choice = self._request.choices[index]
        return "phrase_matched"

    def speech_failed(self, outcome: str, detail: str, now: float) -> str:
        """See `MediaAction`. Where each choice has a tone, keys will do, and the app hears of it if none is pressed."""
        if not self._hears:
            return ""
        self._hears = False
        row = RESULTS.get(outcome) or RESULTS["speech_failed"]  # a recogniser may name anything
        choices = self._request.choices
        if not choices or any(choice.tone is None for choice in choices):
            self._unheard = detail
            return row.name
        self._unheard = f"Speech could not be heard, only keys: {row.text(detail)}"
        if self._speaks:
            self._speaks, self.deadline = False, now + self._request.initial_silence
        return ""

    # the end ----------------------------------------------------------------------------------------------------

    def tell_unplayable(self, outcome: str, detail: str, index: int | None) -> None:
        """See `MediaAction`; the message has the reason, which would be that of a PlayFailed."""
        reason = row_of(outcome).text(detail)
        self.connection.tell(RecognizeFailed, "prompt_failed", self.operation, reason, failed_play_source_index=index)

    def tell(self, outcome: str, detail: str = "") -> None:
        """See `MediaAction`."""
        event = _EVENTS.get(outcome, RecognizeFailed)
        if outcome == "inter_tone_timeout" and self._request.dtmf.most is None:
            event = RecognizeCompleted
        outcome = "media_canceled" if event is RecognizeCanceled else outcome
        fields: dict[str, Any] = {}
        if event is RecognizeCompleted:
            fields = self._result(outcome)
        elif event is RecognizeFailed:
            detail = detail or self._unheard
        self.connection.tell(event, outcome, self.operation, detail, **fields)

    def _result(self, outcome: str) -> dict[str, Any]:
        if self._choice is not None:
            confidence = None if self._phrase is None else self._confidence
            chosen = ChoiceResult(label=self._choice.label, recognized_phrase=self._phrase, confidence=confidence)
            return {"recognition_type": "choices", "choice_result": chosen}
        if outcome == "speech_recognized":
            said = SpeechResult(speech=self._speech, confidence=self._confidence)
            return {"recognition_type": "speech", "speech_result": said}
        names = tuple(TONE_NAMES[key] for key in self.tones)
        return {"recognition_type": "dtmf", "dtmf_result": DtmfResult(tones=names)}
