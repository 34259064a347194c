"""One endpoint and hand-written peers: routing, matching, refusals, and the odd things that real peers send."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
from tests.sip.link import ANSWER, OFFER, Open

from offhook.sip.auth import Account
from offhook.sip.endpoint import Settings, SipEndpoint, Verdict
from offhook.sip.events import Answered, Incoming, Over, Reanswered
from offhook.sip.grammar import Address, Uri, parse_uri
from offhook.sip.message import Message, Request, Response, address, parse, tokens, vias
from offhook.sip.session import Session
from offhook.sip.transaction import Peer

PEER = Peer("udp", "192.0.2.7", 5070)


@dataclass
class Desk:
    """An endpoint with its packets and its incoming sessions, on a clock that is a number."""

    guard: Open = field(default_factory=Open)
    settings: Settings = field(
        default_factory=lambda: Settings({"udp": ("192.0.2.1", 5060), "tcp": ("192.0.2.1", 5060)})
    )
    now: float = 10.0

    def __post_init__(self) -> None:
        words = (f"w{n}" for n in itertools.count())
        self.endpoint = SipEndpoint(self.settings, self.guard, lambda: next(words), lambda: 0.5)
        self.sent: list[tuple[Message, Peer]] = []
        self.events: list[object] = []

    def get(self, text: str, peer: Peer = PEER) -> list[Message]:
        """Receive a message; what is sent because of it."""
        head, _, body = text.partition("\n\n")
        length = "" if "content-length" in head.lower() else f"\nContent-Length: {len(body.encode())}"
        data = (head + length).replace("\n", "\r\n").encode() + b"\r\n\r\n" + body.encode()
        return self.get_bytes(data, peer)

    def get_bytes(self, data: bytes, peer: Peer = PEER) -> list[Message]:
        self.endpoint.received(data, peer, self.now)
        return self.take()

    def take(self) -> list[Message]:
        packets = [(parse(data)[0], to) for data, to in self.endpoint.drain_packets()]
        self.sent += packets
        self.events += self.endpoint.drain_events()
        return [message for message, _ in packets]

    def wait(self, seconds: float) -> list[Message]:
        self.now += seconds
        self.endpoint.advance(self.now)
        return self.take()

    @property
    def session(self) -> Session:
        (incoming,) = [event for event in self.events if isinstance(event, Incoming)]
        return incoming.session


def head(method: str, *, to: str = "", cseq: int = 1, branch: str = "z9hG4bKone", more: str = "", uri: str = "") -> str:
    return (
        f"{method} {uri or 'sip:4567@192.0.2.1'} SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.7:5070;branch={branch}\n"
        f'Max-Forwards: 70\nFrom: "Bob, the builder" <sip:bob@192.0.2.7>;tag=them\nTo: <sip:4567@192.0.2.1>{to}\n'
        f"Call-ID: call@192.0.2.7\nCSeq: {cseq} {method}\nContact: <sip:bob@192.0.2.7:5070>\n{more}"
    ).rstrip("\n")


def invite(**settings: object) -> str:
    more = str(settings.pop("more", "")) + "Content-Type: application/sdp\n"
    return head("INVITE", more=more, **settings) + "\n\n" + OFFER.decode().replace("\r\n", "\n")  # type: ignore[arg-type]


def statuses(messages: list[Message]) -> list[int]:
    return [message.status_code for message in messages if isinstance(message, Response)]


def our_tag(messages: list[Message]) -> str:
    return ";tag=" + (address(messages[-1], "to").tag or "")


def answered(desk: Desk, text: str = "") -> str:
    """A call that we have answered and they have acknowledged; the To tag."""
    desk.get(text or invite())
    desk.session.accept(ANSWER, desk.now)
    tag = our_tag(desk.take())
    desk.get(head("ACK", to=tag, branch="z9hG4bKack"))
    return tag


# as the called side -------------------------------------------------------------------------------------------------


def test_the_same_invite_three_times_is_one_call() -> None:
    desk = Desk()
    assert statuses(desk.get(invite())) == [100]
    assert statuses(desk.get(invite())) == [100]
    desk.session.accept(ANSWER, desk.now)
    first = desk.take()
    assert statuses(first) == [200]
    assert desk.get(invite()) == []  # the dialog repeats its 200 by its own clock (RFC 6026 §7.1)
    assert statuses(desk.wait(0.5)) == [200]
    assert len([e for e in desk.events if isinstance(e, Incoming)]) == 1


def test_the_same_request_by_two_ways_is_refused_once() -> None:
    desk = Desk()
    desk.get(invite())
    assert statuses(desk.get(invite(branch="z9hG4bKtwo"))) == [482]


@pytest.mark.parametrize("tag", [";tag=wrong", ""])
def test_a_bye_of_no_dialog(tag: str) -> None:
    desk = Desk()
    answered(desk)
    assert statuses(desk.get(head("BYE", to=tag, cseq=2, branch="z9hG4bKbye"))) == [481]
    assert desk.session.state == "up"


def test_a_bye_with_another_from_tag() -> None:
    desk = Desk()
    tag = answered(desk)
    bye = head("BYE", to=tag, cseq=2, branch="z9hG4bKbye").replace("tag=them", "tag=other")
    assert statuses(desk.get(bye)) == [481] and desk.session.state == "up"


def test_a_cseq_that_goes_back() -> None:
    desk = Desk()
    tag = answered(desk)
    assert statuses(desk.get(head("INFO", to=tag, cseq=5, branch="z9hG4bKi5"))) == [200]
    assert statuses(desk.get(head("INFO", to=tag, cseq=4, branch="z9hG4bKi4"))) == [500]
    assert statuses(desk.get(head("BYE", to=tag, cseq=6, branch="z9hG4bKb"))) == [200]
    assert desk.session.state == "over"


def test_two_record_routes_as_the_called_side() -> None:
    """Requests of ours go to the target by the routes in their order (RFC 3261 §12.1.1)."""
    desk = Desk()
    routes = "Record-Route: <sip:192.0.2.20;lr>, <sip:192.0.2.30:5080;lr>\n"
    answered(desk, invite(more=routes))
    assert [v for m, _ in desk.sent for v in m.headers.get("record-route")][:2] == [
        "<sip:192.0.2.20;lr>",
        "<sip:192.0.2.30:5080;lr>",
    ]
    desk.session.hang_up(desk.now)
    (bye,) = desk.take()
    assert isinstance(bye, Request) and bye.uri == "sip:bob@192.0.2.7:5070"
    assert bye.headers.get("route") == ["<sip:192.0.2.20;lr>", "<sip:192.0.2.30:5080;lr>"]
    assert desk.sent[-1][1] == Peer("udp", "192.0.2.20", 5060)


def test_a_strict_router() -> None:
    """Its URI is the Request-URI and the target the last route (RFC 3261 §12.2.1.1)."""
    desk = Desk()
    answered(desk, invite(more="Record-Route: <sip:192.0.2.20>\n"))
    desk.session.hang_up(desk.now)
    (bye,) = desk.take()
    assert isinstance(bye, Request) and bye.uri == "sip:192.0.2.20"
    assert bye.headers.get("route") == ["<sip:bob@192.0.2.7:5070>"]


def test_transport_in_capitals_in_the_contact() -> None:
    desk = Desk()
    text = invite().replace("<sip:bob@192.0.2.7:5070>", "<sip:bob@192.0.2.7:5070;transport=UDP>")
    answered(desk, text)
    desk.session.hang_up(desk.now)
    (bye,) = desk.take()
    assert isinstance(bye, Request) and desk.sent[-1][1] == PEER


def test_answers_go_where_rport_says() -> None:
    desk = Desk()
    nat = Peer("udp", "198.51.100.9", 40000)
    (trying,) = desk.get(invite().replace("branch=", "rport;branch="), nat)
    assert desk.sent[-1][1] == nat
    top = vias(trying)[0]
    assert (top.params["received"], top.params["rport"]) == ("198.51.100.9", "40000")
    desk.session.accept(ANSWER, desk.now)
    desk.take()
    desk.get(head("ACK", to=our_tag([m for m, _ in desk.sent]), branch="z9hG4bKack"), nat)
    desk.session.hang_up(desk.now)
    desk.take()
    assert desk.sent[-1][1] == nat, "their Contact cannot be reached: the way their packets come can"


def test_without_rport_answers_go_to_the_port_of_the_via() -> None:
    desk = Desk()
    desk.get(invite(), Peer("udp", "198.51.100.9", 40000))
    assert desk.sent[-1][1] == Peer("udp", "198.51.100.9", 5070)


def test_a_peer_of_rfc_2543_without_unique_branches() -> None:
    desk = Desk()
    text = invite().replace(";branch=z9hG4bKone", "")
    assert statuses(desk.get(text)) == [100]
    assert statuses(desk.get(text)) == [100]
    desk.session.refuse(486, desk.now)
    assert statuses(desk.take()) == [486]
    ack = head("ACK", to=our_tag([m for m, _ in desk.sent])).replace(";branch=z9hG4bKone", "")
    assert desk.get(ack) == []
    assert desk.wait(10) == [], "the refusal is acknowledged and not repeated"


def test_folded_and_compact_headers_and_blanks_in_a_via() -> None:
    desk = Desk()
    text = (
        "INVITE sip:4567@192.0.2.1 SIP/2.0\nv: SIP / 2.0 / UDP\n 192.0.2.7 : 5070 ; branch=z9hG4bKx\nf: Bob\n"
        " <sip:bob@x>\n\t;tag=them\nt: sip:4567@192.0.2.1\ni: c1\nCSeq:  1\n   INVITE\n"
        "m: <sip:bob@192.0.2.7>\nc: application/sdp"
    )
    assert statuses(desk.get(text + "\n\n" + OFFER.decode().replace("\r\n", "\n"))) == [100]
    assert desk.session.invite.headers.get_first("call-id") == "c1"


@pytest.mark.parametrize(
    ("uri", "user"),
    [
        ("tel:+1-201-555-0123;phone-context=example.com", "+12015550123"),
        ("sip:+12015550123;npdi;rn=+1201@192.0.2.1;user=phone", "+12015550123;npdi;rn=+1201"),
        ("sip:4567@[2001:db8::1]:5060", "4567"),
        ("sips:4567@192.0.2.1", "4567"),
        ("sip:%34567@192.0.2.1", "4567"),
    ],
)
def test_numbers_in_many_forms(uri: str, user: str) -> None:
    desk = Desk()
    assert statuses(desk.get(invite(uri=uri))) == [100]
    assert parse_uri(desk.session.invite.uri).user == user


def test_our_contact_in_a_call_of_sips_is_one_of_sips() -> None:
    """RFC 3261 §12.1.1; with the port that speaks TLS, where there is one."""
    for local, contact in (
        ({"udp": ("192.0.2.1", 5060)}, "<sips:offhook@192.0.2.1:5060>"),
        ({"udp": ("192.0.2.1", 5060), "tls": ("192.0.2.1", 5061)}, "<sips:offhook@192.0.2.1:5061>"),
    ):
        desk = Desk(settings=Settings(local))
        desk.get(invite(uri="sips:4567@192.0.2.1"))
        desk.session.accept(ANSWER, desk.now)
        assert desk.take()[-1].headers.get("contact") == [contact]
        caller = Address(Uri("sip", "4567", "192.0.2.1"))
        desk.endpoint.invite(parse_uri("sips:bob@192.0.2.7"), PEER, caller, OFFER, desk.now)
        assert desk.take()[-1].headers.get("contact") == [contact]


def test_ipv6_without_a_nat() -> None:
    """A Via's brackets are no NAT: a BYE goes to the Contact."""
    desk = Desk(settings=Settings({"udp": ("[2001:db8::1]", 5060)}))
    text = invite().replace("192.0.2.7:5070;branch", "[2001:db8::7]:5070;rport;branch")
    text = text.replace("<sip:bob@192.0.2.7:5070>", "<sip:bob@[2001:db8::9]:5080>")
    peer = Peer("udp", "2001:db8::7", 5070)
    desk.get(text, peer)
    desk.session.accept(ANSWER, desk.now)
    desk.get(head("ACK", to=our_tag(desk.take()), branch="z9hG4bKack"), peer)
    desk.session.hang_up(desk.now)
    desk.take()
    assert desk.sent[-1][1] == Peer("udp", "2001:db8::9", 5080)


# refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (head("OPTIONS"), 200),
        (head("FETCH"), 501),
        (head("MESSAGE"), 405),
        (head("SUBSCRIBE"), 489),
        (head("REGISTER"), 403),
        (head("INFO"), 481),
        (head("CANCEL"), 481),
        (head("INVITE", more="Require: 100rel, magic\n"), 420),
        (invite().replace("application/sdp", "text/plain"), 415),
        (invite().replace("SIP/2.0\nVia", "SIP/7.0\nVia"), 505),
        (invite().replace("CSeq: 1 INVITE", "CSeq: 1 BYE"), 400),
        (invite(uri="http://example.com/"), 416),
        (invite().replace("Max-Forwards: 70", "Max-Forwards: 300"), 400),
        (invite(more="Content-Length: 9999\n"), 400),
        (invite(more="Call-ID: another\n"), 400),
        (invite(more="Record-Route: <sip:\n"), 400),
    ],
)
def test_what_gets_which_answer(text: str, status: int) -> None:
    desk = Desk()
    assert statuses(desk.get(text)) == [status]
    assert not desk.events


def test_an_unknown_requirement_is_named() -> None:
    desk = Desk()
    (answer,) = desk.get(head("INVITE", more="Require: magic, timer, spells\n"))
    assert tokens(answer, "unsupported") == {"magic", "spells"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"\x00" * 200,
        b"\x80\x00" + bytes(170),
        b"GET / HTTP/1.1\r\n\r\n",
        b"INVITE sip:a@b SIP/2.0\r\n\r\n",
        b"SIP/2.0 200 OK\r\n\r\n",
        b"SIP/2.0 abc OK\r\nVia: SIP/2.0/UDP a\r\n\r\n",
        b"SIP/2.0 2000 OK\r\nVia: SIP/2.0/UDP a\r\n\r\n",
        b"INVITE sip:a@b SIP/2.0\r\nVia: x\r\nFrom: a\r\nTo: b\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\r\n",
        bytes(range(256)) * 300,
    ],
)
def test_garbage_is_counted_and_gets_nothing(data: bytes) -> None:
    desk = Desk()
    assert desk.get_bytes(data) == [] and not desk.events
    assert desk.endpoint.idle


