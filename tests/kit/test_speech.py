"""The app's own voice and recogniser: one process for all calls, that is started anew and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import psutil
import pytest
from tests.live import until

from offhook.errors import SpeechError
from offhook.kit import LocalSpeech, local_speech, understand_locally
from offhook.kit.speech import LONGEST_TEXT, shared_speech
from offhook.speech.process import SpeechProcess

TEXT = "Your appointment is on Monday."


async def spoken(speech: LocalSpeech, text: str = TEXT, rate: int = 16000) -> bytes:
    return b"".join([piece async for piece in speech.speak(text, rate)])


def end_process(speech: LocalSpeech) -> int:
    assert speech.process.pid is not None
    os.kill(speech.process.pid, signal.SIGKILL)
    return speech.process.pid


def test_one_process_for_all_calls_of_an_app_lives_as_long_as_its_loop() -> None:
    async def app() -> int:
        speech = await local_speech()
        first = speech.process.pid
        assert shared_speech() is speech
        said = await asyncio.gather(*(spoken(speech) for _ in range(3)))
        assert said[0] == said[1] == said[2]
        assert await understand_locally(said[0]) == TEXT
        assert speech.process.pid == first is not None
        assert await speech.listen(bytes(32000)) == "" and await speech.listen(b"") == ""
        assert len(await spoken(speech, rate=24000)) == pytest.approx(len(said[0]) * 3 / 2, abs=4)
        return first

    async def another() -> int:
        assert await spoken(shared_speech())
        return shared_speech().process.pid or 0

    pids = [asyncio.run(app()), asyncio.run(another())]
    assert pids[0] != pids[1] and not any(map(psutil.pid_exists, pids))


async def test_what_a_process_that_dies_was_doing_is_asked_again_once() -> None:
    async with LocalSpeech() as speech:
        whole = await spoken(speech)
        ends = [end_process(speech)]
        assert await spoken(speech) == whole
        asked = asyncio.create_task(speech.listen(whole))
        await asyncio.sleep(0)
        ends.append(end_process(speech))
        assert await asked == TEXT
        pieces = speech.speak("One sentence. " * 100, 16000)
        await anext(pieces)
        ends.append(end_process(speech))
        with pytest.raises(SpeechError):  # and is not begun again in the middle of a text
            async for _ in pieces:
                pass
        last = speech.process.pid
    assert last and not any(map(psutil.pid_exists, [*ends, last]))


async def test_a_process_that_never_works_is_asked_twice() -> None:
    speech = LocalSpeech(SpeechProcess((sys.executable, "-c", "raise SystemExit(3)")))
    for asked in (spoken(speech), speech.listen(b"\1\1" * 16000), speech.start()):
        with pytest.raises(SpeechError, match="ended"):
            await asked
    with pytest.raises(SpeechError, match="ended"):
        async with speech:
            pass
    with pytest.raises(SpeechError, match="closed"):
        await spoken(speech)


async def test_what_nobody_wants_any_more_is_taken_from_the_process() -> None:
    speech = LocalSpeech(SpeechProcess((sys.executable, "-c", "import sys; sys.stdin.buffer.read()")))
    tasks = [asyncio.create_task(spoken(speech)), asyncio.create_task(speech.listen(b"\1\1" * 16000))]
    await until(lambda: len(speech.process._waiting) == 2, "both")
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert all(one.speaks is None for one in speech.process._waiting.values())
    await speech.close()


async def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(SpeechError, match=f"{LONGEST_TEXT} at most"):
        await spoken(LocalSpeech(), "a" * (LONGEST_TEXT + 1))
