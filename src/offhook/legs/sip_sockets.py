"""SipSockets: UDP, TCP and TLS round a pure endpoint, and which connections are kept (RFC 3261 §18, RFC 5922)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import ipaddress
import itertools
import logging
import socket
import ssl
from typing import Any, Protocol, cast

from offhook.errors import ConfigError, SipError
from offhook.sip.framing import PONG, Framer
from offhook.sip.transaction import Peer

log = logging.getLogger("offhook.sip")

CONNECTIONS = 2000
"""Connections at once; above it the longest silent one gives way, strangers first."""
STRANGERS = 64
"""Connections of one source on which neither a call nor a registration hangs."""
FIRST_MESSAGE = 15.0
"""Seconds for the first whole message of who has connected."""
IDLE_CONNECTION = 600.0
"""Seconds without a whole message, after which a connection that nothing hangs on is closed."""
SWEEP = 5.0
CONNECT = 5.0
"""Seconds for a connection of ours, TLS included."""
WRITE_LIMIT = 256 * 1024
"""Bytes that may wait for a peer that does not read; then its connection is cut."""
_MAPPED = "::ffff:"

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]
Place = tuple[str, str, int]
"""Transport, address and port."""


class SocketOwner(Protocol):
    """Who reads and writes by these sockets."""

    def now(self) -> float:
        """Monotonic seconds."""

    def received(self, data: bytes, peer: Peer) -> None:
        """A datagram or a message of a stream."""

    def hears(self, peer: Peer) -> bool:
        """Whether who has just connected is listened to at all."""

    def kept(self) -> set[Place]:
        """Where calls and registrations are: connections from or to there are no strangers'."""

    def broken(self, peer: Peer, reason: str) -> None:
        """Nothing can be sent there; the reason is for people."""

    def closed(self, peer: Peer) -> None:
        """A connection is gone."""