def test_a_guard_may_stay_silent() -> None:
    desk = Desk()
    desk.guard.verdict = Verdict(-1)
    assert desk.get(invite()) == [] and not desk.events
    assert desk.endpoint.idle


# as the calling side ------------------------------------------------------------------------------------------------


def dial(desk: Desk, peer: Peer = PEER, account: Account | None = None) -> tuple[Session, Request]:
    caller = Address(Uri("sip", "4567", "192.0.2.1"))
    session = desk.endpoint.invite(parse_uri("sip:bob@192.0.2.7:5070"), peer, caller, OFFER, desk.now, account=account)
    (invite,) = desk.take()
    assert isinstance(invite, Request)
    return session, invite


def reply(request: Request, status: int, tag: str = "them", more: str = "", body: bytes = b"") -> str:
    lines = [f"SIP/2.0 {status} Word"]
    for name in ("Via", "From", "To", "Call-ID", "CSeq"):
        lines += [f"{name}: {value}" for value in request.headers.get(name)]
    text = "\n".join(lines).replace("\nTo: ", "\nTo: ") + "\n" + more
    if status > 100:
        to = request.headers.get("to")[0]
        text = text.replace(f"To: {to}", f"To: {to};tag={tag}")
    kind = "Content-Type: application/sdp\n" if body else ""
    return (text + kind).rstrip("\n") + "\n\n" + body.decode().replace("\r\n", "\n")


