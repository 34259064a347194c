"""One call from its announcement to its end: answered or placed, matched with its sockets and callbacks, its agent run.

A socket belongs to a call by the secret in its path, which only the service was told, and by the connection id in its
header; its token was checked before (protocol.md 2.2). Sockets and callbacks may come before the SDK's answer returns,
and a socket may be dialled again after a break (2.10).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from offhook.errors import OffhookError
from offhook.kit import sdk
from offhook.kit.call import Call, CallEnded
from offhook.kit.decisions import Decision, Ignore, Redirect, Reject
from offhook.kit.stream import POLICY, Stream, StreamClosed
from offhook.wire.app_events import IncomingCall
from offhook.wire.callbacks import (
    AnswerFailed,
    CallbackEvent,
    CallConnected,
    CreateCallFailed,
    MediaStreamingFailed,
    MediaStreamingStarted,
    MediaStreamingStopped,
)

if TYPE_CHECKING:
    from azure.communication.callautomation import CallConnectionProperties

    from offhook.kit.app import VoiceApp

log: Final = logging.getLogger("offhook.kit")

STREAM_WAIT_S: Final = 20.0
"""How long a call that is up may have no stream at first."""
REDIAL_WAIT_S: Final = 12.0
"""How long a call may have no stream after it had one: the service dials again for some seconds."""
RING_S: Final = 200.0
"""How long a call that is placed may ring."""
REPLACE_WAIT_S: Final = 5.0
"""How long a second socket waits for the end of the first, which is ended if nothing has come on it meanwhile."""
LEAVE_S: Final = 5.0
"""How long an agent, or a callback's handler, may go on when its call is over; how long the last callback may take."""
HANG_UP_S: Final = 30.0
"""How long hanging up may take, with all that the SDK tries again."""
HURRY_S: Final = 3.0
"""How long it may take when the app closes."""
FILTER_S: Final = 20.0
"""How long a filter of incoming calls may take; then the caller is refused."""
EARLY_EVENTS: Final = 100
"""Callbacks that are kept until the SDK's answer has returned."""
SOCKETS: Final = 4
"""Sockets of one call that are open or wait at once."""
HANDLERS: Final = 256
"""Handlers of one call's callbacks that run at once."""

EventHandler: TypeAlias = Callable[[Call, Any], Awaitable[None]]

CURRENT: ContextVar[Call | None] = ContextVar("offhook_call", default=None)
"""The call whose agent or handler runs, also in the tasks that they have started."""


