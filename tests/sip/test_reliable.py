"""Provisional answers that must arrive (RFC 3262), also over a link that loses each packet in turn."""

from __future__ import annotations

import pytest
from tests.sip.link import ANSWER, Answered, Link, Over

from offhook.sip.events import Progress
from offhook.sip.message import Request, Response


def ringing() -> Link:
    link = Link()
    link.them.answers = False
    link.call()
    link.run(0.1)
    return link


def test_a_description_in_a_183_is_confirmed_before_the_answer_goes_out() -> None:
    link = ringing()
    theirs = link.them.sessions[0]
    theirs.ring(link.now, 183, ANSWER)
    theirs.accept(ANSWER, link.now)
    link.flush()
    assert not link.sent("them", "200 INVITE"), "the answer waits for the PRACK"
    link.run(1)
    assert link.messages[2:] == ["them 183 INVITE", "us PRACK", "them 200 PRACK", "them 200 INVITE", "us ACK"]
    (progress,) = link.us.named(Progress)
    assert isinstance(progress, Progress) and progress.body == ANSWER
    assert len(link.us.named(Answered)) == 1


def test_without_a_description_or_wish_nothing_is_confirmed() -> None:
    link = ringing()
    link.them.sessions[0].ring(link.now)
    link.run(3)
    assert not link.sent("us", "PRACK") and len(link.sent("them", "180 INVITE")) == 1


def test_one_after_the_other() -> None:
    link = ringing()
    theirs = link.them.sessions[0]
    theirs.invite.headers.set_single("Require", "100rel")
    theirs.ring(link.now)
    theirs.ring(link.now, 183, ANSWER)
    link.run(1)
    assert link.messages[2:] == [
        "them 180 INVITE", "us PRACK", "them 183 INVITE", "them 200 PRACK", "us PRACK", "them 200 PRACK",
    ]  # fmt: skip
    numbers = [m.headers.get_first("rseq") for _, who, m in link.log if who == "them" and m.headers.get_first("rseq")]
    assert int(numbers[1] or 0) == int(numbers[0] or 0) + 1


@pytest.mark.parametrize("lost", range(12))
def test_any_one_packet_may_be_lost(lost: int) -> None:
    link = Link()
    link.loses = lambda number, message: number == lost
    link.them.answers = False
    link.call()
    link.run(2)
    theirs = link.them.sessions[0]
    theirs.ring(link.now, 183, ANSWER)
    link.run(3)
    theirs.accept(ANSWER, link.now)
    link.run(10)
    assert len(link.us.named(Progress)) == 1, "a repetition is no news"
    assert len(link.us.named(Answered)) == 1 and theirs.state == "up"
    link.us.sessions[0].hang_up(link.now)
    link.run(80)
    assert link.us.endpoint.idle and link.them.endpoint.idle
    assert link.us.endpoint.next_deadline() is None and link.them.endpoint.next_deadline() is None


def test_a_prack_that_never_comes_ends_the_try() -> None:
    link = ringing()
    link.loses = lambda number, message: isinstance(message, Request) and message.method == "PRACK"
    link.them.sessions[0].ring(link.now, 183, ANSWER)
    link.run(33)
    times = link.sent("them", "183 INVITE")
    pauses = [b - a for a, b in zip(times, times[1:], strict=False)]
    assert pauses == pytest.approx([0.5, 1, 2, 4, 8, 16])
    (over,) = link.us.named(Over)
    assert isinstance(over, Over) and over.status == 504
    link.run(60)
    assert link.us.endpoint.idle and link.them.endpoint.idle


def test_a_prack_of_nothing_is_refused() -> None:
    link = ringing()
    theirs, session = link.them.sessions[0], link.us.sessions[0]
    theirs.ring(link.now)
    link.run(0.1)
    answers: list[Response] = []
    session.ask("PRACK", link.now, [("RAck", "1 1 INVITE")], on_answer=lambda answer, at: answers.append(answer))
    link.run(1)
    assert [answer.status_code for answer in answers] == [481]


def test_giving_up_while_an_answer_waits_for_its_prack() -> None:
    link = ringing()
    link.loses = lambda number, message: isinstance(message, Request) and message.method == "PRACK"
    theirs = link.them.sessions[0]
    theirs.ring(link.now, 183, ANSWER)
    theirs.accept(ANSWER, link.now)
    link.run(1)
    link.us.sessions[0].hang_up(link.now)
    link.run(80)
    assert theirs.state == "over" and not link.sent("them", "200 INVITE")
    assert link.us.endpoint.idle and link.them.endpoint.idle
