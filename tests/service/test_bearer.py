"""Bearer tokens of an issuer: who is let in, why not, and how sparingly the key page is read."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from joserfc.jwk import RSAKey
from tests.kit.issued import KEY, NOW, OTHER, page, token

from offhook.errors import OutcomeError
from offhook.service.bearer import AUDIENCE, BearerCheck, KeyPages, TokenRule
from offhook.service.targets import Targets, networks
from offhook.wire import tokens

ISSUER = "https://login.example/tenant/v2.0"
URL = "https://login.example/keys"


class Pages:
    """A key page that counts its readers, and may keep them waiting."""

    def __init__(self, *keys: RSAKey) -> None:
        self.body = page(*keys)
        self.error: Exception | None = None
        self.fetches = 0
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, url: str) -> bytes:
        assert url == URL
        self.fetches += 1
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return self.body


def bearer(**claims: Any) -> str:
    return f"Bearer {token(**{'iss': ISSUER, 'aud': AUDIENCE, **claims})}"


def check(pages: Pages, *clients: str, audience: str = AUDIENCE) -> BearerCheck:
    return BearerCheck(TokenRule(ISSUER, URL, audience, clients), pages)


async def refused(checker: BearerCheck, header: str, now: float = NOW) -> tuple[str, str]:
    with pytest.raises(OutcomeError) as caught:
        await checker.check(header, now)
    return caught.value.outcome, caught.value.detail


@pytest.mark.parametrize("audience", [AUDIENCE, AUDIENCE + "/"])
@pytest.mark.parametrize("configured", [AUDIENCE, AUDIENCE + "/"])
async def test_the_audience_of_the_sdks_scope_is_taken_with_and_without_its_slash(
    audience: str, configured: str
) -> None:
    await check(Pages(KEY), audience=configured).check(bearer(aud=audience), NOW)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (bearer(iss="https://login.example/other/v2.0"), "issued by"),
        (bearer(aud="https://graph.example"), "is for"),
        (bearer(aud=None), "is for"),
        (bearer(exp=int(NOW) - 61), "expired"),
        (bearer(exp=None), "never expires"),
        (bearer(nbf=int(NOW) + 61), "check the clocks"),
        (bearer(key=OTHER), "signature"),
        (bearer(key=OTHER, header={"kid": "two"}), "no key 'two'"),
        (bearer()[:-9] + "AAAAAAAAA", "signature"),
        ("Bearer x", "no signed JWT"),
        ("Bearer ", "not 'Bearer"),
    ],
)
async def test_what_is_wrong_with_a_token_is_said(header: str, reason: str) -> None:
    outcome, detail = await refused(check(Pages(KEY)), header)
    assert outcome == "invalid_token" and reason in detail and "[tokens]" in detail


@pytest.mark.parametrize("claim", ["appid", "azp", "oid", "sub"])
async def test_clients_that_are_named_may_and_others_may_not(claim: str) -> None:
    checker = check(Pages(KEY), "app-1", "app-2")
    await checker.check(bearer(**{claim: "app-2"}), NOW)
    outcome, detail = await refused(checker, bearer(**{claim: "app-3"}))
    assert outcome == "token_not_allowed" and f"{claim} 'app-3'" in detail and "clients" in detail
    assert (await refused(checker, bearer()))[0] == "token_not_allowed"
    assert (await refused(checker, bearer(**{claim: ["app-1"]})))[0] == "token_not_allowed"


async def test_a_new_key_is_found_and_the_page_read_sparingly() -> None:
    pages = Pages(KEY)
    checker = check(pages)
    await checker.check(bearer(), NOW)
    rotated = bearer(key=OTHER, header={"kid": "two"})
    for second in range(30):
        assert (await refused(checker, rotated, NOW + second))[0] == "invalid_token"
    assert pages.fetches == 1
    pages.body = page(OTHER)
    await checker.check(rotated, NOW + 30)
    assert pages.fetches == 2
    assert "no key 'one'" in (await refused(checker, bearer(), NOW + 31))[1]


async def test_keys_are_read_anew_after_a_day() -> None:
    pages = Pages(KEY)
    checker = check(pages)
    await checker.check(bearer(), NOW)
    later = NOW + tokens.KEYS_LIVE_S + 1
    await checker.check(bearer(exp=int(later) + 60), later)
    assert pages.fetches == 2


@pytest.mark.parametrize("error", [OSError("no route"), ValueError("it answers 500")])
async def test_a_page_that_cannot_be_read_is_named_and_the_known_keys_stay(error: Exception) -> None:
    pages = Pages(KEY)
    checker = check(pages)
    pages.error = error
    assert str(error) in (await refused(checker, bearer()))[1]
    pages.error = None
    await checker.check(bearer(), NOW + 1)
    pages.error = error
    assert str(error) in (await refused(checker, bearer(header={"kid": "two"}), NOW + 31))[1]
    await checker.check(bearer(), NOW + 32)


async def test_requests_share_one_reading_whenever_they_came_and_survive_one_that_hangs_up() -> None:
    pages = Pages(KEY)
    pages.open.clear()
    checker = check(pages)
    first = asyncio.create_task(checker.check(bearer(), NOW))
    others = [asyncio.create_task(checker.check(bearer(), NOW + second)) for second in range(20)]
    while not pages.fetches:
        await asyncio.sleep(0)
    first.cancel()
    pages.open.set()
    await asyncio.gather(*others)
    assert pages.fetches == 1
    with pytest.raises(asyncio.CancelledError):
        await first


# the download -------------------------------------------------------------------------------------------------------


async def answering(response: web.Response) -> TestServer:
    async def answer(request: web.Request) -> web.Response:
        return response if request.path == "/keys" else web.Response(body=page(KEY))

    app = web.Application()
    app.add_routes([web.get("/{path:.*}", answer)])
    server = TestServer(app)
    await server.start_server()
    return server


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (web.Response(status=500), "answers 500"),
        (web.Response(status=302, headers={"Location": "/moved"}), "answers 302"),
        (web.Response(body=b"x" * (tokens.MAX_PAGE + 1)), "larger"),
    ],
)
async def test_pages_that_are_not_taken(response: web.Response, reason: str) -> None:
    server = await answering(response)
    try:
        with pytest.raises(ValueError, match=reason):
            await KeyPages(Targets(private=True), ssl.create_default_context())(str(server.make_url("/keys")))
    finally:
        await server.close()


async def test_a_page_is_read_where_the_node_may_connect_to_and_nowhere_else() -> None:
    server = await answering(web.Response(body=page(KEY, OTHER)))
    tls, url = ssl.create_default_context(), str(server.make_url("/keys"))
    try:
        assert await KeyPages(Targets(allowed=networks(["127.0.0.0/8"])), tls)(url) == page(KEY, OTHER)
        with pytest.raises(OSError, match="allow_targets"):
            await KeyPages(Targets(), tls)(url)
    finally:
        await server.close()
    with pytest.raises(OSError, match="[Cc]onnect"):
        await KeyPages(Targets(private=True), tls)(url)


async def test_a_page_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offhook.service.bearer.FETCH_TIMEOUT_S", 0.05)
    never = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await never.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises(OSError, match="no answer within"):
            await KeyPages(Targets(private=True), ssl.create_default_context())(f"http://127.0.0.1:{port}/keys")
    finally:
        never.set()
        server.close()
        await server.wait_closed()
