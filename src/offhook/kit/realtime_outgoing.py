"""What waits to be sent to a speech model: the caller's sound in chunks, and events in their order. No I/O.

A model that takes nothing for a while, or whose connection is being made again, finds the last seconds of sound.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Final

from offhook.kit.realtime_settings import MODEL_RATE, Event, append

log: Final = logging.getLogger("offhook.kit")

CHUNK_MS: Final = 40
"""Sound is sent in pieces of this length, or up to LONGEST_CHUNK_MS when more has come together."""
LONGEST_CHUNK_MS: Final = 100
SOUND_KEPT_MS: Final = 5_000
"""Sound that waits at most; then the oldest is dropped and counted."""
EVENTS_KEPT: Final = 1_000

_BYTES_A_MS: Final = MODEL_RATE * 2 // 1000


class Outgoing:
    """A queue with one taker. Sound and events keep their order; urgent events overtake both."""

    def __init__(self) -> None:
        self._urgent: deque[Event] = deque()
        self._line: deque[bytes | Event] = deque()
        self._sound = 0  # bytes of sound in the line
        self._events = 0
        self._woken = asyncio.Event()
        self.dropped_ms = 0.0
        """Sound that was dropped because the model was too slow."""

    def sound(self, pcm: bytes) -> None:
        """More of the caller, PCM16 at 24 kHz."""
        self._line.append(pcm)
        self._sound += len(pcm)
        while self._sound > SOUND_KEPT_MS * _BYTES_A_MS:
            self._drop_oldest()
        self._woken.set()

    def event(self, event: Event) -> None:
        """Behind all that waits. Beyond 1000 that the model does not take, it is dropped, and the log says so."""
        if self._events >= EVENTS_KEPT:
            log.error("%d events wait for the speech model: %s is dropped", EVENTS_KEPT, event.get("type"))
            return
        self._line.append(event)
        self._events += 1
        self._woken.set()

    def first(self, events: Sequence[Event]) -> None:
        """Before all that waits, sound included: what a new session begins with."""
        self._line.extendleft(reversed(events))
        self._events += len(events)
        self._woken.set()

    def urgent(self, event: Event) -> None:
        """Before all that waits, behind other urgent ones."""
        self._urgent.append(event)
        self._woken.set()

    def forget_events(self) -> None:
        """A session is lost: what was meant for it is void, sound stays."""
        self._urgent.clear()
        self._line = deque(part for part in self._line if isinstance(part, bytes))
        self._events = 0

    async def take(self) -> Event:
        """The next event to send; sound is one too. Waits until there is something."""
        while (event := self._next()) is None:
            self._woken.clear()
            await self._woken.wait()
        return event

    def _next(self) -> Event | None:
        if self._urgent:
            return self._urgent.popleft()
        if self._line and isinstance(self._line[0], dict):
            self._events -= 1
            first = self._line.popleft()
            assert isinstance(first, dict)
            return first
        # Less than a chunk waits for more, unless an event stands behind it.
        if self._sound < CHUNK_MS * _BYTES_A_MS and self._events == 0:
            return None
        parts: list[bytes] = []
        size = 0
        while self._line and isinstance(part := self._line[0], bytes):
            if parts and size + len(part) > LONGEST_CHUNK_MS * _BYTES_A_MS:
                break
            parts.append(part)
            size += len(part)
            self._line.popleft()
        self._sound -= size
        return append(b"".join(parts)) if parts else None

    def _drop_oldest(self) -> None:
        for index, part in enumerate(self._line):
            if isinstance(part, bytes):
                del self._line[index]
                self._sound -= len(part)
                self.dropped_ms += len(part) / _BYTES_A_MS
                return
