"""Where a SIP domain is served: NAPTR, SRV and addresses, in the order of RFC 3263 §4."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Iterable
from typing import NamedTuple

from offhook.errors import LegError
from offhook.sip.transaction import Peer

DEFAULT_PORTS = {"udp": 5060, "tcp": 5060, "tls": 5061}
_SERVICES = {"udp": "_sip._udp", "tcp": "_sip._tcp", "tls": "_sips._tcp"}
_NAPTR = {"sip+d2u": "udp", "sip+d2t": "tcp", "sips+d2t": "tls"}
LIMIT = 5.0
"""Seconds for one look-up."""


class Service(NamedTuple):
    """An SRV record."""

    priority: int
    weight: int
    port: int
    target: str


def ordered(services: Iterable[Service], chance: Callable[[], float]) -> list[Service]:
    """By priority, and within one by chance as the weights have it (RFC 2782)."""
    left = sorted(services, key=lambda service: (service.priority, service.weight != 0))
    chosen: list[Service] = []
    while left:
        group = [service for service in left if service.priority == left[0].priority]
        mark = chance() * sum(service.weight for service in group)
        for service in group:
            mark -= service.weight
            if mark <= 0:
                break
        chosen.append(service)
        left.remove(service)
    return chosen


class Resolver:
    """Looks domains up. `nameserver`: host and port of another server than the system's (tests)."""

    def __init__(self, chance: Callable[[], float], nameserver: tuple[str, int] | None = None) -> None:
        # Imported by who has trunks: it takes 6 MiB, which nobody else needs.
        import dns.asyncresolver
        import dns.exception

        self._chance = chance
        # A name that can be none (an empty label, a long one) ends as UnicodeError or ValueError.
        self._problems = (dns.exception.DNSException, ValueError)
        self._dns = dns.asyncresolver.Resolver(configure=nameserver is None)
        self._dns.lifetime = LIMIT
        if nameserver is not None:
            self._dns.nameservers, self._dns.port = [nameserver[0]], nameserver[1]
        self._system = nameserver is None

    async def locate(self, host: str, port: int = 0, transport: str = "") -> list[Peer]:
        """Whom to try, in order. `transport` empty: what the domain wants. LegError `unreachable` without any.

        Each has the domain for a name: its certificate must show what was asked for, not where DNS pointed.
        """
        bare = host.strip("[]")
        first = transport or "udp"
        if _literal(bare):
            return [Peer(first, bare, port or DEFAULT_PORTS[first])]
        if port:
            return await self._peers(first, [(bare, port)], host)
        for wanted, name in await self._names(bare, transport):
            services = await self._services(name)
            if services:
                places = [(service.target, service.port) for service in ordered(services, self._chance)]
                return await self._peers(wanted, places, host)
        return await self._peers(first, [(bare, DEFAULT_PORTS[first])], host)

    async def _names(self, domain: str, transport: str) -> list[tuple[str, str]]:
        """Transports with the names of their SRV records: those that the domain points to, else the usual (§4.1)."""
        usual = [(kind, f"{_SERVICES[kind]}.{domain}") for kind in ([transport] if transport else _SERVICES)]
        if transport:
            return usual
        try:
            answer = await self._dns.resolve(domain, "NAPTR")
        except self._problems:
            return usual
        found = []
        for record in sorted(answer, key=lambda record: (record.order, record.preference)):
            kind = _NAPTR.get(record.service.decode("ascii", "replace").lower())
            if kind is not None and record.flags.lower() == b"s":
                found.append((kind, record.replacement.to_text().rstrip(".")))
        return found or usual

    async def _services(self, name: str) -> list[Service]:
        try:
            answer = await self._dns.resolve(name, "SRV")
        except self._problems:
            return []
        made = [Service(r.priority, r.weight, r.port, r.target.to_text().rstrip(".")) for r in answer]
        return [service for service in made if service.target]  # "." says: not here (RFC 2782)

    async def _peers(self, transport: str, places: list[tuple[str, int]], asked: str) -> list[Peer]:
        found: list[Peer] = []
        for host, port in places:
            found += [Peer(transport, address, port, name=asked) for address in await self._addresses(host)]
        if not found:
            raise LegError("unreachable", f"{asked} has no address for SIP over {transport}: check its name in DNS")
        return found

    async def _addresses(self, host: str) -> list[str]:
        if _literal(host):
            return [host]
        if self._system:
            try:
                infos = await asyncio.wait_for(
                    asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_DGRAM), LIMIT
                )
            except (OSError, TimeoutError, ValueError):
                return []
            return list(dict.fromkeys(str(info[4][0]) for info in infos))
        found = []
        for kind in ("A", "AAAA"):
            try:
                found += [record.address for record in await self._dns.resolve(host, kind)]
            except self._problems:
                continue
        return found


def _literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
