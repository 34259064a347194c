"""SIP phones of a node: who may call, under which identifier, and how a registered phone is rung (protocol.md §1.2).

A user part of digits is a phone number; any other user has a stable `8:acs:…` id of this resource.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import secrets
import ssl
import uuid
from collections.abc import Callable
from typing import Any

from offhook.errors import CallError, LegError, WireError
from offhook.legs.leg import Leg, LegEvent
from offhook.legs.rtp_sockets import RtpSockets
from offhook.legs.sip import SipLeg
from offhook.legs.sip_trunk import SipTrunk
from offhook.service.live import LiveCall
from offhook.service.node import Node
from offhook.sip.endpoint import Settings, SipEndpoint, Verdict
from offhook.sip.grammar import parse_uri
from offhook.sip.identity import caller_of, custom_headers, identity_headers
from offhook.sip.message import Request, Response, response
from offhook.sip.registrar import Binding, Registrar, user_of
from offhook.sip.session import Session
from offhook.sip.transaction import Peer
from offhook.wire.identifiers import Identifier, communication_user, phone_number, resolve_target

log = logging.getLogger("offhook.sip")

_DIGITS = re.compile(r"\+?\d{2,20}")
_NAMESPACE = uuid.UUID("6d0b6c1e-8e1f-5d8e-9a54-0f3f0f6a2b11")
Tell = Callable[[dict[str, Any]], None]


class Phones:
    """The SIP side of a development node: whoever reaches its socket from this machine is a phone of ours."""

    def __init__(self, node: Node, resource_id: str, tell: Tell, host: str = "127.0.0.1") -> None:
        self._node = node
        self._resource_id = resource_id
        self._tell = tell
        self.host = host
        self._registrar = Registrar()
        self._users: dict[str, str] = {}  # user by raw id, of everybody who ever registered
        settings = Settings({"udp": (_shown(host), 0), "tcp": (_shown(host), 0)})
        endpoint = SipEndpoint(settings, self, lambda: secrets.token_hex(8), lambda: secrets.randbelow(1000) / 1000)
        sockets = RtpSockets(host)
        self.trunk = SipTrunk(endpoint, sockets, self, random_bits=secrets.randbits, random_bytes=secrets.token_bytes)

    async def start(self, port: int, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> dict[str, int]:
        """Listen; the port of each transport. `tls`: contexts for connections that come, and for ours."""
        await self.trunk.start(self.host, port, tls)
        self._node.media_inputs.append(lambda: self.trunk.sockets.receive(self.trunk.now()))
        self._node.find_phone = self.find
        return self.trunk.ports

    async def close(self) -> None:
        """Close every socket once the BYEs are answered."""
        await self.trunk.close()

    # Guard ------------------------------------------------------------------------------------------------------

    def admit(self, request: Request, peer: Peer, now: float) -> Verdict:
        """See `Guard`: this machine's own programs may call."""
        return Verdict() if _loopback(peer.host) else Verdict(-1)

    def register(self, request: Request, peer: Peer, now: float) -> Response:
        """See `Guard`."""
        user = user_of(request)
        if not _loopback(peer.host) or not user:
            return response(request, 403, to_tag=secrets.token_hex(4))
        answer = self._registrar.register(user, request, peer, secrets.token_hex(4), now)
        if answer.status_code == 200:
            identity = self.identify(user)
            self._users[identity.raw_id] = user
            registered = bool(self._registrar.bindings(user, now))
            state = "registered" if registered else "gone"
            self._tell({"event": "phone", "name": state, "identity": identity.raw_id, "from": str(peer)})
        return answer

    # TrunkOwner -------------------------------------------------------------------------------------------------

    def incoming(self, trunk: SipTrunk, session: Session, make_leg: Callable[..., SipLeg]) -> int:
        """See `TrunkOwner`."""
        invite = session.invite
        caller, target = caller_of(invite, trusted=True), parse_uri(invite.uri)
        if not target.user:
            return 484

        def leg(leg_id: str, event: Callable[[str, LegEvent], None]) -> Leg:
            return make_leg(leg_id, event)

        try:
            callee = self.identify(target.user)
            source = self.identify(caller.user or "anonymous")
            self._node.place(source, callee, caller.display, leg, custom_headers(invite))
        except CallError as error:
            log.warning("a call to %s was refused: %s", target.user, error)
            return 503
        return 0

    def connection_lost(self, peer: Peer) -> None:
        """See `TrunkOwner`."""
        self._registrar.forget(peer)

    # Phone ------------------------------------------------------------------------------------------------------

    def find(self, raw_id: str) -> RegisteredPhone | None:
        """The registered phone of an identifier, if it can be rung now."""
        user = self._users.get(raw_id)
        if user is None:
            return None
        bindings = self._registrar.bindings(user, self.trunk.now())
        return RegisteredPhone(self, user, bindings[0]) if bindings else None

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

        def event(leg: str, what: LegEvent) -> None:
            self._node.leg_event(live, leg, what)

        return self.trunk.dial(leg_id, target, peer, source, event, tuple(headers))

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


class RegisteredPhone:
    """A phone that has registered: rung like any other (node.Phone)."""

    def __init__(self, phones: Phones, user: str, binding: Binding) -> None:
        self._phones = phones
        self._user = user
        self._binding = binding

    def ring(self, leg_id: str, caller: Identifier | None, call_id: str) -> Leg:
        """See `Phone`."""
        return self._phones.ring(self._binding, self._user, leg_id, caller, self._phones.live(call_id))


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
