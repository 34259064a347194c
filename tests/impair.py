"""A bad network on one machine: a UDP relay that loses, delays and so reorders datagrams by a seed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Address = tuple[str, int]


@dataclass(frozen=True)
class Weather:
    """`loss` of 1; each datagram waits `delay` and up to `jitter` seconds more, so that some overtake others."""

    loss: float = 0.0
    delay: float = 0.02
    jitter: float = 0.0


CLEAR = Weather()
BAD = Weather(loss=0.05, delay=0.02, jitter=0.06)


class _Side(asyncio.DatagramProtocol):
    def __init__(self, relay: Relay, other: int) -> None:
        self._relay, self._other = relay, other

    def datagram_received(self, data: bytes, source: Address) -> None:
        self._relay.passed(data, self._other)


class Relay:
    """Two sockets: what comes to one leaves by the other. `targets[n]` is where socket n sends to."""

    def __init__(self, weather: Weather, seed: int) -> None:
        self.weather = weather
        self.targets: list[Address | None] = [None, None]
        self.counts = {"passed": 0, "lost": 0}
        self.leaves: Callable[[bytes, int], None] = lambda data, by: None
        """Told of every datagram that leaves, and by which socket."""
        self._chance = random.Random(seed)
        self._sides: list[asyncio.DatagramTransport] = []

    async def start(self) -> tuple[int, int]:
        """Bind; the two ports."""
        loop = asyncio.get_running_loop()
        for other in (1, 0):
            transport, _ = await loop.create_datagram_endpoint(lambda o=other: _Side(self, o), ("127.0.0.1", 0))  # type: ignore[misc]
            self._sides.append(transport)
        ports = [int(side.get_extra_info("sockname")[1]) for side in self._sides]
        return ports[0], ports[1]

    def close(self) -> None:
        """Close both."""
        for side in self._sides:
            side.close()

    def passed(self, data: bytes, by: int) -> None:
        """One datagram is on its way out by socket `by`."""
        if self._chance.random() < self.weather.loss:
            self.counts["lost"] += 1
            return
        wait = self.weather.delay + self._chance.random() * self.weather.jitter
        asyncio.get_running_loop().call_later(wait, self._send, data, by)

    def _send(self, data: bytes, by: int) -> None:
        target, side = self.targets[by], self._sides[by]
        if target is not None and not side.is_closing():
            self.counts["passed"] += 1
            self.leaves(data, by)
            side.sendto(data, target)

    def describe(self) -> dict[str, Any]:
        """What has passed."""
        return dict(self.counts)
