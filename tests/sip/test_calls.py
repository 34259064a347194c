"""Whole calls between two endpoints: as they should go, and with every packet lost once."""

from __future__ import annotations

import pytest
from tests.sip.link import ANSWER, OFFER, Answered, Link, Over, Told

from offhook.sip.endpoint import Verdict
from offhook.sip.events import Incoming, Reanswered, Reoffered
from offhook.sip.message import Message, Response, tag

PATIENCE = 32.0


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_call_from_invite_to_bye(transport: str) -> None:
    link = Link(transport)
    session, theirs = link.up()
    assert link.messages[:5] == ["us INVITE", "them 100 INVITE", "them 180 INVITE", "them 200 INVITE", "us ACK"]
    assert link.us.story == ["Progress 180", "Answered"]
    assert link.them.story == ["Incoming", "Confirmed"]
    (answered,) = link.us.named(Answered)
    assert isinstance(answered, Answered) and answered.body == ANSWER
    (incoming,) = link.them.named(Incoming)
    assert isinstance(incoming, Incoming) and incoming.offer == OFFER
    session.hang_up(link.now)
    link.run(1)
    assert link.messages[5:] == ["us BYE", "them 200 BYE"]
    assert link.us.story[-1] == link.them.story[-1] == "Over 0"
    link.run(40)
    assert link.us.endpoint.idle and link.them.endpoint.idle
    assert link.us.endpoint.next_deadline() is None and link.them.endpoint.next_deadline() is None
    assert theirs.state == "over"


def test_the_called_side_hangs_up() -> None:
    link = Link()
    session, theirs = link.up()
    theirs.hang_up(link.now)
    link.run(40)
    assert session.state == theirs.state == "over"
    (over,) = link.us.named(Over)
    assert isinstance(over, Over) and over.theirs
    assert link.us.endpoint.idle and link.them.endpoint.idle


def test_an_unanswered_invite_is_repeated_with_growing_pauses_and_given_up() -> None:
    link = Link()
    link.loses = lambda number, message: True
    link.call()
    link.run(40)
    pauses = [b - a for a, b in zip(link.sent("us", "INVITE"), link.sent("us", "INVITE")[1:], strict=False)]
    assert pauses == pytest.approx([0.5, 1, 2, 4, 8, 16])
    assert link.us.story == ["Over 408"]
    assert link.us.endpoint.idle


def test_nothing_is_repeated_over_a_reliable_transport() -> None:
    link = Link("tcp")
    link.loses = lambda number, message: True
    link.call()
    link.run(40)
    assert len(link.sent("us", "INVITE")) == 1 and link.us.story == ["Over 408"]


def story_of(link: Link, hang_up_by: str) -> None:
    link.call()
    link.run(10)
    side = link.us if hang_up_by == "us" else link.them
    if side.sessions:
        side.sessions[0].hang_up(link.now)
    link.run(80)


@pytest.mark.parametrize("hang_up_by", ["us", "them"])
@pytest.mark.parametrize("lost", range(9))
def test_any_one_packet_may_be_lost(lost: int, hang_up_by: str) -> None:
    link = Link()
    link.loses = lambda number, message: number == lost
    story_of(link, hang_up_by)
    assert "Answered" in link.us.story and "Confirmed" in link.them.story
    assert link.us.story[-1].startswith("Over") and link.them.story[-1].startswith("Over")
    assert link.us.story.count("Answered") == 1 and link.them.story.count("Incoming") == 1
    assert link.us.endpoint.idle and link.them.endpoint.idle


def test_every_packet_twice_is_still_one_call() -> None:
    link = Link()
    link.repeats = 3
    story_of(link, "us")
    assert link.them.story.count("Incoming") == 1 and len(link.them.sessions) == 1
    assert [told for told in link.us.story if told != "Progress 180"] == ["Answered", "Over 0"]
    assert link.us.endpoint.idle and link.them.endpoint.idle


def test_a_200_is_repeated_until_its_ack_and_then_no_more() -> None:
    link = Link()
    lost = [3]

    def loses(number: int, message: Message) -> bool:
        if not isinstance(message, Response) and message.method == "ACK" and lost[0]:
            lost[0] -= 1
            return True
        return False

    link.loses = loses
    link.call()
    link.run(20)
    times = link.sent("them", "200 INVITE")
    assert [b - a for a, b in zip(times, times[1:], strict=False)] == pytest.approx([0.5, 1, 2])
    assert len(link.sent("us", "ACK")) == 4
    assert link.them.story == ["Incoming", "Confirmed"]


def test_a_200_that_is_never_acknowledged_ends_in_a_bye() -> None:
    link = Link()
    link.loses = lambda number, message: not isinstance(message, Response) and message.method == "ACK"
    link.call()
    link.run(PATIENCE + 1)
    assert len(link.sent("them", "200 INVITE")) >= 10
    assert link.sent("them", "BYE") and link.them.story[-1] == "Over 408"
    assert link.us.story[-1] == "Over 0"
    link.run(40)
    assert link.us.endpoint.idle and link.them.endpoint.idle


