"""SIP phones and trunks of a node: who may call, and how somebody is rung.

What is allowed is a table (routing.py): in `offhook dev` every program of this machine is a phone, in `offhook serve`
nobody is but a trunk's own addresses and users with a password.
"""

from __future__ import annotations

import ipaddress
import logging
import secrets
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from offhook.calls.actions import DialLeg, ReferLeg
from offhook.errors import CallError, LegError, SipError
from offhook.legs.leg import Leg, LegEvent
from offhook.legs.resolver import DEFAULT_PORTS
from offhook.legs.rtp_sockets import RtpSockets
from offhook.legs.sip import SipLeg
from offhook.legs.sip_trunk import SipTrunk
from offhook.service.gateways import Gateway, Gateways
from offhook.service.identities import Identities, called, display_of, number_of
from offhook.service.live import LiveCall
from offhook.service.node import Node
from offhook.service.refusals import Refusals
from offhook.service.routing import SipPlan, Sources, Table, TrunkRule, User
from offhook.service.sip_notes import SipNotes
from offhook.sip.auth import Challenger
from offhook.sip.endpoint import Settings, SipEndpoint, Verdict
from offhook.sip.events import Over
from offhook.sip.grammar import Address, Uri, parse_uri
from offhook.sip.identity import caller_of, custom_headers, identity_headers, write_custom
from offhook.sip.message import Request, Response, response
from offhook.sip.registrar import Binding, Registrar, user_of
from offhook.sip.session import Session
from offhook.sip.transaction import Peer
from offhook.wire.identifiers import Identifier, parse_raw_id

log = logging.getLogger("offhook.sip")

MOST_HOPS = 5
"""How often one call of ours may be tried elsewhere."""
FAILED_LOGIN, STRANGER = 2.0, 3600.0
"""Seconds between two lines about failed passwords of one source, and about calls of nobody known."""
Tell = Callable[[dict[str, Any]], None]


@dataclass(slots=True)
class Known:
    """What is known of whom a session is with; `counted`: the limits that it counts against."""

    trunk: TrunkRule | None = None
    user: User | None = None
    gateway: Gateway | None = None
    counted: list[str] = field(default_factory=list)
    hops: int = 0


