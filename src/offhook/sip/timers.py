"""Deadlines of many owners in one heap: the pure rooms' only notion of waiting."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class Timer:
    """One deadline; `cancel` calls it off."""

    __slots__ = ("_fire",)

    def __init__(self, fire: Callable[[float], None]) -> None:
        self._fire: Callable[[float], None] | None = fire

    def cancel(self) -> None:
        """Call it off; nothing when it has fired."""
        self._fire = None

    @property
    def live(self) -> bool:
        """Whether it is still to fire."""
        return self._fire is not None

    def run(self, now: float) -> None:
        """Fire, once."""
        fire, self._fire = self._fire, None
        if fire is not None:
            fire(now)


class Timers:
    """All deadlines of an endpoint, in seconds of whatever clock its owner reads."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()

    def start(self, when: float, fire: Callable[[float], None]) -> Timer:
        """Fire at `when`, with the time at which it was looked at."""
        timer = Timer(fire)
        heapq.heappush(self._heap, (when, next(self._order), timer))
        return timer

    def next(self) -> float | None:
        """The first deadline; None without one."""
        while self._heap and not self._heap[0][2].live:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def advance(self, now: float) -> None:
        """Fire everything that is due, in its order."""
        while (first := self.next()) is not None and first <= now:
            heapq.heappop(self._heap)[2].run(now)
        if len(self._heap) > 64 and sum(timer.live for _, _, timer in self._heap) * 4 < len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].live]
            heapq.heapify(self._heap)
