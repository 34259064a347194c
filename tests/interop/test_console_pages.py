"""Every page of the console: for all (axe-core), by keyboard, in light and dark, on a phone; at once and silent."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect
from tests.console_leg import caller
from tests.interop.browser import NARROW, WIDE, Watched, watched_page
from tests.interop.console import Console, dial, ready_phone
from tests.live import dev_node

from tools import js_sdk

pytestmark = [
    pytest.mark.interop,
    pytest.mark.js,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(120),
]
AXE = js_sdk.PROJECT / "node_modules" / "axe-core" / "axe.min.js"
FIRST_PAINT_MS = 1000

_REACHABLE = """
() => [...document.querySelectorAll(
  "a[href], button:not(:disabled), input:not(:disabled), select, textarea, summary, [tabindex='0']"
)].filter((one) => one.tabIndex >= 0 && one.checkVisibility({ visibilityProperty: true }) && !one.closest("[inert]")
  && !(one.type === "radio" && !one.checked)).map((one, at) => { one.dataset.walk = at; return at; })
"""
_FOCUSED = """
() => {
  const one = document.activeElement;
  if (!one || one === document.body) return null;
  const drawn = [one, one.nextElementSibling].some((shown) => shown && ["", "::after"].some((part) => {
    const style = getComputedStyle(shown, part || undefined);
    return (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1) || style.boxShadow !== "none";
  }));
  return { walk: one.dataset.walk ?? null, drawn, tag: one.outerHTML.slice(0, 160) };
}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def seen(console: Console) -> AsyncIterator[Watched]:
    """A page that is taken from one address to the next; it must not complain of anything."""
    async with watched_page(console.browser) as watched:
        yield watched
        assert watched.wrong == []


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def over(console: Console) -> str:
    """The id of a call that is over."""
    async with caller(console.node, dtmf=[[0.2, "1"]], tone=440, duration=0.5) as leg:
        await leg.told("ended")
        return str((await leg.told("placed"))["callId"])


async def serious(page: Page) -> list[dict[str, Any]]:
    """What axe-core finds that keeps people out."""
    if not await page.evaluate("() => 'axe' in window"):
        await page.evaluate(AXE.read_text())
    found = await page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    return [
        {"rule": rule["id"], "where": [node["target"] for node in rule["nodes"]], "why": rule["help"]}
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
    ]


async def everywhere(page: Page) -> None:
    """Light and dark, wide and narrow: nothing serious, and nothing that is wider than the screen."""
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        for size in (WIDE, NARROW):
            await page.set_viewport_size(size)
            assert await serious(page) == [], (page.url, scheme, size)
            wide = await page.evaluate("() => document.documentElement.scrollWidth")
            assert wide <= size["width"], (page.url, scheme, size, wide)
    await page.set_viewport_size(WIDE)


async def walked(page: Page) -> None:
    """Tab goes to everything that can be used, and shows where it is."""
    expected = set(map(str, await page.evaluate(_REACHABLE)))
    await page.evaluate("() => { document.activeElement?.blur(); getSelection()?.removeAllRanges(); }")
    reached: set[str] = set()
    for _ in range(len(expected) + 10):
        await page.keyboard.press("Tab")
        focused = await page.evaluate(_FOCUSED)
        if focused is None:
            continue
        assert focused["drawn"], f"no ring: {focused['tag']}"
        reached.add(str(focused["walk"]))
    missed = [await page.locator(f"[data-walk='{at}']").evaluate("one => one.outerHTML") for at in expected - reached]
    assert not missed, (page.url, missed)


@pytest.mark.parametrize("path", ["", "phone", "setup", "login", "calls/{call}"])
async def test_a_page_is_for_everybody(console: Console, over: str, seen: Watched, path: str) -> None:
    page = seen.page
    answer = await page.goto(console.url(path.format(call=over)))
    assert answer is not None and answer.status == 200
    await expect(page.locator("h1")).to_be_visible()
    if path != "login":
        await expect(page.locator(".phone-head .tag")).to_have_text("Ready")
    paint = await page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
    assert paint is not None and paint < FIRST_PAINT_MS
    await walked(page)
    await everywhere(page)


