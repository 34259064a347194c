"""Sound: mono PCM16 that may still be growing at its end while its beginning is heard (architecture.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np

from offhook.audio.pcm import Frame


class Sound:
    """Samples in parts, in order. It is over when it is `whole`, or broken off with an `error`; then it stays as is."""

    def __init__(self) -> None:
        self.parts: list[Frame] = []
        self.length = 0
        """Samples that are there."""
        self.whole = False
        self.error: Exception | None = None
        self._listeners: list[Callable[[], None]] = []

    @classmethod
    def of(cls, samples: Frame) -> Self:
        """A whole one."""
        sound = cls()
        sound.append(samples)
        sound.finish()
        return sound

    @property
    def over(self) -> bool:
        """Whether nothing will be added any more."""
        return self.whole or self.error is not None

    def samples(self) -> Frame:
        """All that is there, in one piece."""
        return np.concatenate(self.parts) if self.parts else np.zeros(0, np.int16)

    def append(self, part: Frame) -> None:
        """More at its end; nobody may change `part` after that. Nothing happens once it is over."""
        if len(part) and not self.over:
            self.parts.append(part)
            self.length += len(part)
            self._tell()

    def finish(self) -> None:
        """That was all."""
        if not self.over:
            self.whole = True
            self._tell()

    def fail(self, error: Exception) -> None:
        """There should have been more, and there will not be."""
        if not self.over:
            self.error = error
            self._tell()

    def listen(self, changed: Callable[[], None]) -> None:
        """Have `changed` called whenever it grows or ends; never for one that is over already."""
        if not self.over:
            self._listeners.append(changed)

    def _tell(self) -> None:
        listeners = list(self._listeners)
        if self.over:
            self._listeners.clear()
        for changed in listeners:
            changed()
