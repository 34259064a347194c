"""The plain-stack twin of the service's stream leg: `websockets` and `json` on asyncio, the way most apps start.

N calls on one shared 20 ms timer: pop one received frame of each, mix it with the other party (numpy, in one batch),
send one AudioData message of each call to an echo app, whose answers are decoded into the call's queue. No REST, no
callbacks, no recording: what it leaves out favours it.

    plain_gateway.py PORT CALLS SECONDS        prints one JSON line; needs an echo app on PORT
"""

from __future__ import annotations

import asyncio
import base64
import collections
import datetime as dt
import gc
import json
import os
import resource
import sys
import time

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

SAMPLES = 320
PARTICIPANT = "8:acs:3d20e1de-0f28-41c5-a7d5-0d2c1f0f0aa1_00000024-0000-0000"
SILENCE = bytes(2 * SAMPLES)
WARM_TICKS = 50


def build(pcm: bytes) -> str:
    now = dt.datetime.now(dt.UTC)
    stamp = now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"
    data = base64.b64encode(pcm).decode("ascii")
    audio = {"timestamp": stamp, "participantRawID": PARTICIPANT, "data": data, "silent": False}
    return json.dumps({"kind": "AudioData", "audioData": audio})


def parse(message: str | bytes) -> bytes:
    body = json.loads(message)
    return base64.b64decode(body["audioData"]["data"]) if body["kind"] == "AudioData" else SILENCE


class Gateway:
    """N calls on one clock, and figures of the ticks after warming up."""

    def __init__(self, calls: int) -> None:
        self.queues: list[collections.deque[bytes]] = [collections.deque(maxlen=64) for _ in range(calls)]
        self.sockets: list[ClientConnection] = []
        self.pool = np.random.default_rng(1).integers(-8000, 8000, (max(2 * calls, 200), SAMPLES), dtype=np.int16)
        self.late: list[float] = []
        self.sent = self.received = self.underruns = 0

    async def read(self, socket: ClientConnection, queue: collections.deque[bytes]) -> None:
        async for message in socket:
            queue.append(parse(message))
            self.received += 1

    async def tick(self, number: int) -> None:
        calls = len(self.sockets)
        frames = []
        for queue in self.queues:
            if queue:
                frames.append(queue.popleft())
            else:
                frames.append(SILENCE)
                self.underruns += 1
        heard = np.frombuffer(b"".join(frames), np.int16).reshape(calls, SAMPLES)
        other = self.pool[(number % 7) * 3 : (number % 7) * 3 + calls]
        np.clip(heard.astype(np.int32) + other, -32768, 32767).astype(np.int16)
        said = np.ascontiguousarray(self.pool[(number % 11) * 2 : (number % 11) * 2 + calls])
        for row, socket in enumerate(self.sockets):
            await socket.send(build(said[row].tobytes()))
            self.sent += 1

    async def run(self, port: int, seconds: float) -> dict[str, object]:
        for _ in self.queues:
            socket = await connect(f"ws://127.0.0.1:{port}/", compression=None, ping_interval=None, proxy=None)
            self.sockets.append(socket)
        readers = [asyncio.create_task(self.read(s, q)) for s, q in zip(self.sockets, self.queues, strict=True)]
        gc.collect()
        gc.freeze()
        start = time.monotonic() + 0.05
        before = resource.getrusage(resource.RUSAGE_SELF)
        for number in range(WARM_TICKS + int(seconds * 50)):
            due = start + number * 0.02
            await asyncio.sleep(max(due - time.monotonic(), 0))
            if number == WARM_TICKS:
                self.late, self.sent, self.received, self.underruns = [], 0, 0, 0
                before = resource.getrusage(resource.RUSAGE_SELF)
            self.late.append(time.monotonic() - due)
            await self.tick(number)
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        for reader in readers:
            reader.cancel()
        return {
            "us_per_pair": cpu / self.sent * 1e6,
            "core": cpu / seconds,
            "late_p99_ms": sorted(self.late)[int(0.99 * (len(self.late) - 1))] * 1000,
            "lost": self.underruns / self.sent,
        }


if __name__ == "__main__":
    echo_port, call_count, duration = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    print(json.dumps(asyncio.run(Gateway(call_count).run(echo_port, duration))), flush=True)
    os._exit(0)
