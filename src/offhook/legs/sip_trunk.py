"""SipTrunk: UDP, TCP and TLS sockets round a pure endpoint, and the legs that its sessions become (RFC 3261 §18)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import logging
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Protocol, cast

from offhook.errors import AudioError, ConfigError, LegError, OffhookError, SipError
from offhook.legs.leg import LegEvent
from offhook.legs.rtp import RtpPort
from offhook.legs.rtp_sockets import RtpSockets
from offhook.legs.sip import MediaRules, SipLeg
from offhook.sip import events
from offhook.sip.auth import Account
from offhook.sip.endpoint import SipEndpoint
from offhook.sip.framing import PONG, Framer
from offhook.sip.grammar import Address, Uri
from offhook.sip.session import Session
from offhook.sip.transaction import Peer

log = logging.getLogger("offhook.sip")

MEDIA_TIMEOUT = 30.0
IDLE_CONNECTION = 600.0
CONNECTIONS = 2000
WRITE_LIMIT = 256 * 1024
"""Bytes that may wait for a peer that does not read; then its connection is cut."""


class TrunkOwner(Protocol):
    """The node's side of a trunk."""

    def incoming(self, trunk: SipTrunk, session: Session, make_leg: Callable[..., SipLeg]) -> int:
        """Take a new session: 0, or the SIP status that it is refused with. `make_leg(leg_id, event)` makes its leg."""

    def over(self, session: Session) -> None:
        """A session is over, whether it became a leg or not."""

    def elsewhere(self, over: events.Over) -> tuple[Uri, Peer] | None:
        """Where else a call of ours that was not taken may be tried; None: nowhere."""

    def connection_lost(self, peer: Peer) -> None:
        """A connection is gone."""