class SipSockets:
    """The signalling sockets of a node. On `::` both families are served, and peers have their plain IPv4 addresses."""

    def __init__(self, owner: SocketOwner) -> None:
        self.ports: dict[str, int] = {}
        self._owner = owner
        self._dual = False
        self._udp: asyncio.DatagramTransport | None = None
        self._servers: list[asyncio.Server] = []
        self._tls: ssl.SSLContext | None = None
        self._connections: dict[int, _Connection] = {}
        self._ours: dict[tuple[Place, str], _Connection] = {}
        self._waiting: dict[tuple[Place, str], list[bytes]] = {}  # for a connection that is being made
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = itertools.count(1)
        self._sending: Peer | None = None
        self._sweep: asyncio.TimerHandle | None = None

    async def start(self, host: str, port: int, tls: Contexts | None = None) -> None:
        """Bind UDP and TCP on the same port, TLS on the next; 0 picks free ones. ConfigError when they cannot be had.

        `tls`: contexts for connections that come and for those that we make.
        """
        self._loop = asyncio.get_running_loop()
        self._dual = host == "::"
        tries = 20 if port == 0 else 1
        for last in range(tries):
            made: list[socket.socket] = []
            try:
                made.append(await self._bound(host, port, socket.SOCK_DGRAM))
                made.append(await self._bound(host, made[0].getsockname()[1], socket.SOCK_STREAM))
                if tls is not None:
                    made.append(await self._bound(host, port and port + 1, socket.SOCK_STREAM))
            except OSError as error:
                for each in made:
                    each.close()
                if error.errno == errno.EADDRINUSE and last + 1 < tries:
                    continue
                raise _unbound(host, port, len(made), error) from None
            await self._serve(made, tls)
            return

    async def _bound(self, host: str, port: int, kind: socket.SocketKind) -> socket.socket:
        family, _, _, _, address = (await self._loop.getaddrinfo(host, port, type=kind))[0]
        made = socket.socket(family, kind)
        try:
            made.setblocking(False)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not self._dual)
            if kind is socket.SOCK_STREAM:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            else:
                with contextlib.suppress(OSError):
                    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
            made.bind(address)
        except OSError:
            made.close()
            raise
        return made

    async def _serve(self, made: list[socket.socket], tls: Contexts | None) -> None:
        loop = self._loop
        udp, tcp = made[:2]
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=udp)
        self._servers.append(await loop.create_server(lambda: _Connection(self, "tcp"), sock=tcp))
        self.ports = {"udp": udp.getsockname()[1], "tcp": tcp.getsockname()[1]}
        if tls is not None:
            taking, self._tls = tls
            self._servers.append(
                await loop.create_server(
                    lambda: _Connection(self, "tls"), sock=made[2], ssl=taking, ssl_handshake_timeout=10
                )
            )
            self.ports["tls"] = made[2].getsockname()[1]
        self._sweep = loop.call_later(SWEEP, self._tidy)

    def close(self) -> None:
        """Close every socket."""
        if self._sweep is not None:
            self._sweep.cancel()
        for task in self._tasks:
            task.cancel()
        for connection in list(self._connections.values()):
            connection.close()
        if self._udp is not None:
            self._udp.close()
        for server in self._servers:
            server.close()

    # sending ----------------------------------------------------------------------------------------------------

    def send(self, data: bytes, peer: Peer) -> None:
        """Put a message on its way; what cannot be sent is told by `broken`."""
        if peer.transport == "udp":
            self._send_datagram(data, peer)
            return
        key = (place_of(peer), peer.name)
        connection = self._connections.get(peer.flow) or self._ours.get(key)
        if connection is not None:
            connection.write(data)
        elif key in self._waiting:
            if sum(map(len, self._waiting[key])) < WRITE_LIMIT:
                self._waiting[key].append(data)
        else:
            self._waiting[key] = [data]
            task = self._loop.create_task(self._connect(peer, key))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _send_datagram(self, data: bytes, peer: Peer) -> None:
        if self._udp is None or self._udp.is_closing():
            return
        self._sending = peer
        try:
            self._udp.sendto(data, _address(peer.host, peer.port, dual=self._dual))
        except (OSError, ValueError) as error:
            self.unsent(error)
        finally:
            self._sending = None

    def unsent(self, error: Exception) -> None:
        """A datagram was refused as it was sent. Later refusals (ICMP) do not say whose it was: they count for none."""
        if self._sending is not None:
            self._loop.call_soon(self._owner.broken, self._sending, _reason(error))

    async def _connect(self, peer: Peer, key: tuple[Place, str]) -> None:
        """A connection of our own; whoever wants to send there meanwhile waits for the same."""
        try:
            if peer.transport == "tls" and self._tls is None:
                raise SipError("TLS is not set up")
            # The name that was asked for is what the certificate must show, not where DNS pointed (RFC 5922 §7.2).
            tls = self._tls if peer.transport == "tls" else None
            async with asyncio.timeout(CONNECT):
                _, connection = await self._loop.create_connection(
                    lambda: _Connection(self, peer.transport, peer.name, ours=True),
                    peer.host,
                    peer.port,
                    ssl=tls,
                    server_hostname=(peer.name or peer.host) if tls is not None else None,
                )
        except (OSError, TimeoutError, ValueError, OverflowError, SipError) as error:
            del self._waiting[key]
            self._owner.broken(peer, _reason(error))
        else:
            self._ours[key] = connection
            for data in self._waiting.pop(key):
                connection.write(data)

    # receiving --------------------------------------------------------------------------------------------------

    def received(self, data: bytes, peer: Peer) -> None:
        """See `SocketOwner`."""
        self._owner.received(data, peer)

    def peer(self, transport: str, address: tuple[Any, ...], flow: int = 0, name: str = "") -> Peer:
        """Whose address it is: on a socket of both families an IPv4 address comes mapped (RFC 4291 §2.5.5.2)."""
        host = str(address[0])
        if self._dual and host.startswith(_MAPPED) and "." in host:
            host = host[len(_MAPPED) :]
        return Peer(transport, host, address[1], flow, name)

    def opened(self, connection: _Connection, address: tuple[Any, ...]) -> Peer | None:
        """A connection is there; None for one that is not taken. Too many: a silent stranger gives way."""
        peer = self.peer(connection.kind, address, next(self._flows), connection.name)
        if not connection.ours:
            if not self._owner.hears(peer):
                return None
            if len(self._strange(peer.host)) >= STRANGERS:
                log.info("%s has %d connections that nothing hangs on: no more", peer.host, STRANGERS)
                return None
        self._connections[peer.flow] = connection
        if len(self._connections) > CONNECTIONS:
            among = [each for each in self._strange() if each is not connection] or [*self._connections.values()]
            min(among, key=lambda each: each.heard_at).close()
        return peer

    def closed(self, connection: _Connection, peer: Peer) -> None:
        """It is gone."""
        self._connections.pop(peer.flow, None)
        key = (place_of(peer), peer.name)
        if self._ours.get(key) is connection:
            del self._ours[key]
        self._owner.closed(peer)

    def now(self) -> float:
        """See `SocketOwner`."""
        return self._owner.now()

    # connections that nobody needs ------------------------------------------------------------------------------

    def _strange(self, host: str = "") -> list[_Connection]:
        """Connections that nothing hangs on, of all sources or of one."""
        kept = self._owner.kept()
        return [
            each
            for each in self._connections.values()
            if each.peer is not None and host in ("", each.peer.host) and place_of(each.peer) not in kept
        ]

    def _tidy(self) -> None:
        """Now and then: who has connected and says nothing, or nothing any more, is let go."""
        self._sweep = self._loop.call_later(SWEEP, self._tidy)
        now = self.now()
        for connection in self._strange():
            since, patience = connection.heard_at, IDLE_CONNECTION
            if not connection.ours and not connection.spoken:
                since, patience = connection.began_at, FIRST_MESSAGE
            if since < now - patience:
                connection.close()


