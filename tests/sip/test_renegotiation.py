"""Changes within a call at their edges: early ones, one right behind a lost ACK, and those that have no offer."""

from __future__ import annotations

from tests.sip.link import ANSWER, OFFER
from tests.sip.test_endpoint import Desk, answered, dial, head, invite, our_tag, reply, statuses

from offhook.sip.events import Answered, Confirmed, Over, Reoffered
from offhook.sip.message import Request, address
from offhook.sip.session import Session

SDP = OFFER.decode().replace("\r\n", "\n")
CONTACT = "Contact: <sip:bob@192.0.2.7:5070>\n"
RELIABLY = CONTACT + "Require: 100rel\nRSeq: 7\n"


def theirs(method: str, ours: Request, tag: str = "them", number: int = 1, body: str = "") -> str:
    """A request of the called side in an early dialog."""
    kind = "Content-Type: application/sdp\n" if body else ""
    return (
        f"{method} sip:offhook@192.0.2.1 SIP/2.0\n"
        f"Via: SIP/2.0/UDP 192.0.2.7:5070;branch=z9hG4bK{method}{tag}{number}\n"
        f"From: {ours.headers.get('to')[0]};tag={tag}\nTo: {ours.headers.get('from')[0]}\n"
        f"Call-ID: {ours.headers.get_first('call-id')}\nCSeq: {number} {method}\n{CONTACT}{kind}".rstrip("\n")
        + f"\n\n{body}"
    )


def early(desk: Desk) -> tuple[Session, Request]:
    """A call of ours whose 183 has answered the offer reliably."""
    session, ours = dial(desk)
    (prack,) = desk.get(reply(ours, 183, more=RELIABLY, body=ANSWER))
    assert isinstance(prack, Request) and prack.method == "PRACK"
    desk.get(reply(prack, 200))
    return session, ours


def test_an_update_before_the_answer() -> None:
    """RFC 3311 §5.1: once offer and answer are complete; what it says counts for a 200 without a description."""
    desk = Desk()
    session, ours = early(desk)
    desk.get(theirs("UPDATE", ours, body=SDP.replace("4000", "4444")))
    (offered,) = [e for e in desk.events if isinstance(e, Reoffered)]
    session.reanswer(200, ANSWER, desk.now)
    assert statuses(desk.take()) == [200]
    desk.get(reply(ours, 200, more=CONTACT))
    (told,) = [e for e in desk.events if isinstance(e, Answered)]
    assert told.body == offered.offer and b"4444" in told.body
    assert session.change.body == ANSWER, "a refresh repeats what holds"


def test_an_update_while_our_offer_is_open_is_glare() -> None:
    """RFC 3311 §5.2: a 183 that is not reliable answers nothing for good."""
    for status, body in ((180, b""), (183, ANSWER)):
        desk = Desk()
        _, ours = dial(desk)
        desk.get(reply(ours, status, more=CONTACT, body=body))
        assert statuses(desk.get(theirs("UPDATE", ours, body=SDP))) == [491]
        assert statuses(desk.get(theirs("UPDATE", ours, number=2))) == [200], "one without an offer only refreshes"


def test_a_caller_may_update_once_our_reliable_answer_is_confirmed() -> None:
    desk = Desk()
    desk.get(invite(more="Supported: 100rel\n"))
    desk.session.ring(desk.now, 183, ANSWER)
    (ringing,) = desk.take()
    tag, number = our_tag([ringing]), ringing.headers.get_first("rseq")
    more = "Content-Type: application/sdp\n"
    update = head("UPDATE", to=tag, cseq=2, branch="z9hG4bKu1", more=more) + "\n\n" + SDP
    assert statuses(desk.get(update)) == [500]
    prack = head("PRACK", to=tag, cseq=3, branch="z9hG4bKp", more=f"RAck: {number} 1 INVITE\n")
    assert statuses(desk.get(prack)) == [200]
    desk.get(update.replace("z9hG4bKu1", "z9hG4bKu2").replace("CSeq: 2", "CSeq: 4"))
    desk.session.reanswer(200, ANSWER, desk.now)
    assert statuses(desk.take()) == [200]
    desk.session.accept(ANSWER, desk.now)
    assert desk.take()[-1].body == b"", "the 200 does not take back what the UPDATE has changed"


def test_each_side_of_a_forked_call_is_heard_before_one_takes_it() -> None:
    desk = Desk()
    session, ours = early(desk)
    desk.get(reply(ours, 180, "two", CONTACT))
    assert statuses(desk.get(theirs("INFO", ours, "two"))) == [200]
    assert statuses(desk.get(theirs("UPDATE", ours, "two", 2))) == [200]
    assert statuses(desk.get(theirs("INFO", ours))) == [200]
    assert statuses(desk.get(theirs("INFO", ours, "two", 2))) == [500], "each counts for itself"
    assert statuses(desk.get(theirs("BYE", ours, "two", 3))) == [200]
    assert session.state == "calling", "the other side may still take it"
    desk.get(reply(ours, 200, more=CONTACT))
    assert session.state == "up"
    assert statuses(desk.get(theirs("INFO", ours, "two", 4))) == [481]
    session.hang_up(desk.now)
    (bye,) = desk.take()
    assert address(bye, "to").tag == "them"


