"""UDP sockets for RTP, a pair of ports for each stream, all read by one loop at the beginning of a tick.

Packets that come between ticks wait in the kernel, where they cost nothing: no wake-up, no callback. Sending is done
at once, within the tick.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import random
import select
import selectors
import socket
from collections.abc import Callable

from offhook.errors import LegError
from offhook.legs.rtp import Address

log = logging.getLogger("offhook.rtp")

RECEIVE_BUFFER = 256 * 1024
AT_MOST = 64  # datagrams of one socket a tick: a flood costs itself alone
Take = Callable[[bytes, Address, float], None]


def nobody(data: bytes, source: Address, now: float) -> None:
    """Takes what comes before somebody is there to take it."""


class RtpSocket:
    """One bound socket. `transmit` never raises; what cannot be sent is counted. `beside` is the one for RTCP."""

    def __init__(self, pool: RtpSockets, bound: socket.socket, take: Take) -> None:
        self.port: int = bound.getsockname()[1]
        self.beside: RtpSocket | None = None
        self.unsent = 0
        self.take = take
        self._pool = pool
        self._socket = bound
        self._sendto = bound.sendto
        self._recvfrom = bound.recvfrom

    def transmit(self, data: bytes, to: Address) -> None:
        """Send a datagram."""
        try:
            self._sendto(data, to)
        except OSError:
            self.unsent += 1

    def fileno(self) -> int:
        """The descriptor, for selectors."""
        return self._socket.fileno()

    def receive(self, now: float) -> None:
        """Take one datagram, if there is one."""
        try:
            data, source = self._recvfrom(2048)
        except OSError:
            return  # nothing, or an ICMP error of something sent before
        self.take(data, source if len(source) == 2 else source[:2], now)

    def close(self) -> None:
        """Give the port back, and the one beside it."""
        self._pool.release(self)
        self._socket.close()
        if self.beside is not None:
            self.beside.close()


class RtpSockets:
    """The sockets of a node on `host`, from a range of ports; even ones are used (RFC 3550 §11)."""

    def __init__(self, host: str, first: int = 0, last: int = 0) -> None:
        """`first` 0: any free port of the system."""
        self.host = host
        self._first, self._last = first + first % 2, last
        self._poll = _Poll()
        self._open: set[RtpSocket] = set()
        self._next = self._first

    def __len__(self) -> int:
        return len(self._open)

    def open(self, take: Take = nobody, take_control: Take = nobody) -> RtpSocket:
        """A socket whose datagrams go to `take`, with one on the next port for reports (RFC 3550 §11).

        Both may be set later, before the next tick. LegError `leg_failed` when every port of the range is in use.
        """
        first, second = self._bind()
        with contextlib.suppress(OSError):
            first.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        made, beside = RtpSocket(self, first, take), RtpSocket(self, second, take_control)
        made.beside = beside
        for each in (made, beside):
            self._poll.add(each)
        self._open.add(made)
        return made

    def receive(self, now: float) -> None:
        """Read every socket that has something, in rounds of one datagram each."""
        if not self._open:
            return
        for _ in range(AT_MOST):
            ready = self._poll.ready()
            if not ready:
                return
            for one in ready:
                one.receive(now)

    def release(self, closing: RtpSocket) -> None:
        """Forget a socket that is being closed."""
        self._open.discard(closing)
        self._poll.remove(closing)

    def close(self) -> None:
        """Close all."""
        for each in list(self._open):
            each.close()
        self._poll.close()

    def _bind(self) -> tuple[socket.socket, socket.socket]:
        for port in self._candidates():
            first = self._bound(port)
            if first is None:
                continue
            number = first.getsockname()[1]
            second = self._bound(number + 1) if number % 2 == 0 else None
            if second is not None:
                return first, second
            first.close()
        reach = f"{self._first}-{self._last}" if self._first else "of the system"
        raise LegError("leg_failed", f"every RTP port {reach} is in use: widen the range, or limit the calls")

    def _bound(self, port: int) -> socket.socket | None:
        """A socket on a port; None when somebody else has it."""
        made = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET, socket.SOCK_DGRAM)
        made.setblocking(False)
        try:
            made.bind((self.host, port))
        except OSError as error:
            made.close()
            if error.errno in (errno.EADDRINUSE, errno.EACCES) and port:
                return None
            raise LegError("leg_failed", f"no RTP port on {self.host}: {error.strerror or error}") from None
        return made

    def _candidates(self) -> list[int]:
        """Ports to try: round the range from where the last one was, so that a port rests before it is used again."""
        if not self._first:
            return [0] * 64
        ports = list(range(self._first, self._last, 2))
        if self._next == self._first:
            self._next = random.choice(ports)
        at = ports.index(self._next) if self._next in ports else 0
        self._next = ports[(at + 1) % len(ports)]
        return ports[at:] + ports[:at]


class _Poll:
    """Which of many sockets have something: epoll where there is one, what the system has elsewhere."""

    def __init__(self) -> None:
        self._sockets: dict[int, RtpSocket] = {}
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        self._selector = selectors.DefaultSelector() if self._epoll is None else None

    def add(self, one: RtpSocket) -> None:
        """Look after a socket."""
        self._sockets[one.fileno()] = one
        if self._epoll is not None:
            self._epoll.register(one.fileno(), select.EPOLLIN)
        elif self._selector is not None:
            self._selector.register(one, selectors.EVENT_READ)

    def remove(self, one: RtpSocket) -> None:
        """Look after it no more."""
        if self._sockets.pop(one.fileno(), None) is None:
            return
        if self._epoll is not None:
            self._epoll.unregister(one.fileno())
        elif self._selector is not None:
            self._selector.unregister(one)

    def ready(self) -> list[RtpSocket]:
        """Those that have something now."""
        if self._epoll is not None:
            sockets = self._sockets
            return [sockets[number] for number, _ in self._epoll.poll(0)]
        assert self._selector is not None
        return [self._sockets[key.fd] for key, _ in self._selector.select(0)]

    def close(self) -> None:
        """Give everything back."""
        if self._epoll is not None:
            self._epoll.close()
        elif self._selector is not None:
            self._selector.close()
