"""Two SIP endpoints and an air between them that loses, repeats and delays what it is told to; time is a number."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from offhook.sip.auth import Account
from offhook.sip.endpoint import Settings, SipEndpoint, Verdict
from offhook.sip.events import (
    Answered,
    Confirmed,
    Event,
    Incoming,
    Over,
    Progress,
    Reanswered,
    Reoffered,
    Told,
)
from offhook.sip.grammar import Address, Uri, parse_uri
from offhook.sip.message import Message, Request, Response, parse, response
from offhook.sip.session import Session
from offhook.sip.transaction import Peer

OFFER = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
ANSWER = OFFER.replace(b"4000", b"5000")
LATENCY = 0.01


def shown(host: str) -> str:
    """A host as it stands in a URI."""
    return f"[{host}]" if ":" in host else host


class Open:
    """A guard that lets everybody in."""

    def __init__(self) -> None:
        self.verdict = Verdict()

    def hears(self, peer: Peer, now: float) -> bool:
        return True

    def admit(self, request: Request, peer: Peer, now: float) -> Verdict:
        return self.verdict

    def register(self, request: Request, peer: Peer, now: float) -> Response:
        return response(request, 403, to_tag="no")


@dataclass
class Side:
    """One endpoint with its address and everything that it told."""

    endpoint: SipEndpoint
    peer: Peer
    guard: Open
    events: list[Event] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    answers: bool = True
    """Whether calls and re-offers are answered by themselves."""

    def named(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def story(self) -> list[str]:
        """The events in short."""
        return [
            type(event).__name__ + (f" {event.status}" if isinstance(event, Progress | Over | Reanswered) else "")
            for event in self.events
        ]


class Proxy:
    """A stateless proxy with two addresses that stays in the route (RFC 3261 §16.11, RFC 5658): `near` faces us,
    `far` them. It forks a new INVITE to every contact."""

    near, far = "127.0.0.11", "127.0.0.12"

    def __init__(self, contacts: list[str]) -> None:
        self.contacts = contacts

    def forward(self, data: bytes, arrived: str) -> list[tuple[bytes, str, str]]:
        """Packets as (data, from, to) that one that arrived at an address becomes."""
        head, _, body = data.partition(b"\r\n\r\n")
        start, *lines = head.decode().split("\r\n")
        leaving = self.far if arrived == self.near else self.near
        if start.startswith("SIP/2.0"):
            lines.remove(next(line for line in lines if line.startswith("Via:")))
            via = next(line for line in lines if line.startswith("Via:"))
            return [(_text(start, lines, body), leaving, via.split()[2].partition(":")[0].partition(";")[0])]
        if start.startswith("INVITE") and "tag=" not in next(line for line in lines if line.startswith("To:")):
            lines = [f"Record-Route: <sip:{leaving};lr>", f"Record-Route: <sip:{arrived};lr>", *lines]
        lines = [line for line in lines if not (line.startswith("Route:") and (self.near in line or self.far in line))]
        branch = next(line for line in lines if line.startswith("Via:")).rpartition("branch=")[2].partition(";")[0]
        host = start.split()[1].rpartition("@")[2].partition(";")[0].partition(":")[0].removeprefix("sip:")
        forked = host == "127.0.0.2" and "Route:" not in head.decode() and "tag=" not in "".join(
            line for line in lines if line.startswith("To:")
        )  # fmt: skip
        made = []
        for number, to in enumerate(self.contacts if forked else [host]):
            via = f"Via: SIP/2.0/UDP {leaving}:5060;branch={branch}p{number}"
            made.append((_text(start, [via, *lines], body), leaving, to))
        return made


def _text(start: str, lines: list[str], body: bytes) -> bytes:
    return "\r\n".join([start, *lines]).encode() + b"\r\n\r\n" + body


class Link:
    """The air. `loses` is asked for each packet by its number; `log` has every message as it was sent."""

    def __init__(
        self,
        transport: str = "udp",
        seed: int = 1,
        *,
        proxied: bool = False,
        forks: bool = False,
        hosts: tuple[str, str, str] = ("127.0.0.1", "127.0.0.2", "127.0.0.3"),
    ) -> None:
        """`proxied`: a proxy lies between; `forks`: it calls two phones at once, theirs and the third's.

        `hosts`: the addresses of us, them and the third.
        """
        self.now = 100.0
        self.log: list[tuple[float, str, Message]] = []
        self.loses: Callable[[int, Message], bool] = lambda number, message: False
        self.bends: Callable[[str, bytes], bytes] = lambda who, data: data
        """How somebody spells what it sends."""
        self.answer: Callable[[bytes], bytes] = lambda offer: ANSWER if offer else OFFER
        """What whoever is called describes, to an offer or to none."""
        self.repeats = 1
        self.account: Account | None = None
        """What we meet challenges with."""
        self._transport = transport
        self._flying: list[tuple[float, int, bytes, str, str]] = []  # when, order, what, to whom, from whom
        self._order = itertools.count()
        chance = random.Random(seed)
        self.us = self._side(hosts[0], transport, chance, "a")
        self.them = self._side(hosts[1], transport, chance, "b")
        self.third = self._side(hosts[2], transport, chance, "c")
        self._proxy = Proxy([self.them.peer.host] + [self.third.peer.host] * forks) if proxied or forks else None

    def _side(self, host: str, transport: str, chance: random.Random, letter: str) -> Side:
        guard, words = Open(), (f"{letter}{n}" for n in itertools.count())
        settings = Settings({transport: (shown(host), 5060)})
        flow = 1 if transport != "udp" else 0
        endpoint = SipEndpoint(settings, guard, lambda: next(words), chance.random)
        return Side(endpoint, Peer(transport, host, 5060, flow), guard)

    @property
    def sides(self) -> tuple[Side, ...]:
        return self.us, self.them, self.third

    @property
    def quiet(self) -> bool:
        """Whether nobody has anything left to do or to remember."""
        return all(side.endpoint.idle and side.endpoint.next_deadline() is None for side in self.sides)

    def call(self, offer: bytes = OFFER, target: str = "", name: str = "Alice", to: Side | None = None) -> Session:
        """We call them, or somebody else."""
        called = to or self.them
        uri = parse_uri(target or f"sip:bob@{shown(called.peer.host)}")
        caller = Address(Uri("sip", "alice", shown(self.us.peer.host)), name)
        peer = called.peer if self._proxy is None else Peer(self._transport, Proxy.near, 5060)
        session = self.us.endpoint.invite(uri, peer, caller, offer, self.now, account=self.account)
        self.us.sessions.append(session)
        self.flush()
        return session

    def up(self) -> tuple[Session, Session]:
        """A call that is answered."""
        session = self.call()
        self.run(1)
        assert session.state == "up", self.us.story
        return session, self.them.sessions[0]

    def flush(self) -> None:
        """Take what the endpoints have to say, and let them act on what happened."""
        for side in self.sides:
            for data, peer in side.endpoint.drain_packets():
                self._post(data, side.peer.host, peer.host)
            for event in side.endpoint.drain_events():
                side.events.append(event)
                self._react(side, event)

    def _post(self, data: bytes, source: str, to: str) -> None:
        """Put a packet into the air, unless it is to be lost."""
        names = {self.us.peer.host: "us", self.them.peer.host: "them", self.third.peer.host: "third"}
        if to not in names and self._proxy is None:
            return  # nobody is there
        who = names.get(source, "proxy")
        data = self.bends(who, data)
        message, _ = parse(data)
        number = len(self.log)
        self.log.append((self.now, who, message))
        if not self.loses(number, message):
            for _ in range(self.repeats):
                self._flying.append((self.now + LATENCY, next(self._order), data, to, source))

    def _arrive(self, data: bytes, to: str, source: str) -> None:
        if self._proxy is not None and to in (Proxy.near, Proxy.far):
            for forwarded, leaving, following in self._proxy.forward(data, to):
                self._post(forwarded, leaving, following)
            return
        side = next(side for side in self.sides if side.peer.host == to)
        flow = 1 if self._transport != "udp" else 0
        side.endpoint.received(data, Peer(self._transport, source, 5060, flow), self.now)
        self.flush()

    def _react(self, side: Side, event: Event) -> None:
        if isinstance(event, Incoming):
            side.sessions.append(event.session)
            if side.answers:
                event.session.ring(self.now)
                event.session.accept(self.answer(event.offer), self.now)
                self.flush()
        elif isinstance(event, Reoffered) and side.answers:
            event.session.reanswer(200, self.answer(event.offer), self.now)
            self.flush()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        self.flush()
        while True:
            deadlines = [side.endpoint.next_deadline() for side in self.sides]
            times = [at for at in deadlines if at is not None] + [entry[0] for entry in self._flying]
            following = min(times, default=end + 1)
            if following > end:
                self.now = end
                return
            self.now = max(self.now, following)
            due = sorted(entry for entry in self._flying if entry[0] <= self.now + 1e-9)
            self._flying = [entry for entry in self._flying if entry[0] > self.now + 1e-9]
            for _, _, data, to, source in due:
                self._arrive(data, to, source)
            for side in self.sides:
                side.endpoint.advance(self.now)
                self.flush()

    def sent(self, who: str, what: str) -> list[float]:
        """When one side sent a method or a status of a method: "INVITE", "200 INVITE", "ACK"."""
        return [at for at, side, message in self.log if side == who and _name(message) == what]

    @property
    def messages(self) -> list[str]:
        """All messages in short, in order."""
        return [f"{side} {_name(message)}" for _, side, message in self.log]


def _name(message: Message) -> str:
    if isinstance(message, Response):
        method = (message.headers.get_first("cseq") or "").split()[-1]
        return f"{message.status_code} {method}"
    return message.method


__all__ = ["ANSWER", "OFFER", "Answered", "Confirmed", "Link", "Open", "Over", "Side", "Told"]
