"""A real pipecat pipeline on a stream whose service is the test: its frames are the clock, nothing waits for time."""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pybase64

from offhook.kit import Call, Stream, TurnTaking

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pipecat imports audioop and its own deprecated names
    from pipecat.frames.frames import EndFrame, Frame, StartFrame, TTSTextFrame
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.worker import PipelineParams, PipelineWorker
    from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
    from pipecat.workers.runner import WorkerRunner

    from offhook.kit.pipecat import AcsParams, AcsTransport

__all__ = ["AcsParams", "AcsTransport", "Seen", "Service", "Stage", "settle", "stage"]


class Service:
    """The service's end of a stream: a Socket of the kit that the test feeds."""

    def __init__(self, rate: int = 16000) -> None:
        self.rate = rate
        self.sent: list[dict[str, Any]] = []
        self.closed = False
        self._messages: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._messages.put_nowait(
            msgspec.json.encode(
                {
                    "kind": "AudioMetadata",
                    "audioMetadata": {
                        "subscriptionId": "s",
                        "encoding": "PCM",
                        "sampleRate": rate,
                        "channels": 1,
                        "length": rate // 25,
                    },
                }
            )
        )

    @property
    def kinds(self) -> list[str]:
        """Kinds of all messages of the app, repetitions once."""
        kinds = [message["Kind"] for message in self.sent]
        return [kind for i, kind in enumerate(kinds) if i == 0 or kinds[i - 1] != kind]

    @property
    def played(self) -> bytes:
        """All sound of the app."""
        return b"".join(pybase64.b64decode(m["AudioData"]["Data"]) for m in self.sent if m["Kind"] == "AudioData")

    async def frames(self, count: int, pcm: bytes | None = None, speaker: str | None = None) -> None:
        """`count` times 20 ms go by."""
        data = pybase64.b64encode_as_string(pcm or bytes(self.rate // 25))
        inner = {"data": data, "silent": False} | ({"participantRawID": speaker} if speaker else {})
        for _ in range(count):
            self._messages.put_nowait(msgspec.json.encode({"kind": "AudioData", "audioData": inner}))
            await settle()

    async def key(self, tone: str) -> None:
        self._messages.put_nowait(msgspec.json.encode({"kind": "DtmfData", "dtmfData": {"data": tone}}))
        await settle()

    async def gone(self) -> None:
        self._messages.put_nowait(None)
        await settle()

    async def receive(self) -> bytes | None:
        return await self._messages.get()

    async def send(self, text: str) -> None:
        self.sent.append(msgspec.json.decode(text))

    async def close(self, code: int, reason: str) -> None:
        self.closed = True
        self._messages.put_nowait(None)


class Connection:
    """As much of the SDK's client of a call as is used."""

    async def hang_up(self, is_for_everyone: bool) -> None:
        return


async def settle(rounds: int = 60) -> None:
    """Let everything that can run run."""
    for _ in range(rounds):
        await asyncio.sleep(0)


class Seen(FrameProcessor):
    """Notes the frames that pass, both ways."""

    def __init__(self) -> None:
        super().__init__()
        self.down: list[Frame] = []
        self.up: list[Frame] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        (self.down if direction == FrameDirection.DOWNSTREAM else self.up).append(frame)
        await self.push_frame(frame, direction)

    def named(self, *names: str) -> list[str]:
        """Names of the classes of what went down, of these only."""
        return [type(frame).__name__ for frame in self.down if type(frame).__name__ in names]


@dataclass
class Stage:
    """A running pipeline: input, `before`, output, `after`."""

    service: Service
    transport: AcsTransport
    worker: PipelineWorker
    before: Seen
    after: Seen
    call: Call | None = None
    events: list[str] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        """The words that have gone on behind the output."""
        return [frame.text for frame in self.after.down if isinstance(frame, TTSTextFrame)]

    async def say(self, *frames: Frame) -> None:
        """Frames as a voice would push them."""
        for frame in frames:
            await self.before.push_frame(frame)
        await settle()


@contextlib.asynccontextmanager
async def stage(
    rate: int = 16000, *, pipeline_rate: int | None = None, params: AcsParams | None = None, **more: Any
) -> AsyncIterator[Stage]:
    """A pipeline on a stream of `rate`; it is ended at the end."""
    service = Service(rate)
    call = Call(Connection(), "call", None, TurnTaking()) if params and params.turns else None  # type: ignore[arg-type]
    carried = asyncio.create_task(call.run(Stream(service, {}))) if call is not None else None
    transport = AcsTransport(call or Stream(service, {}), params, **more)
    before, after = Seen(), Seen()
    worker = PipelineWorker(
        Pipeline([transport.input(), before, transport.output(), after]),
        params=PipelineParams(audio_in_sample_rate=pipeline_rate or rate, audio_out_sample_rate=pipeline_rate or rate),
        idle_timeout_secs=None,
        enable_rtvi=False,
    )
    here = Stage(service, transport, worker, before, after, call)

    @transport.event_handler("on_client_connected")
    async def connected(_: AcsTransport, call: Any) -> None:
        here.events.append("connected")

    @transport.event_handler("on_client_disconnected")
    async def disconnected(_: AcsTransport, call: Any) -> None:
        here.events.append("disconnected")

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    try:
        async with asyncio.timeout(10):
            if call is not None:
                await call.opened.wait()
            while not any(isinstance(frame, StartFrame) for frame in after.down):
                await asyncio.sleep(0)
        await settle()
        yield here
    finally:
        await worker.queue_frame(EndFrame())
        async with asyncio.timeout(10):
            while not running.done():
                await service.frames(1)
        await running
        if carried is not None:
            carried.cancel()
            await asyncio.wait({carried})
