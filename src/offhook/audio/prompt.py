"""PromptPort: a sound that is played into a call from its seat on the bridge, sample by sample (architecture.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from offhook.audio.bridge import Member
from offhook.audio.buffers import RAMP_MS
from offhook.audio.pcm import PTIME_MS, Frame, fade_in, fade_out, samples_per_frame
from offhook.audio.sound import Sound


class PromptPort:
    """Says `sound`, mono PCM16 at `rate`, from the next tick on; it hears nothing.

    A last frame that is not full ends in zeros. With `loop` the sound begins again right behind its last sample, for
    ever. While a growing sound has not grown to the next frame it says nothing, and then goes on where it was; what it
    says before and after such a gap has a ramp of 5 ms. `ended` is called once, inside the tick in which the last frame
    was read.
    """

    def __init__(self, sound: Sound, rate: int, *, loop: bool, ended: Callable[[], None]) -> None:
        self._size = samples_per_frame(rate)
        if loop and sound.whole and 0 < sound.length < self._size:
            # Else a tick would go round a sound of a few samples hundreds of times.
            sound = Sound.of(np.tile(sound.samples(), -(-self._size // sound.length)))
        self._sound = sound
        self._ramp = self._size * RAMP_MS // PTIME_MS
        self._loop = loop
        self._ended: Callable[[], None] | None = ended
        self._part = 0
        self._offset = 0
        self._left = 0  # samples of the sound behind this place, when it was `_known` long
        self._known = 0
        self._tail: Frame | None = None
        self._stopped = False
        self._begun = False
        self._starved = False

    def stop(self) -> None:
        """Cut it: at most one more frame follows, whose first 5 ms fade to nothing, so that there is no click."""
        if self._stopped or self._ended is None:
            return
        self._stopped = True
        if self._begun and not self._starved and self._there():
            self._tail = np.zeros(self._size, np.int16)
            self._tail[: self._ramp] = fade_out(self._frame()[: self._ramp], self._ramp)

    def read(self) -> Frame | None:
        """The next 20 ms; None after the end, and while a growing sound is not there yet."""
        if self._stopped:
            frame, self._tail = self._tail, None
            self._finish()
            return frame
        if self._ended is None:
            return None
        if not self._there():
            if self._sound.whole:
                self._finish()
            return None
        frame = self._frame()
        self._begun = True
        if not self._sound.whole or self._starved:
            frame = self._ramped(frame)
        if self._sound.whole and not self._there():
            self._finish()
        return frame

    def write(self, mix: Frame | None, heard: Sequence[Member]) -> None:
        """A prompt does not listen."""

    def _there(self) -> bool:
        """Whether the next frame is there: a whole one, or what is left of a sound that will not grow."""
        sound = self._sound
        self._left += sound.length - self._known
        self._known = sound.length
        if sound.whole:
            return self._left > 0 or (self._loop and sound.length > 0)
        return self._left >= self._size

    def _frame(self) -> Frame:
        """The frame that is due; the place moves on behind it."""
        parts, size = self._sound.parts, self._size
        self._left -= size
        if self._part < len(parts):
            part = parts[self._part]
            view = part[self._offset : self._offset + size]
            if len(view) == size:
                self._offset += size
                return view
        frame, filled = np.zeros(size, np.int16), 0
        while filled < size:
            if self._part == len(parts):
                if not self._loop:
                    break
                self._part = self._offset = 0
                self._left += self._sound.length
            view = parts[self._part][self._offset : self._offset + size - filled]
            frame[filled : filled + len(view)] = view
            filled += len(view)
            self._offset += len(view)
            if self._offset == len(parts[self._part]):
                self._part, self._offset = self._part + 1, 0
        return frame

    def _ramped(self, frame: Frame) -> Frame:
        """A frame after a gap begins from nothing, and one before a gap ends there."""
        gap = not self._there() and not self._sound.whole
        if self._starved:
            frame = fade_in(frame, self._ramp)
        if gap:
            frame = fade_out(frame, self._ramp)
        self._starved = gap
        return frame

    def _finish(self) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()
