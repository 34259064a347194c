"""Addresses: which are the same, and which cannot be reached from here (RFC 3581, RFC 1918, RFC 6598, RFC 4193)."""

from __future__ import annotations

import ipaddress
from typing import Final

Literal = ipaddress.IPv4Address | ipaddress.IPv6Address

# Each is a world of its own: whoever is in one is reached by those in it, and by nobody else.
_ENCLOSED: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8",
        "fc00::/7", "fe80::/10", "::1/128",
    )
)  # fmt: skip


def literal(host: str) -> Literal | None:
    """The address that a host is, with or without brackets and zone; None for a name. An IPv4 one written as IPv6
    (RFC 4291 §2.5.5.2) is what it means."""
    try:
        found = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def same_host(one: str, other: str) -> bool:
    """Whether two hosts are one: by their addresses, else by their names."""
    first, second = literal(one), literal(other)
    if first is None or second is None:
        return one.strip("[]").lower() == other.strip("[]").lower()
    return first == second


def hidden(host: str, source: str) -> bool:
    """Whether packets to `host` do not arrive, though the one who names it is heard from `source`: it is an address
    of a private network and `source` is none of that network, so a NAT lies between."""
    named, seen = literal(host), literal(source)
    if named is None or seen is None or named == seen:
        return False
    return next((seen not in network for network in _ENCLOSED if named in network), False)
