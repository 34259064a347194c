"""Apps that echo a stream, each on another stack: `python bench/kit_servers.py NAME PORT` serves until it is killed.

All receive AudioData, decode it to PCM and send each frame's PCM back as AudioData.
"""

import asyncio
import base64
import json
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from offhook.kit import Audio, Call, Event, Stream, TurnTaking, serve, stream_app
from offhook.wire.app_side import AudioData, app_audio_bytes, parse_service_message

HOST = "127.0.0.1"
NAMES = {
    "floor": "floor: picows, one answer to whatever comes",
    "bound": "bound: picows, the kit's parser and builder",
    "each": "kit: its plain server, `stream.each`",
    "plain": "kit: its plain server, `async for`",
    "asgi": "kit: its ASGI adapter, uvicorn, `stream.each`",
    "call": "kit: a Call on the plain server, `call.play`",
    "acs": "kit: AcsTransport in a pipecat pipeline",
    "pipecat": "pipecat: FastAPI transport, minimal serializer",
    "fastapi": "FastAPI + json, uvicorn",
}


async def echo(stream: Stream) -> None:
    """The kit's handler, the same on every adapter."""
    async for event in stream:
        if isinstance(event, Audio):
            await stream.play(event.frame.data)


async def each_echo(stream: Stream) -> None:
    """The same with a plain function in place of the iteration."""

    def take(event: Event) -> None:
        if isinstance(event, Audio):
            stream.play_soon(event.frame.data)

    await stream.each(take)


async def call_echo(stream: Stream) -> None:
    """As the app shell runs examples/echo.py."""
    call = Call(None, "bench", None, TurnTaking(barge_in=False))  # type: ignore[arg-type]  # nothing controls it

    async def agent() -> None:
        await call.opened.wait()
        async for frame in call.audio:
            call.play(frame.pcm)

    saying = asyncio.create_task(agent())
    await call.run(stream)
    await saying


def parse(message: str) -> bytes | None:
    """As public samples read a message."""
    data = json.loads(message)
    return base64.b64decode(data["audioData"]["data"]) if data["kind"] == "AudioData" else None


def build(pcm: bytes) -> str:
    """As public samples write one."""
    data = base64.b64encode(pcm).decode("ascii")
    return json.dumps({"kind": "AudioData", "audioData": {"data": data}, "stopAudio": None})


def plain(handler: Callable[[Stream], Coroutine[Any, Any, None]], port: int) -> None:
    """The kit's plain server."""
    import uvloop

    async def run() -> None:
        async with await serve(handler, HOST, port, token_check=None):
            await asyncio.Event().wait()

    uvloop.run(run())


def floor(port: int) -> None:
    """What the kernel and the WebSocket alone cost: nothing is read or written."""
    import uvloop
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

    answer = app_audio_bytes(bytes(640))

    class Echo(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type == WSMsgType.TEXT:
                transport.send(WSMsgType.TEXT, answer)

    async def run() -> None:
        await (await ws_create_server(lambda request: Echo(), HOST, port)).serve_forever()

    uvloop.run(run())


def bound(port: int) -> None:
    """What the WebSocket and the messages alone cost in Python."""
    import uvloop
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

    class Echo(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type == WSMsgType.TEXT:
                message = parse_service_message(frame.get_payload_as_memoryview())
                if isinstance(message, AudioData):
                    transport.send(WSMsgType.TEXT, app_audio_bytes(message.data))

    async def run() -> None:
        await (await ws_create_server(lambda request: Echo(), HOST, port)).serve_forever()

    uvloop.run(run())


def uvicorn_run(app: Any, port: int) -> None:
    """As the kit's documents and the samples have it; uvloop, as uvicorn chooses by itself."""
    import uvicorn

    uvicorn.run(app, host=HOST, port=port, log_level="warning", ws_per_message_deflate=False)


def fastapi(port: int) -> None:
    """The plain sample."""
    from fastapi import FastAPI, WebSocket

    app = FastAPI()

    @app.websocket("/")
    async def handle(socket: WebSocket) -> None:
        await socket.accept()
        while True:
            pcm = parse(await socket.receive_text())
            if pcm:
                await socket.send_text(build(pcm))

    uvicorn_run(app, port)


def _pipeline(transport: Any) -> Coroutine[Any, Any, None]:
    """Input, a processor that turns what was heard into what is said, output."""
    from pipecat.frames.frames import Frame, InputAudioRawFrame, OutputAudioRawFrame
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.worker import PipelineParams, PipelineWorker
    from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
    from pipecat.workers.runner import WorkerRunner

    class Back(FrameProcessor):
        async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
            await super().process_frame(frame, direction)
            if isinstance(frame, InputAudioRawFrame):
                frame_out = OutputAudioRawFrame(audio=frame.audio, sample_rate=16000, num_channels=1)
                await self.push_frame(frame_out, direction)
            else:
                await self.push_frame(frame, direction)

    async def run() -> None:
        rates = PipelineParams(audio_in_sample_rate=16000, audio_out_sample_rate=16000)
        worker = PipelineWorker(
            Pipeline([transport.input(), Back(), transport.output()]), params=rates, idle_timeout_secs=None
        )
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        await runner.run()

    return run()


def _quiet_pipecat() -> None:
    from loguru import logger

    logger.remove()  # it formats and writes a line for much of what it does


def pipecat(port: int) -> None:
    """Pipecat's own transport."""
    from fastapi import FastAPI, WebSocket
    from pipecat.frames.frames import Frame, InputAudioRawFrame, OutputAudioRawFrame
    from pipecat.serializers.base_serializer import FrameSerializer
    from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport

    _quiet_pipecat()

    class Minimal(FrameSerializer):
        async def serialize(self, frame: Frame) -> str | None:
            return build(frame.audio) if isinstance(frame, OutputAudioRawFrame) else None

        async def deserialize(self, data: str | bytes) -> Frame | None:
            pcm = parse(data if isinstance(data, str) else data.decode())
            return InputAudioRawFrame(audio=pcm, sample_rate=16000, num_channels=1) if pcm else None

    app = FastAPI()

    @app.websocket("/")
    async def handle(socket: WebSocket) -> None:
        await socket.accept()
        params = FastAPIWebsocketParams(
            audio_in_enabled=True,
            audio_out_enabled=True,
            audio_out_10ms_chunks=2,
            audio_in_sample_rate=16000,
            audio_out_sample_rate=16000,
            serializer=Minimal(),
        )
        await _pipeline(FastAPIWebsocketTransport(websocket=socket, params=params))

    uvicorn_run(app, port)


def acs(port: int) -> None:
    """The kit's transport under the same pipeline, on the plain server."""
    from offhook.kit.pipecat import AcsTransport

    _quiet_pipecat()

    async def handle(stream: Stream) -> None:
        await _pipeline(AcsTransport(stream))

    plain(handle, port)


def main() -> None:
    name, port = sys.argv[1], int(sys.argv[2])
    servers: dict[str, Callable[[], None]] = {
        "floor": lambda: floor(port),
        "bound": lambda: bound(port),
        "each": lambda: plain(each_echo, port),
        "plain": lambda: plain(echo, port),
        "call": lambda: plain(call_echo, port),
        "asgi": lambda: uvicorn_run(stream_app(each_echo, token_check=None), port),
        "fastapi": lambda: fastapi(port),
        "pipecat": lambda: pipecat(port),
        "acs": lambda: acs(port),
    }
    servers[name]()


if __name__ == "__main__":
    main()
