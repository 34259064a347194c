"""A leg over its session: offers late and again, hold, encryption, and several places that ring at once."""

from __future__ import annotations

from typing import Any

import pytest
from tests.sip.link import ANSWER, OFFER
from tests.sip.test_endpoint import PEER, Desk, head, invite, reply

from offhook.legs.leg import Answered, Ended, LegEnd, LegEvent, Refused, Ringing
from offhook.legs.sip import MediaRules, SipLeg
from offhook.sip import sdp
from offhook.sip.events import Incoming
from offhook.sip.grammar import Address, Uri, parse_uri
from offhook.sip.message import Request, tag
from offhook.sip.session import Session
from offhook.sip.transaction import Peer

VIDEO = b"m=video 4002 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
KEY = b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + b"A" * 40 + b"\r\n"


class Wire:
    """Where the leg's audio goes, as the leg sets it."""

    heard_at: float | None = None
    port = 4000
    remote: tuple[str, int] = ("", 0)
    near = ""
    srtp: Any = None
    open = True

    @property
    def secret(self) -> bool:
        return self.srtp is not None

    def use(self, fmt: Any, remote: tuple[str, int], control: Any, near: str) -> None:
        self.remote, self.near = remote, near

    def secure(self, srtp: Any) -> None:
        self.srtp = srtp

    def farewell(self) -> None:
        pass

    def close(self) -> None:
        self.open = False


class Stand:
    """A leg on an endpoint whose packets are written by hand."""

    media_host = "192.0.2.1"
    rules = MediaRules(("PCMU", "PCMA"))

    def __init__(self, srtp: str = "optional") -> None:
        self.desk = Desk()
        self.wire = Wire()
        self.events: list[LegEvent] = []
        self.leg = SipLeg(
            "leg", self, self.wire, self.wire,  # type: ignore[arg-type]
            lambda leg, event: self.events.append(event), 1, lambda n: b"k" * n, srtp,
        )  # fmt: skip

    def now(self) -> float:
        return self.desk.now

    def pump(self) -> None:
        """Everything that happened reaches the leg."""
        self.desk.take()
        while self.desk.events:
            event = self.desk.events.pop(0)
            if not isinstance(event, Incoming):
                self.leg.took(event)  # type: ignore[arg-type]
            self.desk.take()

    def gone(self, leg: SipLeg) -> None:
        pass

    def get(self, text: str, peer: Peer = PEER) -> list[Any]:
        before = len(self.desk.sent)
        self.desk.get(text, peer)
        self.pump()
        return [message for message, _ in self.desk.sent[before:]]

    def taken(self, offer: bytes = OFFER) -> str:
        """An inbound call with this offer, up; our tag as it stands in To."""
        body = offer.decode().replace("\r\n", "\n")
        self.desk.get(invite().partition("\n\n")[0] + ("\n\n" + body if body else ""))
        session = self.desk.session
        self.leg.invited(session, offer)
        self.desk.events.clear()
        self.leg.answer(16000)
        (answer, _) = self.desk.sent[-1]
        ours = f";tag={tag(answer, 'to')}"
        self.get(head("ACK", to=ours, branch="z9hG4bKack"))
        return ours

    def reinvite(self, ours: str, offer: bytes, number: int = 2) -> Any:
        """Their re-INVITE; our final answer."""
        more = "Content-Type: application/sdp\n" if offer else ""
        text = head("INVITE", to=ours, cseq=number, branch=f"z9hG4bKre{number}", more=more)
        return self.get(text + ("\n\n" + offer.decode().replace("\r\n", "\n") if offer else ""))[-1]

    def ack(self, ours: str, body: bytes, number: int = 2) -> None:
        text = head("ACK", to=ours, cseq=number, branch=f"z9hG4bKa{number}", more="Content-Type: application/sdp\n")
        self.get(text + "\n\n" + body.decode().replace("\r\n", "\n"))

    def ring(self, *places: Peer) -> list[tuple[Session, Request]]:
        """A call of ours to several places; sessions and their INVITEs."""
        made = []
        for peer in places:
            offer = self.leg.offer_to(peer.transport)
            session = self.desk.endpoint.invite(
                parse_uri(f"sip:bob@{peer.host}:{peer.port}"), peer, Address(Uri("sip", "a", "192.0.2.1")), offer, 10.0
            )
            self.leg.ringing_at(session)
            made.append((session, session.invite))
        self.pump()
        return made


