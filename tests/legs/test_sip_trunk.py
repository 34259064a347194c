"""A trunk on real sockets between two phones of tests: mistakes in one call, places that fail, media that stops."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.live import until
from tests.sip_phone import BYE, TestPhone
from tests.tls import Authority

from offhook.errors import LegError
from offhook.legs.leg import Answered, Ended, LegEvent, Refused
from offhook.legs.sip import SipLeg
from offhook.legs.sip_trunk import SipTrunk
from offhook.sip.events import Over
from offhook.sip.grammar import Address, Uri, parse_uri
from offhook.sip.session import Session
from offhook.sip.transaction import Peer

CALLER = Address(Uri("sip", "1", "127.0.0.1"))


def quiet(trunk: SipTrunk) -> bool:
    """Whether nothing of any call is kept."""
    return not len(trunk.sockets) and not trunk._legs and not trunk.endpoint._sessions


def dial(phone: TestPhone, *places: tuple[str, Peer], **more: Any) -> tuple[SipLeg, list[LegEvent]]:
    events: list[LegEvent] = []
    targets = [(parse_uri(uri), peer) for uri, peer in places]
    return phone.trunk.dial("leg", targets, CALLER, lambda leg, event: events.append(event), **more), events


def at(phone: TestPhone, transport: str = "udp") -> tuple[str, Peer]:
    return f"sip:x@127.0.0.1;transport={transport}", Peer(transport, phone.host, phone.trunk.ports[transport])


class Clumsy(TestPhone):
    """Makes a mistake as it takes a call, before its leg is made or after."""

    when = "before"

    def incoming(self, trunk: SipTrunk, session: Session, make_leg: Callable[..., SipLeg]) -> int:
        if self.when == "after":
            super().incoming(trunk, session, make_leg)
        raise KeyError("a mistake of ours")


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_mistake_as_a_call_comes_is_a_500_and_keeps_nothing(
    when: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    caller, clumsy = TestPhone(), Clumsy("2")
    clumsy.when, clumsy.answers = when, None
    async with caller.running(), clumsy.running():
        line = caller.call(clumsy.trunk.ports["udp"])
        await until(lambda: line.over, "a refusal")
        assert line.events[-1] == Refused("leg_failed") and "a mistake of ours" in caplog.text
        assert [event for each in clumsy.lines for event in each.events] == ([Ended("")] if when == "after" else [])
        await until(lambda: quiet(clumsy.trunk), "nothing is kept")


async def test_a_mistake_as_a_call_goes_out_keeps_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    phone = TestPhone()
    async with phone.running():
        with pytest.raises(LegError, match="no SIP over ws"):
            dial(phone, ("sip:x@127.0.0.1", Peer("ws", "127.0.0.1", 9)))

        def broken(*args: Any, **more: Any) -> None:
            raise KeyError("a mistake of ours")

        monkeypatch.setattr(phone.trunk.endpoint, "invite", broken)
        with pytest.raises(LegError, match="a mistake of ours"):
            dial(phone, at(phone))
        assert quiet(phone.trunk)


@pytest.mark.parametrize(
    "elsewhere", [(parse_uri("sip:x@h"), Peer("ws", "127.0.0.1", 9)), LegError("unreachable"), KeyError("a mistake")]
)
async def test_a_call_that_cannot_be_tried_elsewhere_was_not_taken(elsewhere: Any) -> None:
    class Moving(TestPhone):
        def elsewhere(self, over: Over) -> tuple[Uri, Peer] | None:
            if isinstance(elsewhere, Exception):
                raise elsewhere
            return elsewhere  # type: ignore[no-any-return]

    phone, other = Moving(), TestPhone("2")
    other.answers = 404
    async with phone.running(), other.running():
        _, events = dial(phone, at(other))
        await until(lambda: events, "a refusal")
        assert events == [Refused("unreachable")] and quiet(phone.trunk)


async def test_one_of_several_places_takes_a_call_though_another_cannot_be_called() -> None:
    phone, other = TestPhone(), TestPhone("2")
    async with phone.running(), other.running():
        leg, events = dial(phone, ("sip:x@h", Peer("ws", "127.0.0.1", 9)), at(other))
        await until(lambda: Answered() in events, "the answer")
        leg.hang_up(BYE)
        await until(lambda: other.lines[0].over, "BYE")


async def test_all_places_ring_and_the_first_that_answers_is_it() -> None:
    phone, slow, quick = TestPhone(), TestPhone("2"), TestPhone("3")
    slow.answers = quick.answers = None
    async with phone.running(), slow.running(), quick.running():
        leg, events = dial(phone, at(slow), at(quick, "tcp"))
        await until(lambda: slow.lines and quick.lines, "both ring")
        quick.lines[0].leg.answer(8000)
        await until(lambda: slow.lines[0].over, "CANCEL")
        await until(lambda: Answered() in events, "the answer")
        await until(lambda: quick.lines[0].leg.session.state == "up", "ACK")  # type: ignore[union-attr]
        assert leg.session is not None and leg.session.peer.transport == "tcp" and not quick.lines[0].over
        leg.hang_up(BYE)
        await until(lambda: quick.lines[0].over, "BYE")
        await until(lambda: quiet(phone.trunk) and quiet(slow.trunk) and quiet(quick.trunk), "nothing is kept")


class Plain(TestPhone):
    """Takes no encrypted media."""

    def incoming(self, trunk: SipTrunk, session: Session, make_leg: Callable[..., SipLeg]) -> int:
        return super().incoming(trunk, session, lambda leg_id, event: make_leg(leg_id, event, "off"))


@pytest.mark.parametrize(("srtp", "taken"), [("optional", True), ("required", False)])
async def test_plain_media_where_no_other_is_taken_and_it_may_be(tmp_path: Path, srtp: str, taken: bool) -> None:
    authority = Authority(tmp_path)
    tls = (authority.server("127.0.0.1"), authority.client())
    phone, plain = TestPhone(), Plain("2")
    async with phone.running(tls), plain.running(tls):
        leg, events = dial(phone, at(plain, "tls"), srtp=srtp)
        await until(lambda: Answered() in events or Refused("leg_failed") in events, "an outcome")
        assert (Answered() in events) is taken
        assert [b"SAVP" in invite.body for invite in plain.invites] == ([True, False] if taken else [True])
        if taken:
            leg.hang_up(BYE)
            await until(lambda: plain.lines[-1].over, "BYE")


async def test_why_a_place_cannot_be_reached_reaches_the_call(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    phone, carrier = TestPhone(), TestPhone("2")
    client = authority.client()
    async with (
        phone.running((authority.server("127.0.0.1"), client)),
        carrier.running((authority.server("other.example"), client)),
    ):
        uri, peer = at(carrier, "tls")
        _, events = dial(phone, (uri, replace(peer, name="carrier.example")))
        await until(lambda: events, "a refusal")
        (refused,) = events
        assert isinstance(refused, Refused) and refused.outcome == "leg_failed"
        assert "not valid for 'carrier.example'" in refused.detail
        uri, peer = at(carrier, "tls")
        leg, events = dial(phone, (uri, replace(peer, name="other.example")))
        await until(lambda: Answered() in events, "the right name")
        leg.hang_up(BYE)


async def test_a_peer_that_never_sends_a_packet_ends_its_call_and_one_on_hold_does_not() -> None:
    phone, silent, holding = TestPhone(), TestPhone("2"), TestPhone("3")
    async with phone.running(), silent.running(), holding.running():
        _, events = dial(phone, at(silent))
        held, kept = dial(phone, at(holding))
        await until(lambda: Answered() in events and Answered() in kept, "answers")
        for other in (silent, holding):
            other.lines[0].leg.session.state = "deaf"  # type: ignore[union-attr]
        held.held = True
        held._expect()
        phone.trunk.rules = replace(phone.trunk.rules, timeout=0.05)
        await until(lambda: Ended("media_lost") in events, "the end")
        assert kept[-1] == Answered()
        held.hang_up(BYE)


async def test_a_message_too_odd_to_send_fails_its_call_alone() -> None:
    phone, other = TestPhone(), TestPhone("2")
    async with phone.running(), other.running():
        _, events = dial(phone, ("sip:x@127.0.0.1", Peer("udp", "127.0.0.1", 70000)))
        await until(lambda: events, "a refusal")
        assert isinstance(events[0], Refused) and "70000 is no port" in events[0].detail
        leg, events = dial(phone, at(other))
        await until(lambda: Answered() in events, "the next call")
        leg.hang_up(BYE)
