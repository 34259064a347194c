"""`converse` by itself: whose turn it is, what is answered, what is kept of what was said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from tests.kit.conversing import FakeCall, conversing, settled, spoken_as_text
from tests.live import until

from offhook.errors import ConfigError
from offhook.kit import answer as answers
from offhook.kit import cascade
from offhook.kit.cascade import MOST_UTTERANCES, Conversation, Message, converse

ANSWER = "We are open from nine to five."


@pytest_asyncio.fixture
async def call() -> AsyncIterator[FakeCall]:
    """When it is over nothing of it goes on."""
    call = FakeCall()
    yield call
    call.end()
    this = asyncio.current_task()
    await until(lambda: asyncio.all_tasks() <= {this}, "the end of all tasks")


class Asked:
    """A reply that is steered by the test: gives what is put, until None."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.closed = 0
        self.pieces: asyncio.Queue[str | None] = asyncio.Queue()

    async def reply(self, text: str) -> AsyncIterator[str]:
        self.texts.append(text)
        try:
            while (piece := await self.pieces.get()) is not None:
                yield piece
        finally:
            self.closed += 1

    def give(self, *pieces: str | None) -> None:
        for piece in pieces:
            self.pieces.put_nowait(piece)


async def test_a_greeting_a_question_and_its_answer(call: FakeCall) -> None:
    talking = conversing(call, lambda text: f"You said {text}", greeting="Hello there. How are you?")
    await call.hears("Hello there.")
    await call.hears("How are you?")
    call.asks("fine")
    await call.hears("You said fine")
    await settled()
    call.end()
    assert (await talking).messages == [
        Message("assistant", "Hello there. How are you?"),
        Message("user", "fine"),
        Message("assistant", "You said fine"),
    ]


async def coroutine(text: str) -> str:
    await asyncio.sleep(0)
    return f"{text}!"


async def generator(text: str) -> AsyncIterator[str]:
    yield text
    yield "!"


def with_conversation(text: str, talk: Conversation) -> str:
    assert talk.messages == [Message("user", text)]
    return f"{text}!"


class Callable_:
    async def __call__(self, text: str, /) -> str:
        return f"{text}!"


class Once:
    """An async iterator without `aclose`."""

    def __init__(self, text: str) -> None:
        self.left = [text, "!"]

    def __aiter__(self) -> Once:
        return self

    async def __anext__(self) -> str:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop(0)


@pytest.mark.parametrize(
    "reply",
    [coroutine, generator, with_conversation, Callable_(), Once, partial(lambda mark, text: text + mark, "!"),
     lambda text, model="m": f"{text}!" if model == "m" else model],
)  # fmt: skip
async def test_a_reply_is_any_function_of_a_text(call: FakeCall, reply: Any) -> None:
    conversing(call, reply)
    await settled()
    call.asks("hello")
    await call.hears("hello!")


@pytest.mark.parametrize("reply", [lambda: "", lambda one, two, three: "", "text", None])
async def test_a_reply_that_cannot_be_asked_is_refused(reply: Any) -> None:
    with pytest.raises(ConfigError, match=r"reply\(text\)"):
        await converse(FakeCall(), reply)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="still_there_after"):
        await converse(FakeCall(), str, still_there_after=0)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [None, "", " ... "])
async def test_a_reply_of_nothing_says_nothing(call: FakeCall, given: str | None) -> None:
    talking = conversing(call, lambda text: given)
    await settled()
    call.asks("one")
    await settled()
    call.asks("two")
    await settled()
    call.end()
    assert (await talking).messages == [Message("user", "one"), Message("user", "two")] and not call.said


async def test_a_sentence_is_heard_while_the_next_is_still_made_and_one_waits_behind_it(call: FakeCall) -> None:
    asked = Asked()
    conversing(call, asked.reply)
    await settled()
    call.asks("when?")
    asked.give("We are op", "en. From n")
    await until(lambda: call.texts == ["We are open."], "the first")
    asked.give("ine. Until five. Then", " not.", None)
    await until(lambda: call.texts == ["We are open.", "From nine."], "the second")
    await settled()
    assert len(call.said) == 2
    await call.hears("We are open.")
    await call.hears("From nine.")
    await call.hears("Until five.")
    await call.hears("Then not.")


async def test_what_reads_like_a_sentence_is_said_when_nothing_follows(call: FakeCall) -> None:
    asked = Asked()
    conversing(call, asked.reply)
    await settled()
    call.asks("when?")
    asked.give("Let me look.")
    await call.hears("Let me look.")
    asked.give("From nine", None)
    await call.hears("From nine")