@pytest.mark.parametrize("status", [480, 486, 488, 500, 603])
def test_a_refusal_is_acknowledged_by_the_transaction(status: int) -> None:
    link = Link()
    link.them.answers = False
    link.call()
    link.run(1)
    link.them.sessions[0].refuse(status, link.now)
    link.run(1)
    assert link.messages[-2:] == [f"them {status} INVITE", "us ACK"]
    assert link.us.story[-1] == f"Over {status}"
    link.run(60)
    assert link.us.endpoint.idle and link.them.endpoint.idle


def test_a_refusal_whose_ack_is_lost_is_repeated() -> None:
    link = Link()
    link.them.answers = False
    lost = [2]

    def loses(number: int, message: Message) -> bool:
        if not isinstance(message, Response) and message.method == "ACK" and lost[0]:
            lost[0] -= 1
            return True
        return False

    link.loses = loses
    link.call()
    link.run(0.1)
    link.them.sessions[0].refuse(403, link.now)
    link.run(60)
    assert len(link.sent("them", "403 INVITE")) == 3 and len(link.sent("us", "ACK")) == 3
    assert link.us.story == ["Over 403"] and link.them.story == ["Incoming", "Over 403"]
    assert link.us.endpoint.idle and link.them.endpoint.idle


def test_who_is_not_let_in_gets_one_packet_and_leaves_nothing() -> None:
    """A refusal before it is known who calls is no call (RFC 3261 §8.2.7): no repetition, no state, one tag."""
    link = Link()
    link.them.guard.verdict = Verdict(401)
    link.loses = lambda number, message: isinstance(message, Response)
    link.call()
    link.run(3)
    assert len(link.sent("us", "INVITE")) == len(link.sent("them", "401 INVITE")) == 3
    assert link.them.endpoint.idle and link.them.endpoint.next_deadline() is None
    assert len({tag(m, "to") for _, _, m in link.log if isinstance(m, Response)}) == 1
    link.loses = lambda number, message: False
    link.run(60)
    assert link.messages[-1] == "us ACK" and link.us.story == ["Over 401"] and link.us.endpoint.idle


def test_a_caller_gives_up() -> None:
    link = Link()
    link.them.answers = False
    session = link.call()
    link.run(1)
    link.them.sessions[0].ring(link.now)
    link.run(1)
    session.hang_up(link.now)
    link.run(1)
    assert link.messages[-4:] == ["us CANCEL", "them 200 CANCEL", "them 487 INVITE", "us ACK"]
    assert link.us.story[-1] == link.them.story[-1] == "Over 487"
    link.run(60)
    assert link.us.endpoint.idle and link.them.endpoint.idle


def test_a_cancel_waits_for_a_first_answer() -> None:
    link = Link()
    link.them.answers = False
    link.loses = lambda number, message: number < 2  # the INVITE's first two tries
    session = link.call()
    session.hang_up(link.now)
    link.run(1)
    assert not link.sent("us", "CANCEL")
    link.run(3)
    assert link.sent("us", "CANCEL") and link.us.story == ["Over 487"]
    link.run(60)
    assert link.us.endpoint.idle and link.them.endpoint.idle


def test_a_cancel_that_crosses_the_200_is_followed_by_a_bye() -> None:
    link = Link()
    link.them.answers = False
    session = link.call()
    link.run(1)
    link.them.sessions[0].accept(ANSWER, link.now)
    session.hang_up(link.now)
    link.run(2)
    assert link.sent("us", "CANCEL") and link.sent("us", "ACK") and link.sent("us", "BYE")
    assert "Answered" not in link.us.story
    assert link.us.story[-1] == "Over 487" and link.them.story[-1] == "Over 0"
    link.run(60)
    assert link.us.endpoint.idle and link.them.endpoint.idle


def test_a_cancel_that_nobody_confirms_is_given_up_and_a_late_answer_hung_up() -> None:
    """RFC 3261 §9.1: after 64 T1 the call is gone; who takes it all the same gets ACK and BYE (§13.2.2.4)."""
    for late in (False, True):
        link = Link()
        link.them.answers = False
        session = link.call()
        link.run(1)
        link.them.sessions[0].ring(link.now)
        link.run(1)
        link.loses = lambda number, message: not isinstance(message, Response) and message.method == "CANCEL"
        session.hang_up(link.now)
        link.run(40)
        assert link.us.story[-1] == "Over 487" and not link.us.endpoint._sessions
        if late:
            link.them.sessions[0].accept(ANSWER, link.now)
            link.run(1)
            assert "Answered" not in link.us.story
            assert link.messages[-4:] == ["them 200 INVITE", "us ACK", "us BYE", "them 200 BYE"]
        link.run(80)
        assert link.us.endpoint.idle and link.us.endpoint.next_deadline() is None
        assert link.them.endpoint.idle is late


