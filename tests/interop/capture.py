"""What really passes on the loopback interface, by tcpdump: RTP packets with the time at which they left."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from tests.live import until

from offhook.audio import rtp


@dataclass
class Capture:
    """UDP datagrams to a range of ports: Unix time, destination port, payload."""

    packets: list[tuple[float, int, bytes]] = field(default_factory=list)
    problem: str = ""

    def rtp(self, kind: int = 0) -> list[tuple[float, bytes]]:
        """Payloads of RTP packets of one type, with their times."""
        found = []
        for at, _, data in self.packets:
            packet = rtp.parse(data)
            if packet is not None and packet.payload_type == kind:
                found.append((at, packet.payload))
        return found


@contextlib.asynccontextmanager
async def capture(first: int, last: int) -> AsyncIterator[Capture]:
    """Listen to the loopback interface; the capture's `problem` says so when that is not allowed here."""
    taken = Capture()
    process = await asyncio.create_subprocess_exec(
        "tcpdump", "-i", "lo", "-w", "-", "-U", "--immediate-mode", f"udp dst portrange {first}-{last}",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    log: list[str] = []

    async def complain() -> None:
        assert process.stderr is not None
        while line := await process.stderr.readline():
            log.append(line.decode().strip())

    async def read() -> None:
        assert process.stdout is not None
        with contextlib.suppress(asyncio.IncompleteReadError):
            await process.stdout.readexactly(24)
            while True:
                seconds, micros, size, _ = struct.unpack("<IIII", await process.stdout.readexactly(16))
                frame = await process.stdout.readexactly(size)
                # Ethernet, IPv4, UDP: the loopback interface has no other shape here.
                head = 14 + 4 * (frame[14] & 15)
                port = int.from_bytes(frame[head + 2 : head + 4])
                taken.packets.append((seconds + micros / 1e6, port, frame[head + 8 :]))

    tasks = [asyncio.create_task(complain()), asyncio.create_task(read())]
    try:
        await until(lambda: any("listening" in line for line in log) or process.returncode is not None, "tcpdump")
        if process.returncode is not None:
            taken.problem = " ".join(log)
        yield taken
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
        for task in tasks:
            task.cancel()
