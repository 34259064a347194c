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
from playwright.async_api import Browser, Page
from tests import live
from tests.interop.conftest import SPEECH
from tests.live import LiveNode, TestApp, until

from offhook.audio.pcm import Frame
from offhook.audio.resample import resample
from offhook.audio.wav import read_wav

PAGE = Path(__file__).with_name("browser_page.js")
pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

RATE = 16000
Scene = tuple[LiveNode, TestApp, Browser]


def found_again(said: Frame, heard: Frame) -> float:
    """The share of pieces of 0.4 s that are heard somewhere, each with a correlation of 0.8: a busy machine makes
    holes, and the browser stretches sound around them, but what is no echo is alike nowhere."""
    span = RATE * 2 // 5
    b = heard.astype(float)
    size = 1 << int(np.ceil(np.log2(len(b) + span)))
    spectrum, energy = np.fft.rfft(b, size), np.concatenate(([0.0], np.cumsum(b * b)))
    norms = np.sqrt(np.maximum(energy[span:] - energy[:-span], 1.0))
    good = total = 0
    for at in range(0, len(said) - span, span // 2):
        piece = said[at : at + span].astype(float)
        if np.sqrt((piece**2).mean()) >= 100:
            cross = np.fft.irfft(spectrum * np.conj(np.fft.rfft(piece, size)), size)[: len(norms)]
            total += 1
            good += float((cross / norms).max()) / np.sqrt(piece @ piece) >= 0.8
    assert total >= 8, "there was too little to compare"
    return good / total


@pytest_asyncio.fixture(loop_scope="session")
async def scene(browser: Browser, tmp_path: Path) -> AsyncIterator[Scene]:
    """A node, an app that echoes, and a browser whose microphone is the demo's speech."""
    app = TestApp()
    async with app.running(), live.dev_node(tmp_path / "state", "--incoming", app.webhook) as node:
        yield node, app, browser


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
        return ours[0] if ours and len(ours[0].frames) >= 50 * 4 else None

    spoken = await until(stream, "4 s of sound")
    await page.evaluate("phone.sender.dtmf.insertDTMF('12#', 100, 60)")
    await until(lambda: [m["dtmfData"]["data"] for m in spoken.messages if m["kind"] == "DtmfData"] == ["1", "2", "#"])
    figures = await page.evaluate("phone.next('figures', false)")
    assert figures["codec"] == codec.upper() and figures["received"] > 150
    said = np.frombuffer(spoken.pcm, np.int16)
    back = await heard(page)
    assert (share := found_again(said[3 * RATE // 2 : 4 * RATE], back)) >= 0.4, (codec, share)
    speech = read_wav(SPEECH.read_bytes())
    played = np.tile(resample(speech.samples, speech.rate, RATE), 2)  # its microphone begins anew after the end
    assert (share := found_again(said[3 * RATE // 2 : 4 * RATE], played)) >= 0.4, (codec, share)
    await page.evaluate("phone.send({kind: 'hangup', call: phone.call})")
    ended = await page.evaluate("phone.next('ended')")
    assert ended["call"] == placed["call"] and ended["endedBy"] == "caller"
    await page.context.close()