def test_the_called_side_hangs_up_before_the_ack_has_come() -> None:
    link = Link()
    link.them.answers = False
    link.call()
    link.run(1)
    theirs = link.them.sessions[0]
    theirs.accept(ANSWER, link.now)
    theirs.hang_up(link.now)
    link.run(2)
    assert link.messages[-4:] == ["them 200 INVITE", "us ACK", "them BYE", "us 200 BYE"]
    link.run(60)
    assert link.us.endpoint.idle and link.them.endpoint.idle


def test_an_offer_in_the_answer() -> None:
    """An INVITE without a description: theirs is the offer, ours comes with the ACK (RFC 3261 §13.2.1)."""
    link = Link()
    link.call(offer=b"")
    link.run(1)
    (answered,) = link.us.named(Answered)
    assert isinstance(answered, Answered) and answered.body == OFFER


@pytest.mark.parametrize("reliably", [True, False])
def test_what_came_with_183_is_the_answer_of_a_200_without_one(reliably: bool) -> None:
    link = Link()
    link.them.answers = False
    link.call()
    link.run(0.1)
    theirs = link.them.sessions[0]
    if not reliably:
        theirs.invite.headers.remove("Supported")
    theirs.ring(link.now, 183, ANSWER)
    link.run(1)
    theirs.accept(b"", link.now)
    link.run(1)
    assert ("us PRACK" in link.messages) is reliably
    (answered,) = link.us.named(Answered)
    assert isinstance(answered, Answered) and answered.body == ANSWER


def test_early_media_then_the_answer() -> None:
    link = Link()
    link.them.answers = False
    link.call()
    link.run(1)
    theirs = link.them.sessions[0]
    theirs.ring(link.now, 183, ANSWER)
    link.run(1)
    theirs.accept(ANSWER, link.now)
    link.run(1)
    assert link.us.story == ["Progress 183", "Answered"]


# changes in mid-call ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_us", [True, False])
def test_a_re_invite_changes_the_media(by_us: bool) -> None:
    link = Link()
    session, theirs = link.up()
    mine, side, other = (session, link.us, link.them) if by_us else (theirs, link.them, link.us)
    assert mine.reoffer(OFFER, link.now)
    assert not mine.reoffer(OFFER, link.now), "one at a time"
    link.run(1)
    (asked,), (told,) = other.named(Reoffered), side.named(Reanswered)
    assert isinstance(asked, Reoffered) and asked.offer == OFFER
    assert isinstance(told, Reanswered) and (told.status, told.body) == (200, ANSWER)
    assert mine.reoffer(OFFER, link.now)
    link.run(1)
    session.hang_up(link.now)
    link.run(60)
    assert link.us.endpoint.idle and link.them.endpoint.idle


def test_a_refused_re_invite_leaves_the_call_as_it_was() -> None:
    link = Link()
    session, theirs = link.up()
    link.them.answers = False
    session.reoffer(OFFER, link.now)
    link.run(1)
    theirs.reanswer(488, b"", link.now)
    link.run(1)
    (told,) = link.us.named(Reanswered)
    assert isinstance(told, Reanswered) and told.status == 488
    assert session.state == theirs.state == "up"


def test_glare_is_tried_again_by_both_one_after_the_other() -> None:
    link = Link()
    session, theirs = link.up()
    session.reoffer(OFFER, link.now)
    theirs.reoffer(OFFER, link.now)
    link.run(10)
    assert len(link.sent("us", "491 INVITE")) >= 1 and len(link.sent("them", "491 INVITE")) >= 1
    assert len(link.us.named(Reanswered)) == len(link.them.named(Reanswered)) == 1
    assert session.state == theirs.state == "up"


def test_a_second_re_invite_before_the_first_is_answered() -> None:
    link = Link()
    session, theirs = link.up()
    link.them.answers = False
    session.reoffer(OFFER, link.now)
    link.run(0.1)
    session.change._asking = False  # a peer that does not wait
    session.reoffer(OFFER, link.now)
    link.run(0.1)
    assert "them 500 INVITE" in link.messages
    theirs.reanswer(200, ANSWER, link.now)
    link.run(1)
    assert session.state == theirs.state == "up"


def test_a_re_invite_that_nobody_answers_ends_the_call() -> None:
    link = Link()
    session, _ = link.up()
    link.loses = lambda number, message: True
    session.reoffer(OFFER, link.now)
    link.run(100)
    assert session.state == "over" and link.us.story[-1] == "Over 408"
    assert link.us.endpoint.idle


def test_info_carries_a_key() -> None:
    link = Link()
    session, _ = link.up()
    session.tell("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n", link.now)
    link.run(1)
    (told,) = link.them.named(Told)
    assert isinstance(told, Told) and (told.kind, told.body[:8]) == ("application/dtmf-relay", b"Signal=5")
    assert link.messages[-1] == "them 200 INFO"


def test_a_broken_connection_fails_a_call_that_is_being_set_up() -> None:
    link = Link("tcp")
    link.them.answers = False
    link.call()
    link.run(1)
    link.us.endpoint.broken(link.them.peer, link.now)
    link.flush()
    assert link.us.story[-1] == "Over 503"
