"""Transfer: REFER with its progress, and the call that takes another's place (RFC 3515, RFC 3891)."""

from __future__ import annotations

import pytest
from tests.sip.link import ANSWER, OFFER, Link, Over

from offhook.sip.dialog import DialogId
from offhook.sip.events import Incoming, TransferAsked, Transferred
from offhook.sip.grammar import Address, Uri, parse_uri
from offhook.sip.message import Request, Response

CAROL = parse_uri("sip:carol@127.0.0.3")


def told(link: Link) -> list[tuple[int, bool]]:
    return [(event.status, event.final) for event in link.us.events if isinstance(event, Transferred)]


def test_blind_transfer_with_its_progress() -> None:
    link = Link()
    session, theirs = link.up()
    assert session.refer(CAROL, link.now)
    assert not session.refer(CAROL, link.now), "one at a time"
    link.run(0.1)
    (asked,) = link.them.named(TransferAsked)
    assert isinstance(asked, TransferAsked) and str(asked.target.uri) == "sip:carol@127.0.0.3"
    theirs.transfer.decide(202, link.now)
    link.run(1)
    theirs.transfer.report(180, link.now)
    link.run(1)
    theirs.transfer.report(200, link.now)
    link.run(1)
    assert told(link) == [(100, False), (180, False), (200, True)]
    assert link.messages[5:9] == ["us REFER", "them 202 REFER", "them NOTIFY", "us 200 NOTIFY"]
    session.hang_up(link.now)
    link.run(60)
    assert link.us.endpoint.idle and link.them.endpoint.idle
    assert link.us.endpoint.next_deadline() is None


@pytest.mark.parametrize("status", [405, 486, 603])
def test_a_refused_transfer_leaves_the_call(status: int) -> None:
    link = Link()
    session, theirs = link.up()
    session.refer(CAROL, link.now)
    link.run(1)
    theirs.transfer.decide(status, link.now)
    link.run(1)
    assert told(link) == [(status, True)] and session.state == "up"
    assert [e.refused for e in link.us.events if isinstance(e, Transferred)] == [True] and not session.transfer.taken
    assert session.refer(CAROL, link.now), "another try is possible"


def test_a_new_call_that_fails_is_told() -> None:
    link = Link()
    session, theirs = link.up()
    session.refer(CAROL, link.now)
    link.run(1)
    theirs.transfer.decide(202, link.now)
    theirs.transfer.report(486, link.now)
    link.run(1)
    assert told(link)[-1] == (486, True) and session.state == "up"


def test_on_whose_behalf_and_what_goes_along() -> None:
    link = Link()
    session, _ = link.up()
    dave = Address(parse_uri("sip:+15550100077@127.0.0.1"))
    target = Uri("sip", "carol", "127.0.0.3", headers={"User-To-User": "a b"})
    session.refer(target, link.now, referrer=dave)
    link.run(0.1)
    (refer,) = [message for _, _, message in link.log if isinstance(message, Request) and message.method == "REFER"]
    assert refer.headers.get_first("referred-by") == str(dave)
    assert refer.headers.get_first("refer-to") == "<sip:carol@127.0.0.3?User-To-User=a%20b>"


def test_a_bye_before_the_outcome_is_told_too() -> None:
    link = Link()
    session, theirs = link.up()
    session.refer(CAROL, link.now)
    link.run(1)
    theirs.transfer.decide(202, link.now)
    link.run(1)
    theirs.hang_up(link.now)
    link.run(1)
    assert told(link)[-1] == (0, True) and link.us.story[-1] == "Over 0"


def test_a_peer_that_never_says_more() -> None:
    link = Link()
    session, theirs = link.up()
    session.refer(CAROL, link.now)
    link.run(1)
    theirs.transfer.decide(202, link.now)
    link.run(200)
    assert told(link)[-1] == (408, True) and session.state == "up"


