"""A barge-in through a real node: the inspector shows the cut at the sample at which the caller's own WAV ends."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from playwright.async_api import Browser, Page, expect
from tests.interop.browser import watched_page
from tests.interop.test_console_inspector import COLOURS, PARTS, SHOW, settled
from tests.live import CONNECTIONS, TestApp, answer, call, dev_node, rest, streaming_options, until

from offhook.audio.wav import read_wav, write_wav

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(60)]
RATE = 16000
FRAME_MS = 20


async def cut_on_the_page(page: Page) -> tuple[float, float]:
    """Where the cut's line is drawn and where the wave ends, in milliseconds of the page's axis."""
    cuts = json.loads(await page.locator('.lane.wave[data-lane$="heard"]').get_attribute("data-cuts") or "[]")
    assert len(cuts) == 1
    at = cuts[0]["atMs"]
    await page.evaluate(SHOW, [at - 100, at + 100])
    await settled(page)
    lane = await page.locator('.lane.wave[data-lane$="heard"]').get_attribute("data-lane")
    wave = await page.evaluate(COLOURS, [lane, "--heard"])
    line = await page.evaluate(COLOURS, [lane, "--kind-stop"])
    per_ms = len(wave) / 200
    drawn = max(range(len(line)), key=lambda x: line[x]) / per_ms
    ends = max(x for x, height in enumerate(wave) if height > 2) / per_ms
    return at - 100 + drawn, at - 100 + ends


async def test_the_cut_is_where_the_callers_wav_ends(browser: Browser, tmp_path: Path) -> None:
    tone = (12000 * np.sin(np.arange(10 * RATE) * 2 * np.pi * 440 / RATE)).astype(np.int16)  # it has no pauses
    pause = np.zeros(RATE, np.int16)
    (tmp_path / "question.wav").write_bytes(write_wav(pause, RATE))
    app = TestApp()
    async with app.running(), dev_node(tmp_path / "state", "--incoming", app.webhook) as node:
        await until(lambda: app.validations, "the webhook is validated")
        heard = tmp_path / "heard.wav"
        words = ("--wav", str(tmp_path / "question.wav"), "--duration", "30", "--out", str(heard))
        calling = asyncio.create_task(call(node, *words))
        invited = await app.invited()
        answered = await answer(node, invited["incomingCallContext"], app.callback, streaming_options(app.socket, RATE))
        stream = await app.stream(frames=10)
        await stream.play(tone.tobytes())
        await app.stream(frames=60)
        await stream.stop()
        async with watched_page(browser) as watched:
            watched.allowed = ["willReadFrequently"]
            await watched.page.goto(f"{node.http}/console/calls/{answered['callConnectionId']}")
            await expect(watched.page.locator(".call-facts .tag")).to_have_text("Live")
            await rest(node, "DELETE", f"{CONNECTIONS}/{answered['callConnectionId']}")
            await calling
            await expect(watched.page.locator(".call-facts .tag")).to_have_text("Ended")
            await expect(watched.page.locator(".inspector[data-complete]")).to_be_visible(timeout=15000)
            told = await watched.page.evaluate(f"() => {PARTS}.model.page.legs[0].audio[0].beginMs")
            line, end = await cut_on_the_page(watched.page)
            assert watched.wrong == []
    last = int(np.flatnonzero(read_wav(heard.read_bytes()).samples)[-1])
    caller = told + last * 1000 / RATE
    assert abs(line - caller) <= FRAME_MS and abs(end - caller) <= FRAME_MS
    assert abs(line - caller) <= 1.5, "to a pixel, even"
