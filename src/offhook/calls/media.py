"""Media: which action has which leg of a call, whose turn it is, and what of its sound is there (protocol.md §3.9).

A call has one main leg and one sub leg, whatever number of apps hold it. On the main leg are plays to everybody and,
with one other person in the call, recognitions: one at a time, further ones wait in the order of asking. On the sub leg
are plays to some, recognitions in a group and tones that are sent: one at a time, a further one is refused. Either
gives way to an action that interrupts. Who is on hold has a place of their own, which excludes nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Final, Literal

from offhook.calls.actions import DropPrompt, LoadPrompt, Output, StartPrompt
from offhook.calls.connection import Connection
from offhook.calls.subscription import Operation
from offhook.errors import CallError
from offhook.wire.playing import PlaySource

MAIN: Final = "main"
SUB: Final = "sub"
MOST_ACTIONS: Final = 20  # of one app in one call, running and queued
LOADED: Final = 2  # of them on one leg have their sound in memory: the one whose turn it is, and the next
NOT_BEGUN: Final = float("-inf")

NOBODY: Final = "Nobody who was to hear it is in the call any more."


class MediaAction(ABC):
    """What an app has asked for and is told the end of, once, by `tell`.

    The methods that take a fact give back the outcome that it brings about, a row of the results table, or nothing.
    Times are monotonic seconds; `deadline` is when `time_out` is due. `to` has the raw ids of who hears its sound.
    """

    cancelable = True
    """Whether cancelAllMediaOperations ends it."""

    def __init__(
        self,
        action_id: str,
        place: str,
        connection: Connection,
        operation: Operation,
        *,
        sources: tuple[PlaySource, ...] = (),
        to: frozenset[str] | None = None,
        loop: bool = False,
    ) -> None:
        self.action_id = action_id
        self.place = place
        self.connection = connection
        self.operation = operation
        self.sources = sources
        self.to = to
        self.loop = loop
        self.deadline: float | None = None
        self.phase: Literal["asked", "loading", "ready", "prompting", "running"] = "asked" if sources else "ready"
        self.outbox: list[Output] = []

    @property
    def on_hold(self) -> frozenset[str]:
        """Raw ids of who is shown on hold because of it: as was recorded, who alone hears what the sub leg plays."""
        alone = self.place == SUB and self.phase == "prompting" and self.to is not None and len(self.to) == 1
        return (self.to or frozenset()) if alone else frozenset()

    def accept(self) -> None:
        """It was not refused."""

    def begin(self, now: float | None) -> None:
        """Its turn has come, and its sound is heard with the next tick. Without a time, `time_out` is due at once."""

    def prompt_ended(self, now: float) -> str:
        """Its sound was heard to its end."""
        return "success"

    def pressed(self, leg_id: str, key: str, now: float) -> str:
        """Somebody pressed a key, while it has its turn."""
        return ""

    def key_sent(self, leg_id: str, now: float) -> str:
        """A key of a SendKey was played."""
        return ""

    def speech_began(self, now: float) -> str:
        """Who is listened to speaks."""
        return ""

    def speech_heard(self, text: str, confidence: float | None, now: float) -> str:
        """Who is listened to has said something; an empty text was not understood."""
        return ""

    def speech_failed(self, outcome: str, detail: str, now: float) -> str:
        """Nobody listens any more."""
        return ""

    def time_out(self, now: float) -> str:
        """The deadline has come."""
        return ""

    def left(self, leg_id: str, present: frozenset[str]) -> str:
        """A participant is gone; `present` has the raw ids of who is left."""
        return ""

    def stop(self) -> None:
        """It is over: take back what it has asked of the node, its sound apart."""

    @abstractmethod
    def tell(self, outcome: str, detail: str = "") -> None:
        """The app is told how it ended."""

    def tell_unplayable(self, outcome: str, detail: str, index: int | None) -> None:
        """The app is told that its sound cannot be played, which ends it; `index` is the source at fault."""
        self.tell(outcome, detail)

    # its sound --------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Have the sound fetched."""
        self.phase = "loading"
        self.outbox.append(LoadPrompt(self.connection.connection_id, self.action_id, self.sources))

    def start(self, now: float | None) -> None:
        """Take the turn."""
        if self.sources:
            self.phase = "prompting"
            self.outbox.append(StartPrompt(self.connection.connection_id, self.action_id, self.loop, self.to))
        else:
            self.phase = "running"
        self.begin(now)

    def drop_prompt(self) -> None:
        """Its sound is not wanted any more; it goes on without."""
        if self.phase in ("loading", "prompting") or (self.phase == "ready" and self.sources):
            self.outbox.append(DropPrompt(self.action_id))
        self.phase = "running"