async def test_speech_cuts_the_answer_and_what_was_heard_is_kept(call: FakeCall) -> None:
    """The words that were heard whole; what makes text and sound is closed."""
    asked, voices = Asked(), 0

    async def speak(text: str, rate: int) -> AsyncIterator[bytes]:
        nonlocal voices
        voices += 1
        try:
            yield text.encode()
            if text.startswith("Then"):
                await asyncio.Event().wait()
        finally:
            voices -= 1

    talking = conversing(call, asked.reply, speak=speak)
    await settled()
    call.asks("when?")
    asked.give("From nine. ", ANSWER, " Then on and on. And")
    await call.hears("From nine.")
    await until(lambda: "Then on and on." in call.texts, "the third")
    await call.hears_some(ANSWER, 14)
    call.interrupts()
    await until(lambda: asked.closed, "the end of the reply")
    assert voices == 0
    call.says("what about sunday?")
    await until(lambda: len(asked.texts) == 2, "the next")
    asked.give("Closed.", None)
    await call.hears("Closed.")
    await settled()
    call.end()
    assert asked.texts == ["when?", "what about sunday?"]
    assert (await talking).messages == [
        Message("user", "when?"),
        Message("assistant", "From nine. We are open", cut=True),
        Message("user", "what about sunday?"),
        Message("assistant", "Closed."),
    ]
    assert call.texts == ["From nine.", ANSWER, "Then on and on.", "Closed."]


async def test_what_turns_out_to_be_no_speech_changes_nothing(call: FakeCall) -> None:
    talking = conversing(call, lambda text: f"{ANSWER} And so on.", not_understood="What?")
    await settled()
    call.asks("when?")
    await until(lambda: len(call.said) == 2, "the answer")
    call.resumes()
    await call.hears(ANSWER)
    await call.hears("And so on.")
    await settled()
    call.end()
    assert (await talking).messages == [Message("user", "when?"), Message("assistant", f"{ANSWER} And so on.")]


async def test_no_sentence_begins_while_the_caller_speaks(call: FakeCall) -> None:
    asked = Asked()
    understood: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def listen(pcm: bytes) -> str:
        return "when?" if pcm else await understood

    conversing(call, asked.reply, listen=listen)
    await settled()
    call.asks("when?")
    await until(lambda: asked.texts, "the question")
    call.speaks()
    asked.give(ANSWER, None)
    await settled()
    call.says("")
    await settled()
    assert not call.said, "nor while it is not known what they said"
    understood.set_result("")
    await call.hears(ANSWER)


async def test_two_utterances_before_the_answer_are_one(call: FakeCall) -> None:
    asked = Asked()
    talking = conversing(call, asked.reply)
    await settled()
    call.asks("I want to know")
    await until(lambda: asked.texts, "the first")
    call.asks("when you open")
    await until(lambda: len(asked.texts) == 2, "the second")
    assert asked.texts[1] == "I want to know when you open" and asked.closed == 1
    asked.give(ANSWER, None)
    await call.hears(ANSWER)
    call.asks("thanks")
    await until(lambda: len(asked.texts) == 3, "the third")
    assert asked.texts[2] == "thanks"
    call.interrupts()
    call.says("bye")
    await until(lambda: len(asked.texts) == 4, "the fourth")
    call.end()
    assert (await talking).messages == [
        Message("user", "I want to know when you open"),
        Message("assistant", ANSWER),
        Message("user", "thanks bye"),
    ]


async def test_an_answer_that_is_cut_before_a_word_was_heard_is_asked_for_again(call: FakeCall) -> None:
    asked = Asked()
    conversing(call, asked.reply)
    await settled()
    call.asks("when")
    asked.give(ANSWER, None)
    await until(lambda: call.said, "the answer")
    call.interrupts()
    call.says("on sundays")
    await until(lambda: len(asked.texts) == 2, "the next")
    assert asked.texts[1] == "when on sundays"


async def test_an_answer_that_noise_cuts_before_a_word_was_heard_comes_again(call: FakeCall) -> None:
    """Nobody is left without an answer; when some of it was heard, they are told that they were not understood."""
    asked = Asked()
    talking = conversing(call, asked.reply, not_understood="Pardon?")
    await settled()
    call.asks("when?")
    for _ in range(2):
        asked.give(ANSWER, None)
        await until(lambda: call.texts and not call.said[-1].done, "the answer")
        call.interrupts()
        call.says(" ")
        await until(lambda: not asked.pieces.qsize() and len(asked.texts) == 1 + asked.closed, "the question again")
    asked.give(ANSWER, None)
    await call.hears_some(ANSWER, 14)
    call.interrupts()
    call.says(" ")
    await call.hears("Pardon?")
    await settled()
    call.end()
    assert asked.texts == ["when?"] * 3
    assert (await talking).messages == [
        Message("user", "when?"),
        Message("assistant", "We are open", cut=True),
        Message("assistant", "Pardon?"),
    ]