def test_ack_and_bye_follow_contact_and_two_record_routes() -> None:
    desk = Desk()
    session, invite = dial(desk)
    routes = "Record-Route: <sip:192.0.2.30;lr>\nRecord-Route: <sip:192.0.2.20:5082;lr>\nContact: <sip:b2@192.0.2.99>\n"
    (ack,) = desk.get(reply(invite, 200, more=routes, body=ANSWER))
    assert isinstance(ack, Request) and ack.uri == "sip:b2@192.0.2.99"
    assert ack.headers.get("route") == ["<sip:192.0.2.20:5082;lr>", "<sip:192.0.2.30;lr>"]
    assert desk.sent[-1][1] == Peer("udp", "192.0.2.20", 5082)
    session.hang_up(desk.now)
    (bye,) = desk.take()
    assert isinstance(bye, Request) and bye.uri == "sip:b2@192.0.2.99"
    assert bye.headers.get("route") == ack.headers.get("route")


def test_a_phone_behind_a_nat_that_we_call() -> None:
    """Its private Contact cannot be reached from here; the place that answers can. A public one is followed."""
    place = Peer("udp", "198.51.100.9", 40000)
    for contact, to in (("192.168.1.5:5060", place), ("192.0.2.99:5080", Peer("udp", "192.0.2.99", 5080))):
        desk = Desk()
        session, ours = dial(desk, place)
        desk.get(reply(ours, 200, more=f"Contact: <sip:bob@{contact}>\n", body=ANSWER), place)
        assert desk.sent[-1][1] == to
        session.hang_up(desk.now)
        (bye,) = desk.take()
        assert isinstance(bye, Request) and bye.uri == f"sip:bob@{contact}" and desk.sent[-1][1] == to


