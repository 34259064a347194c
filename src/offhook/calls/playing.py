"""What one app plays into its call: prompts that load, wait for their turn, are heard and end (protocol.md §3.9).

A play to everybody is on the main leg: one at a time, further ones queue in the order of asking. A play to some is on
their sub leg: beside the main leg, one at a time, a second one is refused. The one whose turn it is and the next are
loaded, no more, so that a long queue takes no memory.
Every play ends in exactly one of PlayCompleted, PlayFailed and PlayCanceled (§5.8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Protocol

from offhook.calls.actions import DropPrompt, LoadPrompt, Output, StartPrompt
from offhook.calls.subscription import Operation
from offhook.errors import CallError
from offhook.wire.events import CallEvent, PlayCanceled, PlayCompleted, PlayFailed, PlayStarted
from offhook.wire.playing import PlayRequest, PlaySource
from offhook.wire.results import RESULTS, Result
from offhook.wire.versions import known_to

MOST_PLAYS: Final = 20  # of one app in one call, running and queued
LOADED: Final = 2  # of them on one leg

_NOBODY: Final = "Nobody who was to hear it is in the call any more."


class Tell(Protocol):
    """Tells the app of an event."""

    def __call__(
        self,
        event: type[CallEvent],
        row: Result,
        detail: str = "",
        operation: Operation | None = None,
        **fields: object,
    ) -> None: ...


@dataclass(slots=True)
class Play:
    """One request; `to` has the raw ids of who hears it, None is everybody."""

    prompt_id: str
    operation: Operation
    sources: tuple[PlaySource, ...]
    loop: bool
    to: frozenset[str] | None
    phase: Literal["asked", "loading", "ready", "playing"] = "asked"

    @property
    def main(self) -> bool:
        """Whether it is on the main leg."""
        return self.to is None


class Plays:
    """All plays of one app, in the order of asking. Facts about plays that are gone are late ones: nothing happens."""

    def __init__(self, connection_id: str, outbox: list[Output], tell: Tell, api_version: str) -> None:
        self._connection_id = connection_id
        self._outbox = outbox
        self._tell = tell
        self._tells_start = known_to("PlayStarted", api_version)
        self._plays: dict[str, Play] = {}

    # requests ---------------------------------------------------------------------------------------------------

    def ask(self, prompt_id: str, request: PlayRequest, present: frozenset[str]) -> None:
        """Queue it; `present` has the raw ids of who is in the call. An interrupting one cancels those of its leg.

        CallError `participant_not_found`; `media_busy` for a second play to some; `media_state` for too many.
        """
        to = frozenset(identifier.raw_id for identifier in request.to) or None
        for raw_id in sorted((to or frozenset()) - present):
            raise CallError("participant_not_found", f"Nobody with the raw id {raw_id} is in the call.")
        others = [play for play in self._plays.values() if play.main == (to is None)]
        if request.interrupt:
            for other in others:
                self._cancel(other, "media_canceled")
        elif others and to is not None:
            raise CallError("media_busy")
        elif len(self._plays) >= MOST_PLAYS:
            raise CallError(
                "media_state", f"{len(self._plays)} plays wait already; cancel them, or wait for their end."
            )
        operation = Operation(request.operation_context, request.operation_callback_uri)
        self._plays[prompt_id] = Play(prompt_id, operation, request.sources, request.loop, to)
        self._go_on()

    def cancel(self) -> None:
        """All end now, running and queued (§3.9)."""
        self.abandon("media_canceled")

    def abandon(self, outcome: str) -> None:
        """All end now, with a row of the results table."""
        for play in list(self._plays.values()):
            self._cancel(play, outcome)

    # facts ------------------------------------------------------------------------------------------------------

    def ready(self, prompt_id: str) -> None:
        """Its sound is there: it starts, or waits for its turn."""
        play = self._plays.get(prompt_id)
        if play is not None and play.phase == "loading":
            play.phase = "ready"
            self._go_on()

    def failed(self, prompt_id: str, outcome: str, detail: str, index: int | None) -> None:
        """It cannot be played; the next in the queue fails before its turn, and holds up nobody."""
        play = self._plays.pop(prompt_id, None)
        if play is not None:
            row = RESULTS[outcome]
            self._tell(PlayFailed, row, detail, play.operation, failed_play_source_index=index)
            self._go_on()

    def ended(self, prompt_id: str) -> None:
        """It was heard to its end."""
        play = self._plays.pop(prompt_id, None)
        if play is not None:
            self._tell(PlayCompleted, RESULTS["success"], "", play.operation)
            self._go_on()

    def left(self, present: frozenset[str]) -> None:
        """Somebody left; what only those hear who are gone has no hearer any more."""
        for play in list(self._plays.values()):
            if play.to is not None and play.to.isdisjoint(present):
                self._cancel(play, "media_canceled", _NOBODY)

    # inside -----------------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """On each leg the first play has its turn, once it is loaded, and the next one loads."""
        for main in (True, False):
            due = [play for play in self._plays.values() if play.main == main][:LOADED]
            if due and due[0].phase == "ready":
                self._start(due[0])
            for play in due:
                if play.phase == "asked":
                    play.phase = "loading"
                    self._outbox.append(LoadPrompt(self._connection_id, play.prompt_id, play.sources))

    def _start(self, play: Play) -> None:
        play.phase = "playing"
        self._outbox.append(StartPrompt(self._connection_id, play.prompt_id, play.loop, play.to))
        if self._tells_start:
            self._tell(PlayStarted, RESULTS["success"], "", play.operation)

    def _cancel(self, play: Play, outcome: str, detail: str = "") -> None:
        del self._plays[play.prompt_id]
        if play.phase != "asked":
            self._outbox.append(DropPrompt(play.prompt_id))
        event = PlayCanceled if outcome == "media_canceled" else PlayFailed
        self._tell(event, RESULTS[outcome], detail, play.operation)
