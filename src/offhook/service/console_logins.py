"""Who has logged in to the console: its rule, sessions and tries that failed. No I/O; times are given in seconds."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

SESSION_BYTES: Final = 32
MOST_SESSIONS: Final = 256
MOST_SOURCES: Final = 1024
FREE_TRIES: Final = 5
TRY_EVERY: Final = 10.0
"""Seconds after which a source may try once more, when it has used up its free tries."""


@dataclass(frozen=True, slots=True)
class ConsoleRule:
    """Who gets the console's pages. Neither `open` nor a token: nobody; the signed API stays.

    `open`: whoever asks from this machine, without a login. `made`: a token is made and kept in the state directory.
    """

    open: bool = False
    made: bool = False
    token: str = field(default="", repr=False)
    session_hours: float = 12.0

    @property
    def pages(self) -> bool:
        """Whether there are pages at all."""
        return self.open or bool(self.token)


class Sessions:
    """Logged-in browsers. Kept is a digest of each id, so that nothing here opens anything."""

    def __init__(self, life: float, randomness: Callable[[int], bytes]) -> None:
        """`life`: seconds until a session is over, however much it is used."""
        self.life = life
        self._random = randomness
        self._ends: OrderedDict[bytes, float] = OrderedDict()

    def begin(self, now: float) -> str:
        """A fresh session's id; of too many the oldest ends."""
        made = self._random(SESSION_BYTES).hex()
        self._ends[_digest(made)] = now + self.life
        while len(self._ends) > MOST_SESSIONS:
            self._ends.popitem(last=False)
        return made

    def alive(self, session: str, now: float) -> bool:
        """Whether an id is that of a session that goes on."""
        key = _digest(session)
        end = self._ends.get(key)
        if end is not None and end <= now:
            del self._ends[key]
            return False
        return end is not None

    def end(self, session: str) -> None:
        """Log out; an id of no session is fine too."""
        self._ends.pop(_digest(session), None)


class Tries:
    """Failed logins by source: a few are free, further ones must wait. An IPv6 source is its /64."""

    def __init__(self) -> None:
        self._debts: OrderedDict[str, float] = OrderedDict()
        """When each source has paid for its failures; the one that failed longest ago gives way."""

    def wait(self, address: str, now: float) -> int:
        """Whole seconds that a source must wait before its next try; 0: it may."""
        owed = self._debts.get(_source(address), 0.0) - now
        return max(math.ceil(owed - (FREE_TRIES - 1) * TRY_EVERY), 0)

    def failed(self, address: str, now: float) -> None:
        """Count a failure."""
        source = _source(address)
        self._debts[source] = max(self._debts.get(source, 0.0), now) + TRY_EVERY
        self._debts.move_to_end(source)
        while len(self._debts) > MOST_SOURCES:
            self._debts.popitem(last=False)

    def forget(self, address: str) -> None:
        """A login that went well."""
        self._debts.pop(_source(address), None)


def same(one: str, other: str) -> bool:
    """Whether two secrets are the same, in a time that tells nothing of them, nor of their length."""
    return hmac.compare_digest(_digest(one), _digest(other))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _source(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
