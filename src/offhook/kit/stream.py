"""A live stream connection as an app's handler gets it, whatever server it came through (protocol.md 2.2, 2.3).

The adapters (`asgi`, `aiohttp`, `plain`) give it a socket; sound and events go through a StreamSession.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from types import EllipsisType
from typing import Final, Protocol, TypeAlias, cast

from offhook.errors import OffhookError
from offhook.kit.session import Event, Opened, StreamSession
from offhook.kit.tokens import ENVIRONMENT, TokenCheck, TokenError
from offhook.wire.app_side import AudioMetadata
from offhook.wire.folding import Text
from offhook.wire.turns import VERSION_HEADER, TurnReport, write_turn

log: Final = logging.getLogger("offhook.kit")

MAX_MESSAGE_BYTES: Final = 4 << 20
NORMAL: Final = 1000
POLICY: Final = 1008
INTERNAL: Final = 1011
TOLD_KEPT: Final = 16

TokenSetting: TypeAlias = TokenCheck | None | EllipsisType
"""`...` (the default everywhere): a TokenCheck from the environment. None: anybody may connect."""


class StreamClosed(OffhookError):
    """Something was played into a stream that is closed."""


class Socket(Protocol):
    """What a Stream needs of a server's WebSocket."""

    async def receive(self) -> Text | None:
        """The next message; None once the other side has closed or gone."""

    async def send(self, text: str) -> None:
        """Send one text message, waiting while the other side is slow. ConnectionError when it has gone."""

    async def close(self, code: int, reason: str) -> None:
        """Close; harmless when closed."""


class QuickSocket(Socket, Protocol):
    """A socket that can send without waiting: what is sent in order costs no coroutine then."""

    def post(self, data: bytes) -> bool:
        """Send one text message, UTF-8; False when the other side is slow, and `drained` is to be awaited.

        ConnectionError when it has gone.
        """

    async def drained(self) -> None:
        """Wait while the other side is slow, or until it has gone."""

    async def each(self, take: Callable[[Text], None]) -> None:
        """Give every message to `take` as it comes, until the other side has gone. Raises what `take` does."""


