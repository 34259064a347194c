"""The cascade: what a caller says is recognised, your function answers in text, and the answer is spoken.

By default all of it is local: the kit's turns, the recogniser and the voice of `offhook.speech`. The order of things:

- While the caller speaks, and until it is known what they said, no sentence begins.
- Speech that cuts the answer cancels `reply` and the voice; the conversation keeps the words that were heard.
- Two utterances before anything of the answer was heard are one: the answer to the first is dropped, and `reply` is
  asked again with both texts. So who pauses in the middle of a sentence is answered once.
- What is said while an answer is heard that may not be cut (`barge_in=False`) is answered after it.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from msgspec import Struct

from offhook.errors import ConfigError
from offhook.kit.answer import LEAVE_S, Answer, Speak, Text
from offhook.kit.call import CallEnded
from offhook.kit.speech import shared_speech
from offhook.kit.stream import StreamClosed
from offhook.kit.turns import SpeechEnded, SpeechStarted, TurnEvent

if TYPE_CHECKING:
    from offhook.kit.call import Call

log: Final = logging.getLogger("offhook.kit")

Listen: TypeAlias = Callable[[bytes], Awaitable[str]]
"""`await listen(pcm)`: the words in PCM16 mono at 16 kHz, an utterance of at most 25 s; empty for none."""
Reply: TypeAlias = Callable[[str], Text | Awaitable[Text]] | Callable[[str, "Conversation"], Text | Awaitable[Text]]
"""`reply(text)` or `reply(text, conversation)`: a function, a coroutine function or an async generator function."""

APOLOGY: Final = "Sorry, something went wrong. Please say that again."
MOST_UTTERANCES: Final = 4
"""Utterances of a caller that wait to be recognised; with more, the oldest is left out."""
LISTEN_S: Final = 30.0
"""How long `listen` may take, while nothing can be said; then it has failed."""
MESSAGES_KEPT: Final = 1000


class Message(Struct, frozen=True):
    """One of a conversation; `role` and `text` are those of chat models. `cut`: the caller did not hear it whole."""

    role: Literal["user", "assistant"]
    text: str
    cut: bool = False


class Conversation:
    """What has been said in a call so far: by the caller as it was recognised, by the agent as it was heard."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.ended = False
        self.answer: Answer | None = None
        self._messages: deque[Message] = deque(maxlen=MESSAGES_KEPT)

    @property
    def messages(self) -> list[Message]:
        """Oldest first; the last is what is to be answered, while `reply` is asked. At most 1,000 are kept."""
        return list(self._messages)

    def end(self) -> None:
        """`converse` returns when the present answer was heard; whatever the caller says into it."""
        self.ended = True

    async def heard(self) -> None:
        """In a reply: wait until what it has given so far was heard, before a transfer, say.

        When the caller cuts in instead, the reply is cancelled here.
        """
        if self.answer is not None:
            await self.answer.until_heard()


@dataclass(frozen=True, slots=True)
class Prompts:
    """What is said without being asked; empty: nothing."""

    greeting: str = ""
    not_understood: str = ""
    """When no words were recognised in what the caller said, unless an answer goes on."""
    still_there: str = ""
    """When nobody has said anything for `still_there_after` seconds; once, until the caller speaks."""
    still_there_after: float = 10.0
    apology: str = APOLOGY
    """When `reply`, or `listen`, has failed. The call goes on."""


async def converse(
    call: Call,
    reply: Reply,
    *,
    listen: Listen | None = None,
    speak: Speak | None = None,
    greeting: str = "",
    not_understood: str = "",
    still_there: str = "",
    still_there_after: float = 10.0,
    apology: str = APOLOGY,
) -> Conversation:
    """Talk with a caller until the call or the conversation (`Conversation.end`) ends; what was said.

    `reply` is given each thing the caller says. An exception of it is logged, and `apology` said. `listen` and `speak`
    are the local recogniser and voice unless given (see `Listen` and `Speak`, and `Prompts` for the texts).
    ConfigError for a reply that cannot be called with one text, or a text and the conversation.
    """
    if still_there_after <= 0:
        raise ConfigError(f"still_there_after is seconds, more than 0, not {still_there_after!r}")
    prompts = Prompts(greeting, not_understood, still_there, still_there_after, apology)
    if listen is None or speak is None:
        local = shared_speech()
        listen, speak = listen or local.listen, speak or local.speak
    talk = _Talk(call, _asked(reply), listen, speak, prompts)
    await talk.run()
    return talk.conversation


