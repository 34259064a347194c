"""The local voice: hibari-tts, a small English model that is inside its package and runs on one core."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from offhook.audio.pcm import Frame
from offhook.audio.resample import resample
from offhook.errors import SpeechError
from offhook.speech.provider import Words, require_english
from offhook.speech.sentences import clauses
from offhook.speech.ssml import Segment, segments

_AUDIBLE: Final = 0.002  # of 1
_BREATH_MS: Final = 40
_LONG_NUMBER: Final = re.compile(r"[0-9]{13,}")  # what is rather read out digit by digit than as trillions


class HibariVoice:
    """See `Voice`. One voice (American English); equal words sound equal."""

    def __init__(self) -> None:
        """Loads the model. SpeechError `speech_not_set_up` when the package is missing."""
        try:
            import hibari
        except ImportError as missing:
            fix = "run  pip install 'offhook[speech]'  where the node, or the app, runs"
            raise SpeechError("speech_not_set_up", f"The local voice is not installed: {fix}.") from missing
        self._engine: Any = hibari.Hibari()
        self.rate = int(hibari.SAMPLE_RATE)
        """Hz that the model speaks at."""

    def speak(self, words: Words, rate: int) -> Iterator[Frame]:
        """See `Voice`: a piece is a sentence, a part of a long one, or a pause."""
        todo = segments(words)
        for segment in todo:
            require_english(segment.language, "The local voice")
        for segment in todo:
            if segment.text:
                yield from self._sentences(segment, rate)
            else:
                yield np.zeros(segment.pause_ms * rate // 1000, np.int16)

    def _sentences(self, segment: Segment, rate: int) -> Iterator[Frame]:
        try:
            text = _LONG_NUMBER.sub(lambda number: " ".join(number[0]), segment.text)
            for sentence in self._engine.split_sentences(text):
                for clause in clauses(sentence):
                    for made in self._engine.stream(clause, segment.speed, seed=0):
                        if len(made):
                            sound = _begun(np.asarray(made, np.float32), self.rate)
                            spoken = np.clip(sound * (32767 * segment.gain), -32768, 32767)
                            yield resample(spoken.astype(np.int16), self.rate, rate)
        except Exception as error:  # an engine of others: whatever it raises means that this cannot be spoken
            raise SpeechError("speech_failed", f"The local voice cannot speak this text: {error}.") from error


def _begun(sound: npt.NDArray[np.float32], rate: int) -> npt.NDArray[np.float32]:
    """Without the third of a second of silence that the model begins with: who waits for an answer hears it sooner."""
    loud = np.flatnonzero(np.abs(sound) > _AUDIBLE)
    return sound[max(0, int(loud[0]) - rate * _BREATH_MS // 1000) :] if len(loud) else sound
