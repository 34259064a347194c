"""Texts that want to be a page, in every place where somebody outside can put one: the console shows them as texts."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, Page, expect
from tests.console_leg import caller, phone
from tests.interop.browser import NARROW, Watched, watched_page
from tests.live import CONNECTIONS, LiveNode, TestApp, answer, dev_node, rest, serve_node, until
from tests.service.config_text import HEAD, TOKEN, written

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(60)]

IMAGE = "<img src=x onerror=\"owned('image')\">"
SCRIPT = "\"><script>owned('script')</script>"
SVG = "</textarea></title></style></script><svg onload=owned('svg')>"
TEMPLATE = "{{constructor.constructor('owned(1)')()}}${owned(1)}<b>bold</b>"
LINK = "javascript:owned('link')"
TURNED = "\u202egpj.exe\u202d \u2066\u2067 \u0000"
LONG = "W" * 3000
ALL = IMAGE + SCRIPT + SVG + TEMPLATE + LINK + TURNED

WATCH = """
window.owners = [];
window.owned = (by) => window.owners.push(by);
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective} ${event.sample}`);
});
"""
DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
FACTS = """() => ({
  owners: window.owners, violations: window.violations,
  scripts: [...document.scripts].map((one) => one.getAttribute("src")),
  foreign: document.querySelectorAll("img[src=x], svg[onload], b, iframe, object, embed, [onerror], [onclick]").length,
  links: [...document.querySelectorAll("a[href], form[action]")].map((one) => one.getAttribute("href") ?? one.action),
  wide: document.documentElement.scrollWidth - document.documentElement.clientWidth <= 0 ? [] :
    [...document.body.querySelectorAll("*")].filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
      .map((one) => one.tagName + "." + one.className),
})"""


@dataclass
class Scene:
    """A node whose app and callers are all hostile, and a browser."""

    node: LiveNode
    app: TestApp
    browser: Browser
    refusing: str


async def refuse(request: web.Request) -> web.Response:
    """A webhook that answers with a page."""
    return web.Response(status=418, reason="<b>teapot</b>", text=ALL, content_type="text/html")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scene(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    app, other = TestApp(), web.Application()
    other.router.add_route("*", "/{tail:.*}", refuse)
    runner = web.AppRunner(other, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    refusing = f"http://127.0.0.1:{runner.addresses[0][1]}/{IMAGE.replace(' ', '')}?q={SCRIPT.replace(' ', '')}"
    async with (
        app.running(),
        dev_node(
            tmp_path_factory.mktemp("state"), "--incoming", app.webhook, "--incoming", refusing, "--sip-port", "0"
        ) as node,
    ):
        await until(lambda: len(node.named("subscription")) >= 1, "the first answer of a webhook")
        yield Scene(node, app, browser, refusing)
    await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session")
async def seen(scene: Scene) -> AsyncIterator[Watched]:
    """A page at which nothing may happen, whatever it shows."""
    await scene.app.clear()
    async with watched_page(scene.browser) as watched:
        dialogs: list[str] = []
        watched.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
        watched.context.on("page", lambda page: dialogs.append(f"another page: {page.url}"))
        await watched.context.add_init_script(WATCH)
        await watched.context.grant_permissions(["microphone"])
        yield watched
        assert dialogs == [] and watched.wrong == []


async def inert(page: Page) -> None:
    """Nothing of the texts has become a part of the page."""
    facts = await page.evaluate(FACTS)
    assert facts["owners"] == [] and facts["violations"] == [], facts
    assert all(source and source.startswith("/console/") for source in facts["scripts"])
    assert facts["foreign"] == 0
    assert all(link.startswith(("/console/", "#", "https://", "http://")) for link in facts["links"]), facts
    assert facts["wide"] == [], "a long text makes the page wide"


async def a_hostile_call(scene: Scene) -> str:
    """A call with such texts wherever the app and the caller may put some; its id."""
    node, app = scene.node, scene.app
    async with caller(node, displayName=ALL + LONG) as leg:
        data = await app.invited()
        call = (await leg.told("placed"))["callId"]
        callback = f"{app.callback}?{quote(SCRIPT)}={quote(LONG[:1500])}&token={quote(IMAGE)}"
        properties = await answer(node, data["incomingCallContext"], callback, operationContext=ALL)
        path = f"{CONNECTIONS}/{properties['callConnectionId']}"
        await app.event("CallConnected")
        bodies: list[tuple[str, Any]] = [
            (":play", {"playSources": [{"kind": "file", "file": {"uri": f"{app.url}/{IMAGE}{LINK}"}}], "playTo": []}),
            (":play", {"playSources": [{"kind": "file", "file": {"uri": LINK}}], "operationContext": SVG}),
            ("/participants:add", {"participantToAdd": {"kind": "unknown", "rawId": f"8:acs:{IMAGE}"}, "x": SCRIPT}),
            ("/participants:add", [ALL]),
            (":transferToParticipant", {"targetParticipant": {"kind": ALL, "rawId": SVG + LONG}}),
            (f"/{quote(IMAGE)}", {"operationContext": TEMPLATE}),
        ]
        for place, body in bodies:
            await rest(node, "POST", path + place, body)
        await rest(node, "POST", path + ":startMediaStreaming", b"\xff\xfe" + ALL.encode())
        await rest(node, "POST", f"{path}:terminate")
        await leg.told("ended")
    await app.event("CallDisconnected")
    return str(call)


async def test_a_call_that_is_hostile_throughout(scene: Scene, seen: Watched) -> None:
    page = seen.page
    await page.goto(f"{scene.node.http}/console/")
    call = await a_hostile_call(scene)
    table = page.locator("main")
    await expect(table).to_contain_text(IMAGE)
    await expect(table).to_contain_text("ended", ignore_case=True)
    await inert(page)
    await page.goto(f"{scene.node.http}/console/calls/{call}")
    await expect(page.locator(".inspector h1")).to_contain_text(IMAGE)
    await each_event(page, "<img src=x", "<script>owned", "<svg onload", "{{constructor", "javascript:owned")
    shown = await page.locator("main").inner_text()
    assert len(shown) > 500
    await page.set_viewport_size(NARROW)
    await inert(page)


async def each_event(page: Page, *pieces: str) -> None:
    """Choose one event after the other, as a reader does; `pieces` are among what is shown of them."""
    grid = page.locator(".event-grid")
    count = int(await grid.get_attribute("aria-rowcount") or 0) - 1
    assert count >= 4
    await grid.focus()
    texts = []
    for _ in range(count):
        await page.keyboard.press("ArrowDown")
        await page.evaluate(DRAWN)
        texts.append(await page.locator(".detail").inner_text())
        await inert(page)
    whole = "\n".join(texts)
    for piece in pieces:
        assert piece in whole, f"{piece} is shown as it is"


async def test_a_phone_that_is_hostile(scene: Scene, seen: Watched) -> None:
    """A name, a user agent, a subject and headers of a SIP phone."""
    sip = scene.node.info["sip"]
    name = (IMAGE + SCRIPT + TURNED.replace("\0", "")).replace("\\", "").replace('"', '\\"')
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.bind(("127.0.0.1", 0))
        ours = out.getsockname()[1]
        body = f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns={IMAGE}\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        body += "m=audio 40000 RTP/AVP 0\r\n"
        text = (
            f"INVITE sip:+15550100002@127.0.0.1:{sip['udp']} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 127.0.0.1:{ours};branch=z9hG4bKhostile\r\nMax-Forwards: 70\r\n"
            f'From: "{name}" <sip:+15550100077@127.0.0.1>;tag=evil\r\nTo: <sip:+15550100002@127.0.0.1>\r\n'
            f"Call-ID: {'evil'}@127.0.0.1\r\nCSeq: 1 INVITE\r\nContact: <sip:evil@127.0.0.1:{ours}>\r\n"
            f"User-Agent: {IMAGE}{SCRIPT}\r\nSubject: {SVG}\r\nX-Evil: {TEMPLATE}{LINK}\r\n"
            f"X-MS-Custom-Evil: {SCRIPT}\r\nUser-to-User: {IMAGE};encoding=hex\r\n"
            f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        )
        out.sendto(text.encode(), ("127.0.0.1", sip["udp"]))
        data = await scene.app.invited()
        page = seen.page
        await page.goto(f"{scene.node.http}/console/")
        await expect(page.locator("main")).to_contain_text("+15550100077")
        await expect(page.locator("main")).to_contain_text(IMAGE)
        await inert(page)
        status, _ = await rest(
            scene.node,
            "POST",
            "/calling/callConnections:reject",
            {"incomingCallContext": data["incomingCallContext"], "callRejectReason": "busy"},
        )
        assert status == 204
        await page.get_by_role("link", name="+15550100077").first.click()
        await expect(page.locator(".inspector h1")).to_be_visible()
        await each_event(page, "User-Agent: <img src=x", "X-Evil: {{constructor", "<svg onload")


async def test_an_app_that_is_hostile_to_phones(scene: Scene, seen: Watched) -> None:
    """Names and contexts of calls that an app makes to a browser and to a simulated phone."""
    page, node = seen.page, scene.node
    await page.goto(f"{node.http}/console/phone")
    await expect(page.locator(".phone-head .tag")).to_have_text("Ready")
    mine = await page.evaluate("() => JSON.parse(localStorage.getItem('offhook.phone.identity'))")
    headers = {"x-evil": IMAGE, "User-To-User": "evil"}
    body = {
        "sourceDisplayName": ALL + LONG,
        "callbackUri": scene.app.callback,
        "operationContext": SVG,
        "customCallingContext": {"voipHeaders": headers},
        "targets": [{"kind": "communicationUser", "communicationUser": {"id": mine}}],
    }
    status, properties = await rest(node, "POST", CONNECTIONS, body)
    assert status == 201, properties
    ring = page.get_by_role("alert", name="Incoming call")
    await expect(ring).to_contain_text(IMAGE)
    await expect(ring.locator("dd").filter(has_text=IMAGE)).to_be_visible()
    assert "Incoming call" in await page.title()
    await inert(page)
    await page.set_viewport_size(NARROW)
    await inert(page)
    await rest(node, "POST", f"{CONNECTIONS}/{properties['callConnectionId']}:terminate")
    await expect(ring).to_be_hidden()
    await inert(page)
    async with phone(node, "+15550100055", never=True):
        number = {"kind": "phoneNumber", "phoneNumber": {"value": "+15550100055"}}
        body |= {"targets": [number], "sourceCallerIdNumber": {"value": "+15550100009"}}
        status, properties = await rest(node, "POST", CONNECTIONS, {**body, "customCallingContext": None})
        assert status == 201, properties
        await page.goto(f"{node.http}/console/")
        await expect(page.locator("main")).to_contain_text("+15550100055")
        await inert(page)
        await rest(node, "POST", f"{CONNECTIONS}/{properties['callConnectionId']}:terminate")


async def test_the_setup_page_of_a_hostile_app(scene: Scene, seen: Watched) -> None:
    page = seen.page
    await page.goto(f"{scene.node.http}/console/setup")
    await expect(page.locator("main")).to_contain_text("<imgsrc=x")
    await inert(page)
    for button in await page.get_by_role("button", name="Test").all():
        await button.click()
    await expect(page.locator("main")).to_contain_text("418")
    await inert(page)
    await page.set_viewport_size(NARROW)
    await inert(page)


async def test_addresses_that_are_hostile(scene: Scene, seen: Watched) -> None:
    seen.allowed = ["404", "No such call"]  # a call of that name is looked for
    for place, text in (
        ("calls/", IMAGE + LINK),
        ("calls/", "..%"),
        ("nothing/", IMAGE + SCRIPT),
        ("setup#", IMAGE + SCRIPT),
        ("?q=", IMAGE + SCRIPT + LINK),
        ("login?next=", LINK),
    ):
        await seen.page.goto(f"{scene.node.http}/console/{place}{quote(text)}")
        await inert_or_json(seen.page)


async def inert_or_json(page: Page) -> None:
    """An answer that is no page is JSON, and shown as such."""
    kind = await page.evaluate("document.contentType")
    if kind == "application/json":
        assert await page.evaluate("window.owners.length + window.violations.length") == 0
    else:
        await inert(page)


async def test_the_console_cannot_be_framed_nor_used_from_elsewhere(scene: Scene, seen: Watched) -> None:
    known = scene.app.validations
    async with watched_page(scene.browser) as elsewhere:
        await tried_from_elsewhere(elsewhere.page, scene.node.http)
    assert scene.app.validations == known, "nothing was done for it"
    await seen.page.goto(f"{scene.node.http}/console/")
    await inert(seen.page)


async def tried_from_elsewhere(page: Page, root: str) -> None:
    """What a page of another port of the same host gets: it is the same site, with the same cookies."""
    runner = web.AppRunner(_plain_page(), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        await page.goto(f"http://localhost:{runner.addresses[0][1]}/")
        told = await page.evaluate((Path(__file__).parent / "elsewhere.js").read_text(), root)
        frames = [frame for frame in page.frames if frame.url.startswith(root)]
        assert not [frame for frame in frames if "Offhook" in await frame.title()], "no frame shows the console"
    finally:
        await runner.cleanup()
    assert told["blind"] in ("opaque", "TypeError")
    expected = {"read": "TypeError", "text": "TypeError", "json": "TypeError", "leg": "error", "phone": "error"}
    assert {**told, **expected, "stream": "error", "script": "error", "frame": "blocked"} == told, told


def _plain_page() -> web.Application:
    async def blank(request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><body>elsewhere", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", blank)
    return app


STREAM = """() => new Promise((done) => {
  const source = new EventSource("/console/api/stream");
  source.onopen = () => { source.close(); done("open"); };
  source.onerror = () => { source.close(); done("error"); };
})"""

DOWNLOAD = """() => {
  const link = document.createElement("a");
  Object.assign(link, { href: "/console/api/status", download: "status.json" });
  link.click();
}"""


async def test_a_session_is_out_of_reach_for_scripts(scene: Scene, tmp_path: Path) -> None:
    """Logging in to a node that others reach, and out again."""
    text = f'{HEAD}[node]\nhost = "127.0.0.1"\nport = 0\nstate_dir = "state"\n[console]\ntoken = "{TOKEN}"\n'
    async with (
        serve_node(written(tmp_path, text)) as node,
        watched_page(scene.browser, ignore_https_errors=True) as watched,
    ):
        page, root = watched.page, f"https://localhost:{node.port}/console/"
        watched.allowed = ["401"]  # it is not logged in yet, and no longer
        await page.goto(f"{root}setup")
        await page.wait_for_url("**/console/login?next=%2Fconsole%2Fsetup")
        assert await page.evaluate(STREAM) == "error"
        await page.get_by_label("Token").fill("a guess")
        await page.get_by_role("button", name="Log in").click()
        await expect(page.get_by_role("alert")).to_contain_text("not the token")
        await page.get_by_label("Token").fill(TOKEN)
        await page.get_by_role("button", name="Log in").click()
        await page.wait_for_url("**/console/setup")
        await expect(page.locator("main")).to_contain_text("endpoint=https://localhost")
        assert await page.evaluate("document.cookie") == ""
        (cookie,) = await watched.context.cookies()
        assert cookie["httpOnly"] and cookie["secure"] and cookie["sameSite"] == "Strict"
        assert await page.evaluate(STREAM) == "open"
        async with page.expect_event("download") as download:
            await page.evaluate(DOWNLOAD)
        assert (await download.value).url.endswith("/console/api/status"), "a link of the page brings the session"
        await tried_from_elsewhere(await watched.context.new_page(), f"https://localhost:{node.port}")
        await page.get_by_role("button", name="Log out").click()
        await page.wait_for_url("**/console/login")
        assert await watched.context.cookies() == []
        assert await page.evaluate(STREAM) == "error"
        assert watched.wrong == []
