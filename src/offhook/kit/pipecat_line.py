"""What an AcsTransport stands on: a `Call` of a VoiceApp, or the `Stream` of an app that controls its call itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol, TypeAlias, TypeVar

from offhook.errors import ConfigError
from offhook.kit.call import Call, CallEnded
from offhook.kit.playback import Playback, PlayQueue
from offhook.kit.session import Audio, Dtmf
from offhook.kit.stream import Stream, StreamClosed
from offhook.kit.turns import TurnEvent

T = TypeVar("T")

OnSound: TypeAlias = Callable[[bytes, str | None], Awaitable[None]]
"""Takes 20 ms of PCM16 at the line's rate and who said them, of an unmixed stream."""
OnKey: TypeAlias = Callable[[str], Awaitable[None]]
OnTurn: TypeAlias = Callable[[TurnEvent], Awaitable[None]]


class Line(Protocol):
    """The call under a transport."""

    @property
    def rate(self) -> int:
        """Hz of the stream."""

    async def open(self) -> None:
        """Wait until there is a stream. OffhookError when there never is one."""

    async def read(self, on_sound: OnSound, on_key: OnKey, on_turn: OnTurn) -> None:
        """Tell what comes until the call or its stream is over."""

    def play(self, pcm: bytes, interruptible: bool) -> Playback:
        """Say it behind all that is being said. OffhookError when the call is over, PlayQueueFull."""

    async def stop(self) -> None:
        """Cut what is being said and all behind it. Harmless when the call is over."""

    async def hang_up(self) -> None:
        """End the call. Harmless when it is over."""


class CallLine:
    """A call of the app shell. Its own turn taking cuts what is said only with `turns`; else the pipeline decides."""

    def __init__(self, call: Call, turns: bool) -> None:
        self._call = call
        self._turns = turns

    @property
    def rate(self) -> int:
        """Hz of the stream."""
        return self._call.rate

    async def open(self) -> None:
        """Wait for the stream."""
        await self._call.opened.wait()

    async def read(self, on_sound: OnSound, on_key: OnKey, on_turn: OnTurn) -> None:
        """Tell what comes."""
        beside = [asyncio.create_task(_tell(self._call.dtmf, on_key))]
        if self._turns:
            beside.append(asyncio.create_task(_tell(self._call.turns, on_turn)))
        try:
            async for frame in self._call.audio:
                await on_sound(frame.pcm, frame.speaker)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.wait(beside)

    def play(self, pcm: bytes, interruptible: bool) -> Playback:
        """Say it."""
        return self._call.play(pcm, interruptible=self._turns and interruptible)

    async def stop(self) -> None:
        """Cut all."""
        with suppress(CallEnded, StreamClosed):
            await self._call.stop()

    async def hang_up(self) -> None:
        """End the call."""
        await self._call.hang_up()


class StreamLine:
    """A stream alone. It cannot hang up: `hang_up` does, such as the SDK's; without it the stream is closed."""

    def __init__(self, stream: Stream, hang_up: Callable[[], Awaitable[Any]] | None) -> None:
        self._stream = stream
        self._hang_up = hang_up
        self._queue: PlayQueue | None = None

    @property
    def rate(self) -> int:
        """Hz of the stream."""
        return self._stream.session.sample_rate

    async def open(self) -> None:
        """Wait for the metadata."""
        await self._stream.opened()
        self._queue = PlayQueue(self._stream.session)

    async def read(self, on_sound: OnSound, on_key: OnKey, on_turn: OnTurn) -> None:
        """Tell what comes; a stream alone has no turns."""
        assert self._queue is not None
        try:
            async for event in self._stream:
                if isinstance(event, Audio):
                    self._queue.advance()
                    await on_sound(event.frame.data, event.frame.participant_raw_id)
                elif isinstance(event, Dtmf):
                    await on_key(event.tone)
        finally:
            self._queue.cut()

    def play(self, pcm: bytes, interruptible: bool) -> Playback:
        """Say it."""
        if self._queue is None or self._stream.closed:
            raise StreamClosed("the stream is closed")
        playback = Playback(interruptible=False)
        self._queue.add(playback)
        try:
            self._queue.put(playback, pcm)
        finally:
            self._queue.end(playback)
        self._stream.flush_soon()
        return playback

    async def stop(self) -> None:
        """Cut all."""
        if self._queue is not None and not self._stream.closed:
            self._queue.cut()
            self._stream.flush_soon()

    async def hang_up(self) -> None:
        """End the call, or the stream."""
        try:
            if self._hang_up is not None:
                await self._hang_up()
        finally:
            await self._stream.close()


async def _tell(things: AsyncIterable[T], to: Callable[[T], Awaitable[None]]) -> None:
    async for thing in things:
        await to(thing)


def line_of(call: Call | Stream, hang_up: Callable[[], Awaitable[Any]] | None, turns: bool) -> Line:
    """The line of a call or stream. ConfigError for what does not fit together."""
    if isinstance(call, Stream):
        if turns:
            raise ConfigError("turns=True needs the Call of a VoiceApp: a Stream has no turn taking")
        return StreamLine(call, hang_up)
    if isinstance(call, Call):
        if hang_up is not None:
            raise ConfigError("a Call hangs up itself: hang_up= is for a Stream")
        return CallLine(call, turns)
    raise ConfigError(f"AcsTransport takes the Call of a VoiceApp or a Stream, not {type(call).__name__}")
