"""Callbacks to apps with a token: started in order for each connection, bounded (protocol.md §5.1)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from offhook.service.origins import origin_of
from offhook.service.outbox import Item, MemoryOutbox, Outbox
from offhook.service.posting import DeliveryReport, Post, Poster, Report, shown, tell

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Lane:
    """One connection with events waiting. `gates`: posts whose body is out and that still hold the next one back."""

    task: asyncio.Task[None] | None = None
    finished: bool = False
    gates: set[asyncio.Event] = field(default_factory=set)


class Delivery:
    """Posts the events of connections. All methods belong to the loop's thread."""

    def __init__(
        self,
        poster: Poster,
        token: Callable[[], str],
        report: Report,
        *,
        outbox: Outbox | None = None,
        gap: float = 1.0,
        max_age: float = 600.0,
    ) -> None:
        """`token` makes a fresh Bearer token for each try; `report` is told of each try.

        `gap`: seconds after a body is out until the next post of that connection starts without an answer.
        `max_age`: seconds after which an event still waiting is dropped.
        """
        self._poster = poster
        self._token = token
        self._report = report
        self._outbox: Outbox = MemoryOutbox() if outbox is None else outbox
        self._gap = gap
        self._max_age = max_age
        self._lanes: dict[str, _Lane] = {}
        self._posts: set[asyncio.Task[None]] = set()
        self._warned: set[str] = set()
        self._closed = False
        self._hurried_gap = 0.05

    @property
    def connections(self) -> int:
        """Connections with events waiting or just started."""
        return len(self._lanes)

    @property
    def open_posts(self) -> int:
        """Events started and not yet answered or given up."""
        return len(self._posts)

    def post(self, connection_id: str, uri: str, body: bytes, event_type: str, event_id: str) -> None:
        """Queue one event, `body` being the whole JSON array. Never waits and never raises."""
        item = Item(connection_id, uri, body, event_type, event_id, self._poster.clock())
        lane = self._lanes.get(connection_id)
        if self._closed or (lane is not None and lane.finished):
            self._drop(item, "the node has stopped" if self._closed else "the connection has ended")
            return
        self._warn_plain_http(uri)
        dropped = self._outbox.put(item)
        if dropped is not None:
            self._drop(dropped, "too many events wait for this app")
        if lane is None:
            lane = self._lanes[connection_id] = _Lane()
            lane.task = asyncio.get_running_loop().create_task(self._drain(connection_id, lane))

    async def once(self, subject: str, uri: str, body: bytes, event_type: str, event_id: str) -> DeliveryReport:
        """Post an event at once and once, out of turn; the report is given back and not made elsewhere."""
        return await self._poster.once(Post(subject, uri, body, event_type, event_id, self._headers))

    def finish(self, connection_id: str) -> None:
        """No event follows those already queued; what is kept for the connection goes once they have started."""
        lane = self._lanes.get(connection_id)
        if lane is not None:
            lane.finished = True

    async def close(self, timeout: float = 5.0) -> None:
        """Start everything queued, at speed, whether or not apps answer; then end. Takes `timeout` seconds at most.

        An app that answers within the poster's `linger` still gets its answer read.
        """
        longest = max((self._outbox.waiting(connection) for connection in self._lanes), default=0)
        self._hurried_gap = min(0.05, timeout / 2 / max(1, longest))
        self._poster.hurry()
        for lane in self._lanes.values():
            for gate in lane.gates:
                gate.set()
        end = asyncio.get_running_loop().time() + timeout
        while self._lanes or self._posts:
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                break
            lanes = {lane.task for lane in self._lanes.values() if lane.task is not None}
            await asyncio.wait(lanes | self._posts, timeout=left)
        self._closed = True
        await self._cancel_rest()

    async def _cancel_rest(self) -> None:
        tasks = [lane.task for lane in self._lanes.values() if lane.task is not None] + list(self._posts)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in list(self._lanes):
            while (item := self._outbox.take(connection)) is not None:
                self._drop(item, "the node stopped before it could be sent")
                self._outbox.done(item)
        self._lanes.clear()

    async def _drain(self, connection_id: str, lane: _Lane) -> None:
        """Start the events of one connection, each when its forerunner lets it."""
        loop = asyncio.get_running_loop()
        while (item := self._outbox.take(connection_id)) is not None:
            if self._poster.clock() - item.queued_at > self._max_age:
                self._drop(item, f"it waited longer than {self._max_age:g} s")
                self._outbox.done(item)
                continue
            gate = asyncio.Event()
            task = loop.create_task(self._deliver(item, lane, gate))
            self._posts.add(task)
            task.add_done_callback(self._posts.discard)
            await gate.wait()
        del self._lanes[connection_id]

    async def _deliver(self, item: Item, lane: _Lane, gate: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        timers: list[asyncio.TimerHandle] = []

        def sent() -> None:
            lane.gates.add(gate)
            if not timers:
                gap = self._hurried_gap if self._poster.hurried else self._gap
                timers.append(loop.call_later(gap, gate.set))

        post = Post(item.queue, item.uri, item.body, item.event_type, item.event_id, self._headers)
        try:
            await self._poster.send(post, self._say, on_sent=sent)
        finally:
            for timer in timers:
                timer.cancel()
            lane.gates.discard(gate)
            gate.set()
            self._outbox.done(item)

    def _headers(self) -> dict[str, str]:
        return {"Content-Type": "application/json", "Authorization": f"Bearer {self._token()}"}

    def _say(self, row: DeliveryReport) -> None:
        if row.final and not row.delivered:
            what = f"answered {row.status}" if row.status is not None else row.error
            _log.warning("%s to %s was not taken: %s", row.event_type, shown(row.uri), what)
        self._report(row)

    def _drop(self, item: Item, why: str) -> None:
        _log.warning("%s to %s dropped: %s", item.event_type, shown(item.uri), why)
        row = DeliveryReport(
            item.queue, item.uri, item.event_type, item.event_id, 0, None, f"dropped: {why}", 0.0, final=True
        )
        tell(self._report, row)

    def _warn_plain_http(self, uri: str) -> None:
        try:
            origin = origin_of(uri)
        except ValueError:
            return
        name = str(origin)
        if origin.secure or name in self._warned or len(self._warned) >= 1000:
            return
        self._warned.add(name)
        _log.warning("callbacks go to %s over plain http; Azure refuses such callback URLs (400/8523)", name)
