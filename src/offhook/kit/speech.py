"""The local voice and recogniser as an app has them: one process for all its calls, without keys and offline.

The models run in a process of their own at low priority (`speech.worker`), so neither the loop nor the sound of a call
waits for them. It starts with the first request, or before with `local_speech()`; anew when it dies; and ends with the
event loop, or the app's own process, however that ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Final

import numpy as np

from offhook.audio.pcm import Frame, from_bytes, to_bytes
from offhook.errors import SpeechError
from offhook.speech.process import SpeechProcess
from offhook.speech.provider import Recognised, Words

LONGEST_TEXT: Final = 4000
"""Characters of one text to speak."""
FAILED: Final = "speech_failed"
_FIRST_WORDS: Final = "Hello."


class LocalSpeech:
    """`listen` and `speak` for `converse` (or for anything else), English only. `async with` starts and closes it."""

    def __init__(self, process: SpeechProcess | None = None) -> None:
        self.process: Final = process or SpeechProcess()

    async def listen(self, pcm: bytes) -> str:
        """What is said in PCM16 mono at 16 kHz; empty when nobody speaks.

        SpeechError: the extra `offhook[speech]` is not installed, 64 others wait, or it failed twice.
        """
        try:
            return await self._recognised(from_bytes(pcm))
        except SpeechError as error:
            if error.outcome != FAILED:
                raise
        return await self._recognised(from_bytes(pcm))  # by a fresh process, where the first has died

    async def speak(self, text: str, rate: int) -> AsyncGenerator[bytes, None]:
        """A text as PCM16 mono at `rate`, a sentence at a time as it is made. SpeechError as `listen`.

        Closing the iterator (`aclose`) takes the rest of it from the process.
        """
        if len(text) > LONGEST_TEXT:
            raise SpeechError(FAILED, f"A text of {len(text)} characters is too long: {LONGEST_TEXT} at most.")
        for again in (False, True):  # by a fresh process, where the first has died before its first word
            begun = False
            async with aclosing(self._pieces(text, rate)) as pieces:
                try:
                    async for piece in pieces:
                        begun = True
                        yield piece
                    return
                except SpeechError as error:
                    if again or begun or error.outcome != FAILED:
                        raise

    async def start(self) -> None:
        """Load both models (a second), so that no caller waits for them. SpeechError as `listen`."""
        rate = 16000
        pieces = [from_bytes(piece) async for piece in self.speak(_FIRST_WORDS, rate)]
        await self.listen(to_bytes(np.concatenate(pieces)))

    async def close(self) -> None:
        """End the process. Who still waits for it is not told; do it when the calls are over."""
        await self.process.close()

    async def __aenter__(self) -> LocalSpeech:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.close()

    async def _recognised(self, frame: Frame) -> str:
        done: asyncio.Future[Recognised | SpeechError] = asyncio.get_running_loop().create_future()
        forget = self.process.recognise(frame, "", (), done.set_result)
        try:
            result = await done
        finally:
            forget()
        if isinstance(result, SpeechError):
            raise result
        return result.text

    async def _pieces(self, text: str, rate: int) -> AsyncGenerator[bytes, None]:
        made: asyncio.Queue[Frame | SpeechError | None] = asyncio.Queue()
        forget = self.process.speak(Words(text=text), rate, made.put_nowait, made.put_nowait)
        try:
            while isinstance(piece := await made.get(), np.ndarray):
                yield to_bytes(piece)
        finally:
            forget()
        if piece is not None:
            raise piece


_shared: Final[dict[asyncio.AbstractEventLoop, LocalSpeech]] = {}


def shared_speech() -> LocalSpeech:
    """The one of the app, that is of the running event loop; not started yet, perhaps."""
    for loop in [loop for loop in _shared if loop.is_closed()]:
        del _shared[loop]
    running = asyncio.get_running_loop()
    if running not in _shared:
        _shared[running] = LocalSpeech()
    return _shared[running]


async def local_speech() -> LocalSpeech:
    """The app's own, ready: await it before the first call, for loading takes a second. SpeechError."""
    speech = shared_speech()
    await speech.start()
    return speech


async def understand_locally(pcm: bytes) -> str:
    """`TurnTaking(understand=understand_locally)`: words decide whether something short interrupts. SpeechError."""
    return await shared_speech().listen(pcm)
