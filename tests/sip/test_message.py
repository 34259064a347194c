"""What is read of a message, and what is refused for its size, before anything goes through it twice."""

from __future__ import annotations

import pytest
from tests.sip.test_endpoint import Desk, head, invite, our_tag, statuses

from offhook.errors import SipError
from offhook.sip.message import MAX_HEAD, MAX_LINE, MAX_MESSAGE, MAX_VALUES, Request, addresses, encode, parse


def data(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode() + b"\r\n\r\n"


LARGE = {
    "a long line": head("OPTIONS", more="X-A: " + "a" * MAX_LINE),
    "a long header": head("OPTIONS", more="\n".join("X-A: " + "a" * 1000 for _ in range(MAX_HEAD // 1000 + 1))),
    "many lines": head("OPTIONS", more="\n".join("X-A: a" for _ in range(MAX_VALUES))),
    "many values in one line": head("OPTIONS", more="Contact: " + ",".join(["<sip:a@b>"] * MAX_VALUES)),
}


@pytest.mark.parametrize("text", LARGE.values(), ids=LARGE)
def test_a_request_with_too_large_a_header_gets_513(text: str) -> None:
    """RFC 3261 §21.5.7; the answer has what §8.2.6.2 asks for."""
    desk = Desk()
    (answer,) = desk.get_bytes(data(text))
    assert statuses([answer]) == [513] and len(encode(answer)) < 1000
    assert answer.headers.get_first("call-id") == "call@192.0.2.7" and our_tag([answer])
    assert desk.endpoint.idle


def test_what_is_just_not_too_large_is_served() -> None:
    body = "\n".join("X-A: " + "a" * 1000 for _ in range(MAX_HEAD // 1000 - 1))
    assert statuses(Desk().get_bytes(data(head("OPTIONS", more=body)))) == [200]
    assert statuses(Desk().get_bytes(data(invite()) + b"x" * 40_000)) == [100]


def test_a_response_or_a_message_that_is_too_large_is_dropped() -> None:
    answer = "SIP/2.0 200 OK\n" + head("INVITE", more="X-A: " + "a" * MAX_LINE).partition("\n")[2]
    request_line = head("OPTIONS", uri="sip:a@b;x=" + "a" * MAX_LINE)
    for large in (data(answer), data(request_line), data(head("OPTIONS")) + b"x" * MAX_MESSAGE):
        with pytest.raises(SipError):
            parse(large)


def test_an_escaped_quote_and_a_comma_in_a_display_name() -> None:
    contact = '"J \\"x, y" <sip:bob@192.0.2.7:5070>, <sip:other@192.0.2.8>'
    message, fault = parse(data(invite().replace("<sip:bob@192.0.2.7:5070>", contact)))
    assert isinstance(message, Request) and fault is None
    assert [(a.display, a.uri.user) for a in addresses(message, "contact")] == [('J "x, y', "bob"), ("", "other")]


@pytest.mark.parametrize("hops", ["9" * 5000, "256", "-1", "x", "²", "٣"])
def test_max_forwards_that_are_none(hops: str) -> None:
    assert statuses(Desk().get(head("OPTIONS").replace("Max-Forwards: 70", f"Max-Forwards: {hops}"))) == [400]
