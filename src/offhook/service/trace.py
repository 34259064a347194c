"""The timeline of each call on one clock: what the console shows and the demo draws.

Bounds: 2,000 events a call (the newest are dropped and counted), the last 200 calls.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from offhook.service.clock import Clock

MAX_EVENTS = 2000
MAX_CALLS = 200
MAX_CONNECTIONS = 256  # of one call; apps may come and go in a group


@dataclass(slots=True)
class CallTrace:
    """What happened in one call. Times are monotonic seconds inside, milliseconds from the answer outside."""

    call_id: str
    began: float
    began_wall: float
    answered: float | None = None
    rate: int | None = None
    connection_ids: list[str] = field(default_factory=list)
    events: list[tuple[float, str, str, dict[str, Any]]] = field(default_factory=list)
    dropped: int = 0
    ended: bool = False

    def note(self, now: float, kind: str, name: str, detail: dict[str, Any]) -> None:
        """Add an event; beyond the bound it is only counted."""
        if len(self.events) < MAX_EVENTS:
            self.events.append((now, kind, name, detail))
        else:
            self.dropped += 1

    def page(self) -> dict[str, Any]:
        """The trace as the console API gives it."""
        zero = self.began if self.answered is None else self.answered
        offset = self.began_wall - self.began
        return {
            "callId": self.call_id,
            "callConnectionId": self.connection_ids[0] if self.connection_ids else None,
            "callConnectionIds": self.connection_ids,
            "rate": self.rate,
            "ended": self.ended,
            "startedAt": _iso(self.began_wall),
            "answeredAt": None if self.answered is None else _iso(self.answered + offset),
            "events": [
                {"atMs": round((at - zero) * 1000, 1), "kind": kind, "name": name, "detail": detail}
                for at, kind, name, detail in self.events
            ],
            "droppedEvents": self.dropped,
        }


class Traces:
    """The traces of one node, found by call id or by call connection id."""

    def __init__(self, clock: Clock, listener: Callable[[CallTrace, str, str, dict[str, Any]], None]) -> None:
        self._clock = clock
        self._listener = listener
        self._calls: OrderedDict[str, CallTrace] = OrderedDict()
        self._connections: dict[str, CallTrace] = {}

    def begin(self, call_id: str) -> CallTrace:
        """Start the trace of a call; the oldest ended one makes room."""
        trace = CallTrace(call_id, self._clock.monotonic(), self._clock.wall())
        self._calls[call_id] = trace
        while len(self._calls) > MAX_CALLS and self._forget():
            pass
        return trace

    def connect(self, trace: CallTrace, connection_id: str) -> None:
        """Make the trace findable by a call connection id."""
        trace.connection_ids.append(connection_id)
        self._connections[connection_id] = trace
        if len(trace.connection_ids) > MAX_CONNECTIONS:
            self._connections.pop(trace.connection_ids.pop(0), None)

    def find(self, any_id: str) -> CallTrace | None:
        """The trace of a call or call connection id."""
        return self._calls.get(any_id) or self._connections.get(any_id)

    def note(self, trace: CallTrace, kind: str, name: str, **detail: Any) -> None:
        """Add an event now, and tell who listens."""
        trace.note(self._clock.monotonic(), kind, name, detail)
        self._listener(trace, kind, name, detail)

    def pages(self) -> list[dict[str, Any]]:
        """A short row for each call, newest first."""
        return [
            {
                "callId": trace.call_id,
                "callConnectionId": trace.connection_ids[0] if trace.connection_ids else None,
                "startedAt": _iso(trace.began_wall),
                "ended": trace.ended,
                "events": len(trace.events),
            }
            for trace in reversed(self._calls.values())
        ]

    def _forget(self) -> bool:
        """Drop the oldest ended call; live ones stay. Whether there was one."""
        for call_id, trace in self._calls.items():
            if trace.ended:
                del self._calls[call_id]
                for connection_id in trace.connection_ids:
                    self._connections.pop(connection_id, None)
                return True
        return False


def _iso(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
