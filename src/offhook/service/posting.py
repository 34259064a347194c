"""One POST to an app, tried by the rule of architecture.md, Bounds and protocol.md §9 row 4.

A post is tried again only when the app surely did not take it or asked for it: no connection, 429, 5xx. A body that
went out and was never answered may have been acted on, so it is never sent twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import logging
import math
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import BytesPayload
from yarl import URL

from offhook.service.origins import Origin, Origins, origin_of
from offhook.service.targets import Targets

_log = logging.getLogger(__name__)

_USER = re.compile(r"(?<=://)[^/@]*@")
_ANSWER_LIMIT = 64 * 1024
_IDLE_APPS_KEPT = 32


@dataclass(frozen=True, slots=True)
class PostTimes:
    """All in seconds."""

    send: float = 3.0
    """For one try to connect, shake hands and send its body."""
    answer: float = 30.0
    """How long a sent post stays open for its answer."""
    window: float = 10.0
    """Tries start within this time of the first."""
    waits: tuple[float, ...] = (0.5, 4.0)
    """Before the second and the third try."""
    linger: float = 1.0
    """How long a sent post stays open once the node is closing."""
    hurried_wait: float = 0.1
    """Between tries once the node is closing."""


@dataclass(frozen=True, slots=True)
class Post:
    """What is posted. `subject`: connection id, or call id for IncomingCall. `headers` is asked anew for each try."""

    subject: str
    uri: str
    body: bytes
    event_type: str
    event_id: str
    headers: Callable[[], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """One try, or (attempt 0) an event that was never tried. `final`: nothing more happens with this event.

    `reached`: somebody took the whole request, whatever came of it.
    """

    subject: str
    uri: str
    event_type: str
    event_id: str
    attempt: int
    status: int | None
    error: str | None
    ms: float
    final: bool
    reached: bool = False

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


Report = Callable[[DeliveryReport], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """How a try ended. `status` None: no answer; then `sent` tells whether the body went out."""

    status: int | None
    sent: bool
    error: str | None = None
    retry_after: float | None = None
    body: bytes = b""
    hopeless: bool = False

    @property
    def try_again(self) -> bool:
        if self.status is None:
            return not self.sent and not self.hopeless
        return self.status == 429 or self.status >= 500


class _Body(BytesPayload):
    """Tells when the last byte of a request has been handed to the transport."""

    def __init__(self, body: bytes, content_type: str, sent: Callable[[], None]) -> None:
        super().__init__(body, content_type=content_type)
        self._sent = sent

    async def write(self, writer: AbstractStreamWriter) -> None:
        await super().write(writer)
        self._sent()

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        await super().write_with_length(writer, content_length)
        self._sent()


@dataclass(slots=True)
class _App:
    """One origin's own session, and how many of its posts are open."""

    session: aiohttp.ClientSession
    slots: asyncio.Semaphore
    users: int = 0


@dataclass(slots=True, eq=False)
class _Try:
    """A try under way: its deadline moves from `send` to `answer` when the body is out."""

    app: _App
    on_sent: Callable[[], None] | None
    limit: asyncio.Timeout | None = None
    sent: bool = False
    holds_slot: bool = True

    def free_slot(self) -> None:
        if self.holds_slot:
            self.holds_slot = False
            self.app.slots.release()

    @property
    def deadline(self) -> float:
        """Of the loop's clock; infinite before the try has begun."""
        when = self.limit.when() if self.limit is not None else None
        return math.inf if when is None else when

    def wait_until(self, deadline: float) -> None:
        if self.limit is not None and not self.limit.expired():
            self.limit.reschedule(deadline)