@pytest.mark.parametrize("lost", range(5, 14))
def test_any_one_packet_may_be_lost(lost: int) -> None:
    link = Link()
    link.loses = lambda number, message: number == lost
    session, theirs = link.up()
    session.refer(CAROL, link.now)
    link.run(5)
    assert len(link.them.named(TransferAsked)) == 1
    theirs.transfer.decide(202, link.now)
    link.run(5)
    theirs.transfer.report(200, link.now)
    link.run(5)
    assert told(link)[-1] == (200, True) and told(link).count((200, True)) == 1
    session.hang_up(link.now)
    link.run(80)
    assert link.us.endpoint.idle and link.them.endpoint.idle


@pytest.mark.parametrize(
    ("event", "body", "status"), [("presence", b"", 489), ("refer", b"SIP/2.0 200 OK", 481), ("", b"", 489)]
)
def test_a_notify_that_nobody_asked_for(event: str, body: bytes, status: int) -> None:
    link = Link()
    session, theirs = link.up()
    answers: list[Response] = []
    theirs.ask(
        "NOTIFY", link.now, [("Event", event)], body, "message/sipfrag", on_answer=lambda a, at: answers.append(a)
    )
    link.run(1)
    assert [answer.status_code for answer in answers] == [status] and session.state == "up"


@pytest.mark.parametrize(
    ("body", "state", "outcome"),
    [
        (b"SIP/2.0 486 Busy Here\r\n", "terminated;reason=noresource", (486, True)),
        (b"garbage", "terminated", (500, True)),
        (b"", "terminated;reason=timeout", (500, True)),
        (b"SIP/2.0 200 OK\r\nVia: x", "active;expires=20", (200, True)),
    ],
)
def test_what_a_notify_means(body: bytes, state: str, outcome: tuple[int, bool]) -> None:
    link = Link()
    session, theirs = link.up()
    session.refer(CAROL, link.now)
    link.run(1)
    theirs.transfer.decide(202, link.now)
    link.run(1)
    headers = [("Event", "refer;id=2"), ("Subscription-State", state)]
    theirs.ask("NOTIFY", link.now, headers, body, "message/sipfrag")
    link.run(1)
    assert told(link)[-1] == outcome


def test_a_refer_without_a_target() -> None:
    link = Link()
    session, theirs = link.up()
    answers: list[Response] = []
    theirs.ask("REFER", link.now, on_answer=lambda a, at: answers.append(a))
    link.run(1)
    assert [answer.status_code for answer in answers] == [400]


def test_attended_transfer_names_the_dialog_to_replace() -> None:
    link = Link()
    session, theirs = link.up()
    session.refer(CAROL, link.now, ("call@b", "their tag", "our tag"))
    link.run(1)
    (asked,) = link.them.named(TransferAsked)
    assert isinstance(asked, TransferAsked)
    assert asked.target.uri.headers == {"Replaces": "call@b;to-tag=their tag;from-tag=our tag"}


def replacing(link: Link, dialog: DialogId, more: str = "") -> None:
    value = f"{dialog[0]};to-tag={dialog[1]};from-tag={dialog[2]}{more}"
    caller = Address(Uri("sip", "carol", "127.0.0.1"))
    session = link.us.endpoint.invite(
        parse_uri("sip:bob@127.0.0.2"), link.them.peer, caller, OFFER, link.now, [("Replaces", value)]
    )
    link.us.sessions.append(session)


def test_a_call_that_takes_the_place_of_another() -> None:
    link = Link()
    session, theirs = link.up()
    assert theirs.dialog is not None
    link.them.answers = False
    replacing(link, theirs.dialog.id)
    link.run(1)
    incoming = link.them.named(Incoming)[-1]
    assert isinstance(incoming, Incoming) and incoming.replaces is theirs
    incoming.session.accept(ANSWER, link.now)
    theirs.hang_up(link.now)
    link.run(1)
    assert session.state == "over" and link.us.sessions[-1].state == "up"


@pytest.mark.parametrize(("more", "wrong", "status"), [("", True, 481), (";early-only", False, 486)])
def test_what_cannot_be_replaced(more: str, wrong: bool, status: int) -> None:
    link = Link()
    _, theirs = link.up()
    assert theirs.dialog is not None
    call, ours, other = theirs.dialog.id
    replacing(link, (call, ours, "x" if wrong else other), more)
    link.run(1)
    over = link.us.named(Over)[-1]
    assert isinstance(over, Over) and over.status == status
    assert theirs.state == "up"
