"""The examples with a speech model against a double of it: what callers hear, what the model is told."""

from __future__ import annotations

import asyncio
import runpy
from pathlib import Path

import numpy as np
import pytest
from tests.console_leg import phone
from tests.examples.running import EXAMPLES, ROOT, running_example
from tests.kit.realtime_double import Answer, Do, RealtimeDouble, Say, tone
from tests.kit.simulated_call import SimulatedCall
from tests.live import LiveNode, call, until

from offhook.assets import speech_wav
from offhook.audio.wav import read_wav, write_wav

live = pytest.mark.asyncio(loop_scope="session")

AGENT = EXAMPLES / "realtime_agent.py"
SALES = "+15550100021"
TOLERANCE_MS = 40  # of what the model is told against what the recording has


def speaking_at(path: Path, *times: float) -> str:
    """The beginning of a sentence, said at several times."""
    sound = read_wav(speech_wav())
    words = sound.samples[: round(0.7 * sound.rate)]
    whole = np.zeros(round((max(times) + 0.8) * sound.rate), np.int16)
    for at in times:
        whole[round(at * sound.rate) :][: len(words)] = words
    path.write_bytes(write_wav(whole, sound.rate))
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
async def test_the_caller_hears_the_model_and_cuts_it_short(node: LiveNode, tmp_path: Path) -> None:
    """Greeting, question, function, a long answer that the caller interrupts, the next answer."""
    heard = tmp_path / "heard.wav"
    says = speaking_at(tmp_path / "speech.wav", 0, 2.5)
    answers: list[Answer] = [
        [Say(tone(0.3), "Hello.")],
        [Do("opening_hours", {"day": "Sunday"})],
        [Say(tone(6), "A long story.")],
        [Say(tone(0.5), "Yes?")],
    ]
    async with RealtimeDouble(answers) as double:
        env = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": double.url}
        async with running_example(node, "realtime_agent.py", env=env):
            options = ("--wav", says, "--lead", "2", "--duration", "6.8", "--out", str(heard))
            status, report = await call(node, *options)
            assert (status, report["endedBy"]) == (0, "caller"), report
        assert double.mistakes == []
        outputs = [event["item"]["output"] for event in double.session.told if "item" in event]
        assert outputs == ["closed"]
        story = double.session.responses[2].items[0]
    *_, long, yes = stretches(heard)
    assert round((yes[1] - yes[0]) / 100) == 5
    assert story.truncated_ms is not None and long[1] < 2000 + 2500 + 700
    assert abs(story.truncated_ms - (long[1] - long[0])) <= TOLERANCE_MS


@live
async def test_the_receptionist_transfers_the_caller(node: LiveNode, tmp_path: Path) -> None:
    """The announcement is heard to its end, then the other phone."""
    heard, silence = tmp_path / "heard.wav", tmp_path / "silence.wav"
    silence.write_bytes(write_wav(np.zeros(16000, np.int16), 16000))
    answers: list[Answer] = [[Say(tone(0.8), "I connect you."), Do("connect", {"department": "sales"})]]
    async with RealtimeDouble(answers) as double, phone(node, SALES, tone=880):
        env = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": double.url, "SALES_NUMBER": SALES}
        async with running_example(node, "transfer.py", env=env):
            status, report = await call(node, "--wav", str(silence), "--duration", "3", "--out", str(heard))
            assert (status, report["endedBy"]) == (0, "caller"), report
        assert double.errors == []
    announcement, sales = stretches(heard)
    assert abs(announcement[1] - announcement[0] - 800) < 60 and sales[1] - sales[0] > 500


async def test_the_tools_are_used() -> None:
    """examples/tools.py on a call of the test's own: two functions in a row, a goodbye that is heard, the end."""
    agent = runpy.run_path(str(EXAMPLES / "tools.py"), run_name="example")["agent"]
    answers: list[Answer] = [
        [Do("free_tables", {"day": "today", "people": 2})],
        [Do("book", {"name": "Ada", "time": "20:30"}), Do("book", {"name": "Ada", "time": "20:30", "people": 9})],
        [Say(tone(0.5), "Goodbye."), Do("hang_up")],
    ]
    async with RealtimeDouble(answers) as double, SimulatedCall() as caller:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OPENAI_API_KEY", "sk-test")
            patch.setenv("OPENAI_BASE_URL", double.url)
            running = asyncio.ensure_future(agent(caller.call))
            await until(lambda: running.done() or caller.played == tone(0.5))
            assert not caller.hung_up
            await caller.hears(600)
            await until(lambda: caller.hung_up)
            await caller.end()
            await asyncio.wait_for(running, 5)
        outputs = [event["item"]["output"] for event in double.session.told if "item" in event]
        assert outputs[0] == '["18:00","20:30"]'
        assert sorted(outputs[1:3]) == [
            "booked, number 100",
            "error: book failed: ValueError: the largest table is for six",
        ]
        assert double.errors == []