async def test_a_page_that_is_not_there_is_told(console: Console) -> None:
    async with watched_page(console.browser) as watched:
        answer = await watched.page.goto(console.url("nowhere"))
        assert answer is not None and answer.status == 404


async def test_the_phone_in_a_call_is_for_everybody(console: Console) -> None:
    async with ready_phone(console) as phone:
        page = phone.page
        await dial(page)
        await expect(page.locator(".call-state")).to_have_text("Connected")
        await page.get_by_role("button", name="Keypad").click()
        await walked(page)
        await everywhere(page)
        await page.get_by_role("link", name="Calls", exact=True).click()
        await page.set_viewport_size(NARROW)
        await expect(page.get_by_role("region", name="Call under way")).to_be_visible()
        assert await serious(page) == []
        await page.get_by_role("button", name="Go to the call").click()
        await page.locator(".call-controls").get_by_role("button", name="Hang up").click()
        await expect(page.get_by_role("button", name="Call again")).to_be_visible()
        assert await serious(page) == []


async def test_a_theme_that_is_chosen_stays(console: Console) -> None:
    async with watched_page(console.browser, dark=True) as watched:
        page, theme = watched.page, "() => document.documentElement.dataset.theme"
        await page.goto(console.url())
        assert await page.evaluate(theme) == "dark"
        await page.get_by_role("button", name="Theme: system").click()
        assert await page.evaluate(theme) == "light"
        await page.reload()
        assert await page.evaluate(theme) == "light"
        await page.get_by_role("button", name="Theme: light").click()
        await page.get_by_role("button", name="Theme: dark").click()
        await page.emulate_media(color_scheme="light")
        await page.wait_for_function(f"() => ({theme})() === 'light'")


async def test_the_list_is_searched_and_filtered(console: Console, over: str) -> None:
    async with watched_page(console.browser) as watched:
        page = watched.page
        await page.goto(console.url())
        rows = page.locator("tr[data-call]")
        await expect(rows.first).to_be_visible()
        await page.get_by_label("Search calls").fill("+15559999999")
        await expect(page.get_by_text("No call matches")).to_be_visible()
        await page.get_by_label("Search calls").fill("+15550100002")
        await expect(rows.first).to_be_visible()
        await page.get_by_role("radio", name="Live").check()
        await expect(page.get_by_text("No live call matches")).to_be_visible()
        assert page.url.endswith("?q=%2B15550100002&state=live")
        await page.reload()
        await expect(page.get_by_text("No live call matches")).to_be_visible()
        await page.get_by_role("radio", name="Ended").check()
        await rows.first.get_by_role("link").click()
        await expect(page).to_have_url(re.compile("/console/calls/."))
        await page.go_back()
        await expect(rows.first).to_be_visible()
        assert watched.wrong == []


async def test_a_new_node_says_what_to_do_and_its_page_outlives_it(
    console: Console, tmp_path: Any, free_port: Callable[[], int]
) -> None:
    port = str(free_port())
    async with watched_page(console.browser) as watched:
        watched.allowed = ["ERR_", "WebSocket", "503", "ApiError: The node does not answer"]
        page = watched.page
        lost = page.locator("#banner")
        async with dev_node(tmp_path, "--port", port) as node:
            await page.goto(f"{node.http}/console/setup")
            await expect(page.get_by_text("No app is told of incoming calls yet")).to_be_visible()
            command = f"offhook exec --node {node.http} -- python app.py"
            await expect(page.get_by_text(command)).to_be_visible()
            assert await serious(page) == []
            await page.get_by_role("link", name="Calls", exact=True).click()
            await expect(page.get_by_text("No calls yet")).to_be_visible()
            await expect(page.locator(".empty .command")).to_contain_text(command)
            await expect(page.get_by_role("button", name="Call the app")).to_be_visible()
            assert await serious(page) == [] and watched.complaints == []
        await expect(lost).to_be_visible(timeout=15_000)
        await page.get_by_role("link", name="Setup").click()
        await expect(page.get_by_text("This page could not be shown")).to_be_visible()
        async with dev_node(tmp_path, "--port", port):
            await expect(lost).to_be_hidden(timeout=15_000)
            await expect(page.get_by_text("No app is told of incoming calls yet")).to_be_visible()
            await expect(page.locator(".phone-head .tag")).to_have_text("Ready", timeout=15_000)
        assert watched.wrong == []
