"""UDP sockets for RTP, a pair of ports for each stream, all read by one loop at the beginning of a tick.

Packets that come between ticks wait in the kernel, where they cost nothing: no wake-up, no callback. How long they wait
there is sampled, a socket a tick, by the kernel's time stamps where it has them. What is sent within a tick is put on
the wire together at its end: the kernel's work and ours are kept apart because each runs faster with its caches warm.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import random
import select
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator

from offhook.audio.rtp import MAX_PACKET
from offhook.errors import LegError
from offhook.legs.latch import Address

log = logging.getLogger("offhook.rtp")

RECEIVE_BUFFER = 256 * 1024
AT_MOST = 64  # datagrams of one socket a tick: a flood costs itself alone
MOST_WAITING = 1024  # datagrams of one socket that its buffer can hold, roughly
MOST_WAITED = 0.1  # seconds: a packet that was there before the clock ran tells nothing
_STAMPS = 35 if sys.platform == "linux" else 0  # SO_TIMESTAMPNS, which `socket` does not name
Take = Callable[[bytes, Address, float], None]


def nobody(data: bytes, source: Address, now: float) -> None:
    """Takes what comes before somebody is there to take it."""


class RtpSocket:
    """One bound socket. Nothing here raises; what cannot be sent is counted. `beside` is the one for RTCP."""

    def __init__(self, pool: RtpSockets, bound: socket.socket, take: Take) -> None:
        self.port: int = bound.getsockname()[1]
        self.beside: RtpSocket | None = None
        self.unsent = 0
        self.take = take
        self.waited: Callable[[float], None] | None = None
        """Told now and then how long a packet had waited in the kernel, in seconds."""
        self.sendto = bound.sendto
        self.recvfrom = bound.recvfrom
        self._pool = pool
        self._socket = bound
        self._stamped = False

    def transmit(self, data: bytes | memoryview, to: Address) -> None:
        """Send a datagram when the tick ends; `data` stays as it is until then."""
        self._pool.going.append((self, data, to))

    def transmit_now(self, data: bytes, to: Address) -> None:
        """Send a datagram at once: what is not of a tick."""
        try:
            self.sendto(data, to)
        except (OSError, OverflowError):
            self.unsent += 1

    def fileno(self) -> int:
        """The descriptor, for selectors."""
        return self._socket.fileno()

    def receive_stamped(self) -> tuple[bytes, Address] | None:
        """One datagram, if there is one; `waited` is told of it."""
        if not self._stamped:
            self._stamped = True
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, _STAMPS, 1)
        try:
            data, notes, _, source = self._socket.recvmsg(MAX_PACKET, 64)
        except OSError:
            return None
        for level, kind, stamp in notes:
            if (level, kind) == (socket.SOL_SOCKET, _STAMPS) and self.waited is not None and len(stamp) == 16:
                seconds, nanoseconds = struct.unpack("@qq", stamp)
                self.waited(min(max(time.time() - seconds - nanoseconds / 1e9, 0.0), MOST_WAITED))
        return data, source[:2]

    def close(self) -> None:
        """Give the port back, and the one beside it."""
        self._pool.release(self)
        self._socket.close()
        self.take, self.waited = nobody, None
        if self.beside is not None:
            self.beside.close()


class RtpSockets:
    """The sockets of a node on `host`, from a range of ports; even ones are used (RFC 3550 §11)."""

    def __init__(self, host: str, first: int = 0, last: int = 0) -> None:
        """`first` 0: any free port of the system."""
        self.host = host
        self.going: list[tuple[RtpSocket, bytes | memoryview, Address]] = []
        self._first, self._last = first + first % 2, last
        self._poll = _Poll()
        self._open: dict[RtpSocket, None] = {}
        self._next = self._first
        self._sample: Iterator[RtpSocket] = iter(())

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
        self._open[made] = None
        return made

    def receive(self, now: float) -> None:
        """Read every socket that has something, in rounds of one datagram each, and hand out what came."""
        if not self._open:
            return
        came: list[tuple[Take, bytes, Address]] = []
        if _STAMPS:
            self._look_at_one(came)
        for _ in range(AT_MOST):
            ready = self._poll.ready()
            if not ready:
                break
            for one in ready:
                try:
                    data, source = one.recvfrom(MAX_PACKET)
                except OSError:
                    continue  # nothing, or an ICMP error of something sent before
                came.append((one.take, data, source if len(source) == 2 else source[:2]))
        for take, data, source in came:
            try:
                take(data, source, now)
            except Exception:
                # A mistake of ours over one packet must not cost the tick of all calls.
                log.exception("a packet from %s could not be taken", source[0])

    def flush(self) -> None:
        """Put on the wire what the tick has for it."""
        for one, data, to in self.going:
            try:
                one.sendto(data, to)
            except (OSError, OverflowError):
                one.unsent += 1
        self.going.clear()

    def discard(self) -> None:
        """Throw away what waits in every socket."""
        for _ in range(MOST_WAITING):
            ready = self._poll.ready()
            if not ready:
                return
            for one in ready:
                with contextlib.suppress(OSError):
                    one.recvfrom(MAX_PACKET)

    def _look_at_one(self, came: list[tuple[Take, bytes, Address]]) -> None:
        """Read a socket with its time stamp, another one each tick."""
        one = next(self._sample, None)
        if one is None:
            self._sample = iter(list(self._open))
            one = next(self._sample)
        if one in self._open and one.waited is not None and (found := one.receive_stamped()):
            came.append((one.take, *found))

    def release(self, closing: RtpSocket) -> None:
        """Forget a socket that is being closed."""
        self._open.pop(closing, None)
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
            try:
                second = self._bound(number + 1) if number % 2 == 0 else None
            except LegError:
                first.close()
                raise
            if second is not None:
                return first, second
            first.close()
        reach = f"{self._first}-{self._last}" if self._first else "of the system"
        raise LegError("leg_failed", f"every RTP port {reach} is in use: widen the range, or limit the calls")

    def _bound(self, port: int) -> socket.socket | None:
        """A socket on a port; None when somebody else has it."""
        try:
            made = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET, socket.SOCK_DGRAM)
        except OSError as error:
            raise LegError("leg_failed", f"no socket for RTP: {error.strerror or error}; raise `ulimit -n`") from None
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
