"""The stream's messages for pipecat's own WebSocket transports (protocol.md 2.4 reading, 2.6 writing)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import (
    AudioRawFrame,
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InputDTMFFrame,
    InterruptionFrame,
    UserAudioRawFrame,
)
from pipecat.processors.frame_processor import FrameProcessorSetup
from pipecat.serializers.base_serializer import FrameSerializer

from offhook.errors import AudioError, ConfigError, WireError
from offhook.kit.converter import RateConverter
from offhook.wire.app_side import AudioData, AudioMetadata, DtmfData, app_audio, app_stop, parse_service_message

log: Final = logging.getLogger("offhook.kit")

SPEAKERS_KEPT: Final = 64
"""Speakers of an unmixed stream whose sound is converted; the one that came first gives way."""
RATE_UNTOLD: Final = 16000
"""Hz of the stream until its metadata has come."""


def check_rate(rate: int, setting: str) -> None:
    """ConfigError for a rate that the kit does not convert on the fly."""
    try:
        RateConverter(rate, RATE_UNTOLD)
    except AudioError as error:
        raise ConfigError(f"{setting}={rate}: {error}") from None


def keypad_entry(tone: str) -> KeypadEntry | None:
    """Pipecat's name of a key; None for A to D, which it does not have."""
    try:
        return KeypadEntry(tone)
    except ValueError:
        log.warning("key %s is unknown to pipecat and left out", tone)
        return None


class AcsFrameSerializer(FrameSerializer):
    """Text messages of the media stream for FastAPIWebsocketTransport and pipecat's other WebSocket transports.

    AudioData becomes InputAudioRawFrame at the pipeline's rate (of an unmixed stream UserAudioRawFrame, `user_id` the
    raw id), DtmfData InputDTMFFrame. OutputAudioRawFrame becomes AudioData at the stream's rate, which its metadata
    has told, and an interruption StopAudio. Rates are converted without the 60 to 150 ms that soxr streams hold back.

    `hang_up`, such as the SDK's `call_connection.hang_up`, is awaited once at EndFrame, when all that was said has
    been heard, or at CancelFrame. Give its transport `add_wav_header=False`.
    """

    class InputParams(FrameSerializer.InputParams):
        """`sample_rate`: of the caller's sound in the pipeline, instead of the pipeline's own audio_in_sample_rate."""

        sample_rate: int | None = None

    def __init__(
        self, params: InputParams | None = None, *, hang_up: Callable[[], Awaitable[Any]] | None = None
    ) -> None:
        settings = params or AcsFrameSerializer.InputParams()
        super().__init__(settings)
        self._pipeline_rate = settings.sample_rate or RATE_UNTOLD
        self._rate_given = settings.sample_rate
        self._hang_up = hang_up
        self._stream_rate = RATE_UNTOLD
        self._inward: dict[str | None, RateConverter] = {}
        self._outward: RateConverter | None = None
        self._heard_at = 0.0  # by the monotonic clock, when all that was sent has been heard
        self._interrupted = asyncio.Event()  # since the last of it

    async def setup(self, setup: FrameProcessorSetup) -> None:  # type: ignore[override]  # as in pipecat's own
        """Take the pipeline's rate. ConfigError for one that is not 8000, 16000, 24000 or 48000."""
        self._pipeline_rate = self._rate_given or setup.audio_in_sample_rate
        check_rate(self._pipeline_rate, "audio_in_sample_rate")

    async def deserialize(self, data: str | bytes) -> Frame | None:
        """A message of the service as a frame; None for what is none, and for what cannot be read (logged)."""
        try:
            message = parse_service_message(data)
        except WireError as error:
            log.warning("a message of the stream was left out: %s", error)
            return None
        if isinstance(message, AudioData):
            return self._heard(message)
        if isinstance(message, DtmfData):
            key = keypad_entry(message.data)
            return InputDTMFFrame(key) if key is not None else None
        if isinstance(message, AudioMetadata):
            self._opened(message)
        return None

    async def serialize(self, frame: Frame) -> str | None:
        """A frame as a message to the service; None for frames that say nothing to it."""
        if isinstance(frame, AudioRawFrame):
            return self._said(frame)
        if isinstance(frame, InterruptionFrame):
            self._heard_at = 0.0
            self._interrupted.set()
            if self._outward is not None:
                self._outward.reset()
            return app_stop()
        if isinstance(frame, EndFrame):
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._heard_at - time.monotonic())):
                    await self._interrupted.wait()
        if isinstance(frame, EndFrame | CancelFrame):
            await self._leave()
        return None

    async def _leave(self) -> None:
        """Hang up, once: a CancelFrame may come while EndFrame waits."""
        hang_up, self._hang_up = self._hang_up, None
        if hang_up is None:
            return
        try:
            await hang_up()
        except Exception:  # the SDK's, of a call that is over, too; the pipeline must end all the same
            log.exception("pipecat: the call could not be hung up")

    def _opened(self, metadata: AudioMetadata) -> None:
        try:
            check_rate(metadata.sample_rate, "sampleRate")
        except ConfigError as error:
            log.error("the stream cannot be used: %s", error)
            return
        self._stream_rate = metadata.sample_rate
        self._inward.clear()
        self._outward = None

    def _heard(self, message: AudioData) -> Frame | None:
        speaker = message.participant_raw_id
        pcm = message.data or bytes(self._stream_rate // 25)
        if self._stream_rate != self._pipeline_rate:
            converter = self._inward.get(speaker)
            if converter is None:
                if len(self._inward) >= SPEAKERS_KEPT:
                    del self._inward[next(iter(self._inward))]
                converter = self._inward[speaker] = RateConverter(self._stream_rate, self._pipeline_rate)
            pcm = converter.process(pcm)
            if not pcm:
                return None
        if speaker is None:
            return InputAudioRawFrame(pcm, self._pipeline_rate, 1)
        return UserAudioRawFrame(pcm, self._pipeline_rate, 1, user_id=speaker)

    def _said(self, frame: AudioRawFrame) -> str | None:
        if frame.num_channels != 1:
            raise ConfigError(f"the stream has one channel, the pipeline's sound {frame.num_channels}: "
                              "set audio_out_channels=1")  # fmt: skip
        pcm = frame.audio
        if frame.sample_rate != self._stream_rate:
            if self._outward is None or self._outward.from_rate != frame.sample_rate:
                check_rate(frame.sample_rate, "audio_out_sample_rate")
                self._outward = RateConverter(frame.sample_rate, self._stream_rate)
            pcm = self._outward.process(pcm)
        if not pcm:
            return None
        now = time.monotonic()
        self._interrupted.clear()
        self._heard_at = max(now, self._heard_at) + len(pcm) / 2 / self._stream_rate
        return app_audio(pcm)
