"""The answering half of ICE: the other side checks paths to us, and chooses one (RFC 8445 §2.5, an ICE-lite agent).

We have one address that everybody can reach, so we ask nothing: who proves by a check that it knows our password, we
answer, and the path that it nominated last is where media goes. Anything else gets no answer at all, so nobody can
have packets sent to somebody else, or find out what listens here.
"""

from __future__ import annotations

import ipaddress
import secrets
import string
import struct
from dataclasses import dataclass, field
from typing import Final

from aioice import stun

from offhook.legs.latch import Address

LARGEST: Final = 1280
"""Bytes of a check that is looked at; those of browsers have about a hundred."""
_ALPHABET: Final = string.ascii_letters + string.digits
_ATTRIBUTE: Final = struct.Struct(">HH")  # kind and length (RFC 8489 §14)
_USERNAME: Final = 0x0006
_ROLE_CONFLICT: Final = (487, "Role Conflict")


@dataclass(frozen=True, slots=True)
class Credentials:
    """One side's name and password of checks (RFC 8445 §5.3)."""

    ufrag: str
    password: str = field(repr=False)

    @classmethod
    def fresh(cls) -> Credentials:
        """New ones: 8 and 24 characters of letters and digits, from the system's randomness."""
        made = "".join(secrets.choice(_ALPHABET) for _ in range(32))
        return cls(made[:8], made[8:])


def is_check(data: bytes) -> bool:
    """Whether a datagram is STUN, among all that may come to one port (RFC 7983 §7)."""
    return len(data) >= stun.HEADER_LENGTH and data[0] < 4 and data[4:8] == b"\x21\x12\xa4\x42"


def parse(data: bytes) -> stun.Message | None:
    """A check; None for a datagram that is none, or is broken."""
    if not is_check(data) or len(data) > LARGEST:
        return None
    try:
        message = stun.parse_message(data)
    except Exception:  # whatever the parser's own mistakes over hostile bytes are: it is none
        return None
    asks = (message.message_method, message.message_class) == (stun.Method.BINDING, stun.Class.REQUEST)
    return message if asks and isinstance(message.attributes.get("USERNAME"), str) else None


def called(data: bytes) -> str:
    """Whom a check is for: our part of its user name (§7.2.2). Quick, and before anything else of it is looked at: a
    flood of checks for nobody costs little."""
    at = stun.HEADER_LENGTH
    while at + 4 <= len(data):
        kind, size = _ATTRIBUTE.unpack_from(data, at)
        if kind == _USERNAME:
            return data[at + 4 : at + 4 + size].partition(b":")[0].decode("ascii", "replace")
        at += 4 + size + -size % 4
    return ""


class IceLite:
    """One session's checks. `selected`: where media goes; `checked_at`: when the last good check came."""

    __slots__ = ("checked_at", "nominated", "ours", "selected", "theirs")

    def __init__(self, ours: Credentials, theirs: str) -> None:
        """`theirs`: the other side's ufrag; its password signs only what we would ask, which is nothing."""
        self.ours = ours
        self.theirs = theirs
        self.selected: Address | None = None
        self.nominated = False
        self.checked_at: float | None = None

    def answer(self, message: stun.Message, source: Address, now: float) -> bytes | None:
        """The response to a check that `parse` gave and that is for us; None for one that is not signed by our
        password, which gets none."""
        names = str(message.attributes["USERNAME"]).split(":")
        key = self.ours.password.encode()
        if names != [self.ours.ufrag, self.theirs] or not message.check_message_integrity(key):
            return None
        if "ICE-CONTROLLED" in message.attributes:  # only one side may choose, and it is never we (§7.3.1.1)
            return _signed(message, stun.Class.ERROR, {"ERROR-CODE": _ROLE_CONFLICT}, key)
        self.checked_at = now
        nominates = "USE-CANDIDATE" in message.attributes
        if nominates or not self.nominated:
            self.selected, self.nominated = source, self.nominated or nominates
        return _signed(message, stun.Class.RESPONSE, {"XOR-MAPPED-ADDRESS": source}, key)


def _signed(asked: stun.Message, kind: stun.Class, attributes: dict[str, object], key: bytes) -> bytes:
    response = stun.Message(stun.Method.BINDING, kind, asked.transaction_id, attributes)
    response.add_message_integrity(key)
    return bytes(response)


def plain(source: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    """An address as it is written everywhere: an IPv4 one is no IPv6 one, though a socket for both kinds says so."""
    host = source[0]
    if ":" in host:
        mapped = ipaddress.IPv6Address(host.partition("%")[0]).ipv4_mapped
        host = host if mapped is None else str(mapped)
    return host, source[1]
