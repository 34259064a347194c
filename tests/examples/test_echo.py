"""examples/echo.py, run as its reader would run it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.examples.running import running_example
from tests.live import LiveNode, call

from offhook.assets import speech_wav

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_caller_hears_their_own_words(node: LiveNode, tmp_path: Path) -> None:
    speech, heard = tmp_path / "speech.wav", tmp_path / "heard.wav"
    speech.write_bytes(speech_wav())
    async with running_example(node, "echo.py"):
        status, report = await call(node, "--wav", str(speech), "--duration", "2", "--out", str(heard))
    assert (status, report["endedBy"]) == (0, "caller"), report
    assert report["echoDelayMs"] is not None, f"what was heard is not what was said: {report}"
