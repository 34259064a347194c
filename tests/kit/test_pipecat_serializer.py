"""AcsFrameSerializer: the stream's messages for pipecat's own WebSocket transports."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from starlette.websockets import WebSocketState
from tests.kit.pipecat_stage import settle

from offhook.errors import ConfigError
from offhook.wire.streaming import AppAudio, FrameWriter, StopAudio, audio_metadata, dtmf_data, parse_app_message

# isort: split
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InputDTMFFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    TTSAudioRawFrame,
    UserAudioRawFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

from offhook.kit.pipecat import AcsFrameSerializer

PCM = (np.arange(320) % 500).astype("<i2").tobytes()


def frame(pcm: bytes = PCM, speaker: str | None = None) -> str:
    return FrameWriter(speaker).build(pcm, b"2024-11-15T19:16:12.925Z", False).decode()


async def test_what_the_service_says() -> None:
    """Sound with its rate, keys, several speakers; what cannot be read is left out."""
    serializer = AcsFrameSerializer()
    assert await serializer.deserialize(audio_metadata("id", 16000).decode()) is None
    heard = await serializer.deserialize(frame())
    assert isinstance(heard, InputAudioRawFrame) and (heard.audio, heard.sample_rate) == (PCM, 16000)
    one = await serializer.deserialize(frame(speaker="4:+15550100001"))
    assert isinstance(one, UserAudioRawFrame) and one.user_id == "4:+15550100001"
    key = await serializer.deserialize(dtmf_data("#").decode())
    assert isinstance(key, InputDTMFFrame) and key.button == "#"
    assert await serializer.deserialize(dtmf_data("B").decode()) is None
    for bad in ("", "{}", '{"kind":"AudioData","audioData":{"data":"%"}}', b"\xff"):
        assert await serializer.deserialize(bad) is None


async def test_what_the_pipeline_says() -> None:
    """Sound, converted to the rate that the metadata has told, and StopAudio; other frames say nothing."""
    serializer = AcsFrameSerializer(AcsFrameSerializer.InputParams(sample_rate=16000))
    await serializer.deserialize(audio_metadata("id", 24000).decode())
    assert parse_app_message(await said(serializer, OutputAudioRawFrame(bytes(960), 24000, 1))) == AppAudio(bytes(960))
    assert parse_app_message(await said(serializer, TTSAudioRawFrame(bytes(640), 16000, 1))) == AppAudio(bytes(960))
    assert await serializer.serialize(OutputAudioRawFrame(bytes(100), 16000, 1)) is None  # waits for a whole frame
    assert parse_app_message(await said(serializer, InterruptionFrame())) == StopAudio()
    assert await serializer.serialize(EndFrame()) is None
    with pytest.raises(ConfigError, match="22050"):
        await serializer.serialize(OutputAudioRawFrame(bytes(640), 22050, 1))
    with pytest.raises(ConfigError, match="audio_out_channels"):
        await serializer.serialize(OutputAudioRawFrame(bytes(640), 16000, 2))


async def test_a_cancel_hangs_up_while_the_end_waits_for_the_sound() -> None:
    """Once; and what the SDK raises of a call that is over is logged, for the pipeline must end all the same."""
    hung_up = []

    async def hang_up() -> None:
        hung_up.append(True)
        raise RuntimeError("the call is over")

    serializer = AcsFrameSerializer(hang_up=hang_up)
    await said(serializer, OutputAudioRawFrame(bytes(32000 * 60), 16000, 1))
    ending = asyncio.create_task(serializer.serialize(EndFrame()))
    await settle()
    assert not hung_up
    await serializer.serialize(CancelFrame())
    assert hung_up == [True]
    await said(serializer, InterruptionFrame())
    await asyncio.wait_for(ending, 10)
    assert hung_up == [True]


async def said(serializer: AcsFrameSerializer, what: Frame) -> str:
    text = await serializer.serialize(what)
    assert text is not None
    return text


class Back(FrameProcessor):
    """Says back what it hears, as a pipeline would: once."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            await self.push_frame(OutputAudioRawFrame(frame.audio * 2, frame.sample_rate, 1))
        await self.push_frame(frame, direction)


class WebSocket:
    """As much of Starlette's as the transport uses."""

    def __init__(self, *messages: str) -> None:
        self.client_state = self.application_state = WebSocketState.CONNECTED
        self.headers: dict[str, str] = {}
        self.sent: list[Any] = []
        self._messages = list(messages)

    async def receive(self) -> dict[str, Any]:
        if not self._messages:
            await settle(10_000)
        return {"type": "websocket.receive", "text": self._messages.pop(0)}

    async def send_text(self, text: str) -> None:
        self.sent.append(parse_app_message(text))

    async def close(self) -> None:
        self.client_state = self.application_state = WebSocketState.DISCONNECTED


async def test_pipecats_own_transport_speaks_to_the_service() -> None:
    """FastAPIWebsocketTransport with the serializer: what is heard is said back; EndFrame hangs up, once."""
    hung_up = []

    async def hang_up() -> None:
        hung_up.append(True)

    socket = WebSocket(audio_metadata("id", 16000).decode(), frame())
    transport = FastAPIWebsocketTransport(
        socket,  # type: ignore[arg-type]
        FastAPIWebsocketParams(
            audio_in_enabled=True,
            audio_out_enabled=True,
            audio_out_end_silence_secs=0,
            serializer=AcsFrameSerializer(hang_up=hang_up),
        ),
    )
    rates = PipelineParams(audio_in_sample_rate=16000, audio_out_sample_rate=16000)
    worker = PipelineWorker(
        Pipeline([transport.input(), Back(), transport.output()]),
        params=rates,
        idle_timeout_secs=None,
        enable_rtvi=False,
    )
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)

    @transport.event_handler("on_client_connected")  # type: ignore[untyped-decorator]
    async def connected(_: Any, websocket: Any) -> None:
        while not socket.sent:
            await settle(1)
        await worker.queue_frame(EndFrame())

    await runner.run()
    assert socket.sent == [AppAudio(PCM * 2)]
    assert hung_up == [True]


def test_without_pipecat_the_error_says_what_to_install() -> None:
    """One line with the fix, not a traceback of pipecat's."""
    code = (
        "import sys; sys.modules['pipecat'] = None\n"
        "from offhook.errors import ConfigError\n"
        "try:\n    import offhook.kit.pipecat\nexcept ConfigError as e:\n    print(e)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install 'offhook[pipecat]'" in out


def test_the_kit_is_light_without_it() -> None:
    """`import offhook.kit` does not import pipecat."""
    code = "import offhook.kit, sys; print('pipecat' in sys.modules, 'numpy' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["False", "False"]
