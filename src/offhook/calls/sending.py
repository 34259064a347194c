"""Sending: tones on their way to one participant, one after another, on the sub leg (protocol.md §3.3, §3.9).

Each ends in exactly one of SendDtmfTonesCompleted and SendDtmfTonesFailed.
"""

from __future__ import annotations

from typing import Final

from offhook.calls.actions import DropKeys, SendKey
from offhook.calls.connection import Connection
from offhook.calls.media import SUB, MediaAction
from offhook.calls.subscription import Operation
from offhook.wire.tones import SendDtmfTonesCompleted, SendDtmfTonesFailed, SendDtmfTonesRequest

KEY_TIMEOUT: Final = 10.0
"""Seconds for one key to be played; a phone on hold takes none."""


class Sending(MediaAction):
    """One request. It ends with the leg's last key, or when a key takes longer than `KEY_TIMEOUT`."""

    cancelable = False

    def __init__(self, connection: Connection, leg_id: str, request: SendDtmfTonesRequest) -> None:
        operation = Operation(request.operation_context, request.operation_callback_uri)
        super().__init__("", SUB, connection, operation)
        self._leg_id = leg_id
        self._waiting = list(request.tones)
        self._under_way = False

    def begin(self, now: float | None) -> None:
        """Play the next key."""
        assert now is not None, "nothing waits for the sub leg"
        self.deadline, self._under_way = now + KEY_TIMEOUT, True
        self.outbox.append(SendKey(self._leg_id, self._waiting.pop(0)))

    def key_sent(self, leg_id: str, now: float) -> str:
        """See `MediaAction`."""
        if leg_id != self._leg_id:
            return ""
        self._under_way = False
        if not self._waiting:
            return "success"
        self.begin(now)
        return ""

    def time_out(self, now: float) -> str:
        """See `MediaAction`."""
        return "tones_not_sent"

    def left(self, leg_id: str, present: frozenset[str]) -> str:
        """See `MediaAction`."""
        if leg_id != self._leg_id:
            return ""
        self._under_way = False
        return "participant_left"

    def stop(self) -> None:
        """See `MediaAction`."""
        if self._under_way:
            self.outbox.append(DropKeys(self._leg_id))

    def tell(self, outcome: str, detail: str = "") -> None:
        """See `MediaAction`."""
        # A call that ends with the node cancels the tones, as the end of an app's hold does.
        outcome = "media_canceled" if outcome == "play_shut_down" else outcome
        event = SendDtmfTonesCompleted if outcome == "success" else SendDtmfTonesFailed
        self.connection.tell(event, outcome, self.operation, detail)
