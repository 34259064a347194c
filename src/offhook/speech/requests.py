"""Requests for speech on an event loop: what who asks is told, who may be asked, and how many may wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from offhook.audio.pcm import Frame
from offhook.errors import SpeechError
from offhook.speech.provider import Recognised, Words

MOST_WAITING: Final = 64  # requests of either kind at once; a further one fails

PieceTaken = Callable[[Frame], None]
SpokenDone = Callable[[SpeechError | None], None]
HeardDone = Callable[[Recognised | SpeechError], None]


class Provider(Protocol):
    """Speaks and understands, off the loop. Callbacks come on the loop, outside ticks and after the call returned."""

    glances: int
    """Utterances that go on which it may be asked to recognise at once, so that whole ones do not wait for them."""

    def speak(self, words: Words, rate: int, piece: PieceTaken, done: SpokenDone) -> Callable[[], None]:
        """Speak words: `piece` is given mono PCM16 at `rate` as it is made, then `done` is called, once.

        None of them after the returned cancel was called. SpeechError when it cannot be taken now.
        """

    def recognise(self, pcm: Frame, language: str, phrases: Sequence[str], done: HeardDone) -> Callable[[], None]:
        """Understand mono PCM16 at 16 kHz, in `language` (BCP 47, empty: the provider's own).

        `phrases` are what is likely to be said. `done` and the returned cancel as in `speak`. SpeechError when it
        cannot be taken now.
        """

    async def close(self) -> None:
        """End; whoever still waits is told nothing any more."""


def too_many(waiting: int, *, speaks: bool) -> None:
    """SpeechError when so many requests of a kind wait that there is no room for another."""
    if waiting >= MOST_WAITING:
        what = "texts are being spoken" if speaks else "pieces of speech wait to be recognised"
        raise SpeechError("speech_failed", f"{MOST_WAITING} {what} already; try again later.")
