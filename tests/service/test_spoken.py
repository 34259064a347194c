"""Spoken sources among files, with a provider played by the test: growth, ends, sharing, and giving up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
import pytest_asyncio
from tests.live import until
from tests.sound_files import TONE, Files, sound_files

from offhook.audio.pcm import Frame
from offhook.audio.sound import Sound
from offhook.errors import PromptError, SpeechError
from offhook.service import sounds as module
from offhook.service.sounds import Loaded, Sounds
from offhook.service.speech import Speech
from offhook.service.targets import Targets
from offhook.speech.provider import Words
from offhook.speech.requests import HeardDone, PieceTaken, SpokenDone
from offhook.wire.playing import PlaySource


@dataclass
class Text:
    """One request of the provider's."""

    words: Words
    rate: int
    piece: PieceTaken
    done: SpokenDone
    canceled: bool = False


@dataclass
class Provider:
    """Keeps what it is asked, for the test to answer."""

    glances: int = 1
    texts: list[Text] = field(default_factory=list)

    def speak(self, words: Words, rate: int, piece: PieceTaken, done: SpokenDone) -> Callable[[], None]:
        text = Text(words, rate, piece, done)
        self.texts.append(text)

        def cancel() -> None:
            text.canceled = True

        return cancel

    def recognise(self, pcm: Frame, language: str, phrases: Sequence[str], done: HeardDone) -> Callable[[], None]:
        raise SpeechError("speech_failed", "not here")

    async def close(self) -> None:
        """Nothing is open."""


class Desk:
    """Sounds with that provider."""

    def __init__(self) -> None:
        self.now = 0.0
        self.provider = Provider()
        speech = Speech(self.provider)
        self.sounds = Sounds(targets=Targets(private=True), speech=speech, clock=lambda: self.now)
        self.let_go: list[Callable[[], None]] = []

    def load(self, *sources: PlaySource, rate: int = 16000) -> asyncio.Future[Loaded]:
        done: asyncio.Future[Loaded] = asyncio.get_running_loop().create_future()
        self.let_go.append(self.sounds.load(sources, rate, done.set_result))
        return done

    async def asked(self, count: int = 1) -> Text:
        """The `count`-th request of the provider's."""
        await until(lambda: len(self.provider.texts) >= count, f"{count} texts")
        return self.provider.texts[count - 1]


@pytest_asyncio.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    yield desk
    await desk.sounds.close()


@pytest_asyncio.fixture
async def files() -> AsyncIterator[Files]:
    async with sound_files() as served:
        yield served


def text(words: str = "Hello", cache_id: str | None = None, **more: str) -> PlaySource:
    return PlaySource(kind="text", words=words, cache_id=cache_id, **more)


def samples(value: int, count: int = 100) -> Frame:
    return np.full(count, value, np.int16)


async def sound(future: asyncio.Future[Loaded]) -> Sound:
    found = await asyncio.wait_for(future, 5)
    assert isinstance(found, Sound), found
    return found


async def test_it_is_there_with_its_first_piece_and_grows(desk: Desk) -> None:
    loading = desk.load(text(language="en-US", voice="en-US-NancyNeural"))
    asked = await desk.asked()
    assert asked.words == Words(text="Hello", language="en-US", voice="en-US-NancyNeural") and asked.rate == 16000
    await asyncio.sleep(0)
    assert not loading.done()
    asked.piece(samples(1))
    found = await sound(loading)
    assert found.length == 100 and not found.over
    asked.piece(samples(2))
    asked.done(None)
    assert found.whole and found.samples().tolist() == [1] * 100 + [2] * 100


async def test_texts_and_files_in_a_row(desk: Desk, files: Files) -> None:
    """In the order of the request, whatever the order of the pieces; there when each has begun."""
    loading = desk.load(text("one"), PlaySource(kind="file", uri=files.url("/a.wav")), text("two"))
    one, two = await desk.asked(1), await desk.asked(2)
    two.piece(samples(2))
    await until(lambda: files.asked, "the file")
    assert not loading.done()
    one.piece(samples(1))
    found = await sound(loading)
    assert found.length == 100
    two.done(None)
    one.piece(samples(3))
    assert found.length == 200
    one.done(None)
    expected = np.concatenate([samples(1), samples(3), TONE, samples(2)])
    assert found.whole and np.array_equal(found.samples(), expected)


