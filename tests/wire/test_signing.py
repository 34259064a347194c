"""Signatures: the captured requests of the SDKs, the forms real clients sign, and everything that must not pass."""

from __future__ import annotations

import base64
import json
import re
import string
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import KeySet

from offhook.errors import SignatureError, WireError
from offhook.wire.signing import (
    DEFAULT_ISSUER,
    TokenIssuer,
    http_date,
    open_context,
    seal_context,
    sign_hmac,
    verify_hmac,
)

SDK_REQUESTS = Path(__file__).parents[1] / "fixtures/acs/samples/sdk-requests"
KEY = b"k" * 32
NOW = 1795349280.0
DATE = "Sun, 22 Nov 2026 12:08:00 GMT"


def captured() -> list[tuple[dict[str, Any], bytes]]:
    found = []
    for file in sorted(SDK_REQUESTS.glob("*.json")):
        document = json.loads(file.read_text())
        key = base64.b64decode(document["accessKeyBase64"])
        found += [(request, key) for request in document["requests"]]
    return found


def lowered(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def test_every_captured_request_verifies_and_no_changed_one_does() -> None:
    requests = captured()
    assert len(requests) == 87
    for request, key in requests:
        headers, body = lowered(request["headers"]), (request.get("bodyText") or "").encode()
        method, target = request["method"], request["target"]
        verify_hmac(method, target, headers, body, key, NOW)
        changes: list[tuple[str, str, dict[str, str], bytes, bytes]] = [
            (method + "X", target, headers, body, key),
            (method, target + "&x=1", headers, body, key),
            (method, target.replace("calling", "Calling"), headers, body, key),
            (method, target, {**headers, "host": "elsewhere:18080"}, body, key),
            (method, target, headers, body + b" ", key),
            (method, target, headers, body, key[:-1]),
        ]
        for changed in changes:
            with pytest.raises(SignatureError):
                verify_hmac(*changed, NOW)


def signed(
    target: str = "/calling/callConnections?api-version=2026-03-12",
    *,
    signed_target: str | None = None,
    host: str = "localhost:8480",
    signed_host: str | None = None,
    hosts: tuple[str, ...] = (),
    method: str = "GET",
) -> None:
    """Sign one thing, send another, verify."""
    headers = lowered(sign_hmac(method, signed_target or target, signed_host or host, DATE, b"", KEY))
    verify_hmac(method, target, {**headers, "host": host}, b"", KEY, NOW, hosts=hosts)


@pytest.mark.parametrize(
    ("host", "signed_host"),
    [
        ("localhost:8480", "localhost:8480"),
        ("127.0.0.1:1", "127.0.0.1:1"),
        ("[::1]:8480", "[::1]:8480"),
        ("localhost:8480", "localhost:8480/"),
        ("my.host", "my.host:443"),
        ("my.host", "my.host:80"),
        ("my.host", "my.host:443/"),
        ("my.host:443", "my.host"),
        ("my.host:80", "my.host"),
        ("my.host", "my.host/"),
        ("[::1]", "[::1]:443"),
    ],
)
def test_hosts_that_clients_sign(host: str, signed_host: str) -> None:
    signed(host=host, signed_host=signed_host)


@pytest.mark.parametrize(
    ("host", "signed_host"),
    [("localhost:8480", "localhost"), ("localhost:8480", "localhost:8481"), ("my.host:444", "my.host"), ("a", "b")],
)
def test_other_hosts_do_not_pass(host: str, signed_host: str) -> None:
    with pytest.raises(SignatureError, match="does not match"):
        signed(host=host, signed_host=signed_host)


def test_a_host_that_a_proxy_replaced_passes_when_it_is_named() -> None:
    signed(host="127.0.0.1:8480", signed_host="public.example", hosts=("public.example",))
    with pytest.raises(SignatureError):
        signed(host="127.0.0.1:8480", signed_host="public.example")


@pytest.mark.parametrize(
    ("sent", "as_signed"),
    [
        ("participants/8:acs:res_user", "participants/8%3Aacs%3Ares_user"),
        ("participants/4:%2B1425", "participants/4%3A%2B1425"),
        ("participants/4:+1425", "participants/4%3A%2B1425"),
        ("participants/4%3A%2B1425", "participants/4%3A%2B1425"),
        ("participants/28:orgid:a-b~c", "participants/28%3Aorgid%3Aa-b~c"),
        ("abc=:pause", "abc%3D:pause"),
        ("abc=", "abc%3D"),
        ("a=b/participants:add", "a%3Db/participants:add"),
    ],
)
def test_paths_that_the_client_decoded_after_signing(sent: str, as_signed: str) -> None:
    base = "/calling/callConnections/00010203-0405-82a5-8809-0a0b0c0d0e0f/"
    query = "?api-version=2026-03-12"
    signed(f"{base}{sent}{query}", signed_target=f"{base}{as_signed}{query}")


@pytest.mark.parametrize("other", ["participants/8%3Aacs%3Aother", "participants", "participants/8%3Aacs%3Ares_use"])
def test_another_path_does_not_pass(other: str) -> None:
    with pytest.raises(SignatureError, match="does not match"):
        signed("/c/participants/8:acs:res_user?v=1", signed_target=f"/c/{other}?v=1")


@pytest.mark.parametrize("skew", [-300, -299, 0, 299, 300])
def test_five_minutes_either_way(skew: int) -> None:
    headers = {**lowered(sign_hmac("GET", "/", "h", DATE, b"", KEY)), "host": "h"}
    verify_hmac("GET", "/", headers, b"", KEY, NOW + skew)


@pytest.mark.parametrize(("skew", "side"), [(-301, "301 s ahead of"), (301, "301 s behind"), (1e9, "behind")])
def test_outside_the_skew(skew: float, side: str) -> None:
    headers = {**lowered(sign_hmac("GET", "/", "h", DATE, b"", KEY)), "host": "h"}
    with pytest.raises(SignatureError, match=side):
        verify_hmac("GET", "/", headers, b"", KEY, NOW + skew)


def test_the_same_request_twice_is_no_replay() -> None:
    for _ in range(2):
        signed()


GOOD = {**lowered(sign_hmac("POST", "/x", "h", DATE, b"{}", KEY)), "host": "h"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"authorization": ""}, "Authorization header is missing"),
        ({"authorization": "Bearer x.y.z"}, "must start with 'HMAC-SHA256 '"),
        ({"authorization": "HMAC-SHA256 Signature=abc"}, "SignedHeaders="),
        ({"authorization": GOOD["authorization"].replace("host;", "")}, "SignedHeaders="),
        ({"authorization": GOOD["authorization"].partition("&")[0]}, "base64 of 32 bytes"),
        ({"authorization": GOOD["authorization"].partition("=")[0] + "=é&Signature=é"}, "SignedHeaders="),
        ({"authorization": re.sub("Signature=.*", "Signature=!!!!", GOOD["authorization"])}, "base64 of 32 bytes"),
        ({"authorization": re.sub("Signature=.*", "Signature=YWJj", GOOD["authorization"])}, "base64 of 32 bytes"),
        ({"x-ms-date": ""}, "x-ms-date header is missing"),
        ({"x-ms-date": "2026-11-22T12:08:00Z"}, "must look like"),
        ({"x-ms-date": "Sun, 31 Feb 2026 12:08:00 GMT"}, "must look like"),
        ({"x-ms-date": "Sun, 22 Nov 2026 25:08:00 GMT"}, "must look like"),
        ({"x-ms-date": "Sun, 22 Nov 0000 12:08:00 GMT"}, "must look like"),
        ({"x-ms-content-sha256": ""}, "x-ms-content-sha256 header is missing"),
        ({"x-ms-content-sha256": "é"}, "not the hash of the body"),
        ({"host": ""}, "host header is missing"),
    ],
)
def test_reasons_name_what_is_wrong(changes: dict[str, str], reason: str) -> None:
    verify_hmac("POST", "/x", GOOD, b"{}", KEY, NOW)
    with pytest.raises(SignatureError, match=re.escape(reason)):
        verify_hmac("POST", "/x", {**GOOD, **changes}, b"{}", KEY, NOW)


