"""A recogniser for stories: what it understands is the loudest sample of what it is given, after `delay` seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from offhook.audio.pcm import Frame
from offhook.errors import SpeechError
from offhook.service import hearings
from offhook.service.clock import ManualClock
from offhook.service.speech import Speech
from offhook.speech.provider import Recognised, RecognisedWord
from offhook.speech.requests import HeardDone


@dataclass
class Asked:
    """One thing to recognise; `level` is 0 for a trial."""

    level: int
    seconds: float
    language: str
    phrases: tuple[str, ...]
    at: float
    canceled: bool = False


class Recogniser(Speech):
    """See the module. `knows`: languages; `broken`: how many of the next utterances fail."""

    def __init__(self, clock: ManualClock, delay: float = 0.2) -> None:
        super().__init__(clock=clock)
        self.clock: ManualClock = clock
        self.delay = delay
        self.knows = {"en-US", "en-GB"}
        self.broken = 0
        self.asked: list[Asked] = []
        self.most_at_once = 0
        self._running = 0

    @property
    def said(self) -> list[Asked]:
        """What was asked, without trials."""
        return [one for one in self.asked if one.level]

    def recognise(self, pcm: Frame, language: str, phrases: Sequence[str], done: HeardDone) -> Callable[[], None]:
        level = int(np.abs(pcm).max()) if len(pcm) else 0
        one = Asked(level, len(pcm) / 16000, language, tuple(phrases), self.clock.monotonic())
        self.asked.append(one)
        self._running += 1
        self.most_at_once = max(self.most_at_once, self._running)
        result: Recognised | SpeechError = SpeechError("speech_language", f"not {language}")
        if language in self.knows:
            word = RecognisedWord(text=str(level), start_ms=100, duration_ms=200)
            result = Recognised(text=f"said {level}" if level > 1 else "", confidence=0.5, words=(word,))
        if level and self.broken:
            self.broken -= 1
            result = SpeechError("speech_failed", "it broke")

        def tell() -> None:
            if not one.canceled:
                self._running -= 1
                done(result)

        def cancel() -> None:
            if not one.canceled:
                one.canceled = True
                self._running -= 1

        self.clock.call_at(self.clock.monotonic() + self.delay, tell)
        return cancel


@pytest.fixture
def loud_is_voiced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is not silent is a voice."""
    monkeypatch.setattr(hearings, "voice_detector", lambda: lambda frame: bool(frame.any()))
