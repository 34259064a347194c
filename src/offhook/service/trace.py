"""The timeline of each call on one clock: what the console shows, the history keeps and the demo draws (docs/trace.md).

Bounds: 2,000 events and 4 MiB of detail a call (the newest are dropped and counted by kind, but `share` keeps room for
what matters most); of calls that are over, the last 200 and 64 MiB. Noting costs a few microseconds: nothing is encoded
before somebody looks.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from offhook.service.clock import Clock
from offhook.service.masking import plain, weight

MAX_EVENTS = 2000
MAX_DETAIL = 4 * 1024 * 1024
MAX_CALLS = 200
MAX_ENDED_DETAIL = 64 * 1024 * 1024
MAX_CONNECTIONS = 256  # of one call; apps may come and go in a group
MAX_LEGS = 512

_ORDINARY, _RARE, _ENDS = 0.8, 0.95, 1.0
_SHARES = {"call": _RARE, "leg": _RARE, "callback": _RARE, "stopAudio": _RARE}
_END_NAMES = frozenset(
    ("ended", "refused", "failed", "hung up", "figures", "closed", "closed by the app", "BYE", "200 BYE", "CANCEL",
     "HangupCall", "TerminateCall", "CallDisconnected", "CreateCallFailed", "AnswerFailed", "ConnectFailed",
     "media failed")
)  # fmt: skip
QUIET = frozenset({"sip", "browser", "mark", "late"})
"""Kinds of which a node does not tell on its output: there are many of them."""

Heard = Callable[[str, dict[str, Any] | None], None]
"""Told of each event of a call: its seq, kind and name; None: the call's row has changed."""


def share(kind: str, name: str) -> float:
    """The part of a call's bounds that an event may find full: what comes in masses leaves room for what is rare, and
    that for how the call ends."""
    return _ENDS if name in _END_NAMES else _SHARES.get(kind, _ORDINARY)


class Event(NamedTuple):
    """Something that happened. `at`: monotonic seconds; `seq` counts from 1 in each call."""

    seq: int
    at: float
    kind: str
    name: str
    detail: dict[str, Any]


@dataclass(slots=True)
class LegRow:
    """One leg of a call; monotonic seconds. `number`: from 1, in the order in which legs came to the call."""

    leg_id: str
    number: int
    raw_id: str
    kind: str
    display_name: str = ""
    joined: float | None = None
    left: float | None = None
    audio: list[dict[str, Any]] = field(default_factory=list)
    """What is kept of its sound: `{side, beginMs, rate, samples}`."""


@dataclass(slots=True)
class About:
    """What is known of a call from its first moment."""

    server_call_id: str = ""
    correlation_id: str = ""
    direction: str = "incoming"
    from_id: str = ""
    from_name: str = ""
    to_id: str = ""


