"""A node that keeps nothing of its calls' sound and figures from the first SIGUSR1 to the second, and so on.

The two halves of a pair in `trace.py`: one process, one set of calls, one state of the machine. With OFFHOOK_UNTRACED
set nothing is kept from the beginning, no event either; with OFFHOOK_SOUNDLESS no sound, as `offhook serve` by default.
With OFFHOOK_CONVERSATION set callers talk as people do.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from typing import Any

import numpy as np

from offhook.audio.pcm import FRAMES_PER_SECOND, Frame, samples_per_frame
from offhook.cli import main
from offhook.legs import simulated
from offhook.service import trace
from offhook.service.capturing import Captures

TALK, PAUSE = 1.004, 1.587
"""Mean seconds: ITU-T P.59, table 1."""


class Toggle:
    """Takes the sound of all calls, or leaves it."""

    def __init__(self) -> None:
        self._keeps = "OFFHOOK_UNTRACED" not in os.environ
        self._all: Captures | None = None
        self._start, self._tick, self._look = Captures.start, Captures.tick, Captures.look
        self._begin = Captures.begin

    def install(self) -> None:
        """Before the node is made."""

        def start(captures: Captures) -> None:
            self._all = captures
            captures.keeps_sound = captures.keeps_sound and "OFFHOOK_SOUNDLESS" not in os.environ
            self._start(captures)
            signal.signal(signal.SIGUSR1, self._turn)

        def tick(captures: Captures) -> None:
            if self._keeps:
                self._tick(captures)

        def look(captures: Captures, now: float) -> None:
            if self._keeps:
                self._look(captures, now)

        def begin(captures: Captures, live: Any) -> Any:
            return self._begin(captures, live) if self._keeps else None

        for name, method in (("start", start), ("tick", tick), ("look", look), ("begin", begin)):
            setattr(Captures, name, method)
        if not self._keeps:
            trace.CallTrace.note = lambda *args: None  # type: ignore[method-assign]

    def _turn(self, number: int, frame: object) -> None:
        self._keeps = not self._keeps
        assert self._all is not None
        self._all.capture.hand_on()


class Talker:
    """In the place of a caller's tone: loud for a while, then the noise of a line for a while, at -60 dBFS."""

    def __init__(self, frequency: float, rate: int) -> None:
        noise = np.random.default_rng(7).normal(0, 1, (FRAMES_PER_SECOND, samples_per_frame(rate)))
        self._sounds = [list((noise * level).astype(np.int16)) for level in (33.0, 3000.0)]
        self._talks = False
        self._left = self._at = 0

    def next(self) -> Frame:
        """20 ms."""
        if not self._left:
            self._talks = not self._talks
            self._left = 1 + int(random.expovariate(1 / (TALK if self._talks else PAUSE)) * FRAMES_PER_SECOND)
        self._left -= 1
        self._at += 1
        frame: Frame = self._sounds[self._talks][self._at % FRAMES_PER_SECOND]
        return frame


if __name__ == "__main__":
    Toggle().install()
    if "OFFHOOK_CONVERSATION" in os.environ:
        setattr(simulated, "ToneSource", Talker)  # noqa: B010 - it is another class
    sys.exit(main())
