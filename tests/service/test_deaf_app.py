"""An app that does not read: what waits for it is bounded, nothing of that is lost, and a dead one is given up."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.live import until
from tests.raw_socket import RawSocket, raw_app
from tests.service.stream_bench import Bench, bench

from offhook.service.streaming import BEHIND_SECONDS, STUCK_SECONDS

FRAME_BYTES = 640 * 4 // 3 + 200  # of one message, at most
BURST = 500  # ticks between two turns of the loop


class Ears:
    """What the app reads: so many bytes each time it is told to, everything once it is told None."""

    def __init__(self) -> None:
        self.reads: asyncio.Queue[int | None] = asyncio.Queue()
        self.socket: RawSocket | None = None

    async def serve(self, connection: RawSocket) -> None:
        self.socket = connection
        while (size := await self.reads.get()) is not None:
            await connection.reader.readexactly(size)
        await connection.read_strictly()


@asynccontextmanager
async def deaf() -> AsyncIterator[tuple[Bench, Ears]]:
    """An open stream to an app that accepts and reads nothing unless told to."""
    ears = Ears()
    async with raw_app(ears.serve) as url, bench(url) as one:
        await one.until_told()
        assert one.stream._socket is not None
        transport = one.stream._socket._kept.underlying_transport
        # A small kernel buffer, so that the app's reading shows at once in what waits in the process.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
        yield one, ears


async def fill(one: Bench, dropped: int = 0) -> None:
    """Tick until the kernel takes no more and what waits in the process is at its bound."""
    for _ in range(100):
        one.tick(BURST)
        await asyncio.sleep(0)
        if one.port.counters.dropped > dropped:
            return
    raise AssertionError("50,000 frames were taken from an app that reads nothing")


def waiting(one: Bench) -> int:
    assert one.stream._socket is not None
    return one.stream._socket._backlog()


async def test_fifteen_seconds_wait_and_the_newest_beyond_are_dropped() -> None:
    async with deaf() as (one, ears):
        await fill(one)
        bound = BEHIND_SECONDS * 50 * FRAME_BYTES
        assert bound * 0.9 < waiting(one) <= bound + FRAME_BYTES
        sent, dropped = one.port.counters.sent, one.port.counters.dropped
        one.tick(100)
        assert (one.port.counters.sent, one.port.counters.dropped) == (sent, dropped + 100)
        assert one.owner.kinds == ["opened"]  # behind, not gone
        # It reads again: all that was sent is there, whole and in order, and frames flow once more.
        ears.reads.put_nowait(None)
        reader = ears.socket
        assert reader is not None
        await until(lambda: len(reader.messages) == sent + 1, "every frame that was sent, and the metadata", 30)
        one.tick(5)
        await until(lambda: len(reader.messages) == sent + 6)
        assert one.port.counters.dropped == dropped + 100 and reader.problems == []


async def test_one_that_takes_no_byte_for_thirty_seconds_is_given_up() -> None:
    async with deaf() as (one, _):
        await fill(one)
        one.clock.advance(STUCK_SECONDS - 1)
        one.tick(1)
        await asyncio.sleep(0)
        assert one.owner.kinds == ["opened"]
        one.clock.advance(2)
        one.tick(1)
        outcome, detail = await one.failure()
        assert outcome == "stream_lost" and "30 s" in detail
        assert one.dials == 1  # a deaf app is not dialled again
        one.tick(10)
        assert not one.port.connected


async def test_a_slow_reader_is_not_a_stuck_one() -> None:
    async with deaf() as (one, ears):
        await fill(one)
        for _ in range(6):
            before = waiting(one)
            while waiting(one) == before:  # what the kernel holds goes first
                ears.reads.put_nowait(16 * 1024)
                await asyncio.sleep(0.001)
            assert waiting(one) > before / 2, "it has not caught up"
            one.clock.advance(STUCK_SECONDS - 5)
            one.tick(10)
            await fill(one, one.port.counters.dropped)
        assert one.owner.kinds == ["opened"]
        # Then it dies: half a minute after its last byte it is given up.
        one.clock.advance(STUCK_SECONDS + 1)
        one.tick(1)
        assert (await one.failure())[0] == "stream_lost"
