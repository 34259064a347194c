"""Stories of what real peers do and spell otherwise: each must go on as a plain call does."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from tests.sip.link import ANSWER, OFFER, Answered, Confirmed, Link, Over
from tests.sip.stories import LONG, SETTLE, begin, end, once

from offhook.sip import sdp
from offhook.sip.auth import Account
from offhook.sip.endpoint import Verdict
from offhook.sip.events import Reanswered, Reoffered
from offhook.sip.grammar import parse_uri
from offhook.sip.message import Request, address, addresses
from offhook.sip.sdp import Audio, Format
from offhook.sip.transaction import Peer

TORTURE = [path.read_bytes() for path in sorted((Path(__file__).parents[1] / "fixtures/rfc4475").glob("*.dat"))]
PHONE = Audio("127.0.0.2", 5000, (Format(0, "PCMU", 8000),), {8000: 101}, ptime=20)


def asked(link: Link, request: Request) -> list[int]:
    """The final statuses that a request of ours gets, which no session stands behind."""
    statuses: list[int] = []
    transaction = link.us.endpoint.begin(request, link.us.sessions[0].peer)
    transaction.on_response = lambda answer, now: statuses.append(answer.status_code)
    transaction.start(link.now)
    link.run(SETTLE)
    return statuses


def wrong_tags(link: Link) -> None:
    """A BYE with another From or To tag ends nothing (RFC 3261 §12.2.2)."""
    begin(link)
    session = link.us.sessions[0]
    assert session.dialog is not None
    for change in ("local", "remote"):
        whole = getattr(session.dialog, change)
        other = replace(session.dialog, **{change: whole.tagged("another")})
        bye = other.request("BYE", link.us.endpoint.via(session.peer))
        assert asked(link, bye) == [481]
    assert session.state == link.them.sessions[0].state == "up"
    end(link, link.us)


def cseq_going_back(link: Link) -> None:
    """RFC 3261 §12.2.2: 500, and the call goes on."""
    begin(link)
    session, answers = link.us.sessions[0], list[int]()
    assert session.dialog is not None
    for number in (9, 4, 9, 10):
        session.dialog.local_seq = number
        session.ask("INFO", link.now, on_answer=lambda answer, now: answers.append(answer.status_code))
        link.run(SETTLE)
    assert answers == [200, 500, 500, 200]
    end(link, link.us)


def transport_in_capitals(link: Link) -> None:
    link.bends = lambda who, data: (
        data if who == "proxy" else re.sub(rb"(Contact: <sip:[^>;]*)>", rb"\1;transport=UDP>", data)
    )
    begin(link)
    end(link, link.them)
    once(link.us, Answered)


def names_with_commas(link: Link) -> None:
    name = 'Smith, "Bob" \\ <x>; y=z'
    quoted = b'Contact: "J \\"x, y" <sip:'
    link.bends = lambda who, data: data.replace(b"Contact: <sip:", quoted)
    link.call(name=name)
    link.run(SETTLE)
    invite = link.them.sessions[0].invite
    assert address(invite, "from").display == name
    assert [contact.display for contact in addresses(invite, "contact")] == ['J "x, y']
    end(link, link.them)
    once(link.us, Answered)


def folded_and_compact(link: Link) -> None:
    """RFC 3261 §§7.3.1, 7.3.3, and a Via with blanks round its slashes; noise between."""

    def bends(who: str, data: bytes) -> bytes:
        if who == "proxy":
            return data
        for whole, short in (
            (b"From: ", b"f:\r\n "),
            (b"To: ", b"t :"),
            (b"Call-ID: ", b"i:  "),
            (b"Contact: ", b"m:\t"),
        ):
            data = data.replace(b"\r\n" + whole, b"\r\n" + short)
        return data.replace(b"Content-Length", b"l").replace(b"CSeq: ", b"CSEQ:\r\n\t").replace(b"Supported", b"k")

    link.bends = bends
    for noise in (
        b"\r\n\r\n",
        b"\0" * 100,
        b"GET / HTTP/1.1\r\n\r\n",
        b"INVITE sip:a SIP/2.0\r\n\r\n",
        bytes(range(256)),
    ):
        for side in link.sides:
            side.endpoint.received(noise, link.them.peer, link.now)
    begin(link)
    end(link, link.them)


def torture(link: Link) -> None:
    """The messages of RFC 4475 in the midst of a call."""
    begin(link)
    for side in (link.us, link.them):
        side.guard.verdict = Verdict(403)
        for data in TORTURE:
            side.endpoint.received(data, Peer("udp", "127.0.0.99", 5060), link.now)
    link.flush()
    link.run(SETTLE)
    assert link.us.sessions[0].state == link.them.sessions[0].state == "up"
    end(link, link.us)


def tel_number(link: Link) -> None:
    dialled(link, "tel:+1-201-555-0123;phone-context=example.com", "+12015550123")


def ported_number(link: Link) -> None:
    dialled(link, "sip:+12015550123;npdi;rn=+1201@127.0.0.2;user=phone", "+12015550123;npdi;rn=+1201")


def dialled(link: Link, target: str, user: str) -> None:
    link.call(target=target)
    link.run(SETTLE)
    assert parse_uri(link.them.sessions[0].invite.uri).user == user
    end(link, link.us)
    once(link.us, Answered)


def answering(offer: bytes) -> bytes:
    """A phone that really negotiates."""
    read = sdp.read(offer)
    ours, _ = sdp.answer_to(read, PHONE, bytes)
    return sdp.write(ours, 1, 1, read)


def held_in_both_ways(link: Link) -> None:
    """By sendonly, by the address 0.0.0.0 and by inactive (RFC 3264 §8.4), and back each time."""
    link.answer = answering
    nowhere = OFFER.replace(b"c=IN IP4 127.0.0.1", b"c=IN IP4 0.0.0.0")
    changes = [
        (OFFER + b"a=sendonly\r\n", "recvonly"),
        (OFFER, "sendrecv"),
        (nowhere, "sendrecv"),
        (OFFER + b"a=inactive\r\n", "inactive"),
        (OFFER, "sendrecv"),
    ]
    begin(link)
    for number, (offer, direction) in enumerate(changes, 1):
        assert link.us.sessions[0].reoffer(offer, link.now)
        link.run(SETTLE)
        offers = [event.offer for event in link.them.events if isinstance(event, Reoffered)]
        answers = [event.body for event in link.us.events if isinstance(event, Reanswered)]
        heard, said = sdp.read(offers[-1]).audio, sdp.read(answers[-1]).audio
        assert len(offers) == len(answers) == number and heard is not None and said is not None
        assert heard.held is (offer != OFFER) and said.direction == direction
    end(link, link.them)


def key_clocks(link: Link) -> None:
    """An offer with three clocks of telephone-event (RFC 4733 §2.1): keys are sent at the codec's, taken at any."""
    clocks = {8000: 97, 16000: 100, 48000: 101}
    offered = Audio("127.0.0.1", 4000, (Format(0, "PCMU", 8000),), clocks, ptime=20)
    link.answer = answering
    link.call(offer=sdp.write(offered, 1, 1))
    link.run(SETTLE)
    (told,) = [event for event in link.us.events if isinstance(event, Answered)]
    assert sdp.agree(offered, sdp.read(told.body).audio).send_event == 97
    _, theirs = sdp.answer_to(sdp.read(link.them.sessions[0].invite.body), PHONE, bytes)
    assert theirs.receive_events == {97: 8000, 100: 16000, 101: 48000}
    end(link, link.us)


