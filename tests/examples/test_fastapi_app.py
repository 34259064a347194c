"""examples/fastapi_app.py, run as its reader would run it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from aiohttp import ClientSession
from tests.examples.running import running_example
from tests.live import LiveNode, call

from offhook.assets import speech_wav

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_agent_and_the_other_pages_are_one_server(node: LiveNode, tmp_path: Path) -> None:
    speech = tmp_path / "speech.wav"
    speech.write_bytes(speech_wav())
    async with running_example(node, "fastapi_app.py", status=-signal.SIGTERM) as example:
        status, report = await call(node, "--wav", str(speech), "--duration", "1.5")
        async with ClientSession() as session, session.get(f"http://127.0.0.1:{example.port}/health") as page:
            assert await page.json() == {"up": True}
    assert (status, report["endedBy"]) == (0, "caller"), report
    assert report["echoDelayMs"] is not None, f"what was heard is not what was said: {report}"
