"""Chromium with a microphone that plays a WAV, and what its pages say when something is wrong.

The browser is the system's: found on PATH, installed by tools/sip_peers.py where that is possible.
"""

from __future__ import annotations

import base64
import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from playwright.async_api import Browser, BrowserContext, Page, ViewportSize, async_playwright

from offhook.audio.pcm import Frame

PROGRAM = "chromium"
WIDE = ViewportSize(width=1280, height=800)
NARROW = ViewportSize(width=390, height=844)
HEARD_RATE = 48000

_TAP = """
(() => {
  const RealConnection = window.RTCPeerConnection;
  window.heardByTest = [];
  const tap = async (track) => {
    const reader = new MediaStreamTrackProcessor({ track: track.clone() }).readable.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const plane = new Float32Array(value.numberOfFrames);
      value.copyTo(plane, { planeIndex: 0, format: "f32-planar" });
      window.heardByTest.push({ rate: value.sampleRate, plane });
      value.close();
    }
  };
  window.RTCPeerConnection = class extends RealConnection {
    constructor(...all) {
      super(...all);
      this.addEventListener("track", ({ track }) => tap(track));
    }
  };
})();
"""
"""Keeps what comes out of each receiver: decoded, after the browser's own jitter buffer."""

HEARD_SAMPLES = "heardByTest.reduce((sum, { plane }) => sum + plane.length, 0)"
"""JavaScript: how many samples that is."""
_TAKE = """
() => {
  const chunks = window.heardByTest;
  const all = new Int16Array(chunks.reduce((sum, { plane }) => sum + plane.length, 0));
  let at = 0;
  for (const { plane } of chunks) {
    for (const sample of plane) all[at++] = Math.max(-32768, Math.min(32767, sample * 32768));
  }
  let text = "";
  const bytes = new Uint8Array(all.buffer);
  for (let from = 0; from < bytes.length; from += 32768) {
    text += String.fromCharCode(...bytes.subarray(from, from + 32768));
  }
  return { rates: [...new Set(chunks.map(({ rate }) => rate))], pcm: btoa(text) };
}
"""


@dataclass
class Watched:
    """A page, and everything that it complained of."""

    page: Page
    context: BrowserContext
    complaints: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)
    """Parts of complaints that the test provokes."""

    @property
    def wrong(self) -> list[str]:
        """Complaints that nobody provoked."""
        return [text for text in self.complaints if not any(part in text for part in self.allowed)]

    async def heard(self) -> Frame:
        """All that came out of the receiver so far, PCM16 at 48 kHz."""
        taken = await self.page.evaluate(_TAKE)
        assert taken["rates"] in ([], [HEARD_RATE]), taken["rates"]
        return np.frombuffer(base64.b64decode(taken["pcm"]), dtype=np.int16)


@contextlib.asynccontextmanager
async def chromium(microphone: Path | None = None) -> AsyncIterator[Browser]:
    """A headless browser. `microphone`: a WAV that it speaks over and over, from when the device is opened."""
    arguments = [
        "--no-sandbox",  # a container's root may not have one; the pages are ours
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        "--autoplay-policy=no-user-gesture-required",
    ]
    if microphone is not None:
        arguments.append(f"--use-file-for-fake-audio-capture={microphone}")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which(PROGRAM), args=arguments)
        try:
            yield browser
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def watched_page(
    browser: Browser, *, viewport: ViewportSize = WIDE, dark: bool = False, **options: Any
) -> AsyncIterator[Watched]:
    """A page of a profile of its own; what it hears and complains of is kept. `options`: those of new_context."""
    context = await browser.new_context(viewport=viewport, color_scheme="dark" if dark else "light", **options)
    try:
        await context.add_init_script(_TAP)
        page = await context.new_page()
        watched = Watched(page, context)
        page.on("console", lambda said: _complain(watched, said.type, said.text))
        page.on("pageerror", lambda error: _complain(watched, "error", str(error)))
        yield watched
    finally:
        await context.close()


def _complain(watched: Watched, kind: str, text: str) -> None:
    """Violations of the content security policy are errors of the console too."""
    if kind in ("error", "warning"):
        watched.complaints.append(f"{kind}: {text}")
