"""The app shell: `VoiceApp` answers calls through the official SDK and runs your agent for each (protocol.md 2, 5, 6).

It is neutral to the server that carries it: `web` mounts it on aiohttp or runs it alone, `asgi_app` is for any ASGI
server. What happens to one call is in `life`.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar
from urllib.parse import urlsplit

from offhook.errors import ConfigError, WireError
from offhook.kit import sdk
from offhook.kit.call import Call
from offhook.kit.decisions import Decision
from offhook.kit.life import DialFailed, EventHandler, Life, answer
from offhook.kit.stream import POLICY, Stream, TokenSetting, resolve_check
from offhook.kit.tokens import TokenError
from offhook.kit.turns import TurnTaking
from offhook.kit.vad import voice_detector
from offhook.kit.watchdog import Watchdog
from offhook.wire.app_events import (
    TYPE_PREFIX,
    IncomingCall,
    SubscriptionValidation,
    read_callbacks,
    read_grid_events,
)
from offhook.wire.callbacks import EVENTS, CallbackEvent
from offhook.wire.turns import TurnReport

if TYPE_CHECKING:
    from aiohttp import web
    from azure.communication.callautomation import CallConnectionProperties, CommunicationIdentifier
    from azure.communication.callautomation.aio import CallAutomationClient

    from offhook.kit.asgi_app import AsgiApp

log: Final = logging.getLogger("offhook.kit")

INCOMING: Final = "/api/incomingCall"
CALLBACKS: Final = "/api/callbacks"
STREAMS: Final = "/ws"
MOST_CALLS: Final = 1000
"""Calls of one app at once; who rings then is told to try again."""
CONTEXTS_KEPT: Final = 4096
"""Announcements that are remembered, so that a second delivery is not answered again."""
MOST_BODY: Final = 1 << 20
"""Bytes of a webhook's body."""
CLOSE_S: Final = 10.0
"""How long the calls may take to end when the app closes, and each of its hooks after that."""

Agent: TypeAlias = Callable[[Call], Awaitable[None]]
Hook: TypeAlias = Callable[[], Awaitable[object]]
A = TypeVar("A", bound=Agent)
F = TypeVar("F", bound=Callable[[IncomingCall], Awaitable[Decision] | Decision])
H = TypeVar("H", bound=EventHandler)
K = TypeVar("K", bound=Hook)
TurnHandler: TypeAlias = Callable[[Call, TurnReport], None]
M = TypeVar("M", bound=TurnHandler)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a webhook answers."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain"