class _Talk:
    """One run of `converse`: three tasks. One follows the turns, one recognises, one answers."""

    def __init__(
        self, call: Call, reply: Callable[[str, Conversation], Any], listen: Listen, speak: Speak, prompts: Prompts
    ) -> None:
        self.conversation = Conversation(call)
        self._call, self._reply, self._listen, self._speak, self._prompts = call, reply, listen, speak, prompts
        self._turns = call.turns  # from now on: nothing that is said meanwhile is missed
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._over = self._speaking = False
        self._utterances: deque[bytes] = deque()
        self._uttered = asyncio.Event()
        self._texts: list[str] = []  # recognised, and not answered yet
        self._prompt = ""  # to be said when nothing else is
        self._again = False  # what the answer was cut by had no words: if nothing of it was heard, it is due again
        self._due = asyncio.Event()
        self._asked: list[str] = []  # what the present answer is to
        self._since = 0.0
        self._may_ask = True  # whether they are still there

    async def run(self) -> None:
        tasks = [asyncio.create_task(work) for work in (self._follow(), self._recognise(), self._converse())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                try:
                    task.result()
                except (CallEnded, StreamClosed):
                    continue
        finally:
            self._over = True
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=LEAVE_S)
            if (answer := self.conversation.answer) is not None:
                with suppress(CallEnded, StreamClosed):
                    await answer.stop()
                    self._close(answer)

    # ------------------------------------------------------------------ hearing

    async def _follow(self) -> None:
        """The turns, to the end of the call."""
        async for event in self._turns:
            self._turn(event)

    def _turn(self, event: TurnEvent) -> None:
        if isinstance(event, SpeechStarted):
            self._speaking = True
        elif isinstance(event, SpeechEnded):
            self._speaking = False
            self._utter(event.pcm)
        self._settle()  # of Interrupted and Resumed the answer's playbacks know by themselves

    def _utter(self, pcm: bytes) -> None:
        self._utterances.append(pcm)
        if len(self._utterances) > MOST_UTTERANCES:
            log.warning("call %s: the caller speaks faster than is recognised; an utterance is lost", self._call.id)
            del self._utterances[1]  # the first is being recognised
        self._uttered.set()

    def _settle(self) -> None:
        """Whether sentences may begin, and since when there is silence."""
        self._since = asyncio.get_running_loop().time()
        if self._speaking or self._utterances:
            self._quiet.clear()
        else:
            self._quiet.set()
        self._due.set()

    async def _recognise(self) -> None:
        """One utterance after another."""
        while not self._over:  # a `listen` may swallow that it was cancelled
            await self._uttered.wait()
            self._uttered.clear()
            while self._utterances:
                failed = False
                try:
                    async with asyncio.timeout(LISTEN_S):
                        text = (await self._listen(self._utterances[0])).strip()
                except Exception:
                    log.exception("call %s: what the caller said could not be recognised", self._call.id)
                    text, failed = "", True
                self._utterances.popleft()
                self._understood(text, failed)
                self._settle()

    def _understood(self, text: str, failed: bool) -> None:
        if text:
            self._texts.append(text)
            self._prompt, self._may_ask = "", True
        elif not self._texts and ((answer := self.conversation.answer) is None or answer.cut):
            self._prompt = self._prompts.apology if failed else self._prompts.not_understood
            self._again = not failed

    # ------------------------------------------------------------------ answering

    async def _converse(self) -> None:
        if self._prompts.greeting:
            self._say(self._prompts.greeting)
        while True:
            answer = self.conversation.answer
            if answer is not None and answer.task.done():
                self._close(answer)
            elif self._texts and not self.conversation.ended and (answer is None or self._may_cut(answer)):
                if answer is not None:
                    await answer.stop()
                    self._close(answer)
                self._reply_to_texts()
            elif answer is not None:
                await self._wait(answer)
            elif self.conversation.ended:
                return
            elif self._again and self._asked:
                self._reply_to_texts()
            elif self._prompt:
                self._say(self._prompt)
            else:
                await self._wait(None)

    def _may_cut(self, answer: Answer) -> bool:
        return self._call.turn_taking.barge_in or not answer.heard

    async def _wait(self, answer: Answer | None) -> None:
        """Until a text or a prompt is due, the answer has ended, or there was silence for so long."""
        due = asyncio.ensure_future(self._due.wait())
        things: set[asyncio.Future[Any]] = {due} if answer is None else {due, answer.task}
        left = None
        if answer is None and self._prompts.still_there and self._may_ask and self._quiet.is_set():
            left = max(self._since + self._prompts.still_there_after - asyncio.get_running_loop().time(), 0)
        try:
            done, _ = await asyncio.wait(things, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            due.cancel()
        self._due.clear()
        if not done:
            self._prompt, self._may_ask = self._prompts.still_there, False

    def _reply_to_texts(self) -> None:
        if self._asked:  # nothing of the answer to it was heard: what is said now goes on with it
            self.conversation._messages.pop()
        texts = [*self._asked, *self._texts]
        self._asked, self._texts = texts, []
        text = " ".join(texts)
        self.conversation._messages.append(Message("user", text))
        self._begin(partial(self._reply, text, self.conversation))

    def _say(self, text: str) -> None:
        self._asked = []
        self._begin(lambda: text)

    def _begin(self, source: Callable[[], Any]) -> None:
        self._prompt, self._again = "", False
        self.conversation.answer = Answer(self._call, source, self._speak, self._quiet, self._prompts.apology)

    def _close(self, answer: Answer) -> None:
        """An answer is over: it is noted as it was heard. When nothing was, what it was to is still to be answered."""
        self.conversation.answer = None
        self._since = asyncio.get_running_loop().time()
        heard = answer.heard
        if heard:
            self.conversation._messages.append(Message("assistant", heard, answer.cut))
        if heard or not answer.cut:
            self._asked = []
        answer.task.result()


def _asked(reply: Reply) -> Callable[[str, Conversation], Any]:
    """`reply` as a function of a text and the conversation."""
    given: Any = reply
    try:
        signature = inspect.signature(given)
        places = [
            one for one in signature.parameters.values() if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
        ]
        wanted = sum(one.default is one.empty for one in places)
        signature.bind(*range(max(wanted, 1)))
    except (TypeError, ValueError):
        wanted = 3
    if wanted > 2:
        raise ConfigError(
            f"{given!r} cannot answer: write it as  reply(text)  or  reply(text, conversation),  giving a str or an"
            " async iterator of str"
        )
    return given if wanted == 2 else lambda text, conversation: given(text)
