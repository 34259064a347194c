"""One port for TLS and plain HTTP, told apart by the first byte a client sends (architecture.md).

0x16 is the content type of a TLS handshake record (RFC 8446 §5.1) and no HTTP method starts with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import math
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from offhook.errors import ConfigError

_log = logging.getLogger(__name__)

_TLS_HANDSHAKE = 0x16
_ACCEPTS_A_TURN = 64
_COMPLAIN_EVERY = 60.0
_OUT_OF_DESCRIPTORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_LOOPBACK_NAMES = {"localhost", "127.0.0.1"}

ProtocolFactory = Callable[[], asyncio.BaseProtocol]


class Listener:
    """Listening sockets of a node. Hands each connection to an asyncio protocol once its kind is known."""

    def __init__(
        self,
        factory: ProtocolFactory,
        ssl_context: ssl.SSLContext | None,
        host: str = "localhost",
        port: int = 0,
        *,
        first_byte_timeout: float = 15.0,
        undecided_limit: int = 4096,
        backlog: int = 1024,
        back_off: float = 0.25,
    ) -> None:
        """`factory` makes one protocol for each connection (aiohttp: `AppRunner(...).server`).

        Without `ssl_context` a TLS client is closed. `first_byte_timeout` (seconds) also bounds the TLS handshake,
        and the time until `asked` says that a connection's first request has come: its server has no such bound.
        `back_off`: seconds without accepting after the process ran out of file descriptors.
        """
        self._factory = factory
        self._ssl_context = ssl_context
        self._host = host
        self._port = port
        self._first_byte_timeout = first_byte_timeout
        self._undecided_limit = undecided_limit
        self._backlog = backlog
        self._back_off = back_off
        self._sockets: list[socket.socket] = []
        self._undecided: OrderedDict[int, tuple[socket.socket, float]] = OrderedDict()
        self._sweep: asyncio.TimerHandle | None = None
        self._unasked: dict[object, tuple[asyncio.TimerHandle, asyncio.Transport] | None] = {}
        self._resume: asyncio.TimerHandle | None = None
        self._handshakes: set[asyncio.Task[None]] = set()
        self._silent_until = 0.0

    @property
    def undecided(self) -> int:
        """Connections that have not sent their first byte yet."""
        return len(self._undecided)

    @property
    def unasked(self) -> int:
        """Connections that have begun to speak and have not finished the head of their first request."""
        return len(self._unasked)

    def asked(self, protocol: object) -> None:
        """The first request of a connection is there: from now on it is its server's to time out."""
        known = self._unasked.pop(protocol, None)
        if known is not None:
            known[0].cancel()

    async def start(self) -> int:
        """Bind and accept; returns the port really bound. ConfigError when the address cannot be used."""
        self._loop = asyncio.get_running_loop()
        first = await self._bind(self._host, self._port)
        self._sockets.append(first)
        port: int = first.getsockname()[1]
        if self._host in _LOOPBACK_NAMES:
            self._bind_loopback_v6(port)
        self._accept_again()
        return port

    async def close(self) -> None:
        """Stop accepting and close every connection whose kind is not known. Served connections stay their owner's."""
        for timer in (self._sweep, self._resume):
            if timer is not None:
                timer.cancel()
        for sock in self._sockets:
            self._loop.remove_reader(sock.fileno())
            sock.close()
        self._sockets.clear()
        while self._undecided:
            self._drop_oldest()
        for protocol in list(self._unasked):
            self.asked(protocol)
        tasks = list(self._handshakes)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- binding

    async def _bind(self, host: str, port: int) -> socket.socket:
        name = "127.0.0.1" if host in _LOOPBACK_NAMES else host
        try:
            found = await self._loop.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, _, _, _, address = found[0]
            return _listen(socket.AddressFamily(family), address, self._backlog, dual=host in ("::", ""))
        except OSError as error:
            raise ConfigError(_bind_problem(host, port, error)) from error

    def _bind_loopback_v6(self, port: int) -> None:
        """Many clients try ::1 first for `localhost`; without it each pays a refused connection, and some give up."""
        if not socket.has_ipv6:
            return
        try:
            self._sockets.append(_listen(socket.AF_INET6, ("::1", port, 0, 0), self._backlog, dual=False))
        except OSError as error:
            level = logging.WARNING if error.errno == errno.EADDRINUSE else logging.DEBUG
            _log.log(level, "not listening on [::1]:%d (%s); 127.0.0.1 serves", port, error.strerror or error)

    # -- accepting

    def _accept_again(self) -> None:
        self._resume = None
        for sock in self._sockets:
            self._loop.add_reader(sock.fileno(), self._accept, sock)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTS_A_TURN):
            try:
                sock, _address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._accept_failed(error)
                return
            self._wait_for_first_byte(sock)

    def _accept_failed(self, error: OSError) -> None:
        if error.errno not in _OUT_OF_DESCRIPTORS:
            _log.warning("accepting a connection failed: %s", error)
            return
        now = self._loop.time()
        if now >= self._silent_until:
            self._silent_until = now + _COMPLAIN_EVERY
            _log.error(
                "cannot accept connections: %s; raise the limit of open files (ulimit -n). Going on meanwhile.",
                error.strerror,
            )
        # Silent clients are the cheapest to lose: without this they could keep real ones out for 15 s.
        silent = math.ceil(len(self._undecided) / 4)
        for _ in range(silent):
            self._drop_oldest()
        if silent:
            return  # the listening socket is still readable, so accepting goes on in the next turn
        for sock in self._sockets:
            self._loop.remove_reader(sock.fileno())
        if self._resume is None:
            self._resume = self._loop.call_later(self._back_off, self._accept_again)

    # -- the first byte

    def _wait_for_first_byte(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while len(self._undecided) >= self._undecided_limit:
            self._drop_oldest()
        number = sock.fileno()
        self._undecided[number] = (sock, self._loop.time() + self._first_byte_timeout)
        self._loop.add_reader(number, self._peek, number)
        if self._sweep is None:
            self._sweep = self._loop.call_later(self._first_byte_timeout, self._close_silent)

    def _peek(self, number: int) -> None:
        sock, _deadline = self._undecided[number]
        try:
            first = sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            first = b""
        del self._undecided[number]
        self._loop.remove_reader(number)
        if not first:
            sock.close()
            return
        task = self._loop.create_task(self._hand_over(sock, tls=first[0] == _TLS_HANDSHAKE))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _hand_over(self, sock: socket.socket, *, tls: bool) -> None:
        peer = _peer(sock)
        if tls and self._ssl_context is None:
            _log.info("closed a TLS connection from %s: this node has no certificate", peer)
            sock.close()
            return
        protocol = self._factory()
        self._unasked[protocol] = None
        try:
            transport, _ = await self._loop.connect_accepted_socket(
                lambda: protocol,
                sock,
                ssl=self._ssl_context if tls else None,
                ssl_handshake_timeout=self._first_byte_timeout if tls else None,
            )
        except OSError as error:  # ssl.SSLError and TimeoutError are OSErrors
            self.asked(protocol)
            sock.close()
            _log.info("%s from %s failed: %s", "TLS handshake" if tls else "connection", peer, _tls_problem(error))
        except BaseException:
            self.asked(protocol)
            sock.close()
            raise
        else:
            if protocol in self._unasked:
                timer = self._loop.call_later(self._first_byte_timeout, self._close_unasked, protocol)
                self._unasked[protocol] = (timer, transport)
                if len(self._unasked) > self._undecided_limit:
                    self._close_unasked(next(iter(self._unasked)))

    def _close_unasked(self, protocol: object) -> None:
        """Too long, or the oldest of too many; one that has left by itself is closed already."""
        known = self._unasked.get(protocol)
        self.asked(protocol)
        if known is not None:
            known[1].abort()

    def _close_silent(self) -> None:
        """All undecided connections have the same patience, so the oldest is always the first due."""
        self._sweep = None
        now = self._loop.time()
        while self._undecided:
            _sock, deadline = next(iter(self._undecided.values()))
            if deadline > now:
                self._sweep = self._loop.call_later(deadline - now, self._close_silent)
                return
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        number, (sock, _deadline) = self._undecided.popitem(last=False)
        self._loop.remove_reader(number)
        sock.close()


def _listen(family: socket.AddressFamily, address: Any, backlog: int, *, dual: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        sock.bind(address)
        sock.listen(backlog)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _bind_problem(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--port {port} is taken on {host}; stop the program that has it, or use --port 0 for a free one"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"--port {port} on {host} is not permitted; use a port of 1024 or above"
    return f"--host {host}, port {port}: cannot listen there ({error.strerror or error}); name one of this machine"


def _peer(sock: socket.socket) -> str:
    try:
        host, port = sock.getpeername()[:2]
    except (OSError, ValueError):
        return "a client that has left"
    return f"{host}:{port}"


def _tls_problem(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or str(error)).replace("_", " ").lower()
        hint = "; the client does not trust our CA: give it caBundle" if "unknown ca" in reason else ""
        return reason + hint
    return str(error) or type(error).__name__