def test_a_body_that_does_not_fit_its_hash() -> None:
    with pytest.raises(SignatureError, match="changed on the way"):
        verify_hmac("POST", "/x", GOOD, b"[]", KEY, NOW)


HEADER_NAMES = st.sampled_from(["authorization", "x-ms-date", "x-ms-content-sha256", "host"])


@given(st.text(max_size=40), st.dictionaries(HEADER_NAMES, st.text(max_size=60)), st.binary(max_size=20), st.booleans())
def test_any_request_is_refused_with_the_one_error(
    target: str, headers: dict[str, str], body: bytes, start_good: bool
) -> None:
    merged = {**(GOOD if start_good else {}), **headers}
    with pytest.raises(SignatureError):
        verify_hmac("GET", target, merged, body, KEY, NOW)


@given(st.text(max_size=20), st.binary(max_size=50), st.binary(min_size=1, max_size=64), st.integers(0, 4_000_000_000))
def test_whatever_is_signed_verifies(segment: str, body: bytes, key: bytes, now: int) -> None:
    target = f"/calling/{quote(segment, safe='', errors='replace')}?api-version=1"
    headers = {**lowered(sign_hmac("POST", target, "h:1", http_date(now), body, key)), "host": "h:1"}
    verify_hmac("POST", target, headers, body, key, float(now))


