"""Trunks as the node uses them: looked up, registered with, and dialled by the numbers that they carry."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

from offhook.errors import LegError
from offhook.legs.leg import Leg, LegEvent
from offhook.legs.resolver import DEFAULT_PORTS, Resolver
from offhook.legs.sip_trunk import SipTrunk
from offhook.service.routing import Table, TrunkRule
from offhook.sip.auth import Account
from offhook.sip.grammar import Uri
from offhook.sip.identity import identity_headers
from offhook.sip.registration import Registration, RegistrationState
from offhook.sip.transaction import Peer

log = logging.getLogger("offhook.sip")

LOOK_AGAIN = 60.0
"""Seconds between look-ups of a trunk's name."""
REST = 60.0
"""How long a place that did not take a call comes last."""


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

    def peer(self, now: float) -> Peer:
        """Where the next call goes. LegError while the name cannot be looked up."""
        if not self._peers:
            raise LegError("unreachable", f"the trunk {self.rule.name} has no address: {self.rule.host} is not in DNS")
        return min(self._peers, key=lambda peer: self._resting.get(peer, 0.0) > now)

    def target(self, number: str, now: float) -> tuple[Uri, Peer]:
        """A number as it is asked for there, and where that goes."""
        peer = self.peer(now)
        port = None if peer.port == DEFAULT_PORTS[peer.transport] else peer.port
        params: dict[str, str | None] = {} if peer.transport == "udp" else {"transport": peer.transport}
        return Uri("sip", self.rule.number(number), _host(self.rule.host), self.rule.port or port, params), peer

    def dial(
        self, leg_id: str, number: str, caller: str | None, event: Callable[[str, LegEvent], None], context: object
    ) -> Leg:
        """Call a number by this trunk. `caller` None: the number is withheld."""
        rule = self.rule
        target, peer = self.target(number, self._trunk.now())
        shown = rule.caller_id or caller or (rule.username if rule.username else "anonymous")
        local, _ = self._trunk.endpoint.settings.local[peer.transport]
        source, headers = identity_headers(shown, local, private=caller is None, trusted=rule.trusted)
        return self._trunk.dial(leg_id, target, peer, source, event, tuple(headers), self.account, context)

    async def _look(self) -> None:
        transport = "" if self.rule.transport == "auto" else self.rule.transport
        while True:
            try:
                self._peers = await self._resolver.locate(self.rule.host, self.rule.port, transport)
            except LegError as error:
                log.warning("trunk %s: %s", self.rule.name, error)
            else:
                self._register()
            await asyncio.sleep(LOOK_AGAIN)

    def _register(self) -> None:
        if not self.rule.register or self.registration is not None:
            return
        record = Uri("sip", self.rule.username, _host(self.rule.host))
        registrar = Uri("sip", None, _host(self.rule.host))
        peer = self._peers[0]
        self.registration = self._trunk.endpoint.register(record, registrar, peer, self.account, self._changed)
        self.registration.start(self._trunk.now())
        self._trunk.pump()

    def _changed(self, state: RegistrationState) -> None:
        name = "registered" if state.registered else "not registered"
        reason = "" if state.registered else f"{state.status} {state.reason}"
        self._tell({"event": "trunk", "name": name, "trunk": self.rule.name, "reason": reason})
        if not state.registered and state.retry_at:
            log.warning("trunk %s is not registered: %s", self.rule.name, reason)


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

    def of(self, number: str) -> list[Gateway]:
        """The trunks for a number, the best first."""
        return [self._all[rule.name] for rule in self._table.outbound(number)]


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
