"""SipTrunk: a pure endpoint on its sockets, and the legs that its sessions become (RFC 3261 §§8, 13)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from offhook.errors import AudioError, LegError, OffhookError, SipError
from offhook.legs.latch import Address as RtpAddress
from offhook.legs.leg import LegEvent
from offhook.legs.rtp import RtpPort
from offhook.legs.rtp_sockets import RtpSockets, Take
from offhook.legs.sip import MediaRules, SipLeg
from offhook.legs.sip_sockets import Contexts, Place, SipSockets, mapped, place_of, unmapped
from offhook.sip import events
from offhook.sip.auth import Account
from offhook.sip.endpoint import SipEndpoint
from offhook.sip.grammar import Address, Uri, parse_uri
from offhook.sip.message import call_id
from offhook.sip.session import Session
from offhook.sip.transaction import Peer

log = logging.getLogger("offhook.sip")

Listener = Callable[[str, LegEvent], None]
Data = TypeVar("Data", bound=bytes | memoryview)


class TrunkOwner(Protocol):
    """The node's side of a trunk."""

    def incoming(self, trunk: SipTrunk, session: Session, make_leg: Callable[..., SipLeg]) -> int:
        """Take a new session: 0, or the SIP status that it is refused with.

        `make_leg(leg_id, event, srtp)` makes its leg; `srtp` as `SipLeg` has it.
        """

    def over(self, session: Session) -> None:
        """A session is over, whether it became a leg or not."""

    def elsewhere(self, over: events.Over) -> tuple[Uri, Peer] | None:
        """Where else a call of ours that was not taken may be tried; None: nowhere."""

    def connection_lost(self, peer: Peer) -> None:
        """A connection is gone."""

    def registered(self) -> Iterable[Peer]:
        """Where registrations are, of others here and of ours elsewhere: their connections stay."""


