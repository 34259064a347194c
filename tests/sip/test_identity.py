"""Who calls by which header, what privacy withholds, and which headers go to the app and back."""

from __future__ import annotations

import pytest

from offhook.errors import SipError
from offhook.sip.identity import Caller, caller_of, custom_headers, identity_headers, write_custom
from offhook.sip.message import Request, parse


def invite(*headers: str, caller: str = '"Bob" <sip:+15550001@gw>;tag=1') -> Request:
    lines = ["INVITE sip:a@b SIP/2.0", "Via: SIP/2.0/UDP h;branch=z9hG4bK1", f"From: {caller}", "To: <sip:a@b>"]
    lines += ["Call-ID: 1", "CSeq: 1 INVITE", *headers, "Content-Length: 0", "", ""]
    message, fault = parse("\r\n".join(lines).encode())
    assert isinstance(message, Request) and fault is None, fault
    return message


ASSERTED = 'P-Asserted-Identity: "Real Bob" <sip:+15559999@carrier;user=phone>, <tel:+15559999>'


def test_from_counts_where_nobody_may_assert() -> None:
    assert caller_of(invite(ASSERTED), trusted=False) == Caller("+15550001", "Bob")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (ASSERTED, Caller("+15559999", "Real Bob")),
        ("P-Asserted-Identity: <tel:+1-555-9999>", Caller("+15559999", "Bob")),
        ('Remote-Party-ID: "RP" <sip:7000@x>;party=calling;privacy=off', Caller("7000", "RP")),
        ("Remote-Party-ID: <sip:7000@x>;privacy=full", Caller("", "", withheld=True)),
        ("P-Asserted-Identity: <<<broken", Caller("+15550001", "Bob")),
        ("P-Asserted-Identity: <mailto:bob@x>", Caller("+15550001", "Bob")),
    ],
)
def test_a_trunk_may_assert(header: str, expected: Caller) -> None:
    assert caller_of(invite(header), trusted=True) == expected


@pytest.mark.parametrize(
    ("privacy", "withheld"),
    [("id", True), ("id;critical", True), ("critical;user", True), ("none", False), ("critical", False)],
)
def test_privacy(privacy: str, withheld: bool) -> None:
    assert caller_of(invite(ASSERTED, f"Privacy: {privacy}"), trusted=True).withheld is withheld


@pytest.mark.parametrize("caller", ["<sip:anonymous@anonymous.invalid>;tag=1", "<sip:x@anonymous.invalid>;tag=1"])
def test_an_anonymous_from(caller: str) -> None:
    assert caller_of(invite(caller=caller), trusted=False).withheld
    assert caller_of(invite(ASSERTED, caller=caller), trusted=True).user == "+15559999"


def test_what_we_say_of_a_caller() -> None:
    source, headers = identity_headers("+15550001", "192.0.2.1", private=True, trusted=True)
    assert source.uri.host == "anonymous.invalid"
    assert dict(headers) == {"P-Asserted-Identity": "<sip:+15550001@192.0.2.1>", "Privacy": "id"}
    _, headers = identity_headers("+15550001", "192.0.2.1", private=True, trusted=False)
    assert "+15550001" not in str(headers), "a withheld number is told to nobody who may not know it"
    source, headers = identity_headers("+15550001", "192.0.2.1", private=False, trusted=False)
    assert str(source) == "<sip:+15550001@192.0.2.1>" and not headers


def test_custom_headers_go_to_the_app() -> None:
    request = invite("User-to-User: 56a390;encoding=hex", "x-ms-custom-Order_7: one, two", "X-Other: no")
    assert custom_headers(request) == {"userToUser": "56a390;encoding=hex", "X-MS-Custom-Order_7": "one, two"}


def test_too_many_and_too_long_custom_headers_are_left_out() -> None:
    many = [f"X-MS-Custom-{n}: {n}" for n in range(30)]
    assert len(custom_headers(invite(*many))) == 16
    assert custom_headers(invite(f"X-MS-Custom-A: {'x' * 2000}", "X-MS-Custom-B: b")) == {"X-MS-Custom-B": "b"}


def test_custom_headers_of_ours() -> None:
    assert write_custom({"user-to-user": "u", "X-MS-Custom-a": "1"}) == [("User-To-User", "u"), ("X-MS-Custom-a", "1")]


@pytest.mark.parametrize(
    "wanted",
    [{"Via": "x"}, {"X-MS-Custom-": "x"}, {"X-MS-Custom-a b": "x"}, {"X-MS-Custom-a": "x\r\nVia: y"}, {"x": "y"}]
    + [{f"X-MS-Custom-{n}": "v" for n in range(17)}],
)
def test_what_cannot_be_sent_is_named(wanted: dict[str, str]) -> None:
    with pytest.raises(SipError):
        write_custom(wanted)
