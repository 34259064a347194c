"""The console's phone on a network that fails: a call lives through five seconds of nothing, and not through more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from playwright.async_api import expect
from tests.interop.browser import HEARD_SAMPLES
from tests.interop.console import Console, dial, hears_what_was_said, open_console, ready_phone
from tests.interop.network import Network
from tests.live import until

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(90)]
DROP = 5.0
"""Seconds, as the promise to users has it: not a pause for something that could be waited for."""
GONE = 15.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> AsyncIterator[Console]:
    async with open_console(tmp_path_factory.mktemp("console"), free_port()) as console:
        yield console


async def test_a_call_goes_on_after_five_seconds_without_a_network(console: Console) -> None:
    async with (
        Network(console.node.port, console.node.info["webrtc"]["port"]).running() as network,
        ready_phone(console, f"http://127.0.0.1:{network.port}/console/phone", network.script) as phone,
    ):
        phone.allowed = ["ERR_", "Failed to load resource", "WebSocket"]
        await dial(phone.page)
        state = phone.page.locator(".call-state")
        await expect(state).to_have_text("Connected")
        await hears_what_was_said(phone, share=0.5)
        network.cut()
        await asyncio.sleep(DROP)
        network.mend()
        before = int(await phone.page.evaluate(HEARD_SAMPLES))
        await expect(state).to_have_text("Connected", timeout=10_000)
        await expect(phone.page.locator(".phone-head .tag")).to_have_text("Ready")
        await hears_what_was_said(phone, since=before, share=0.5)
        await phone.page.keyboard.press("#")
        await expect(state).to_contain_text("(200/7000)")


async def test_a_page_that_is_closed_ends_its_call_at_once(console: Console) -> None:
    async with ready_phone(console) as phone:
        await dial(phone.page)
        await expect(phone.page.locator(".call-state")).to_have_text("Connected")
        before = len(console.echo.callbacks())
        await phone.page.close(run_before_unload=True)
        await until(lambda: "CallDisconnected" in console.echo.callbacks()[before:], "the app hears of it", 3.0)


async def test_a_page_that_is_killed_ends_its_call_within_fifteen_seconds(console: Console) -> None:
    async with ready_phone(console) as phone:
        phone.allowed = ["crash"]
        await dial(phone.page)
        await expect(phone.page.locator(".call-state")).to_have_text("Connected")
        before = len(console.echo.callbacks())
        session = await phone.context.new_cdp_session(phone.page)
        killing = asyncio.ensure_future(session.send("Page.crash"))
        await until(lambda: "CallDisconnected" in console.echo.callbacks()[before:], "the app hears of it", GONE)
        killing.cancel()