CONTEXT: dict[str, Any] = {"call": "c-1", "to": "4:+1", "exp": NOW + 30}
NONCE = bytes(range(12))


def test_context_comes_back_until_it_expires() -> None:
    text = seal_context(CONTEXT, KEY, NONCE)
    assert text.startswith("eyJ")
    assert text.count(".") == 2
    assert len(text) >= 1500
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", text)
    assert open_context(text, KEY, NOW) == CONTEXT
    assert open_context(text, KEY, NOW + 30) == CONTEXT
    with pytest.raises(SignatureError, match="expired"):
        open_context(text, KEY, NOW + 30.1)
    with pytest.raises(SignatureError, match="not valid"):
        open_context(text, b"other" * 8, NOW)


def test_context_can_be_read_by_nobody_else() -> None:
    text = seal_context(CONTEXT, KEY, NONCE)
    inner = text.split(".")[1]
    assert b"c-1" not in base64.urlsafe_b64decode(inner + "=" * (-len(inner) % 4))
    assert text != seal_context(CONTEXT, KEY, NONCE[::-1])


def test_every_changed_character_of_a_context_is_noticed() -> None:
    """At the end of a part, some other letters decode to the same bytes; they must not pass either."""
    text = seal_context(CONTEXT, KEY, NONCE)
    ends = {index for index in range(len(text)) if text[index + 1 : index + 2] in ("", ".")}
    for index in range(len(text)):
        for other in string.ascii_letters + string.digits + "-_=" if index in ends else "AB-.":
            if text[index] != other:
                with pytest.raises(SignatureError, match="not valid"):
                    open_context(text[:index] + other + text[index + 1 :], KEY, NOW)


@given(st.text(max_size=60) | st.from_regex(r"eyJ[A-Za-z0-9_]*\.[A-Za-z0-9_]*\.[A-Za-z0-9_-]*", fullmatch=True))
def test_any_text_is_no_context(text: str) -> None:
    with pytest.raises(SignatureError, match="incomingCallContext is not valid"):
        open_context(text, KEY, NOW)


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=30), max_size=4), st.binary(min_size=12, max_size=12))
def test_any_payload_survives_sealing(payload: dict[str, Any], nonce: bytes) -> None:
    whole = {**payload, "exp": 5.5}
    assert open_context(seal_context(whole, KEY, nonce), KEY, 5.0) == whole


def test_sealing_without_an_expiry_is_a_mistake_of_ours() -> None:
    for payload, nonce in (({}, NONCE), ({"exp": "soon"}, NONCE), ({"exp": 1}, b"short")):
        with pytest.raises(ValueError, match="exp"):
            seal_context(payload, KEY, nonce)


@cache
def private_key() -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=2048)


def issuer() -> TokenIssuer:
    return TokenIssuer(private_key(), DEFAULT_ISSUER, "resource-1", "key-1")


@pytest.mark.parametrize(("which", "life"), [("callback_token", 300), ("stream_token", 86400)])
def test_tokens_verify_against_the_key_page(which: str, life: int) -> None:
    tokens = issuer()
    token = getattr(tokens, which)(NOW + 0.7, "jti-1")
    keys: Any = tokens.jwks()
    decoded = jwt.decode(token, KeySet.import_key_set(keys), algorithms=["RS256"])
    assert decoded.header == {"alg": "RS256", "kid": "key-1", "typ": "JWT"}
    assert decoded.claims == {
        "iss": "https://acscallautomation.communication.azure.com",
        "aud": "resource-1",
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + life,
        "jti": "jti-1",
    }


def test_pages() -> None:
    (key,) = issuer().jwks()["keys"]
    assert (key["kty"], key["use"], key["alg"], key["kid"]) == ("RSA", "sig", "RS256", "key-1")
    assert "d" not in key
    for base in ("https://localhost:8480/", "https://localhost:8480"):
        page = issuer().openid_configuration(base)
        assert page["issuer"] == DEFAULT_ISSUER
        assert page["jwks_uri"] == "https://localhost:8480/calling/keys"


def test_signature_errors_are_wire_errors() -> None:
    assert issubclass(SignatureError, WireError)
    assert http_date(NOW) == DATE
