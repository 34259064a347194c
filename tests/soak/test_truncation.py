"""What a speech model is told was heard of its answers, against the recordings of callers who cut them short."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.console_leg import caller
from tests.ear import coded, taken_apart
from tests.examples.running import example_node, running_example
from tests.kit.realtime_double import Answer, RealtimeDouble, Say, Session
from tests.live import LiveNode
from tests.soak.barge_in import Plan, committed_clips, plans

RATE = 24000
SECONDS = 20.0
CALLS, CUTS = 2, 6
WITHIN_MS = 40


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_the_model_is_told_what_the_caller_has_heard(tmp_path: Path, free_port: Callable[[], int]) -> None:
    clips = [clip for clip in committed_clips() if clip.kind in ("phrase", "people", "question")][: CALLS * CUTS]
    calls = plans(clips, CUTS, "0", 7)
    errors: list[float] = []
    async with RealtimeDouble(answer) as double, example_node(tmp_path / "state", free_port()) as node:
        env = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": double.url}
        async with running_example(node, "realtime_agent.py", env=env):
            for plan in calls:
                errors += await one(node, double, plan)
        assert double.mistakes == []
    print(f"\nms that the model was told too much, of {len(errors)} answers: {sorted(errors)}")
    assert len(errors) >= CALLS * CUTS * 3 // 4
    assert max(map(abs, errors)) <= WITHIN_MS


def answer(session: Session) -> Answer:
    """Each a long one that is told from all others."""
    number = len(session.responses)  # this one among them
    return [Say(coded(number, RATE, SECONDS).tobytes(), f"Answer {number}.")]


async def one(node: LiveNode, double: RealtimeDouble, plan: Plan) -> list[float]:
    """A call: of each answer that was cut, how much more the model was told than the caller had heard."""
    said = plan.said(RATE)
    async with caller(node, sender=plan.sender) as leg:
        await leg.told("answered")
        await leg.heard_app()
        await leg.speak(said.tobytes())
        spoke = (await leg.told("spoke"))["atSample"]
        heard = await leg.heard_frames((spoke + len(said)) * 50 // RATE)
    responses = double.session.responses
    sounds = {str(number): coded(number, RATE, SECONDS) for number in range(1, len(responses) + 1)}
    heard_ms = {run.name: run.end * 1000 / RATE for run in taken_apart(heard, sounds, RATE)}
    cut = [(str(number), response.items[0].truncated_ms) for number, response in enumerate(responses, 1)]
    return [told - heard_ms.get(name, 0.0) for name, told in cut if told is not None]
