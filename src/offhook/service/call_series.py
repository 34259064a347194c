"""CallSeries: figures of one call over time, read every 200 ms outside the tick.

Of each RTP leg the delay of its jitter buffer, and the packets lost and late in each step; of each stream the sound
that waits to be heard; of the clock how late its worst tick was. At `MOST_POINTS` every second point goes and the step
doubles: depths and queues are as they were at the step's end, packets are summed, lateness is the worst.
"""

from __future__ import annotations

from array import array
from typing import Any, Final

from offhook.audio.buffers import PlayoutBuffer
from offhook.audio.jitter import JitterBuffer

STEP: Final = 0.2
"""Seconds between two points, at first."""
MOST_POINTS: Final = 3000


class _Line:
    """Values of one kind from the `begin`-th point on; of two that become one `fold` says which."""

    __slots__ = ("begin", "summed", "values")

    def __init__(self, begin: int, code: str, *, summed: bool = False) -> None:
        self.begin = begin
        self.summed = summed
        self.values = array(code)

    def halve(self) -> None:
        """Two points become one."""
        values, odd = self.values, self.begin % 2
        self.begin //= 2
        kept = array(values.typecode, values[:1] if odd else ())
        for at in range(odd, len(values), 2):
            pair = values[at : at + 2]
            kept.append(min(sum(pair), 0xFFFF) if self.summed else max(pair))
        self.values = kept

    def fill(self, points: int) -> None:
        """Nothing was read for some points: as it was before, and no packets."""
        while self.begin + len(self.values) < points:
            self.values.append(0 if self.summed or not self.values else self.values[-1])

    def page(self, points: int) -> list[int | None]:
        """One value for each point; None where there was nothing to read."""
        rest = points - self.begin - len(self.values)
        return [*[None] * self.begin, *self.values, *[None] * rest]


class _Leg:
    """An RTP leg."""

    __slots__ = ("delay", "jitter", "late", "late_before", "lost", "lost_before")

    def __init__(self, jitter: JitterBuffer, begin: int) -> None:
        self.jitter = jitter
        self.lost_before, self.late_before = jitter.counters.lost, jitter.counters.late
        self.delay, self.lost, self.late = (
            _Line(begin, "H"),
            _Line(begin, "H", summed=True),
            _Line(begin, "H", summed=True),
        )

    @property
    def lines(self) -> tuple[_Line, _Line, _Line]:
        return self.delay, self.lost, self.late

    def look(self) -> None:
        counters = self.jitter.counters
        lost, late = counters.lost, counters.late
        self.delay.values.append(min(max(int(self.jitter.delay * 1000), 0), 0xFFFF))
        self.lost.values.append(min(lost - self.lost_before, 0xFFFF))
        self.late.values.append(min(late - self.late_before, 0xFFFF))
        self.lost_before, self.late_before = lost, late


class CallSeries:
    """The lines of one call. Times are monotonic seconds; `began` is when its first leg joined."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.step = STEP
        self._points = 0
        self._worst = 0.0
        self._clock = _Line(0, "H")
        self._legs: dict[str, _Leg] = {}
        self._streams: dict[str, tuple[PlayoutBuffer, int, _Line]] = {}
        self._live: list[_Leg] = []
        self._playing: list[tuple[PlayoutBuffer, int, _Line]] = []

    def add_leg(self, leg_id: str, jitter: JitterBuffer) -> None:
        """Read this leg from the next point on."""
        leg = self._legs.get(leg_id)
        if leg is None or leg.jitter is not jitter:
            leg = self._legs[leg_id] = _Leg(jitter, self._points)
        for line in leg.lines:
            line.fill(self._points)
        if leg not in self._live:
            self._live.append(leg)

    def drop_leg(self, leg_id: str) -> None:
        """It has left."""
        self._live = [leg for leg in self._live if leg is not self._legs.get(leg_id)]

    def playing(self, streams: dict[str, tuple[PlayoutBuffer, int]]) -> None:
        """The streams that there are now, by connection id, with their rates; called when that changed."""
        self._playing = []
        for connection_id, (playout, rate) in streams.items():
            known = self._streams.get(connection_id)
            line = _Line(self._points, "I") if known is None else known[2]
            line.fill(self._points)
            self._streams[connection_id] = (playout, rate, line)
            self._playing.append((playout, rate, line))

    def look(self, now: float, late: float) -> None:
        """Read everything, if a point is due; `late`: of the worst tick since the last look, in seconds."""
        if late > self._worst:
            self._worst = late
        due = int((now - self.began) / self.step + 1e-6) + 1
        if due <= self._points:
            return
        if due - self._points > 1:
            self._skip(min(due, MOST_POINTS) - 1)
        self._points += 1
        self._clock.values.append(min(int(self._worst * 1000), 0xFFFF))
        self._worst = 0.0
        for leg in self._live:
            leg.look()
        for playout, rate, line in self._playing:
            line.values.append(playout.queued_samples * 1000 // rate)
        if self._points >= MOST_POINTS:
            self._halve()

    def page(self, start_ms: float) -> dict[str, Any]:
        """As the console API gives it; `start_ms`: when `began` was, on the call's axis."""
        points = self._points
        legs = {
            leg_id: {
                "jitterMs": leg.delay.page(points),
                "lost": leg.lost.page(points),
                "late": leg.late.page(points),
            }
            for leg_id, leg in self._legs.items()
        }
        streams = {
            connection_id: {"queuedMs": line.page(points)} for connection_id, (_, _, line) in self._streams.items()
        }
        return {
            "stepMs": round(self.step * 1000),
            "startMs": round(start_ms, 1),
            "legs": legs,
            "streams": streams,
            "clock": {"lateMs": self._clock.page(points)},
        }

    def _lines(self) -> list[_Line]:
        legs = [line for leg in self._legs.values() for line in leg.lines]
        return [self._clock, *legs, *(line for _, _, line in self._streams.values())]

    def _skip(self, points: int) -> None:
        """Looks that did not come: what is read now is filled up to here, in the lines that go on."""
        self._points = points
        self._clock.fill(points)
        for leg in self._live:
            for line in leg.lines:
                line.fill(points)
        for _, _, line in self._playing:
            line.fill(points)

    def _halve(self) -> None:
        for line in self._lines():
            line.halve()
        self._points = -(-self._points // 2)
        self.step *= 2
