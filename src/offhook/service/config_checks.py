"""What must fit together in the file of `offhook serve`: nothing given twice, ports apart, rules that can be met."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from offhook.service.config import NodePlan, is_loopback, meet
from offhook.service.config_file import File, Problem
from offhook.service.config_values import plus
from offhook.service.routing import SipPlan, covers
from offhook.service.speech import SpeechPlan
from offhook.service.targets import TargetRefused, Targets, is_public
from offhook.service.webrtc_config import webrtc_problems
from offhook.wire.tokens import keys_may_come_from

SHORTEST_NUMBER = 7
"""Characters of a whole number with its +, about: a shorter one was meant as a prefix, except 112 and its like."""
Row = tuple[str, str, str]
"""Where, what is compared, and what is shown of it."""


class Nearest:
    """Names that something may refer to."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = set(names)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def fix(self, name: str, otherwise: str) -> str:
        """What would be right instead of a name that is not among them."""
        near = difflib.get_close_matches(name, self._names, 1)
        return f"did you mean {near[0]!r}?" if near else otherwise


def together(file: File, plan: NodePlan) -> Iterator[Problem]:
    """Everything that is wrong between one key and another."""
    yield from _given_twice(file)
    yield from _unreachable(file, plan.targets)
    if plan.tokens is not None and not plan.tokens.clients:
        what = "is empty: every token of this issuer and audience opens the node"
        yield Problem("[tokens] clients", what, "name the applications that may (appid, oid, sub)", fatal=False)
    yield from _speech(plan.speech)
    yield from webrtc_problems(plan)
    if plan.sip is not None:
        yield from _ports(plan, plan.sip)
        yield from _identities(file)
        yield from _codecs(plan.sip)
        yield from _calls_out(plan.sip)
        yield from _calls_in(plan.sip)


def _speech(plan: SpeechPlan) -> Iterator[Problem]:
    if plan.key and not keys_may_come_from(plan.base_url):
        what = "is neither https nor of this machine: anybody on the way can read the key"
        yield Problem("[speech] base_url", what, "give a URL that begins with https://", fatal=False)


def _given_twice(file: File) -> Iterator[Problem]:
    rows = {
        "give each user a name of its own": [
            (f"[[user]] {n} name", user.name.casefold(), user.name) for n, user in enumerate(file.user, 1)
        ],
        "give each trunk a name of its own": [
            (f"[[trunk]] {n} name", trunk.name, trunk.name) for n, trunk in enumerate(file.trunk, 1)
        ],
        "give each webhook a name of its own": [
            (f"[[webhook]] {n} name", hook.name, hook.name) for n, hook in enumerate(file.webhook, 1)
        ],
        "put both rules into one": [
            (f"[[number]] {n} number", plus(rule.number).lower(), rule.number) for n, rule in enumerate(file.number, 1)
        ],
    }
    for fix, group in rows.items():
        yield from (Problem(where, f"{shown!r} is taken by {first}", fix) for where, shown, first in _twice(group))
    hooks = [(f"[[webhook]] {n} url", hook.url, hook.url) for n, hook in enumerate(file.webhook, 1)]
    for where, shown, first in _twice(hooks):
        what = f"{shown} is the url of {first} too: it hears twice of a call that both match"
        yield Problem(where, what, "put the filters of both into one, if that is not meant", fatal=False)
    sources = [(f"[[trunk]] {n} allow", text, text) for n, trunk in enumerate(file.trunk, 1) for text in trunk.allow]
    for where, shown, first in _twice(sources):
        what = f"{shown} is in {first} too, which its calls count for"
        yield Problem(where, what, "leave it out in one of them", fatal=False)


def _twice(rows: Iterable[Row]) -> Iterator[tuple[str, str, str]]:
    """(where, what is shown, where it was first) of all that is not the first."""
    known: dict[str, str] = {}
    for where, compared, shown in rows:
        first = known.setdefault(compared, where)
        if compared and first != where:
            yield where, shown, first.rpartition(" ")[0]


def _identities(file: File) -> Iterator[Problem]:
    """A user is called, and proves who it is, by its name and its number: each must mean one user only."""
    names = {user.name.lstrip("+"): n for n, user in enumerate(file.user, 1)}
    owners: dict[str, int] = {}
    for n, user in enumerate(file.user, 1):
        number = user.number.lstrip("+")
        if not number:
            continue
        named, owner = names.get(number, n), owners.setdefault(number, n)
        if named != n:
            what = f"{user.number!r} is the name of [[user]] {named}"
            yield Problem(f"[[user]] {n} number", what, "give one of them another")
        if owner != n:
            what = f"{user.number!r} is the number of [[user]] {owner}"
            yield Problem(f"[[user]] {n} number", what, "give each user a number of its own")


