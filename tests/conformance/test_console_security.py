"""Who may use the console, tried in earnest: other origins, other names, no login, guessed tokens, hostile requests."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import re
import time
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession, CookieJar, DummyCookieJar, WSServerHandshakeError
from tests.console_page import API, Page
from tests.live import LiveNode, TestApp, dev_node, serve_node, until
from tests.service.config_text import HEAD, KEY, TOKEN, written

from offhook.cli.console_client import NodeAddress, fetch, node_address
from offhook.wire.signing import http_date, sign_hmac

pytestmark = pytest.mark.asyncio(loop_scope="module")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
READS = (
    "status", "recordings", "calls", "calls/x", "calls/x/events", "calls/x/figures", "calls/x/series", "setup",
    "calls/x/peaks?leg=a&side=said&fromMs=0&toMs=1&bins=1", "calls/x/sound.wav?leg=a&side=said&fromMs=0&toMs=1",
    "calls/x/export", "calls/x/stream", "stream",
)  # fmt: skip
WRITES = ("setup/check", "calls/x/events/1/resend", "login", "logout")
SOCKETS = ("leg", "phone")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveNode]:
    """A node of `offhook serve` with a console behind a token."""
    text = f'{HEAD}[node]\nhost = "127.0.0.1"\nport = 0\nstate_dir = "state"\n[console]\ntoken = "{TOKEN}"\n'
    async with serve_node(written(tmp_path_factory.mktemp("guarded"), text)) as node:
        yield node


@pytest_asyncio.fixture(loop_scope="module")
async def page(node: LiveNode) -> AsyncIterator[Page]:
    """A page of the open console."""
    async with _page(node.http) as page:
        yield page


@pytest_asyncio.fixture(loop_scope="module")
async def stranger(guarded: LiveNode) -> AsyncIterator[Page]:
    """A page of the console that wants a login."""
    async with _page(guarded.http.replace("localhost", "127.0.0.1")) as page:
        yield page


@contextlib.asynccontextmanager
async def _page(origin: str) -> AsyncIterator[Page]:
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
        yield Page(session, origin)


async def opens(page: Page, cookie: str) -> bool:
    """Whether a Cookie header, and nothing else, lets a page in."""
    async with ClientSession(cookie_jar=DummyCookieJar()) as session:
        status, _ = await Page(session, page.origin).get("setup", Cookie=cookie)
    assert status in (200, 401)
    return status == 200


def cookie_of(page: Page) -> str:
    """The session that a page has."""
    (value,) = [cookie.value for cookie in page.session.cookie_jar if cookie.key == "offhook_console"]
    return value


async def raw(node: LiveNode, text: bytes) -> bytes:
    """An answer to bytes as they are."""
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    writer.write(text)
    try:
        return await asyncio.wait_for(reader.read(65536), 5)
    finally:
        writer.close()


# what every answer says ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/console/", 200),
        ("GET", "/console", 308),
        ("GET", "/console/app.js", 200),
        ("GET", "/console/calls/x", 200),
        ("GET", "/console/none", 404),
        ("DELETE", "/console/", 405),
        ("GET", "/console/api/calls", 200),
        ("GET", "/console/api/recordings", 200),
        ("GET", "/console/api/status", 200),
        ("GET", "/console/api/calls/none", 404),
        ("GET", "/console/api/calls?x=1", 400),
        ("PUT", "/console/api/calls", 404),
        ("POST", "/console/api/setup/check", 403),
        ("GET", "/console/api/leg", 403),
        ("GET", "/console/api/stream", 200),
        ("GET", "/", 302),
    ],
)
async def test_every_answer_is_strict_with_browsers(page: Page, method: str, path: str, status: int) -> None:
    headers = {"Accept": "text/html"}
    async with page.session.request(method, page.origin + path, headers=headers, allow_redirects=False) as response:
        assert response.status == status
        told = response.headers
        assert told["Content-Security-Policy"] == POLICY
        assert told["X-Content-Type-Options"] == "nosniff" and told["X-Frame-Options"] == "DENY"
        assert told["Referrer-Policy"] == "no-referrer"
        assert told["Cross-Origin-Opener-Policy"] == told["Cross-Origin-Resource-Policy"] == "same-origin"
        assert told["Permissions-Policy"].startswith("microphone=(self)")
        assert told["Cache-Control"] in ("no-store", "no-cache")
        assert not [name for name in told if name.startswith("Access-Control")]
        content_type = told.get("Content-Type", "")
        assert content_type.startswith("text/html") == (status == 200 and path in ("/console/", "/console/calls/x"))


async def test_every_file_of_the_pages_is_there(page: Page) -> None:
    folder = files("offhook") / "web"
    for path in sorted(Path(str(folder)).rglob("*")):
        if path.is_file():
            place = f"{page.origin}/console/{path.relative_to(str(folder)).as_posix()}"
            async with page.session.get(place) as response:
                assert response.status == 200 and await response.read() == path.read_bytes(), path


# other names (DNS rebinding), proxies -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("127.0.0.1:8480", 200),
        ("[::1]:8480", 200),
        ("evil.example", 421),
        ("evil.example:8480", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.nip.io", 421),
        ("localhost.", 421),
        ("127.1", 421),
        ("0.0.0.0:8480", 421),
        ("2130706433", 421),
        ("localhost:x", 421),
        ("localhost@evil.example", 421),
        ("192.168.0.7", 421),
        ("", 421),
    ],
)
async def test_an_open_console_is_there_under_names_of_this_machine_only(
    node: LiveNode, host: str, status: int
) -> None:
    for path in ("/console/", "/console/app.js", "/console/api/calls", "/console/api/setup"):
        told = await raw(node, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert told.startswith(f"HTTP/1.1 {status} ".encode()), (path, told[:300])
    own = f"Origin: http://{host}\r\nX-Offhook-Console: 1\r\nSec-Fetch-Site: same-origin\r\n"
    head = f"POST /console/api/setup/check HTTP/1.1\r\nHost: {host}\r\n{own}Content-Length: 0\r\nConnection: close\r\n"
    told = await raw(node, f"{head}\r\n".encode())
    assert told.startswith(f"HTTP/1.1 {status} ".encode())


async def test_the_published_key_opens_nothing_under_another_name(node: LiveNode, page: Page) -> None:
    """A page whose name was pointed at this machine can sign as well, with the key that everybody has."""
    address = NodeAddress("http://evil.example", node_address(node.http).key)
    status, _ = await page.get("setup", Host="evil.example", **address.headers(f"{API}/setup"))
    assert status == 421


async def test_nor_does_it_open_the_rest_api_to_pages_of_another_name(node: LiveNode) -> None:
    """Browsers put Origin on each write of a page (Fetch 3.2); programs that know the node by any name do not."""
    target, body, date = "/calling/callConnections:redirect?api-version=2026-03-12", b"{}", http_date(time.time())
    for marks, status in (
        ({"Origin": "http://evil.example"}, 421),
        ({"Origin": "null"}, 421),
        ({"Sec-Fetch-Site": "same-origin"}, 421),
        ({}, 400),
    ):
        signed = sign_hmac("POST", target, "evil.example", date, body, base64.b64decode(node.key))
        head = {"Host": "evil.example", "Content-Type": "application/json", **signed, **marks}
        async with ClientSession() as session, session.post(node.http + target, data=body, headers=head) as response:
            assert response.status == status, (marks, await response.text())
    signed = sign_hmac("POST", target, f"localhost:{node.port}", date, body, base64.b64decode(node.key))
    head = {"Host": f"localhost:{node.port}", "Content-Type": "application/json", **signed, "Origin": "null"}
    async with ClientSession() as session, session.post(node.http + target, data=body, headers=head) as response:
        assert response.status == 400, "a program of this machine that has an origin"


async def test_the_name_counts_that_the_browser_sends(node: LiveNode) -> None:
    told = await raw(node, b"GET http://localhost/console/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    assert told[9:12] == b"421"


@pytest.mark.parametrize("name", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via"])
async def test_an_open_console_is_not_passed_on_by_a_proxy(page: Page, name: str) -> None:
    status, body = await page.get("setup", **{name: "for=203.0.113.7"})
    assert status == 403 and name in body["error"]["message"] and "accesskey" not in str(body)


# other origins (CSRF) -----------------------------------------------------------------------------------------------

ELSEWHERE: list[dict[str, str]] = [
    {"Origin": "http://evil.example"},
    {"Origin": "http://localhost:1"},
    {"Origin": "http://127.0.0.1"},
    {"Origin": "https://localhost"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": ""},
    {"X-Offhook-Console": ""},
    {"X-Offhook-Console": "0"},
]


@pytest.mark.parametrize("headers", ELSEWHERE, ids=str)
async def test_other_origins_cannot_write(page: Page, app: TestApp, headers: dict[str, str]) -> None:
    known = app.validations
    for path in WRITES:
        told = {"Origin": page.origin, "X-Offhook-Console": "1", **headers}
        if "Sec-Fetch-Site" in headers and not headers["Sec-Fetch-Site"]:
            del told["Sec-Fetch-Site"], told["Origin"]
        told = {name: value for name, value in told.items() if value}
        async with page.session.post(f"{page.origin}{API}/{path}", headers=told, data=io.BytesIO(b"{}")) as response:
            assert response.status == 403, (path, await response.text())
    assert app.validations == known


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_what_a_form_can_send_is_no_write(page: Page, app: TestApp, kind: str) -> None:
    known = app.validations
    told = {"Content-Type": kind, "Origin": page.origin, "X-Offhook-Console": "1"}
    body = io.BytesIO(b'{"url": null}')
    async with page.session.post(f"{page.origin}{API}/setup/check", headers=told, data=body) as response:
        assert response.status == 415
    assert app.validations == known


@pytest.mark.parametrize("site", ["cross-site", "same-site", "cross-origin"])
async def test_other_sites_cannot_even_read(page: Page, site: str) -> None:
    for path in READS:
        status, body = await page.get(path, **{"Sec-Fetch-Site": site})
        assert status == 403, (path, body)
    async with page.session.get(f"{page.origin}/console/calls/x", headers={"Sec-Fetch-Site": site}) as response:
        assert response.status == 200, "a link to the page may stand anywhere"


async def test_other_origins_get_no_socket(node: LiveNode, page: Page) -> None:
    for path in SOCKETS:
        for headers in ({}, {"Origin": "http://evil.example"}, {"Origin": "http://localhost:1"}, {"Origin": "null"}):
            with pytest.raises(WSServerHandshakeError) as refused:
                await page.session.ws_connect(f"{page.origin}{API}/{path}", headers=headers)
            assert refused.value.status == 403
        async with page.session.ws_connect(f"{page.origin}{API}/{path}", headers={"Origin": page.origin}) as socket:
            await socket.send_str("{}")
            assert (await socket.receive_json(timeout=5))["kind"]


async def test_a_wrong_signature_is_refused_even_where_none_is_needed(node: LiveNode, page: Page) -> None:
    status, body = await page.get("calls", Authorization="HMAC-SHA256 Signature=x")
    assert status == 401 and body["error"]["code"] == "7509"
    other = NodeAddress(node_address(node.http).origin, b"another key")
    status, _ = await page.get("calls", **other.headers(f"{API}/calls"))
    assert status == 401


# logging in ---------------------------------------------------------------------------------------------------------


async def test_without_a_login_there_are_pages_and_no_data(guarded: LiveNode, stranger: Page) -> None:
    async with stranger.session.get(f"{stranger.origin}/console/") as response:
        assert response.status == 200
    for path in READS:
        status, body = await stranger.get(path)
        assert status == 401 and "/console/login" in body["error"]["message"], path
    for path in ("setup/check", "calls/x/events/1/resend"):
        assert (await stranger.post(path))[0] == 401
    for path in ("leg",):
        with pytest.raises(WSServerHandshakeError) as refused:
            await stranger.session.ws_connect(f"{stranger.origin}{API}/{path}", headers={"Origin": stranger.origin})
        assert refused.value.status == 401
    for junk in ("", "x" * 64, "0" * 64, "../../x", "\u00e9", '"', "x" * 4000):
        assert not await opens(stranger, f"offhook_console={junk}")


async def test_the_token_begins_a_session_and_logging_out_ends_it(guarded: LiveNode, stranger: Page) -> None:
    place = f"{stranger.origin}{API}/login"
    told = {"Origin": stranger.origin, "X-Offhook-Console": "1"}
    async with stranger.session.post(place, json={"token": TOKEN}, headers=told) as response:
        assert response.status == 200 and TOKEN not in await response.text()
        cookie = SimpleCookie(response.headers["Set-Cookie"])["offhook_console"]
    assert len(bytes.fromhex(cookie.value)) == 32
    assert cookie["httponly"] and cookie["samesite"] == "Strict" and cookie["path"] == "/console"
    assert not cookie["secure"] and not cookie["domain"] and int(cookie["max-age"]) == 12 * 3600
    for path in ("setup", "calls", "recordings", "status"):
        assert (await stranger.get(path))[0] == 200
    status, setup = await stranger.get("setup")
    assert KEY in setup["connectionString"] and setup["login"] and TOKEN not in str(setup)
    for headers in ({"Origin": "http://127.0.0.1:1"}, {"Sec-Fetch-Site": "same-site"}, {"X-Offhook-Console": ""}):
        status, _ = await stranger.post("setup/check", **headers)
        assert status == 403, "a page of another port has the cookie, and may not use it"
    old = cookie_of(stranger)
    assert (await stranger.post("logout"))[0] == 200
    assert not await opens(stranger, f"offhook_console={old}")
    assert not list(stranger.session.cookie_jar)


async def test_a_session_is_never_one_that_the_browser_brought(guarded: LiveNode, stranger: Page) -> None:
    fixed = "ab" * 32
    cookie = {"Cookie": f"offhook_console={fixed}"}
    assert (await stranger.post("login", {"token": TOKEN}, **cookie))[0] == 200
    first = cookie_of(stranger)
    assert first != fixed and not await opens(stranger, cookie["Cookie"])
    assert (await stranger.post("login", {"token": TOKEN}))[0] == 200
    second = cookie_of(stranger)
    assert second != first
    assert not await opens(stranger, f"offhook_console={first}"), "the former one is over"
    beside = f"offhook_console={fixed}; offhook_console=; a=b; offhook_console={second}"
    assert await opens(stranger, beside), "cookies of other pages of this host stand beside"


async def test_over_tls_the_cookie_is_secure(guarded: LiveNode) -> None:
    async with ClientSession() as session:
        origin = f"https://localhost:{guarded.port}"
        told = {"Origin": origin, "X-Offhook-Console": "1"}
        async with session.post(f"{origin}{API}/login", json={"token": TOKEN}, headers=told, ssl=False) as response:
            assert response.status == 200
            cookie = SimpleCookie(response.headers["Set-Cookie"])["__Secure-offhook_console"]
            assert cookie["secure"] and cookie["path"] == "/console"
        async with ClientSession(cookie_jar=DummyCookieJar()) as other:
            page = Page(other, origin.replace("https", "http"))
            assert (await page.get("calls", Cookie=f"__Secure-offhook_console={cookie.value}"))[0] == 200
            assert (await page.get("calls", Cookie=f"__Host-offhook_console={cookie.value}"))[0] == 401
        plain = {**told, "Origin": f"http://localhost:{guarded.port}"}
        async with session.post(f"{origin}{API}/logout", headers=plain, ssl=False) as response:
            assert response.status == 403, "plain HTTP is another origin"


@pytest.mark.parametrize("body", [{}, {"token": None}, {"token": [TOKEN]}, {"token": {"$ne": ""}}, [TOKEN], TOKEN])
async def test_bodies_that_are_no_login(stranger: Page, body: Any) -> None:
    status, found = await stranger.post("login", body)
    assert status == 400 and "error" in found and not list(stranger.session.cookie_jar)


async def test_guessing_is_slow(tmp_path: Path) -> None:
    text = f'{HEAD}[node]\nhost = "127.0.0.1"\nport = 0\nstate_dir = "state"\n[console]\ntoken = "{TOKEN}"\n'
    async with serve_node(written(tmp_path, text)) as node, _page(node.http) as page:
        for guess in ("", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "\x00"):
            status, body = await page.post("login", {"token": guess})
            assert status == 401 and guess not in ("", "\x00") or TOKEN not in str(body)
        answers = await asyncio.gather(*(page.post("login", {"token": f"guess {n}"}) for n in range(50)))
        assert {status for status, _ in answers} == {429}
        async with page.session.post(
            f"{page.origin}{API}/login",
            json={"token": TOKEN},
            headers={"Origin": page.origin, "X-Offhook-Console": "1"},
        ) as response:
            assert response.status == 429 and 1 <= int(response.headers["Retry-After"]) <= 10, "the right one waits too"
            assert "Set-Cookie" not in response.headers
        await until(lambda: [line for line in node.log if "login to the console" in line], "a line of the log")
        assert TOKEN not in "".join(node.log) and "guess" not in "".join(node.log)


async def test_without_a_token_there_are_no_pages_and_the_signed_api_stays(tmp_path: Path) -> None:
    text = f'{HEAD}[node]\nhost = "127.0.0.1"\nport = 0\nstate_dir = "state"\n'
    async with serve_node(written(tmp_path, text)) as node, _page(node.http) as page:
        assert node.info["consoleUrl"] is None
        async with page.session.get(f"{page.origin}/console/") as response:
            assert response.status == 404 and "[console]" in await response.text()
        async with page.session.get(page.origin, headers={"Accept": "text/html"}, allow_redirects=False) as response:
            assert response.status == 404
        for path in READS:
            assert (await page.get(path))[0] == 401
        for path in WRITES:
            assert (await page.post(path, {"token": ""}))[0] == 401
        assert await fetch(node_address(node.connection_string.replace("https", "http")), f"{API}/calls") == {
            "calls": []
        }


async def test_dev_on_another_address_makes_a_token(tmp_path: Path) -> None:
    async with dev_node(tmp_path, "--host", "0.0.0.0") as node, _page(node.http) as page:
        token = node.info["consoleToken"]
        file = tmp_path / "console-token"
        assert file.read_text().strip() == token and file.stat().st_mode & 0o777 == 0o600 and len(token) == 32
        assert (await page.get("calls"))[0] == 401
        assert (await page.post("login", {"token": token}))[0] == 200
        assert (await page.get("calls"))[0] == 200
        async with page.feed("stream") as rows:
            assert await node.stop() == 0, "an open stream does not hold the node up"
            await rows.ended()
    async with dev_node(tmp_path, "--host", "0.0.0.0", "--no-console") as node, _page(node.http) as page:
        assert node.info["consoleUrl"] is None and node.info["consoleToken"] is None
        assert (await page.post("login", {"token": token}))[0] == 401


# hostile requests ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/console/../../etc/passwd",
        "/console/..%2f..%2fetc%2fpasswd",
        "/console/%2e%2e/%2e%2e/etc/passwd",
        "/console/....//....//etc/passwd",
        "/console//etc/passwd",
        "/console/phone/..%5c..%5csecret",
        "/console/app.js%00.html",
        "/console/index.html/../../__init__.py",
        "/console/__init__.py",
        "/console/%0d%0aSet-Cookie:%20a=b",
        "/console/calls/..%2f..",
        "/console\\..\\..",
        "//console/",
        "/console/api/../api/setup",
        "/console;/api/setup",
    ],
)
async def test_no_path_leads_out_or_past_the_guard(node: LiveNode, path: str) -> None:
    head = f"GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    told = await raw(node, head.encode())
    assert told[9:12] in (b"400", b"404", b"421"), told[:200]
    assert b"root:" not in told and b"accesskey" not in told and b"\r\nSet-Cookie" not in told
    told = await raw(node, head.replace("evil.example", "localhost").encode())
    assert told[9:12] in (b"400", b"404", b"200") and b"root:" not in told and b"\r\nSet-Cookie" not in told
    assert told[9:12] != b"200" or b"<!doctype html>" in told


async def test_requests_that_cannot_be_read_leave_no_traceback(node: LiveNode, page: Page) -> None:
    """The fixture's node must have none in its log."""
    known, write = len(node.log), "Host: localhost\r\nOrigin: http://localhost\r\nX-Offhook-Console: 1\r\n"
    post = f"POST {API}/setup/check HTTP/1.1\r\n{write}Content-Type: application/json\r\n"
    for text in (
        f"GET {API}/calls?q={'a' * 70_000} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        f"{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET {API}/status HTTP/1.1\r\n\r\n",
        f"{post}Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
        f"{post}Content-Encoding: gzip\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
        f"GET {API}/calls HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        "\x00\x01 nothing\r\n\r\n",
    ):
        told = await raw(node, text.encode())
        assert told[9:12] == b"400" and told.count(b"HTTP/1.") == 1, (text[:80], told[:300])
    status, body = await page.get("leg", Origin=page.origin, **{"Sec-Fetch-Site": "same-origin"})
    assert status == 400 and "WebSocket" in body["error"]["message"]
    assert node.log[known:] == []


async def test_bodies_are_bounded(page: Page) -> None:
    head = {"Origin": page.origin, "X-Offhook-Console": "1", "Content-Type": "application/json"}

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100_000):
            yield b" " * 4096

    for body in (io.BytesIO(b" " * 70_000), endless()):
        with contextlib.suppress(ConnectionError):
            async with page.session.post(f"{page.origin}{API}/setup/check", headers=head, data=body) as response:
                assert response.status == 413
    status, _ = await page.get("calls")
    assert status == 200


