"""The console's phone in Chromium: it calls the echo app and hears itself, presses keys, and is called."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect
from tests.interop.browser import Watched, watched_page
from tests.interop.console import Console, dial, hears_what_was_said, ready_phone
from tests.live import CALLEE, CONNECTIONS, TestApp, rest, until

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(90)]
CHOSEN = "document.querySelector('.event-rows [aria-selected=\"true\"]')"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def phone(console: Console) -> AsyncIterator[Watched]:
    async with ready_phone(console) as phone:
        yield phone


async def test_the_phone_calls_the_echo_app_and_hears_itself(console: Console, phone: Watched) -> None:
    page, before = phone.page, len(console.echo.named("dtmf"))
    await dial(page)
    await expect(page.locator(".call-state")).to_have_text("Connected")
    await hears_what_was_said(phone)
    await page.get_by_role("button", name="Keypad").click()
    await page.get_by_role("group", name="Keys").get_by_role("button", name="5").click()
    await page.keyboard.press("7")
    await until(
        lambda: [line["tone"] for line in console.echo.named("dtmf")][before:] == ["5", "7"], "the app hears both keys"
    )

    await page.get_by_role("link", name="Calls", exact=True).click()
    row = page.get_by_role("table", name="Live calls").get_by_role("row").nth(1)
    await expect(row).to_contain_text("+15550100002")
    await row.get_by_role("link").click()
    await expect(page.get_by_role("grid")).to_be_visible()
    await page.get_by_role("button", name="Hang up").first.click()
    await expect(page.locator(".call-state")).to_have_text("You hung up")
    await expect(page.locator(".call-facts")).to_contain_text("Ended")
    seen = await events_by_keyboard(page)
    order = iter(seen)
    expected = (
        "placed", "IncomingCall", "AnswerCall", "CallConnected", "MediaStreamingStarted", "5 pressed", "7 pressed",
        "CallDisconnected",
    )  # fmt: skip
    assert [name for name in expected if name in order] == list(expected), seen
    await page.get_by_role("link", name="Calls", exact=True).click()
    await expect(page.get_by_role("table", name="Ended calls")).to_contain_text("+15550100002")


async def events_by_keyboard(page: Page) -> list[str]:
    """Names of the call's events as the inspector lists them, found by going down its table."""
    grid, names = page.get_by_role("grid"), list[str]()
    await grid.focus()
    for key in ["Home"] + ["ArrowDown"] * (int(await grid.get_attribute("aria-rowcount") or 0) - 2):
        await page.keyboard.press(key)
        await page.wait_for_function(f"(index) => {CHOSEN}?.ariaRowIndex === index", arg=str(len(names) + 2))
        names.append(await page.evaluate(f"{CHOSEN}.querySelector('.name').textContent"))
    return names


async def create_call(console: Console, callback: str, target: str) -> str:
    """An app calls somebody; the call connection id."""
    number = {"kind": "phoneNumber", "phoneNumber": {"value": CALLEE}}
    body = {
        "targets": [{"kind": "communicationUser", "communicationUser": {"id": target}}],
        "sourceCallerIdNumber": number["phoneNumber"],
        "sourceDisplayName": "<b>Ada</b> \u202eecapsolevoL",
        "customCallingContext": {"voipHeaders": {"order": "4711"}},
        "callbackUri": callback,
    }
    status, properties = await rest(console.node, "POST", CONNECTIONS, body)
    assert status == 201, properties
    return str(properties["callConnectionId"])


async def test_an_app_calls_the_browser(console: Console, phone: Watched) -> None:
    page, app = phone.page, TestApp()
    mine = await page.evaluate("() => JSON.parse(localStorage.getItem('offhook.phone.identity'))")
    async with app.running():
        connection = await create_call(console, app.callback, mine)
        ring = page.get_by_role("alert", name="Incoming call")
        await expect(ring).to_contain_text("<b>Ada</b>")
        await expect(ring.get_by_role("group", name="Sent along with the call")).to_have_text("order4711")
        assert "Incoming call" in await page.title()
        await ring.get_by_role("button", name="Answer").click()
        await expect(page.locator(".call-state")).to_have_text("Connected")
        await app.event("CallConnected")
        await expect(ring).to_be_hidden()
        await page.get_by_role("button", name="Mute").click()
        await expect(page.get_by_role("button", name="Mute")).to_have_attribute("aria-pressed", "true")
        await page.get_by_role("button", name="Hold").click()
        await expect(page.locator(".call-state")).to_have_text("On hold")
        await page.get_by_role("button", name="Hold").click()
        status, _ = await rest(console.node, "POST", f"{CONNECTIONS}/{connection}:terminate")
        assert status == 204
        await app.event("CallDisconnected")
        await expect(page.locator(".call-state")).to_contain_text("(200/7000)")

        await create_call(console, app.callback, mine)
        await ring.get_by_role("button", name="Decline").click()
        failed = await app.event("CreateCallFailed")
        assert (failed["resultInformation"]["code"], failed["resultInformation"]["subCode"]) == (200, 5002)
        await expect(page.locator(".call-state")).to_have_text("Declined")


