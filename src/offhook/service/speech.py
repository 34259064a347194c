"""Speech of a node: what speaks texts and understands callers, whichever provider does it (docs/speech.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from offhook.audio.pcm import Frame
from offhook.errors import SpeechError
from offhook.service.clock import Clock
from offhook.speech.provider import Recognised, Words
from offhook.speech.requests import HeardDone, PieceTaken, Provider, SpokenDone

NOT_SET_UP: Final = (
    "No speech provider is set up: run  pip install 'offhook[speech]'  where the node runs, or name one in [speech] of"
    " its file."
)

SWITCHED_OFF: Final = 'Speech is switched off here: [speech] of the node\'s file says provider = "off".'


@dataclass(frozen=True, slots=True)
class SpeechPlan:
    """Who speaks and understands: `local`, `openai` (a service of that shape at `base_url`), or nobody (`off`)."""

    provider: str = "local"
    base_url: str = ""
    key: str = field(default="", repr=False)
    voice: str = "alloy"
    voice_model: str = "tts-1"
    recogniser_model: str = "whisper-1"
    timeout: float = 15.0
    """Seconds without a byte of an answer."""


class Speech:
    """The speech of a node; without a provider everything fails with `speech_not_set_up`."""

    def __init__(
        self, provider: Provider | None = None, why_none: str = NOT_SET_UP, clock: Clock | None = None
    ) -> None:
        """`clock` calls back about what cannot be begun; the loop that runs does unless it is given."""
        self._provider = provider
        self._why_none = why_none
        self._clock = clock
        self._glances = 0
        self.understood: set[str] = set()
        """Languages that were recognised before."""

    def speak(self, words: Words, rate: int, piece: PieceTaken, done: SpokenDone) -> Callable[[], None]:
        """Speak words: `piece` is given mono PCM16 at `rate` as it is made, then `done` is called, once.

        Callbacks come on the loop, outside ticks, later than the return; none after the returned cancel was called.
        """
        try:
            if self._provider is not None:
                return self._provider.speak(words, rate, piece, done)
            error = SpeechError("speech_not_set_up", self._why_none)
        except SpeechError as refused:
            error = refused
        return self.later(partial(done, error))

    def recognise(self, pcm: Frame, language: str, phrases: Sequence[str], done: HeardDone) -> Callable[[], None]:
        """Understand mono PCM16 at 16 kHz, in `language` (BCP 47, empty: the provider's own).

        `phrases` are what is likely to be said. `done` is called as in `speak`.
        """
        try:
            if self._provider is not None:
                return self._provider.recognise(pcm, language, phrases, done)
            error = SpeechError("speech_not_set_up", self._why_none)
        except SpeechError as refused:
            error = refused
        return self.later(partial(done, error))

    @property
    def may_glance(self) -> bool:
        """Whether `glance` would not keep utterances waiting that have ended."""
        return self._provider is None or self._glances < self._provider.glances

    def glance(self, pcm: Frame, language: str, phrases: Sequence[str], done: HeardDone) -> Callable[[], None]:
        """As `recognise`, of an utterance that goes on; where it `may_glance`."""
        waits = True
        self._glances += 1

        def over() -> bool:
            nonlocal waits
            first, waits = waits, False
            self._glances -= first
            return first

        def told(result: Recognised | SpeechError) -> None:
            if over():
                done(result)

        def give_up() -> None:
            if over():
                cancel()

        cancel = self.recognise(pcm, language, phrases, told)
        return give_up

    def later(self, act: Callable[[], None]) -> Callable[[], None]:
        """Call back later than the return; gives back what cancels that."""
        if self._clock is not None:
            return self._clock.call_at(self._clock.monotonic(), act).cancel
        return asyncio.get_running_loop().call_soon(act).cancel

    async def close(self) -> None:
        """End with the node."""
        if self._provider is not None:
            await self._provider.close()