def _codecs(sip: SipPlan) -> Iterator[Problem]:
    where = "[sip] codecs"
    if sip.media.codecs and not sip.media.formats:
        what = f"nothing of {', '.join(sip.media.codecs)} can be spoken here"
        yield Problem(where, what, "add PCMU, or run  pip install 'offhook[opus]'")
    elif sip.media.codecs and not sip.media.offered:
        what = "L16 is only taken when asked for: a call of ours has nothing to offer"
        yield Problem(where, what, "add another one", fatal=False)


def _ports(plan: NodePlan, sip: SipPlan) -> Iterator[Problem]:
    if meet(plan.host, sip.host) and plan.port and sip.port:
        for port, what in ((sip.port, "SIP"), (sip.port + 1, "SIP over TLS, the port after that of [sip]")):
            if plan.port == port:
                yield Problem("[node] port", f"{port} is that of {what}", "choose another for one of them")
    first, last = sip.rtp_ports
    if first <= sip.port <= last:
        what = f"{first}-{last} has the port of SIP, {sip.port}, in it: one call less has room"
        yield Problem("[sip] rtp_ports", what, "choose a range without it", fatal=False)


def _unreachable(file: File, targets: Targets) -> Iterator[Problem]:
    urls = [(f"[[webhook]] {n} url", webhook.url) for n, webhook in enumerate(file.webhook, 1)]
    if file.tokens is not None:
        urls.append(("[tokens] jwks_url", file.tokens.jwks_url))
    if file.speech.provider == "openai":
        urls.append(("[speech] base_url", file.speech.base_url))
    for where, url in urls:
        try:
            host = urlsplit(url).hostname or ""
        except ValueError:
            continue  # said elsewhere
        if targets.private or is_public(host):
            continue
        try:
            targets.check("127.0.0.1" if host == "localhost" else host)
        except (TargetRefused, ValueError):
            what = f"{host} is no public address, and nothing may be sent there"
            yield Problem(where, what, "add it to allow_targets in [node]", fatal=False)


def _calls_out(sip: SipPlan) -> Iterator[Problem]:
    carriers = [(n, trunk) for n, trunk in enumerate(sip.trunks, 1) if trunk.host and trunk.prefixes]
    for n, trunk in carriers:
        where = f"[[trunk]] {n} prefixes"
        yield from _meant_as_prefix(where, trunk.prefixes)
        if not any(_overlap(prefix, allowed) for prefix in trunk.prefixes for allowed in sip.destinations):
            what = "no call may go out by it: [sip] destinations allows none of these"
            yield Problem(where, what, f"add them there: destinations = [{_quoted(trunk.prefixes)}]", fatal=False)
    yield from _meant_as_prefix("[sip] destinations", sip.destinations)
    for allowed in sip.destinations:
        if not any(_overlap(prefix, allowed) for _, trunk in carriers for prefix in trunk.prefixes):
            what = f"{allowed!r} is carried by no trunk"
            fix = "give a [[trunk]] with a host prefixes for it"
            yield Problem("[sip] destinations", what, fix, fatal=False)


def _meant_as_prefix(where: str, patterns: Iterable[str]) -> Iterator[Problem]:
    for pattern in patterns:
        if not pattern.endswith("*") and 1 < len(pattern) < SHORTEST_NUMBER and pattern not in ("+112", "+911"):
            what = f"{pattern!r} is one number, not all that begin so"
            yield Problem(where, what, f'write "{pattern}*" for those', fatal=False)


def _calls_in(sip: SipPlan) -> Iterator[Problem]:
    for n, trunk in enumerate(sip.trunks, 1):
        for net in trunk.allow:
            if net.prefixlen == 0:
                what = f"{net} is everybody: whoever finds this port may call your app"
                yield Problem(f"[[trunk]] {n} allow", what, "give the carrier's own addresses", fatal=False)
    if is_loopback(sip.advertise) and not is_loopback(sip.host):
        what = f"{sip.advertise} is reached from this machine only"
        yield Problem("[sip] advertise", what, "give the address that phones reach", fatal=False)


def _overlap(one: str, other: str) -> bool:
    """Whether some number is both patterns'."""
    return covers(one, other.rstrip("*")) or covers(other, one.rstrip("*"))


def _quoted(texts: Iterable[str]) -> str:
    return ", ".join(f'"{text}"' for text in texts)
