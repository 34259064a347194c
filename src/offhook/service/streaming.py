"""AppStream: dials an app's WebSocket, keeps it, re-dials it and closes it; MediaStream: the one that carries audio.

protocol.md §§2.1-2.10, §9 row 20.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from socket import gaierror
from typing import Any, ClassVar, Protocol, TypeVar
from urllib.parse import urlsplit

from picows import (
    WSCloseCode,
    WSError,
    WSFrame,
    WSHandshakeError,
    WSListener,
    WSMsgType,
    WSTransport,
    ws_connect,
)
from picows.url import WSParsedURL

from offhook.audio.buffers import SAMPLE_BYTES, Cut, PlayedMark
from offhook.audio.pcm import FRAMES_PER_SECOND, samples_per_frame
from offhook.errors import StreamError, WireError
from offhook.service.clock import Clock
from offhook.service.stream_port import Batch, Push, StreamPort
from offhook.service.targets import Targets
from offhook.wire.streaming import AppAudio, audio_metadata, dtmf_data, mark_data, parse_app_message
from offhook.wire.turns import TurnReport

log = logging.getLogger("offhook.stream")

TEXT = WSMsgType.TEXT
MAX_MESSAGE = 4 * 1024 * 1024
BEHIND_SECONDS = 15
STUCK_SECONDS = 30.0
PONG_WITHIN = 20.0
CLOSE_WAIT = 1.0
READ_AT_ONCE = 16 * 1024  # bytes: reading a bigger message would make a tick late
DIAL_TIMEOUT = 2.5
FIRST_TRIES = (0.0, 0.5, 1.0)  # seconds before each try of the first connect
AGAIN_TRIES = (0.25, 1.0, 2.0)  # the same after a drop in mid-call
AT_ONCE = 1.0  # a socket that lives shorter than this was dropped at once
WRITE_HIGH_WATER = 64 * 1024
# A close without a code (what `close()` sends in JavaScript) is an ordinary one too.
NORMAL_CLOSES = (WSCloseCode.OK, WSCloseCode.GOING_AWAY, WSCloseCode.NO_INFO)
TURNS_AT_ONCE = 10  # reports of turns that an app may send at once, and then so many a second
TURNS_A_SECOND = 2.0
FRAME_HEAD = 8  # bytes that a WebSocket frame of ours has round its message


Of = TypeVar("Of", contravariant=True)


class StreamOwner(Protocol[Of]):
    """Who is told what became of a stream; each is called on the loop, outside ticks."""

    def stream_opened(self, stream: Of) -> None:
        """The first connection is up and its metadata is sent."""

    def stream_reestablished(self, stream: Of) -> None:
        """A dropped connection is up again."""

    def stream_failed(self, stream: Of, outcome: str, detail: str) -> None:
        """It never opened, or is lost for good; `outcome` names a row of the results table."""

    def stream_closed_by_app(self, stream: Of) -> None:
        """The app closed it in the ordinary way."""

    def stream_note(self, stream: Of, name: str, detail: dict[str, object]) -> None:
        """Something for the trace."""


class MediaOwner(StreamOwner["MediaStream"], Protocol):
    """Who is told of an audio stream."""

    def stream_cut(self, stream: MediaStream, cut: Cut) -> None:
        """The app sent StopAudio."""

    def stream_mark(self, stream: MediaStream, mark: str, *, completed: bool) -> None:
        """A mark of the app was heard, or cut off before it was; called in a tick."""

    def stream_turn(self, stream: MediaStream, report: TurnReport) -> None:
        """The app tells of one of its turns (protocol.md §9 row 67)."""


class AppStream(ABC):
    """The socket of one subscription of an app. `url` is what is dialled, byte for byte.

    What it carries is its subclass's: the first message, what to do when the socket is up, down or behind, and with
    what comes. `backlog`: bytes that may wait for a slow app; `batch`: where its messages wait for the next tick.
    """

    ping_after: ClassVar[float] = 0.0
    """Seconds without a message of the app after which it is pinged; 0 where a dead socket is noticed by itself."""

    def __init__(
        self,
        connection_id: str,
        subscription_id: str,
        url: str,
        *,
        headers: Callable[[], dict[str, str]],
        tls: ssl.SSLContext,
        targets: Targets,
        clock: Clock,
        owner: StreamOwner[Any],
        batch: Batch,
        backlog: int,
    ) -> None:
        self.connection_id = connection_id
        self.subscription_id = subscription_id
        self.url = url
        self.batch = batch
        self.backlog = backlog
        self._headers = headers
        self._tls = tls
        self._targets = targets
        self._clock = clock
        self._owner = owner
        self._task: asyncio.Task[None] | None = None
        self._socket: _Socket | None = None
        self._closing = False
        self._stop = asyncio.Event()
        self._seen_problems: set[str] = set()
        self._said: dict[str, str] = {}

    # what it carries --------------------------------------------------------------------------------------------

    @abstractmethod
    def greeting(self) -> bytes:
        """The first message of every connection."""

    def up(self, socket: _Socket) -> None:
        """A connection is open and greeted."""

    def down(self) -> None:
        """There is no connection to send to."""

    def behind(self, has_room: Callable[[int], bool] | None) -> None:
        """The app reads too slowly: ask `has_room` before each message of so many bytes; None: it has caught up."""

    def receive(self, data: bytes) -> None:
        """One whole message of the app."""

    def mark_sent(self, mark: PlayedMark) -> None:
        """The app is told of a mark now."""

    # life -------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Begin to dial; the owner hears how it went."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"stream {self.connection_id}")

    def close(self) -> None:
        """End it in the ordinary way: close 1000, at most a second for the answer, nothing to wait for here."""
        if self._closing:
            return
        self._closing = True
        self.down()
        if self._socket is not None:
            self._socket.close()
        else:
            # A dial that is under way is let through and then closed: cancelled, it could leave a socket behind.
            self._stop.set()

    async def closed(self) -> None:
        """Wait until nothing of the stream is left (for shutting down)."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=CLOSE_WAIT + 0.5)

    async def _run(self) -> None:
        waits = iter(FIRST_TRIES)
        opened = at_once = attempt = 0
        while not self._closing:
            attempt += 1
            try:
                socket = await self._connect(next(waits))
            except StreamError as error:
                if self._closing:
                    return
                self._note("dial failed", {"url": self.url, "attempt": attempt, "reason": error.detail})
                remaining = list(waits)
                refused = error.outcome == "stream_auth_refused"
                if refused or not remaining:
                    self._fail(error.outcome if refused or not opened else "stream_lost", error.detail)
                    return
                waits = iter(remaining)
                continue
            if self._closing:
                socket.close()
                await socket.over()
                return
            began = self._clock.monotonic()
            self._note("connected", {"attempt": attempt, "headers": self._said})
            self._opened(socket, again=opened > 0)
            opened, attempt = opened + 1, 0
            detail = await socket.over()
            self._socket = None
            self.down()
            if socket.close_code is not None:
                self._note("close code", {"code": socket.close_code.value, "reason": detail})
            if self._closing or self._ended_by_app(socket, detail):
                return
            at_once = at_once + 1 if self._clock.monotonic() - began < AT_ONCE else 0
            self._note("dropped", {"reason": detail})
            if at_once == len(FIRST_TRIES):
                outcome = "stream_url_invalid" if opened == at_once else "stream_lost"
                self._fail(outcome, f"the app dropped the socket right after it opened ({detail})")
                return
            waits = iter(AGAIN_TRIES)

    async def _connect(self, wait: float) -> _Socket:
        """One try to dial; StreamError says what went wrong in words for the app's developer."""
        if wait:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), wait)
            if self._closing:
                raise StreamError("stream_lost", "closed before it was dialled again")
        headers = self._headers()
        self._said = {name: "***" if name.lower() == "authorization" else value for name, value in headers.items()}
        try:
            async with asyncio.timeout(DIAL_TIMEOUT):
                _, listener = await ws_connect(
                    lambda: _Socket(self),
                    self.url,
                    ssl_context=self._tls,
                    extra_headers=headers,
                    max_redirects=0,
                    max_frame_size=MAX_MESSAGE,
                    websocket_handshake_timeout=DIAL_TIMEOUT,
                    enable_auto_ping=self.ping_after > 0,
                    auto_ping_idle_timeout=self.ping_after,
                    auto_ping_reply_timeout=PONG_WITHIN,
                    logger_name=_quiet,
                    socket_factory=self._reach,
                )
        except (OSError, WSError, TimeoutError, ValueError) as error:
            raise _explain(error, self.url) from None
        if not isinstance(listener, _Socket):  # what picows gives when the connection is lost in mid-handshake
            raise StreamError("stream_url_invalid", "the app closed the connection before it answered the upgrade")
        return listener

    async def _reach(self, url: WSParsedURL) -> socket.socket:
        return await self._targets.connected(url.host, url.port)

    def _opened(self, socket: _Socket, *, again: bool) -> None:
        self._socket = socket
        socket.send(self.greeting())
        self.up(socket)
        if again:
            self._owner.stream_reestablished(self)
        else:
            self._owner.stream_opened(self)

    def _ended_by_app(self, socket: _Socket, detail: str) -> bool:
        """Whether the close was the app's own wish, or its word that our token is no good."""
        if socket.close_code in NORMAL_CLOSES:
            self._owner.stream_closed_by_app(self)
        elif socket.close_code == WSCloseCode.POLICY_VIOLATION:
            self._fail("stream_auth_refused", f"the app closed the socket with 1008 ({detail})")
        elif socket.stuck:
            self._fail("stream_lost", detail)
        else:
            return False
        return True

    def _fail(self, outcome: str, detail: str) -> None:
        log.warning("stream of %s failed: %s (%s)", self.connection_id, detail, self.url)
        self._owner.stream_failed(self, outcome, detail)

    def _note(self, name: str, detail: dict[str, object]) -> None:
        self._owner.stream_note(self, name, detail)

    def _complain(self, problem: str) -> None:
        if problem not in self._seen_problems and len(self._seen_problems) < 20:
            self._seen_problems.add(problem)
            log.warning("stream of %s: %s", self.connection_id, problem)
            self._note("bad message", {"problem": problem})


