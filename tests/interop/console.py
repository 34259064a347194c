"""A node with the echo app behind it, and a browser: what the tests of the console share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from playwright.async_api import Browser, Page, expect
from tests.echo import Echo, echo_app
from tests.interop.browser import HEARD_RATE, HEARD_SAMPLES, Watched, watched_page
from tests.live import LiveNode, dev_node, until

from offhook.audio.pcm import Frame
from offhook.audio.resample import resample
from offhook.audio.wav import read_wav

RATE = 16000
SPEECH = Path(__file__).parents[2] / "src/offhook/assets/speech.wav"


@dataclass
class Console:
    """What a test of it needs."""

    node: LiveNode
    echo: Echo
    browser: Browser

    def url(self, path: str = "") -> str:
        """The address of a page."""
        return f"{self.node.http}/console/{path}"


@contextlib.asynccontextmanager
async def open_console(browser: Browser, folder: Path, port: int) -> AsyncIterator[Console]:
    """Start node and app; `port` is for the app."""
    webhook = f"http://127.0.0.1:{port}/api/incomingCall"
    async with (
        dev_node(folder / "state", "--incoming", webhook) as node,
        echo_app(node, "--port", str(port), "--rate", "24000") as echo,
    ):
        await until(lambda: echo.named("validated"), "the webhook is validated")
        yield Console(node, echo, browser)


@contextlib.asynccontextmanager
async def ready_phone(console: Console, url: str = "", script: str = "") -> AsyncIterator[Watched]:
    """A page with the phone ready, that uses the microphone's sound as it is; it must not complain of anything.

    `url`: of the page, where it is not the node's own; `script`: what is run in it first.
    """
    async with watched_page(console.browser) as watched:
        await watched.context.grant_permissions(["microphone"])
        await watched.context.add_init_script(script)
        await watched.page.goto(url or console.url("phone"))
        await expect(watched.page.locator(".phone-head .tag")).to_have_text("Ready")
        await watched.page.get_by_text("Sound devices and name").click()
        await watched.page.get_by_label("Echo cancellation").uncheck()
        yield watched
        assert watched.wrong == []


async def dial(page: Page, number: str = "+1 (555) 010-0002") -> None:
    """Type a number and press Call."""
    await page.get_by_label("Number or user id").fill(number)
    await page.get_by_role("button", name="Call", exact=True).click()


def alike(heard: Frame, said: Frame) -> float:
    """How much of what is heard was said: the correlation of each eighth of a second with where it fits best, weighted
    by its energy, in the whole band up to 8 kHz. The same speech backwards has 0.57.

    Short pieces, since browsers stretch what they play to stay near to what comes: a long one fits nowhere as a whole.
    Where they do not, those of a whole second have 0.92, and are kept from 1 by the high-pass of the browser's encoder.
    """
    span, size = RATE // 8, 1 << int(np.ceil(np.log2(len(said) + RATE)))
    source = said.astype(float)
    spectrum, power = np.fft.rfft(source, size), np.cumsum(np.square(source))
    loudness = np.sqrt(power[span:] - power[:-span] + 1)
    matched = total = 0.0
    for at in range(0, len(heard) - span, span // 2):
        window = heard[at : at + span].astype(float)
        energy = float(window @ window)
        cross = np.fft.irfft(spectrum * np.conj(np.fft.rfft(window, size)), size)[1 : len(loudness) + 1]
        matched += float((cross / loudness).max()) * np.sqrt(energy)
        total += energy
    return matched / total if total > len(heard) * 100**2 else 0.0


async def hears_what_was_said(
    phone: Watched, since: int = 0, least: float = 0.9, span: int = 4, deadline: float = 25.0
) -> None:
    """Wait until the last `span` seconds that came out of the receiver are so much `alike` what the microphone says.

    `since`: samples of it that are not looked at. A machine that has too much to do makes holes in a call, so that a
    later stretch may be needed.
    """
    speech = read_wav(SPEECH.read_bytes())
    said = resample(np.tile(speech.samples, 2), speech.rate, RATE)
    end, found = asyncio.get_running_loop().time() + deadline, 0.0
    while found < least:
        assert asyncio.get_running_loop().time() < end, f"what is heard is what was said by {found:.2f} only"
        await phone.page.wait_for_function(
            f"(least) => {HEARD_SAMPLES} >= least", arg=since + span * HEARD_RATE, timeout=deadline * 1000
        )
        found = alike(resample((await phone.heard())[-span * HEARD_RATE :], HEARD_RATE, RATE), said)
        since += HEARD_RATE