def test_a_repeated_200_gets_its_ack_again() -> None:
    desk = Desk()
    _, invite = dial(desk)
    text = reply(invite, 200, more="Contact: <sip:bob@192.0.2.7:5070>\n", body=ANSWER)
    (first,) = desk.get(text)
    desk.wait(1)
    (second,) = desk.get(text)
    assert bytes(first) == bytes(second)
    assert len([e for e in desk.events if isinstance(e, Answered)]) == 1


def test_a_forked_call_keeps_the_first_and_hangs_up_the_others() -> None:
    desk = Desk()
    session, invite = dial(desk)
    desk.get(reply(invite, 180, "one", "Contact: <sip:one@192.0.2.7>\n"))
    desk.get(reply(invite, 180, "two", "Contact: <sip:two@192.0.2.8>\n"))
    desk.get(reply(invite, 200, "two", "Contact: <sip:two@192.0.2.8>\n", ANSWER))
    assert session.state == "up" and session.dialog is not None and session.dialog.remote.tag == "two"
    sent = desk.get(reply(invite, 200, "one", "Contact: <sip:one@192.0.2.7>\n", ANSWER))
    assert [m.method for m in sent if isinstance(m, Request)] == ["ACK", "BYE"]
    assert all(address(m, "to").tag == "one" for m in sent)
    assert session.state == "up"
    session.hang_up(desk.now)
    (bye,) = desk.take()
    assert address(bye, "to").tag == "two"
    desk.wait(80)
    assert desk.endpoint.idle


def test_a_response_that_nobody_asked_for() -> None:
    desk = Desk()
    _, invite = dial(desk)
    stranger = reply(invite, 200, body=ANSWER).replace("branch=z9hG4bK", "branch=z9hG4bKnot")
    assert desk.get(stranger) == []
    assert desk.endpoint.counters.stray == 1


@pytest.mark.parametrize(
    ("status", "header", "challenge"),
    [
        (401, "authorization", 'WWW-Authenticate: Digest realm="r", nonce="n"\n'),
        (407, "proxy-authorization", 'Proxy-Authenticate: Digest realm="a, b", nonce="n", qop="auth,auth-int"\n'),
        (
            407,
            "proxy-authorization",
            'Proxy-Authenticate: Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth"\n',
        ),
    ],
)
def test_a_challenge_is_met_once(status: int, header: str, challenge: str) -> None:
    desk = Desk()
    session, invite = dial(desk, account=Account("alice", "secret"))
    sent = desk.get(reply(invite, status, more=challenge))
    ack, again = sent
    assert isinstance(ack, Request) and ack.method == "ACK"
    assert isinstance(again, Request) and again.headers.get_first("cseq") == "2 INVITE"
    assert 'username="alice"' in (again.headers.get_first(header) or "") and "secret" not in str(again)
    assert vias(again)[0].branch != vias(invite)[0].branch
    desk.get(reply(again, status, more=challenge))
    assert session.state == "over"
    (over,) = [e for e in desk.events if isinstance(e, Over)]
    assert over.status == status


def test_a_challenge_within_a_call_is_met_once() -> None:
    desk = Desk()
    session, invite = dial(desk, account=Account("alice", "secret"))
    desk.get(reply(invite, 200, more="Contact: <sip:bob@192.0.2.7:5070>\n", body=ANSWER))
    assert session.reoffer(OFFER, desk.now)
    (again,) = desk.take()
    challenge = 'Proxy-Authenticate: Digest realm="r", nonce="n"\n'
    assert isinstance(again, Request)
    ack, tried = desk.get(reply(again, 407, more=challenge))
    assert isinstance(tried, Request) and tried.headers.get_first("proxy-authorization")
    (last,) = desk.get(reply(tried, 407, more=challenge))
    assert isinstance(last, Request) and last.method == "ACK", "a second refusal is not met with a third try"
    (told,) = [e for e in desk.events if isinstance(e, Reanswered)]
    assert told.status == 407 and session.state == "up"


def test_a_challenge_that_we_have_nothing_for() -> None:
    desk = Desk()
    session, invite = dial(desk)
    desk.get(reply(invite, 407, more='Proxy-Authenticate: Digest realm="r", nonce="n"\n'))
    assert session.state == "over"


def test_moved_says_where_to() -> None:
    desk = Desk()
    _, invite = dial(desk)
    desk.get(reply(invite, 302, more="Contact: <sip:new@192.0.2.50>;q=1, <sip:old@192.0.2.51>;q=0.5\n"))
    (over,) = [e for e in desk.events if isinstance(e, Over)]
    assert (over.status, over.contacts) == (302, ("sip:new@192.0.2.50", "sip:old@192.0.2.51"))