class SipTrunk:
    """The SIP sockets of a node. Everything runs on the loop; packets of the endpoint go out at once."""

    def __init__(
        self,
        endpoint: SipEndpoint,
        sockets: RtpSockets,
        owner: TrunkOwner,
        *,
        random_bits: Callable[[int], int],
        random_bytes: Callable[[int], bytes],
        rules: MediaRules | None = None,
        media_host: str = "",
    ) -> None:
        """`random_bits(n)` and `random_bytes(n)` give n random ones.

        `media_host`: the address that media is to be sent to, when it is not the one that the sockets are bound to.
        """
        self.rules = rules or MediaRules()
        self.rules.formats  # noqa: B018  codecs' libraries are loaded before the first call, not in it
        self.endpoint = endpoint
        self.sockets = sockets
        self.media_host = media_host or sockets.host
        self.ports: dict[str, int] = {}
        self._owner = owner
        self._bits = random_bits
        self._bytes = random_bytes
        self._legs: dict[Session, SipLeg] = {}
        self._udp: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._tls_server: asyncio.Server | None = None
        self._tls: ssl.SSLContext | None = None
        self._connections: dict[int, _Connection] = {}
        self._flows = itertools.count(1)
        self._timer: asyncio.TimerHandle | None = None
        self._pumping = False
        self._answered: asyncio.Event | None = None
        self._watch: asyncio.TimerHandle | None = None

    async def start(self, host: str, port: int, tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None) -> None:
        """Bind UDP and TCP on the same port, TLS on the next; 0 picks free ones. ConfigError when they cannot be had.

        `tls`: contexts for connections that come and for those that we make.
        """
        loop = self._loop = asyncio.get_running_loop()
        tries = 20 if port == 0 else 1
        for last in range(tries):
            try:
                self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), (host, port))
                bound = self._udp.get_extra_info("sockname")[1]
                self._server = await loop.create_server(lambda: _Connection(self), host, bound)
            except OSError as error:
                if self._udp is not None:
                    self._udp.close()
                if error.errno == errno.EADDRINUSE and last + 1 < tries:
                    continue
                raise ConfigError(f"--sip-port {port}: cannot listen on {host} ({error.strerror or error})") from None
            self.ports = {"udp": bound, "tcp": bound}
            if tls is not None:
                self.ports["tls"] = await self._start_tls(host, port and port + 1, tls)
            shown = next(iter(self.endpoint.settings.local.values()))[0]
            self.endpoint.settings.local = {name: (shown, number) for name, number in self.ports.items()}
            with contextlib.suppress(OSError):
                raw = self._udp.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
            self._look_after_media()
            return

    async def _start_tls(self, host: str, port: int, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> int:
        taking, self._tls = tls
        try:
            self._tls_server = await self._loop.create_server(
                lambda: _Connection(self, "tls"), host, port, ssl=taking, ssl_handshake_timeout=10
            )
        except OSError as error:
            raise ConfigError(f"--sip-port: cannot listen for TLS on port {port} ({error.strerror or error})") from None
        number: int = self._tls_server.sockets[0].getsockname()[1]
        return number

    async def close(self, patience: float = 1.0) -> None:
        """Wait a moment for BYEs to be answered, then close every socket."""
        self._answered = asyncio.Event()
        self.pump()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._answered.wait(), patience)
        for timer in (self._timer, self._watch):
            if timer is not None:
                timer.cancel()
        for connection in list(self._connections.values()):
            connection.close()
        if self._udp is not None:
            self._udp.close()
        for server in (self._server, self._tls_server):
            if server is not None:
                server.close()
        self.sockets.close()

    # Signaller --------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """See `Signaller`."""
        return time.monotonic()

    def pump(self) -> None:
        """Send what is to be sent, hand out what happened, until there is no more; then plan the next timer."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while True:
                packets, events = self.endpoint.drain_packets(), self.endpoint.drain_events()
                if not packets and not events:
                    break
                for data, peer in packets:
                    self._send(data, peer)
                for event in events:
                    try:
                        self._happened(event)
                    except Exception:
                        # A mistake of ours in one session must not stop the signalling of all others.
                        log.exception("an event of %s failed", event.session.invite.call_id)
        finally:
            self._pumping = False
        self._plan()
        if self._answered is not None and not self.endpoint.awaiting_answers:
            self._answered.set()

    def gone(self, leg: SipLeg) -> None:
        """See `Signaller`."""
        if leg.session is not None:
            self._legs.pop(leg.session, None)

    # calls ------------------------------------------------------------------------------------------------------

    def dial(
        self,
        leg_id: str,
        target: Uri,
        peer: Peer,
        caller: Address,
        event: Callable[[str, LegEvent], None],
        headers: tuple[tuple[str, str], ...] = (),
        account: Account | None = None,
        context: object = None,
    ) -> SipLeg:
        """Call somebody. LegError when there is no port for the audio. `context` stays with the session."""
        leg = self._leg(leg_id, event)
        offer = leg.offer(encrypted=peer.transport == "tls")
        leg.session = self.endpoint.invite(target, peer, caller, offer, self.now(), headers, account=account)
        leg.session.context = context
        leg.dialled = (caller, headers)
        self._legs[leg.session] = leg
        self.pump()
        return leg

    def _leg(self, leg_id: str, event: Callable[[str, LegEvent], None]) -> SipLeg:
        made: list[SipLeg] = []
        media = self.sockets.open()
        assert media.beside is not None
        port = RtpPort(
            media.transmit,
            time.monotonic,
            ssrc=self._bits(32),
            sequence=self._bits(15),
            timestamp=self._bits(31),
            on_key=lambda key: made[0].pressed(key),
            latch=self.rules.latch,
            transmit_control=media.beside.transmit,
            name=f"{self._bits(64):016x}",  # a new one for each call: it tells nobody who calls again (RFC 7022 §4.2)
        )
        media.take, media.beside.take = port.datagram, port.control
        made.append(SipLeg(leg_id, self, port, media, event, self._bits(31), self._bytes))
        return made[0]

    def _happened(self, event: events.Event) -> None:
        if isinstance(event, events.Incoming):
            self._incoming(event)
            return
        leg = self._legs.get(event.session)
        if isinstance(event, events.Over):
            if leg is not None and leg.may_redial and self._redial(leg, event):
                return
            self._owner.over(event.session)
        if leg is not None:
            leg.took(event)

    def _redial(self, leg: SipLeg, over: events.Over) -> bool:
        """Try a call elsewhere: where it has moved to, or a trunk's next place (RFC 3261 §8.1.3.4, RFC 3263 §4.3)."""
        place = self._owner.elsewhere(over)
        if place is None:
            return False
        target, peer = place
        caller, headers = leg.dialled
        old = self._legs.pop(over.session)
        offer = over.session.invite.body
        session = self.endpoint.invite(target, peer, caller, offer, self.now(), headers, account=over.session.account)
        session.context, leg.session = over.session.context, session
        self._legs[session] = old
        return True

    def _incoming(self, event: events.Incoming) -> None:
        """A new session becomes a call, or is refused with the reason."""
        current, now = event.session, self.now()
        if event.replaces is not None:
            self._replace(event.replaces, current, event.offer)
            return
        made: list[SipLeg] = []

        def make_leg(leg_id: str, on_event: Callable[[str, LegEvent], None]) -> SipLeg:
            leg = self._leg(leg_id, on_event)
            made.append(leg)
            leg.invited(current, event.offer)
            self._legs[current] = leg
            current.ring(now)
            return leg

        try:
            status = self._owner.incoming(self, current, make_leg)
        except (SipError, AudioError) as error:
            log.info("a call was refused with 488: %s", error)
            status = 488
        except LegError as error:
            log.warning("a call was refused with 503: %s", error)
            status = 503
        except OffhookError as error:
            log.warning("a call was refused with 503: %s", error)
            status = 503
        if status:
            for leg in made:
                leg.abandon()
            headers = [("Retry-After", "10")] if status == 503 else []
            current.refuse(status, now, headers)

    def _replace(self, old: Session, new: Session, offer: bytes) -> None:
        """A session takes another's place in its call (RFC 3891 §3)."""
        leg, now = self._legs.get(old), self.now()
        if leg is None:
            new.refuse(481, now)
            return
        try:
            answer = leg.replace(new, offer)
        except (SipError, AudioError) as error:
            log.info("a call that was to replace another was refused with 488: %s", error)
            new.refuse(488, now)
            return
        del self._legs[old]
        self._legs[new] = leg
        new.context, old.context = old.context, None
        new.accept(answer, now)
        old.hang_up(now)

    # network ----------------------------------------------------------------------------------------------------

    def received(self, data: bytes, peer: Peer) -> None:
        """A datagram or a message of a stream."""
        self.endpoint.received(data, peer, self.now())
        self.pump()

    def _send(self, data: bytes, peer: Peer) -> None:
        if peer.transport == "udp":
            if self._udp is not None and not self._udp.is_closing():
                try:
                    self._udp.sendto(data, (peer.host.strip("[]"), peer.port))
                except (OSError, ValueError) as error:
                    log.info("cannot send to %s: %s", peer, error)
            return
        connection = self._connections.get(peer.flow)
        if connection is not None:
            connection.write(data)
        else:
            self._loop.create_task(self._connect(data, peer))

    async def _connect(self, data: bytes, peer: Peer) -> None:
        """A connection of our own, to where there is none."""
        for known in self._connections.values():
            same = known.peer is not None and (known.peer.transport, known.peer.host, known.peer.port)
            if same == (peer.transport, peer.host, peer.port):
                known.write(data)
                return
        try:
            async with asyncio.timeout(5):
                _, connection = await self._loop.create_connection(
                    lambda: _Connection(self, peer.transport),
                    peer.host,
                    peer.port,
                    ssl=self._tls if peer.transport == "tls" else None,
                )
            connection.write(data)
        except (OSError, TimeoutError) as error:
            log.info("cannot connect to %s: %s", peer, error)
            self.endpoint.broken(peer, self.now())
            self.pump()

    def _plan(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.endpoint.next_deadline()
        if deadline is not None:
            self._timer = self._loop.call_later(max(deadline - self.now(), 0.0), self._due)

    def _due(self) -> None:
        self._timer = None
        self.endpoint.advance(self.now())
        self.pump()

    def _look_after_media(self) -> None:
        """Once a second: legs of which nothing has been heard for too long are over."""
        self._watch = self._loop.call_later(1.0, self._look_after_media)
        oldest = self.now() - MEDIA_TIMEOUT
        for leg in list(self._legs.values()):
            heard = leg.port.heard_at
            if heard is not None and heard < oldest and not leg.held:
                leg.media_lost()

    # connections ------------------------------------------------------------------------------------------------

    def opened(self, connection: _Connection) -> int:
        """A TCP connection is there; its number. Too many: the longest silent one gives way."""
        flow = next(self._flows)
        self._connections[flow] = connection
        if len(self._connections) > CONNECTIONS:
            min(self._connections.values(), key=lambda c: c.heard_at).close()
        return flow

    def closed(self, flow: int, peer: Peer) -> None:
        """It is gone."""
        self._connections.pop(flow, None)
        self.endpoint.broken(peer, self.now())
        self._owner.connection_lost(peer)
        self.pump()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, trunk: SipTrunk) -> None:
        self._trunk = trunk

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._trunk.received(data, Peer("udp", addr[0], addr[1]))


class _Connection(asyncio.Protocol):
    """One TCP connection, from either side."""

    def __init__(self, trunk: SipTrunk, kind: str = "tcp") -> None:
        self._trunk = trunk
        self._kind = kind
        self._framer = Framer()
        self._transport: asyncio.Transport | None = None
        self._pongs = 0
        self.peer: Peer | None = None
        self.heard_at = trunk.now()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it
        host, port = transport.get_extra_info("peername")[:2]
        self.peer = Peer(self._kind, host, port, self._trunk.opened(self))

    def data_received(self, data: bytes) -> None:
        assert self.peer is not None
        self.heard_at = self._trunk.now()
        try:
            messages = self._framer.feed(data)
        except SipError as error:
            log.info("closing %s: %s", self.peer, error)
            self.close()
            return
        while self._pongs < self._framer.pings:
            self._pongs += 1
            self.write(PONG)
        for message in messages:
            self._trunk.received(message, self.peer)

    def connection_lost(self, error: Exception | None) -> None:
        if self.peer is not None:
            self._trunk.closed(self.peer.flow, self.peer)

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