class MediaStream(AppStream):
    """One app's audio: a `StreamPort` and the socket behind it."""

    def __init__(
        self,
        connection_id: str,
        subscription_id: str,
        url: str,
        port: StreamPort,
        *,
        headers: Callable[[], dict[str, str]],
        tls: ssl.SSLContext,
        targets: Targets,
        clock: Clock,
        owner: MediaOwner,
        dtmf_tones: bool,
    ) -> None:
        super().__init__(
            connection_id,
            subscription_id,
            url,
            headers=headers,
            tls=tls,
            targets=targets,
            clock=clock,
            owner=owner,
            batch=port.batch,
            backlog=BEHIND_SECONDS * FRAMES_PER_SECOND * (samples_per_frame(port.rate) * 8 // 3 + 200),
        )
        self.port = port
        self.dtmf_tones = dtmf_tones
        self._cut = owner.stream_cut
        self._marked = owner.stream_mark
        self._turned = owner.stream_turn
        self._turns_left, self._turns_at = float(TURNS_AT_ONCE), clock.monotonic()
        self.first_frame = 0.0
        """Monotonic seconds at which what the app counts of its frames began."""
        self.carried = 0.0
        """Seconds that the sockets so far were open."""
        port.playout.on_refused = self._full
        # Bytes of a 20 ms frame at the rate that this stream does not have.
        self._other_rate_frame = samples_per_frame(24000 if port.rate == 16000 else 16000) * SAMPLE_BYTES

    def greeting(self) -> bytes:
        """See `AppStream`."""
        return audio_metadata(self.subscription_id, self.port.rate)

    def up(self, socket: _Socket) -> None:
        """See `AppStream`: frames go to it from the next tick on."""
        self.port.on_marks(socket.send_marks)
        push = socket.push
        if push is not None:
            self.port.connect(push)

    def down(self) -> None:
        """See `AppStream`."""
        if self.port.connected:
            self.carried = self._clock.monotonic() - self.first_frame
        self.port.disconnect()

    def behind(self, has_room: Callable[[int], bool] | None) -> None:
        """See `AppStream`."""
        self.port.has_room = has_room

    def mark_sent(self, mark: PlayedMark) -> None:
        """See `AppStream`."""
        self._marked(self, mark.id, completed=mark.completed)

    def send_dtmf(self, tone: str, timestamp: bytes, participant: str | None) -> None:
        """Tell the app of a key, when it asked for them."""
        if self.dtmf_tones and self._socket is not None and self.port.connected:
            self._socket.send(dtmf_data(tone, timestamp, participant))

    def receive(self, data: bytes) -> None:
        """One whole message of the app. Bad ones are counted, said once of each kind, and cost nothing else."""
        port = self.port
        try:
            message = parse_app_message(data)
        except WireError as error:
            port.counters.bad_messages += 1
            self._complain(error.message)
            return
        if type(message) is AppAudio:
            # Looked at now and then: neither needs saying at once, and this is the hot path.
            if port.accept(message) & 63:
                return
            if len(message.pcm) == self._other_rate_frame:
                size = len(message.pcm)
                self._complain(f"frames of {size} bytes are not 20 ms at {port.rate} Hz: is the rate right?")
        elif message is None:
            port.counters.ignored_messages += 1
        elif isinstance(message, TurnReport):
            self._turn(message)
        else:
            self._cut(self, port.stop())

    def _turn(self, report: TurnReport) -> None:
        now = self._clock.monotonic()
        left = self._turns_left + (now - self._turns_at) * TURNS_A_SECOND
        self._turns_left, self._turns_at = min(left, TURNS_AT_ONCE), now
        if self._turns_left < 1:
            self.port.counters.bad_messages += 1
            self._complain(f"more than {TURNS_A_SECOND:g} reports of turns a second: the newest are not kept")
            return
        self._turns_left -= 1
        self._turned(self, report)

    def _full(self) -> None:
        self._complain("the playout buffer is full: the newest audio is refused")


_quiet = logging.getLogger("offhook.stream.socket")
_quiet.setLevel(logging.ERROR)


class _Socket(WSListener):
    """The socket of one connection; `gone` is resolved with the reason when it is over."""

    def __init__(self, stream: AppStream) -> None:
        self._stream = stream
        self._receive = stream.receive
        self._batch = stream.batch
        self._transport: WSTransport | None = None
        self._parts: bytearray | None = None
        self._limit = stream.backlog
        self._stuck_since = 0.0
        self._offered = 0  # bytes given to the socket since it fell behind, with those that waited then
        self._accepted = 0  # of these, what the app has taken at least
        self.gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.close_code: WSCloseCode | None = None
        self.stuck = False

    async def over(self) -> str:
        """Wait for the end of the connection; gives the reason."""
        reason = await self.gone
        with contextlib.suppress(WSError):
            # A breach of the protocol by the app is also handed out here, and must be taken; `reason` names it.
            await self._kept.wait_disconnected()
        return reason

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Keep the transport; learn of a socket that falls behind."""
        self._transport = self._kept = transport
        transport.underlying_transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)

    def send(self, message: bytes) -> None:
        """Push one text message without waiting."""
        if self._transport is not None:
            self._transport.send(TEXT, message)
            self._offered += len(message) + FRAME_HEAD

    @property
    def push(self) -> Push | None:
        """The socket's own send, for the tick; None when the app has closed already."""
        return None if self._transport is None else self._transport.send

    def send_marks(self, marks: list[PlayedMark]) -> None:
        """Tell the app of marks that were heard or cut (protocol.md §2.12; only apps that use marks get them)."""
        for mark in marks:
            self._stream.mark_sent(mark)
            self.send(mark_data(mark.id, "Completed" if mark.completed else "Cancelled"))

    def pause_writing(self) -> None:
        """The app is behind: from now on each tick looks at how far."""
        self._stuck_since = self._stream._clock.monotonic()
        self._offered, self._accepted = self._backlog(), 0
        self._stream.behind(self._has_room)

    def resume_writing(self) -> None:
        """The app has caught up."""
        self._stream.behind(None)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame of the app; fragments are put together here."""
        kind = frame.msg_type
        if kind is TEXT and frame.fin and frame.payload_size <= READ_AT_ONCE:
            self._batch.came.append((self._receive, frame.get_payload_as_bytes()))
        elif kind in (WSMsgType.TEXT, WSMsgType.BINARY):
            if frame.fin:
                self._take(frame.get_payload_as_bytes())
            else:
                self._parts = bytearray(frame.get_payload_as_memoryview())
        elif kind == WSMsgType.CONTINUATION and self._parts is not None:
            self._parts += frame.get_payload_as_memoryview()
            if len(self._parts) > MAX_MESSAGE:
                self._parts = None
                self._close(transport, WSCloseCode.MESSAGE_TOO_BIG)
            elif frame.fin:
                parts, self._parts = self._parts, None
                self._take(bytes(parts))
        elif kind == WSMsgType.CLOSE:
            if not transport.is_close_frame_sent:
                self.close_code = frame.get_close_code()
                transport.send_close(self.close_code or WSCloseCode.OK)
            transport.disconnect()

    def _take(self, message: bytes) -> None:
        """Leave a message for the next tick, which is when it can first matter; a big one is read at once."""
        batch = self._batch
        if len(message) > READ_AT_ONCE:
            batch.read()
            self._receive(message)
        else:
            batch.came.append((self._receive, message))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The connection is over, whoever ended it."""
        self._transport = None
        if self.gone.done():
            return
        sent = transport.close_handshake.sent if transport.close_handshake is not None else None
        if self.stuck:
            reason = f"no byte accepted for {STUCK_SECONDS:g} s"
        elif self.close_code is not None:
            reason = f"close code {self.close_code.value}"
        elif sent is not None and sent.code == WSCloseCode.MESSAGE_TOO_BIG:
            reason = f"closed with 1009: a message of more than {MAX_MESSAGE} bytes"
        elif sent is not None:
            reason = f"closed with {sent.code.value}: {sent.reason or 'our wish'}"
        else:
            reason = "no close frame"
        self.gone.set_result(reason)

    def close(self) -> None:
        """Close 1000 and wait at most a second for the answer, in the background."""
        if self._transport is not None:
            self._close(self._transport, WSCloseCode.OK)

    def _close(self, transport: WSTransport, code: WSCloseCode) -> None:
        transport.send_close(code)
        asyncio.get_running_loop().call_later(CLOSE_WAIT, self._abort)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.underlying_transport.abort()

    def _backlog(self) -> int:
        transport = self._transport
        return 0 if transport is None else int(transport.underlying_transport.get_write_buffer_size())

    def _has_room(self, size: int) -> bool:
        """Whether one more message may wait; a socket that took nothing for 30 s is given up."""
        backlog, now = self._backlog(), self._stream._clock.monotonic()
        # Messages of this tick are counted before they are in the backlog: that can look like progress, but once only.
        accepted = self._offered - backlog
        if accepted > self._accepted:
            self._accepted, self._stuck_since = accepted, now
        elif now - self._stuck_since > STUCK_SECONDS:
            self.stuck = True
            self._stream.down()
            asyncio.get_running_loop().call_soon(self._abort)
            return False
        room = backlog < self._limit
        if room:
            self._offered += size + FRAME_HEAD
        return room


def _explain(error: Exception, url: str) -> StreamError:
    """The failure of a dial in one sentence, by its cause."""
    if isinstance(error, WSHandshakeError):
        status = error.response.status if error.response is not None else None
        if status in (401, 403):
            return StreamError("stream_auth_refused", f"the app answered the upgrade with HTTP {int(status)}")
        if status is not None:
            return StreamError("stream_url_invalid", f"the app answered the upgrade with HTTP {int(status)}, not 101")
        return StreamError("stream_url_invalid", f"no WebSocket server answers there: {error}")
    if isinstance(error, ssl.SSLCertVerificationError):
        return StreamError("stream_url_invalid", f"the app's certificate is not trusted: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return StreamError("stream_url_invalid", f"TLS failed ({error.reason}): is the app speaking plain ws?")
    if isinstance(error, TimeoutError):
        return StreamError("stream_url_invalid", f"no answer within {DIAL_TIMEOUT:g} s")
    if isinstance(error, gaierror):
        return StreamError("stream_url_invalid", f"the name {urlsplit(url).hostname} cannot be found")
    if isinstance(error, ConnectionResetError) and url.startswith("wss"):
        return StreamError("stream_url_invalid", "TLS failed (connection reset): is the app speaking plain ws?")
    if isinstance(error, ConnectionRefusedError):
        return StreamError("stream_url_invalid", "connection refused: nothing listens there")
    return StreamError("stream_url_invalid", f"{type(error).__name__}: {error}")