class MessageTap(Protocol):
    """Who sees every message; it must not fail, and keep nobody waiting."""

    def saw(self, direction: str, data: bytes, peer: Peer) -> None:
        """A message that came (in), before anything is made of it, or that goes (out)."""

    def known(self, call_id: str, leg_id: str) -> None:
        """The dialogs of a Call-ID are a leg's."""


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
        self.tap: MessageTap | None = None
        self.problem = ""
        """While `broken` is told on: why nothing can be sent there."""
        self._owner = owner
        self._bits = random_bits
        self._bytes = random_bytes
        self._legs: dict[Session, SipLeg] = {}
        self._network = SipSockets(self)
        self._timer: asyncio.TimerHandle | None = None
        self._pumping = False
        self._answered: asyncio.Event | None = None
        self._watch: asyncio.TimerHandle | None = None

    @property
    def ports(self) -> dict[str, int]:
        """Where it listens, by transport."""
        return self._network.ports

    async def start(self, host: str, port: int, tls: Contexts | None = None) -> None:
        """See `SipSockets.start`."""
        self._loop = asyncio.get_running_loop()
        await self._network.start(host, port, tls)
        shown = next(iter(self.endpoint.settings.local.values()))[0]
        self.endpoint.settings.local = {name: (shown, number) for name, number in self.ports.items()}
        self._look_after_media()

    async def close(self, patience: float = 1.0) -> None:
        """Wait a moment for BYEs to be answered, then close every socket."""
        self._answered = asyncio.Event()
        self.pump()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._answered.wait(), patience)
        for timer in (self._timer, self._watch):
            if timer is not None:
                timer.cancel()
        self._network.close()
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
                    if self.tap is not None:
                        self.tap.saw("out", data, peer)
                    self._network.send(data, peer)
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
        for session in [session for session, other in self._legs.items() if other is leg]:
            del self._legs[session]

    # calls ------------------------------------------------------------------------------------------------------

    def dial(
        self,
        leg_id: str,
        places: Iterable[tuple[Uri, Peer]],
        caller: Address,
        event: Listener,
        headers: tuple[tuple[str, str], ...] = (),
        account: Account | None = None,
        context: object = None,
        srtp: str = "optional",
    ) -> SipLeg:
        """Call somebody, at all places at once. LegError when it can be begun nowhere, or has no port for its audio.

        `context` stays with the sessions.
        """
        leg = self._leg(leg_id, event, srtp)
        leg.dialled = (caller, headers)
        reason = "no place"
        for target, peer in places:
            try:
                offer = leg.offer_to(peer.transport)
                session = self._invite(target, peer, leg, offer, account, context)
            except Exception as error:
                # Neither the other places nor the socket of the audio may be lost to a mistake of ours.
                reason = str(error) if isinstance(error, OffhookError) else repr(error)
                log.warning("no call to %s at %s", target, peer, exc_info=not isinstance(error, OffhookError))
            else:
                leg.ringing_at(session)
        if leg.session is None:
            leg.abandon()
            raise LegError("leg_failed", f"the call cannot be begun: {reason}")
        self.pump()
        return leg

    def _invite(
        self, target: Uri, peer: Peer, leg: SipLeg, offer: bytes, account: Account | None, context: object
    ) -> Session:
        if peer.transport not in self.endpoint.settings.local:
            raise SipError(f"there is no SIP over {peer.transport} here")
        caller, headers = leg.dialled
        session = self.endpoint.invite(target, peer, caller, offer, self.now(), headers, account=account)
        session.context = context
        self._bind(session, leg)
        return session

    def _bind(self, session: Session, leg: SipLeg) -> None:
        self._legs[session] = leg
        self._know(session, leg)

    def _know(self, session: Session, leg: SipLeg) -> None:
        if self.tap is not None:
            self.tap.known(call_id(session.invite), leg.leg_id)

    def _leg(self, leg_id: str, event: Listener, srtp: str = "optional") -> SipLeg:
        made: list[SipLeg] = []
        media = self.sockets.open()
        assert media.beside is not None
        dual = self.sockets.host == "::"
        port = RtpPort(
            _send(media.transmit, dual=dual),
            time.monotonic,
            ssrc=self._bits(32),
            sequence=self._bits(15),
            timestamp=self._bits(31),
            on_key=lambda key: made[0].pressed(key),
            on_key_sent=lambda key: made[0].key_sent(key),
            latch=self.rules.latch,
            transmit_control=_send(media.beside.transmit_now, dual=dual),
            name=f"{self._bits(64):016x}",  # a new one for each call: it tells nobody who calls again (RFC 7022 §4.2)
        )
        media.waited = port.waited
        media.take, media.beside.take = _take(port.datagram, dual=dual), _take(port.control, dual=dual)
        made.append(SipLeg(leg_id, self, port, media, event, self._bits(31), self._bytes, srtp))
        return made[0]

    def _happened(self, event: events.Event) -> None:
        if isinstance(event, events.Incoming):
            self._incoming(event)
            return
        leg = self._legs.get(event.session)
        if isinstance(event, events.Over):
            if leg is not None and leg.may_redial and self._redial(leg, event):
                return
            self._legs.pop(event.session, None)
            self._owner.over(event.session)
        if leg is not None:
            leg.took(event, self.problem)

    def _redial(self, leg: SipLeg, over: events.Over) -> bool:
        """Try a call elsewhere: where it has moved to, or a trunk's next place (RFC 3261 §8.1.3.4, RFC 3263 §4.3).

        Or at the same place with plain media, if that is all that is in the way. Whatever is in the way of that: the
        call was not taken, and its leg hears so.
        """
        old = over.session
        try:
            plain = leg.plain_offer(old) if over.status == 488 else None
            place = self._owner.elsewhere(over) if plain is None else (parse_uri(old.invite.uri), old.peer)
            if place is None:
                return False
            new = self._invite(*place, leg, plain or old.invite.body, old.account, old.context)
        except (SipError, LegError) as error:
            log.info("a call is not tried elsewhere: %s", error)
            return False
        except Exception:
            log.exception("a call cannot be tried elsewhere")
            return False
        del self._legs[old]
        leg.moved(old, new)
        return True

    def _incoming(self, event: events.Incoming) -> None:
        """A new session becomes a call, or is refused with the reason."""
        current, now = event.session, self.now()
        if event.replaces is not None:
            self._replace(event.replaces, current, event.offer)
            return
        made: list[SipLeg] = []

        def make_leg(leg_id: str, on_event: Listener, srtp: str = "optional") -> SipLeg:
            leg = self._leg(leg_id, on_event, srtp)
            made.append(leg)
            self._know(current, leg)
            leg.invited(current, event.offer)
            self._bind(current, leg)
            current.ring(now)
            return leg

        try:
            status = self._owner.incoming(self, current, make_leg)
        except (SipError, AudioError) as error:
            log.info("a call was refused with 488: %s", error)
            status = 488
        except OffhookError as error:
            log.warning("a call was refused with 503: %s", error)
            status = 503
        except Exception:
            log.exception("a call was refused with 500")
            status = 500
        if status:
            for leg in made:
                if self._legs.get(current) is not leg:
                    leg.abandon()  # any other hears of the session's end, and tells its call
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
        except Exception:
            log.exception("a call that was to replace another was refused with 500")
            new.refuse(500, now)
            return
        del self._legs[old]
        self._bind(new, leg)
        new.context, old.context = old.context, None
        new.accept(answer, now)
        old.hang_up(now)

    # SocketOwner ------------------------------------------------------------------------------------------------

    def received(self, data: bytes, peer: Peer) -> None:
        """See `SocketOwner`."""
        if self.tap is not None:
            self.tap.saw("in", data, peer)
        self.endpoint.received(data, peer, self.now())
        self.pump()

    def hears(self, peer: Peer) -> bool:
        """See `SocketOwner`."""
        return self.endpoint.guard.hears(peer, self.now())

    def kept(self) -> set[Place]:
        """See `SocketOwner`."""
        peers = [session.peer for session in self._legs]
        peers += [session.dialog.peer for session in self._legs if session.dialog is not None]
        return {place_of(peer) for peer in [*peers, *self._owner.registered()]}

    def broken(self, peer: Peer, reason: str) -> None:
        """See `SocketOwner`."""
        log.warning("nothing can be sent to %s: %s", peer, reason)
        self.problem = f"{peer}: {reason}"
        try:
            self.endpoint.broken(peer, self.now())
            self.pump()
        finally:
            self.problem = ""

    def closed(self, peer: Peer) -> None:
        """See `SocketOwner`."""
        self.endpoint.broken(peer, self.now())
        self._owner.connection_lost(peer)
        self.pump()

    # time -------------------------------------------------------------------------------------------------------

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
        if not self.rules.timeout:
            return
        oldest = self.now() - self.rules.timeout
        for leg in set(self._legs.values()):
            since = leg.silent_since()
            if since is not None and since < oldest:
                leg.media_lost()


def _send(send: Callable[[Data, RtpAddress], None], *, dual: bool) -> Callable[[Data, RtpAddress], None]:
    """How a socket sends; one of both families wants IPv4 addresses mapped."""
    return (lambda data, to: send(data, mapped(to))) if dual else send


def _take(take: Take, *, dual: bool) -> Take:
    """How datagrams are taken; on a socket of both families IPv4 sources come mapped."""
    if not dual:
        return take
    return lambda data, source, now: take(data, unmapped(source), now)