class Media:
    """All actions of one call, in the order of asking. Facts about actions that are gone are late ones."""

    def __init__(self, outbox: list[Output], changed: Callable[[], None]) -> None:
        """`changed` is called when `on_hold` has changed, but not because somebody left."""
        self._outbox = outbox
        self._changed = changed
        self._actions: list[MediaAction] = []
        self._on_hold: frozenset[str] = frozenset()

    @property
    def on_hold(self) -> frozenset[str]:
        """Raw ids of who is shown on hold."""
        return self._on_hold

    def of(self, place: str) -> list[MediaAction]:
        """The actions in one place; the first has its turn."""
        return [action for action in self._actions if action.place == place]

    def next_deadline(self) -> float | None:
        """When `advance` is due."""
        return min((action.deadline for action in self._actions if action.deadline is not None), default=None)

    # requests ---------------------------------------------------------------------------------------------------

    def ask(self, action: MediaAction, now: float, *, interrupt: bool = False) -> None:
        """Let it wait for its turn. An interrupting one cancels what runs and waits in its place, of all apps.

        CallError `media_busy` on a sub leg that is taken; `media_state` when too many of this app wait.
        """
        others = self.of(action.place)
        if interrupt:
            self._end_all(others, "media_canceled")
        elif others and action.place == SUB:
            raise CallError("media_busy")
        elif action.cancelable and len(self._cancelable(action.connection)) >= MOST_ACTIONS:
            raise CallError("media_state", f"{MOST_ACTIONS} actions wait already; cancel them, or wait for their end.")
        action.outbox = self._outbox
        self._actions.append(action)
        action.accept()
        self._go_on(now)

    def refuse_if_sub_leg_is_taken(self) -> None:
        """CallError `media_busy` for what excludes the actions there, and does not take its place itself."""
        if self.of(SUB):
            raise CallError("media_busy")

    def cancel(self, connection: Connection, now: float) -> None:
        """End what this app plays and recognises, running and queued (§3.9, cancelAllMediaOperations)."""
        self._end_all(self._cancelable(connection), "media_canceled")
        self._go_on(now)

    def end(self, action: MediaAction, outcome: str, now: float | None) -> None:
        """End one."""
        self._end_all([action], outcome)
        self._go_on(now)

    # facts ------------------------------------------------------------------------------------------------------

    def prompt_ready(self, action_id: str, now: float) -> None:
        """Its sound is there: it starts, or waits for its turn."""
        action = self._find(action_id)
        if action is not None and action.phase == "loading":
            action.phase = "ready"
            self._go_on(now)

    def prompt_failed(self, action_id: str, outcome: str, detail: str, index: int | None, now: float) -> None:
        """It cannot be played: the action fails before or in its turn, and holds up nobody."""
        action = self._find(action_id)
        if action is not None and action.phase in ("loading", "ready", "prompting"):
            action.phase = "running"
            self._actions.remove(action)
            action.stop()
            action.tell_unplayable(outcome, detail, index)
            self._go_on(now)

    def prompt_ended(self, action_id: str, now: float) -> None:
        """It was heard to its end."""
        action = self._find(action_id)
        if action is not None and action.phase == "prompting":
            action.phase = "running"
            self._outcomes([action], lambda each: each.prompt_ended(now), now)

    def pressed(self, leg_id: str, key: str, now: float) -> None:
        """A participant pressed a key: it counts for whoever has the turn."""
        self._outcomes(self._in_turn(), lambda each: each.pressed(leg_id, key, now), now)

    def key_sent(self, leg_id: str, now: float) -> None:
        """A leg has played a key."""
        self._outcomes(self._in_turn(), lambda each: each.key_sent(leg_id, now), now)

    def speech(self, action_id: str, fact: Callable[[MediaAction], str], now: float) -> None:
        """Something was heard, or cannot be."""
        action = self._find(action_id)
        if action is not None and action in self._in_turn():
            self._outcomes([action], fact, now)

    def left(self, leg_id: str, present: frozenset[str], *, over: bool) -> None:
        """A participant is gone. `over`: so is the call, and nothing more has its turn."""
        self._on_hold &= present
        for action in list(self._actions):
            if outcome := action.left(leg_id, present):
                self._end_all([action], outcome, NOBODY if outcome == "media_canceled" else "")
        if not over:
            self._go_on(None)

    def dropped(self, connection: Connection) -> None:
        """An app's hold on the call ends."""
        self._end_all([action for action in self._actions if action.connection is connection], "media_canceled")
        self._go_on(None)

    def close(self, outcome: str) -> None:
        """The call ends; nothing has its turn any more."""
        self._on_hold = frozenset()
        self._end_all(self._actions, "play_shut_down" if outcome == "service_stopping" else "media_canceled")

    def advance(self, now: float) -> None:
        """Time has come to `now`."""
        while due := [each for each in self._actions if each.deadline is not None and each.deadline <= now]:
            self._outcomes(due, lambda each: each.time_out(now), now)

    # inside -----------------------------------------------------------------------------------------------------

    def _find(self, action_id: str) -> MediaAction | None:
        return next((action for action in self._actions if action.action_id == action_id), None)

    def _cancelable(self, connection: Connection) -> list[MediaAction]:
        return [action for action in self._actions if action.connection is connection and action.cancelable]

    def _in_turn(self) -> list[MediaAction]:
        return [action for action in self._actions if action.phase in ("prompting", "running")]

    def _outcomes(self, actions: Iterable[MediaAction], fact: Callable[[MediaAction], str], now: float) -> None:
        """Tell them of a fact, end those that it ends, and let the next ones have their turn."""
        for action in list(actions):
            if outcome := fact(action):
                self._end_all([action], outcome)
        self._go_on(now)

    def _end_all(self, actions: Iterable[MediaAction], outcome: str, detail: str = "") -> None:
        for action in list(actions):
            self._actions.remove(action)
            action.drop_prompt()
            action.stop()
            action.tell(outcome, detail)

    def _go_on(self, now: float | None) -> None:
        """In each place the first action has its turn, once its sound is loaded, and that of the next one loads."""
        for place in dict.fromkeys(action.place for action in self._actions):
            due = self.of(place)[:LOADED]
            if due[0].phase == "ready":
                due[0].start(now)
            for action in due:
                if action.phase == "asked":
                    action.load()
        on_hold = frozenset().union(*(action.on_hold for action in self._actions))
        if on_hold != self._on_hold:
            self._on_hold = on_hold
            self._changed()
