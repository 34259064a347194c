"""A pipecat transport on a call: what the pipeline is told of its speech is what the caller has heard of it.

Sound goes to the service as soon as it is there; frames behind it are passed on when the caller has heard so far, by
the frames of the stream (protocol.md 2.7). An interruption is StopAudio at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from pipecat.frames.frames import (
    ClientConnectedFrame,
    EndFrame,
    InputAudioRawFrame,
    InputDTMFFrame,
    StartFrame,
    StopFrame,
    UserAudioRawFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameProcessorSetup
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_transport import BaseTransport, TransportParams

from offhook.errors import ConfigError, OffhookError
from offhook.kit.call import Call
from offhook.kit.converter import RateConverter
from offhook.kit.pipecat_line import Line, line_of
from offhook.kit.pipecat_output import AcsOutput
from offhook.kit.pipecat_serializer import SPEAKERS_KEPT, check_rate, keypad_entry, log
from offhook.kit.stream import Stream
from offhook.kit.turns import Interrupted, Resumed, SpeechEnded, SpeechStarted, TurnEvent

H = TypeVar("H", bound=Callable[..., Any])

# Settings of pipecat's transports that a call cannot have, with why.
_NONE_OF: Final = {
    "video_in_enabled": "a call has no picture",
    "video_out_enabled": "a call has no picture",
    "audio_out_mixer": "what is sent ahead of being heard cannot be mixed with; mix before the transport",
    "audio_out_destinations": "a call has one destination",
    "video_out_destinations": "a call has no picture",
}


class AcsParams(TransportParams):
    """Settings of an AcsTransport; those of pipecat's TransportParams count too.

    `hang_up_at_end`: EndFrame hangs up when all has been heard, CancelFrame at once.
    `turns`: of a `Call`, its turn taking tells the pipeline when the caller speaks (VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame): what is said is held at the first sound of the caller, and goes on when that was only
    a cough; the pipeline hears of the others when the speech is sure. Then the pipeline needs no VAD of its own.
    `words_as_heard`: the text of a voice that tells no times of its words is passed on word by word as it is heard,
    so that an interrupted answer is in the context as far as the caller heard it; else as a whole, after its sound.
    """

    audio_in_enabled: bool = True
    audio_out_enabled: bool = True
    audio_out_end_silence_secs: int = 0
    hang_up_at_end: bool = True
    turns: bool = False
    words_as_heard: bool = True


def check(params: AcsParams) -> None:
    """ConfigError for what a call cannot have."""
    for name, why in _NONE_OF.items():
        if getattr(params, name):
            raise ConfigError(f"AcsTransport has no {name}: {why}")
    for name in ("audio_in_channels", "audio_out_channels"):
        if getattr(params, name) != 1:
            raise ConfigError(f"{name} must be 1: the stream has one channel")


class AcsInput(BaseInputTransport):
    """What the caller says and the keys that they press. Made by AcsTransport."""

    def __init__(self, transport: AcsTransport, line: Line, params: AcsParams, **more: Any) -> None:
        super().__init__(params, enable_direct_mode=True, **more)
        self._transport = transport
        self._line = line
        self._streaming = params.audio_in_stream_on_start
        self._ended = False
        self._reading: asyncio.Task[None] | None = None
        self._converters: dict[str | None, RateConverter] = {}
        self._in_doubt = self._speaking = False  # the caller; while they are in doubt the pipeline is not told

    async def setup(self, setup: FrameProcessorSetup) -> None:  # type: ignore[override]  # as in pipecat's own
        """Check the rate and wait for the stream."""
        await super().setup(setup)
        check_rate(self.sample_rate, "audio_in_sample_rate")
        await self._transport.open()

    async def start(self, frame: StartFrame) -> None:
        """The pipeline runs: tell that the caller is there, and read."""
        await super().start(frame)
        self._ended = False
        if self._reading is None:
            await self._transport.connected()
            await self.push_frame(ClientConnectedFrame())
            self._reading = self.create_task(self._read())

    async def stop(self, frame: EndFrame) -> None:
        """No more of the caller's sound; the stream is read on, for it tells what has been heard."""
        self._ended = True

    async def pause(self, frame: StopFrame) -> None:
        """Nothing is passed on until the pipeline starts again."""
        self._paused = True

    async def cleanup(self) -> None:
        """The pipeline is over."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        if self._reading is not None:
            await self.cancel_task(self._reading)
            self._reading = None
        await self._transport.cleanup()  # type: ignore[no-untyped-call]

    async def _start_audio_in_streaming(self) -> None:
        self._streaming = True

    async def push_audio_frame(self, frame: InputAudioRawFrame) -> None:
        """Pass sound of the caller on, filtered."""
        if self._paused or self._ended or not self._params.audio_in_enabled:
            return
        if self._params.audio_in_filter:
            frame.audio = await self._params.audio_in_filter.filter(frame.audio)
        if frame.audio and self._params.audio_in_passthrough:
            await self.push_frame(frame)

    async def _read(self) -> None:
        try:
            await self._line.read(self._sound, self._key, self._turn)
        finally:
            await self._transport.over()

    async def _sound(self, pcm: bytes, speaker: str | None) -> None:
        try:
            await self._transport.output().tick()
            if self._streaming and not self._ended:
                await self._pass_on(pcm, speaker)
        except Exception as error:  # a filter or an event handler of the user's
            await self.push_error("20 ms of the call's sound were lost", exception=error)

    async def _pass_on(self, pcm: bytes, speaker: str | None) -> None:
        rate = self.sample_rate
        if rate != self._line.rate:
            converter = self._converters.get(speaker)
            if converter is None:
                if len(self._converters) >= SPEAKERS_KEPT:
                    del self._converters[next(iter(self._converters))]
                converter = self._converters[speaker] = RateConverter(self._line.rate, rate)
            pcm = converter.process(pcm)
        if speaker is None:
            await self.push_audio_frame(InputAudioRawFrame(pcm, rate, 1))
        else:
            await self.push_audio_frame(UserAudioRawFrame(pcm, rate, 1, user_id=speaker))

    async def _key(self, tone: str) -> None:
        key = keypad_entry(tone)
        if key is not None and not self._paused and not self._ended:
            await self.push_frame(InputDTMFFrame(key))

    async def _turn(self, change: TurnEvent) -> None:
        if isinstance(change, SpeechStarted):
            self._in_doubt = True
            if not self._transport.output().cuttable:
                await self._speech_is_sure()
        elif isinstance(change, Interrupted):
            await self._speech_is_sure()
        elif isinstance(change, Resumed):
            self._in_doubt = False
        elif isinstance(change, SpeechEnded):
            if self._in_doubt:
                await self._speech_is_sure()
            if self._speaking:
                self._speaking = False
                await self.broadcast_frame(VADUserStoppedSpeakingFrame)

    async def _speech_is_sure(self) -> None:
        self._in_doubt = False
        if not self._speaking:
            self._speaking = True
            await self.broadcast_frame(VADUserStartedSpeakingFrame)


class AcsTransport(BaseTransport):
    """A pipecat transport on the `Call` of a VoiceApp, or on a `Stream`.

    Event handlers: `on_client_connected(transport, call)`, when the pipeline runs, and
    `on_client_disconnected(transport, call)`, when the caller is gone. Of a Stream `hang_up` ends its call, such as the
    SDK's `call_connection.hang_up`; without it the stream is closed and the call goes on.
    """

    def __init__(
        self,
        call: Call | Stream,
        params: AcsParams | None = None,
        *,
        hang_up: Callable[[], Awaitable[Any]] | None = None,
        name: str | None = None,
        input_name: str | None = None,
        output_name: str | None = None,
    ) -> None:
        """ConfigError for settings that a call cannot have."""
        super().__init__(name=name, input_name=input_name, output_name=output_name)
        params = params or AcsParams()
        check(params)
        self.call = call
        self._line = line_of(call, hang_up, params.turns)
        self._opening: asyncio.Lock = asyncio.Lock()
        self._opened = False
        self._left = False
        self._output = AcsOutput(self, self._line, params, name=output_name)
        self._input = AcsInput(self, self._line, params, name=input_name)
        self._register_event_handler("on_client_connected")
        self._register_event_handler("on_client_disconnected")

    def input(self) -> AcsInput:
        """Where the caller's sound enters the pipeline."""
        return self._input

    def output(self) -> AcsOutput:
        """Where the pipeline's sound leaves for the caller."""
        return self._output

    def event_handler(self, event_name: str) -> Callable[[H], H]:
        """Decorator of a handler: `@transport.event_handler("on_client_disconnected")`."""

        def register(handler: H) -> H:
            self.add_event_handler(event_name, handler)
            return handler

        return register

    # ------------------------------------------------------------------ run by input and output

    async def open(self) -> None:
        """Wait until the stream is open, or will never be."""
        async with self._opening:
            if self._opened:
                return
            self._opened = True
            try:
                await self._line.open()
            except OffhookError as error:
                log.warning("pipecat: the call was over before its stream was open: %s", error)

    async def connected(self) -> None:
        """The pipeline runs."""
        await self._call_event_handler("on_client_connected", self.call)

    async def over(self) -> None:
        """The call, or its stream, is over."""
        await self._output.over()
        if not self._left:
            self._left = True
            await self._call_event_handler("on_client_disconnected", self.call)

    async def leave(self, hang_up: bool) -> None:
        """The pipeline ends: the caller is hung up, if that is wanted."""
        if not self._left:
            self._left = True
            if hang_up:
                try:
                    await self._line.hang_up()
                except Exception:  # the SDK's and the network's; the pipeline must end all the same
                    log.exception("pipecat: the call could not be hung up")
