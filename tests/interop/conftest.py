"""What the tests with real phones and browsers share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser
from tests.interop.browser import HEARD_RATE, chromium
from tests.interop.console import Console, open_console

from offhook.audio.resample import resample
from offhook.audio.wav import read_wav, write_wav

SPEECH = Path(__file__).parents[2] / "src/offhook/assets/speech.wav"


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's speech at the rate of a telephone."""
    speech = read_wav(SPEECH.read_bytes())
    samples = resample(speech.samples, speech.rate, 8000)
    path = tmp_path_factory.mktemp("voice") / "voice.wav"
    path.write_bytes(write_wav(samples, 8000))
    return path


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """One for all tests, which take profiles of their own. Its microphone says the demo's speech over and over."""
    speech = read_wav(SPEECH.read_bytes())
    microphone = tmp_path_factory.mktemp("browser") / "microphone.wav"
    microphone.write_bytes(write_wav(resample(speech.samples, speech.rate, HEARD_RATE), HEARD_RATE))
    async with chromium(microphone) as browser:
        yield browser


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def console(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> AsyncIterator[Console]:
    """One for all tests that can live with calls of others."""
    async with open_console(browser, tmp_path_factory.mktemp("console"), free_port()) as console:
        yield console