async def test_noise_that_cuts_the_last_answer_is_not_answered(call: FakeCall) -> None:
    async def reply(text: str, talk: Conversation) -> str:
        talk.end()
        return "Goodbye."

    talking = conversing(call, reply, not_understood="Pardon?")
    await settled()
    call.asks("bye")
    await until(lambda: call.texts == ["Goodbye."], "the answer")
    call.interrupts()
    call.says(" ")
    await talking
    assert call.texts == ["Goodbye."]


async def test_a_recogniser_that_hangs_holds_nobody_up(call: FakeCall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascade, "LISTEN_S", 0.05)
    monkeypatch.setattr(cascade, "LEAVE_S", 0.05)
    released = asyncio.Event()

    async def listen(pcm: bytes) -> str:
        while pcm == b"deaf" and not released.is_set():
            with suppress(asyncio.CancelledError):
                await released.wait()
        if pcm == b"hang":
            await asyncio.Event().wait()
        return pcm.decode()

    talking = conversing(call, coroutine, listen=listen, apology="Sorry.")
    await settled()
    call.asks("hang")
    await call.hears("Sorry.")
    call.asks("hello")
    await call.hears("hello!")
    call.asks("deaf")
    await settled()
    call.end()
    assert (await talking).messages[-1].text == "hello!"
    released.set()


async def test_a_question_in_the_gaps_of_an_answer_ends_it(call: FakeCall) -> None:
    """Nothing was being heard, so nobody said that it was cut."""
    asked = Asked()
    talking = conversing(call, asked.reply)
    await settled()
    call.asks("when?")
    asked.give("Let me look.")
    await call.hears("Let me look.")
    call.asks("never mind")
    await until(lambda: len(asked.texts) == 2, "the next")
    assert asked.closed == 1 and asked.texts[1] == "never mind"
    call.end()
    assert (await talking).messages[1] == Message("assistant", "Let me look.", cut=True)


async def test_without_barge_in_what_is_said_meanwhile_is_answered_after_it() -> None:
    call = FakeCall(barge_in=False)
    talking = conversing(call, lambda text: f"First. Second {text}")
    await settled()
    call.asks("one")
    await call.hears("First.")
    call.asks("two")
    call.asks("three")
    await settled()
    await call.hears("Second one")
    await call.hears_some("First.", 6)
    await until(lambda: call.texts[2:] == ["First.", "Second two three"], "the next")
    call.end()
    assert [one.text for one in (await talking).messages] == ["one", "First. Second one", "two three", "First."]
    assert call.stops == 0


async def test_who_was_not_understood_is_told_so_if_that_is_wanted(call: FakeCall) -> None:
    conversing(call, lambda text: text, not_understood="Say that again.")
    await settled()
    call.asks(" ")
    await call.hears("Say that again.")
    call.asks("what?")
    await call.hears("what?")


async def fails(text: str) -> AsyncIterator[str]:
    if text == "fail":
        yield "I think"
        raise RuntimeError("no idea")
    if text == "cancel":
        raise asyncio.CancelledError
    yield ANSWER


async def test_a_reply_that_fails_is_logged_and_the_call_goes_on(
    call: FakeCall, caplog: pytest.LogCaptureFixture
) -> None:
    talking = conversing(call, fails, apology="Sorry.")
    await settled()
    for text, *answer in (("fail", "I think", "Sorry."), ("cancel", "Sorry."), ("when?", ANSWER)):
        call.asks(text)
        for sentence in answer:
            await call.hears(sentence)
        await settled()
    call.end()
    assert [one.text for one in (await talking).messages] == [
        "fail", "I think Sorry.", "cancel", "Sorry.", "when?", ANSWER,
    ]  # fmt: skip
    assert caplog.text.count("call fake: reply failed") == 2 and "RuntimeError: no idea" in caplog.text


