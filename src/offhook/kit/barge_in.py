"""Barge-in: the turns of all speakers and the queue of what the app says, tied together. No I/O but `understand`.

Owns the order: the first sound that may be speech holds the queue; then it is cut, and the agent hears of it, or it
goes on. What is played meanwhile waits behind. When the queue is stopped by somebody else, the hold is void.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import structs

from offhook.audio.pcm import from_bytes
from offhook.kit.backchannel import LIKELY_AGREES, agreement, only_agrees
from offhook.kit.playback import PlayQueue
from offhook.kit.turns import (
    Cut,
    Doubt,
    Hold,
    Interrupted,
    Resume,
    Resumed,
    SpeechEnded,
    SpeechStarted,
    Step,
    TurnEvent,
    Turns,
)

log: Final = logging.getLogger("offhook.kit")

SPEAKERS_MOST: Final = 8
"""People of an unmixed stream whose turns are followed; who comes later is heard, but does not interrupt, until one of
them has been gone for `_GONE` ticks."""
_HEARD_MOST: Final = 64
_ABSENT: Final = 10  # ticks after which who holds the app and sends nothing is silent
_GONE: Final = 500


class BargeIn:
    """Of one call. `tell` gets each event; `send` says that the session has something to send.

    `first` follows who is heard first; for others of an unmixed stream `another` makes more, in a thread (it may load a
    model for 50 ms), and what they say until then is not followed.
    """

    def __init__(
        self,
        queue: PlayQueue,
        first: Turns,
        tell: Callable[[TurnEvent], None],
        send: Callable[[], None],
        another: Callable[[], Turns] | None = None,
    ) -> None:
        self._another = another or (lambda: Turns(first.settings, queue.rate))
        self._queue = queue
        self._settings = first.settings
        self._tell = tell
        self._send = send
        self._spare: Turns | None = first
        self._speakers: dict[str | None, Turns] = {}
        self._own = b""
        self._heard_by: set[str | None] = set()  # speakers whose frame of this tick has come
        self._making: dict[str | None, asyncio.Task[None]] = {}
        self._absent: dict[str | None, int] = {}  # for how many ticks nothing has come of a speaker
        self._asking: dict[Turns, asyncio.Task[None]] = {}
        self._closed = False

    def hear(self, pcm: bytes, speaker: str | None = None) -> None:
        """20 ms of a speaker at the stream's rate; of each tick one frame a speaker."""
        if self._closed:
            return
        self._queue.advance()
        if not self._heard_by or speaker in self._heard_by or len(self._heard_by) >= _HEARD_MOST:
            self._tick()
        self._heard_by.add(speaker)
        turns = self._turns_of(speaker)
        if turns is not None:
            self._feed(turns, pcm, self._own)
        if self._queue.held and not any(each.holding for each in self._speakers.values()):
            self._queue.resume()  # what was held has been heard to its end, or stopped
            self._send()

    def _tick(self) -> None:
        """20 ms are over. Who has left while the app is held for them is silent, or it would be held for ever."""
        self._own = self._queue.take_heard()
        for who, turns in self._speakers.items():
            self._absent[who] = 0 if who in self._heard_by else self._absent.get(who, 0) + 1
            if turns.holding and self._absent[who] >= _ABSENT:
                self._feed(turns, bytes(self._queue.rate // 25), None)
        self._heard_by.clear()

    def _feed(self, turns: Turns, pcm: bytes, own: bytes | None) -> None:
        current = self._queue.current
        playing = current is not None and current.interruptible and (self._queue.held or self._queue.speaking)
        for step in turns.feed(pcm, own, playing):
            self._take(step, turns)

    def close(self) -> None:
        """No more is heard: what is still being understood does not matter any more, and nothing stays held."""
        self._closed = True
        for task in self._asking.values():
            task.cancel()
        for turns in self._speakers.values():
            turns.close()
        if self._spare is not None:
            self._spare.close()
        if self._queue.held:
            self._queue.resume()
            self._send()

    def _turns_of(self, speaker: str | None) -> Turns | None:
        turns = self._speakers.get(speaker)
        if turns is not None or speaker in self._making:
            return turns
        if len(self._speakers) + len(self._making) >= SPEAKERS_MOST:
            self._forget()
        if len(self._speakers) + len(self._making) < SPEAKERS_MOST:
            turns, self._spare = self._spare, None
            if turns is not None:
                self._speakers[speaker] = turns
            else:
                self._making[speaker] = asyncio.get_running_loop().create_task(self._make(speaker))
        return turns

    async def _make(self, speaker: str | None) -> None:
        try:
            turns = await asyncio.to_thread(self._another)
        except Exception:
            log.exception("the turns of speaker %s cannot be followed", speaker)
            return  # it stays among those that are being made, and is not tried again
        del self._making[speaker]
        if self._closed:
            turns.close()
        else:
            self._speakers[speaker] = turns

    def _forget(self) -> None:
        """Make room: who has been gone for longest is not followed any more."""
        if not self._speakers:
            return
        who = max(self._speakers, key=lambda one: self._absent.get(one, 0))
        if self._absent.get(who, 0) >= _GONE:
            turns = self._speakers.pop(who)
            del self._absent[who]
            if turns in self._asking:
                self._asking.pop(turns).cancel()
            turns.close()

    def _take(self, step: Step, turns: Turns) -> None:
        if isinstance(step, SpeechStarted | SpeechEnded):
            # Who came later, or was not listened to at first, has fewer frames than the stream.
            self._tell(structs.replace(step, at_ms=step.at_ms + self._queue.stream_ms - turns.fed_ms))
        elif isinstance(step, Hold):
            self._queue.hold()
            self._send()
        elif isinstance(step, Resume):
            self._resume()
        elif isinstance(step, Cut):
            self.cut()
        elif isinstance(step, Doubt):
            self._ask(step, turns)

    def _resume(self) -> None:
        if self._queue.held and not any(turns.holding for turns in self._speakers.values()):
            self._tell(Resumed(self._queue.resume()))
            self._send()

    def cut(self) -> None:
        """It was speech, whoever noticed: what may be cut is, and it is told."""
        dropped = self._queue.cut(also_protected=False)
        self._send()
        if dropped:
            self._tell(Interrupted(dropped[0].heard_ms))

    def _ask(self, doubt: Doubt, turns: Turns) -> None:
        assert self._settings.understand is not None
        if turns in self._asking:
            self._asking[turns].cancel()  # it took too long, and was decided without it
        task = asyncio.get_running_loop().create_task(self._understand(doubt, turns, self._settings.understand))
        self._asking[turns] = task

    async def _understand(self, doubt: Doubt, turns: Turns, understand: Callable[[bytes], Awaitable[str]]) -> None:
        try:
            text = await understand(doubt.pcm)
            agreed = only_agrees(text, self._settings.agreements)
        except Exception:
            log.exception("what the caller said while the app spoke could not be understood: its sound decides")
            agreed = agreement(from_bytes(doubt.pcm)) >= LIKELY_AGREES
        if not self._closed:
            for step in turns.decide(doubt.number, agreed):
                self._take(step, turns)
