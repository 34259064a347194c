"""Who may call and who may be called over SIP: trunks, users, numbers and their limits, as tables.

A pattern is one number, or with `*` at its end all that begin so; of several that cover a number the closest counts.
Nothing here trusts what a message says of itself: a trunk is known by the address that its packets come from, a user
by its password. Destinations are denied unless a prefix allows them.
"""

from __future__ import annotations

import ipaddress
import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from offhook.legs.sip import MediaRules
from offhook.service.targets import Network

SOURCES = 4096
"""Sources whose rate is remembered; the longest silent one is forgotten first."""
_PATTERN = re.compile(r"\+?[0-9]{1,20}\*?|\+?\*")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may register and call. `number` is what calls to it are made by, beside its name."""

    name: str
    password: str
    number: str = ""


@dataclass(frozen=True, slots=True)
class TrunkRule:
    """A carrier or exchange. `allow`: where its calls come from; `prefixes`: patterns of the numbers that go out by it.

    `strip` digits are taken from the front of a number (after its +), then `add` is put before it. `caller_id`: the
    number that it wants to see; empty passes ours on. `from_domain`: the domain of From and P-Asserted-Identity; empty
    is our own address. `srtp`: see `legs.sip.SRTP`. `calls` at once and `rate` a second: 0 is no limit.
    """

    name: str
    host: str = ""
    port: int = 0
    transport: str = "udp"
    allow: tuple[Network, ...] = ()
    username: str = ""
    password: str = ""
    register: bool = False
    prefixes: tuple[str, ...] = ()
    strip: int = 0
    add: str = ""
    plus: bool = True
    caller_id: str = ""
    trusted: bool = False
    calls: int = 0
    rate: float = 0.0
    from_domain: str = ""
    srtp: str = "optional"

    def number(self, wanted: str) -> str:
        """A number as this trunk wants it dialled."""
        digits = wanted.lstrip("+")[self.strip :]
        if self.add:
            return self.add + digits
        return ("+" if self.plus and wanted.startswith("+") and not self.strip else "") + digits


@dataclass(frozen=True, slots=True)
class NumberRule:
    """A number of ours, a pattern of them, or a name in lower case. `webhooks` empty: all whose filters match."""

    pattern: str
    webhooks: tuple[str, ...] = ()
    calls: int = 0
    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class SipPlan:
    """The SIP side of a node.

    `open_to_loopback`: whoever reaches us from this machine is a phone of ours and may call anything (`offhook dev`).
    `advertise`: the address that others reach us by, when it is not the one we listen on. `destinations`: patterns of
    what may be called. `requests`: a second and source, above which nothing is answered; 0 is no limit.
    """

    host: str
    port: int = 5060
    advertise: str = ""
    rtp_ports: tuple[int, int] = (0, 0)
    media: MediaRules = MediaRules()
    realm: str = "offhook"
    open_to_loopback: bool = True
    users: tuple[User, ...] = ()
    trunks: tuple[TrunkRule, ...] = ()
    numbers: tuple[NumberRule, ...] = ()
    destinations: tuple[str, ...] = ()
    requests: float = 50.0


class Rate:
    """A token bucket: `rate` a second, and as many at once, but at least one. 0 is no limit."""

    __slots__ = ("_at", "_most", "_rate", "_tokens")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._tokens = self._most = max(rate, 1.0)
        self._at = now

    def has_room(self, now: float) -> bool:
        """Whether one more is allowed."""
        self._tokens = min(self._tokens + (now - self._at) * self._rate, self._most)
        self._at = now
        return not self._rate or self._tokens >= 1.0

    def take(self, now: float) -> bool:
        """One more; False when it is too many."""
        if not self.has_room(now):
            return False
        self._tokens -= 1.0
        return True


class Sources:
    """How much each source asks; bounded, whoever scans."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._known: OrderedDict[str, Rate] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def take(self, host: str, now: float) -> bool:
        """One more request of a source."""
        known = self._known.get(host)
        if known is None:
            known = self._known[host] = Rate(self._rate, now)
            if len(self._known) > SOURCES:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(host)
        return known.take(now)


class Table:
    """The rules of a plan, and the calls that count against their limits."""

    def __init__(self, plan: SipPlan) -> None:
        self.plan = plan
        self._users = {user.name: user for user in plan.users}
        self._numbers = {user.number: user for user in plan.users if user.number}
        self._rules = {rule.pattern: rule for rule in plan.numbers}
        self._rates: dict[str, Rate] = {}
        self._live: dict[str, int] = {}

    def trunk_of(self, host: str) -> TrunkRule | None:
        """The trunk that an address belongs to."""
        address = ipaddress.ip_address(host.partition("%")[0].strip("[]"))
        for trunk in self.plan.trunks:
            if any(address.version == net.version and address in net for net in trunk.allow):
                return trunk
        return None

    def user_of(self, number: str) -> User | None:
        """Who has a name, or a number."""
        return self._users.get(number) or self._numbers.get(number)

    def number_of(self, number: str) -> NumberRule | None:
        """The closest rule of a called number, or of a name that was called. No rules at all: every number."""
        if not self._rules:
            return NumberRule("*")
        return self._rules.get(closest(self._rules, number.lower()))

    def outbound(self, number: str) -> list[TrunkRule]:
        """The trunks that carry a number, the closest pattern first; empty when its destination is not allowed."""
        if not closest(self.plan.destinations, number):
            return []
        found = [(closest(trunk.prefixes, number), trunk) for trunk in self.plan.trunks if trunk.host]
        ranked = sorted(((pattern, trunk) for pattern, trunk in found if pattern), key=lambda pair: _rank(pair[0]))
        return [trunk for _, trunk in ranked]

    def begin(self, rules: list[tuple[str, int, float]], now: float) -> str:
        """Count a call against limits given as (name, calls at once, calls a second); the name of a full one, or "".

        A call that one of them refuses counts against none.
        """
        rates = []
        for name, calls, rate in rules:
            if calls and self._live.get(name, 0) >= calls:
                return name
            if rate:
                rates.append(self._rates.setdefault(name, Rate(rate, now)))
                if not rates[-1].has_room(now):
                    return name
        for bucket in rates:
            bucket.take(now)
        for name, _, _ in rules:
            self._live[name] = self._live.get(name, 0) + 1
        return ""

    def end(self, names: list[str]) -> None:
        """A call that was counted is over."""
        for name in names:
            self._live[name] -= 1
            if not self._live[name]:
                del self._live[name]

    @property
    def live(self) -> dict[str, int]:
        """Calls at once, by rule."""
        return dict(self._live)


def is_pattern(text: str) -> bool:
    """Whether a text can be a number, or with `*` at its end all that begin so."""
    return _PATTERN.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether a text can be the user part of somebody who has no number."""
    return _NAME.fullmatch(text) is not None and not is_pattern(text)


def covers(pattern: str, number: str) -> bool:
    """Whether a number is the pattern's, or one of those that it stands for."""
    return number.startswith(pattern[:-1]) if pattern.endswith("*") else number == pattern


def closest(patterns: Iterable[str], number: str) -> str:
    """Of the patterns that cover a number the number itself, then the longest; "" when none does."""
    return min((pattern for pattern in patterns if covers(pattern, number)), key=_rank, default="")


def _rank(pattern: str) -> tuple[bool, int]:
    return pattern.endswith("*"), -len(pattern)
