"""The console's phone on a network that fails: a call lives through five seconds of nothing, and not through more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import expect
from tests.interop.browser import HEARD_RATE, HEARD_SAMPLES, Watched
from tests.interop.console import Console, dial, hears_what_was_said, ready_phone
from tests.interop.network import Network
from tests.live import trace

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(90)]
DROP = 5.0
"""Seconds, as the promise to users has it: not a pause for something that could be waited for."""
GONE = 15.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def killed(console: Console) -> AsyncIterator[str]:
    """The call of a page whose process is gone. The node waits for it; other tests run meanwhile."""
    async with ready_phone(console) as phone:
        phone.allowed = ["crash"]
        call = await connected(phone)
        session = await phone.context.new_cdp_session(phone.page)
        killing = asyncio.ensure_future(session.send("Page.crash"))
        yield call
        killing.cancel()


async def test_a_call_goes_on_after_five_seconds_without_a_network(console: Console, killed: str) -> None:
    async with (
        Network(console.node.port, console.node.info["webrtc"]["port"]).running() as network,
        ready_phone(console, f"http://127.0.0.1:{network.port}/console/phone", network.script) as phone,
    ):
        phone.allowed = ["ERR_", "Failed to load resource", "WebSocket"]
        await connected(phone)
        state = phone.page.locator(".call-state")
        await phone.page.wait_for_function(f"() => {HEARD_SAMPLES} >= {HEARD_RATE}")
        network.cut()
        await asyncio.sleep(DROP)
        network.mend()
        before = int(await phone.page.evaluate(HEARD_SAMPLES))
        await expect(state).to_have_text("Connected", timeout=10_000)
        await expect(phone.page.locator(".phone-head .tag")).to_have_text("Ready")
        await hears_what_was_said(phone, since=before, least=0.8, span=3)
        await phone.page.keyboard.press("#")
        await expect(state).to_contain_text("(200/7000)")


async def test_a_page_that_is_closed_ends_its_call_at_once(console: Console) -> None:
    async with ready_phone(console) as phone:
        call = await connected(phone)
        await phone.page.close(run_before_unload=True)
        page = await ended(console, call, 3.0)
    assert page["endedBy"] == "caller"
    assert (page["result"]["code"], page["result"]["subCode"]) == (0, 5003)


async def test_a_page_that_is_killed_ends_its_call_within_fifteen_seconds(console: Console, killed: str) -> None:
    page = await ended(console, killed, GONE)
    assert (page["result"]["code"], page["result"]["subCode"]) == (410, 301005)


async def connected(phone: Watched) -> str:
    """Call the app; the call's id, once it is up."""
    await dial(phone.page)
    await expect(phone.page.locator(".call-state")).to_have_text("Connected")
    link = await phone.page.get_by_role("link", name="Inspect this call").get_attribute("href")
    assert link is not None
    return link.rpartition("/")[2]


async def ended(console: Console, call: str, seconds: float) -> dict[str, Any]:
    """The page of a call, once it is over."""
    end = asyncio.get_running_loop().time() + seconds
    while not (page := await trace(console.node, call))["ended"]:
        assert asyncio.get_running_loop().time() < end, f"the call has not ended within {seconds:g} s"
        await asyncio.sleep(0.1)
    return page