def moved(body: bytes, port: int) -> bytes:
    return body.replace(b"127.0.0.1", b"203.0.113.9").replace(b"4000", str(port).encode())


def test_the_answer_to_a_late_offer_in_mid_call_is_used() -> None:
    stand = Stand()
    ours = stand.taken()
    assert stand.wire.remote == ("127.0.0.1", 4000)
    answer = stand.reinvite(ours, b"")
    assert answer.status_code == 200 and b"m=audio 4000" in answer.body
    stand.ack(ours, moved(OFFER, 7776))
    assert stand.wire.remote == ("203.0.113.9", 7776)
    again = stand.reinvite(ours, moved(OFFER, 8888), 3)
    assert again.status_code == 200 and stand.wire.remote == ("203.0.113.9", 8888), "and an ordinary one after it"


def test_a_late_offer_in_mid_call_keeps_the_lines_of_the_session() -> None:
    """RFC 3264 §8: the video that was refused stays, with port 0."""
    stand = Stand()
    ours = stand.taken(OFFER.replace(b"m=audio", VIDEO + b"m=audio"))
    read = sdp.read(stand.reinvite(ours, b"").body)
    assert [kind for kind, _, _ in read.media] == ["video", "audio"]
    assert read.audio is not None and read.audio.index == 1 and {f.name for f in read.audio.formats} == {"PCMU", "PCMA"}


def test_an_answer_that_cannot_be_used_ends_a_call_that_is_up() -> None:
    stand = Stand()
    ours = stand.taken()
    stand.reinvite(ours, b"")
    stand.ack(ours, OFFER.replace(b"AVP 0", b"AVP 18"))
    assert stand.events == [Ended("leg_failed")] and not stand.wire.open


def test_a_call_without_an_offer_talks_once_the_ack_has_the_answer() -> None:
    stand = Stand()
    stand.desk.get(head("INVITE"))
    stand.leg.invited(stand.desk.session, b"")
    stand.desk.events.clear()
    stand.leg.answer(16000)
    ours = f";tag={tag(stand.desk.sent[-1][0], 'to')}"
    stand.ack(ours, moved(OFFER, 7776), 1)
    assert stand.wire.remote == ("203.0.113.9", 7776)


def test_a_session_that_takes_another_ones_place_without_an_offer() -> None:
    stand = Stand()
    stand.taken(OFFER.replace(b"m=audio", VIDEO + b"m=audio"))
    other = Desk()
    other.get(head("INVITE", branch="z9hG4bKother"))
    answer = stand.leg.replace(other.session, b"")
    assert [kind for kind, _, _ in sdp.read(answer).media] == ["audio"], "a session of its own has its own lines"


@pytest.mark.parametrize("way", [b"a=sendonly\r\n", b"a=recvonly\r\n", b"a=inactive\r\n", b"0.0.0.0"])
def test_a_side_on_hold_may_be_silent_and_time_begins_anew_after_it(way: bytes) -> None:
    stand = Stand()
    ours = stand.taken()
    began = stand.desk.now
    assert stand.leg.silent_since() == began, "a peer that never sends a packet is silent since the answer"
    stand.wire.heard_at = began + 2
    assert stand.leg.silent_since() == began + 2
    held = OFFER.replace(b"IP4 127.0.0.1\r\nt=", b"IP4 0.0.0.0\r\nt=") if way == b"0.0.0.0" else OFFER + way
    assert stand.reinvite(ours, held).status_code == 200
    assert stand.leg.held and stand.leg.silent_since() is None
    stand.get(head("ACK", to=ours, cseq=2, branch="z9hG4bKh"))
    stand.desk.now += 100
    assert stand.reinvite(ours, OFFER, 3).status_code == 200
    assert not stand.leg.held and stand.leg.silent_since() == began + 100


def test_what_must_be_encrypted_is_not_taken_plain() -> None:
    stand = Stand("required")
    ours = stand.taken(OFFER.replace(b"RTP/AVP", b"RTP/SAVP") + KEY)
    assert stand.wire.secret
    assert stand.reinvite(ours, OFFER).status_code == 488 and stand.wire.secret
    assert b"RTP/SAVP" in Stand("required").leg.offer_to("udp")
    assert b"RTP/AVP" in Stand("off").leg.offer_to("tls") and b"RTP/SAVP" in Stand().leg.offer_to("tls")


