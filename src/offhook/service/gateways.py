"""Trunks as the node uses them: looked up, registered with, and dialled by the numbers that they carry."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from offhook.calls.actions import DialLeg
from offhook.errors import LegError
from offhook.legs.leg import Leg, LegEvent
from offhook.legs.resolver import DEFAULT_PORTS, Resolver
from offhook.legs.sip_trunk import SipTrunk
from offhook.service.identities import number_of
from offhook.service.routing import Table, TrunkRule
from offhook.sip.auth import Account
from offhook.sip.grammar import Uri
from offhook.sip.identity import identity_headers
from offhook.sip.registration import Registration, RegistrationState
from offhook.sip.transaction import Peer

log = logging.getLogger("offhook.sip")

LOOK_AGAIN = 60.0
"""Seconds between look-ups of a trunk's name."""
LOOK_SOON = 5.0
"""The same while it is not found, doubled each time up to the former."""
REST = 60.0
"""How long a place that did not take a call, or a registration, comes last."""
PLACES = 256
"""Addresses of a trunk that are heard though they have left DNS: calls go on there."""


class Gateway:
    """One trunk that carries calls of ours."""

    def __init__(
        self, rule: TrunkRule, trunk: SipTrunk, resolver: Resolver, tell: Callable[[dict[str, Any]], None]
    ) -> None:
        self.rule = rule
        self.account = Account(rule.username, rule.password) if rule.username else None
        self.registration: Registration | None = None
        self._trunk = trunk
        self._resolver = resolver
        self._tell = tell
        self._peers: list[Peer] = []
        self._resting: dict[Peer, float] = {}
        self._heard: OrderedDict[str, None] = OrderedDict()
        self._task: asyncio.Task[None] | None = None

    @property
    def registered(self) -> RegistrationState | None:
        """How the registration stands; None for a trunk that wants none."""
        return None if self.registration is None else self.registration.state

    @property
    def peers(self) -> list[Peer]:
        """Where it is, as last looked up."""
        return self._peers

    def start(self) -> None:
        """Look the name up now and now and then; register where that is wanted."""
        self._task = asyncio.get_running_loop().create_task(self._look(), name=f"trunk {self.rule.name}")

    async def stop(self) -> None:
        """Leave the registrar."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self.registration is not None:
            self.registration.stop(self._trunk.now())
            self._trunk.pump()

    def lost(self, peer: Peer) -> None:
        """A connection is gone."""
        if self.registration is not None and peer.host == self.registration.peer.host:
            self.registration.lost(self._trunk.now())

    def failed(self, peer: Peer, now: float) -> None:
        """A place did not take a call: others come first for a while."""
        self._resting[peer] = now + REST

    def heard(self, host: str) -> bool:
        """Whether it is, or was not long ago, at an address."""
        return host in self._heard

    def peer(self, now: float) -> Peer:
        """Where the next call goes: where we are registered, if that does not rest. LegError without an address."""
        if not self._peers:
            raise LegError("unreachable", f"the trunk {self.rule.name} has no address: {self.rule.host} is not in DNS")
        ours = None if self.registration is None else self.registration.peer
        return min(self._peers, key=lambda peer: (self._resting.get(peer, 0.0) > now, peer != ours))

    def target(self, number: str, now: float) -> tuple[Uri, Peer]:
        """A number as it is asked for there, and where that goes."""
        peer = self.peer(now)
        port = None if peer.port == DEFAULT_PORTS[peer.transport] else peer.port
        params: dict[str, str | None] = {} if peer.transport == "udp" else {"transport": peer.transport}
        return Uri("sip", self.rule.number(number), _host(self.rule.host), self.rule.port or port, params), peer

    def dial(
        self,
        number: str,
        action: DialLeg,
        event: Callable[[str, LegEvent], None],
        custom: Iterable[tuple[str, str]],
        context: object,
    ) -> Leg:
        """Call a number by this trunk, for the caller of `action`."""
        rule, caller = self.rule, action.source
        target, peer = self.target(number, self._trunk.now())
        shown = rule.caller_id or number_of(caller) or rule.username
        local, _ = self._trunk.endpoint.settings.local.get(peer.transport, ("", 0))
        source, headers = identity_headers(
            shown or "anonymous",
            rule.from_domain or local,
            private=not shown or (caller is not None and caller.is_anonymous),
            trusted=rule.trusted and bool(shown),
        )
        return self._trunk.dial(
            action.leg_id,
            [(target, peer)],
            replace(source, display=source.display or action.display_name),
            event,
            (*headers, *custom),
            self.account,
            context,
            rule.srtp,
        )

    async def _look(self) -> None:
        """Never ends by itself: a trunk whose name cannot be used now may have one later."""
        transport, pause = "" if self.rule.transport == "auto" else self.rule.transport, LOOK_SOON
        while True:
            try:
                self._found(await self._resolver.locate(self.rule.host, self.rule.port, transport))
            except LegError as error:
                log.warning("trunk %s: %s", self.rule.name, error)
            except Exception:
                log.exception("trunk %s: cannot look up %r", self.rule.name, self.rule.host)
            else:
                pause = LOOK_AGAIN
            await asyncio.sleep(pause)
            pause = min(2 * pause, LOOK_AGAIN) if self._peers else pause

    def _found(self, peers: list[Peer]) -> None:
        """Where it is now; we register there, and elsewhere when the place has left DNS."""
        self._peers, now = peers, self._trunk.now()
        self._resting = {peer: until for peer, until in self._resting.items() if until > now}
        for peer in peers:
            self._heard[peer.host] = None
            self._heard.move_to_end(peer.host)
        while len(self._heard) > PLACES:
            self._heard.popitem(last=False)
        if not self.rule.register:
            return
        if self.registration is None:
            record = Uri("sip", self.rule.username, _host(self.rule.host))
            registrar = Uri("sip", None, _host(self.rule.host))
            self.registration = self._trunk.endpoint.register(
                record, registrar, self.peer(now), self.account, self._changed
            )
        elif self.registration.peer in peers:
            return
        self._register_at(self.peer(now))
        self._trunk.pump()

    def _register_at(self, peer: Peer) -> None:
        assert self.registration is not None
        self.registration.peer = peer
        self.registration.start(self._trunk.now())

    def _changed(self, state: RegistrationState) -> None:
        name = "registered" if state.registered else "not registered"
        reason = "" if state.registered else self._trunk.problem or f"{state.status} {state.reason}"
        self._tell({"event": "trunk", "name": name, "trunk": self.rule.name, "reason": reason})
        if state.registered or not state.retry_at or self.registration is None:
            return
        log.warning("trunk %s is not registered: %s", self.rule.name, reason)
        if state.status in (408, 503) and self._peers:
            # Nobody is there: the next place is tried at once, and this one in its turn (RFC 3263 §4.3).
            now = self._trunk.now()
            self.failed(self.registration.peer, now)
            other = self.peer(now)
            if self._resting.get(other, 0.0) <= now:
                self._register_at(other)


class Gateways:
    """All trunks of a plan."""

    def __init__(
        self, table: Table, trunk: SipTrunk, chance: Callable[[], float], tell: Callable[[dict[str, Any]], None]
    ) -> None:
        self._table = table
        carrying = [rule for rule in table.plan.trunks if rule.host]
        resolver = Resolver(chance) if carrying else None
        self._all = {rule.name: Gateway(rule, trunk, resolver, tell) for rule in carrying if resolver is not None}

    def __iter__(self) -> Iterator[Gateway]:
        return iter(self._all.values())

    def start(self) -> None:
        """Begin with each."""
        for gateway in self._all.values():
            gateway.start()

    async def stop(self) -> None:
        """Leave each."""
        for gateway in self._all.values():
            await gateway.stop()

    def lost(self, peer: Peer) -> None:
        """A connection is gone."""
        for gateway in self._all.values():
            gateway.lost(peer)

    def heard(self, host: str) -> bool:
        """Whether packets from an address can be a trunk's."""
        return any(gateway.heard(host) for gateway in self._all.values())

    def registrar_at(self, host: str) -> TrunkRule | None:
        """The trunk that we register with at an address: its calls come from there."""
        for gateway in self._all.values():
            if gateway.rule.register and any(peer.host == host for peer in gateway.peers):
                return gateway.rule
        return None

    def of(self, number: str) -> list[Gateway]:
        """The trunks for a number, the best first."""
        return [self._all[rule.name] for rule in self._table.outbound(number)]


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
