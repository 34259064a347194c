"""Collecting tones: what a recognition has heard so far, and what ends it (protocol.md §3.3 RecognizeOptions, §5.8)."""

from __future__ import annotations

from typing import Any, Final

from offhook.calls.connection import Connection
from offhook.calls.subscription import Operation
from offhook.wire.events import CallEvent
from offhook.wire.tones import (
    MOST_TO_COLLECT,
    TONE_NAMES,
    DtmfResult,
    RecognizeCanceled,
    RecognizeCompleted,
    RecognizeFailed,
    RecognizeRequest,
)

_EVENTS: Final[dict[str, type[CallEvent]]] = {
    "tones_complete": RecognizeCompleted,
    "stop_tone": RecognizeCompleted,
    "media_canceled": RecognizeCanceled,
}
"""Event of each outcome; RecognizeFailed for all others."""


class Recognition:
    """One recognition of keys; `deadline` in monotonic seconds is long past until it has begun.

    A stop tone ends it and is not one of the tones collected. The inter-tone time-out fails it, unless the app gave no
    maximum: then it is the only end that a list of unknown length has, and what was collected is the result.
    """

    def __init__(self, connection: Connection, leg_id: str, request: RecognizeRequest) -> None:
        self.leg_id = leg_id
        self.tones: list[str] = []
        self.begun = False
        self.deadline = float("-inf")
        self._connection = connection
        self._request = request
        self._operation = Operation(request.operation_context, request.operation_callback_uri)

    def begin(self, now: float) -> None:
        """Listen from now on."""
        self.begun, self.deadline = True, now + self._request.initial_silence

    def press(self, key: str, now: float) -> str:
        """The participant pressed a key; the outcome that it brings about, else nothing."""
        options, self.begun = self._request.dtmf, True
        if key in options.stop_tones:
            return "stop_tone"
        self.tones.append(key)
        if len(self.tones) >= min(options.most or MOST_TO_COLLECT, MOST_TO_COLLECT):
            return "tones_complete"
        self.deadline = now + options.inter_tone
        return ""

    def timed_out(self) -> str:
        """The outcome of a deadline that has come."""
        return "inter_tone_timeout" if self.tones else "initial_silence"

    def tell(self, outcome: str) -> None:
        """The app is told how it ended."""
        event = _EVENTS.get(outcome, RecognizeFailed)
        if outcome == "inter_tone_timeout" and self._request.dtmf.most is None:
            event = RecognizeCompleted
        fields: dict[str, Any] = {}
        if event is RecognizeCompleted:
            names = tuple(TONE_NAMES[key] for key in self.tones)
            fields = {"recognition_type": "dtmf", "dtmf_result": DtmfResult(tones=names)}
        self._connection.tell(event, outcome, self._operation, **fields)
