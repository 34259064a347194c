"""Listening: what recognitions of a call are told of speech (protocol.md §3.9, §5.8)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from offhook.calls.actions import StartHearing
from offhook.calls.call import Call
from offhook.errors import SpeechError
from offhook.service.clock import Clock
from offhook.service.hearings import Heard, Hearings, try_language
from offhook.service.speech import Speech


class Listened(Protocol):
    """The call whose machine is told."""

    call: Call
    rate: int

    def settle(self) -> None:
        """Carry out what the machine wants."""


class Listening:
    """Hears a participant until an utterance ends: then the machine is told, once. One that was cut goes on."""

    def __init__(self, live: Listened, hearings: Hearings, clock: Clock, speech: Callable[[], Speech]) -> None:
        self._live = live
        self._hearings = hearings
        self._clock = clock
        self._speech = speech
        self._trials: dict[str, Callable[[], None]] = {}
        self._before: dict[str, str] = {}  # what was said before an utterance was cut

    def start(self, action: StartHearing) -> None:
        """Hear somebody; that nobody can understand them is told before they speak."""
        hearing_id = action.hearing_id
        self._hearings.start(
            hearing_id,
            action.leg_id,
            self._live.rate,
            self,
            language=action.language,
            end_silence=action.end_silence,
            phrases=action.phrases,
        )
        self._trials[hearing_id] = try_language(self._speech(), action.language, partial(self._tried, hearing_id))

    def stop(self, hearing_id: str) -> None:
        """The machine wants to hear no more."""
        trial = self._trials.pop(hearing_id, None)
        if trial is not None:
            trial()
        self._before.pop(hearing_id, None)
        self._hearings.stop(hearing_id)

    def close(self) -> None:
        """The call is over."""
        for hearing_id in list(self._trials):
            self.stop(hearing_id)

    # listener ---------------------------------------------------------------------------------------------------

    def began(self, hearing_id: str) -> None:
        """See `Listener`."""
        self._live.call.speech_began(hearing_id, self._clock.monotonic())
        self._live.settle()

    def partly(self, hearing_id: str, heard: Heard) -> None:
        """See `Listener`; not asked for."""

    def heard(self, hearing_id: str, heard: Heard) -> None:
        """See `Listener`."""
        text = f"{self._before.get(hearing_id, '')} {heard.recognised.text}".strip()
        if heard.cut:
            self._before[hearing_id] = text
            return
        self.stop(hearing_id)
        self._live.call.speech_heard(hearing_id, text, heard.recognised.confidence, self._clock.monotonic())
        self._live.settle()

    def failed(self, hearing_id: str, error: SpeechError) -> None:
        """See `Listener`."""
        self.stop(hearing_id)
        self._live.call.speech_failed(hearing_id, error.outcome, error.detail, self._clock.monotonic())
        self._live.settle()

    lost = failed

    def _tried(self, hearing_id: str, error: SpeechError | None) -> None:
        self._trials.pop(hearing_id, None)
        if error is not None:
            self.failed(hearing_id, error)
