"""examples/realtime_agent.py against a double of the speech model: it is heard, it listens, it calls its function."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.examples.running import EXAMPLES, ROOT, running_example
from tests.kit.realtime_double import Answer, Do, RealtimeDouble, Say, tone
from tests.live import LiveNode, call

from offhook.assets import speech_wav
from offhook.audio.wav import read_wav, write_wav

live = pytest.mark.asyncio(loop_scope="session")

AGENT = EXAMPLES / "realtime_agent.py"
TOLERANCE_MS = 40  # of what the model is told against what the recording has


def speech(path: Path, seconds: float = 0.7) -> str:
    """The beginning of a sentence."""
    sound = read_wav(speech_wav())
    path.write_bytes(write_wav(sound.samples[: round(seconds * sound.rate)], sound.rate))
    return str(path)


def stretches(path: Path, least_ms: float = 100) -> list[tuple[float, float]]:
    """Where a recording has steady sound: (from, to) in ms, gaps under 100 ms closed."""
    recording = read_wav(path.read_bytes())
    at = np.flatnonzero(np.abs(recording.samples) > 500) * 1000 / recording.rate
    if not len(at):
        return []
    breaks = np.flatnonzero(np.diff(at) > 100)
    starts, ends = [at[0], *at[breaks + 1]], [*at[breaks], at[-1]]
    return [(float(a), float(b)) for a, b in zip(starts, ends, strict=True) if b - a >= least_ms]


def test_the_agent_is_twenty_lines_and_the_second_snippet_of_the_readme() -> None:
    text = AGENT.read_text()
    snippets = (ROOT / "README.md").read_text().split("```python\n")
    assert snippets[2].split("```")[0] == text
    assert len(text.splitlines()) <= 20


@live
async def test_the_caller_hears_the_model_and_is_heard(node: LiveNode, tmp_path: Path) -> None:
    """Greeting, question, function, answer; then a call in which the caller cuts a long answer short."""
    heard, cut = tmp_path / "heard.wav", tmp_path / "cut.wav"
    says = speech(tmp_path / "speech.wav")
    first: list[Answer] = [
        [Say(tone(0.8), "Hello.")],
        [Do("opening_hours", {"day": "Sunday"})],
        [Say(tone(0.6), "No.")],
    ]
    second: list[Answer] = [[Say(tone(6), "A long story.")], [Say(tone(0.5), "Yes?")]]
    async with RealtimeDouble([*first, *second]) as double:
        env = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": double.url}
        async with running_example(node, "realtime_agent.py", env=env):
            options = ("--wav", says, "--lead", "1.6", "--duration", "3.9", "--out", str(heard))
            status, report = await call(node, *options)
            assert (status, report["endedBy"]) == (0, "caller"), report
            options = ("--wav", says, "--lead", "1.6", "--duration", "3.9", "--out", str(cut))
            status, report = await call(node, *options)
            assert (status, report["endedBy"]) == (0, "caller"), report
        assert double.errors == []
        outputs = [event["item"]["output"] for event in double.sessions[0].told if "item" in event]
        assert outputs == ["closed"]
        lengths = [end - start for start, end in stretches(heard)]
        assert [round(length / 100) for length in lengths] == [8, 6]
        (story,) = double.sessions[1].responses[0].items
    (start, end), _ = stretches(cut)
    assert story.truncated_ms is not None and end < 1600 + 700
    assert abs(story.truncated_ms - (end - start)) <= TOLERANCE_MS
