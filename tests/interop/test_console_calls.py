"""The list of calls in Chromium, over rows that were made up: many of them, changing, in several tabs at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, Page, expect
from tests.interop.browser import watched_page
from tests.interop.made_call import story
from tests.interop.made_console import MadeConsole
from tests.live import until

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(60)]
KEPT = 250
HOUR = "const realNow = Date.now; Date.now = () => realNow() + 3600000;"
HIDING = """
window.seen = true;
Object.defineProperty(document, "hidden", { get: () => !window.seen });
window.look = (seen) => {
  window.seen = seen;
  document.dispatchEvent(new Event("visibilitychange"));
};
"""


def row(number: int, *, ended: bool, ago: timedelta) -> dict[str, Any]:
    """A call that began so long ago; its id begins with its number."""
    began = (datetime.now(UTC) - ago).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "callId": f"{number:08d}-3d55-4a52-8f00-d5f0c7b1a7e4",
        "callConnectionId": None,
        "direction": "incoming",
        "from": {"rawId": f"4:+1555{number:07d}"},
        "to": {"rawId": "4:+15550100002"},
        "state": "ended" if ended else "connected",
        "ended": ended,
        "startedAt": began,
        "answeredAt": began,
        "endedAt": began if ended else None,
        "endedBy": "caller" if ended else None,
        "durationMs": 1000 if ended else None,
        "result": {"code": 200, "subCode": 7000, "message": ""} if ended else None,
        "events": 1,
        "legs": 1,
    }


@pytest_asyncio.fixture(loop_scope="session")
async def made() -> AsyncIterator[tuple[MadeConsole, str]]:
    """A console with some hundred calls that are over and one that has gone on for longer; and its address."""
    console = MadeConsole([story()])
    console.more_rows = [row(n, ended=True, ago=timedelta(minutes=n)) for n in range(1, KEPT)]
    console.more_rows.append(row(900, ended=False, ago=timedelta(minutes=900)))
    runner = web.AppRunner(console.app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield console, f"http://127.0.0.1:{runner.addresses[0][1]}/console/"
    await runner.cleanup()


async def test_a_long_list_stays_as_it_was_left(browser: Browser, made: tuple[MadeConsole, str]) -> None:
    console, root = made
    async with watched_page(browser) as watched:
        watched.allowed = ["404"]  # there is no node behind it
        await watched.context.add_init_script(HOUR)
        page = watched.page
        await page.goto(root)
        live = page.get_by_role("table", name="Live calls").locator("tr[data-call]")
        ended = page.get_by_role("table", name="Ended calls").locator("tr[data-call]")
        await expect(live).to_have_count(1)
        await expect(live).to_contain_text("15:0")  # hours, by the clock of the node
        await expect(ended).to_have_count(100)
        for rows in (200, KEPT):
            await page.get_by_role("button", name="Show older calls").click()
            await expect(ended).to_have_count(rows)
        await expect(page.get_by_role("button", name="Show older calls")).to_be_hidden()
        await until(lambda: console.lists, "the page listens")
        marked = ended.nth(120)
        await marked.evaluate("(one) => { one.dataset.mark = 1; one.querySelector('a').focus(); }")
        console.tell_row(row(901, ended=False, ago=timedelta()))
        await expect(live).to_have_count(2)
        console.tell_row(row(900, ended=True, ago=timedelta(seconds=1)))
        await expect(live).to_have_count(1)
        await expect(ended).to_have_count(KEPT + 1)
        await expect(page.locator(".count")).to_have_text(f"1 live, {KEPT + 1} ended")
        assert await page.evaluate("document.activeElement.closest('tr').dataset.mark") == "1", "nobody's place is lost"

        await page.locator("[data-mark]").scroll_into_view_if_needed()
        top = await page.evaluate("scrollY")
        assert top > 1000
        await page.get_by_role("link", name="Skip to the page").focus()
        await page.keyboard.press("Enter")
        assert await page.evaluate("[document.activeElement.id, document.querySelectorAll('[data-mark]').length]") == [
            "page",
            1,
        ]
        await page.evaluate("(top) => scrollTo(0, top)", top)
        await page.locator("[data-mark] a").click(force=True)
        await expect(page.get_by_text("This page could not be shown")).to_be_visible()
        await page.go_back()
        await expect(ended).to_have_count(KEPT)  # as many as were asked for
        await page.wait_for_function("(top) => Math.abs(scrollY - top) < 2", arg=top)


async def test_eight_tabs_do_not_keep_each_other_waiting(browser: Browser, made: tuple[MadeConsole, str]) -> None:
    """Browsers open six connections to a host; tabs that nobody sees need none."""
    console, root = made
    async with watched_page(browser) as watched:
        await watched.context.add_init_script(HIDING)
        pages = [watched.page, *[await watched.context.new_page() for _ in range(7)]]

        async def opened(page: Page) -> None:
            """Somebody opens it, sees the calls, and goes on to the next."""
            await page.goto(root, wait_until="commit")
            await expect(page.get_by_role("table", name="Ended calls")).to_contain_text("+15550000001")
            await page.evaluate("look(false)")

        await asyncio.gather(*map(opened, pages))
        await until(lambda: not console.lists, "no stream is open")
        console.tell_row(row(901, ended=False, ago=timedelta()))
        await asyncio.gather(*(page.evaluate("look(true)") for page in pages[:3]))
        for page in pages[:3]:
            await expect(page.get_by_role("table", name="Live calls")).to_contain_text("+15550000901")
        assert len(console.lists) == 3
