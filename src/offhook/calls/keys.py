"""Keys that apps hear of as they are pressed: continuous DTMF recognition (protocol.md §3.3, §3.9).

It runs beside everything else, and ends as the app asks, when its participant leaves, or with the app's hold on the
call.
"""

from __future__ import annotations

from dataclasses import dataclass

from offhook.calls.connection import Connection
from offhook.calls.subscription import Operation
from offhook.wire.tones import (
    TONE_NAMES,
    ContinuousDtmfRecognitionStopped,
    ContinuousDtmfRecognitionToneFailed,
    ContinuousDtmfRecognitionToneReceived,
    ToneRequest,
)


@dataclass(slots=True)
class _Listening:
    """An app that is told of each key of one participant."""

    connection: Connection
    operation: Operation
    sequence: int = 0


class Keys:
    """Who listens to whose keys in one call. Tones are key characters."""

    def __init__(self) -> None:
        self._listening: dict[tuple[str, str], _Listening] = {}  # by connection and leg

    def listen(self, connection: Connection, leg_id: str, operation: Operation) -> None:
        """Tell of every key from now on; asked again, it goes on with the new context."""
        known = self._listening.get((connection.connection_id, leg_id))
        sequence = 0 if known is None else known.sequence
        self._listening[connection.connection_id, leg_id] = _Listening(connection, operation, sequence)

    def stop_listening(self, connection: Connection, leg_id: str, operation: Operation) -> None:
        """Tell of no more keys; if nothing was told of, there is nothing to say."""
        if self._listening.pop((connection.connection_id, leg_id), None) is not None:
            connection.tell(ContinuousDtmfRecognitionStopped, "success", operation)

    def pressed(self, leg_id: str, key: str) -> None:
        """A participant pressed a key: whoever listens hears of it."""
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

    def left(self, leg_id: str, *, over: bool) -> None:
        """A participant is gone. `over`: so is the call, and who listens need not be told."""
        for key in [key for key in self._listening if key[1] == leg_id]:
            listening = self._listening.pop(key)
            if not over:
                listening.connection.tell(ContinuousDtmfRecognitionToneFailed, "participant_left", listening.operation)

    def dropped(self, connection: Connection) -> None:
        """The app's hold on the call ends."""
        for key in [key for key in self._listening if key[0] == connection.connection_id]:
            del self._listening[key]


def operation_of(request: ToneRequest) -> Operation:
    """The context and callback of a request."""
    return Operation(request.operation_context, request.operation_callback_uri)
