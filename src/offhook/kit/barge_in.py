"""Barge-in: the turns of all speakers and the queue of what the app says, tied together. No I/O but `understand`.

Owns the order: the first sound that may be speech holds the queue; then it is cut, and the agent hears of it, or it
goes on. What is played meanwhile waits behind. When the queue is stopped by somebody else, the hold is void.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import structs

from offhook.audio.pcm import PTIME_MS, from_bytes
from offhook.kit.backchannel import LIKELY_AGREES, agreement, only_agrees
from offhook.kit.loading import Load
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
    TurnTaking,
)

log: Final = logging.getLogger("offhook.kit")

SPEAKERS_MOST: Final = 8
"""People of an unmixed stream whose turns are followed; who comes later is heard, but does not interrupt, until one of
them has been gone for `_GONE` ticks."""
_WAIT_MOST: Final = 100  # frames of a speaker that wait for the detector
_HEARD_MOST: Final = 64
_ABSENT: Final = 10  # ticks after which who holds the app and sends nothing is silent
_GONE: Final = 500


class BargeIn:
    """Of one call. `tell` gets each event; `send` says that the session has something to send.

    `load` gives the turns of each speaker when their first frame comes; what they say until those are there waits.
    """

    def __init__(
        self,
        queue: PlayQueue,
        settings: TurnTaking,
        tell: Callable[[TurnEvent], None],
        send: Callable[[], None],
        load: Load,
    ) -> None:
        self._load = load
        self._queue = queue
        self._settings = settings
        self._tell = tell
        self._send = send
        self._speakers: dict[str | None, Turns] = {}
        self._waiting: dict[str | None, deque[tuple[bytes, bytes, bool]]] = {}  # of those whose turns are loaded
        self._behind = 0  # frames that are still to be fed of who waited
        self._own = b""
        self._heard_by: set[str | None] = set()  # speakers whose frame of this tick has come
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
        self._follow(speaker, pcm)
        if self._queue.held and not any(each.holding for each in self._speakers.values()):
            self._queue.resume()  # what was held has been heard to its end, or stopped
            self._send()

    def _tick(self) -> None:
        """20 ms are over. Who has left while the app is held for them is silent, or it would be held for ever."""
        self._own = self._queue.take_heard()
        for who, turns in self._speakers.items():
            self._absent[who] = 0 if who in self._heard_by else self._absent.get(who, 0) + 1
            if turns.holding and self._absent[who] >= _ABSENT:
                self._feed(turns, bytes(self._queue.rate // 25), None, self._playing())
        self._heard_by.clear()

    def _playing(self) -> bool:
        current = self._queue.current
        return current is not None and current.interruptible and (self._queue.held or self._queue.speaking)

    def _follow(self, speaker: str | None, pcm: bytes) -> None:
        turns = self._speakers.get(speaker)
        if turns is not None:
            self._feed(turns, pcm, self._own, self._playing())
            return
        frame = (pcm, self._own, self._playing())
        if speaker in self._waiting:
            self._waiting[speaker].append(frame)
            return
        if len(self._speakers) + len(self._waiting) >= SPEAKERS_MOST:
            self._forget()
        if len(self._speakers) + len(self._waiting) < SPEAKERS_MOST:
            self._waiting[speaker] = deque([frame], _WAIT_MOST)
            self._load(lambda loaded: self._loaded(speaker, loaded))

    def _loaded(self, speaker: str | None, turns: Turns) -> None:
        if self._closed:
            turns.close()
            return
        self._speakers[speaker] = turns
        waiting = self._waiting.pop(speaker)
        self._behind = len(waiting)
        for pcm, own, playing in waiting:
            self._behind -= 1
            self._feed(turns, pcm, own, playing and self._playing())

    def _feed(self, turns: Turns, pcm: bytes, own: bytes | None, playing: bool) -> None:
        for step in turns.feed(pcm, own, playing):
            self._take(step, turns)

    def close(self) -> None:
        """No more is heard: what is still being understood does not matter any more, and nothing stays held."""
        self._closed = True
        for task in self._asking.values():
            task.cancel()
        for turns in self._speakers.values():
            turns.close()
        if self._queue.held:
            self._queue.resume()
            self._send()

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
            before = self._queue.stream_ms - self._behind * PTIME_MS - turns.fed_ms
            self._tell(structs.replace(step, at_ms=step.at_ms + before))
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
