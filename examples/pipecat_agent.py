"""A pipecat pipeline that answers: it greets, and says back what it hears. Speak while it speaks, and it stops.

In the place of `Parrot` goes your speech recognition, model and voice. Needs `pip install 'offhook[pipecat]'`.
"""

import math
import struct
from collections import deque

from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner

from offhook.kit import Call, VoiceApp
from offhook.kit.pipecat import AcsParams, AcsTransport

app = VoiceApp(rate=16000)


def chime(hz: float = 660.0, seconds: float = 0.4, rate: int = 16000) -> bytes:
    return b"".join(
        struct.pack("<h", int(8000 * math.sin(math.tau * hz * i / rate))) for i in range(int(seconds * rate))
    )


class Parrot(FrameProcessor):
    """Says back what the caller said when they have stopped."""

    def __init__(self) -> None:
        super().__init__()
        self._said: deque[bytes] = deque(maxlen=15)  # 300 ms, for the speech before it was sure

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            self._said.append(frame.audio)
        elif isinstance(frame, VADUserStartedSpeakingFrame):
            self._said = deque(self._said, maxlen=50 * 30)
            await self.broadcast_frame(InterruptionFrame)
        elif isinstance(frame, VADUserStoppedSpeakingFrame):
            await self.say(b"".join(self._said))
            self._said = deque(maxlen=15)
        await self.push_frame(frame, direction)

    async def say(self, pcm: bytes) -> None:
        for frame in (TTSStartedFrame(), TTSAudioRawFrame(pcm, 16000, 1), TTSStoppedFrame()):
            await self.push_frame(frame)


@app.on_call
async def agent(call: Call) -> None:
    transport, parrot = AcsTransport(call, AcsParams(turns=True)), Parrot()
    worker = PipelineWorker(Pipeline([transport.input(), parrot, transport.output()]))

    @transport.event_handler("on_client_connected")
    async def greet(_: AcsTransport, caller: Call) -> None:
        await parrot.say(chime())

    @transport.event_handler("on_client_disconnected")
    async def leave(_: AcsTransport, caller: Call) -> None:
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


if __name__ == "__main__":
    app.run()
