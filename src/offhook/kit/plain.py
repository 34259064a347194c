"""A WebSocket server for streams and nothing else, on picows: the quickest of the adapters.

One listener object a connection; picows calls it for each frame (RFC 6455), a task runs the app's handler.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final

from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from offhook.kit.stream import (
    MAX_MESSAGE_BYTES,
    POLICY,
    Handler,
    Stream,
    TokenSetting,
    admit,
    log,
    resolve_check,
    serve_stream,
)
from offhook.kit.tokens import TokenCheck, TokenError, UnknownKeyError
from offhook.wire.folding import Text

_TEXT: Final = WSMsgType.TEXT
_CLOSE: Final = WSMsgType.CLOSE
_DATA: Final = (_TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION)
_READ_AHEAD: Final = 256
_READ_AGAIN: Final = 64
_READ_AHEAD_BYTES: Final = 1 << 20
_CLOSE_WAIT_S: Final = 1.0
_ACCEPTING: Final = 3  # turns of the loop in which a connection that was accepted becomes a client, and ends


class _Connection(WSListener):
    """One connection: picows' listener on one side, a stream's Socket on the other."""

    __slots__ = (
        "_bytes", "_check", "_due", "_failed", "_gone", "_headers", "_loop", "_messages", "_open", "_parts", "_path",
        "_paused", "_server", "_slow", "_transport", "_waiting", "_writable", "take",
    )  # fmt: skip

    def __init__(self, server: PlainServer, headers: Mapping[str, str], check: TokenCheck | None, path: str) -> None:
        self._server = server
        self._due = server.due
        self._path = path
        self._headers = headers
        self._check = check
        self._loop = asyncio.get_running_loop()
        self._transport: WSTransport | None = None
        self._messages: deque[bytes] = deque()
        self._bytes = 0  # of these
        self._waiting: list[asyncio.Future[None]] = []  # of who is in `receive`
        self._open = False
        self._slow = False  # the other side
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = asyncio.Event()
        self._paused = False
        self._parts: bytearray | None = None  # of a message that comes in several frames
        self.take: Callable[[bytes], None] | None = None
        """Who called `each`."""
        self._failed: BaseException | None = None  # what `take` raised

    # ------------------------------------------------------------------ called by picows

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The upgrade is done: start the app's handler."""
        self._transport = transport
        self._open = True
        self._server.start(self._run())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Queue a message; beyond the read-ahead the socket is not read, so the service waits."""
        kind = frame.msg_type
        if kind is _TEXT and self._parts is None and frame.fin:
            message = frame.get_payload_as_bytes()
        elif kind == _CLOSE:
            self._end(transport, frame.get_close_code())
            return
        elif kind in _DATA and (gathered := self._gathered(transport, frame)) is not None:
            message = gathered
        else:
            return
        if self.take is not None:
            due = self._due
            if not due:
                self._loop.call_soon(self._server.give)
            due.append((self, message))
            return
        self.keep(message)
        if not self._paused and (len(self._messages) >= _READ_AHEAD or self._bytes >= _READ_AHEAD_BYTES):
            self._paused = True
            transport.underlying_transport.pause_reading()

    def _gathered(self, transport: WSTransport, frame: WSFrame) -> bytes | None:
        """The message that a frame ends, when it comes in several or is binary; None while it goes on."""
        if self._parts is None and frame.fin:
            return frame.get_payload_as_bytes()
        self._parts = self._parts if self._parts is not None else bytearray()
        self._parts += frame.get_payload_as_bytes()
        if len(self._parts) > MAX_MESSAGE_BYTES:
            self._end(transport, WSCloseCode.MESSAGE_TOO_BIG)
        elif frame.fin:
            message, self._parts = bytes(self._parts), None
            return message
        return None

    def _end(self, transport: WSTransport, code: WSCloseCode) -> None:
        self._server.give()  # what came before it, and is answered before it
        self._open = False
        transport.send_close(code)
        transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Wake everything that waits for the other side."""
        self._server.give()
        self._open = False
        self._gone.set()
        self._wake()
        self.resume_writing()

    def pause_writing(self) -> None:
        """The other side is slow: `send` waits."""
        self._slow = True
        self._writable.clear()

    def resume_writing(self) -> None:
        """The other side has caught up."""
        self._slow = False
        self._writable.set()

    # ------------------------------------------------------------------ called by the stream

    async def receive(self) -> Text | None:
        """The next message; None once the other side has closed or gone."""
        while not self._messages:
            if self._gone.is_set():
                return None
            await self._arrival()
        message = self._messages.popleft()
        self._bytes -= len(message)
        few = len(self._messages) < _READ_AGAIN and self._bytes < _READ_AHEAD_BYTES
        if self._paused and few and self._transport is not None:
            self._paused = False
            if not self._gone.is_set():
                self._transport.underlying_transport.resume_reading()
        return message

    async def each(self, take: Callable[[bytes], None]) -> None:
        """Give every message to `take` as it comes. One caller at a time."""
        self.take = take
        self._due.extend((self, message) for message in self._messages)
        self._messages.clear()
        self._bytes = 0
        self._server.give()
        if self._paused and self._transport is not None and not self._gone.is_set():
            self._paused = False
            self._transport.underlying_transport.resume_reading()
        try:
            while self.take is not None and not self._gone.is_set():
                await self._arrival()
        finally:
            self.take = None
        if self._failed is not None:
            failed, self._failed = self._failed, None
            raise failed

    # ------------------------------------------------------------------ called by the server

    def keep(self, message: bytes) -> None:
        """Queue a message for who asks next."""
        self._messages.append(message)
        self._bytes += len(message)
        if self._waiting:
            self._wake()

    def fail(self, error: BaseException) -> None:
        """`take` raised this: it is raised where `each` was called."""
        self.take, self._failed = None, error
        self._wake()

    # ------------------------------------------------------------------ called by the stream

    async def send(self, text: str) -> None:
        """Send one text message, waiting while the other side is slow."""
        if not self.post(text.encode()):
            await self.drained()

    def post(self, data: bytes) -> bool:
        """Send one text message; False while the other side is slow."""
        if not self._open:
            raise ConnectionResetError("the other side has closed")
        self._transport.send(_TEXT, data)  # type: ignore[union-attr]  # it is there while open
        return not self._slow

    async def drained(self) -> None:
        """Wait while the other side is slow."""
        await self._writable.wait()

    async def _arrival(self) -> None:
        waiter = self._loop.create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            raise

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye and wait a second at most for the answer."""
        transport = self._transport
        if transport is None or self._gone.is_set():
            return
        self._open = False
        transport.send_close(WSCloseCode(code), reason.encode())
        if self._paused:
            transport.underlying_transport.resume_reading()
        try:
            await asyncio.wait_for(self._gone.wait(), _CLOSE_WAIT_S)
        except TimeoutError:
            transport.disconnect(False)

    async def _run(self) -> None:
        try:
            await admit(self._check, self._headers)
        except TokenError:
            await self.close(POLICY, "token refused")
            return
        await serve_stream(Stream(self, self._headers, path=self._path), self._server.handler)


class PlainServer:
    """A running server; made by `serve`. `async with` closes it at the end."""

    def __init__(self, handler: Handler, path: str | None, check: TokenCheck | None) -> None:
        self.handler = handler
        self.port = 0
        self.due: list[tuple[_Connection, bytes]] = []
        """What this turn of the loop has brought for `each`. Bound: what is read of each socket in one turn."""
        self._path = path
        self._check = check
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        """Start accepting; `port` 0 picks a free one, told by the attribute `port`."""
        if self._check is not None:
            await self._check.refresh(time.time())
        extra: dict[str, Any] = {"ssl": context} if context is not None else {}
        self._server = await ws_create_server(
            self._route, host, port, max_frame_size=MAX_MESSAGE_BYTES, logger_name=log, **extra
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop accepting and end all streams, and connections that are none yet."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._server is not None:
            await _abort_rest(self._server)

    def give(self) -> None:
        """Give out what is due.

        It waits until all sockets have been read: one after another, the messages find the code they need in the
        processor's cache, and between the kernel's work for two sockets they would not.
        """
        due = self.due[:]
        self.due.clear()
        for connection, message in due:
            take = connection.take
            if take is None:
                connection.keep(message)
                continue
            try:
                take(message)
            except BaseException as error:
                connection.fail(error)

    def start(self, work: Any) -> None:
        """Run a connection's coroutine until it ends or the server closes."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def __aenter__(self) -> PlainServer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _route(self, request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener | None:
        path = request.path.decode("latin-1").partition("?")[0]
        if self._path is not None and path != self._path:
            return None
        headers = {name.lower(): value for name, value in request.headers.items()}
        check = self._check
        if check is not None:
            try:
                check.verify_cached(headers.get("authorization"), time.time())
                check = None
            except UnknownKeyError:
                # Fetching the key takes a while and this call cannot wait: the check is made again
                # right after the upgrade, before the handler starts; a bad token then gets 1008.
                pass
            except TokenError as error:
                log.warning("stream refused: %s", error)
                return _refusal(str(error))
        return _Connection(self, headers, check, path)


async def _abort_rest(server: asyncio.Server) -> None:
    """End what has been accepted and has not said yet what it wants."""
    abort = getattr(server, "abort_clients", None)  # aiofastnet; asyncio: Python 3.13
    if abort is None:
        return
    for _ in range(_ACCEPTING):
        await asyncio.sleep(0)
        abort()


def _refusal(why: str) -> WSUpgradeResponseWithListener:
    body = f"{why}\n".encode()
    answer = WSUpgradeResponse.create_error_response(401, body, {"WWW-Authenticate": "Bearer"})
    return WSUpgradeResponseWithListener(answer, None)


async def serve(
    handler: Handler,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    path: str | None = None,
    token_check: TokenSetting = ...,
    ssl_context: ssl.SSLContext | None = None,
) -> PlainServer:
    """Take the service's connections on a port of their own and run `handler` for each.

    `path` None takes any. A bad token is answered 401 before the upgrade; one whose key is not known yet
    is checked right after it and closed with 1008 if bad. ConfigError without an audience (ACS_RESOURCE_ID).
    """
    server = PlainServer(handler, path, resolve_check(token_check))
    await server.listen(host, port, ssl_context)
    return server