def place_of(peer: Peer) -> Place:
    """A peer without its connection and name."""
    return peer.transport, peer.host, peer.port


@functools.lru_cache(4096)
def _address(host: str, port: int, *, dual: bool) -> tuple[str, int]:
    """Where a datagram goes. ValueError for what is no address: asyncio would close the socket over it."""
    host = host.strip("[]")
    ipaddress.ip_address(host.partition("%")[0])
    if not 0 < port < 65536:
        raise ValueError(f"{port} is no port")
    return mapped((host, port)) if dual else (host, port)


def unmapped(address: tuple[str, int]) -> tuple[str, int]:
    """An address as its own family writes it."""
    host = address[0]
    return (host[len(_MAPPED) :], address[1]) if host.startswith(_MAPPED) and "." in host else address


def mapped(address: tuple[str, int]) -> tuple[str, int]:
    """An IPv4 address for a socket of both families."""
    return address if ":" in address[0] else (_MAPPED + address[0], address[1])


def _unbound(host: str, port: int, bound: int, error: OSError) -> ConfigError:
    kind, number = (("UDP", port), ("TCP", port), ("TLS", port and port + 1))[bound]
    return ConfigError(
        f"--sip-port {port}: cannot listen on {host}, {kind} port {number} ({error.strerror or error}); "
        "stop what has it, or choose another port and host ([sip] port and host in serve)"
    )


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no connection within {CONNECT:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its TLS certificate cannot be trusted: {error.verify_message}; "
            "it must show the name in host, by a CA of the system or of [node] trust"
        )
    return f"TLS: {error.reason}" if isinstance(error, ssl.SSLError) else getattr(error, "strerror", "") or str(error)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, sockets: SipSockets) -> None:
        self._sockets = sockets

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._sockets.received(data, self._sockets.peer("udp", addr))

    def error_received(self, error: Exception) -> None:
        self._sockets.unsent(error)


class _Connection(asyncio.Protocol):
    """One connection, from either side. `heard_at`: when the last whole message or keep-alive came."""

    def __init__(self, sockets: SipSockets, kind: str, name: str = "", *, ours: bool = False) -> None:
        self.kind, self.name, self.ours = kind, name, ours
        self.peer: Peer | None = None
        self.spoken = False
        self.began_at = self.heard_at = sockets.now()
        self._sockets = sockets
        self._framer = Framer()
        self._transport: asyncio.Transport | None = None
        self._pongs = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it
        address = transport.get_extra_info("peername")
        self.peer = self._sockets.opened(self, address) if address else None
        if self.peer is None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.peer is None:
            return
        try:
            messages = self._framer.feed(data)
        except SipError as error:
            log.info("closing %s: %s", self.peer, error)
            self.close()
            return
        if messages or self._pongs < self._framer.pings:
            self.spoken, self.heard_at = self.spoken or bool(messages), self._sockets.now()
        while self._pongs < self._framer.pings:
            self._pongs += 1
            self.write(PONG)
        for message in messages:
            self._sockets.received(message, self.peer)

    def connection_lost(self, error: Exception | None) -> None:
        if self.peer is not None:
            self._sockets.closed(self, self.peer)

    def write(self, data: bytes) -> None:
        """Send; a peer that does not read is cut off."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(data)
        if transport.get_write_buffer_size() > WRITE_LIMIT:
            transport.abort()

    def close(self) -> None:
        """Close it."""
        if self._transport is not None:
            self._transport.close()
