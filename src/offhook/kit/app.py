"""The app shell: `VoiceApp` answers calls through the official SDK and runs your agent for each (protocol.md 2, 5, 6).

It is neutral to the server that carries it: `web` mounts it on aiohttp or any ASGI server, or runs it alone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from offhook.errors import ConfigError, WireError
from offhook.kit.call import Call, CallEnded
from offhook.kit.stream import Stream, StreamClosed, TokenSetting, resolve_check
from offhook.kit.tokens import TokenError
from offhook.kit.turns import TurnTaking
from offhook.wire.app_events import (
    CallbackEvent,
    IncomingCall,
    SubscriptionValidation,
    read_callbacks,
    read_grid_events,
)
from offhook.wire.turns import TurnReport

if TYPE_CHECKING:
    from azure.communication.callautomation.aio import CallAutomationClient

log: Final = logging.getLogger("offhook.kit")

INCOMING: Final = "/api/incomingCall"
CALLBACKS: Final = "/api/callbacks"
STREAMS: Final = "/ws"
STREAM_WAIT_S: Final = 20.0
"""How long an answered call may have no stream."""
LEAVE_S: Final = 5.0
"""How long an agent may go on when its call is over."""
RATES: Final = {16000: "pcm16KMono", 24000: "pcm24KMono"}

Agent: TypeAlias = Callable[[Call], Awaitable[None]]
EventHandler: TypeAlias = Callable[[Call, CallbackEvent], Awaitable[None]]
A = TypeVar("A", bound=Agent)
H = TypeVar("H", bound=EventHandler)
TurnHandler: TypeAlias = Callable[[Call, TurnReport], None]
M = TypeVar("M", bound=TurnHandler)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a webhook answers."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain"


@dataclass(slots=True)
class _Pending:
    """A call from its IncomingCall on; `secret` is in the addresses that only the service is told."""

    secret: str
    incoming: IncomingCall | None
    call: Call | None = None
    stream: asyncio.Future[Stream] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    over: asyncio.Event = field(default_factory=asyncio.Event)


class VoiceApp:
    """A voice agent's app: `@app.on_call` is your agent, `app.run()` serves it."""

    def __init__(
        self,
        connection_string: str | None = None,
        *,
        public_url: str | None = None,
        rate: int = 24000,
        turn_taking: TurnTaking | None = None,
        token_check: TokenSetting = ...,
        telemetry: bool = False,
    ) -> None:
        """What is not given comes from ACS_CONNECTION_STRING, PUBLIC_URL and ACS_RESOURCE_ID. ConfigError.

        `telemetry`: a node that says that it is Offhook is told of each turn, and shows it; real ACS never is.
        """
        if rate not in RATES:
            raise ConfigError(f"rate is 16000 or 24000 (what the service can stream), not {rate!r}")
        self._connection_string = connection_string
        self.public_url = public_url or os.environ.get("PUBLIC_URL") or ""
        """Base URL under which the service reaches this app; `run` sets it when it is not given."""
        self.rate = rate
        self.turn_taking = turn_taking or TurnTaking()
        self._token_setting = token_check
        self._agent: Agent | None = None
        self.telemetry = telemetry
        self._turn_handlers: list[TurnHandler] = []
        self._handlers: dict[str, list[EventHandler]] = {}
        self._client: CallAutomationClient | None = None
        self._calls: dict[str, _Pending] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._seen: dict[str, None] = {}

    # ------------------------------------------------------------------ what the user writes

    def on_call(self, agent: A) -> A:
        """Decorator: runs for each call when its stream is open. When it returns, the call is hung up."""
        self._agent = agent
        return agent

    def on(self, event_type: str) -> Callable[[H], H]:
        """Decorator for a callback's handler: `@app.on("CallTransferAccepted")`; several may have one event."""

        def register(handler: H) -> H:
            self._handlers.setdefault(event_type, []).append(handler)
            return handler

        return register

    def on_turn(self, handler: M) -> M:
        """Decorator: is given the call and each of its turns when it is over, for your metrics; it must not block."""
        self._turn_handlers.append(handler)
        return handler

    def run(self, host: str = "127.0.0.1", port: int | None = None) -> None:
        """Serve until SIGINT or SIGTERM. A port that is not given comes from PORT, or is 8000."""
        from offhook.kit.web import run

        run(self, host, int(os.environ.get("PORT") or 8000) if port is None else port)

    # ------------------------------------------------------------------ what a server hands in

    async def on_incoming(self, body: bytes) -> Answer:
        """The body of a post of Event Grid."""
        try:
            events = read_grid_events(body)
        except WireError as error:
            return Answer(400, f"{error}\n".encode())
        for event in events:
            if isinstance(event, SubscriptionValidation):
                return Answer(200, event.answer, "application/json")
            if isinstance(event, IncomingCall) and self._is_new(event.incoming_call_context):
                self._start(self._take(event))
        return Answer()

    async def on_callback(self, secret: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """The body of a callback; `secret` is the end of its path, `headers` by lower-case name."""
        check = resolve_check(self._token_setting)
        try:
            if check is not None:
                await check.verify(headers.get("authorization"), time.time())
            events = read_callbacks(body)
        except TokenError as error:
            return Answer(401, f"{error}\n".encode())
        except WireError as error:
            return Answer(400, f"{error}\n".encode())
        pending = self._calls.get(secret)
        for event in events:
            if pending is not None:
                self._dispatch(pending, event)
        return Answer()

    async def on_stream(self, secret: str, stream: Stream) -> None:
        """A socket whose token was checked; returns when it is over."""
        pending = self._calls.get(secret)
        if pending is None or pending.stream.done():
            log.warning("a stream for no call of this app was closed (connection %s)", stream.call_connection_id)
            await stream.close(1008, "no such call")
            return
        pending.stream.set_result(stream)
        await pending.over.wait()

    # ------------------------------------------------------------------ a call's life

    async def _take(self, incoming: IncomingCall) -> None:
        from azure.core.exceptions import AzureError

        pending = _Pending(secrets.token_urlsafe(18), incoming)
        self._calls[pending.secret] = pending
        try:
            answered = await self._sdk().answer_call(
                incoming.incoming_call_context,
                f"{self.public_url}{CALLBACKS}/{pending.secret}",
                media_streaming=self._streaming(pending.secret),
            )
            connection_id = answered.call_connection_id or ""
            connection = self._sdk().get_call_connection(connection_id)
            pending.call = Call(connection, connection_id, incoming, self.turn_taking)
            pending.call.shares_turns = self.telemetry
            pending.call.on_turn = partial(self._turn_over, pending.call)
            await self._run(pending, pending.call)
        except AzureError as error:
            log.error("a call from %s could not be answered: %s", incoming.caller.raw_id or "unknown", error)
        finally:
            self._calls.pop(pending.secret, None)
            pending.over.set()

    async def _run(self, pending: _Pending, call: Call) -> None:
        try:
            stream = await asyncio.wait_for(pending.stream, STREAM_WAIT_S)
        except TimeoutError:
            log.error("call %s has no stream after %g s: it is hung up", call.id, STREAM_WAIT_S)
            await call.hang_up()
            return
        reading = asyncio.ensure_future(call.run(stream))
        agent = asyncio.ensure_future(self._run_agent(call))
        try:
            await asyncio.wait({reading, agent}, return_when=asyncio.FIRST_COMPLETED)
            if not agent.done():
                await asyncio.wait({agent}, timeout=LEAVE_S)
            if not agent.done():
                log.warning("the agent of call %s goes on %g s after its end: it is cancelled", call.id, LEAVE_S)
        finally:
            agent.cancel()
            with suppress(StreamClosed):
                await call.hang_up()
            await stream.close()
            reading.cancel()
            await asyncio.wait({agent, reading})

    async def _run_agent(self, call: Call) -> None:
        await call.opened.wait()
        try:
            if self._agent is not None:
                await self._agent(call)
        except (CallEnded, StreamClosed):
            return
        except Exception:
            log.exception("the agent of call %s failed: the call is hung up", call.id)

    def _dispatch(self, pending: _Pending, event: CallbackEvent) -> None:
        call = pending.call
        if call is None:
            return
        call.take_event(event)
        for handler in self._handlers.get(event.type, ()):
            self._start(handler(call, event))

    def _turn_over(self, call: Call, turn: TurnReport) -> None:
        for handler in self._turn_handlers:
            try:
                handler(call, turn)
            except Exception:
                log.exception("call %s: the handler of turns %s failed", call.id, handler)

    # ------------------------------------------------------------------ small things

    def _sdk(self) -> CallAutomationClient:
        if self._client is None:
            from azure.communication.callautomation.aio import CallAutomationClient

            text = self._connection_string or os.environ.get("ACS_CONNECTION_STRING")
            if not text:
                raise ConfigError("ACS_CONNECTION_STRING is not set: run it as  offhook exec -- python app.py")
            self._client = CallAutomationClient.from_connection_string(text)
        return self._client

    def _streaming(self, secret: str) -> Any:
        from azure.communication.callautomation import (
            AudioFormat,
            MediaStreamingAudioChannelType,
            MediaStreamingContentType,
            MediaStreamingOptions,
            StreamingTransportType,
        )

        return MediaStreamingOptions(
            transport_url=f"ws{self.public_url.removeprefix('http')}{STREAMS}/{secret}",
            transport_type=StreamingTransportType.WEBSOCKET,
            content_type=MediaStreamingContentType.AUDIO,
            audio_channel_type=MediaStreamingAudioChannelType.MIXED,
            start_media_streaming=True,
            enable_bidirectional=True,
            audio_format=AudioFormat(RATES[self.rate]),
            enable_dtmf_tones=True,
        )

    def _is_new(self, context: str) -> bool:
        if context in self._seen:
            return False
        self._seen[context] = None
        if len(self._seen) > 256:
            del self._seen[next(iter(self._seen))]
        return True

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End all calls' agents and the SDK's connections."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._client is not None:
            await self._client.close()
