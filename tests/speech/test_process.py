"""The speech process seen from who asks it: what it speaks is understood, and it dies and starts without harm."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import pytest_asyncio
from tests.live import until

from offhook.audio.pcm import Frame
from offhook.errors import SpeechError
from offhook.speech import process as speech_process
from offhook.speech.messages import Speak, packed
from offhook.speech.process import COMMAND, SpeechProcess
from offhook.speech.provider import Recognised, Words
from offhook.speech.requests import MOST_WAITING
from offhook.speech.worker import NICENESS


class Spoken:
    """What came of one text."""

    def __init__(self, speech: SpeechProcess, text: str, **more: Any) -> None:
        self.pieces: list[Frame] = []
        self.ends: list[SpeechError | None] = []
        self.cancel = speech.speak(Words(text=text, **more), 16000, self.pieces.append, self.ends.append)

    async def end(self) -> SpeechError | None:
        await until(lambda: self.ends, "the end of a text")
        assert len(self.ends) == 1
        return self.ends[0]


async def heard(speech: SpeechProcess, pcm: Frame, language: str = "en-US") -> Recognised | SpeechError:
    """What came of one recognition."""
    done: asyncio.Future[Recognised | SpeechError] = asyncio.get_running_loop().create_future()
    speech.recognise(pcm, language, (), done.set_result)
    return await asyncio.wait_for(done, 30)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local() -> AsyncIterator[SpeechProcess]:
    """The real process, one for all tests that it survives."""
    speech = SpeechProcess()
    yield speech
    await speech.close()


@pytest.fixture
def scripted() -> Callable[[str], SpeechProcess]:
    """A process of a few lines of Python."""
    return lambda code: SpeechProcess((sys.executable, "-c", code))


@pytest.mark.asyncio(loop_scope="module")
class TestLocal:
    """The local voice and recogniser."""

    async def test_what_is_spoken_is_understood(self, local: SpeechProcess) -> None:
        said = Spoken(local, "Your appointment is on Monday. Please press one to confirm.")
        assert await said.end() is None
        assert len(said.pieces) == 2
        result = await heard(local, np.concatenate(said.pieces))
        assert isinstance(result, Recognised)
        assert result.text == "Your appointment is on Monday. Please press one to confirm."
        assert [word.text for word in result.words] == result.text.split()
        assert 0.7 < result.confidence <= 1

    async def test_languages_that_it_does_not_know_are_refused_by_name(self, local: SpeechProcess) -> None:
        error = await Spoken(local, "Guten Tag", language="de-DE").end()
        assert isinstance(error, SpeechError) and error.outcome == "speech_language" and "de-DE" in error.detail
        refused = await heard(local, np.zeros(16000, np.int16), "fr-FR")
        assert isinstance(refused, SpeechError) and refused.outcome == "speech_language"

    async def test_a_canceled_text_tells_nothing_more(self, local: SpeechProcess) -> None:
        said = Spoken(local, "One sentence. " * 50)
        await until(lambda: said.pieces, "the first piece")
        said.cancel()
        count = len(said.pieces)
        assert await Spoken(local, "Another.").end() is None
        assert (len(said.pieces), said.ends) == (count, [])

    async def test_a_short_text_does_not_wait_for_a_long_one(self, local: SpeechProcess) -> None:
        long = Spoken(local, "This sentence is one of very many. " * 60)
        short = Spoken(local, "Hello.")
        assert await short.end() is None
        assert not long.ends
        long.cancel()

    async def test_a_dead_process_fails_who_waits_and_starts_anew(self, local: SpeechProcess) -> None:
        said = Spoken(local, "One sentence. " * 100)
        await until(lambda: said.pieces, "the first piece")
        assert local.pid is not None
        os.kill(local.pid, signal.SIGKILL)
        error = await said.end()
        assert isinstance(error, SpeechError) and error.outcome == "speech_failed"
        assert await Spoken(local, "Here again.").end() is None


async def test_more_requests_than_may_wait_fail_at_once(scripted: Callable[[str], SpeechProcess]) -> None:
    speech = scripted("import sys; sys.stdin.buffer.read()")
    waiting = [Spoken(speech, "Hello.") for _ in range(MOST_WAITING)]
    with pytest.raises(SpeechError, match="64 texts"):
        Spoken(speech, "Hello.")
    waiting[0].cancel()
    further = Spoken(speech, "Hello.")
    await speech.close()
    assert not further.ends and not any(one.ends for one in waiting)


@pytest.mark.parametrize(
    "code", ["raise SystemExit(3)", "print('no answer of ours')", "import os; os.write(1, b'x' * 99)"]
)
async def test_a_process_that_is_no_use_fails_who_waits(code: str, scripted: Callable[[str], SpeechProcess]) -> None:
    speech = scripted(code)
    for _ in range(2):
        error = await Spoken(speech, "Hello.").end()
        assert isinstance(error, SpeechError) and error.outcome == "speech_failed"
    await speech.close()


async def test_a_process_that_cannot_be_started_fails_who_waits() -> None:
    speech = SpeechProcess(("/nowhere/at/all",))
    error = await Spoken(speech, "Hello.").end()
    assert isinstance(error, SpeechError) and "could not be started" in error.detail
    await speech.close()


async def test_the_process_ends_with_its_node() -> None:
    """Closed, it is gone at once; of a node that was killed it sees its input end."""
    process = SpeechProcess()
    said = Spoken(process, "One sentence. " * 50)
    await until(lambda: said.pieces, "the first piece")
    assert process.pid is not None and psutil.Process(process.pid).nice() >= NICENESS
    await process.close()
    assert not psutil.pid_exists(process.pid) and not said.ends
    orphan = await asyncio.create_subprocess_exec(
        *COMMAND, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert orphan.stdin is not None
    orphan.stdin.write(packed(Speak(1, Words(text="One sentence. " * 50), 16000)))
    orphan.stdin.close()
    assert await asyncio.wait_for(orphan.wait(), 20) == 0


SLOW = """
import sys, time
from offhook.speech.messages import HEAD, Spoken, packed
number = 0
while head := sys.stdin.buffer.read(4):
    sys.stdin.buffer.read(HEAD.unpack(head)[0])
    number += 1
    time.sleep(1.2 if number > 1 else 0)
    sys.stdout.buffer.write(packed(Spoken(number)))
    sys.stdout.buffer.flush()