class Stream:
    """One connection of the service: `async for event in stream`, `play`, `stop`.

    Iteration ends when the connection does. The app is never sent more than it takes: while it does
    not iterate, the socket fills up and the service waits.
    """

    __slots__ = (
        "_closed", "_giving", "_later", "_quick", "_senders", "_sending", "_socket", "_told", "call_connection_id",
        "correlation_id", "offhook_version", "on_sent", "path", "session",
    )  # fmt: skip

    def __init__(
        self, socket: Socket, headers: Mapping[str, str], session: StreamSession | None = None, path: str = ""
    ) -> None:
        self.call_connection_id = headers.get("x-ms-call-connection-id")
        self.correlation_id = headers.get("x-ms-call-correlation-id")
        self.offhook_version = headers.get(VERSION_HEADER)
        """The node's version when the service is Offhook, else None."""
        self.on_sent: Callable[[bool], None] | None = None
        """Told of each message that the socket has taken, and whether it is sound."""
        self._told: deque[str] | None = None  # made when there is something
        self.session = session or StreamSession()
        self.path = path
        """The path that was dialled, as far as the adapter tells it."""
        self._socket = socket
        self._quick: QuickSocket | None = cast(QuickSocket, socket) if hasattr(socket, "post") else None
        self._sending = asyncio.Lock()
        self._senders = 0  # who hold it or wait for it
        self._later: asyncio.Task[None] | None = None
        self._giving = False  # `each` is in the app's function, and sends what that plays
        self._closed = False

    @property
    def metadata(self) -> AudioMetadata | None:
        """Rate and frame length; None until the `Opened` event."""
        return self.session.metadata

    @property
    def closed(self) -> bool:
        """True once either side has closed."""
        return self._closed

    @property
    def heard_ms(self) -> float:
        """How much of the audio played since the last stop can have been heard (StreamSession.heard_ms)."""
        return self.session.heard_ms

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Event:
        message = None if self._closed else await self._socket.receive()
        if message is None:
            self._closed = True
            raise StopAsyncIteration
        return self.session.read(message)

    async def each(self, take: Callable[[Event], None]) -> None:
        """Give every event to a plain function until the connection ends; what it raises ends this, too.

        On the plain server it is called once all sockets have been read, with no task to wake in between, which costs
        a quarter less than iterating. It must not block, and goes with `play_soon` and `stop_soon`.
        """
        session = self.session
        give = session.feed(take)
        if self._quick is not None:
            if not self._closed:
                await self._quick.each(give)
                self._closed = True
            return
        receive = self._socket.receive
        while not self._closed and (message := await receive()) is not None:
            self._giving = True
            try:
                give(message)
            finally:
                self._giving = False
            if session.has_more or self._told:
                await self._send()
        self._closed = True

    async def opened(self) -> AudioMetadata:
        """Wait for the metadata, the first message of a stream. StreamClosed when it never comes."""
        if self.metadata is None:
            async for event in self:
                if isinstance(event, Opened):
                    break
        if self.metadata is None:
            raise StreamClosed("the stream was closed before its metadata came")
        return self.metadata

    async def play(self, pcm: bytes | bytearray | memoryview) -> None:
        """Play audio at the stream's rate: PCM16 LE mono, any length, as far ahead as it is there.

        Raises StreamClosed, or PlayQueueFull beyond ten minutes ahead.
        """
        if self._closed:
            raise StreamClosed("the stream is closed")
        self.session.play(pcm)
        if self._quick is None or self._senders or not self._post(self._quick):
            await self._send()

    def play_soon(self, pcm: bytes | bytearray | memoryview) -> None:
        """As `play`, without waiting while the service is slow: it is sent when there is room. Same errors."""
        if self._closed:
            raise StreamClosed("the stream is closed")
        quick = self._quick
        if quick is None or self._senders or self._told or (message := self.session.play_now(pcm)) is None:
            self.session.play(pcm)
            self.flush_soon()
            return
        try:
            taken = quick.post(message)
        except ConnectionError as error:
            self._broken(error)  # whoever reads the stream sees its end
            return
        if self.on_sent is not None:
            self.on_sent(True)
        if not taken:
            self._send_when_there_is_room()

    def stop_soon(self) -> float:
        """As `stop`, without waiting."""
        if self._closed:
            raise StreamClosed("the stream is closed")
        heard = self.session.stop()
        self.flush_soon()
        return heard

    def flush_soon(self) -> None:
        """As `flush`, without waiting while the service is slow; nothing when the stream is closed."""
        if self._giving or self._later is not None or self._closed:
            return
        try:
            sent = self._quick is not None and not self._senders and self._post(self._quick)
        except StreamClosed:
            return  # whoever reads the stream sees its end
        if not sent:
            self._send_when_there_is_room()

    def _send_when_there_is_room(self) -> None:
        self._senders += 1  # nobody goes before it, though it has not begun
        self._later = asyncio.get_running_loop().create_task(self._send_later())

    async def _send_later(self) -> None:
        try:
            await self._send()
        except StreamClosed:
            return
        finally:
            self._later = None
            self._senders -= 1

    async def stop(self) -> float:
        """Drop all audio that has not been heard, also what a waiting `play` still holds; ms heard so far."""
        if self._closed:
            raise StreamClosed("the stream is closed")
        heard = self.session.stop()
        await self.flush()
        return heard

    def tell(self, turn: TurnReport) -> None:
        """Have the node told of a turn with the next `flush`; nothing when the service has not said it is Offhook.

        Of more than 16 that wait the oldest is lost.
        """
        if self.offhook_version is not None:
            if self._told is None:
                self._told = deque(maxlen=TOLD_KEPT)
            self._told.append(write_turn(turn))

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """End the stream; the call goes on. Harmless when closed."""
        if not self._closed:
            self._closed = True
            await self._socket.close(code, reason)

    async def flush(self) -> None:
        """Send what the session wants sent. StreamClosed."""
        if self._quick is None or self._senders or not self._post(self._quick):
            await self._send()

    def _post(self, socket: QuickSocket) -> bool:
        """Send without waiting; whether that was all."""
        next_bytes = self.session.next_bytes
        try:
            while (data := told.popleft().encode() if (told := self._told) else next_bytes()) is not None:
                taken = socket.post(data)
                if self.on_sent is not None:
                    self.on_sent(b'"AudioData"' in data[:20])
                if not taken:
                    return False
        except ConnectionError as error:
            raise self._broken(error) from error
        return True

    async def _send(self) -> None:
        # One text at a time under the lock: a stop that comes while an earlier play still waits
        # for the socket empties the session, and that play then sends nothing more.
        self._senders += 1
        try:
            await self._sending.acquire()
            try:
                if self._quick is not None:
                    await self._quick.drained()
                    while not self._post(self._quick):
                        await self._quick.drained()
                    return
                next_text, send = self.session.next_text, self._socket.send
                while (text := told.popleft() if (told := self._told) else next_text()) is not None:
                    await send(text)
                    if self.on_sent is not None:
                        self.on_sent('"AudioData"' in text[:20])
            finally:
                self._sending.release()
        except (ConnectionError, RuntimeError) as error:
            raise self._broken(error) from error
        finally:
            self._senders -= 1

    def _broken(self, error: Exception) -> StreamClosed:
        self._closed = True
        return StreamClosed(f"the stream broke: {error}")


Handler: TypeAlias = Callable[[Stream], Awaitable[None]]


def resolve_check(setting: TokenSetting) -> TokenCheck | None:
    """The check that an adapter's `token_check` argument means. ConfigError when the environment lacks it."""
    if setting is not ...:
        return setting
    return _environment_check(*(os.environ.get(name) for name in ENVIRONMENT))


@lru_cache(maxsize=8)
def _environment_check(audience: str | None, issuer: str | None, jwks_uri: str | None) -> TokenCheck:
    # One check for all endpoints of a process, so that they share the fetched keys.
    return TokenCheck(audience, issuer, jwks_uri)


async def admit(check: TokenCheck | None, headers: Mapping[str, str]) -> None:
    """Check a handshake's token; `headers` by lower-case name. TokenError when it is to be refused."""
    if check is None:
        return
    try:
        await check.verify(headers.get("authorization"), time.time())
    except TokenError as error:
        log.warning("stream refused: %s", error)
        raise


async def serve_stream(stream: Stream, handler: Handler) -> None:
    """Run an app's handler to its end and close: 1000, or 1011 when it raised (which is logged)."""
    try:
        await handler(stream)
    except StreamClosed:
        await stream.close()
    except Exception:
        log.exception("the handler of stream %s failed", stream.call_connection_id)
        await stream.close(INTERNAL, "internal error")
    except BaseException:
        await stream.close(INTERNAL, "server stops")
        raise
    else:
        await stream.close()
