"""A call without sound for tests of `converse`: a letter is 20 ms of speech, and nothing moves but by the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from contextlib import suppress
from typing import Any, cast

from tests.live import until

from offhook.kit.call import Call, CallEnded
from offhook.kit.cascade import Conversation, converse
from offhook.kit.feed import Feed, Listener
from offhook.kit.turns import Interrupted, Resumed, SpeechEnded, SpeechStarted, TurnEvent, TurnTaking

LETTER_MS = 20


class Said:
    """A `Playback`: its text is that which the voice made its sound of."""

    def __init__(self, source: AsyncIterator[bytes]) -> None:
        self.source = source
        self.text = ""
        self.heard_ms = 0.0
        self.cut = self.made = False
        self.over = asyncio.Event()

    @property
    def length_ms(self) -> float:
        return float(len(self.text) * LETTER_MS)

    @property
    def done(self) -> bool:
        return self.over.is_set()

    def __await__(self) -> Generator[Any, None, Said]:
        yield from self.over.wait().__await__()
        return self


class FakeCall:
    """A `Call` as far as `converse` uses one; sources are pulled one after another, and closed when they are cut."""

    id = "fake"
    rate = 16000

    def __init__(self, *, barge_in: bool = True) -> None:
        self.turn_taking = TurnTaking(barge_in=barge_in)
        self.feed: Feed[TurnEvent] = Feed(100)
        self.said: list[Said] = []
        self.stops = 0
        self.ended = False
        self._pulling: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    @property
    def turns(self) -> Listener[TurnEvent]:
        return self.feed.listen()

    @property
    def texts(self) -> list[str]:
        """What was begun to be said."""
        return [one.text for one in self.said]

    def play(self, source: AsyncIterator[bytes]) -> Said:
        if self.ended:
            raise CallEnded("the call is over")
        said = Said(source)
        self.said.append(said)
        task = asyncio.create_task(self._pull(said))
        self._pulling.add(task)
        task.add_done_callback(self._pulling.discard)
        return said

    async def stop(self) -> float:
        self.stops += 1
        self._cut()
        return 0.0

    # ------------------------------------------------------------------ what the test makes happen

    async def hears(self, text: str) -> None:
        """The caller hears a sentence that is being said to its end."""
        one = await self._saying(text)
        await until(lambda: one.made, f"all the sound of {text!r}")
        one.heard_ms = one.length_ms
        one.over.set()

    async def hears_some(self, text: str, letters: int) -> None:
        """The caller hears so many letters of a sentence."""
        (await self._saying(text)).heard_ms = letters * LETTER_MS

    async def _saying(self, text: str) -> Said:
        def found() -> Said | None:
            return next((one for one in self.said if one.text == text and not one.done), None)

        return cast(Said, await until(found, f"{text!r}, not {self.texts}"))

    def speaks(self) -> None:
        self.feed.put(SpeechStarted(0.0))

    def says(self, text: str) -> None:
        """The caller has spoken; `heard_as_text` understands it."""
        self.feed.put(SpeechEnded(0.0, text.encode()))

    def asks(self, text: str) -> None:
        self.speaks()
        self.says(text)

    def interrupts(self) -> None:
        self.speaks()
        self._cut()
        self.feed.put(Interrupted(0.0))

    def resumes(self) -> None:
        self.feed.put(Resumed(0.0))

    def end(self) -> None:
        self.ended = True
        self._cut()
        self.feed.end()

    def _cut(self) -> None:
        for one in self.said:
            if not one.done:
                one.cut = True
                one.over.set()

    async def _pull(self, said: Said) -> None:
        async with self._turn:
            putting = asyncio.create_task(self._put(said))
            over = asyncio.create_task(said.over.wait())
            await asyncio.wait({putting, over}, return_when=asyncio.FIRST_COMPLETED)
            for task in (putting, over):
                task.cancel()
            await asyncio.wait({putting, over})
            with suppress(RuntimeError):
                await said.source.aclose()  # type: ignore[attr-defined]
            said.made = True

    async def _put(self, said: Said) -> None:
        async for piece in said.source:
            said.text += piece.decode()


async def heard_as_text(pcm: bytes) -> str:
    """A recogniser: the sound is the text."""
    return pcm.decode()


async def spoken_as_text(text: str, rate: int) -> AsyncIterator[bytes]:
    """A voice: the text is the sound, in two pieces."""
    assert rate == FakeCall.rate
    yield text[:3].encode()
    await asyncio.sleep(0)
    yield text[3:].encode()


def conversing(call: FakeCall, reply: Any, **settings: Any) -> asyncio.Task[Conversation]:
    """`converse`, begun."""
    settings = {"listen": heard_as_text, "speak": spoken_as_text} | settings
    return asyncio.create_task(converse(cast(Call, call), reply, **settings))


async def settled() -> None:
    """All that can happen by itself has happened."""
    for _ in range(50):
        await asyncio.sleep(0)