class DialFailed(OffhookError):
    """A call that was placed did not come about; `code`, `sub_code` as of the service (protocol.md 5.8), or 0."""

    def __init__(self, message: str, code: int = 0, sub_code: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.sub_code = sub_code


class Life:
    """A call of a VoiceApp; `run` is its whole life."""

    def __init__(self, app: VoiceApp, incoming: IncomingCall | None) -> None:
        self.app = app
        self.incoming = incoming
        self.secret = secrets.token_urlsafe(18)
        self.call: Call | None = None
        self.task: asyncio.Task[None] | None = None
        """Runs `run`."""
        self.up: asyncio.Future[Call] = asyncio.get_running_loop().create_future()
        """The call when its agent starts, or DialFailed; nobody needs to wait for it."""
        self.up.add_done_callback(lambda up: up.cancelled() or up.exception())
        self._news = asyncio.Event()
        self._over = asyncio.Event()
        self._seat = asyncio.Lock()
        self._early: deque[CallbackEvent] = deque()
        self._connected = incoming is not None
        self._failed: CallbackEvent | None = None
        self._paused = False  # the app has stopped its stream: there is none, and there need not be
        self._stream: Stream | None = None
        self._carrying: asyncio.Task[None] | None = None
        self._leaving = False
        self._sockets = 0
        self._lost: asyncio.TimerHandle | None = None
        self._handlers: set[asyncio.Task[None]] = set()

    @property
    def who(self) -> str:
        """The call in a log line."""
        name = f"call {self.call.id}" if self.call is not None else "a call"
        return f"{name} from {self.incoming.caller.raw_id or 'unknown'}" if self.incoming is not None else name

    # ------------------------------------------------------------------ its life

    async def run(self, begin: Callable[[Life], Awaitable[CallConnectionProperties | None]]) -> None:
        """`begin` answers or places it; None when there is no call then. Never raises."""
        try:
            properties = await self._begun(begin)
            if properties is not None:
                await self._live(properties.call_connection_id or "")
        except Exception as error:
            self._tell_failure(error)

    def over(self) -> None:
        """Its task has ended, and may never have begun."""
        self._over.set()
        self._news.set()
        if not self.up.done():
            self.up.set_exception(DialFailed("the call ended before its stream was open"))

    def leave(self) -> None:
        """End it now, because the app closes or nobody waits for it; hanging up that is under way is not disturbed."""
        self._news.set()
        if self.task is not None and not self._leaving and not self.task.cancelling():
            self.task.cancel()

    async def _begun(
        self, begin: Callable[[Life], Awaitable[CallConnectionProperties | None]]
    ) -> CallConnectionProperties | None:
        beginning = asyncio.ensure_future(begin(self))
        try:
            return await asyncio.shield(beginning)
        except asyncio.CancelledError:
            # The app closes while the service answers: what is answered by that is hung up, not left alone.
            self._leaving = True
            await asyncio.wait({beginning}, timeout=HURRY_S)
            if beginning.done() and not beginning.cancelled() and beginning.exception() is None:
                if (properties := beginning.result()) is not None:
                    connection = self.app.client.get_call_connection(properties.call_connection_id or "")
                    await asyncio.wait_for(connection.hang_up(is_for_everyone=True), HURRY_S)
            beginning.cancel()
            raise

    def _tell_failure(self, error: Exception) -> None:
        from azure.core.exceptions import AzureError

        doing = "answered" if self.incoming is not None else "placed"
        if isinstance(error, AzureError):
            log.error("%s could not be %s: %s", self.who, doing, sdk.reason_of(error))
        elif not isinstance(error, DialFailed):
            log.error("%s could not be %s", self.who, doing, exc_info=error)
        if not self.up.done():
            known = isinstance(error, DialFailed)
            self.up.set_exception(error if known else DialFailed(sdk.reason_of(error), sdk.status_of(error)))

    async def _live(self, connection_id: str) -> None:
        connection = self.app.client.get_call_connection(connection_id)
        call = self.call = Call(connection, connection_id, self.incoming, self.app.turn_taking, changed=self._news.set)
        call.follows_turns |= self.app.follows_turns
        call.shares_turns, call.on_turn = self.app.telemetry, partial(self.app.turn_over, call)
        token = CURRENT.set(call)
        agent: asyncio.Task[None] | None = None
        self._news.set()
        try:
            while self._early:
                self._deliver(call, self._early.popleft())
            if await self._opened(call):
                self.up.set_result(call)
                agent = asyncio.create_task(self._run_agent(call), name=f"agent of call {call.id}")
                await self._until(lambda: agent.done() or call.ended.is_set(), None, agent)
                if not agent.done():
                    await asyncio.wait({agent}, timeout=LEAVE_S)
                if not agent.done():
                    log.warning("the agent of %s goes on %g s after its end: it is cancelled", self.who, LEAVE_S)
        finally:
            await self._finish(call, agent)
            CURRENT.reset(token)

    async def _opened(self, call: Call) -> bool:
        """Wait for the stream; False, and why in the log, when the call goes without one."""

        def decided() -> bool:
            return call.opened.is_set() or call.ended.is_set() or self._failed is not None

        if await self._until(lambda: self._connected or decided(), RING_S):
            await self._until(decided, STREAM_WAIT_S)
        if call.opened.is_set() and not call.ended.is_set():
            return True
        ended = self._failed
        result = f": {ended.code}/{ended.sub_code} {ended.message}" if ended is not None else ""
        if isinstance(ended, MediaStreamingFailed):
            log.error("%s has no stream (%s%s): it is hung up", self.who, self._stream_url, result)
        elif call.ended.is_set():
            log.info("%s ended before its stream was open%s", self.who, result)
        elif not self._connected:
            log.error("%s was not taken within %g s: it is hung up", self.who, RING_S)
        else:
            log.error(
                "%s has no stream after %g s: it is hung up. The service dials %s: can it be reached from there?",
                self.who, STREAM_WAIT_S, self._stream_url,
            )  # fmt: skip
        if not self.up.done():
            code, sub_code = (ended.code or 0, ended.sub_code or 0) if ended is not None else (0, 0)
            self.up.set_exception(DialFailed(f"the call did not come about{result}", code, sub_code))
        return False

    @property
    def _stream_url(self) -> str:
        return self.app.stream_address(self.secret).replace(self.secret, "...")

    async def _run_agent(self, call: Call) -> None:
        agent = self.app.agent
        try:
            if agent is not None:
                await agent(call)
        except (CallEnded, StreamClosed):
            if not call.ended.is_set():
                log.exception("the agent of %s failed: the call is hung up", self.who)
        except Exception:
            log.exception("the agent of %s failed: the call is hung up", self.who)

    async def _finish(self, call: Call, agent: asyncio.Task[None] | None) -> None:
        """Nobody is left in silence: the caller is hung up, whatever has happened."""
        self._leaving = True
        if self._lost is not None:
            self._lost.cancel()
        if agent is not None:
            agent.cancel()
        if call.transferred:
            await self._until(lambda: call.gone or self.app.closing, LEAVE_S)
        try:
            await asyncio.wait_for(call.hang_up(), HURRY_S if self.app.closing else HANG_UP_S)
        except Exception as error:
            log.error("%s could not be hung up: %s", self.who, sdk.reason_of(error) or type(error).__name__)
        await self._until(lambda: call.gone or self.app.closing, LEAVE_S)
        call.end()
        self._over.set()
        if self._stream is not None:
            await self._stream.close()
        if self._handlers and not self.app.closing:
            await asyncio.wait(self._handlers, timeout=LEAVE_S)
        for task in self._handlers:
            task.cancel()
        if rest := {*self._handlers, *([agent] if agent is not None else [])}:
            await asyncio.wait(rest, timeout=LEAVE_S)

    async def _until(
        self, holds: Callable[[], bool], seconds: float | None, task: asyncio.Task[None] | None = None
    ) -> bool:
        if task is not None:
            task.add_done_callback(lambda _: self._news.set())
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return True

    # ------------------------------------------------------------------ its sockets

    async def attach(self, stream: Stream) -> None:
        """A socket with this call's secret; returns when it is over."""
        if self._sockets >= SOCKETS:
            await stream.close(POLICY, "too many sockets of one call")
            return
        self._sockets += 1
        try:
            await self._attach(stream)
        finally:
            self._sockets -= 1

    async def _attach(self, stream: Stream) -> None:
        await self._until(lambda: self.call is not None or self._over.is_set(), None)
        call = self.call
        if call is None or self._over.is_set():
            await stream.close(POLICY, "the call is over")
            return
        if stream.call_connection_id not in (None, call.id):
            log.warning("a stream of connection %s was not taken by %s", stream.call_connection_id, self.who)
            await stream.close(POLICY, "another call's stream")
            return
        if not await self._take_seat():
            log.warning("a second stream of %s was not taken: the first is open", self.who)
            await stream.close(POLICY, "the call has a stream")
            return
        try:
            await self._carry(call, stream)
        finally:
            self._seat.release()

    async def _take_seat(self) -> bool:
        """Wait for the end of the stream before. One that is dead, with nobody to say so, is ended."""
        first = self._stream
        came = first.session.stream_ms if first is not None else 0.0
        try:
            await asyncio.wait_for(self._seat.acquire(), REPLACE_WAIT_S)
            return True
        except TimeoutError:
            if first is None or first is not self._stream or first.session.stream_ms > came or self._carrying is None:
                return False
        log.warning("the stream of %s has brought nothing for %g s: another takes its place", self.who, REPLACE_WAIT_S)
        self._carrying.cancel()
        return await self._take_seat()

    async def _carry(self, call: Call, stream: Stream) -> None:
        if self._lost is not None:
            self._lost.cancel()
        self._stream = stream
        over = asyncio.create_task(self._over.wait())
        carrying = self._carrying = asyncio.create_task(call.carry(stream), name=f"stream of call {call.id}")
        try:
            await asyncio.wait({over, carrying}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
            carrying.cancel()
            await asyncio.wait({carrying})
            self._stream = None
            if not carrying.cancelled() and (error := carrying.exception()) is not None:
                if not isinstance(error, StreamClosed):
                    log.error("the stream of %s failed", self.who, exc_info=error)
            self._miss(call)

    def _miss(self, call: Call) -> None:
        """It has no stream: another has to come in time."""
        if self._lost is not None:
            self._lost.cancel()
        if call.opened.is_set() and not self._leaving and not call.gone:
            self._lost = asyncio.get_running_loop().call_later(REDIAL_WAIT_S, self._give_up)

    def _give_up(self, why: str = "") -> None:
        call = self.call
        if call is None or call.gone or self._paused or self._stream is not None:
            return
        if not why and isinstance(self._failed, MediaStreamingFailed):
            why = f"{self._failed.code}/{self._failed.sub_code} {self._failed.message}"
        why = why or f"it was not dialled again within {REDIAL_WAIT_S:g} s"
        if call.opened.is_set():
            log.error("the stream of %s is gone (%s): it is hung up", self.who, why)
        call.end()

    # ------------------------------------------------------------------ its callbacks

    def take(self, event: CallbackEvent) -> None:
        """A callback with this call's secret; what comes early is kept, in order."""
        if self._over.is_set():
            return
        if self.call is not None:
            self._deliver(self.call, event)
        elif len(self._early) < EARLY_EVENTS:
            self._early.append(event)
        else:
            log.warning("%s: %s came too early and was dropped: %d wait already", self.who, event.type, EARLY_EVENTS)

    def _deliver(self, call: Call, event: CallbackEvent) -> None:
        match event:
            case CallConnected():
                self._connected = True
            case MediaStreamingStarted():
                self._paused, self._failed = False, None
                if self._stream is None:
                    self._miss(call)
            case MediaStreamingStopped():
                self._paused = True
            case AnswerFailed() | CreateCallFailed():
                self._failed = event
                call.fail()
            case MediaStreamingFailed():
                self._failed = event
                if call.opened.is_set():
                    self._give_up()
        call.take_event(event)
        for handler in self.app.handlers_of(event):
            if len(self._handlers) >= HANDLERS:
                log.error("%s: %d handlers of callbacks run; %s has none", self.who, HANDLERS, event.type)
                break
            task = asyncio.create_task(self._handle(handler, call, event), name=f"{event.type} of call {call.id}")
            self._handlers.add(task)
            task.add_done_callback(self._handlers.discard)
        self._news.set()

    async def _handle(self, handler: EventHandler, call: Call, event: CallbackEvent) -> None:
        CURRENT.set(call)
        try:
            await handler(call, event)
        except Exception:
            log.exception("a handler of %s failed (%s)", event.type, self.who)


async def decide(filters: Callable[[IncomingCall], Any] | None, incoming: IncomingCall) -> Decision:
    """What the app's filter says about a call that rings; one that fails refuses it."""
    if filters is None:
        return None
    caller = incoming.caller.raw_id or "unknown"
    try:
        async with asyncio.timeout(FILTER_S):
            said = filters(incoming)
            if isinstance(said, Awaitable):
                said = await said
    except Exception:
        log.exception("the filter of incoming calls failed: the call from %s is refused", caller)
        return Reject()
    if said is None or isinstance(said, Reject | Redirect | Ignore):
        return said
    log.error("the filter of incoming calls gave %r, not Reject, Redirect, Ignore or None: it is refused", said)
    return Reject()


async def answer(life: Life) -> CallConnectionProperties | None:
    """Answer a call that rings, or do what the filter says."""
    app, incoming = life.app, life.incoming
    assert incoming is not None
    decision = await decide(app.filter, incoming)
    context = incoming.incoming_call_context
    match decision:
        case Reject(reason):
            await app.client.reject_call(context, call_reject_reason=reason)
            return None
        case Redirect(target):
            await app.client.redirect_call(context, sdk.identifier(target))
            return None
        case Ignore():
            return None
    streaming = app.streaming.options(app.stream_address(life.secret))
    return await app.client.answer_call(context, app.callback_address(life.secret), media_streaming=streaming)