def test_encrypted_media_that_is_refused_is_offered_plain_once() -> None:
    stand = Stand()
    ((session, _),) = stand.ring(Peer("tcp", "192.0.2.7", 5070))
    assert stand.leg.plain_offer(session) is None, "it was plain already"
    secret = Stand()
    secret.leg.offer_to("tls")
    secret.leg.ringing_at(session)
    plain = secret.leg.plain_offer(session)
    assert plain is not None and b"RTP/AVP" in plain and b"crypto" not in plain
    assert secret.leg.plain_offer(session) is None
    strict = Stand("required")
    strict.leg.offer_to("tls")
    strict.leg.ringing_at(session)
    assert strict.leg.plain_offer(session) is None


FIRST, SECOND = Peer("udp", "192.0.2.7", 5070), Peer("udp", "192.0.2.8", 5070)


def contact(peer: Peer) -> str:
    return f"Contact: <sip:bob@{peer.host}:{peer.port}>\n"


def test_who_answers_first_has_the_call_and_the_others_are_let_go() -> None:
    stand = Stand()
    (one, asked), (two, other) = stand.ring(FIRST, SECOND)
    stand.get(reply(asked, 180, more=contact(FIRST)), FIRST)
    sent = stand.get(reply(other, 200, more=contact(SECOND), body=ANSWER), SECOND)
    assert [message.method for message in sent if isinstance(message, Request)] == ["ACK", "CANCEL"]
    assert stand.events == [Ringing(), Answered()] and stand.leg.session is two
    stand.get(reply(asked, 487), FIRST)
    assert one.state == "over" and two.state == "up" and stand.wire.open
    stand.leg.hang_up(LegEnd(200, 0, "", "app"))
    assert two.state == "over"


def test_two_that_answer_at_once_are_one_call() -> None:
    stand = Stand()
    (one, asked), (_, other) = stand.ring(FIRST, SECOND)
    stand.get(reply(asked, 200, more=contact(FIRST), body=ANSWER), FIRST)
    sent = stand.get(reply(other, 200, more=contact(SECOND), body=moved(ANSWER, 9)), SECOND)
    assert [message.method for message in sent if isinstance(message, Request)] == ["ACK", "BYE"]
    assert stand.leg.session is one and stand.events == [Answered()] and stand.wire.remote == ("127.0.0.1", 5000)


@pytest.mark.parametrize(
    ("statuses_", "outcome"), [((486, 404), "unreachable"), ((480, 486), "busy"), ((408, 480), "set_up_timeout")]
)
def test_nobody_takes_it_when_no_place_does(statuses_: tuple[int, int], outcome: str) -> None:
    stand = Stand()
    branches = stand.ring(FIRST, SECOND)
    for (_, asked), peer, status in zip(branches, (FIRST, SECOND), statuses_, strict=True):
        assert not stand.events and stand.wire.open
        stand.get(reply(asked, status), peer)
    assert stand.events == [Refused(outcome)] and not stand.wire.open


def test_one_that_declines_speaks_for_all() -> None:
    stand = Stand()
    (_, asked), (two, other) = stand.ring(FIRST, SECOND)
    stand.get(reply(other, 180, more=contact(SECOND)), SECOND)
    stand.get(reply(asked, 603), FIRST)
    assert two.state == "cancelling"
    stand.get(reply(other, 487), SECOND)
    assert stand.events == [Ringing(), Refused("declined")]


def test_an_app_that_gives_up_lets_every_place_go() -> None:
    stand = Stand()
    branches = stand.ring(FIRST, SECOND)
    for (_, asked), peer in zip(branches, (FIRST, SECOND), strict=True):
        stand.get(reply(asked, 180, more=contact(peer)), peer)
    stand.leg.hang_up(LegEnd(487, 0, "", "app"))
    assert {session.state for session, _ in branches} == {"cancelling"} and not stand.wire.open


def test_the_port_knows_where_signalling_comes_from_and_addresses_as_sockets_write_them() -> None:
    stand = Stand()
    ours = stand.taken()
    assert stand.wire.near == PEER.host
    offer = OFFER.replace(b"IN IP4 127.0.0.1", b"IN IP6 2001:DB8:0:0::1")
    assert stand.reinvite(ours, offer).status_code == 200
    assert stand.wire.remote[0] == "2001:db8::1"
