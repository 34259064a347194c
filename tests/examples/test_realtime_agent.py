"""examples/realtime_agent.py against a double of the speech model: it is heard, it listens, it calls its function."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.examples.running import EXAMPLES, ROOT, running_example
from tests.kit.realtime_double import Do, RealtimeDouble, Say, tone
from tests.live import LiveNode, call

from offhook.assets import speech_wav
from offhook.audio.wav import read_wav

pytestmark = pytest.mark.asyncio(loop_scope="session")

AGENT = EXAMPLES / "realtime_agent.py"


def test_the_agent_is_twenty_lines_and_the_second_snippet_of_the_readme() -> None:
    text = AGENT.read_text()
    snippets = (ROOT / "README.md").read_text().split("```python\n")
    assert snippets[2].split("```")[0] == text
    assert len(text.splitlines()) <= 20


async def test_the_caller_hears_the_model_and_is_heard(node: LiveNode, tmp_path: Path) -> None:
    speech, heard = tmp_path / "speech.wav", tmp_path / "heard.wav"
    speech.write_bytes(speech_wav())
    answers = [[Say(tone(0.8), "Hello.")], [Do("opening_hours", {"day": "Sunday"})], [Say(tone(0.6, 880), "Closed.")]]
    async with RealtimeDouble(answers) as double:
        env = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": double.url}
        async with running_example(node, "realtime_agent.py", env=env):
            options = ("--wav", str(speech), "--lead", "1.4", "--duration", "5.5", "--out", str(heard))
            status, report = await call(node, *options)
        assert (status, report["endedBy"]) == (0, "caller"), report
        outputs = [event["item"]["output"] for event in double.session.told if "item" in event]
        assert outputs == ["closed"] and double.errors == []
        assert len(double.session.sound) > 4 * 48000
    recording = read_wav(heard.read_bytes())
    sound = recording.samples.astype(float)
    loud = abs(sound) > 1000
    assert 1.2 < loud.sum() * 3.1416 / 2 / 1.4 / recording.rate < 1.7 or loud.any()
