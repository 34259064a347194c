"""One call as its agent has it: what the caller says, what is said to them, keys, turns, and the call's control.

The stream is read here and nowhere else, so turns are seen and barge-in works whatever the agent is doing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from itertools import count as counter
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import Struct

from offhook.audio.pcm import from_bytes, to_bytes
from offhook.audio.resample import StreamResampler
from offhook.errors import OffhookError
from offhook.kit import sdk
from offhook.kit.barge_in import BargeIn
from offhook.kit.feed import Feed, Listener
from offhook.kit.framing import Framer
from offhook.kit.keys import gather
from offhook.kit.loading import loader
from offhook.kit.playback import Playback, PlayQueue
from offhook.kit.session import Audio, Dtmf, Event, Opened, PlayQueueFull
from offhook.kit.sources import Puller, Source, is_pcm, over
from offhook.kit.stream import Stream, StreamClosed
from offhook.kit.telemetry import CallTelemetry
from offhook.kit.turns import TurnEvent, TurnTaking
from offhook.wire.app_events import IncomingCall
from offhook.wire.callbacks import CallbackEvent, CallDisconnected, CallTransferAccepted, CallTransferFailed
from offhook.wire.turns import TurnReport

if TYPE_CHECKING:
    from azure.communication.callautomation import CommunicationIdentifier
    from azure.communication.callautomation.aio import CallConnectionClient

E = TypeVar("E", bound=CallbackEvent)

log: Final = logging.getLogger("offhook.kit")

AUDIO_KEPT: Final = 50 * 15
"""Frames that a listener may be behind; then the oldest are dropped and counted."""
EVENTS_KEPT: Final = 1000
MOST_SPEAKERS: Final = 64
"""Speakers of an unmixed stream whose sound is resampled at once."""
TRANSFER_S: Final = 90.0
"""How long a transfer may take: the service rings its target for 60 s."""
OVERTAKEN_S: Final = 2.0
"""How much later than the end of its call a transfer may be told accepted: callbacks can overtake one another."""
GREETING_S: Final = 5.0
"""How long a stream's first message may take."""
_transfers: Final = counter(1)


class CallEnded(OffhookError):
    """Something was asked of a call that is over."""


