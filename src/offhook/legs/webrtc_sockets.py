"""One UDP port for the media of all browsers: who a datagram is of is told by names in checks, then by its source.

Datagrams are taken when they come, not in the tick: checks and handshakes must go on while no call is up.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import Callable

from aioice.ice import get_host_addresses

from offhook.errors import LegError
from offhook.legs import ice
from offhook.legs.dtls import Identity
from offhook.legs.latch import Address
from offhook.legs.rtp_sockets import RECEIVE_BUFFER
from offhook.legs.webrtc_path import MediaPath

log = logging.getLogger("offhook.webrtc")

AT_MOST = 64  # datagrams a wake-up: then others have their turn
LARGEST = 4096
LOOK_EVERY = 0.2
MOST_CANDIDATES = 16


class WebRtcSockets:
    """An `Exchange` on `host`, which may mean every address; `advertise`: addresses by which we are reached."""

    def __init__(self, host: str, port: int, advertise: tuple[str, ...], clock: Callable[[], float]) -> None:
        self.identity = Identity()
        self.port = 0
        self.candidates: tuple[Address, ...] = ()
        self.unsent = self.strange = 0
        self._host, self._wanted, self._advertise = host, port, advertise
        self._clock = clock
        self._names: dict[str, MediaPath] = {}
        self._sources: dict[Address, MediaPath] = {}
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Bind the port. LegError `leg_failed` when it cannot be had."""
        self._loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        made = socket.socket(family, socket.SOCK_DGRAM)
        try:
            made.setblocking(False)
            with contextlib.suppress(OSError):
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER * 4)
            if family == socket.AF_INET6:
                with contextlib.suppress(OSError):
                    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            made.bind((self._host, self._wanted))
        except OSError as error:
            made.close()
            where = f"{self._host} port {self._wanted}"
            raise LegError("leg_failed", f"no UDP socket for browsers on {where}: {error.strerror or error}") from None
        self._socket = made
        self._six = family == socket.AF_INET6
        self.port = made.getsockname()[1]
        self.candidates = tuple((host, self.port) for host in reached_by(self._host, self._advertise))
        self._loop.add_reader(made, self._read)

    def close(self) -> None:
        """Give the port back; every path is lost without a word."""
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None and self._loop is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        self._names.clear()
        self._sources.clear()

    # Exchange ---------------------------------------------------------------------------------------------------

    def name(self, ufrag: str, path: MediaPath) -> None:
        """See `Exchange`."""
        self._names[ufrag] = path
        if self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(LOOK_EVERY, self._look)

    def forget(self, ufrag: str) -> None:
        """See `Exchange`."""
        self._names.pop(ufrag, None)

    def know(self, source: Address, path: MediaPath) -> None:
        """See `Exchange`."""
        self._sources[source] = path

    def lose(self, source: Address, path: MediaPath) -> None:
        """See `Exchange`."""
        if self._sources.get(source) is path:
            del self._sources[source]

    def send(self, data: bytes, to: Address) -> None:
        """See `Exchange`."""
        if self._socket is None:
            return
        try:
            self._socket.sendto(data, (f"::ffff:{to[0]}", to[1]) if self._six and ":" not in to[0] else to)
        except (OSError, OverflowError):
            self.unsent += 1

    # inside -----------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        bound, now = self._socket, self._clock()
        for _ in range(AT_MOST):
            if bound is None or bound.fileno() < 0:
                return
            try:
                data, source = bound.recvfrom(LARGEST)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of something sent before
            try:
                self.take(data, ice.plain(source) if self._six else source, now)
            except Exception:
                # A mistake of ours over one packet must not cost those of all others.
                log.exception("a packet from %s could not be taken", source[0])

    def take(self, data: bytes, source: Address, now: float) -> None:
        """One datagram, by its first byte (RFC 7983 §7)."""
        first = data[0] if data else 255
        path = self._sources.get(source)
        if 128 <= first <= 191 and path is not None:
            path.media(data, now)
        elif 20 <= first <= 63 and path is not None:
            path.handshake(data)
        elif ice.is_check(data) and (named := self._names.get(ufrag := ice.called(data))) is not None:
            if (message := ice.parse(data)) is not None:
                named.check(ufrag, message, source, now)
        else:
            self.strange += 1

    def _look(self) -> None:
        self._timer = None
        now = self._clock()
        for path in list(dict.fromkeys(self._names.values())):
            try:
                path.look(now)
            except Exception:
                log.exception("a browser's media could not be looked after")
        if self._names and self._loop is not None:
            self._timer = self._loop.call_later(LOOK_EVERY, self._look)


def reached_by(host: str, advertise: tuple[str, ...]) -> list[str]:
    """The addresses that browsers are told: those given, then what a host to listen on means: itself, or all of this
    machine, that of loopback only if alone."""
    own = ipaddress.ip_address(host)
    meant = [host] if not own.is_unspecified else get_host_addresses(True, own.version == 6) or ["127.0.0.1"]
    return list(dict.fromkeys((*advertise, *meant)))[:MOST_CANDIDATES]