async def test_a_flood_of_readers_is_bounded_and_leaves_nothing(node: LiveNode, page: Page) -> None:
    status, before = await page.get("status")
    text = f"GET {API}/stream HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    writers, answers = [], []
    for _ in range(150):
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        writer.write(text)
        writers.append(writer)
        answers.append((await reader.readline())[9:12])
    assert answers.count(b"200") == 64 and answers.count(b"503") == 86
    for writer in writers:
        writer.transport.abort()

    async def room() -> bool:
        async with page.session.get(f"{page.origin}{API}/stream") as response:
            return response.status == 200

    async def settled() -> bool:
        _, now = await page.get("status")
        return bool(now["figures"]["tasks"] <= before["figures"]["tasks"] + 2)

    for condition in (room, settled):
        deadline = asyncio.get_running_loop().time() + 20
        while not await condition():
            assert asyncio.get_running_loop().time() < deadline, condition
            await asyncio.sleep(0.1)


async def test_no_route_of_the_console_is_forgotten_here() -> None:
    """Every route that is documented is among those that are tried above."""
    text = (Path(__file__).parents[2] / "docs" / "console.md").read_text()
    for method, path in re.findall(r"`(GET|POST) /console/api/([^`?]*)", text):
        known = {"GET": (*(each.partition("?")[0] for each in READS), *SOCKETS), "POST": WRITES}[method]
        shape = re.sub(r"\{id\}", "x", re.sub(r"\{seq\}", "1", path))
        assert shape in known, f"{method} {path}"
