"""What a voice and a recogniser are: two protocols, and the words and results that go in and come out of them.

Both block for as long as the work takes, so they run where nobody waits for the next 20 ms (`speech.worker`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import msgspec

from offhook.audio.pcm import Frame
from offhook.errors import SpeechError

LISTENING_RATE: Final = 16000
"""Hz of all sound that a recogniser is given."""

LONGEST_TAG: Final = 40
"""Characters of a language tag that are shown."""


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be said. `language` (BCP 47) and `voice` as the app gave them, empty where it did not."""

    text: str
    ssml: bool = False
    language: str = ""
    voice: str = ""


class RecognisedWord(msgspec.Struct, frozen=True, kw_only=True):
    """A word and its place, in milliseconds from the first sample."""

    text: str
    start_ms: int
    duration_ms: int


class Recognised(msgspec.Struct, frozen=True, kw_only=True):
    """What was understood: `text` empty when nobody spoke. `confidence` is 0 to 1, `words` empty where unknown."""

    text: str
    confidence: float = 0.0
    words: tuple[RecognisedWord, ...] = ()


class Voice(Protocol):
    """Speaks."""

    def speak(self, words: Words, rate: int) -> Iterator[Frame]:
        """Mono PCM16 at `rate`, piece by piece as it is made: the first comes before all of it is made.

        SpeechError, also between pieces: the words or their language cannot be spoken, or the engine failed.
        """


class Recogniser(Protocol):
    """Understands."""

    def recognise(self, pcm: Frame, language: str, phrases: Sequence[str]) -> Recognised:
        """What is said in mono PCM16 at `LISTENING_RATE`; `phrases` are what is likely to be said.

        SpeechError: the language is not understood, or the engine failed.
        """


def require_english(language: str, what: str) -> None:
    """SpeechError `speech_language` unless a BCP 47 tag (empty: the default) is some English."""
    if language and language.replace("_", "-").partition("-")[0].lower() != "en":
        fix = "give en-US, or set up a provider that knows it ([speech] in the node's file)"
        raise SpeechError("speech_language", f"{what} knows English only, not {language[:LONGEST_TAG]}: {fix}.")
