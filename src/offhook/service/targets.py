"""Whom the node may connect to: an app must not make it reach what only the node can reach (SSRF).

The address that is really dialled is what counts, not the name: names may mean another address a moment later. No
redirect is followed but that of a sound to play, and each is dialled under the same rule.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
NAT64 = ipaddress.ip_network("64:ff9b::/96")
GLOBAL = ipaddress.ip_network("2000::/3")
"""The only IPv6 addresses that are given out as public ones (RFC 4291 §2.4, IANA)."""
RESERVED = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/3",
        "2001::/23", "2001:db8::/32", "3fff::/20",
    )
)  # fmt: skip
"""Not public, by IANA's registries of special-purpose addresses (RFC 6890). `ipaddress` has lists of its own, but they
differ with the release of Python."""


class TargetRefused(OSError):
    """A connection that may not be made. The message names the setting that would allow it."""


@dataclass(frozen=True, slots=True)
class Targets:
    """The rule. `private`: every address is allowed; `allowed`: networks that are, whatever else holds."""

    private: bool = False
    allowed: tuple[Network, ...] = ()

    def check(self, host: str) -> None:
        """TargetRefused for an address (not a name) that may not be dialled."""
        if self.private:
            return
        address = _effective(ipaddress.ip_address(host.partition("%")[0]))
        if any(address.version == net.version and address in net for net in self.allowed):
            return
        if not _public(address):
            raise TargetRefused(
                f"{host} is no public address: allow it by allow_targets in [node], or every one by "
                "allow_private_targets = true"
            )

    def open_socket(self, info: tuple[Any, Any, int, str, tuple[Any, ...]]) -> socket.socket:
        """A socket for one resolved address, as aiohttp's connector asks for it. TargetRefused."""
        family, kind, protocol, _, address = info
        self.check(str(address[0]))
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made

    async def connected(self, host: str, port: int) -> socket.socket:
        """A connected socket to the first address of a name that may be dialled and answers. OSError."""
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        problem: OSError = OSError(f"{host} has no address")
        for family, kind, protocol, name, address in infos:
            try:
                made = self.open_socket((family, kind, protocol, name, address))
            except OSError as error:
                problem = error
                continue
            try:
                await loop.sock_connect(made, address)
            except OSError as error:
                made.close()
                problem = error
                continue
            except BaseException:
                made.close()
                raise
            return made
        raise problem


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Addresses and networks from text. ValueError names the one that is none."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def is_public(host: str) -> bool:
    """Whether a host is a public address, or a name of which only its look-up can tell."""
    if host.lower().rstrip(".") == "localhost":
        return False
    try:
        return _public(_effective(ipaddress.ip_address(host.partition("%")[0].strip("[]"))))
    except ValueError:
        return True


def _public(address: IpAddress) -> bool:
    if address.version == 6 and address not in GLOBAL:
        return False
    return not any(address.version == net.version and address in net for net in RESERVED)


def _effective(address: IpAddress) -> IpAddress:
    """The IPv4 address inside an IPv6 one, where packets would go in the end."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address in NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