@dataclass(slots=True)
class CallTrace:
    """What happened in one call. Times are monotonic seconds inside, milliseconds from the answer outside."""

    call_id: str
    began: float
    began_wall: float
    about: About = field(default_factory=About)
    answered: float | None = None
    rate: int | None = None
    connection_ids: list[str] = field(default_factory=list)
    legs: dict[str, LegRow] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    size: int = 0
    ended: bool = False
    ended_at: float | None = None
    ended_by: str | None = None
    result: dict[str, Any] | None = None

    def note(self, now: float, kind: str, name: str, detail: dict[str, Any]) -> Event | None:
        """Add an event; beyond its share of the bounds it is only counted, and None is given back."""
        size, part = self.size + weight(detail), share(kind, name)
        if len(self.events) >= MAX_EVENTS * part or size > MAX_DETAIL * part:
            self.dropped[kind] += 1
            return None
        event = Event(len(self.events) + 1, now, kind, name, detail)
        self.events.append(event)
        self.size = size
        return event

    @property
    def state(self) -> str:
        """ringing, connected or ended."""
        return "ended" if self.ended else "ringing" if self.answered is None else "connected"

    @property
    def words(self) -> str:
        """What a query is looked for in."""
        about = self.about
        parts = (self.call_id, *self.connection_ids[:1], about.from_id, about.from_name, about.to_id)
        return " ".join(filter(None, parts)).casefold()

    def header(self) -> dict[str, Any]:
        """The call as the console API gives it, without its events."""
        about, answered, ended = self.about, self.answered, self.ended_at
        return {
            "callId": self.call_id,
            "serverCallId": about.server_call_id,
            "correlationId": about.correlation_id,
            "callConnectionId": self.connection_ids[0] if self.connection_ids else None,
            "callConnectionIds": list(self.connection_ids),
            "direction": about.direction,
            "from": {"rawId": about.from_id, "displayName": about.from_name},
            "to": {"rawId": about.to_id},
            "state": self.state,
            "ended": self.ended,
            "startedAt": self._iso(self.began),
            "answeredAt": None if answered is None else self._iso(answered),
            "endedAt": None if ended is None else self._iso(ended),
            "endedBy": self.ended_by if self.ended else None,
            "result": self.result if self.ended else None,
            "rate": self.rate,
            "interrupted": False,
            "imported": False,
            "answeredMs": None if answered is None else self.since(answered),
            "legs": [self._leg(leg) for leg in list(self.legs.values())],
            "eventCount": len(self.events),
            "droppedEvents": sum(self.dropped.values()),
            "droppedByKind": dict(self.dropped),
        }

    def page(self) -> dict[str, Any]:
        """The trace as the console API gives it: events in the order of their times."""
        events = [self.shown(event) for event in self.events]
        return {**self.header(), "events": sorted(events, key=lambda event: float(event["atMs"]))}

    def row(self) -> dict[str, Any]:
        """The call as a line of a list."""
        return row_of(self.header())

    def shown(self, event: Event) -> dict[str, Any]:
        """An event as the page has it."""
        return event_page(self.kept(event), 0.0 if self.answered is None else self.since(self.answered))

    def kept(self, event: Event) -> dict[str, Any]:
        """An event as it is written down: `sinceMs` counts from the call's start, for its answer may be to come."""
        detail = plain(event.detail)
        return {
            "seq": event.seq,
            "sinceMs": self.since(event.at),
            "kind": event.kind,
            "name": event.name,
            "leg": detail.get("leg"),
            "connection": detail.get("connection"),
            "detail": detail,
        }

    def since(self, at: float) -> float:
        """Milliseconds since the call began."""
        return round((at - self.began) * 1000, 3)

    def from_answer(self, at: float | None) -> float | None:
        """Milliseconds from the answer, or from the start when there was none; None for no time."""
        if at is None:
            return None
        return round(self.since(at) - (0.0 if self.answered is None else self.since(self.answered)), 1)

    def _leg(self, leg: LegRow) -> dict[str, Any]:
        return {
            "legId": leg.leg_id,
            "number": leg.number,
            "rawId": leg.raw_id,
            "displayName": leg.display_name,
            "kind": leg.kind,
            "joinedMs": self.from_answer(leg.joined),
            "leftMs": self.from_answer(leg.left),
            "audio": leg.audio,
        }

    def _iso(self, at: float) -> str:
        return iso(self.began_wall + at - self.began)


