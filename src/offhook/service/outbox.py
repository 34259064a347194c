"""What waits to be posted to apps, in order for each connection (architecture.md, Bounds).

`Outbox` is the seam for a durable queue; `MemoryOutbox` is what one node needs.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Item:
    """One event for one connection. `queued_at` is in seconds of the delivery's clock."""

    queue: str
    uri: str
    body: bytes
    event_type: str
    event_id: str
    queued_at: float


class Outbox(Protocol):
    """An ordered, bounded queue for each connection."""

    def put(self, item: Item) -> Item | None:
        """Append to `item.queue`; returns the oldest waiting item when it had to give way, else None."""

    def take(self, queue: str) -> Item | None:
        """The next item of a queue, now in hand until `done`; None when nothing waits."""

    def done(self, item: Item) -> None:
        """The item needs no more work: delivered, refused or given up."""

    def waiting(self, queue: str) -> int:
        """How many items of a queue nobody has taken yet."""


class MemoryOutbox:
    """An outbox that lives as long as its process. An empty queue holds no memory."""

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._queues: dict[str, deque[Item]] = {}
        self._in_hand: set[tuple[str, str]] = set()

    def put(self, item: Item) -> Item | None:
        queue = self._queues.setdefault(item.queue, deque())
        dropped = queue.popleft() if len(queue) >= self._limit else None
        queue.append(item)
        return dropped

    def take(self, queue: str) -> Item | None:
        items = self._queues.get(queue)
        if not items:
            return None
        item = items.popleft()
        if not items:
            del self._queues[queue]
        self._in_hand.add((item.queue, item.event_id))
        return item

    def done(self, item: Item) -> None:
        self._in_hand.discard((item.queue, item.event_id))

    def waiting(self, queue: str) -> int:
        return len(self._queues.get(queue, ()))

    def __len__(self) -> int:
        """Items waiting or in hand, over all queues."""
        return sum(map(len, self._queues.values())) + len(self._in_hand)