@pytest.mark.parametrize(("given", "name"), [(5, "int"), (["text"], "list"), (b"text", "bytes")])
async def test_a_reply_of_something_else_is_named(
    call: FakeCall, given: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    conversing(call, lambda text: given, apology="Sorry.")
    await settled()
    call.asks("when?")
    await call.hears("Sorry.")
    assert f"reply gave {name}; it gives a str" in caplog.text


async def test_what_cannot_be_recognised_or_spoken_is_logged_and_the_call_goes_on(
    call: FakeCall, caplog: pytest.LogCaptureFixture
) -> None:
    async def listen(pcm: bytes) -> str:
        if pcm == b"fail":
            raise RuntimeError("no ears")
        return pcm.decode()

    async def speak(text: str, rate: int) -> AsyncIterator[bytes]:
        if text == "One.":
            yield b"O"
            raise RuntimeError("no voice")
        yield text if text == "Text." else text.encode()  # type: ignore[misc]

    talking = conversing(call, lambda text: "One. Text. Two.", listen=listen, speak=speak, apology="Sorry.")
    await settled()
    call.asks("fail")
    await call.hears("Sorry.")
    call.asks("count")
    await call.hears("O")
    await call.hears("")
    await call.hears("Two.")
    await settled()
    call.end()
    assert (await talking).messages[-1] == Message("assistant", "Two."), "what was heard of it"
    assert "speak gave str; it gives PCM16 as bytes" in caplog.text
    assert "no ears" in caplog.text and "could not be spoken: 'One.'" in caplog.text and "no voice" in caplog.text


async def test_a_caller_who_says_nothing_is_asked_once(call: FakeCall) -> None:
    conversing(call, lambda text: text, still_there="Are you there?", still_there_after=0.05)
    await call.hears("Are you there?")
    call.speaks()
    await asyncio.sleep(0.15)
    call.says("yes")
    await call.hears("yes")
    await until(lambda: len(call.said) == 3, "the next time")
    assert call.texts == ["Are you there?", "yes", "Are you there?"]
    await call.hears("Are you there?")
    await asyncio.sleep(0.15)
    assert len(call.said) == 3


async def test_a_conversation_ends_when_its_last_answer_was_heard(call: FakeCall) -> None:
    transferred = []

    async def reply(text: str, talk: Conversation) -> AsyncIterator[str]:
        yield "One moment"
        await talk.heard()
        transferred.append(text)
        talk.end()
        yield "Goodbye."

    talking = conversing(call, reply)
    await settled()
    call.asks("an agent, please")
    await until(lambda: call.texts == ["One moment"], "the first")
    await settled()
    assert not transferred
    await call.hears("One moment")
    await until(lambda: transferred, "the transfer")
    await until(lambda: call.texts[1:] == ["Goodbye."], "the last")
    assert not talking.done()
    await call.hears("Goodbye.")
    assert [one.text for one in (await talking).messages] == ["an agent, please", "One moment Goodbye."]
    await (await talking).heard()


async def test_the_end_of_the_call_ends_the_reply(call: FakeCall) -> None:
    asked = Asked()
    talking = conversing(call, asked.reply)
    await settled()
    call.asks("when?")
    asked.give(ANSWER, " And")
    await call.hears_some(ANSWER, 14)
    call.end()
    assert (await talking).messages[1] == Message("assistant", "We are open", cut=True)
    assert asked.closed == 1
    await conversing(call, asked.reply, greeting="Hello.")


async def test_a_reply_that_does_not_let_itself_be_cancelled_holds_nobody_up(
    call: FakeCall, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(answers, "LEAVE_S", 0.05)
    released = asyncio.Event()

    async def reply(text: str) -> str:
        while text == "stay" and not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue
        return f"{text}!"

    conversing(call, reply)
    await settled()
    call.asks("stay")
    await settled()
    call.asks("go")
    await call.hears("stay go!")
    assert "a reply goes on 0.05 s after it was cancelled" in caplog.text
    released.set()


async def test_a_caller_who_speaks_faster_than_is_recognised(call: FakeCall, caplog: pytest.LogCaptureFixture) -> None:
    heard, go_on = [], asyncio.Event()

    async def listen(pcm: bytes) -> str:
        await go_on.wait()
        heard.append(pcm.decode())
        return ""

    conversing(call, coroutine, listen=listen)
    await settled()
    for number in range(MOST_UTTERANCES + 2):
        call.asks(str(number))
        await settled()
    go_on.set()
    await until(lambda: len(heard) == MOST_UTTERANCES, "all that were kept")
    assert heard == ["0", "3", "4", "5"] and "an utterance is lost" in caplog.text


async def test_a_conversation_that_is_cancelled_leaves_nothing_behind(call: FakeCall) -> None:
    asked = Asked()
    talking = conversing(call, asked.reply)
    await settled()
    call.asks("when?")
    asked.give(ANSWER, " And")
    await until(lambda: ANSWER in call.texts, "the answer")
    talking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await talking
    assert asked.closed == 1 and call.stops == 1 and call.said[0].cut


async def test_a_sound_of_which_not_all_is_made_is_measured_by_its_text(call: FakeCall) -> None:
    async def speak(text: str, rate: int) -> AsyncIterator[bytes]:
        async for piece in spoken_as_text(text, rate):
            yield piece
            await asyncio.Event().wait()

    talking = conversing(call, lambda text: ANSWER, speak=speak)
    await settled()
    call.asks("when?")
    await until(lambda: call.texts == [ANSWER[:3]], "the first piece")
    call.said[0].heard_ms = call.said[0].length_ms
    call.interrupts()
    await settled()
    call.end()
    assert (await talking).messages == [Message("user", "when?")], "60 ms are no word of it"