@pytest.mark.parametrize("begun", [False, True])
async def test_a_failure_names_the_source(desk: Desk, begun: bool) -> None:
    """Before anything is heard, or in the middle of it."""
    loading = desk.load(text("one"), text("two"))
    one, two = await desk.asked(1), await desk.asked(2)
    one.piece(samples(1))
    if begun:
        two.piece(samples(2))
        found = await sound(loading)
        one.done(None)
        two.done(SpeechError("speech_failed", "it broke"))
        error: object = found.error
    else:
        two.done(SpeechError("speech_failed", "it broke"))
        error = await asyncio.wait_for(loading, 5)
    assert isinstance(error, PromptError)
    assert (error.outcome, error.detail, error.index) == ("speech_failed", "it broke", 1)


async def test_nothing_to_say(desk: Desk) -> None:
    for words in ("", " \n"):
        error = await asyncio.wait_for(desk.load(text(words)), 5)
        assert isinstance(error, PromptError) and error.outcome == "play_source_empty"
    loading = desk.load(text("<speak/>"))
    (await desk.asked()).done(None)
    error = await asyncio.wait_for(loading, 5)
    assert isinstance(error, PromptError) and error.outcome == "play_source_empty"


async def test_more_than_a_play_may_hold(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SECONDS", 0.01)
    loading = desk.load(text())
    asked = await desk.asked()
    asked.piece(samples(1))
    found = await sound(loading)
    asked.piece(samples(1))
    assert isinstance(found.error, PromptError) and found.error.outcome == "play_bad_format"


async def test_equal_texts_are_made_once(desk: Desk) -> None:
    first, second = desk.load(text()), desk.load(text())
    asked = await desk.asked()
    asked.piece(samples(1))
    both = [await sound(first), await sound(second)]
    asked.done(None)
    assert all(found.whole for found in both)
    await sound(desk.load(text()))
    desk.now = module.KEPT_BY_URL + 1
    desk.load(text())
    await desk.asked(2)
    for number, other in enumerate(
        [
            text("Hello."),
            text(voice="x"),
            text(language="en"),
            text(cache_id="id"),
            PlaySource(kind="ssml", words="Hello"),
        ],
        3,
    ):
        desk.load(other)
        await desk.asked(number)
    desk.load(text(), rate=24000)
    assert (await desk.asked(8)).rate == 24000


async def test_an_id_keeps_it_longer(desk: Desk) -> None:
    loading = desk.load(text(cache_id="id"))
    asked = await desk.asked()
    asked.piece(samples(1))
    asked.done(None)
    await sound(loading)
    desk.now = module.KEPT_BY_ID - 1
    await sound(desk.load(text(cache_id="id")))
    assert len(desk.provider.texts) == 1
    assert desk.sounds._kept_bytes == 200


@pytest.mark.parametrize("begun", [False, True])
async def test_what_nobody_hears_is_not_spoken_on(desk: Desk, begun: bool) -> None:
    """The last one who lets go of it ends it; the next one who asks begins anew."""
    first, second = desk.load(text()), desk.load(text())
    asked = await desk.asked()
    await asyncio.sleep(0)
    if begun:
        asked.piece(samples(1))
        await sound(first)
        await sound(second)
    desk.let_go[0]()
    desk.let_go[0]()
    assert not asked.canceled
    desk.let_go[1]()
    assert asked.canceled and not desk.sounds._kept
    desk.load(text())
    await desk.asked(2)


async def test_what_is_whole_is_kept_when_it_is_let_go(desk: Desk) -> None:
    loading = desk.load(text())
    asked = await desk.asked()
    asked.piece(samples(1))
    asked.done(None)
    await sound(loading)
    desk.let_go[0]()
    await sound(desk.load(text()))
    assert len(desk.provider.texts) == 1


async def test_a_failure_is_not_kept(desk: Desk) -> None:
    for number in (1, 2):
        loading = desk.load(text())
        asked = await desk.asked(number)
        asked.piece(samples(1))
        await sound(loading)
        asked.done(SpeechError("speech_failed", ""))
        assert not desk.sounds._kept