class VoiceApp:
    """A voice agent's app: `@app.on_call` is your agent; `app.run()` serves it, or a server that you have."""

    def __init__(
        self,
        connection_string: str | None = None,
        *,
        public_url: str | None = None,
        stream_url: str | None = None,
        rate: int = 24000,
        mixed: bool = True,
        dtmf: bool = True,
        turn_taking: TurnTaking | None = None,
        token_check: TokenSetting = ...,
        client: CallAutomationClient | None = None,
        blocking_ms: int | None = 200,
        telemetry: bool | None = None,
    ) -> None:
        """What is not given comes from ACS_CONNECTION_STRING, PUBLIC_URL, STREAM_URL and ACS_RESOURCE_ID.

        `public_url`: base URL under which the service reaches this app, with the prefix that it is mounted at.
        `stream_url`: the same for its sockets (ws or wss), when they have a port of their own.
        `rate`, `mixed`, `dtmf`: the stream's Hz (16000 or 24000), all speakers in one or one each, whether keys come.
        `token_check`: checks who calls back and streams; None lets anybody (tokens.TokenCheck).
        `client`: an async client of the SDK, for other credentials; it is closed with the app.
        `blocking_ms`: code that blocks the event loop for longer is named in the log; None does not look.
        `telemetry`: a node that says that it is Offhook is told of each turn, and shows it; real ACS never is. What is
        not given is whether OFFHOOK_TELEMETRY is 1.
        ConfigError for settings that cannot be.
        """
        self.streaming = sdk.Streaming(rate, mixed, dtmf)
        self.public_url = _base(public_url or os.environ.get("PUBLIC_URL") or "", ("http", "https"), "public_url")
        self.stream_url = _base(stream_url or os.environ.get("STREAM_URL") or "", ("ws", "wss"), "stream_url")
        self.turn_taking = turn_taking or TurnTaking()
        self.token_setting = token_check
        self.agent: Agent | None = None
        self.filter: Callable[[IncomingCall], Any] | None = None
        self.closing = False
        self._connection_string = connection_string
        self._client = client
        self.telemetry = os.environ.get("OFFHOOK_TELEMETRY") == "1" if telemetry is None else telemetry
        self._turn_handlers: list[TurnHandler] = []
        self._handlers: list[tuple[str | type[CallbackEvent], EventHandler]] = []
        self._hooks: dict[str, list[Hook]] = {"start": [], "stop": []}
        self._lives: dict[str, Life] = {}
        self._seen: dict[bytes, None] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._watchdog = Watchdog(blocking_ms) if blocking_ms is not None else None
        self._keeper: asyncio.Task[None] | None = None
        self._closed: asyncio.Future[None] | None = None

    # ------------------------------------------------------------------ what the user writes

    def on_call(self, agent: A) -> A:
        """Decorator: runs for each call when its stream is open. When it returns or raises, the call is hung up."""
        if self.agent is not None:
            raise ConfigError(f"the app has an agent already: {_name(self.agent)}; a call has one")
        self.agent = _checked(agent, "async def agent(call: Call) -> None", 1)
        return agent

    def on(self, event: str | type[CallbackEvent]) -> Callable[[H], H]:
        """Decorator for a handler of callbacks: `@app.on(PlayCompleted)`, or by name; several may have one event.

        It gets the call and the event, in a task of its own; `CallbackEvent` is all of them. ConfigError for what is
        no event of a call; a name that is none of today's is logged.
        """
        if isinstance(event, str):
            event = event.removeprefix(TYPE_PREFIX)
            if event not in EVENTS:
                near = get_close_matches(event, EVENTS, 1)
                log.warning("no callback is called %r today%s", event, f": is it {near[0]}?" if near else "")
        elif not (isinstance(event, type) and issubclass(event, CallbackEvent)):
            raise ConfigError(
                f"@app.on(...) takes a class of offhook.kit.events such as PlayCompleted, or an event's name, not "
                f"{_name(event)}" + ("; calls that ring go to @app.on_incoming" if event is IncomingCall else "")
            )

        def register(handler: H) -> H:
            shape = "async def handler(call: Call, event: PlayCompleted) -> None"
            self._handlers.append((event, _checked(handler, shape, 2)))
            return handler

        return register

    def on_incoming(self, decide: F) -> F:
        """Decorator for a filter: gets each IncomingCall, gives Reject, Redirect, Ignore, or None to answer it.

        ConfigError for a second one.
        """
        if self.filter is not None:
            raise ConfigError(f"the app has a filter of incoming calls already: {_name(self.filter)}")
        self.filter = _fitting(decide, "def decide(incoming: IncomingCall) -> Decision, async or not", 1)
        return decide

    def on_turn(self, handler: M) -> M:
        """Decorator: is given the call and each of its turns when it is over, for your metrics; it must not block."""
        shape = "def handler(call: Call, turn: TurnReport) -> None"
        if _is_async(handler):
            raise ConfigError(f"{_name(handler)} has to be a plain function: {shape}")
        self._turn_handlers.append(_fitting(handler, shape, 2))
        return handler

    def on_start(self, hook: K) -> K:
        """Decorator: runs once, when the app can be called; calls to place, models to load."""
        self._hooks["start"].append(_checked(hook, "async def hook() -> None", 0))
        return hook

    def on_stop(self, hook: K) -> K:
        """Decorator: runs once, when the app closes and its calls are over."""
        self._hooks["stop"].append(_checked(hook, "async def hook() -> None", 0))
        return hook

    async def dial(self, target: str | CommunicationIdentifier, *, caller_id: str | None = None) -> Call:
        """Place a call to a phone number or raw id; the same agent runs for it. Comes back when that is started.

        `caller_id`: the number that a phone is shown. DialFailed says why it did not come about.
        """
        await self.start()
        if self.closing or len(self._lives) >= MOST_CALLS:
            raise DialFailed("the app is closing" if self.closing else f"the app has {MOST_CALLS} calls already")
        who, number = sdk.identifier(target), sdk.phone(caller_id)

        async def place(life: Life) -> CallConnectionProperties:
            return await self.client.create_call(
                who,
                self.callback_address(life.secret),
                source_caller_id_number=number,
                media_streaming=self.streaming.options(self.stream_address(life.secret)),
            )

        life = Life(self, None)
        self._begin(life, place)
        try:
            return await asyncio.shield(life.up)
        except asyncio.CancelledError:
            life.leave()
            raise

    # ------------------------------------------------------------------ serving

    def run(self, host: str | None = None, port: int | None = None, *, stream_port: int | None = None) -> None:
        """Serve until SIGINT or SIGTERM; then callers are hung up. Needs aiohttp.

        HOST and PORT are the defaults, then 127.0.0.1 and 8000; port 0 picks a free one. `stream_port` takes the
        sockets by a server of their own, the quickest there is. A port that is taken, or a setting that is missing, is
        said in one line, with exit status 2; ConfigError in a running loop.
        """
        from offhook.kit.web import run

        run(self, host, port, stream_port)

    def add_to(self, app: web.Application, prefix: str = "") -> None:
        """Mount it on an aiohttp application, which starts and closes it. `public_url` has to name the prefix."""
        from offhook.kit.web import add_routes

        add_routes(self, app, prefix, with_server=True)

    def asgi(self) -> AsgiApp:
        """An ASGI application, to be mounted (`fastapi_app.mount("/voice", app.asgi())`) or served as it is."""
        from offhook.kit.asgi_app import AsgiApp

        return AsgiApp(self)

    @asynccontextmanager
    async def lifespan(self, _: Any = None) -> AsyncIterator[None]:
        """`FastAPI(lifespan=app.lifespan)`: started with the server, closed with it."""
        await self.start()
        try:
            yield
        finally:
            await self.close()

    def check(self) -> None:
        """ConfigError for what is missing, but the public URL."""
        if self.agent is None:
            raise ConfigError("the app has no agent: decorate one with @app.on_call")
        _ = self.client  # first: who has neither of both has forgotten `offhook exec`
        resolve_check(self.token_setting)
        voice_detector(self.turn_taking.detector).close()  # loaded before somebody rings

    async def start(self) -> None:
        """Get ready to be called; a server does this, or the first request. ConfigError."""
        if self._keeper is not None:
            return
        self.check()
        if not self.public_url:
            raise ConfigError(
                "the app does not know where the service reaches it: set PUBLIC_URL, or VoiceApp(public_url=...), "
                "to its base URL with the prefix that it is mounted at"
            )
        self._keeper = asyncio.create_task(self._keep(), name="voice app")
        if self._watchdog is not None:
            self._watchdog.start()
        if (check := resolve_check(self.token_setting)) is not None:
            self._spawn(check.refresh(time.time()))  # the first caller does not wait for the keys
        for hook in self._hooks["start"]:
            self._spawn(_run_hook(hook, "start"))

    async def close(self) -> None:
        """Hang up all callers, end their agents, and close the SDK's client. Harmless when closed."""
        if self._closed is None:
            self._closed = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closed)

    async def _close(self) -> None:
        self.closing = True
        for life in self._lives.values():
            life.leave()
        others = self._tasks - {life.task for life in self._lives.values()}
        for task in others:
            task.cancel()
        if self._tasks:
            await asyncio.wait([*self._tasks], timeout=CLOSE_S)
        for hook in self._hooks["stop"]:
            await _run_hook(hook, "stop")
        if self._client is not None:
            with suppress(Exception):
                await self._client.close()
        if self._watchdog is not None:
            self._watchdog.stop()
        if self._keeper is not None:
            self._keeper.cancel()

    async def _keep(self) -> None:
        # A server that does not tell us its end (a mounted ASGI app is told nothing) ends its loop's tasks, and this.
        try:
            await asyncio.Event().wait()
        finally:
            await self.close()

    # ------------------------------------------------------------------ what a server hands in

    async def take_incoming(self, body: bytes) -> Answer:
        """The body of a post of Event Grid."""
        try:
            events = read_grid_events(body)
        except WireError as error:
            return Answer(400, f"{error}\n".encode())
        await self.start()
        for event in events:
            if isinstance(event, SubscriptionValidation):
                return Answer(200, event.answer, "application/json")
            if not isinstance(event, IncomingCall):
                continue
            if self.closing or len(self._lives) >= MOST_CALLS:
                return Answer(503, b"the app takes no more calls now\n")
            if self._is_new(sha256(event.incoming_call_context.encode()).digest()):
                self._begin(Life(self, event), answer)
        return Answer()

    async def take_callback(self, secret: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """The body of a callback; `secret` is the end of its path, `headers` by lower-case name."""
        check = resolve_check(self.token_setting)
        try:
            if check is not None:
                await check.verify(headers.get("authorization"), time.time())
            events = read_callbacks(body)
        except TokenError as error:
            log.warning("a callback was refused: %s", error)
            return Answer(401, f"{error}\n".encode())
        except WireError as error:
            return Answer(400, f"{error}\n".encode())
        life = self._lives.get(secret)
        for event in events:
            if life is not None:
                life.take(event)
        return Answer()

    async def take_stream(self, secret: str, stream: Stream) -> None:
        """A socket whose token was checked; returns when it is over."""
        life = self._lives.get(secret)
        if life is None or self.closing:
            log.warning("a stream for no call of this app was closed (connection %s)", stream.call_connection_id)
            await stream.close(POLICY, "no such call")
            return
        await life.attach(stream)

    # ------------------------------------------------------------------ for its calls

    @property
    def follows_turns(self) -> bool:
        """Whether the app is told of turns, whatever its agent asks for."""
        return self.telemetry or bool(self._turn_handlers)

    def turn_over(self, call: Call, turn: TurnReport) -> None:
        """Hand it to who wants it."""
        for handler in self._turn_handlers:
            try:
                handler(call, turn)
            except Exception:
                log.exception("call %s: the handler of turns %s failed", call.id, handler)

    @property
    def client(self) -> CallAutomationClient:
        """The official SDK's async client. ConfigError."""
        if self._client is None:
            self._client = sdk.make_client(self._connection_string)
        return self._client

    def callback_address(self, secret: str) -> str:
        """Where the service posts the callbacks of the call with this secret."""
        return f"{self.public_url}{CALLBACKS}/{secret}"

    def stream_address(self, secret: str) -> str:
        """Where the service dials the streams of the call with this secret."""
        return f"{self.stream_url or 'ws' + self.public_url.removeprefix('http')}{STREAMS}/{secret}"

    def handlers_of(self, event: CallbackEvent) -> list[EventHandler]:
        """Who wants it, in the order in which they were registered."""
        return [
            handler
            for wanted, handler in self._handlers
            if (event.type == wanted if isinstance(wanted, str) else isinstance(event, wanted))
        ]

    def _begin(self, life: Life, begin: Callable[[Life], Awaitable[CallConnectionProperties | None]]) -> None:
        self._lives[life.secret] = life
        life.task = self._spawn(life.run(begin))
        life.task.add_done_callback(lambda _: self._end(life))

    def _end(self, life: Life) -> None:
        del self._lives[life.secret]
        life.over()

    def _is_new(self, context: bytes) -> bool:
        if context in self._seen:
            return False
        self._seen[context] = None
        if len(self._seen) > CONTEXTS_KEPT:
            del self._seen[next(iter(self._seen))]
        return True

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _base(url: str, schemes: tuple[str, str], name: str) -> str:
    if url and (urlsplit(url).scheme not in schemes or not urlsplit(url).netloc):
        raise ConfigError(f"{name} is a base URL such as {schemes[1]}://my.host, not {url!r}")
    return url.rstrip("/")


def _checked(function: Any, shape: str, arguments: int) -> Any:
    if not _is_async(function):
        raise ConfigError(f"{_name(function)} has to be async: {shape}")
    return _fitting(function, shape, arguments)


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _fitting(function: Any, shape: str, arguments: int) -> Any:
    """The function, if it can be called with so many arguments; else each call would find out."""
    try:
        inspect.signature(function).bind(*range(arguments))
    except TypeError as error:
        raise ConfigError(f"{_name(function)} has other parameters ({error}): {shape}") from None
    except ValueError:  # of what is not written in Python
        pass
    return function


def _name(function: Any) -> str:
    return getattr(function, "__qualname__", None) or repr(function)


async def _run_hook(hook: Hook, when: str) -> None:
    try:
        await asyncio.wait_for(hook(), CLOSE_S if when == "stop" else None)
    except Exception:
        log.exception("the on_%s hook %s failed", when, _name(hook))