def moved(link: Link) -> None:
    """302: the caller tries where it is told to (RFC 3261 §8.1.3.4)."""
    link.them.answers = False
    link.call()
    link.run(SETTLE)
    link.them.sessions[0].refuse(302, link.now, [("Contact", "<sip:bob@127.0.0.3>;q=1, <sip:old@127.0.0.9>;q=0.5")])
    link.run(SETTLE)
    (over,) = link.us.named(Over)
    assert isinstance(over, Over) and over.contacts == ("sip:bob@127.0.0.3", "sip:old@127.0.0.9")
    again = link.call(target=over.contacts[0], to=link.third)
    link.run(SETTLE)
    assert again.state == link.third.sessions[0].state == "up"
    again.hang_up(link.now)
    link.run(LONG)


def asked_by_a_proxy(link: Link) -> None:
    """407, by MD5 with two kinds of protection and a comma in the realm."""
    guarded(link, 'Digest realm="a, b", nonce="n", qop="auth,auth-int"')


def asked_for_sha_256(link: Link) -> None:
    guarded(link, 'Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth"')


def guarded(link: Link, challenge: str) -> None:
    def admit(request: Request, peer: Peer, now: float) -> Verdict:
        given = request.headers.get_first("proxy-authorization") or ""
        asks = (("Proxy-Authenticate", challenge),)
        return Verdict() if 'username="alice"' in given and 'nonce="n"' in given else Verdict(407, headers=asks)

    link.them.guard.admit = admit  # type: ignore[method-assign]
    link.account = Account("alice", "secret")
    begin(link)
    ack = [m for _, who, m in link.log if who == "us" and isinstance(m, Request) and m.method == "ACK"][-1]
    assert ack.headers.get_first("proxy-authorization"), "the ACK of a 2xx takes them along (RFC 3261 §22.1)"
    end(link, link.us)
    once(link.us, Answered)


def refused_with_480(link: Link) -> None:
    refused_by_the_phone(link, 480)


def refused_with_603(link: Link) -> None:
    refused_by_the_phone(link, 603)


def refused_by_the_phone(link: Link, status: int) -> None:
    """By the phone and not at the door: with a transaction and its ACK."""
    link.them.answers = False
    link.call()
    link.run(SETTLE)
    link.them.sessions[0].refuse(status, link.now)
    link.run(LONG)
    assert link.us.story[-1] == f"Over {status}" and link.them.story == ["Incoming", f"Over {status}"]


def late_answer(link: Link) -> None:
    """A re-INVITE without an offer: theirs comes in the 200, our answer in the ACK; it changes nothing else."""
    begin(link)
    assert link.them.sessions[0].reoffer(b"", link.now)
    link.run(SETTLE)
    offers = [event.offer for event in link.us.events if isinstance(event, Reoffered)]
    answers = [event.body for event in link.them.events if isinstance(event, Reanswered)]
    assert offers == [b""] and answers == [OFFER]
    assert len([e for e in link.us.events if isinstance(e, Confirmed) and not e.first]) == 1
    end(link, link.us)


def early_media_without_a_second_answer(link: Link) -> None:
    """183 with the answer, reliably, then a 200 without one (RFC 3262 §5)."""
    link.them.answers = False
    link.call()
    link.run(SETTLE)
    theirs = link.them.sessions[0]
    theirs.ring(link.now, 183, ANSWER)
    link.run(SETTLE)
    theirs.accept(b"", link.now)
    link.run(SETTLE)
    (told,) = link.us.named(Answered)
    assert isinstance(told, Answered) and told.body == ANSWER
    end(link, link.us)