"""
"""Answers each request, but the first, after more than half of the patience that it is shown."""


@pytest.mark.parametrize("answer", [b"", b"\x40\0\0\0half of it"])
async def test_a_process_that_is_stuck_is_ended(
    answer: bytes, scripted: Callable[[str], SpeechProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in the middle of an answer."""
    monkeypatch.setattr(speech_process, "STUCK", 0.5)
    code = f"import os, sys; os.write(1, {answer!r}); sys.stdin.buffer.read()"
    process = scripted(code)
    error = await Spoken(process, "Hello.").end()
    assert isinstance(error, SpeechError) and "did not answer for 0.5 s" in error.detail
    assert process.pid is not None
    await until(lambda: not psutil.pid_exists(process.pid or 0), "its end")
    await process.close()


async def test_a_process_that_is_stuck_is_ended_also_when_nobody_waits_for_long(
    scripted: Callable[[str], SpeechProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers who hang up in silence, one after another, must not keep it."""
    monkeypatch.setattr(speech_process, "STUCK", 0.5)
    process = scripted("import sys; sys.stdin.buffer.read()")

    async def come_and_go() -> None:
        while True:
            said = Spoken(process, "Hello.")
            await asyncio.sleep(0.1)
            said.cancel()

    callers = asyncio.create_task(come_and_go())
    stuck = await until(lambda: process.pid, "the process")
    await until(lambda: not psutil.pid_exists(stuck), "its end", 5)
    callers.cancel()
    await process.close()


async def test_who_asks_after_a_long_rest_has_all_the_time(
    scripted: Callable[[str], SpeechProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speech_process, "STUCK", 2.0)
    process = scripted(SLOW)
    assert await Spoken(process, "Hello.").end() is None
    first = process.pid
    await asyncio.sleep(1.0)
    assert await Spoken(process, "Hello.").end() is None
    assert process.pid == first
    await process.close()


async def test_files_of_the_folder_that_the_node_runs_in_are_no_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "queue.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    speech = SpeechProcess()
    assert await Spoken(speech, "Hello.").end() is None
    await speech.close()


def test_the_process_ends_with_the_loop_that_nobody_closed_it_in(caplog: pytest.LogCaptureFixture) -> None:
    async def ask() -> int:
        process = SpeechProcess()
        said = Spoken(process, "One sentence. " * 50)
        await until(lambda: said.pieces, "the first piece")
        assert process.pid is not None
        return process.pid

    assert not psutil.pid_exists(asyncio.run(ask()))
    assert not caplog.records
