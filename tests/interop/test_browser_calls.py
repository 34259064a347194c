"""Real Chromium as a phone of a node: it hears itself through an app, and its keys arrive."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright
from tests import live
from tests.interop.conftest import SPEECH
from tests.interop.likeness import windows_alike
from tests.live import LiveNode, TestApp, until

from offhook.audio.resample import resample
from offhook.audio.wav import read_wav

CHROMIUM = Path("/usr/bin/chromium")
PAGE = Path(__file__).with_name("browser_page.js")
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium"),
]

Scene = tuple[LiveNode, TestApp, Browser]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """A node, an app that echoes, and a browser whose microphone is the demo's speech."""
    app = TestApp()
    async with (
        app.running(),
        live.dev_node(tmp_path_factory.mktemp("state"), "--incoming", app.webhook) as node,
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={SPEECH}",
                "--autoplay-policy=no-user-gesture-required",
            ],
        )
        yield node, app, browser
        await browser.close()


async def page_of(browser: Browser, node: LiveNode) -> Page:
    """A page of the node's origin that is a phone."""
    page = await (await browser.new_context()).new_page()
    await page.goto(
        f"http://localhost:{node.port}/eventgrid/validate"
    )  # any page of the node, without a script of its own
    await page.evaluate(PAGE.read_text("utf-8"))
    return page


def echoing(node: LiveNode, app: TestApp) -> dict[str, str]:
    """The app answers every call and says again what it hears; connection ids by who has called."""
    connections: dict[str, str] = {}

    async def incoming(data: dict[str, Any]) -> None:
        streaming = live.streaming_options(app.socket, dtmf=True)
        properties = await live.answer(node, data["incomingCallContext"], app.callback, streaming)
        connections[data["from"]["rawId"]] = properties["callConnectionId"]

    async def message(stream: live.Stream, message: dict[str, Any]) -> None:
        if message["kind"] == "AudioData":
            await stream.play(base64.b64decode(message["audioData"]["data"]))

    app.on_incoming, app.on_message = incoming, message
    return connections


async def heard(page: Page) -> Any:
    """What the page has heard, as samples of 16 kHz."""
    pcm = np.frombuffer(base64.b64decode(await page.evaluate("phone.pcm()")), np.float32)
    return (pcm * 32767).astype(np.int16)


async def test_pages_dial_an_app_and_hear_themselves(scene: Scene) -> None:
    """Two at once: one over Opus, one over G.711."""
    node, app, browser = scene
    connections = echoing(node, app)
    await asyncio.gather(*(echoed(node, app, browser, codec, connections) for codec in ("opus", "pcmu")))


async def echoed(node: LiveNode, app: TestApp, browser: Browser, codec: str, connections: dict[str, str]) -> None:
    """A call from begin to end: what is said comes back, keys arrive, it is hung up."""
    page = await page_of(browser, node)
    ready = await page.evaluate("phone.open()")
    assert ready["identity"].startswith("8:acs:")
    placed = await page.evaluate("([to, codec]) => phone.dial(to, [codec])", [live.CALLEE, f"audio/{codec}"])
    connection = await until(lambda: connections.get(ready["identity"]), "the answer")

    def stream() -> live.Stream | None:
        ours = [one for one in app.streams if one.headers["x-ms-call-connection-id"] == connection]
        return ours[0] if ours and len(ours[0].frames) >= 50 * 6 else None

    spoken = await until(stream, "6 s of sound")
    await page.evaluate("phone.sender.dtmf.insertDTMF('12#', 100, 60)")
    await until(lambda: [m["dtmfData"]["data"] for m in spoken.messages if m["kind"] == "DtmfData"] == ["1", "2", "#"])
    figures = await page.evaluate("phone.next('figures', false)")
    assert figures["codec"] == codec.upper() and figures["received"] > 200
    said = np.frombuffer(spoken.pcm, np.int16)
    back = await heard(page)
    # A busy machine makes the browser stretch sound; what is no echo of this is alike nowhere.
    share, lag = windows_alike(said[2 * 16000 : 6 * 16000], back, 16000, least=0.8, seconds=0.5)
    assert share >= 0.3, (codec, share, lag)
    speech = read_wav(SPEECH.read_bytes())
    played = np.tile(resample(speech.samples, speech.rate, 16000), 3)  # its microphone begins anew after the end
    share, lag = windows_alike(said[2 * 16000 : 6 * 16000], played, 16000, least=0.8, seconds=0.5)
    assert share >= 0.3, (codec, share, lag)
    await page.evaluate("phone.send({kind: 'hangup', call: phone.call})")
    ended = await page.evaluate("phone.next('ended')")
    assert ended["call"] == placed["call"] and ended["endedBy"] == "caller"
    await page.context.close()