def test_sides_of_a_forked_call_are_bounded() -> None:
    desk = Desk()
    session, ours = dial(desk)
    for number in range(40):
        desk.get(reply(ours, 180, f"t{number}", CONTACT))
    assert len(session.dialogs) == 16 and len(desk.endpoint._sessions) == 16
    desk.get(reply(ours, 200, "t39", CONTACT, ANSWER))
    assert session.state == "up" and session.dialog is not None and session.dialog.remote.tag == "t39"
    session.hang_up(desk.now)
    desk.take()
    assert not desk.endpoint._sessions


def test_a_bye_before_the_answer_leaves_nothing() -> None:
    desk = Desk()
    session, ours = early(desk)
    assert statuses(desk.get(theirs("BYE", ours))) == [200]
    assert [type(e) for e in desk.events][-1] is Over and session.state == "over"
    for _ in range(4):
        desk.wait(40)
    assert desk.endpoint.idle


def test_a_re_invite_behind_a_lost_ack_is_the_ack() -> None:
    desk = Desk()
    desk.get(invite())
    desk.session.accept(ANSWER, desk.now)
    tag = our_tag(desk.take())
    assert statuses(desk.get(invite(to=tag, cseq=2, branch="z9hG4bKre"))) == [100]
    assert [type(e) for e in desk.events[1:]] == [Confirmed, Reoffered] and desk.session.state == "up"
    desk.session.reanswer(200, ANSWER, desk.now)
    assert statuses(desk.take()) == [200]
    assert desk.get(head("ACK", to=tag, branch="z9hG4bKa1")) == [] and desk.session.unacked == 2
    desk.get(head("ACK", to=tag, cseq=2, branch="z9hG4bKa2"))
    assert desk.session.unacked is None and desk.wait(40) == []


def test_not_when_the_ack_has_an_answer_to_bring() -> None:
    desk = Desk()
    desk.get(head("INVITE"))
    desk.session.accept(OFFER, desk.now)
    tag = our_tag(desk.take())
    assert statuses(desk.get(invite(to=tag, cseq=2, branch="z9hG4bKre"))) == [500]
    desk.get(head("ACK", to=tag, branch="z9hG4bKa", more="Content-Type: application/sdp\n") + "\n\n" + SDP)
    (told,) = [e for e in desk.events if isinstance(e, Confirmed)]
    assert told.body == SDP.encode() and told.first


def test_a_body_in_the_ack_of_an_answer_says_nothing() -> None:
    desk = Desk()
    desk.get(invite())
    desk.session.accept(ANSWER, desk.now)
    tag = our_tag(desk.take())
    desk.get(head("ACK", to=tag, branch="z9hG4bKa", more="Content-Type: application/sdp\n") + "\n\n" + SDP)
    (told,) = [e for e in desk.events if isinstance(e, Confirmed)]
    assert told.body == b"" and told.first


def test_a_wish_to_hang_up_counts_when_the_re_invite_is_the_ack() -> None:
    desk = Desk()
    desk.get(invite())
    desk.session.accept(ANSWER, desk.now)
    desk.session.hang_up(desk.now)
    tag = our_tag(desk.take())
    sent = desk.get(invite(to=tag, cseq=2, branch="z9hG4bKre"))
    assert [m.method for m in sent if isinstance(m, Request)] == ["BYE"] and statuses(sent) == [481]


def test_the_ack_of_a_change_without_an_offer_brings_the_answer() -> None:
    """It is told of that change; a body that answers nothing is passed over."""
    desk = Desk()
    tag = answered(desk)
    session = desk.session
    assert [e.first for e in desk.events if isinstance(e, Confirmed)] == [True]
    desk.events.clear()
    for number, offer, body in ((2, "", SDP.encode()), (3, SDP, b""), (4, "", b"")):
        kind = "Content-Type: application/sdp\n" if offer else ""
        desk.get(head("INVITE", to=tag, cseq=number, branch=f"z9hG4bKr{number}", more=kind) + "\n\n" + offer)
        session.reanswer(200, ANSWER, desk.now)
        desk.take()
        sent = SDP if number < 4 else ""
        kind = "Content-Type: application/sdp\n" if sent else ""
        desk.get(head("ACK", to=tag, cseq=number, branch=f"z9hG4bKa{number}", more=kind) + "\n\n" + sent)
        told = [(e.body, e.first) for e in desk.events if isinstance(e, Confirmed)]
        assert told == ([] if offer else [(body, False)])
        desk.events.clear()
