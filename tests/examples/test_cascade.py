"""examples/cascade.py: callers who ask in speech hear the answers, and may cut them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import cache

import pytest
import pytest_asyncio
from tests.console_leg import Leg, caller
from tests.examples.running import Example, running_example
from tests.live import LiveNode, until
from tests.spoken import plain, spoken

from offhook.audio.resample import resample
from offhook.speech.whisper import WhisperRecogniser

pytestmark = pytest.mark.asyncio(loop_scope="session")

RATE = 24000
PAUSE = 25  # frames without sound after which an answer is over
SLOW = 45.0  # seconds that an answer may take on a busy machine


@pytest_asyncio.fixture(loop_scope="session")
async def example(node: LiveNode) -> AsyncIterator[Example]:
    async with running_example(node, "cascade.py") as running:
        yield running


async def answer(leg: Leg, start: int) -> int:
    """Wait until the agent has said something from frame `start` on, and is silent again; the frame where it began."""

    def over() -> bool:
        said = leg.of_app[start:]
        return any(said) and not any(said[-PAUSE:])

    await until(over, f"an answer; {sum(leg.of_app[start:])} frames so far", SLOW)
    return start + leg.of_app[start:].index(True)


async def ask(leg: Leg, words: str) -> int:
    """Say something; the frame where the next answer is to be looked for."""
    start, sound = leg.frames, spoken(words, 0.0, RATE)
    await leg.speak(sound.tobytes())
    await leg.heard_frames(start + len(sound) * 50 // RATE)
    return leg.frames


async def understood(leg: Leg, start: int, end: int | None = None) -> str:
    """What is said in the caller's recording between two frames."""
    size = RATE // 50
    sound = leg.heard[start * size : end and end * size]
    pcm = resample(sound, RATE, 16000)
    return plain((await asyncio.to_thread(recogniser().recognise, pcm, "", ())).text)


@cache
def recogniser() -> WhisperRecogniser:
    return WhisperRecogniser()


def has(text: str, *words: str) -> bool:
    return all(word in text.split() for word in words)


async def two_questions(node: LiveNode) -> str:
    async with caller(node) as leg:
        await answer(leg, 0)
        await answer(leg, await ask(leg, "When do you open?"))
        await answer(leg, await ask(leg, "What is the price?"))
        return await understood(leg, 0)


async def cuts_an_answer(node: LiveNode) -> tuple[str, str, int]:
    """What was heard of the answer that was cut, and of the next; frames from the first word to silence."""
    async with caller(node) as leg:
        await answer(leg, 0)
        first = await ask(leg, "Please count to ten.")
        await until(lambda: sum(leg.of_app[first:]) > 75, "a second and a half of counting", SLOW)
        cut = leg.frames
        start = await ask(leg, "What is the price?")
        silent = cut + next(n for n in range(start - cut) if not any(leg.of_app[cut + n : cut + n + 10]))
        await answer(leg, start)
        return await understood(leg, first, silent), await understood(leg, silent), silent - cut


async def test_two_spoken_questions_and_one_that_cuts_an_answer(node: LiveNode, example: Example) -> None:
    heard, (counted, after, frames) = await asyncio.gather(two_questions(node), cuts_an_answer(node))
    assert has(heard, "harbor", "open", "from", "costs"), heard
    assert has(counted, "one") and not has(counted, "ten"), counted
    assert frames < 50, "what was cut was heard for a second"
    assert has(after, "repair", "costs") and not has(after, "nine") and not has(after, "ten"), after
