"""Whom the node may connect to: an app must not make it reach what only the node can reach (SSRF).

The address that is really dialled is what counts, not the name: names may mean another address a moment later. No
redirect is ever followed, so there is no second address to look at.
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
        if not address.is_global or address.is_multicast:
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
