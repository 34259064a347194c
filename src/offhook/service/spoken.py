"""Spoken sources of a play: text and SSML as sounds that grow while they are heard, and sources joined in a row."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from offhook.audio.pcm import Frame
from offhook.audio.sound import Sound
from offhook.errors import PromptError, SpeechError
from offhook.service.speech import Speech
from offhook.speech.provider import Words
from offhook.wire.playing import PlaySource

CUSTOM_VOICE: Final = "customVoiceEndpointId: there are no custom voices here; leave it out."


class SpokenSource:
    """One text being spoken. `sound` grows from the first call of `begin` on."""

    def __init__(self, source: PlaySource, speech: Speech, rate: int) -> None:
        self.sound = Sound()
        self._source, self._speech, self._rate = source, speech, rate
        self._stop: Callable[[], None] | None = None

    async def begin(self) -> Sound:
        """The sound, as soon as its first samples are there. PromptError when it cannot be spoken."""
        source, first = self._source, asyncio.Event()
        if not source.words.strip():
            raise PromptError("play_source_empty")
        if source.custom_voice:
            raise PromptError("speech_failed", CUSTOM_VOICE)
        words = Words(text=source.words, ssml=source.kind == "ssml", language=source.language, voice=source.voice)
        self.sound.listen(first.set)
        self._stop = self._speech.speak(words, self._rate, self._piece, self._done)
        try:
            await first.wait()
        except asyncio.CancelledError:
            self.stop()
            raise
        if self.sound.error is not None:
            raise self.sound.error
        return self.sound

    def stop(self) -> None:
        """Nobody hears more of it."""
        if self._stop is not None:
            self._stop()
        self.sound.fail(PromptError("play_failed", "It was given up."))

    def _piece(self, samples: Frame) -> None:
        self.sound.append(samples)

    def _done(self, error: SpeechError | None) -> None:
        if error is not None:
            self.sound.fail(PromptError(error.outcome, error.detail))
        elif not self.sound.length:
            self.sound.fail(PromptError("play_source_empty"))
        else:
            self.sound.finish()


def joined(sounds: Sequence[Sound], most: float, too_long: Callable[[int], PromptError]) -> Sound:
    """Sounds one behind the other, without a copy; it grows as they do.

    Beyond `most` samples it breaks off with what `too_long` makes of the place of the sound that was too much.
    """
    whole, place, taken = Sound(), 0, 0

    def grow() -> None:
        nonlocal place, taken
        while place < len(sounds) and not whole.over:
            sound = sounds[place]
            for part in sound.parts[taken:]:
                if whole.length + len(part) > most:
                    whole.fail(too_long(place))
                whole.append(part)
            taken = len(sound.parts)
            if sound.error is not None:
                whole.fail(at(sound.error, place))
            if not sound.over:
                return
            place, taken = place + 1, 0
        whole.finish()

    for sound in sounds:
        sound.listen(grow)
    grow()
    return whole


def at(error: Exception, index: int) -> Exception:
    """An error of a source with its place in the request."""
    return PromptError(error.outcome, error.detail, index) if isinstance(error, PromptError) else error
