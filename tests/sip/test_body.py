"""Bodies: descriptions alone and among others, and what cannot be read (RFC 3261 §8.2.3, RFC 5621)."""

from __future__ import annotations

import pytest
from tests.sip.link import ANSWER, OFFER
from tests.sip.test_endpoint import Desk, answered, dial, head, invite, reply, statuses

from offhook.sip.events import Answered, Incoming, Reoffered

SDP = OFFER.decode().replace("\r\n", "\n")
MIXED = f"--x y\nContent-Type: text/plain\n\nhello\n--x y\nContent-Type: application/sdp\n\n{SDP}--x y--\n"
KIND = 'Content-Type: multipart/mixed;boundary="x y"\n'


def mixed(**settings: object) -> str:
    text = head("INVITE", more=KIND, **settings)  # type: ignore[arg-type]
    return text + f"\nContent-Length: {len(MIXED)}\n\n" + MIXED


def crlf(text: str) -> bytes:
    top, _, body = text.partition("\n\n")
    lines = [line for line in top.split("\n") if not line.startswith("Content-Length")]
    made = body.replace("\n", "\r\n").encode()
    return "\r\n".join([*lines, f"Content-Length: {len(made)}"]).encode() + b"\r\n\r\n" + made


def test_a_description_among_other_parts() -> None:
    """In an INVITE, in a re-INVITE and in an answer."""
    desk = Desk()
    desk.get_bytes(crlf(mixed()))
    (incoming,) = [e for e in desk.events if isinstance(e, Incoming)]
    assert incoming.offer == OFFER
    desk = Desk()
    desk.get(mixed())
    assert [e.offer for e in desk.events if isinstance(e, Incoming)] == [SDP.encode().rstrip() + b"\r\n"]
    desk = Desk()
    tag = answered(desk)
    desk.get_bytes(crlf(mixed(to=tag, cseq=2, branch="z9hG4bKre")))
    (again,) = [e for e in desk.events if isinstance(e, Reoffered)]
    assert again.offer == OFFER
    desk = Desk()
    _, ours = dial(desk)
    text = reply(ours, 200, more="Contact: <sip:bob@192.0.2.7:5070>\n" + KIND).rstrip("\n")
    desk.get_bytes(crlf(text + "\n\n" + MIXED))
    (told,) = [e for e in desk.events if isinstance(e, Answered)]
    assert told.body == OFFER


UNREADABLE = [
    ("Content-Type: text/plain\n", "accept"),
    ("Content-Type: multipart/mixed\n", "accept"),
    ("Content-Type: multipart/mixed;boundary=other\n", "accept"),
    ("Content-Type: application/sdp\nContent-Encoding: gzip\n", "accept-encoding"),
]


@pytest.mark.parametrize(("more", "named"), UNREADABLE)
@pytest.mark.parametrize("method", ["INVITE", "UPDATE", ""])
def test_a_body_that_we_cannot_read(method: str, more: str, named: str) -> None:
    """415 says what can be read, to a new call and within one."""
    desk = Desk()
    tag = answered(desk) if method else ""
    text = head(method or "INVITE", to=tag, cseq=2, branch="z9hG4bKre", more=more) + "\n\n" + SDP
    final = desk.get(text)[-1]
    assert statuses([final]) == [415] and final.headers.get_first(named)
    assert not [e for e in desk.events if isinstance(e, Reoffered)]


def test_what_may_be_passed_over_is() -> None:
    more = "Content-Type: text/plain\nContent-Disposition: render;handling=optional\n"
    desk = Desk()
    desk.get(head("INVITE", more=more) + "\n\nhello")
    assert statuses(desk.take()) == [] and isinstance(desk.events[0], Incoming) and desk.events[0].offer == b""
    assert statuses(Desk().get(invite(more="Content-Encoding: identity\n"))) == [100]


def test_who_is_not_let_in_does_not_hear_what_we_can_read() -> None:
    desk = Desk()
    desk.guard.verdict = type(desk.guard.verdict)(403)
    assert statuses(desk.get(head("INVITE", more="Content-Type: text/plain\nRequire: x\n") + "\n\nhello")) == [403]


def test_an_encoded_answer_is_none() -> None:
    desk = Desk()
    _, ours = dial(desk)
    more = "Contact: <sip:bob@192.0.2.7:5070>\nContent-Encoding: gzip\n"
    desk.get(reply(ours, 200, more=more, body=ANSWER))
    (told,) = [e for e in desk.events if isinstance(e, Answered)]
    assert told.body == b""
