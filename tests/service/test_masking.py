"""What a trace shows of bodies and messages, and what it covers."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.service.masking import MAX_BODY, Body, SipText, mask_text, plain, weight

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"

INVITE = b"""INVITE sip:1@b SIP/2.0\r
Call-ID: x\r
Authorization: Digest username="u", realm="r",\r
 response="0123456789abcdef"\r
proxy-authorization : Digest response="fedcba"\r
Identity: eyJhbGciOi.x.y;info=<https://c>\r
X-MS-Custom-Auth-Token: t0psecret\r
X-Api-Key:\r
 t0psecret\r
To: <sip:bob:t0psecret@10.0.0.1:5060>\r
Contact: <sip:u@10.0.0.1>\r
\r
v=0\r
k=base64:t0psecret\r
a=key-mgmt:mikey t0psecret\r
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:32;inline:t0psecret|2:4\r
a=ice-pwd:asd88fgpdd777uzjYhagZg\r
"""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://a.example/cb?token=abc&call=1", "https://a.example/cb?token=***&call=1"),
        ("wss://user:secret@a.example/ws", "wss://***@a.example/ws"),
        ("see http://a/x?sig=1%2F2&sv=2024&x=y#z.", "see http://a/x?sig=***&sv=***&x=y#z."),
        ("http://a/x?accessKey=1;code=2", "http://a/x?accessKey=***;code=***"),
        (f"http://a/x?state={TOKEN}", "http://a/x?state=***"),
        ("http://a/x?context=5f1c-22&callerId=%2B1555", "http://a/x?context=5f1c-22&callerId=%2B1555"),
        ("no url?token=abc", "no url?token=abc"),
        ("/calling/calls?api-version=1&sig=x", "/calling/calls?api-version=1&sig=***"),
        ("https://a/x#access_token=1&state=2", "https://a/x#access_token=***&state=2"),
        ("endpoint=https://a/;accesskey=c2VjcmV0;x=y", "endpoint=https://a/;accesskey=***;x=y"),
        (f"wss://a.example/ws/{TOKEN}/x", "wss://a.example/ws/***/x"),
        ("https://a/x?next=https%3A%2F%2Fb%3Ftoken%3Dabc&y=1", "https://a/x?next=***&y=1"),
        ("https://a/x?pass=1&pin=2&passenger=3&u=4?token=5", "https://a/x?pass=***&pin=***&passenger=3&u=4?token=***"),
    ],
)
def test_what_opens_doors_in_a_url_is_covered(text: str, shown: str) -> None:
    assert mask_text(text) == shown


def test_credentials_and_keys_of_a_sip_message_are_covered() -> None:
    text = SipText.of(INVITE).shown()
    for secret in ("0123456789abcdef", "fedcba", "eyJhbGciOi", "d0RmdmcmVC", "asd88fgpdd", "t0psecret"):
        assert secret not in text, text
    assert "Call-ID: x\r\n" in text and "Contact: <sip:u@10.0.0.1>" in text
    assert "To: <sip:bob:***@10.0.0.1:5060>" in text
    assert "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:***|2^20|1:32;inline:***|2:4\r\n" in text


def test_fields_that_are_nothing_but_secrets_are_covered() -> None:
    fields = {
        "voipHeaders": {"X-Auth-Token": "s3cret", "tenant": "a"}, "password": "s3cret", "apiKey": "s3cret",
        "access_key": "s3cret", "PIN": 4711, "resultInformation": {"code": 200}, "operationContext": "s", "token": "",
        "tokens": 3, "stopTones": ["one"], "author": "Ada", "key": "value",
    }  # fmt: skip
    body = Body.of(json.dumps(fields).encode())
    assert body is not None
    assert body.shown() == {
        **fields, "voipHeaders": {"X-Auth-Token": "***", "tenant": "a"}, "password": "***", "apiKey": "***",
        "access_key": "***", "PIN": "***",
    }  # fmt: skip


def test_a_body_that_is_cut_is_covered_as_well() -> None:
    data = (
        b'{"clientSecret" : "s3c\\"ret", "uri":"https:\\/\\/a\\/cb?x=1\\u0026token=s3cret", "note":"n",'
        b'"u2": "wss://u:s3cret@a"' + b" " * MAX_BODY
    )
    body = Body.of(data)
    assert body is not None and body.cut
    assert "s3c" not in body.shown() and "ret" not in body.shown().replace("clientSecret", "")
    assert '"note":"n"' in body.shown() and "https://a/cb?x=1&token=***" in body.shown()


@pytest.mark.parametrize(
    "data",
    [
        b"http://x/?a=" + b"eyJ" * 5000, b"http://x/?a=" + b"eyJaaaaaaaaa-" * 1200, b"http://x/" + b"?a=" * 5000,
        b"a=crypto:" * 1800, b'"a" ' * 4000, b"sip:a:" * 2700, b"A:" + b"\r" * 16000,
    ],
)  # fmt: skip
def test_no_text_takes_longer_than_it_is_long(data: bytes) -> None:
    began = time.process_time()
    Body(data).shown(), SipText(data).shown()
    assert time.process_time() - began < 0.3


def test_a_body_is_shown_as_json_with_its_urls_covered() -> None:
    body = Body.of(b'{"callbackUri":"https://a/cb?code=s3cret\\u0026x=1","list":[1,null,true,{"u":"ws://a?key=k"}]}')
    assert body is not None
    assert body.shown() == {
        "callbackUri": "https://a/cb?code=***&x=1",
        "list": [1, None, True, {"u": "ws://a?key=***"}],
    }


@pytest.mark.parametrize("data", [b"{bad json", b"\xff\xfe", b'{"a":' * 5000, b'"\\ud800"', b"[" * 100_000])
def test_any_body_can_be_shown(data: bytes) -> None:
    body = Body.of(data)
    assert body is not None
    json.dumps(plain({"body": body}), ensure_ascii=False).encode()


def test_long_bodies_are_cut_and_say_so() -> None:
    detail = plain({"requestBody": Body.of(b"x" * (MAX_BODY + 1)), "responseBody": None})
    assert detail["cut"] is True and len(detail["requestBody"]) == MAX_BODY
    assert Body.of(b"") is None


def test_weight_follows_what_is_held() -> None:
    assert weight({"body": Body(b"x" * 1000), "name": "y" * 500}) > 1500
    assert weight({"sources": ["https://a/" + "x" * 1000] * 3, "headers": {"a": "b" * 1000}}) > 4000


_JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(_JSON)
def test_json_without_urls_is_shown_as_it_is(value: Any) -> None:
    text = json.dumps(value)
    if "://" in text or "\\ud" in text:
        return
    body = Body.of(text.encode())
    assert body is not None
    assert body.cut or body.shown() == value


@given(st.binary(max_size=300))
def test_any_bytes_are_shown_as_sip(data: bytes) -> None:
    SipText.of(data).shown().encode()
