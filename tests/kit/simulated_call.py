"""A real `Call` on a socket of the test's own: the test is the service, and its frames are the clock."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import deque
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from tests.live import until

from offhook.kit.call import Call
from offhook.kit.stream import Stream
from offhook.kit.turns import TurnEvent, TurnTaking

FRAME_MS = 20


class _Socket:
    """The service's end is in the test's hands."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[str | None] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> str | None:
        return await self.waiting.get()

    async def send(self, text: str) -> None:
        self.sent.append(json.loads(text))

    async def close(self, code: int, reason: str) -> None:
        self.waiting.put_nowait(None)


class _Connection:
    """The SDK's client of the call."""

    def __init__(self) -> None:
        self.hung_up = False

    async def hang_up(self, *, is_for_everyone: bool) -> None:
        self.hung_up = True


class SimulatedCall:
    """`async with SimulatedCall() as it`: `it.call` is open; `it.hears(ms)` lets time pass."""

    def __init__(self, rate: int = 24000, turn_taking: TurnTaking | None = None) -> None:
        self.rate = rate
        self.socket = _Socket()
        self._connection = _Connection()
        self.call = Call(cast(Any, self._connection), "call-1", None, turn_taking or TurnTaking())
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> SimulatedCall:
        metadata = {"subscriptionId": "s", "encoding": "PCM", "sampleRate": self.rate, "channels": 1, "length": 640}
        self.socket.waiting.put_nowait(json.dumps({"kind": "AudioMetadata", "audioMetadata": metadata}))
        self._running = asyncio.ensure_future(self.call.run(Stream(self.socket, {})))
        await asyncio.wait_for(self.call.opened.wait(), 5)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.end()

    async def end(self) -> None:
        """The caller hangs up."""
        assert self._running is not None
        self.socket.waiting.put_nowait(None)
        await asyncio.wait_for(self._running, 5)

    async def hears(self, ms: float, said: npt.NDArray[np.int16] | None = None) -> None:
        """So much time passes, while the caller says `said` and then nothing."""
        size = self.rate * FRAME_MS // 1000
        samples = np.zeros(round(ms / FRAME_MS) * size, np.int16)
        if said is not None:
            samples[: len(said)] = said[: len(samples)]
        for at in range(0, len(samples), size):
            data = base64.b64encode(samples[at : at + size].tobytes()).decode()
            audio = {"timestamp": "2026-01-01T00:00:00.000Z", "data": data, "silent": False}
            self.socket.waiting.put_nowait(json.dumps({"kind": "AudioData", "audioData": audio}))
        await until(self.socket.waiting.empty)
        await asyncio.sleep(0)

    def turn(self, event: TurnEvent) -> None:
        """The kit's turn taking says so."""
        self.call._turn_events.put(event)

    @property
    def hung_up(self) -> bool:
        """Whether the app has."""
        return self._connection.hung_up

    @property
    def played(self) -> bytes:
        """All sound that was sent into the call."""
        sent = (message["AudioData"]["Data"] for message in self.socket.sent if message.get("AudioData"))
        return b"".join(base64.b64decode(data) for data in sent)

    @property
    def stops(self) -> int:
        """How many StopAudio were sent."""
        return sum(message["Kind"] == "StopAudio" for message in self.socket.sent)


def noise(ms: float, rate: int = 24000, level: float = 6000) -> npt.NDArray[np.int16]:
    """Something loud that is the same each time."""
    made = np.random.default_rng(1).uniform(-level, level, round(ms * rate / 1000))
    return made.astype(np.int16)


class Line(deque[Any]):
    """What `on_event` was told."""

    def of(self, kind: type) -> list[Any]:
        return [event for event in self if isinstance(event, kind)]