@dataclass(slots=True)
class Poster:
    """Posts to apps: bounded for each origin, so that a slow or dead app holds up nobody but itself."""

    ssl_context: ssl.SSLContext | None
    origins: Origins = field(default_factory=Origins)
    targets: Targets = field(default_factory=lambda: Targets(private=True))
    times: PostTimes = field(default_factory=PostTimes)
    open_per_origin: int = 64
    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time
    _apps: dict[Origin, _App] = field(default_factory=dict, init=False)
    _tries: set[_Try] = field(default_factory=set, init=False)
    _hurry: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    @property
    def hurried(self) -> bool:
        """Whether the node is closing."""
        return self._hurry.is_set()

    @property
    def open_posts(self) -> int:
        """Tries under way."""
        return len(self._tries)

    async def send(
        self,
        post: Post,
        report: Report,
        *,
        wanted: Callable[[], bool] = lambda: True,
        on_sent: Callable[[], None] | None = None,
        tries: int | None = None,
    ) -> Answer | None:
        """Post, with further tries as the rule allows; returns the last answer, None when `wanted` said no before any.

        `on_sent` is called each time a body has gone out. Never raises but CancelledError.
        """
        most = tries or len(self.times.waits) + 1
        answer: Answer | None = None
        first: float | None = None
        for number in range(1, most + 1):
            if not wanted():
                return answer
            async with self._slot(post, on_sent) as attempt:
                if not wanted():
                    return answer
                started = self.clock()
                first = started if first is None else first
                answer = await self._try(post, attempt)
            now = self.clock()
            wait = self._wait(answer, number, now - first) if number < most and answer.try_again else None
            tell(report, _row(post, number, answer, (now - started) * 1000, final=wait is None))
            if wait is None:
                return answer
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), wait)
                await asyncio.sleep(min(wait, self.times.hurried_wait))
        return answer

    async def once(self, post: Post) -> DeliveryReport:
        """Post with one try; gives back how it went."""
        told: list[DeliveryReport] = []
        await self.send(post, told.append, tries=1)
        return told[0]

    def hurry(self) -> None:
        """The node is closing: unanswered posts no longer keep others waiting, and tries follow at once."""
        self._hurry.set()
        deadline = asyncio.get_running_loop().time() + self.times.linger
        for attempt in self._tries:
            if attempt.sent:
                attempt.free_slot()
                attempt.wait_until(min(deadline, attempt.deadline))

    async def close(self) -> None:
        """Close all connections. Posts under way fail."""
        apps, self._apps = list(self._apps.values()), {}
        for app in apps:
            await app.session.close()

    # -- one try

    async def _try(self, post: Post, attempt: _Try) -> Answer:
        loop = asyncio.get_running_loop()

        def sent() -> None:
            attempt.sent = True
            attempt.wait_until(loop.time() + (self.times.linger if self.hurried else self.times.answer))
            if self.hurried:
                attempt.free_slot()
            if attempt.on_sent is not None:
                attempt.on_sent()

        status: int | None = None
        try:
            headers = {**self.origins.headers(post.uri), **post.headers(), "Connection": "close"}
            kind = headers.pop("Content-Type", "application/json")
            url = request_url(self.origins.dial(post.uri))
            attempt.limit = asyncio.timeout(self.times.send)
            async with (
                attempt.limit,
                attempt.app.session.post(
                    url,
                    data=_Body(post.body, kind, sent),
                    headers=headers,
                    allow_redirects=False,
                    ssl=self.ssl_context if self.ssl_context is not None else True,
                ) as response,
            ):
                status = response.status
                body = await _read(response)
                wait = _retry_after(response.headers.get("Retry-After"), self.wall_clock())
                return Answer(status, True, None, wait, body)
        except TimeoutError:
            if status is not None:  # only the body of the answer hangs
                return Answer(status, True)
            seconds = self.times.answer if attempt.sent else self.times.send
            what = "no answer" if attempt.sent else "no connection"
            return Answer(None, attempt.sent, f"{what} within {seconds:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(None, attempt.sent, describe(error, attempt.sent), hopeless=_hopeless(error))

    def _wait(self, answer: Answer, number: int, elapsed: float) -> float | None:
        """Seconds until the next try, None when it would start too late."""
        wait = max(self.times.waits[number - 1], answer.retry_after or 0.0)
        if elapsed + wait > self.times.window:
            return None
        return wait

    # -- origins

    @contextlib.asynccontextmanager
    async def _slot(self, post: Post, on_sent: Callable[[], None] | None) -> AsyncIterator[_Try]:
        app = self._app(self.origins.dial(post.uri))
        app.users += 1
        try:
            await app.slots.acquire()
            attempt = _Try(app, on_sent)
            self._tries.add(attempt)
            try:
                yield attempt
            finally:
                self._tries.discard(attempt)
                attempt.free_slot()
        finally:
            app.users -= 1
            await self._forget_idle()

    def _app(self, url: str) -> _App:
        try:
            origin = origin_of(url)
        except ValueError:
            origin = Origin(False, "", 0)  # fails with a clear message when it is tried
        app = self._apps.pop(origin, None)
        if app is None:
            # A kept connection may be closed by the app just as a post goes out on it; that post would be lost,
            # since it must not be sent twice. So each post has its own. The bound is `slots`, not the connector.
            connector = aiohttp.TCPConnector(limit=0, force_close=True, socket_factory=self.targets.open_socket)
            session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"User-Agent": "offhook"},
            )
            app = _App(session, asyncio.Semaphore(self.open_per_origin))
        self._apps[origin] = app  # most recently used last
        return app

    async def _forget_idle(self) -> None:
        spare = len(self._apps) - _IDLE_APPS_KEPT
        if spare <= 0:
            return
        for origin in [origin for origin, app in self._apps.items() if app.users == 0][:spare]:
            await self._apps.pop(origin).session.close()


