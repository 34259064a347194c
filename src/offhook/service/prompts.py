"""Prompts: what one call plays, from the fetch to the last frame on its bridge (architecture.md; protocol.md §3.9).

People hear prompts; the streams of apps do not, as they do not hear the app's own audio (protocol.md §9 row 9).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from offhook.audio.bridge import Bridge, Member, Port
from offhook.audio.prompt import PromptPort
from offhook.audio.sound import Sound
from offhook.calls.actions import DropPrompt, LoadPrompt, StartPrompt
from offhook.errors import PromptError
from offhook.service.clock import Clock
from offhook.service.sounds import Loaded, Loader


class PromptOwner(Protocol):
    """Who is told what became of a prompt; each is called on the loop, outside ticks."""

    def prompt_ready(self, connection_id: str, prompt_id: str) -> None:
        """It is loaded."""

    def prompt_failed(self, connection_id: str, prompt_id: str, error: PromptError) -> None:
        """It cannot be loaded, or played on."""

    def prompt_ended(self, connection_id: str, prompt_id: str) -> None:
        """Its last frame has been heard."""


@dataclass(slots=True)
class _Playing:
    connection_id: str
    port: PromptPort
    member: Member
    to: frozenset[str] | None


class Prompts:
    """The prompts of one call, by id. What comes late of a prompt that was dropped is not told."""

    def __init__(self, bridge: Bridge, clock: Clock, owner: PromptOwner) -> None:
        self._bridge = bridge
        self._clock = clock
        self._owner = owner
        self._loads: dict[str, Callable[[], None]] = {}
        """What lets go of each, from its load to its end."""
        self._loaded: dict[str, Sound] = {}
        self._playing: dict[str, _Playing] = {}

    def load(self, action: LoadPrompt, loader: Loader) -> None:
        """Fetch, decode and speak at the bridge's rate; the owner hears how it went, and if it breaks off later."""
        connection_id, prompt_id = action.connection_id, action.prompt_id

        def done(loaded: Loaded) -> None:
            if prompt_id not in self._loads:
                return
            if isinstance(loaded, PromptError):
                self._let_go(prompt_id)
                self._owner.prompt_failed(connection_id, prompt_id, loaded)
            else:
                self._loaded[prompt_id] = loaded
                loaded.listen(partial(self._grown, connection_id, prompt_id, loaded))
                self._owner.prompt_ready(connection_id, prompt_id)
                self._grown(connection_id, prompt_id, loaded)  # it may have broken off on its way here

        self._loads[prompt_id] = loader.load(action.sources, self._bridge.rate, done)

    def start(self, action: StartPrompt) -> None:
        """Seat it on the bridge: it is heard from the next tick on."""
        prompt_id = action.prompt_id
        port = PromptPort(
            self._loaded.pop(prompt_id),
            self._bridge.rate,
            loop=action.loop,
            ended=partial(self._after_tick, partial(self._over, prompt_id)),
        )
        playing = _Playing(action.connection_id, port, self._bridge.add(port, listens=False), action.to)
        self._playing[prompt_id] = playing
        self._bridge.set_audience(playing.member, self._audience(action.to))

    def drop(self, action: DropPrompt) -> None:
        """Cut it: a ramp in the next frame at most, or nothing where it was not heard yet."""
        self._let_go(action.prompt_id)
        playing = self._playing.get(action.prompt_id)
        if playing is not None:
            playing.port.stop()

    def reseat(self) -> None:
        """Somebody took a seat: who hears what is worked out anew."""
        for playing in self._playing.values():
            self._bridge.set_audience(playing.member, self._audience(playing.to))

    def failed(self, port: Port, error: Exception) -> bool:
        """A port raised inside a tick, if it is one of ours: its play has failed."""
        for prompt_id, playing in list(self._playing.items()):
            if playing.port is port:
                del self._playing[prompt_id]
                self._let_go(prompt_id)
                told = PromptError("play_failed", f"{type(error).__name__}: {error}")
                self._after_tick(partial(self._owner.prompt_failed, playing.connection_id, prompt_id, told))
                return True
        return False

    def close(self) -> None:
        """The call is over, and has dropped its prompts: let go of those that were not read to their end."""
        self._playing.clear()
        for prompt_id in list(self._loads):
            self._let_go(prompt_id)

    # inside -----------------------------------------------------------------------------------------------------

    def _audience(self, to: frozenset[str] | None) -> frozenset[Member]:
        """The people (only they have a label) among those who are to hear it; on hold, only who is named."""
        people = [member for member in self._bridge.members if member.label is not None]
        return frozenset(m for m in people if (not m.held if to is None else m.label in to))

    def _let_go(self, prompt_id: str) -> None:
        """Nobody will hear more of it than its port has: what makes it may stop."""
        self._loaded.pop(prompt_id, None)
        let_go = self._loads.pop(prompt_id, None)
        if let_go is not None:
            let_go()

    def _grown(self, connection_id: str, prompt_id: str, sound: Sound) -> None:
        """More of a sound is there, or no more will come: if it broke off, so does the play."""
        if isinstance(sound.error, PromptError) and prompt_id in self._loads:
            self.drop(DropPrompt(prompt_id))
            self._owner.prompt_failed(connection_id, prompt_id, sound.error)

    def _after_tick(self, act: Callable[[], None]) -> None:
        self._clock.call_at(self._clock.monotonic(), act)

    def _over(self, prompt_id: str) -> None:
        playing = self._playing.pop(prompt_id, None)
        if playing is not None:
            self._let_go(prompt_id)
            self._bridge.remove(playing.port)
            self._owner.prompt_ended(playing.connection_id, prompt_id)
