"""The speech of a node: without a provider, and how many utterances that go on it looks at."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

import numpy as np
from tests.live import until

from offhook.audio.pcm import Frame
from offhook.errors import SpeechError
from offhook.service.speech import Speech
from offhook.speech.process import SpeechProcess
from offhook.speech.provider import Recognised, Words


async def test_without_a_provider_everything_fails_and_names_the_extra() -> None:
    speech, pieces, ends = Speech(), list[Frame](), list[SpeechError | None]()
    heard: asyncio.Future[Recognised | SpeechError] = asyncio.get_running_loop().create_future()
    speech.speak(Words(text="Hello."), 16000, pieces.append, ends.append)
    speech.recognise(np.zeros(16000, np.int16), "en-US", (), heard.set_result)
    assert not ends and not heard.done()
    await until(lambda: ends, "the end of a text")
    for error in (*ends, await heard):
        assert isinstance(error, SpeechError)
        assert error.outcome == "speech_not_set_up" and "pip install 'offhook[speech]'" in error.detail


async def test_only_so_many_that_go_on_are_looked_at() -> None:
    """A whole utterance does not wait for those of all others."""
    process = SpeechProcess((sys.executable, "-c", "import sys; sys.stdin.buffer.read()"))
    speech = Speech(process)
    told: list[Any] = []
    cancels = []
    while speech.may_glance:
        cancels.append(speech.glance(np.zeros(1600, np.int16), "en", (), told.append))
    assert len(cancels) == process.glances
    for _ in range(2):
        cancels[0]()
    assert speech.may_glance
    speech.glance(np.zeros(1600, np.int16), "en", (), told.append)
    assert not speech.may_glance
    assert process.pid is None
    await until(lambda: process.pid, "the process")
    os.kill(process.pid or 0, signal.SIGKILL)
    await until(lambda: len(told) == process.glances, "their ends")
    assert speech.may_glance and speech._glances == 0
    await speech.close()