def _row(post: Post, number: int, answer: Answer, ms: float, *, final: bool) -> DeliveryReport:
    return DeliveryReport(
        post.subject,
        post.uri,
        post.event_type,
        post.event_id,
        number,
        answer.status,
        answer.error,
        ms,
        final,
        answer.sent or answer.status is not None,
    )


def shown(uri: str) -> str:
    """A URL for a log line: without query and user, where apps keep secrets."""
    return _USER.sub("", uri.partition("?")[0])


def tell(report: Report, row: DeliveryReport) -> None:
    try:
        report(row)
    except Exception:
        _log.exception("the report of a delivery failed")


def request_url(url: str) -> URL:
    """The URL with path and query untouched; only what cannot stand in a request line is escaped."""
    if not url.isascii() and not (URL(url).raw_host or "").isascii():
        return URL(url)
    safe = "".join(c if "!" <= c <= "~" else "".join(f"%{b:02X}" for b in c.encode()) for c in url)
    return URL(safe, encoded=True)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The start of the answer's body. The status is the answer; a body that breaks off does not undo it."""
    body = bytearray()
    with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) >= _ANSWER_LIMIT:
                break
    return bytes(body[:_ANSWER_LIMIT])


def _retry_after(text: str | None, now: float) -> float | None:
    """Seconds, from a number or an HTTP date (RFC 9110 §10.2.3)."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _hopeless(error: Exception) -> bool:
    return isinstance(error, aiohttp.ClientConnectorCertificateError) or (
        isinstance(error, ValueError) and not isinstance(error, OSError)
    )


def describe(error: Exception, sent: bool) -> str:
    """One line for people: what happened, and the fix where there is one."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
        fix = "add its CA by --trust, or trust in [node] of serve"
        return f"the certificate of {error.host}:{error.port} is not trusted ({reason}); {fix}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name {error.host} cannot be found"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return f"no TLS with {error.host}:{error.port} ({error.os_error}); does it speak plain http there? see --map"
    if isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error.os_error, socket.gaierror):
            return f"the name {error.host} cannot be found"
        return f"cannot connect to {error.host}:{error.port} ({error.os_error.strerror or error.os_error})"
    if isinstance(error, aiohttp.InvalidURL) or (isinstance(error, ValueError) and not isinstance(error, OSError)):
        return f"this is not a URL that can be dialled ({error})"
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionResetError):
        return "the app closed the connection without an answer" if sent else "the app closed the connection"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
