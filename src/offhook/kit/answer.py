"""One answer of an agent, from the text of `reply` to what the caller has heard of it.

The text is cut into sentences as it comes; each is a playback of its own, spoken as its sound is made. At most one
sentence waits behind the one that is heard, so an answer that is cut has cost little, and what was heard is known by
the sentence, and within one by its share of the sound.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from offhook.kit.playback import Playback
from offhook.speech.sentences import Sentences

if TYPE_CHECKING:
    from offhook.kit.call import Call

log: Final = logging.getLogger("offhook.kit")

Speak: TypeAlias = Callable[[str, int], AsyncIterator[bytes]]
"""`speak(text, rate)`: a sentence as PCM16 mono at `rate`, in pieces as they are made."""
Text: TypeAlias = str | None | AsyncIterator[str]
"""What an answer is made of: a text, pieces of one cut anywhere, or None (nothing is said)."""

STALL_S: Final = 0.25
"""What reads like a whole sentence is said when nothing has followed it for so long (a tool is at work, say)."""
PIECES_AHEAD: Final = 64
"""Pieces of text that `reply` may be ahead of the voice."""
LEAVE_S: Final = 5.0
"""How long a `reply` that is cancelled may go on."""
_LETTERS_A_SECOND: Final = 15  # of speech; where not all of a sentence's sound is made yet


class Sentence:
    """A sentence that is being said, from now on. CallEnded."""

    def __init__(self, text: str, call: Call, speak: Speak) -> None:
        self.text = text
        self._call, self._speak = call, speak
        self._made = False  # all of its sound is there
        self.playback: Final = call.play(self._sound())

    @property
    def heard(self) -> str:
        """The words that the caller has heard whole, by their share of the sound."""
        heard, length = self.playback.heard_ms, self.playback.length_ms
        if not self._made:
            length = max(length, len(self.text) * 1000 / _LETTERS_A_SECOND)
        elif self.playback.done and not self.playback.cut:
            return self.text
        if not heard:
            return ""
        if heard >= length:
            return self.text
        end = math.floor(len(self.text) * heard / length)
        while end and not self.text[end].isspace():
            end -= 1
        return self.text[:end].rstrip()

    async def _sound(self) -> AsyncGenerator[bytes, None]:
        try:
            sound = self._speak(self.text, self._call.rate)
            async with _closing(sound):
                async for piece in sound:
                    if not isinstance(piece, bytes | bytearray | memoryview):
                        raise TypeError(f"speak gave {type(piece).__name__}; it gives PCM16 as bytes")
                    yield piece
            self._made = True
        except Exception:
            log.exception("call %s: a sentence could not be spoken: %.80r", self._call.id, self.text)


class Answer:
    """Says what `source` gives. `await` it, or `stop` it; then `heard` and `cut` tell what came of it."""

    def __init__(
        self, call: Call, source: Callable[[], Text | Awaitable[Text]], speak: Speak, quiet: asyncio.Event, apology: str
    ) -> None:
        """`quiet`: set while the caller does not speak; no sentence begins otherwise. `apology`: said for `source`
        that raises."""
        self._call = call
        self._source = source
        self._speak = speak
        self._quiet = quiet
        self._apology = apology
        self._pieces: asyncio.Queue[str | asyncio.Future[None] | None] = asyncio.Queue(PIECES_AHEAD)
        self._sentences: list[Sentence] = []
        self._watchers: set[asyncio.Task[None]] = set()
        self._leaving = False  # all was said, or will not be; only `source` is waited for
        self.cut = False
        """The caller, or who else stopped it, has cut it."""
        self.task: Final = asyncio.create_task(self._run())
        """Ends when all was heard, or it was stopped. CallEnded when the call is over."""

    @property
    def heard(self) -> str:
        """What the caller has heard of it."""
        return " ".join(filter(None, (sentence.heard for sentence in self._sentences)))

    async def until_heard(self) -> None:
        """For `source`: wait until all it has given so far was heard."""
        heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self._pieces.put(heard)
        await asyncio.wait({heard, self.task}, return_when=asyncio.FIRST_COMPLETED)

    async def stop(self) -> None:
        """Say nothing more, cancel `source`, and drop what was not heard."""
        self._cut_off()
        await asyncio.wait({self.task})
        if not all(one.playback.done for one in self._sentences):
            await self._call.stop()

    # ------------------------------------------------------------------ inside

    async def _run(self) -> None:
        asked = asyncio.create_task(self._ask())
        try:
            async with aclosing(self._whole()) as sentences:
                async for text in sentences:
                    await self._say(text)
            await self._all_heard()
        except _Cut:
            self.cut = True
        except asyncio.CancelledError:
            if not self.cut:
                raise
        finally:
            self._leaving = True
            for task in (asked, *self._watchers):
                task.cancel()
            await asyncio.wait({asked}, timeout=LEAVE_S)
            if not asked.done():
                log.warning("call %s: a reply goes on %g s after it was cancelled", self._call.id, LEAVE_S)

    async def _ask(self) -> None:
        """What `source` gives goes into the queue, then None."""
        try:
            given: Any = self._source()
            if inspect.isawaitable(given):
                given = await given
            if isinstance(given, str):
                await self._pieces.put(given)
            elif hasattr(given, "__aiter__"):
                await self._take(given)
            elif given is not None:
                raise TypeError(f"reply gave {type(given).__name__}; it gives a str, None, or an async iterator of str")
        except (Exception, asyncio.CancelledError) as error:
            this = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and this is not None and this.cancelling():
                raise
            log.exception("call %s: reply failed", self._call.id)
            await self._pieces.put(f"\n{self._apology}")
        await self._pieces.put(None)

    async def _take(self, given: AsyncIterator[Any]) -> None:
        async with _closing(given):
            async for piece in given:
                if not isinstance(piece, str):
                    raise TypeError(f"reply gave a piece that is {type(piece).__name__}; each one is a str")
                await self._pieces.put(piece)

    async def _whole(self) -> AsyncGenerator[str, None]:
        """Sentences, each as soon as it is whole."""
        waiting = Sentences()
        while True:
            piece: str | asyncio.Future[None] | None = ""
            try:
                async with asyncio.timeout(STALL_S if waiting.ended else None):
                    piece = await self._pieces.get()
                sentences = waiting.add(piece) if isinstance(piece, str) else waiting.rest()
            except TimeoutError:
                sentences = waiting.rest()
            for sentence in sentences:
                yield sentence
            if piece is None:
                return
            if isinstance(piece, asyncio.Future):
                await self._all_heard()
                if not piece.done():
                    piece.set_result(None)

    async def _say(self, text: str) -> None:
        """Begin a sentence as soon as it may be, and wait until it is the next one to be heard."""
        await self._quiet.wait()
        if self._sentences and self._sentences[-1].playback.cut:
            raise _Cut
        sentence = Sentence(text, self._call, self._speak)
        self._sentences.append(sentence)
        watcher = asyncio.create_task(self._watch(sentence.playback))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        if len(self._sentences) > 1:
            await self._sentences[-2].playback

    async def _watch(self, playback: Playback) -> None:
        """What is cut while `source` is waited for ends it at once."""
        await playback
        if playback.cut:
            self._cut_off()

    def _cut_off(self) -> None:
        if not self._leaving:
            self.cut = True
            self.task.cancel()

    async def _all_heard(self) -> None:
        for sentence in self._sentences:
            await sentence.playback
            if sentence.playback.cut:
                raise _Cut


class _Cut(Exception):
    """A sentence was cut: there is no use in the next."""


@asynccontextmanager
async def _closing(iterator: AsyncIterator[Any]) -> AsyncGenerator[None, None]:
    """Close it in the end: a generator is then not left waiting in the middle; what cannot be closed need not be."""
    try:
        yield
    finally:
        close = getattr(iterator, "aclose", None)
        if close is not None:
            await close()
