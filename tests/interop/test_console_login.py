"""Logging in to a node that others reach, in Chromium: the session is the browser's, and out of reach for scripts."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import expect
from tests.interop.browser import chromium, watched_page
from tests.live import serve_node
from tests.service.config_text import HEAD, TOKEN, written

pytestmark = [pytest.mark.interop, pytest.mark.timeout(60)]

STREAM = """() => new Promise((done) => {
  const source = new EventSource("/console/api/stream");
  source.onopen = () => { source.close(); done("open"); };
  source.onerror = () => { source.close(); done("error"); };
})"""

LINK = """() => {
  const link = document.createElement("a");
  Object.assign(link, { href: "/console/api/status", download: "status.json" });
  link.click();
}"""


async def test_a_browser_logs_in_and_out(tmp_path: Path) -> None:
    text = f'{HEAD}[node]\nhost = "127.0.0.1"\nport = 0\nstate_dir = "state"\n[console]\ntoken = "{TOKEN}"\n'
    async with (
        serve_node(written(tmp_path, text)) as node,
        chromium() as browser,
        watched_page(browser, ignore_https_errors=True) as watched,
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
            await page.evaluate(LINK)
        assert (await download.value).url.endswith("/console/api/status"), "a link of the page brings the session"
        await page.get_by_role("button", name="Log out").click()
        await page.wait_for_url("**/console/login")
        assert await watched.context.cookies() == []
        assert await page.evaluate(STREAM) == "error"
        assert watched.wrong == []
