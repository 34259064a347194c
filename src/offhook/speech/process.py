"""The other end of the speech process (`speech.worker`), on an event loop: a node's, or an app's.

The process is started when first needed, started anew after it died, and ended with who holds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from offhook.audio.pcm import Frame, from_bytes, to_bytes
from offhook.errors import SpeechError
from offhook.speech.messages import (
    HEAD,
    LONGEST,
    Answer,
    Failed,
    Forget,
    Heard,
    Piece,
    Recognise,
    Request,
    Speak,
    Spoken,
    answers,
    packed,
)
from offhook.speech.provider import Words
from offhook.speech.requests import HeardDone, PieceTaken, SpokenDone, too_many

log = logging.getLogger("offhook.speech")

COMMAND: Final = (sys.executable, "-P", "-m", "offhook.speech")  # -P: files of the folder we run in are no modules
STUCK: Final = 30.0  # seconds without an answer, while one is owed, after which the process is killed


@dataclass(slots=True, eq=False)
class _Waiting:
    """An answer that the process owes, and what to do with it. `speaks` tells the two kinds apart, for the bound of
    each; None when nobody waits for it any more."""

    speaks: bool | None
    answered: Callable[[Answer], None]


class SpeechProcess:
    """A `Provider` in a process of its own."""

    glances = 2

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = command
        self._numbers = 0
        self._waiting: dict[int, _Waiting] = {}
        self._outbox: list[bytes] = []
        self._owed_since = 0.0
        self._more = asyncio.Event()
        self._life: asyncio.Task[None] | None = None
        self._closed = False
        self.pid: int | None = None
        """The process as it is now, or was last."""

    # Provider ---------------------------------------------------------------------------------------------------

    def speak(self, words: Words, rate: int, piece: PieceTaken, done: SpokenDone) -> Callable[[], None]:
        """See `Provider`."""

        def answered(answer: Answer) -> None:
            match answer:
                case Piece(_, pcm):
                    piece(from_bytes(pcm))
                case Spoken():
                    done(None)
                case Failed(_, outcome, detail):
                    done(SpeechError(outcome, detail))

        return self._ask(True, lambda number: Speak(number, words, rate), answered)

    def recognise(self, pcm: Frame, language: str, phrases: Sequence[str], done: HeardDone) -> Callable[[], None]:
        """See `Provider`."""

        def answered(answer: Answer) -> None:
            match answer:
                case Heard(_, recognised):
                    done(recognised)
                case Failed(_, outcome, detail):
                    done(SpeechError(outcome, detail))

        data, likely = to_bytes(pcm), tuple(phrases)
        return self._ask(False, lambda number: Recognise(number, data, language, likely), answered)

    async def close(self) -> None:
        """See `Provider`."""
        self._closed = True
        if self._life is not None:
            self._life.cancel()
            await asyncio.wait([self._life])

    # inside -----------------------------------------------------------------------------------------------------

    def _ask(
        self, speaks: bool, request: Callable[[int], Request], answered: Callable[[Answer], None]
    ) -> Callable[[], None]:
        """Send a request; SpeechError when too many wait. Gives back what forgets it."""
        if self._closed:
            raise SpeechError("speech_failed", "Speech has been closed.")
        too_many(sum(one.speaks == speaks for one in self._waiting.values()), speaks=speaks)
        loop = asyncio.get_running_loop()
        self._numbers += 1
        number = self._numbers
        self._outbox.append(packed(request(number)))
        if not self._waiting:
            self._owed_since = loop.time()
        self._waiting[number] = _Waiting(speaks, answered)
        self._more.set()
        if self._life is None or self._life.done():
            self._life = loop.create_task(self._live())

        def forget() -> None:
            one = self._waiting.get(number)
            if one is not None and one.speaks is not None:
                one.speaks, one.answered = None, _nobody
                self._outbox.append(packed(Forget(number)))
                self._more.set()

        return forget

    async def _live(self) -> None:
        """One life of the process, from its start to its end; whoever waits then is told why."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
        except OSError as error:
            self._fail(f"The speech process could not be started: {error}.")
            return
        assert process.stdin is not None and process.stdout is not None
        self.pid = process.pid
        writer = asyncio.create_task(self._write(process.stdin))
        watch = asyncio.create_task(self._watch(process))
        told_to_end = False
        try:
            await self._read(process.stdout)
        except asyncio.CancelledError:  # closed, or the loop ends
            told_to_end = True
            raise
        finally:
            writer.cancel()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            if not told_to_end:
                stuck = watch.done()
                why = f"did not answer for {STUCK:g} s and was ended" if stuck else "ended"
                log.warning("the speech process %s (exit status %s)", why, process.returncode)
                self._fail(f"The speech process {why}.")
            watch.cancel()

    async def _write(self, pipe: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while True:
                await self._more.wait()
                self._more.clear()
                while self._outbox:
                    pipe.write(self._outbox.pop(0))
                    await pipe.drain()

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """End the process when it owes an answer for too long."""
        while True:
            left = self._owed_since + STUCK - asyncio.get_running_loop().time() if self._waiting else STUCK
            if left <= 0:
                break
            await asyncio.sleep(min(left, STUCK / 10))
        with contextlib.suppress(ProcessLookupError):
            process.kill()

    async def _read(self, pipe: asyncio.StreamReader) -> None:
        """Hand out answers until the process ends, or says what is none."""
        with contextlib.suppress(asyncio.IncompleteReadError, OSError, msgspec.MsgspecError):
            while True:
                (size,) = HEAD.unpack(await pipe.readexactly(HEAD.size))
                if size > LONGEST:
                    return
                self._answered(answers.decode(await pipe.readexactly(size)))

    def _answered(self, answer: Answer) -> None:
        self._owed_since = asyncio.get_running_loop().time()
        number = answer.number
        one = self._waiting.get(number) if isinstance(answer, Piece) else self._waiting.pop(number, None)
        if one is not None:
            _told(one, answer)

    def _fail(self, why: str) -> None:
        """Everybody who waits is told; the next request begins with a fresh process."""
        self._life = None  # who is told may ask again at once
        waiting, self._waiting = self._waiting, {}
        self._outbox.clear()
        for number, one in waiting.items():
            _told(one, Failed(number, "speech_failed", why))


def _nobody(answer: Answer) -> None:
    """Takes what nobody waits for any more."""


def _told(one: _Waiting, answer: Any) -> None:
    """A mistake in whoever waits is theirs alone."""
    try:
        one.answered(answer)
    except Exception:
        log.exception("an answer of the speech process could not be used")