class Traces:
    """The traces of one node, found by call id or by call connection id."""

    def __init__(self, clock: Clock, listener: Callable[[CallTrace, str, str, dict[str, Any]], None]) -> None:
        """`listener`: told of each event as it is noted, but for `QUIET` ones."""
        self._clock = clock
        self._listener = listener
        self._calls: OrderedDict[str, CallTrace] = OrderedDict()
        self._connections: dict[str, CallTrace] = {}
        self._legs: dict[str, CallTrace] = {}
        self._heard: list[Heard] = []
        self._ended = self._ended_size = 0
        self.changed: Callable[[CallTrace], None] = lambda trace: None
        """Told whenever a trace has something new: the history writes it down."""

    def begin(self, call_id: str, about: About | None = None) -> CallTrace:
        """Start the trace of a call."""
        trace = CallTrace(call_id, self._clock.monotonic(), self._clock.wall(), about or About())
        self._calls[call_id] = trace
        self._row_changed(trace)
        return trace

    def connect(self, trace: CallTrace, connection_id: str) -> None:
        """Make the trace findable by a call connection id."""
        trace.connection_ids.append(connection_id)
        self._connections[connection_id] = trace
        if len(trace.connection_ids) > MAX_CONNECTIONS:
            self._connections.pop(trace.connection_ids.pop(0), None)
        self._row_changed(trace)

    def leg(self, trace: CallTrace, leg_id: str, raw_id: str, kind: str = "", name: str = "") -> None:
        """A leg belongs to this call from now on; what its kind is may be told later."""
        known = trace.legs.get(leg_id)
        if known is not None:
            known.kind = kind or known.kind
        elif len(trace.legs) < MAX_LEGS:
            trace.legs[leg_id] = LegRow(leg_id, len(trace.legs) + 1, raw_id, kind, name)
        else:
            return
        self._legs[leg_id] = trace
        self._row_changed(trace)

    def joined(self, trace: CallTrace, leg_id: str, rate: int) -> None:
        """A leg is on the bridge; with the first one the call is answered, at the bridge's `rate`."""
        now, leg = self._clock.monotonic(), trace.legs.get(leg_id)
        if trace.answered is None:
            trace.answered, trace.rate = now, rate
        if leg is not None:
            leg.joined, leg.left = leg.joined or now, None
        self._row_changed(trace)

    def left(self, trace: CallTrace, leg_id: str) -> None:
        """A leg is off the bridge."""
        leg = trace.legs.get(leg_id)
        if leg is not None and leg.joined is not None and leg.left is None:
            leg.left = self._clock.monotonic()
            self._row_changed(trace)

    def over(self, trace: CallTrace, ended_by: str, code: int, sub_code: int, message: str) -> None:
        """How a leg was told that it ended: with the last one to leave that is how the call ended."""
        trace.ended_by = ended_by
        trace.result = {"code": code, "subCode": sub_code, "message": message}
        self._row_changed(trace)

    def end(self, trace: CallTrace) -> None:
        """The call is over; the oldest ones that are make room."""
        trace.ended, trace.ended_at = True, self._clock.monotonic()
        self._ended += 1
        self._ended_size += trace.size
        while self._ended > MAX_CALLS or self._ended_size > MAX_ENDED_DETAIL:
            self._forget()
        self._row_changed(trace)

    def find(self, any_id: str) -> CallTrace | None:
        """The trace of a call or call connection id."""
        return self._calls.get(any_id) or self._connections.get(any_id)

    def of_leg(self, leg_id: str) -> CallTrace | None:
        """The trace of the call that a leg is in, or was in last."""
        return self._legs.get(leg_id)

    def note(
        self, trace: CallTrace, kind: str, name: str, *, more: dict[str, Any] | None = None, **detail: Any
    ) -> None:
        """Add an event now, and tell who listens; `more` is kept with it, and not told on the node's output."""
        self.note_at(self._clock.monotonic(), trace, kind, name, {**detail, **more} if more else detail)
        if kind not in QUIET:
            self._listener(trace, kind, name, detail)

    def note_at(self, at: float, trace: CallTrace, kind: str, name: str, detail: dict[str, Any]) -> None:
        """Add an event of a moment (monotonic seconds) that may be over."""
        size = trace.size
        event = trace.note(at, kind, name, detail)
        if trace.ended and self._calls.get(trace.call_id) is trace:
            self._ended_size += trace.size - size
        self.changed(trace)
        if event is not None and self._heard:
            self.tell(trace.call_id, {"seq": event.seq, "kind": kind, "name": name})

    def tell(self, call_id: str, shown: dict[str, Any] | None) -> None:
        """Tell who listens which event there is; None: a row has changed."""
        for heard in list(self._heard):
            heard(call_id, shown)

    def wall(self) -> float:
        """Unix seconds."""
        return self._clock.wall()

    def listen(self, heard: Heard) -> Callable[[], None]:
        """Hear of every event and of every row that changes; gives back the end of listening."""
        self._heard.append(heard)
        return lambda: self._heard.remove(heard) if heard in self._heard else None

    def pages(self) -> list[dict[str, Any]]:
        """A row for each call, newest first."""
        return [trace.row() for trace in reversed(self._calls.values())]

    @property
    def all(self) -> Sequence[CallTrace]:
        """Every call that is here, newest first."""
        return list(reversed(self._calls.values()))

    def _row_changed(self, trace: CallTrace) -> None:
        self.changed(trace)
        self.tell(trace.call_id, None)

    def _forget(self) -> None:
        """Drop the oldest call that is over."""
        trace = next(trace for trace in self._calls.values() if trace.ended)
        del self._calls[trace.call_id]
        self._ended -= 1
        self._ended_size -= trace.size
        for connection_id in trace.connection_ids:
            self._connections.pop(connection_id, None)
        for leg_id in trace.legs:
            if self._legs.get(leg_id) is trace:
                del self._legs[leg_id]


def event_page(kept: dict[str, Any], answered_ms: float | None) -> dict[str, Any]:
    """An event as a page shows it, of one as it is written down: its time counts from the answer."""
    at = round(kept["sinceMs"] - (answered_ms or 0.0), 1)
    return {
        "seq": kept["seq"],
        "atMs": at,
        **{name: kept[name] for name in ("kind", "name", "leg", "connection", "detail")},
    }


def row_of(header: dict[str, Any]) -> dict[str, Any]:
    """The row of a call, of its page's header."""
    row = {name: header[name] for name in _ROW}
    began, ended = header["answeredAt"], header["endedAt"]
    row["durationMs"] = round((_unix(ended) - _unix(began)) * 1000) if began and ended else None
    return {**row, "events": header["eventCount"], "legs": len(header["legs"])}


def sought(row: dict[str, Any]) -> str:
    """The same of a row."""
    parts = (row["callId"], row["callConnectionId"], row["from"]["rawId"], row["from"]["displayName"])
    return " ".join(filter(None, (*parts, row["to"]["rawId"]))).casefold()


_ROW = (
    "callId", "callConnectionId", "direction", "from", "to", "state", "ended", "startedAt", "answeredAt", "endedAt",
    "endedBy", "result", "interrupted",
)  # fmt: skip


def iso(unix: float) -> str:
    """Unix seconds as RFC 3339 in UTC, with milliseconds."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