async def test_a_second_page_of_the_browser_leaves_the_phone_to_the_first(console: Console, phone: Watched) -> None:
    second = await phone.context.new_page()
    await second.goto(f"{console.node.http}/console/phone")
    await expect(second.locator(".phone-head .tag")).to_have_text("In another page")
    await second.get_by_role("button", name="Use the phone here").click()
    await expect(second.locator(".phone-head .tag")).to_have_text("Ready")
    await expect(phone.page.locator(".phone-head .tag")).to_have_text("In another page")
    await second.close()
    await expect(phone.page.locator(".phone-head .tag")).to_have_text("Ready")


MICROPHONES = """
const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
window.plugged = true;
navigator.mediaDevices.getUserMedia = async (how) => {
  if (!window.plugged) throw new DOMException("", "NotFoundError");
  return (window.given = await real(how));
};
window.unplug = () => {
  window.plugged = false;
  for (const track of window.given.getTracks()) {
    track.stop();
    track.dispatchEvent(new Event("ended"));
  }
};
window.plug = () => {
  window.plugged = true;
  navigator.mediaDevices.dispatchEvent(new Event("devicechange"));
};
"""


async def test_a_microphone_that_is_unplugged_is_missed_and_taken_again(console: Console) -> None:
    async with ready_phone(console, script=MICROPHONES) as phone:
        page = phone.page
        await dial(page)
        state = page.locator(".call-state")
        await expect(state).to_have_text("Connected")
        await page.evaluate("unplug()")
        await expect(page.get_by_role("alert").filter(has_text="No microphone was found")).to_be_visible()
        await expect(state).to_have_text("Connected, without a microphone")
        assert await page.get_by_role("button", name="without a microphone").count() == 0, "the call is up already"
        await page.evaluate("plug()")
        await expect(state).to_have_text("Connected")
        await expect(page.get_by_role("alert").filter(has_text="No microphone was found")).to_be_hidden()
        assert await page.evaluate("() => !dispatchEvent(new Event('beforeunload', { cancelable: true }))")
        await page.get_by_role("button", name="Hang up").first.click()
        assert await page.evaluate("() => dispatchEvent(new Event('beforeunload', { cancelable: true }))")


REFUSED = """
window.problem = "NotAllowedError";
navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("", window.problem); };
"""


async def test_without_a_microphone_a_call_is_possible_and_says_so(console: Console) -> None:
    async with watched_page(console.browser) as watched:
        await watched.context.add_init_script(REFUSED)
        page = watched.page
        await page.goto(f"{console.node.http}/console/phone")
        await page.get_by_role("button", name="Call", exact=True).click()
        await expect(page.get_by_role("alert").filter(has_text="The microphone is blocked")).to_be_visible()
        await page.evaluate("() => { problem = 'NotFoundError'; }")
        await page.get_by_role("button", name="Call again").click()
        await expect(page.get_by_role("alert").filter(has_text="No microphone was found")).to_be_visible()
        await page.get_by_role("button", name="Call without a microphone").click()
        await expect(page.locator(".call-state")).to_have_text("Connected, without a microphone")
        assert watched.wrong == []


@pytest.mark.parametrize(
    ("script", "title"),
    [
        ("delete window.RTCPeerConnection;", "This browser has no WebRTC"),
        ("Object.defineProperty(window, 'isSecureContext', { value: false });", "This page may not use a microphone"),
    ],
)
async def test_what_keeps_a_browser_from_calling_is_told_with_its_fix(
    console: Console, script: str, title: str
) -> None:
    async with watched_page(console.browser) as watched:
        await watched.context.add_init_script(script)
        page = watched.page
        await page.goto(f"{console.node.http}/console/phone")
        await expect(page.get_by_role("alert").filter(has_text=title)).to_be_visible()
        await expect(page.get_by_role("button", name="Call", exact=True)).to_be_disabled()
