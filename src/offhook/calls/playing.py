"""Play: sound for everybody, on the main leg, or for some, on the sub leg (protocol.md §3.9).

Each ends in exactly one of PlayCompleted, PlayFailed and PlayCanceled (§5.8).
"""

from __future__ import annotations

from typing import Final

from offhook.calls.connection import Connection
from offhook.calls.media import MAIN, SUB, MediaAction
from offhook.calls.subscription import Operation
from offhook.errors import CallError
from offhook.wire.events import CallEvent, PlayCanceled, PlayCompleted, PlayFailed, PlayStarted
from offhook.wire.playing import PlayRequest
from offhook.wire.versions import known_to

_EVENTS: Final[dict[str, type[CallEvent]]] = {"success": PlayCompleted, "media_canceled": PlayCanceled}
"""Event of each outcome; PlayFailed for all others."""


class Play(MediaAction):
    """One request. CallError `participant_not_found` for a hearer who is not among `present`, raw ids."""

    def __init__(self, prompt_id: str, connection: Connection, request: PlayRequest, present: frozenset[str]) -> None:
        to = frozenset(identifier.raw_id for identifier in request.to) or None
        for raw_id in sorted((to or frozenset()) - present):
            raise CallError("participant_not_found", f"Nobody with the raw id {raw_id} is in the call.")
        super().__init__(
            prompt_id,
            MAIN if to is None else SUB,
            connection,
            Operation(request.operation_context, request.operation_callback_uri),
            sources=request.sources,
            to=to,
            loop=request.loop,
        )

    def begin(self, now: float | None) -> None:
        """See `MediaAction`."""
        if known_to("PlayStarted", self.connection.api_version):
            self.connection.tell(PlayStarted, "success", self.operation)

    def left(self, leg_id: str, present: frozenset[str]) -> str:
        """What only those hear who are gone has no hearer any more."""
        return "media_canceled" if self.to is not None and self.to.isdisjoint(present) else ""

    def tell(self, outcome: str, detail: str = "") -> None:
        """See `MediaAction`."""
        self.connection.tell(_EVENTS.get(outcome, PlayFailed), outcome, self.operation, detail)

    def tell_unplayable(self, outcome: str, detail: str, index: int | None) -> None:
        """See `MediaAction`."""
        self.connection.tell(PlayFailed, outcome, self.operation, detail, failed_play_source_index=index)
