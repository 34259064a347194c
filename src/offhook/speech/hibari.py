"""The local voice: hibari-tts, a small English model that is inside its package and runs on one core."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from offhook.audio.pcm import Frame
from offhook.audio.resample import resample
from offhook.errors import SpeechError
from offhook.speech.provider import Words, require_english
from offhook.speech.ssml import Segment, segments

LONGEST: Final = 200
"""Letters that are spoken in one go, some 13 s: all other texts, and who is to be understood, wait for it."""
_DIGIT: Final = 5  # letters that a digit is as long as
_LONG_NUMBER: Final = re.compile(r"[0-9]{13,}")  # what is rather read out digit by digit than as trillions


class HibariVoice:
    """See `Voice`. One voice (American English); equal words sound equal."""

    def __init__(self) -> None:
        """Loads the model. SpeechError `speech_not_set_up` when the package is missing."""
        try:
            import hibari
        except ImportError as missing:
            fix = "run  pip install 'offhook[speech]'  where the node runs"
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
                            spoken = np.clip(np.asarray(made, np.float32) * (32767 * segment.gain), -32768, 32767)
                            yield resample(spoken.astype(np.int16), self.rate, rate)
        except Exception as error:  # an engine of others: whatever it raises means that this cannot be spoken
            raise SpeechError("speech_failed", f"The local voice cannot speak this text: {error}.") from error


def clauses(sentence: str) -> Iterator[str]:
    """Parts of a sentence that are not longer than `LONGEST`, and end behind a comma, between words, or anywhere."""
    while (most := _reach(sentence)) < len(sentence):
        ends = [found.end() for found in re.finditer(r"\s", sentence[:most])]
        marks = [end for end in ends if end > max(most // 2, 1) and sentence[end - 2] in ",;:"]
        cut = (marks or ends or [most])[-1]
        yield sentence[:cut]
        sentence = sentence[cut:]
    yield sentence


def _reach(sentence: str) -> int:
    """How many characters may be spoken in one go."""
    left = LONGEST
    for index, sign in enumerate(sentence):
        left -= _DIGIT if sign.isdigit() else 1
        if left < 0:
            return index
    return len(sentence)
