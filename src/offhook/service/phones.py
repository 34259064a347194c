"""SIP phones and trunks of a node: who may call, under which identifier, and how somebody is rung (protocol.md §1.2).

A user part of digits is a phone number; any other user has a stable `8:acs:…` id of this resource. What is allowed is
a table (routing.py): in `offhook dev` every program of this machine is a phone, in `offhook serve` nobody is but a
trunk's own addresses and users with a password.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import secrets
import ssl
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from offhook.errors import CallError, LegError, SipError, WireError
from offhook.legs.leg import Leg, LegEvent
from offhook.legs.resolver import DEFAULT_PORTS
from offhook.legs.rtp_sockets import RtpSockets
from offhook.legs.sip import SipLeg
from offhook.legs.sip_trunk import SipTrunk
from offhook.service.gateways import Gateway, Gateways
from offhook.service.live import LiveCall
from offhook.service.node import Node
from offhook.service.routing import SipPlan, Sources, Table, TrunkRule, User
from offhook.sip.auth import Challenger
from offhook.sip.endpoint import Settings, SipEndpoint, Verdict
from offhook.sip.events import Over
from offhook.sip.grammar import Uri, parse_uri
from offhook.sip.identity import Caller, caller_of, custom_headers, identity_headers
from offhook.sip.message import Request, Response, response
from offhook.sip.registrar import Binding, Registrar, user_of
from offhook.sip.session import Session
from offhook.sip.transaction import Peer
from offhook.wire.identifiers import Identifier, communication_user, phone_number, resolve_target

log = logging.getLogger("offhook.sip")

_DIGITS = re.compile(r"\+?\d{2,20}")
MOST_HOPS = 5
"""How often one call of ours may be tried elsewhere."""
_NAMESPACE = uuid.UUID("6d0b6c1e-8e1f-5d8e-9a54-0f3f0f6a2b11")
Tell = Callable[[dict[str, Any]], None]


@dataclass(slots=True)
class Known:
    """What is known of whom a session is with; `counted`: the limits that it counts against."""

    trunk: TrunkRule | None = None
    user: User | None = None
    gateway: Gateway | None = None
    peer: Peer | None = None
    counted: list[str] = field(default_factory=list)
    hops: int = 0


class Phones:
    """The SIP side of a node."""

    def __init__(self, node: Node, resource_id: str, tell: Tell, plan: SipPlan) -> None:
        self._node = node
        self._resource_id = resource_id
        self._tell = tell
        self._plan = plan
        self.table = Table(plan)
        self._sources = Sources(plan.requests)
        passwords = {user.name: user.password for user in plan.users}
        self._challenger = Challenger(plan.realm, secrets.token_bytes(32), passwords)
        self._registrar = Registrar()
        self._users: dict[str, str] = {}  # user by raw id, of everybody who ever registered
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
        self.gateways = Gateways(self.table, self.trunk, endpoint.chance, tell)

    async def start(self, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
        """Listen. `tls`: contexts for connections that come, and for ours."""
        await self.trunk.start(self._plan.host, self._plan.port, tls)
        self._node.networks.append(self.trunk.sockets)
        self._node.find_phone = self.find
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
            "strangers": plan.open_to_loopback or bool(plan.users),
        }

    # Guard ------------------------------------------------------------------------------------------------------

    def hears(self, peer: Peer, now: float) -> bool:
        """See `Guard`: strangers are heard only where somebody may register, and only so often."""
        if self._plan.open_to_loopback:
            return True
        if self.table.trunk_of(peer.host) is not None or self._is_gateway(peer):
            return True
        return bool(self._plan.users) and self._sources.take(peer.host, now)

    def admit(self, request: Request, peer: Peer, now: float) -> Verdict:
        """See `Guard`."""
        if self._plan.open_to_loopback:
            return Verdict(context=Known()) if _loopback(peer.host) else Verdict(-1)
        trunk = self.table.trunk_of(peer.host)
        if trunk is not None:
            return Verdict(context=Known(trunk=trunk))
        if not self._plan.users:
            return Verdict(-1)
        name, stale = self._challenger.check(request, now, peer.host)
        if not name:
            return Verdict(401, headers=tuple(self._challenger.challenge(now, stale=stale, source=peer.host)))
        return Verdict(context=Known(user=self.table.user_of(name)))

    def register(self, request: Request, peer: Peer, now: float) -> Response:
        """See `Guard`: in `serve` the password decides, and a user registers nobody but itself."""
        user, tag = user_of(request), secrets.token_hex(4)
        if self._plan.open_to_loopback:
            if not _loopback(peer.host) or not user:
                return response(request, 403, to_tag=tag)
        else:
            name, stale = self._challenger.check(request, now, peer.host)
            if not name:
                headers = self._challenger.challenge(now, stale=stale, source=peer.host)
                return response(request, 401, to_tag=tag, headers=headers)
            known = self.table.user_of(name)
            if known is None or user.lstrip("+") not in (name.lstrip("+"), known.number.lstrip("+")):
                return response(request, 403, to_tag=tag)
            user = name
        answer = self._registrar.register(user, request, peer, tag, now)
        if answer.status_code == 200:
            identity = self.identity_of(user)
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
        target = parse_uri(invite.uri)
        if not target.user:
            return 484
        caller = self._caller(invite, known)
        callee = self.identify(target.user)
        number = callee.id if callee.raw_id.startswith("4:") else target.user
        status = self._count(number, known)
        if status:
            return status

        def leg(leg_id: str, event: Callable[[str, LegEvent], None]) -> Leg:
            return make_leg(leg_id, event)

        try:
            source = self.identify(caller.user or "anonymous")
            self._node.place(source, callee, caller.display, leg, custom_headers(invite))
        except CallError as error:
            log.warning("a call to %s was refused: %s", target.user, error)
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
            return bindings[0].contact, bindings[0].peer
        for gateway in self.gateways.of(self.identify(user).id if _DIGITS.fullmatch(user) else ""):
            return gateway.target(self.identify(user).id, self.trunk.now())
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

    # Phone ------------------------------------------------------------------------------------------------------

    def find(self, raw_id: str) -> RegisteredPhone | TrunkNumber | None:
        """Who can be rung under an identifier now: a registered phone, or a number by a trunk."""
        user = self._users.get(raw_id)
        if user is not None:
            bindings = self._registrar.bindings(user, self.trunk.now())
            if bindings:
                return RegisteredPhone(self, user, bindings[0])
        if raw_id.startswith("4:") and not self._plan.open_to_loopback:
            return TrunkNumber(self, raw_id[2:])
        return None

    def ring(self, binding: Binding, user: str, leg_id: str, caller: Identifier | None, live: LiveCall) -> SipLeg:
        """Call a binding."""
        target = binding.contact
        transport = target.transport or binding.peer.transport
        peer = binding.peer
        if not binding.behind_nat and transport == "udp":
            peer = Peer("udp", target.host, target.port or 5060)
        host, _ = self.trunk.endpoint.settings.local[peer.transport]
        shown = caller.id if caller is not None else "anonymous"
        source, headers = identity_headers(shown, host, private=caller is None, trusted=False)
        return self.trunk.dial(leg_id, target, peer, source, self._event(live), tuple(headers), context=Known())

    def dial(self, number: str, leg_id: str, caller: Identifier | None, live: LiveCall) -> Leg:
        """Call a number by the first of its trunks that has room. LegError says which setting is in the way."""
        gateways = self.gateways.of(number)
        if not gateways:
            raise LegError(
                "refused", f"no trunk may call {number}: see destinations in [sip] and prefixes in [[trunk]]"
            )
        full = ""
        for gateway in gateways:
            rule = gateway.rule
            full = self.table.begin([(f"trunk {rule.name}", rule.calls, rule.rate)], self.trunk.now())
            if full:
                continue
            known = Known(gateway=gateway, counted=[f"trunk {rule.name}"])
            shown = None if caller is None else caller.id
            try:
                return gateway.dial(leg_id, number, shown, self._event(live), known)
            except LegError:
                self.table.end(known.counted)
                raise
        raise LegError("throttled", f"{full} has no room for another call: see calls and calls_per_second")

    def live(self, call_id: str) -> LiveCall:
        """The call of an id."""
        live = self._node.calls.get(call_id)
        if live is None:
            raise LegError("unreachable", "the call is over")
        return live

    def identify(self, user: str) -> Identifier:
        """The identifier of a SIP user."""
        if _DIGITS.fullmatch(user):
            return phone_number("+" + user.lstrip("+"))
        try:
            return resolve_target(user)
        except WireError:
            return communication_user(f"8:acs:{self._resource_id}_{uuid.uuid5(_NAMESPACE, user.lower())}")

    def identity_of(self, name: str) -> Identifier:
        """The identifier that a registered user has: its number, if it was given one."""
        known = self.table.user_of(name)
        return self.identify(known.number if known is not None and known.number else name)

    # inside -----------------------------------------------------------------------------------------------------

    def _caller(self, invite: Request, known: Known) -> Caller:
        """Who calls: a user is who its password says, whatever its From."""
        if known.user is not None:
            said = caller_of(invite, trusted=False)
            return Caller(known.user.number or known.user.name, said.display)
        return caller_of(invite, trusted=known.trunk is None or known.trunk.trusted)

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

    def _is_gateway(self, peer: Peer) -> bool:
        return any(peer.host == other.host for gateway in self.gateways for other in gateway.peers)

    def _event(self, live: LiveCall) -> Callable[[str, LegEvent], None]:
        return lambda leg, what: self._node.leg_event(live, leg, what)


class RegisteredPhone:
    """A phone that has registered: rung like any other (node.Phone)."""

    def __init__(self, phones: Phones, user: str, binding: Binding) -> None:
        self._phones = phones
        self._user = user
        self._binding = binding

    def ring(self, leg_id: str, caller: Identifier | None, call_id: str) -> Leg:
        """See `Phone`."""
        return self._phones.ring(self._binding, self._user, leg_id, caller, self._phones.live(call_id))


class TrunkNumber:
    """A number that a trunk may reach (node.Phone)."""

    def __init__(self, phones: Phones, number: str) -> None:
        self._phones = phones
        self._number = number

    def ring(self, leg_id: str, caller: Identifier | None, call_id: str) -> Leg:
        """See `Phone`."""
        return self._phones.dial(self._number, leg_id, caller, self._phones.live(call_id))


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
