"""The console's phone in Chromium: it calls the echo app and hears itself, presses keys, and is called."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect
from tests.echo import Echo, echo_app
from tests.interop.browser import HEARD_RATE, Watched, chromium, watched_page
from tests.interop.likeness import windows_alike
from tests.live import LiveNode, dev_node, until

from offhook.audio.resample import resample
from offhook.audio.wav import read_wav, write_wav

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(90)]
RATE = 16000
SPEECH = Path(__file__).parents[2] / "src/offhook/assets/speech.wav"


@dataclass
class Place:
    """A node with the echo app behind it, and a browser whose microphone speaks."""

    node: LiveNode
    echo: Echo
    browser: Browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> AsyncIterator[Place]:
    folder = tmp_path_factory.mktemp("console")
    speech = read_wav(SPEECH.read_bytes())
    microphone = folder / "microphone.wav"
    microphone.write_bytes(write_wav(resample(speech.samples, speech.rate, HEARD_RATE), HEARD_RATE))
    port = free_port()
    webhook = f"http://127.0.0.1:{port}/api/incomingCall"
    async with (
        dev_node(folder / "state", "--incoming", webhook) as node,
        echo_app(node, "--port", str(port), "--rate", "24000") as echo,
        chromium(microphone) as browser,
    ):
        await until(lambda: echo.named("validated"), "the webhook is validated")
        yield Place(node, echo, browser)


@pytest_asyncio.fixture(loop_scope="module")
async def phone(place: Place) -> AsyncIterator[Watched]:
    """A page with the phone ready, that uses the microphone's sound as it is; it must not complain of anything."""
    async with watched_page(place.browser) as watched:
        await watched.context.grant_permissions(["microphone"])
        await watched.page.goto(f"{place.node.http}/console/phone")
        await expect(watched.page.locator(".phone-head .tag")).to_have_text("Ready")
        await watched.page.get_by_text("Sound devices and name").click()
        await watched.page.get_by_label("Echo cancellation").uncheck()
        yield watched
        assert watched.wrong == []


async def dial(page: Page, number: str = "+1 (555) 010-0002") -> None:
    """Type a number and press Call."""
    await page.get_by_label("Number, name or user id").fill(number)
    await page.get_by_role("button", name="Call", exact=True).click()


async def test_the_phone_calls_the_echo_app_and_hears_itself(place: Place, phone: Watched) -> None:
    page = phone.page
    await dial(page)
    await expect(page.locator(".call-state")).to_have_text("Connected")
    await until_heard(phone, 11.0)
    await page.get_by_role("button", name="Keypad").click()
    await page.get_by_role("group", name="Keys").get_by_role("button", name="5").click()
    await page.keyboard.press("7")
    await until(lambda: [line["tone"] for line in place.echo.named("dtmf")] == ["5", "7"], "the app hears both keys")
    heard = resample(await phone.heard(), HEARD_RATE, RATE)
    speech = read_wav(SPEECH.read_bytes())
    said = resample(speech.samples, speech.rate, RATE)
    alike, _ = windows_alike(said, heard, RATE, least=0.9, seconds=0.5)
    assert alike >= 0.9, alike

    await page.get_by_role("link", name="Calls").click()
    row = page.get_by_role("table", name="Live calls").get_by_role("row").nth(1)
    await expect(row).to_contain_text("+15550100002")
    await page.get_by_role("button", name="Hang up").first.click()
    await expect(page.locator(".call-state")).to_have_text("You hung up")
    await expect(page.get_by_role("table", name="Ended calls")).to_contain_text("+15550100002")


async def until_heard(phone: Watched, seconds: float) -> None:
    """Wait until so much has come out of the receiver."""
    await phone.page.wait_for_function(
        "(least) => heardByTest.reduce((sum, { plane }) => sum + plane.length, 0) >= least", arg=seconds * HEARD_RATE
    )