class Phones:
    """The SIP side of a node."""

    def __init__(self, node: Node, resource_id: str, tell: Tell, plan: SipPlan) -> None:
        self._node = node
        self._tell = tell
        self._plan = plan
        self.table = Table(plan)
        self.identities = Identities(resource_id, self.table)
        self._sources = Sources(plan.requests)
        passwords = {user.name: user.password for user in plan.users}
        self._challenger = Challenger(plan.realm, secrets.token_bytes(32), passwords)
        self._registrar = Registrar()
        # User by raw id, of everybody who may register or has.
        self._users = {self.identities.of(user.name).raw_id: user.name for user in plan.users}
        reached = _shown(plan.advertise or plan.host)
        endpoint = SipEndpoint(
            Settings({"udp": (reached, 0), "tcp": (reached, 0)}),
            self,
            lambda: secrets.token_hex(8),
            lambda: secrets.randbelow(1000) / 1000,
        )
        sockets = RtpSockets(plan.host, *plan.rtp_ports)
        self.trunk = SipTrunk(
            endpoint,
            sockets,
            self,
            random_bits=secrets.randbits,
            random_bytes=secrets.token_bytes,
            rules=plan.media,
            media_host=plan.advertise or plan.host,
        )
        self.trunk.tap = SipNotes(node.traces, node.clock.monotonic)
        self.gateways = Gateways(self.table, self.trunk, endpoint.chance, tell)
        self._refusals = Refusals(self.trunk.now())

    async def start(self, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
        """Listen. `tls`: contexts for connections that come, and for ours."""
        await self.trunk.start(self._plan.host, self._plan.port, tls)
        self._node.networks.append(self.trunk.sockets)
        self._node.find_phone, self._node.announces = self.find, self.announces
        self._node.refer = self.refer
        self.gateways.start()

    async def close(self) -> None:
        """Leave the registrars, and close every socket once the BYEs are answered."""
        await self.gateways.stop()
        await self.trunk.close()

    @property
    def description(self) -> dict[str, Any]:
        """Host and ports, as the node's status shows them, and what the doctor asks about."""
        plan = self._plan
        return {
            "host": plan.advertise or plan.host,
            **self.trunk.ports,
            "listens": plan.host,
            "rtpPorts": list(plan.rtp_ports),
            "latch": plan.media.latch,
            "strangers": plan.open_to_loopback,
        }

    # Guard ------------------------------------------------------------------------------------------------------

    def hears(self, peer: Peer, now: float) -> bool:
        """See `Guard`: strangers are heard only where somebody may register, and only so often."""
        if self._plan.open_to_loopback:
            return True
        if self._trunk_of(peer) is not None or self.gateways.heard(peer.host):
            return True
        if self._plan.users:
            return self._sources.take(peer.host, now)
        self._refusals.note("SIP is not answered: no [[trunk]] has the address in allow, request", peer.host, now)
        return False

    def admit(self, request: Request, peer: Peer, now: float) -> Verdict:
        """See `Guard`. OPTIONS from a stranger gets no answer: that is how scanners begin."""
        if self._plan.open_to_loopback:
            return Verdict(context=Known()) if _loopback(peer.host) else Verdict(-1)
        trunk = self._trunk_of(peer)
        if trunk is not None:
            return Verdict(context=Known(trunk=trunk))
        if request.method == "OPTIONS":
            # `offhook doctor` asks from this machine.
            return Verdict() if self._registrar.knows(peer) or _loopback(peer.host) else Verdict(-1)
        if not self._plan.users:
            return Verdict(-1)
        name, answer = self._user(request, peer, now)
        if not name:
            return Verdict(401, headers=answer)
        return Verdict(context=Known(user=self.table.user_of(name)))

    def _trunk_of(self, peer: Peer) -> TrunkRule | None:
        """The trunk of a source: by its `allow`, or because we have registered there."""
        return self.table.trunk_of(peer.host) or self.gateways.registrar_at(peer.host)

    def _user(self, request: Request, peer: Peer, now: float) -> tuple[str, tuple[tuple[str, str], ...]]:
        """The user that a request proves to be from; empty without, and the challenge that it is to meet then."""
        name, stale = self._challenger.check(request, now, peer.host)
        if name:
            return name, ()
        if not request.headers.get_first("authorization"):
            if request.method == "INVITE" and self.table.user_of(caller_of(request, trusted=False).user) is None:
                what = "a call of no [[user]] and of no [[trunk]] in allow is asked for a password, request"
                self._refusals.note(what, peer.host, now, again=STRANGER)
        elif not stale:
            what = f"failed password for {request.method}, request"
            self._refusals.note(what, peer.host, now, again=FAILED_LOGIN)
        return "", tuple(self._challenger.challenge(now, stale=stale, source=peer.host))

    def register(self, request: Request, peer: Peer, now: float) -> Response:
        """See `Guard`: in `serve` the password decides, and a user registers nobody but itself."""
        user, tag = user_of(request), secrets.token_hex(4)
        if self._plan.open_to_loopback:
            if not _loopback(peer.host) or not user:
                return response(request, 403, to_tag=tag)
        else:
            name, headers = self._user(request, peer, now)
            if not name:
                return response(request, 401, to_tag=tag, headers=headers)
            known = self.table.user_of(name)
            if known is None or user.lstrip("+") not in (name.lstrip("+"), known.number.lstrip("+")):
                self._refusals.note("REGISTER for another user", peer.host, now, again=FAILED_LOGIN)
                return response(request, 403, to_tag=tag)
            user = name
        answer = self._registrar.register(user, request, peer, tag, now)
        if answer.status_code == 200:
            identity = self.identities.of(user)
            self._users[identity.raw_id] = user
            registered = bool(self._registrar.bindings(user, now))
            state = "registered" if registered else "gone"
            self._tell({"event": "phone", "name": state, "identity": identity.raw_id, "from": str(peer)})
        return answer

    # TrunkOwner -------------------------------------------------------------------------------------------------

    def incoming(self, trunk: SipTrunk, session: Session, make_leg: Callable[..., SipLeg]) -> int:
        """See `TrunkOwner`."""
        invite, known = session.invite, session.context
        assert isinstance(known, Known)
        user = called(invite, known.trunk)
        if not user:
            return 484
        source, display = self.identities.caller(invite, known.trunk, known.user)
        callee = self.identities.identify(user)
        status = self._count(number_of(callee) or user, known)
        if status:
            return status
        srtp = "optional" if known.trunk is None else known.trunk.srtp

        def leg(leg_id: str, event: Callable[[str, LegEvent], None]) -> Leg:
            return make_leg(leg_id, event, srtp)

        try:
            self._node.place(source, callee, display, leg, custom_headers(invite))
        except CallError as error:
            log.warning("a call to %s was refused: %s", user, error)
            return 503
        return 0

    def elsewhere(self, over: Over) -> tuple[Uri, Peer] | None:
        """See `TrunkOwner`: where it has moved to, or the next place of a trunk that was silent or too busy."""
        known = over.session.context
        if not isinstance(known, Known) or known.hops >= MOST_HOPS:
            return None
        known.hops += 1
        if 300 <= over.status < 400:
            return next(filter(None, map(self._moved, over.contacts)), None)
        if known.gateway is not None and over.status in (408, 503) and over.theirs:
            now, silent = self.trunk.now(), over.session.peer
            known.gateway.failed(silent, now)
            peer = known.gateway.peer(now)
            if peer != silent and known.hops < len(known.gateway.peers):
                return parse_uri(over.session.invite.uri), peer
        return None

    def _moved(self, contact: str) -> tuple[Uri, Peer] | None:
        """Where a contact is that a call was moved to, if it may be called."""
        try:
            target = parse_uri(contact)
        except SipError:
            return None
        if self._plan.open_to_loopback:
            if not _loopback(target.host.strip("[]")):
                return None
            transport = target.transport or "udp"
            return target, Peer(transport, target.host.strip("[]"), target.port or DEFAULT_PORTS.get(transport, 5060))
        user = target.user or ""
        known = self.table.user_of(user)
        bindings = self._registrar.bindings(known.name, self.trunk.now()) if known is not None else []
        if bindings:
            return _way_to(bindings[0])
        number = number_of(self.identities.identify(user))
        for gateway in self.gateways.of(number) if number else []:
            if gateway.peers:
                return gateway.target(number, self.trunk.now())
        return None

    def over(self, session: Session) -> None:
        """See `TrunkOwner`: it no longer counts."""
        known = session.context
        if isinstance(known, Known):
            self.table.end(known.counted)
            known.counted = []

    def connection_lost(self, peer: Peer) -> None:
        """See `TrunkOwner`."""
        self._registrar.forget(peer)
        self.gateways.lost(peer)

    def registered(self) -> Iterator[Peer]:
        """See `TrunkOwner`."""
        yield from self._registrar.peers()
        for gateway in self.gateways:
            if gateway.registration is not None:
                yield gateway.registration.peer

    # Phone ------------------------------------------------------------------------------------------------------

    def find(self, raw_id: str) -> RegisteredPhone | TrunkNumber | None:
        """Who can be rung under an identifier now: a registered phone, or a number by a trunk."""
        user = self._users.get(raw_id)
        if user is not None:
            bindings = self._registrar.bindings(user, self.trunk.now())
            if bindings:
                return RegisteredPhone(self, bindings)
        if raw_id.startswith("4:") and not self._plan.open_to_loopback:
            return TrunkNumber(self, parse_raw_id(raw_id).id)
        return None

    def announces(self, raw_id: str) -> bool:
        """Whether a call that is redirected there is announced to apps: a number of ours, or of no trunk."""
        found = self.find(raw_id)
        if not isinstance(found, TrunkNumber):
            return False
        ours = bool(self._plan.numbers) and self.table.number_of(found.number) is not None
        return ours or not self.gateways.of(found.number)

    def ring(self, bindings: list[Binding], action: DialLeg, live: LiveCall) -> SipLeg:
        """Call a user at all its contacts."""
        host, _ = self.trunk.endpoint.settings.local["udp"]
        shown = self._shown(action.source)
        source, headers = identity_headers(shown or "anonymous", host, private=not shown, trusted=False)
        return self.trunk.dial(
            action.leg_id,
            [_way_to(binding) for binding in bindings],
            replace(source, display=display_of(action.display_name)) if shown else source,
            self._event(live),
            (*headers, *_custom(action)),
            context=Known(),
        )

    def _shown(self, caller: Identifier | None) -> str:
        """How a phone of ours is shown a caller: by its number, or by the name that it registers with."""
        return number_of(caller) or ("" if caller is None else self._users.get(caller.raw_id, ""))

    def dial(self, number: str, action: DialLeg, live: LiveCall) -> Leg:
        """Call a number by the first of its trunks that has room and an address. LegError says what is in the way."""
        gateways = self.gateways.of(number)
        if not gateways:
            raise LegError(
                "refused", f"no trunk may call {number}: see destinations in [sip] and prefixes in [[trunk]]"
            )
        shared = self._limits(number_of(action.source))
        error = LegError("leg_failed")
        for gateway in gateways:
            rule = gateway.rule
            limits = [*shared, (f"trunk {rule.name}", rule.calls, rule.rate)]
            full = self.table.begin(limits, self.trunk.now()) if gateway.peers else ""
            if full:
                error = LegError("throttled", f"{full} has no room for another call: see calls and calls_per_second")
                continue
            known = Known(gateway=gateway, counted=[name for name, _, _ in limits] if gateway.peers else [])
            try:
                return gateway.dial(number, action, self._event(live), _custom(action), known)
            except LegError as reason:
                self.table.end(known.counted)
                error = reason
        raise error

    def refer(self, leg: Leg, action: ReferLeg) -> bool:
        """See `Node.refer`: a trunk is asked to connect its call to a number that it carries; a user's phone never is,
        for what it calls comes back here as a call to an app."""
        known = leg.session.context if isinstance(leg, SipLeg) and leg.session is not None else None
        if not isinstance(known, Known) or self._node.phones.get(action.target.raw_id) is not None:
            return False
        rule = known.gateway.rule if known.gateway is not None else known.trunk
        phone = self.find(action.target.raw_id)
        if rule is None or not isinstance(phone, TrunkNumber):
            return False
        gateway = next((one for one in self.gateways.of(phone.number) if one.rule is rule and one.peers), None)
        if gateway is None:
            return False
        target, _ = gateway.target(phone.number, self.trunk.now())
        number, host = number_of(action.source), rule.from_domain or self._plan.advertise or self._plan.host
        try:
            headers = dict(_custom(action))
        except LegError:
            return False  # they are in the way of a call from here too, which says so
        assert isinstance(leg, SipLeg)
        return leg.refer(replace(target, headers=headers), Address(Uri("sip", number, host)) if number else None)

    def live(self, call_id: str) -> LiveCall:
        """The call of an id."""
        live = self._node.calls.get(call_id)
        if live is None:
            raise LegError("unreachable", "the call is over")
        return live

    # inside -----------------------------------------------------------------------------------------------------

    def _limits(self, number: str) -> list[tuple[str, int, float]]:
        """The limits of a number of ours that calls or is called."""
        rule = self.table.number_of(number) if number and self._plan.numbers else None
        return [] if rule is None else [(f"number {rule.pattern}", rule.calls, rule.rate)]

    def _count(self, number: str, known: Known) -> int:
        """Count a call against the limits of its trunk and number: 0, or the status that it is refused with."""
        rule = self.table.number_of(number)
        if rule is None:
            log.info("a call to %s was refused: it is in no [[number]]", number)
            return 404
        limits = [(f"number {rule.pattern}", rule.calls, rule.rate)]
        if known.trunk is not None:
            limits.append((f"trunk {known.trunk.name}", known.trunk.calls, known.trunk.rate))
        full = self.table.begin(limits, self.trunk.now())
        if full:
            log.warning("a call to %s was refused: %s is at its limit", number, full)
            return 486 if full.startswith("number") else 503
        known.counted = [name for name, _, _ in limits]
        return 0

    def _event(self, live: LiveCall) -> Callable[[str, LegEvent], None]:
        return lambda leg, what: self._node.leg_event(live, leg, what)


class RegisteredPhone:
    """A user that has registered, at one place or at several (node.Phone)."""

    def __init__(self, phones: Phones, bindings: list[Binding]) -> None:
        self._phones = phones
        self._bindings = bindings

    def ring(self, action: DialLeg, call_id: str) -> Leg:
        """See `Phone`."""
        return self._phones.ring(self._bindings, action, self._phones.live(call_id))


class TrunkNumber:
    """A number that a trunk may reach (node.Phone)."""

    def __init__(self, phones: Phones, number: str) -> None:
        self.number = number
        self._phones = phones

    def ring(self, action: DialLeg, call_id: str) -> Leg:
        """See `Phone`."""
        return self._phones.dial(self.number, action, self._phones.live(call_id))


def _way_to(binding: Binding) -> tuple[Uri, Peer]:
    """How a contact is called: behind a NAT, and over a connection, by the way that its REGISTER came."""
    target = binding.contact
    if binding.behind_nat or (target.transport or binding.peer.transport) != "udp":
        return target, binding.peer
    return target, Peer("udp", target.host, target.port or DEFAULT_PORTS["udp"])


def _custom(action: DialLeg | ReferLeg) -> list[tuple[str, str]]:
    try:
        return write_custom(dict(action.sip_headers))
    except SipError as error:
        raise LegError("invalid_argument", str(error)) from None


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
