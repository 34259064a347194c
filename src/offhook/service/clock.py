"""Time: the one place that reads clocks and sleeps for media (architecture.md: an absolute 20 ms grid).

`MediaClock` wakes every 20 ms. Missed ticks, up to five, are made up at once; beyond that the grid slips and
`slips` counts it.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from typing import Protocol

from offhook.audio.pcm import PTIME_MS
from offhook.legs.leg import Pace

PTIME = PTIME_MS / 1000
MAKE_UP = 5
LATE = 0.010
LATENESS_BOUNDS = (0.001, 0.002, 0.005, 0.010, 0.020, 0.050, 0.100)


class Handle(Protocol):
    """Something planned that can be called off."""

    def cancel(self) -> None:
        """Call it off; nothing happens when it already ran."""


class Clock(Protocol):
    """Seconds, and the running of a callback at a time."""

    def monotonic(self) -> float:
        """Seconds that never jump, for durations and deadlines."""

    def wall(self) -> float:
        """Unix seconds, for time stamps."""

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        """Run a callback at a monotonic time."""


class SystemClock:
    """The machine's clocks and the running loop's timers."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def monotonic(self) -> float:
        """See `Clock`."""
        return time.monotonic()

    def wall(self) -> float:
        """See `Clock`."""
        return time.time()

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        """See `Clock`; the delay is reckoned afresh because uvloop's own clock counts whole milliseconds."""
        return self._loop.call_later(max(when - time.monotonic(), 0.0), callback)


class ManualClock:
    """A clock that moves when told to: an hour of call runs in seconds."""

    def __init__(self, start: float = 1000.0, wall: float = 1_700_000_000.0) -> None:
        self._now = start
        self._offset = wall - start
        self._order = itertools.count()
        self._planned: list[tuple[float, int, _Planned]] = []

    def monotonic(self) -> float:
        """See `Clock`."""
        return self._now

    def wall(self) -> float:
        """See `Clock`."""
        return self._now + self._offset

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        """See `Clock`."""
        planned = _Planned(callback)
        heapq.heappush(self._planned, (when, next(self._order), planned))
        return planned

    def advance(self, seconds: float) -> None:
        """Move on, running what falls due in its order."""
        end = self._now + seconds
        while self._planned and self._planned[0][0] <= end + 1e-9:
            when, _, planned = heapq.heappop(self._planned)
            self._now = max(self._now, when)
            planned.run()
        self._now = end


class _Planned:
    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    def run(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()

    def cancel(self) -> None:
        self._callback = None


class MediaClock:
    """Calls `tick` once for every 20 ms of the grid; figures of its own lateness in seconds."""

    def __init__(self, clock: Clock, tick: Callable[[], None], pace: Pace) -> None:
        self._clock = clock
        self._tick = tick
        self._pace = pace
        self._handle: Handle | None = None
        self._next = 0.0
        self.ticks = 0
        self.slips = 0
        self.place = 0
        """Frames of the grid that are over, those that it slipped too: in a tick, that of the tick."""
        self.made_up = 0
        self.busy = 0.0
        self.worst_lateness = 0.0
        self.worst_of_late = 0.0
        """As `worst_lateness`, since whoever watches set it to 0."""
        self.lateness = [0] * (len(LATENESS_BOUNDS) + 1)

    @property
    def running(self) -> bool:
        """Whether the grid is being kept."""
        return self._handle is not None

    @property
    def next_tick(self) -> float:
        """When the next tick is due, or would be if the grid began now."""
        return self._clock.monotonic() + PTIME if self._handle is None else self._next

    def start(self) -> None:
        """Begin a grid; the first tick is one ptime from now."""
        if self._handle is None:
            self._next = self._clock.monotonic() + PTIME
            self._handle = self._clock.call_at(self._next, self._wake)

    def stop(self) -> None:
        """Leave the grid; a later `start` begins another."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _wake(self) -> None:
        began = now = self._clock.monotonic()
        due = int((now - self._next) / PTIME + 1e-6) + 1
        if due > MAKE_UP:
            self.slips += due - MAKE_UP
            self.place += due - MAKE_UP
            self._next += (due - MAKE_UP) * PTIME
            due = MAKE_UP
        self.made_up += max(due - 1, 0)
        mine = self._handle
        try:
            for _ in range(due):
                late = now - self._next
                self._pace.late = late > LATE
                self._count(late)
                self._next += PTIME
                self.ticks += 1
                try:
                    self._tick()
                finally:
                    self.place += 1
                if self._handle is not mine:
                    return  # stopped inside the tick, and perhaps started again: that grid has its own wake
        finally:
            self.busy += self._clock.monotonic() - began
            if self._handle is mine:
                # Even when a tick raised: one mistake must not stop the calls of all others.
                self._handle = self._clock.call_at(self._next, self._wake)

    def _count(self, late: float) -> None:
        if late > self.worst_of_late:
            self.worst_of_late = late
            self.worst_lateness = max(late, self.worst_lateness)
        for index, bound in enumerate(LATENESS_BOUNDS):
            if late < bound:
                self.lateness[index] += 1
                return
        self.lateness[-1] += 1
