"""PromptPort: a sound that is played into a call from its seat on the bridge, sample by sample (architecture.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from offhook.audio.bridge import Member
from offhook.audio.buffers import RAMP_MS
from offhook.audio.pcm import PTIME_MS, Frame, fade_out, samples_per_frame


class PromptPort:
    """Says `sound`, mono PCM16 at `rate`, from the next tick on; it hears nothing.

    A last frame that is not full ends in zeros. With `loop` the sound begins again right behind its last sample, for
    ever. `ended` is called once, inside the tick in which the last frame was read.
    """

    def __init__(self, sound: Frame, rate: int, *, loop: bool, ended: Callable[[], None]) -> None:
        self._sound = sound
        self._size = samples_per_frame(rate)
        self._loop = loop and len(sound) > 0
        self._ended: Callable[[], None] | None = ended
        self._at = 0
        self._tail: Frame | None = None
        self._stopped = False
        self._begun = False

    def stop(self) -> None:
        """Cut it: at most one more frame follows, whose first 5 ms fade to nothing, so that there is no click."""
        if self._stopped or self._ended is None:
            return
        self._stopped = True
        if self._begun:
            ramp = self._size * RAMP_MS // PTIME_MS
            self._tail = np.zeros(self._size, np.int16)
            self._tail[:ramp] = fade_out(self._frame()[:ramp], ramp)

    def read(self) -> Frame | None:
        """The next 20 ms; None after the end."""
        if self._stopped:
            frame, self._tail = self._tail, None
            self._finish()
            return frame
        if self._ended is None:
            return None
        frame = self._frame()
        self._begun = True
        self._at += self._size
        if self._loop:
            self._at %= len(self._sound)
        elif self._at >= len(self._sound):
            self._finish()
        return frame

    def write(self, mix: Frame | None, heard: Sequence[Member]) -> None:
        """A prompt does not listen."""

    def _frame(self) -> Frame:
        """The frame that is due."""
        part = self._sound[self._at : self._at + self._size]
        if len(part) == self._size:
            return part
        if self._loop:
            return self._sound.take(np.arange(self._at, self._at + self._size), mode="wrap")
        frame = np.zeros(self._size, np.int16)
        frame[: len(part)] = part
        return frame

    def _finish(self) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()
