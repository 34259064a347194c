"""One call as its agent has it: what the caller says, what is said to them, keys, turns, and the call's control.

The stream is read here and nowhere else, so turns are seen and barge-in works whatever the agent is doing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from time import monotonic
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from offhook.audio.pcm import from_bytes, to_bytes
from offhook.audio.resample import StreamResampler
from offhook.errors import OffhookError
from offhook.kit.feed import Feed, Listener
from offhook.kit.playback import Playback, PlayQueue
from offhook.kit.session import Audio, Dtmf
from offhook.kit.sources import Source, pieces
from offhook.kit.stream import Stream, StreamClosed
from offhook.kit.telemetry import CallTelemetry
from offhook.kit.turns import Interrupted, SpeechStarted, TurnEvent, Turns, TurnTaking
from offhook.wire.app_events import CallbackEvent, IncomingCall
from offhook.wire.turns import TurnReport

if TYPE_CHECKING:
    from azure.communication.callautomation.aio import CallConnectionClient

log: Final = logging.getLogger("offhook.kit")

AUDIO_KEPT: Final = 50 * 15
"""Frames that a listener may be behind; then the oldest are dropped and counted."""
EVENTS_KEPT: Final = 1000


class CallEnded(OffhookError):
    """Something was asked of a call that is over."""


class SoundFrame(Struct, frozen=True, gc=False):
    """20 ms of sound: PCM16 LE mono at `rate`; `speaker` is a raw id in unmixed streams, else None."""

    pcm: bytes
    rate: int
    speaker: str | None = None
    silent: bool = False


class Call:
    """A call that was answered and whose stream is open."""

    def __init__(
        self,
        connection: CallConnectionClient,
        call_connection_id: str,
        incoming: IncomingCall | None,
        turn_taking: TurnTaking,
    ) -> None:
        self.connection = connection
        """The official SDK's client of this call, for everything that is not here."""
        self.id = call_connection_id
        self.incoming = incoming
        self.turn_taking = turn_taking
        self.ended = asyncio.Event()
        """The call, or its stream, is over."""
        self.opened = asyncio.Event()
        """The stream is open; the agent is started then."""
        self._stream: Stream | None = None
        self._queue: PlayQueue | None = None
        self._turns: Turns | None = None
        self._frames: Feed[SoundFrame] = Feed(AUDIO_KEPT)
        self._keys: Feed[str] = Feed(EVENTS_KEPT)
        self._turn_events: Feed[TurnEvent] = Feed(EVENTS_KEPT, self._turn_changed)
        self._events: Feed[CallbackEvent] = Feed(EVENTS_KEPT)
        self._sources: asyncio.Queue[tuple[Playback, Source]] = asyncio.Queue()
        self._send_due = asyncio.Event()
        self._telemetry: CallTelemetry | None = None
        self.shares_turns = False
        """Whether a node that is Offhook is told of each turn."""
        self.on_turn: Callable[[TurnReport], None] = lambda turn: None
        """Told of each turn when it is over."""

    # ------------------------------------------------------------------ who

    @property
    def caller(self) -> str:
        """Raw id of who called, such as 4:+15550100001; empty in a call that the app has made."""
        return self.incoming.caller.raw_id if self.incoming is not None else ""

    @property
    def callee(self) -> str:
        """Raw id of who was called."""
        return self.incoming.callee.raw_id if self.incoming is not None else ""

    @property
    def rate(self) -> int:
        """Hz of the stream: 16000 or 24000."""
        return self.stream.session.sample_rate

    @property
    def stream(self) -> Stream:
        """The stream under it. CallEnded before it is open."""
        if self._stream is None:
            raise CallEnded("the call has no stream")
        return self._stream

    # ------------------------------------------------------------------ hearing

    @property
    def audio(self) -> AsyncIterator[SoundFrame]:
        """What the caller says from now on, 20 ms at a time, at the stream's rate."""
        return self._frames.listen()

    async def audio_at(self, rate: int) -> AsyncIterator[SoundFrame]:
        """As `audio`, at another rate."""
        resampler = StreamResampler(self.rate, rate)
        async for frame in self._frames.listen():
            pcm = to_bytes(resampler.process(from_bytes(frame.pcm)))
            yield SoundFrame(pcm, rate, frame.speaker, frame.silent)

    @property
    def dtmf(self) -> AsyncIterator[str]:
        """Keys from now on: 0-9 * # A-D."""
        return self._keys.listen()

    @property
    def turns(self) -> Listener[TurnEvent]:
        """SpeechStarted, SpeechEnded, Interrupted, Resumed from now on."""
        return self._turn_events.listen()

    @property
    def events(self) -> AsyncIterator[CallbackEvent]:
        """Callbacks of this call from now on."""
        return self._events.listen()

    # ------------------------------------------------------------------ speaking

    def play(self, source: Source, *, interruptible: bool = True) -> Playback:
        """Say something behind what is being said: PCM16 at the stream's rate, a WAV file, or an async iterator.

        Comes back at once; `await call.play(...)` waits until it was heard to the end or cut. CallEnded.
        """
        if self.ended.is_set() or self._queue is None:
            raise CallEnded("the call is over")
        playback = Playback(interruptible=interruptible)
        self._queue.add(playback)
        if isinstance(source, bytes | bytearray | memoryview) and self._sources.empty():
            self._queue.put(playback, source)
            self._queue.end(playback)
            self._send_due.set()
        else:
            self._sources.put_nowait((playback, source))
        return playback

    async def stop(self) -> float:
        """Cut what is being said and all behind it; how many ms of the current one were heard."""
        heard = self._cut()
        if self._telemetry is not None:
            self._telemetry.stopped()
        return heard

    @property
    def heard(self) -> float:
        """How many ms of what is being said, or was said last, the caller has heard."""
        queue = self._queue
        return queue.current.heard_ms if queue is not None and queue.current is not None else 0.0

    @property
    def speaking(self) -> bool:
        """Whether the caller hears the app; not whether it is sending."""
        return self._queue is not None and self._queue.speaking

    # ------------------------------------------------------------------ control

    async def hang_up(self, *, for_everyone: bool = True) -> None:
        """End the call. Harmless when it is over."""
        from azure.core.exceptions import ResourceNotFoundError

        if self.ended.is_set():
            return
        if self._telemetry is not None:
            self._telemetry.end()  # told while there still is a stream to tell it on
        try:
            await self.connection.hang_up(is_for_everyone=for_everyone)
        except ResourceNotFoundError:
            return

    # ------------------------------------------------------------------ run by the app shell

    def take_event(self, event: CallbackEvent) -> None:
        """A callback has come."""
        self._events.put(event)
        if event.type == "CallDisconnected":
            self._end()

    async def run(self, stream: Stream) -> None:
        """Read the stream until it ends."""
        await stream.opened()
        self._stream = stream
        self._queue = PlayQueue(stream.session)
        self._turns = Turns(self.turn_taking, self.rate)
        self._telemetry = CallTelemetry(
            self.id, stream, self._queue, monotonic,
            share=self.shares_turns, told=lambda turn: self.on_turn(turn), send=self._send_due.set,
        )  # fmt: skip
        self.opened.set()
        workers = [asyncio.create_task(self._send()), asyncio.create_task(self._pull())]
        try:
            async for event in stream:
                if isinstance(event, Audio):
                    self._hear(event)
                elif isinstance(event, Dtmf):
                    self._keys.put(event.tone)
        finally:
            for worker in workers:
                worker.cancel()
            self._end()

    def _hear(self, event: Audio) -> None:
        assert self._queue is not None and self._turns is not None
        self._queue.advance()
        if self._telemetry is not None:
            self._telemetry.frame()
        frame = event.frame
        self._frames.put(SoundFrame(frame.data, self.rate, frame.participant_raw_id, frame.is_silent))
        change = self._turns.feed(frame.data, None)
        if change is None:
            return
        self._turn_events.put(change)
        current = self._queue.current
        if isinstance(change, SpeechStarted) and self.turn_taking.barge_in and current and current.interruptible:
            self._turn_events.put(Interrupted(self._cut()))

    def _turn_changed(self, event: TurnEvent) -> None:
        if self._telemetry is not None:
            self._telemetry.event(event)

    def _cut(self) -> float:
        if self._queue is None:
            return 0.0
        while not self._sources.empty():
            self._sources.get_nowait()
        cut = self._queue.cut()
        self._send_due.set()
        return cut[0].heard_ms if cut else 0.0

    async def _send(self) -> None:
        while True:
            await self._send_due.wait()
            self._send_due.clear()
            try:
                await self.stream.flush()
            except StreamClosed:
                return

    async def _pull(self) -> None:
        assert self._queue is not None
        while True:
            playback, source = await self._sources.get()
            try:
                async for piece in pieces(source, self.rate):
                    if playback.done:
                        break
                    self._queue.put(playback, piece)
                    self._send_due.set()
            except Exception:
                log.exception("call %s: a source of sound failed", self.id)
            self._queue.end(playback)

    def _end(self) -> None:
        if self.ended.is_set():
            return
        self.ended.set()
        if self._telemetry is not None:
            self._telemetry.end()
        if self._queue is not None:
            self._queue.cut()
        for feed in (self._frames, self._keys, self._turn_events, self._events):
            feed.end()

