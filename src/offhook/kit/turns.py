"""Turn taking: when the caller speaks, and whether that ends what the app says. No I/O; the clock is the frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from msgspec import Struct

from offhook.audio.endpoint import RATE, Endpoint, voice_detector
from offhook.audio.pcm import PTIME_MS, Frame, from_bytes, to_bytes
from offhook.audio.resample import StreamResampler

END_SILENCE_MS: Final = 600


class SpeechStarted(Struct, frozen=True):
    """The caller speaks; `at_ms`: where in the stream the first sound of it was, as far as that is known."""

    at_ms: float


class SpeechEnded(Struct, frozen=True):
    """The caller has stopped; `pcm`: what was said, PCM16 mono at 16 kHz; `at_ms`: where in the stream it ended."""

    at_ms: float
    pcm: bytes


class Interrupted(Struct, frozen=True):
    """The caller's speech has ended what the app was saying, of which they had heard `heard_ms`."""

    heard_ms: float


class Resumed(Struct, frozen=True):
    """What held the app's speech was none (a cough, "uh-huh"): it goes on from `heard_ms`."""

    heard_ms: float


TurnEvent: TypeAlias = SpeechStarted | SpeechEnded | Interrupted | Resumed


@dataclass(frozen=True, slots=True)
class TurnTaking:
    """How turns are taken."""

    barge_in: bool = True
    """Whether the caller's speech stops the app's."""
    end_silence_ms: int = END_SILENCE_MS
    """Silence that ends what the caller says."""


class Turns:
    """Fed with each 20 ms of the caller; says what changed."""

    def __init__(self, settings: TurnTaking, rate: int) -> None:
        self.settings = settings
        self._endpoint = Endpoint(voice_detector(), end_silence=settings.end_silence_ms / 1000)
        self._down = StreamResampler(rate, RATE) if rate != RATE else None
        self._seen = 0

    def feed(self, pcm: bytes, heard: bytes | None) -> SpeechStarted | SpeechEnded | None:
        """`pcm`: 20 ms of the caller at the stream's rate; `heard`: what of the app's sound they heard meanwhile."""
        frame: Frame = from_bytes(pcm)
        if self._down is not None:
            frame = self._down.process(frame)
        self._seen += 1
        change = self._endpoint.feed(frame.copy())
        if change == "began":
            return SpeechStarted(self._endpoint.so_far().start * PTIME_MS)
        if change in ("ended", "cut"):
            said = self._endpoint.take()
            return SpeechEnded((said.start * PTIME_MS) + said.seconds * 1000, to_bytes(said.pcm))
        return None
