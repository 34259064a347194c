"""Our registration with a trunk: challenge, refresh, refusals, lost packets, and leaving (RFC 3261 §10.2)."""

from __future__ import annotations

import pytest
from tests.sip.link import Link, Open, Side

from offhook.sip.auth import Account, Challenger
from offhook.sip.grammar import parse_uri
from offhook.sip.message import Request, Response, response
from offhook.sip.registrar import Registrar
from offhook.sip.registration import Registration, RegistrationState
from offhook.sip.transaction import Peer

RECORD = parse_uri("sip:alice@127.0.0.2")


class Keeper(Open):
    """A registrar that asks for a password."""

    def __init__(self, password: str = "secret", answer: Response | None = None) -> None:
        super().__init__()
        self.registrar = Registrar()
        self.challenger = Challenger("trunk", b"key", {"alice": password})
        self.extra: list[tuple[int, list[tuple[str, str]]]] = []

    def register(self, request: Request, peer: Peer, now: float) -> Response:
        if self.extra:
            status, headers = self.extra.pop(0)
            return response(request, status, to_tag="x", headers=headers)
        user, stale = self.challenger.check(request, now)
        if not user:
            return response(request, 401, to_tag="x", headers=self.challenger.challenge(now, stale=stale))
        return self.registrar.register(user, request, peer, "x", now)


def registered(
    link: Link, password: str = "secret", account: str = "secret"
) -> tuple[Registration, list[RegistrationState], Keeper]:
    keeper = Keeper(password)
    link.them.endpoint.guard = keeper
    states: list[RegistrationState] = []
    registration = link.us.endpoint.register(
        RECORD, parse_uri("sip:127.0.0.2"), link.them.peer, Account("alice", account), states.append
    )
    registration.start(link.now)
    return registration, states, keeper


def bound(keeper: Keeper, side: Side, now: float) -> bool:
    return bool(keeper.registrar.bindings("alice", now))


def test_it_registers_refreshes_and_leaves() -> None:
    link = Link()
    registration, states, keeper = registered(link)
    link.run(1)
    assert registration.state.registered and registration.state.until == pytest.approx(link.now + 600, abs=2)
    for _ in range(30):
        link.run(300)
        assert bound(keeper, link.them, link.now), "it never runs out"
    registration.stop(link.now)
    link.run(60)
    assert not bound(keeper, link.them, link.now) and not registration.state.registered
    link.run(3600)
    assert link.us.endpoint.idle and link.us.endpoint.next_deadline() is None
    calls = {m.headers.get_first("call-id") for _, who, m in link.log if who == "us"}
    numbers = [int((m.headers.get_first("cseq") or "0").split()[0]) for _, who, m in link.log if who == "us"]
    assert len(calls) == 1 and numbers == sorted(numbers)


@pytest.mark.parametrize("lost", range(6))
def test_any_one_packet_may_be_lost(lost: int) -> None:
    link = Link()
    link.loses = lambda number, message: number == lost
    registration, states, keeper = registered(link)
    link.run(20)
    assert registration.state.registered and bound(keeper, link.them, link.now)


def test_a_wrong_password_is_tried_more_and_more_seldom() -> None:
    link = Link()
    registration, states, _ = registered(link, account="wrong")
    link.run(3600)
    assert not registration.state.registered and {state.status for state in states} == {401}
    pauses = [b - a for a, b in zip(link.sent("us", "REGISTER")[1::2], link.sent("us", "REGISTER")[3::2], strict=False)]
    assert pauses[:4] == pytest.approx([15, 30, 60, 120], abs=1) and max(pauses) <= 901
    assert len(states) < 15


def test_nobody_answers_and_then_somebody_does() -> None:
    link = Link()
    link.loses = lambda number, message: True
    registration, states, _ = registered(link)
    link.run(40)
    assert states[-1].status == 408 and states[-1].retry_at > link.now
    link.loses = lambda number, message: False
    link.run(60)
    assert registration.state.registered


def test_a_busy_registrar_says_when_to_come_back() -> None:
    link = Link()
    keeper = Keeper()
    link.them.endpoint.guard = keeper
    registration, states, keeper = registered(link)
    keeper.extra = [(503, [("Retry-After", "120")])]
    link.run(1)
    assert states[-1].status == 503 and states[-1].retry_at == pytest.approx(link.now + 120, abs=2)
    link.run(125)
    assert registration.state.registered


def test_a_longer_interval_is_asked_for_when_ours_is_too_brief() -> None:
    link = Link()
    registration, _, keeper = registered(link)
    keeper.extra = [(423, [("Min-Expires", "1800")])]
    link.run(1)
    assert registration.state.registered and registration.state.until == pytest.approx(link.now + 1800, abs=2)


def test_an_endless_423_is_no_loop() -> None:
    link = Link()
    registration, states, keeper = registered(link)
    keeper.extra = [(423, [("Min-Expires", "1800")])] * 50
    link.run(5)
    assert len(link.sent("us", "REGISTER")) == 2 and states[-1].status == 423


def test_a_lost_connection_is_registered_anew() -> None:
    link = Link("tcp")
    registration, states, _ = registered(link)
    link.run(1)
    registration.lost(link.now)
    assert not registration.state.registered
    link.run(20)
    assert registration.state.registered


def test_leaving_while_nothing_is_registered_sends_nothing() -> None:
    link = Link()
    link.loses = lambda number, message: True
    registration, states, _ = registered(link)
    link.run(40)
    before = len(link.log)
    registration.stop(link.now)
    link.run(2000)
    assert len(link.log) == before and link.us.endpoint.next_deadline() is None
