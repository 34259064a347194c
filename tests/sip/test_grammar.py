"""URIs, addresses and Via values as they come, and back to text again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.errors import SipError
from offhook.sip.framing import Framer
from offhook.sip.grammar import (
    Address,
    Uri,
    parse_address,
    parse_cseq,
    parse_host_port,
    parse_params,
    parse_uri,
    parse_via,
    split_outside,
)
from offhook.sip.message import MAX_MESSAGE


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("sip:bob@example.com", Uri("sip", "bob", "example.com")),
        ("SIP:bob@example.com", Uri("sip", "bob", "example.com")),
        ("sips:bob:secret@[2001:db8::1]:5061;lr", Uri("sips", "bob", "[2001:db8::1]", 5061, {"lr": None})),
        ("sip:%61b%20c@h?Subject=x%26y&A=", Uri("sip", "ab c", "h", None, {}, {"Subject": "x&y", "A": ""})),
        ("sip:host_with_underscore:5060", Uri("sip", None, "host_with_underscore", 5060)),
        ("sip:+1;npdi;rn=2@h;user=phone", Uri("sip", "+1;npdi;rn=2", "h", None, {"user": "phone"})),
        ("sip:#12*@h", Uri("sip", "#12*", "h")),
        ("tel:+1-201-555-0123;ext=4", Uri("tel", "+12015550123", "", None, {"ext": "4"})),
        ("urn:service:sos", Uri("urn", None, "service:sos")),
    ],
)
def test_uris(text: str, uri: Uri) -> None:
    assert parse_uri(text) == uri
    assert parse_uri(str(uri)) == uri


@pytest.mark.parametrize(
    "text", ["", "bob", "sip:", "sip:bob@", "sip:h:99999", "sip:h:x", "sip:[::1", "1:2", "sip:a b@h c"]
)
def test_what_is_no_uri(text: str) -> None:
    with pytest.raises(SipError):
        parse_uri(text)


@pytest.mark.parametrize(
    ("text", "display", "user", "tag"),
    [
        ("<sip:a@h>", "", "a", None),
        ("sip:a@h;tag=1", "", "a", "1"),
        ("sip:a;x=y@h;tag=1", "", "a;x=y", "1"),
        ('"B, \\"C\\" <d>" <sip:a@h;lr>;tag=1;x', 'B, "C" <d>', "a", "1"),
        ("Bob Smith <sip:a@h> ; tag = 1", "Bob Smith", "a", "1"),
        ("<tel:+1>;tag=1", "", "+1", "1"),
    ],
)
def test_addresses(text: str, display: str, user: str, tag: str | None) -> None:
    address = parse_address(text)
    assert (address.display, address.uri.user, address.tag) == (display, user, tag)
    assert parse_address(str(address)) == address


@pytest.mark.parametrize("text", ["", "<sip:a@h", '"Bob <sip:a@h>', '"Bob" sip:a@h', "Bob", "<>"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(SipError):
        parse_address(text)


def test_a_via_in_every_form() -> None:
    via = parse_via("SIP / 2.0 /\tudp  h.example : 5060 ; branch=z9hG4bK1;rport;received=1.2.3.4")
    assert (via.transport, via.sent_by, via.branch) == ("UDP", ("h.example", 5060), "z9hG4bK1")
    assert str(via) == "SIP/2.0/UDP h.example:5060;branch=z9hG4bK1;rport;received=1.2.3.4"
    assert parse_via("SIP/2.0/TCP [::1]").host == "[::1]"
    for text in ("", "SIP/2.0/UDP", "SIP/x/UDP h", "HTTP/1.1 h", "SIP/2.0/UDP h:port"):
        with pytest.raises(SipError):
            parse_via(text)


def test_the_rest() -> None:
    assert parse_cseq(" 1   INVITE ") == (1, "INVITE")
    for text in ("", "1", "INVITE", "2147483648 INVITE", "-1 INVITE", "1 IN VITE", "99999999999 BYE"):
        with pytest.raises(SipError):
            parse_cseq(text)
    assert parse_params(' a ; B = "x;y" ;c=') == {"a": None, "b": '"x;y"', "c": ""}
    assert split_outside('a, "b,c", <d,e>,, f', ",") == ["a", '"b,c"', "<d,e>", "f"]
    assert parse_host_port(" h : 1 ") == ("h", 1)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_one_error(text: str) -> None:
    for parse in (parse_uri, parse_address, parse_via, parse_cseq, parse_host_port):
        try:
            parse(text)
        except SipError as error:
            assert str(error)


@given(st.text(max_size=20), st.text(alphabet=st.characters(codec="ascii", exclude_categories=["C"]), max_size=20))
def test_what_we_write_we_read(display: str, user: str) -> None:
    display = "".join(c for c in display if c.isprintable()).strip()
    address = Address(Uri("sip", user, "h.example", 5060, {"transport": "tcp"}), display, {"tag": "1"})
    assert parse_address(str(address)) == address


# streams ------------------------------------------------------------------------------------------------------------

ONE = b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 5\r\n\r\nhello"
TWO = b"SIP/2.0 200 OK\r\nl : 0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_stream_is_cut_into_messages_wherever_it_is_cut(size: int) -> None:
    framer, stream, got = Framer(), b"\r\n\r\n" + ONE + b"\r\n" + TWO + b"\r\n\r\n\r\n\r\n" + ONE, list[bytes]()
    for at in range(0, len(stream), size):
        got += framer.feed(stream[at : at + size])
    assert got == [ONE, TWO, ONE]
    assert framer.pings == 3


@pytest.mark.parametrize(
    "stream",
    [
        b"A" * (MAX_MESSAGE + 1),
        b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: x\r\n\r\n",
        b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 999999\r\n\r\n",
        b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 99999999999\r\n\r\n",
    ],
)
def test_a_stream_that_cannot_be_cut_is_refused(stream: bytes) -> None:
    with pytest.raises(SipError):
        Framer().feed(stream)