class TransferFailed(OffhookError):
    """The target did not take the call, which goes on; `code`, `sub_code` as of the service (protocol.md 5.8), or 0."""

    def __init__(self, message: str, code: int = 0, sub_code: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.sub_code = sub_code


class SoundFrame(Struct, frozen=True, gc=False):
    """20 ms of sound: PCM16 LE mono at `rate`; `speaker` is a raw id in unmixed streams, else None."""

    pcm: bytes
    rate: int
    speaker: str | None = None
    silent: bool = False


class Call:
    """A call that was answered, or placed, and whose stream is open."""

    def __init__(
        self,
        connection: CallConnectionClient,
        call_connection_id: str,
        incoming: IncomingCall | None,
        turn_taking: TurnTaking,
        *,
        changed: Callable[[], None] | None = None,
    ) -> None:
        """`changed` is called when the call has opened or ended; the app shell makes calls."""
        self.connection = connection
        """The official SDK's client of this call, for everything that is not here."""
        self.id = call_connection_id
        self.incoming = incoming
        """What Event Grid told of it; None for a call that the app has placed."""
        self.turn_taking = turn_taking
        self.ended = asyncio.Event()
        """The call is over, or its stream is gone for good."""
        self.opened = asyncio.Event()
        """The stream is open; the agent is started then."""
        self.gone = False
        """The service has said that the call is over: there is nothing to hang up any more."""
        self.follows_turns = turn_taking.barge_in
        """Whether it is listened to who speaks when; without barge-in from the first look at `turns` on."""
        self.transferred = False
        """A transfer of it was accepted: it goes on elsewhere."""
        self._hung_up = False
        self._changed = changed
        self._stream: Stream | None = None
        self._queue: PlayQueue | None = None
        self._puller: Puller | None = None
        self._pulling: asyncio.Task[None] | None = None
        self._barge_in: BargeIn | None = None
        self._turns_failed = False
        self._framer = Framer(0)
        self._last: Playback | None = None
        self._frames: Feed[SoundFrame] = Feed(AUDIO_KEPT)
        self._keys: Feed[str] = Feed(EVENTS_KEPT)
        self._turn_events: Feed[TurnEvent] = Feed(EVENTS_KEPT)
        self._events: Feed[CallbackEvent] = Feed(EVENTS_KEPT)
        self._telemetry: CallTelemetry | None = None
        self.shares_turns = False
        """Whether a node that is Offhook is told of each turn."""
        self.on_turn: Callable[[TurnReport], None] = lambda turn: None
        """Told of each turn when it is over."""

    # ------------------------------------------------------------------ who

    @property
    def caller(self) -> str:
        """Raw id of who called, such as 4:+15550100001; empty in a call that the app has placed."""
        return self.incoming.caller.raw_id if self.incoming is not None else ""

    @property
    def callee(self) -> str:
        """Raw id of who was called; empty in a call that the app has placed."""
        return self.incoming.callee.raw_id if self.incoming is not None else ""

    @property
    def custom_headers(self) -> dict[str, str]:
        """What the caller's side gave along, SIP headers and those of calls over the network; names as they came."""
        context = self.incoming.custom_context if self.incoming is not None else None
        if context is None:
            return {}
        given = {**(context.sip_headers or {}), **(context.voip_headers or {})}
        return {name: str(value) for name, value in given.items()}

    @property
    def rate(self) -> int:
        """Hz of the stream: 16000 or 24000."""
        return self.stream.session.sample_rate

    @property
    def stream(self) -> Stream:
        """The stream under it. CallEnded before it is open."""
        if self._stream is None:
            raise CallEnded("the call has no stream yet")
        return self._stream

    # ------------------------------------------------------------------ hearing

    @property
    def audio(self) -> Listener[SoundFrame]:
        """What the caller says from now on, 20 ms at a time, at the stream's rate."""
        return self._frames.listen()

    def audio_at(self, rate: int) -> AsyncIterator[SoundFrame]:
        """As `audio`, at another rate: 8000, 16000, 24000 or 48000 Hz. AudioError for any other."""
        StreamResampler(self.rate, rate)  # told here, and not with the first frame
        return _resampled(self._frames.listen(), self.rate, rate)

    @property
    def dtmf(self) -> Listener[str]:
        """Keys from now on: 0-9 * # A-D."""
        return self._keys.listen()

    async def gather(
        self, count: int | None = None, until: str = "#", timeout: float = 5.0, first_timeout: float = 10.0
    ) -> str:
        """Keys from now on, until there are `count`, or one of `until` (not given back), or none comes in time.

        `timeout`: seconds between keys; `first_timeout`: for the first, from when all that is played was heard. The
        first key stops what is being said. What came so far is given back; "" for nothing.
        """
        return await gather(self, count, until, timeout, first_timeout)

    @property
    def turns(self) -> Listener[TurnEvent]:
        """SpeechStarted, SpeechEnded, Interrupted, Resumed from now on."""
        return self._turn_events.listen()

    @property
    def events(self) -> Listener[CallbackEvent]:
        """Callbacks of this call from now on."""
        return self._events.listen()

    def wait_for(
        self,
        kind: type[E] | tuple[type[E], ...],
        timeout: float | None = None,
        *,
        operation_context: str | None = None,
    ) -> Coroutine[Any, Any, E]:
        """The next callback of a class of `offhook.kit.events`, or of one of several; of one operation only.

        It listens from this call on, not from the `await`: call it, start the operation, then await it. TimeoutError
        after `timeout` seconds; CallEnded when the call ends before.
        """
        return self._wait_for(self._events.listen(), kind, timeout, operation_context)

    async def _wait_for(
        self,
        events: Listener[CallbackEvent],
        kind: type[E] | tuple[type[E], ...],
        timeout: float | None,
        of: str | None,
    ) -> E:
        try:
            async with asyncio.timeout(timeout):
                async for event in events:
                    if isinstance(event, kind) and of in (None, event.operation_context):
                        return event
        except TimeoutError:
            names = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
            raise TimeoutError(f"call {self.id} has had no {names} within {timeout:g} s") from None
        raise CallEnded("the call ended before the event came")

    # ------------------------------------------------------------------ speaking

    def play(self, source: Source, *, interruptible: bool = True) -> Playback:
        """Say something behind what is being said: PCM16 at the stream's rate, a WAV file, or an iterator of PCM16.

        A WAV file is its path or its bytes, of any rate. An iterator, async or plain, is pulled at most 30 s ahead and
        closed when it is cut. Comes back at once; `await call.play(...)` waits until it was heard to the end or cut,
        and raises what the source raised. CallEnded; TypeError for what cannot be played; PlayQueueFull when more than
        ten minutes wait.
        """
        queue, puller = self._queue, self._puller
        if queue is None or puller is None or self.ended.is_set():
            raise CallEnded("the call is over" if self.ended.is_set() else "the call has no stream yet")
        at_once = is_pcm(source) and not puller.busy
        playback = Playback(interruptible=interruptible)
        queue.add(playback)
        try:
            if at_once:
                queue.put(playback, source)  # type: ignore[arg-type]
                self._flush()
            else:
                puller.add(playback, source)
                return playback
        except PlayQueueFull:
            queue.end(playback)
            raise
        queue.end(playback)
        return playback

    async def stop(self) -> float:
        """Cut what is being said and all behind it; how many ms of the current one were heard."""
        heard = self._cut()
        if self._telemetry is not None:
            self._telemetry.stopped()
        return heard

    def interrupt(self) -> None:
        """Cut as barge-in does, and tell it: for who notices the caller's speech by other means, as a model does."""
        if self._barge_in is not None and self.interruptible:
            self._barge_in.cut()

    def noticed(self, *, speaking: bool) -> None:
        """Tell the telemetry that somebody else (a model's service) has noticed: the caller speaks, or has stopped.

        It changes nothing but where a turn's time is counted.
        """
        if self._telemetry is not None:
            self._telemetry.noticed(speaking=speaking)

    async def quiet(self) -> None:
        """Wait until all that was played was heard, or cut."""
        while self._queue is not None and (current := self._queue.current) is not None:
            await over(current)

    @property
    def heard(self) -> float:
        """How many ms of what is being said, or was said last, the caller has heard."""
        current = self._queue.current if self._queue is not None else None
        last = current or self._last
        return last.heard_ms if last is not None else 0.0

    @property
    def speaking(self) -> bool:
        """Whether the caller hears the app; not whether it is sending."""
        return self._queue is not None and self._queue.speaking

    @property
    def interruptible(self) -> bool:
        """Whether something is being said that may be cut."""
        current = self._queue.current if self._queue is not None else None
        return current is not None and current.interruptible

    # ------------------------------------------------------------------ control

    async def hang_up(self, *, for_everyone: bool = True) -> None:
        """End the call. Harmless when it is over. The SDK's HttpResponseError when the service does not want to."""
        from azure.core.exceptions import ResourceNotFoundError

        if self.gone or self._hung_up:
            return
        if self._telemetry is not None:
            self._telemetry.end()  # told while there still is a stream to tell it on
        try:
            await self.connection.hang_up(is_for_everyone=for_everyone)
        except ResourceNotFoundError:
            pass  # it is over
        self._hung_up = True

    async def transfer(
        self,
        target: str | CommunicationIdentifier,
        *,
        transferee: str | CommunicationIdentifier | None = None,
        caller_id: str | None = None,
        sip_headers: dict[str, str] | None = None,
        voip_headers: dict[str, str] | None = None,
        timeout: float = TRANSFER_S,
    ) -> CallTransferAccepted:
        """Hand the caller (or `transferee`) over to `target`, and wait until that was accepted.

        `target` is a phone number ("+15550100003"), a raw id, or an identifier of the SDK; `caller_id` the number that
        a phone is shown. TransferFailed says why not, and the call goes on; WireError for a target that is none.
        """
        from azure.core.exceptions import AzureError

        context = f"transfer-{next(_transfers)}"
        kinds = (CallTransferAccepted, CallTransferFailed)
        decided = self._wait_for(self._events.listen(OVERTAKEN_S), kinds, timeout, context)
        try:
            await self.connection.transfer_call_to_participant(
                sdk.identifier(target),
                transferee=sdk.identifier(transferee) if transferee is not None else None,
                source_caller_id_number=sdk.phone(caller_id),
                operation_context=context,
                sip_headers=sip_headers,
                voip_headers=voip_headers,
            )
            event = await decided
        except AzureError as error:
            raise TransferFailed(f"the transfer was refused: {sdk.reason_of(error)}", sdk.status_of(error)) from error
        except (TimeoutError, CallEnded) as error:
            raise TransferFailed(f"the transfer was not decided: {error}") from error
        finally:
            decided.close()
        if isinstance(event, CallTransferAccepted):
            self.transferred = self.transferred or transferee is None
            return event
        code, sub_code = event.code or 0, event.sub_code or 0
        raise TransferFailed(f"the transfer failed: {code}/{sub_code} {event.message}", code, sub_code)

    # ------------------------------------------------------------------ run by the app shell

    def take_event(self, event: CallbackEvent) -> None:
        """A callback has come."""
        self._events.put(event)
        if isinstance(event, CallDisconnected):
            self.fail()

    def fail(self) -> None:
        """The service has said that it is over, or that it never began."""
        self.gone = True
        self.end()

    async def run(self, stream: Stream) -> None:
        """Read the stream until it ends, and the call with it."""
        try:
            await self.carry(stream)
        finally:
            self.end()

    async def carry(self, stream: Stream) -> None:
        """Read a stream until it ends; another may follow, and goes on where it stopped. StreamClosed."""
        if self._queue is not None:
            # What the service had of it is not known: it is stopped, and said on from where it was heard.
            stream.session = self.stream.session
            if not self._queue.held:
                self._queue.hold()
                self._queue.resume()
        await _greeted(stream)
        if self.ended.is_set():
            return
        self._stream = stream
        if self._queue is None:
            self._framer = Framer(self.rate // 50 * 2)
            self._queue = PlayQueue(stream.session, rewind_ms=self.turn_taking.rewind_ms)
            self._telemetry = CallTelemetry(
                self.id, self._queue, monotonic,
                share=self.shares_turns, told=lambda turn: self.on_turn(turn), send=self._flush,
            )  # fmt: skip
            load = loader(self.turn_taking, self.rate)
            self._barge_in = BargeIn(self._queue, self.turn_taking, self._take_turn, self._flush, load)
            self._puller = Puller(self._queue, self.rate, self.id, self._flush)
            self._pulling = asyncio.create_task(self._puller.run(), name=f"sources of call {self.id}")
            self.opened.set()
            self._tell()
        if self._telemetry is not None:
            self._telemetry.attach(stream)
        self._flush()
        await stream.each(self._take_message)

    def _take_message(self, event: Event) -> None:
        if isinstance(event, Audio):
            self._take_frame(event)
        elif isinstance(event, Dtmf):
            self._keys.put(event.tone)

    def _take_frame(self, event: Audio) -> None:
        try:
            for even in self._framer.frames(event):
                self._hear(even)
        except Exception:
            if not self._turns_failed:
                self._turns_failed = True
                log.exception("call %s: turns cannot be told any more", self.id)
                if self._barge_in is not None:
                    self._barge_in.close()

    def _hear(self, event: Audio) -> None:
        assert self._queue is not None and self._barge_in is not None and self._puller is not None
        self._last = self._queue.current or self._last
        self._queue.advance()
        self._puller.heard()
        if self._telemetry is not None:
            self._telemetry.frame()
        frame = event.frame
        self._frames.put(SoundFrame(frame.data, self.rate, frame.participant_raw_id, frame.is_silent))
        if self._turns_failed:
            return
        if not self.follows_turns and not self._turn_events.listened:
            return  # it costs more than all else
        self.follows_turns = True
        self._barge_in.hear(frame.data, frame.participant_raw_id)

    def _take_turn(self, event: TurnEvent) -> None:
        if self._telemetry is not None:
            self._telemetry.event(event)
        self._turn_events.put(event)

    def _cut(self) -> float:
        if self._queue is None:
            return 0.0
        cut = self._queue.cut()
        self._flush()
        if cut:
            self._last = cut[0]
            return cut[0].heard_ms
        return 0.0

    def _flush(self) -> None:
        if self._stream is not None:
            self._stream.flush_soon()

    def end(self) -> None:
        """It is over for the agent."""
        if self.ended.is_set():
            return
        self.ended.set()
        if self._telemetry is not None:
            self._telemetry.end()
        self._cut()
        if self._barge_in is not None:
            self._barge_in.close()
        if self._pulling is not None:
            self._pulling.cancel()
        for feed in (self._frames, self._keys, self._turn_events, self._events):
            feed.end()
        self._tell()

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed()


async def _resampled(frames: Listener[SoundFrame], from_rate: int, rate: int) -> AsyncIterator[SoundFrame]:
    resamplers: dict[str | None, StreamResampler] = {}
    async for frame in frames:
        resampler = resamplers.get(frame.speaker)
        if resampler is None:
            if len(resamplers) >= MOST_SPEAKERS:
                resamplers.clear()
            resampler = resamplers[frame.speaker] = StreamResampler(from_rate, rate)
        pcm = to_bytes(resampler.process(from_bytes(frame.pcm)))
        yield SoundFrame(pcm, rate, frame.speaker, frame.silent)


async def _greeted(stream: Stream) -> None:
    """Wait for the metadata of a stream, which each has again (protocol.md 2.3)."""
    try:
        async with asyncio.timeout(GREETING_S):
            async for event in stream:
                if isinstance(event, Opened):
                    return
    except TimeoutError:
        raise StreamClosed(f"the stream has had no metadata within {GREETING_S:g} s") from None
    raise StreamClosed("the stream was closed before its metadata came")
