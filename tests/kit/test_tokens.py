"""TokenCheck: good tokens pass, everything else is refused with its reason; the key page is fetched sparingly."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import OctKey
from tests.kit.issued import AUDIENCE, KEY, NOW, OTHER, Page, page, token

from offhook.kit import ConfigError, TokenCheck, TokenError, UnknownKeyError
from offhook.kit.tokens import DEFAULT_ISSUER, DEFAULT_JWKS_URI, fetch_keys


def check(source: Page | None = None) -> TokenCheck:
    return TokenCheck(AUDIENCE, fetch=source or Page(KEY))


async def test_a_good_token_passes() -> None:
    claims = await check().verify(f"Bearer {token()}", NOW)
    assert claims["aud"] == AUDIENCE
    assert await check().verify(f"bearer  {token(aud=['x', AUDIENCE])}", NOW)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (None, "no Authorization"),
        ("", "no Authorization"),
        (token(), "not 'Bearer"),
        (f"Basic {token()}", "not 'Bearer"),
        ("Bearer ", "not 'Bearer"),
        ("Bearer x", "no signed JWT"),
        ("Bearer a.b.c", "no signed JWT"),
        ("Bearer é.b.c", "no signed JWT"),
        ("Bearer " + "x" * 20_000, "longer than"),
        (f"Bearer {token(iss='https://evil')}", "issued by"),
        (f"Bearer {token(iss=None)}", "issued by"),
        (f"Bearer {token(aud='other')}", "is for"),
        (f"Bearer {token(aud=None)}", "is for"),
        (f"Bearer {token(aud=[])}", "is for"),
        (f"Bearer {token(aud={AUDIENCE: 1})}", "is for"),
        (f"Bearer {token(exp=int(NOW) - 61)}", "expired"),
        (f"Bearer {token(exp=None)}", "never expires"),
        (f"Bearer {token(exp='tomorrow')}", "no time"),
        (f"Bearer {token(exp=True)}", "no time"),
        (f"Bearer {token(exp=1e300)}", "no time"),
        (f"Bearer {token(nbf=int(NOW) + 61)}", "not valid for another"),
        (f"Bearer {token(header={'kid': 'unknown'})}", "no key 'unknown'"),
        (f"Bearer {token(header={'kid': ''})}", "names no key"),
        (f"Bearer {token(key=OTHER)}", "does not verify"),
    ],
)
async def test_a_bad_token_is_refused_with_its_reason(header: str | None, why: str) -> None:
    with pytest.raises(TokenError, match=why):
        await check().verify(header, NOW)


async def test_no_other_algorithm_is_taken() -> None:
    secret = OctKey.import_key(base64.urlsafe_b64encode(KEY.as_pem(private=False)).decode(), {"kid": "one"})
    with pytest.raises(TokenError, match="HS256"):
        await check().verify(f"Bearer {token(key=secret, header={'alg': 'HS256'})}", NOW)
    parts = token().split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","kid":"one"}').decode().rstrip("=")
    for signature in ("", parts[2]):
        with pytest.raises(TokenError, match="none"):
            await check().verify(f"Bearer {none}.{parts[1]}.{signature}", NOW)


async def test_a_changed_payload_is_refused() -> None:
    head, _, signature = token().split(".")
    forged = token(aud=AUDIENCE, sub="admin").split(".")[1]
    with pytest.raises(TokenError, match="does not verify"):
        await check().verify(f"Bearer {head}.{forged}.{signature}", NOW)


async def test_a_minute_of_skew_is_allowed() -> None:
    assert await check().verify(f"Bearer {token(exp=int(NOW) - 59)}", NOW)
    assert await check().verify(f"Bearer {token(nbf=int(NOW) + 59)}", NOW)


async def test_keys_are_fetched_once() -> None:
    source = Page(KEY)
    checker = check(source)
    await asyncio.gather(*(checker.verify(f"Bearer {token()}", NOW) for _ in range(20)))
    assert source.fetches == 1


async def test_who_comes_while_the_page_is_read_waits_for_that_reading_alone() -> None:
    source, go_on = Page(KEY), threading.Event()

    def slow(url: str) -> bytes:
        go_on.wait(10)
        return source(url)

    checker = TokenCheck(AUDIENCE, fetch=slow)
    source.error = OSError("no route")
    waiting = [asyncio.create_task(checker.verify(f"Bearer {token()}", NOW + 2 * each)) for each in range(9)]
    for _ in range(20):
        await asyncio.sleep(0)
    go_on.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, UnknownKeyError) for result in results)
    assert source.fetches == 1, "a page that is slow to fail must not be tried once for each of them in turn"


async def test_an_unknown_key_is_looked_for_every_30_s_at_most() -> None:
    source = Page(KEY)
    checker = check(source)
    await checker.verify(f"Bearer {token()}", NOW)
    rotated = f"Bearer {token(key=OTHER, header={'kid': 'two'})}"
    for second in range(30):
        with pytest.raises(UnknownKeyError):
            await checker.verify(rotated, NOW + second)
    assert source.fetches == 1
    source.body = page(KEY, OTHER)
    assert await checker.verify(rotated, NOW + 30)
    assert source.fetches == 2


async def test_keys_are_renewed_after_a_day() -> None:
    source = Page(KEY)
    checker = check(source)
    later = NOW + 86_401
    await checker.verify(f"Bearer {token()}", NOW)
    source.body = page(OTHER)
    with pytest.raises(UnknownKeyError):
        await checker.verify(f"Bearer {token(exp=later + 60)}", later)


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"{}", b'{"keys":[]}', b'{"keys":[{"kty":"RSA"}, 5]}', b"[" * 9999])
async def test_a_broken_key_page_lets_nobody_in(body: bytes) -> None:
    source = Page()
    source.body = body
    checker = check(source)
    with pytest.raises(UnknownKeyError, match="key page could not be read"):
        await checker.verify(f"Bearer {token()}", NOW)
    source.body = page(KEY)
    assert await checker.verify(f"Bearer {token()}", NOW + 1)


async def test_an_unreachable_key_page_keeps_the_old_keys() -> None:
    source = Page(KEY)
    checker = check(source)
    await checker.verify(f"Bearer {token()}", NOW)
    source.error = OSError("no route")
    with pytest.raises(UnknownKeyError, match="no route"):
        await checker.verify(f"Bearer {token(header={'kid': 'two'})}", NOW + 31)
    assert await checker.verify(f"Bearer {token()}", NOW + 32)


@given(st.text(max_size=60) | st.tuples(st.binary(max_size=40), st.binary(max_size=40)).map(
    lambda parts: "Bearer " + ".".join(base64.urlsafe_b64encode(p).decode() for p in (*parts, b"x"))))  # fmt: skip
def test_any_header_is_refused_cleanly(header: str) -> None:
    with pytest.raises(TokenError):
        check().verify_cached(header, NOW)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACS_RESOURCE_ID", "ACS_TOKEN_ISSUER", "ACS_JWKS_URI"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="ACS_RESOURCE_ID"):
        TokenCheck()
    monkeypatch.setenv("ACS_RESOURCE_ID", AUDIENCE)
    plain = TokenCheck()
    assert (plain.audience, plain.issuer, plain.jwks_uri) == (AUDIENCE, DEFAULT_ISSUER, DEFAULT_JWKS_URI)
    monkeypatch.setenv("ACS_TOKEN_ISSUER", "https://me")
    monkeypatch.setenv("ACS_JWKS_URI", "https://me/keys")
    own = TokenCheck()
    assert (own.issuer, own.jwks_uri) == ("https://me", "https://me/keys")
    assert TokenCheck("a", "i", "http://127.0.0.1/k").audience == "a"


@pytest.mark.parametrize("uri", ["http://keys.example/k", "file:///etc/passwd", "ftp://x/y", "x", "https:///k"])
def test_keys_are_not_taken_from_anywhere(uri: str) -> None:
    with pytest.raises(ConfigError, match="https"):
        TokenCheck(AUDIENCE, jwks_uri=uri)


class _Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/keys")
            self.end_headers()
            return
        body = page(KEY) if self.path == "/keys" else b" " * ((1 << 20) + 1)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def pages() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Pages)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_a_real_key_page_is_read(pages: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # never used for this machine
    checker = TokenCheck(AUDIENCE, jwks_uri=f"{pages}/keys")
    assert await checker.verify(f"Bearer {token()}", NOW)


def test_redirects_and_huge_pages_are_refused(pages: str) -> None:
    with pytest.raises(OSError, match="302"):
        fetch_keys(f"{pages}/moved")
    with pytest.raises(ValueError, match="larger"):
        fetch_keys(f"{pages}/big")
