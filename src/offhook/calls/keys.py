"""Keys in a call: those that apps have sent to somebody, hear of, or collect (protocol.md §3.3, §3.9).

Whatever is sent or collected ends in one event: when it is done, when its time is over, when its participant leaves,
or, before CallDisconnected, when the app's hold on the call ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from offhook.calls.actions import DropKeys, Output, SendKey
from offhook.calls.connection import Connection
from offhook.calls.recognition import Recognition
from offhook.calls.subscription import Operation
from offhook.errors import CallError
from offhook.wire.tones import (
    TONE_NAMES,
    ContinuousDtmfRecognitionStopped,
    ContinuousDtmfRecognitionToneFailed,
    ContinuousDtmfRecognitionToneReceived,
    RecognizeRequest,
    SendDtmfTonesCompleted,
    SendDtmfTonesFailed,
    ToneRequest,
)

KEY_TIMEOUT: Final = 10.0
"""Seconds for one key to be played; a phone on hold takes none."""
MOST_WAITING: Final = 16
"""Recognitions of one app that wait for the one that runs."""


@dataclass(slots=True)
class _Sending:
    """Keys on their way to one leg, one after another."""

    connection: Connection
    operation: Operation
    waiting: list[str]
    deadline: float = 0.0


@dataclass(slots=True)
class _Listening:
    """An app that is told of each key of one participant."""

    connection: Connection
    operation: Operation
    sequence: int = 0


class Keys:
    """All that concerns keys in one call. Times are monotonic seconds; tones are key characters."""

    def __init__(self, outbox: list[Output]) -> None:
        self._outbox = outbox
        self._sending: dict[str, _Sending] = {}  # by leg
        self._listening: dict[tuple[str, str], _Listening] = {}  # by connection and leg
        self._recognitions: dict[str, list[Recognition]] = {}  # by connection; the first one runs

    def next_deadline(self) -> float | None:
        """When `advance` is due."""
        times = [sending.deadline for sending in self._sending.values()]
        times += [queue[0].deadline for queue in self._recognitions.values()]
        return min(times, default=None)

    # what apps ask ----------------------------------------------------------------------------------------------

    def send(
        self, connection: Connection, leg_id: str, tones: Sequence[str], operation: Operation, group: bool, now: float
    ) -> None:
        """Play tones to a participant. CallError `media_busy` while other actions have that participant (§3.9)."""
        self._refuse_if_sending(leg_id)
        if group and any(queue[0].leg_id == leg_id for queue in self._recognitions.values()):
            raise CallError("media_busy", "A recognition of this participant runs.")
        self._sending[leg_id] = _Sending(connection, operation, list(tones))
        self._send_next(leg_id, now)

    def listen(self, connection: Connection, leg_id: str, operation: Operation) -> None:
        """Tell of every key from now on; asked again, it goes on with the new context. CallError as `send`."""
        self._refuse_if_sending(leg_id)
        known = self._listening.get((connection.connection_id, leg_id))
        sequence = 0 if known is None else known.sequence
        self._listening[connection.connection_id, leg_id] = _Listening(connection, operation, sequence)

    def stop_listening(self, connection: Connection, leg_id: str, operation: Operation) -> None:
        """Tell of no more keys; if nothing was told of, there is nothing to say."""
        if self._listening.pop((connection.connection_id, leg_id), None) is not None:
            connection.tell(ContinuousDtmfRecognitionStopped, "success", operation)

    def recognize(
        self, connection: Connection, leg_id: str, request: RecognizeRequest, group: bool, now: float
    ) -> None:
        """Collect tones. With one other person a second recognition waits for the first; in a group it is refused.

        CallError `media_busy` for that, `media_state` when too many wait, `not_built` for other input than keys.
        """
        if request.input_type != "dtmf":
            raise CallError("not_built", f"recognizeInputType {request.input_type}: dtmf is built.")
        if request.prompted:
            raise CallError("not_built", "playPrompt of Recognize: leave it out.")
        queue = self._recognitions.get(connection.connection_id, [])
        if group:
            self._refuse_if_sending(leg_id)
        if queue and not request.interrupt:
            if group:
                raise CallError("media_busy", "A recognition runs; interruptCallMediaOperation takes its place.")
            if len(queue) > MOST_WAITING:
                raise CallError("media_state", f"{MOST_WAITING} recognitions wait already.")
        if request.interrupt:
            self.cancel(connection)
        recognition = Recognition(connection, leg_id, request)
        queue = self._recognitions.setdefault(connection.connection_id, [])
        queue.append(recognition)
        if queue[0] is recognition:
            recognition.begin(now)

    def cancel(self, connection: Connection) -> None:
        """Give up what runs and what waits: RecognizeCanceled for each (§3.9, cancelAllMediaOperations)."""
        for recognition in self._recognitions.pop(connection.connection_id, ()):
            recognition.tell("media_canceled")

    # what happens -----------------------------------------------------------------------------------------------

    def pressed(self, leg_id: str, key: str, now: float) -> None:
        """A participant pressed a key: whoever listens hears of it, and it counts for who collects (§3.9)."""
        for (_, listened), listening in self._listening.items():
            if listened == leg_id:
                listening.sequence += 1
                listening.connection.tell(
                    ContinuousDtmfRecognitionToneReceived,
                    "success",
                    listening.operation,
                    sequence_id=listening.sequence,
                    tone=TONE_NAMES[key],
                )
        for queue in list(self._recognitions.values()):
            if queue[0].leg_id == leg_id and (outcome := queue[0].press(key, now)):
                self._end_first(queue, outcome)

    def sent(self, leg_id: str, now: float) -> None:
        """The leg has played its key."""
        sending = self._sending.get(leg_id)
        if sending is None:
            return
        if sending.waiting:
            self._send_next(leg_id, now)
            return
        del self._sending[leg_id]
        sending.connection.tell(SendDtmfTonesCompleted, "success", sending.operation)

    def left(self, leg_id: str, alone: bool) -> None:
        """A participant is gone. `alone`: with it, the call is over, so that who listens need not be told."""
        if leg_id in self._sending:
            self._fail(leg_id, "participant_left")
        for key in [key for key in self._listening if key[1] == leg_id]:
            listening = self._listening.pop(key)
            if not alone:
                listening.connection.tell(ContinuousDtmfRecognitionToneFailed, "participant_left", listening.operation)
        for queue in self._recognitions.values():
            over = [recognition for recognition in queue if recognition.leg_id == leg_id]
            queue[:] = [recognition for recognition in queue if recognition.leg_id != leg_id]
            for recognition in over:
                recognition.tell("participant_left")
        self._forget_empty()

    def dropped(self, connection: Connection) -> None:
        """The app's hold on the call ends."""
        for leg_id in [leg for leg, sending in self._sending.items() if sending.connection is connection]:
            self._outbox.append(DropKeys(leg_id))
            self._fail(leg_id, "media_canceled")
        for key in [key for key in self._listening if key[0] == connection.connection_id]:
            del self._listening[key]
        self.cancel(connection)

    def advance(self, now: float) -> None:
        """Time has come to `now`."""
        for leg_id in [leg for leg, sending in self._sending.items() if sending.deadline <= now]:
            self._outbox.append(DropKeys(leg_id))
            self._fail(leg_id, "tones_not_sent")
        for queue in list(self._recognitions.values()):
            while queue and queue[0].deadline <= now:
                if queue[0].begun:
                    self._end_first(queue, queue[0].timed_out())
                else:
                    queue[0].begin(now)

    # inside -----------------------------------------------------------------------------------------------------

    def _refuse_if_sending(self, leg_id: str) -> None:
        if leg_id in self._sending:
            raise CallError("media_busy", "Tones are being sent to this participant; wait for SendDtmfTones….")

    def _send_next(self, leg_id: str, now: float) -> None:
        sending = self._sending[leg_id]
        sending.deadline = now + KEY_TIMEOUT
        self._outbox.append(SendKey(leg_id, sending.waiting.pop(0)))

    def _fail(self, leg_id: str, outcome: str) -> None:
        sending = self._sending.pop(leg_id)
        sending.connection.tell(SendDtmfTonesFailed, outcome, sending.operation)

    def _end_first(self, queue: list[Recognition], outcome: str) -> None:
        """The recognition that runs is over; the next begins with the next `advance`, which is due at once."""
        queue.pop(0).tell(outcome)
        self._forget_empty()

    def _forget_empty(self) -> None:
        self._recognitions = {name: queue for name, queue in self._recognitions.items() if queue}


def operation_of(request: ToneRequest) -> Operation:
    """The context and callback of a request."""
    return Operation(request.operation_context, request.operation_callback_uri)
