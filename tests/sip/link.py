"""Two SIP endpoints and an air between them that loses, repeats and delays what it is told to; time is a number."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

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


class Link:
    """The air. `loses` is asked for each packet by its number; `log` has every message as it was sent."""

    def __init__(self, transport: str = "udp", seed: int = 1) -> None:
        self.now = 100.0
        self.log: list[tuple[float, str, Message]] = []
        self.loses: Callable[[int, Message], bool] = lambda number, message: False
        self.repeats = 1
        self._flying: list[tuple[float, int, bytes, Side, Peer]] = []
        self._order = itertools.count()
        chance = random.Random(seed)
        self.us = self._side("127.0.0.1", transport, chance, "a")
        self.them = self._side("127.0.0.2", transport, chance, "b")

    def _side(self, host: str, transport: str, chance: random.Random, letter: str) -> Side:
        guard, words = Open(), (f"{letter}{n}" for n in itertools.count())
        settings = Settings({transport: (host, 5060)})
        flow = 1 if transport != "udp" else 0
        endpoint = SipEndpoint(settings, guard, lambda: next(words), chance.random)
        return Side(endpoint, Peer(transport, host, 5060, flow), guard)

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.us, self.them

    def call(self, offer: bytes = OFFER, target: str = "sip:bob@127.0.0.2") -> Session:
        """We call them."""
        uri = parse_uri(target)
        caller = Address(Uri("sip", "alice", "127.0.0.1"), "Alice")
        session = self.us.endpoint.invite(uri, self.them.peer, caller, offer, self.now)
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
        for side, other in ((self.us, self.them), (self.them, self.us)):
            for data, _ in side.endpoint.drain_packets():
                message, _ = parse(data)
                number = len(self.log)
                self.log.append((self.now, "us" if side is self.us else "them", message))
                if self.loses(number, message):
                    continue
                for _ in range(self.repeats):
                    entry = (self.now + LATENCY, next(self._order), data, other, side.peer)
                    self._flying.append(entry)
            for event in side.endpoint.drain_events():
                side.events.append(event)
                self._react(side, event)

    def _react(self, side: Side, event: Event) -> None:
        if isinstance(event, Incoming):
            side.sessions.append(event.session)
            if side.answers:
                event.session.ring(self.now)
                event.session.accept(ANSWER if event.offer else OFFER, self.now)
                self.flush()
        elif isinstance(event, Reoffered) and side.answers:
            event.session.reanswer(200, ANSWER, self.now)
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
            for _, _, data, side, peer in due:
                side.endpoint.received(data, peer, self.now)
                self.flush()
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
