"""The console's setup page: what it gives to copy works, and its tests of webhooks name what to mend."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect
from tests.console_leg import caller
from tests.interop.browser import watched_page
from tests.interop.console import Console
from tests.live import LiveNode, dev_node, sdk_environment, until

from tools import js_sdk

pytestmark = [
    pytest.mark.interop,
    pytest.mark.js,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(60),
]
PORT = "8000"
"""Of the example's app."""


async def snippet(page: Page, language: str) -> str:
    """The app of a tab."""
    await page.get_by_role("tab", name=language, exact=True).click()
    return await page.get_by_role("region", name=f"the {language} app").inner_text()


@contextlib.asynccontextmanager
async def running(node: LiveNode, file: Path, *command: str) -> AsyncIterator[None]:
    """An app as a process, from the folder of its file."""
    process = await asyncio.create_subprocess_exec(
        *command, str(file), cwd=file.parent, env=sdk_environment(node), stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield
        assert process.returncode is None, "the app has ended by itself"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_the_apps_of_the_page_answer_calls(
    browser: Browser, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = str(free_port())
    webhook = f"http://localhost:{port}/api/incomingCall"
    async with dev_node(tmp_path / "state", "--incoming", webhook) as node, watched_page(browser) as watched:
        page = watched.page
        await page.goto(f"{node.http}/console/setup")
        await page.get_by_role("button", name="Show the access key").click()
        hooks = page.locator(".hooks")
        await expect(hooks).to_contain_text("Waiting for the app")
        await hooks.get_by_role("button", name=f"Test {webhook}").click()
        await expect(page.locator(".finding.poor .fix")).to_contain_text("Fix:")
        # Node.js looks for packages beside the file.
        for language, file, program in (
            ("Python", tmp_path / "app.py", sys.executable),
            ("JavaScript", js_sdk.PROJECT / f"setup-page-{os.getpid()}.mjs", "node"),
        ):
            text = await snippet(page, language)
            assert node.connection_string in text
            file.write_text(text.replace(f"localhost:{PORT}", f"localhost:{port}").replace(PORT, port))
            try:
                async with running(node, file, program):
                    await answers(node, page, webhook)
            finally:
                file.unlink()
        await page.reload()
        await expect(hooks).to_contain_text("Validated")
        assert watched.wrong == []


async def answers(node: LiveNode, page: Page, webhook: str) -> None:
    """The app is found by the page's test as soon as it is there, and a call to it is a call."""
    test = page.locator(".hooks").get_by_role("button", name=f"Test {webhook}")
    findings = page.locator(".findings")

    async def found() -> bool:
        await test.click()
        await expect(findings.locator(".finding")).to_be_visible()
        return await findings.locator(".finding.good").count() > 0

    end = asyncio.get_running_loop().time() + 15
    while not await found():
        assert asyncio.get_running_loop().time() < end, await findings.inner_text()
    await until(lambda: [e for e in node.named("subscription") if e["state"] == "validated"], "the app is validated")
    async with caller(node) as leg:
        await leg.told("answered")


async def test_what_is_copied_is_what_a_shell_takes(console: Console, tmp_path: Path) -> None:
    async with watched_page(console.browser) as watched:
        page, node = watched.page, console.node
        await watched.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await page.goto(f"{node.http}/console/setup")
        string = page.get_by_role("button", name="Copy the connection string")
        await expect(string).to_be_visible()
        assert await page.get_by_text(node.key).count() == 0
        await string.click()
        assert await page.evaluate("() => navigator.clipboard.readText()") == node.connection_string
        await page.get_by_role("button", name="Show the access key").click()
        await expect(page.get_by_text(node.connection_string, exact=True)).to_be_visible()

        await page.get_by_role("button", name="Copy all lines for sh, bash, zsh").click()
        lines = await page.evaluate("() => navigator.clipboard.readText()")
        shell = await asyncio.create_subprocess_exec(
            "sh", "-c", f'{lines}\nprintf %s "$ACS_CONNECTION_STRING"', stdout=asyncio.subprocess.PIPE
        )
        out, _ = await shell.communicate()
        assert out.decode() == node.connection_string
        await quoted(page, tmp_path)
        assert watched.wrong == []


async def quoted(page: Page, folder: Path) -> None:
    """No character of a value means anything to a shell."""
    value = "a'b\\c$(touch pwned)`d`\"e"
    lines = await page.evaluate(
        "async (value) => (await import('/console/shells.js')).shells({ NAME: value }).map(({ text }) => text)", value
    )
    said = {}
    for name, line in zip(("sh", "pwsh", "fish"), lines, strict=True):
        if shutil.which(name) and name != "pwsh":
            shell = await asyncio.create_subprocess_exec(
                name, "-c", f'{line}\nprintf %s "$NAME"', stdout=asyncio.subprocess.PIPE, cwd=folder
            )
            said[name] = (await shell.communicate())[0].decode()
    assert set(said.values()) == {value}, said
    assert lines[1] == "$env:NAME = '" + value.replace("'", "''") + "'"
    assert re.fullmatch(r"set -gx NAME '.*'", lines[2])
