"""Endpoint: where in the sound of one speaker an utterance begins and ends, frame by frame (real-cases.md §5).

No frame is lost and none is doubled: utterances are runs of whole frames that do not overlap, and what lies between
them is not speech.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from offhook.audio.pcm import FRAMES_PER_SECOND, Frame, level_dbfs

RATE: Final = 16000
"""Hz of the frames that are looked at."""
GUARD: Final = (5, 10)
"""Speech has begun when so many of the last so many frames are voiced: a click or a cough's end is not enough."""
PRE_ROLL: Final = 20
"""Frames before the moment of `GUARD` that belong to the utterance: the soft beginning of a word is not voiced."""
TAIL: Final = 15
"""Frames of the silence at the end that stay with the utterance; recognisers cut the last word off without."""
LONGEST_SECONDS: Final = 25.0
"""An utterance that is longer is cut where it was quietest in the last fifth of that, and goes on as the next one."""
QUIET: Final = 5
"""Frames that are quietest together, in the middle of which it is cut: a word is rather louder than that."""

Detector = Callable[[Frame], bool]
"""Whether 20 ms at 16 kHz are voiced. It may keep a state of its own."""
Change = Literal["began", "ended", "cut"]

_FLOOR_START, _FLOOR_LOWEST, _FLOOR_RISE = -60.0, -75.0, 0.05  # dBFS; dB a frame
_OVER_FLOOR, _AUDIBLE = 12.0, -50.0


@dataclass(frozen=True, slots=True)
class Utterance:
    """`pcm` at `RATE`; `start`: the number of its first frame since the beginning of listening.

    `cut`: it was too long, and goes on as the next. `tail`: frames without voice at its end.
    """

    pcm: Frame
    start: int
    cut: bool = False
    tail: int = 0

    @property
    def start_seconds(self) -> float:
        """When it began, since the beginning of listening."""
        return self.start / FRAMES_PER_SECOND

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.pcm) / RATE


class Endpoint:
    """Fed with every 20 ms of one speaker, also those in which nothing is said; says when an utterance changes.

    `end_silence`: seconds without voice that end an utterance. A frame is kept as it is given: give a copy.
    """

    def __init__(
        self,
        voiced: Detector,
        *,
        end_silence: float,
        longest: float = LONGEST_SECONDS,
        guard: tuple[int, int] = GUARD,
    ) -> None:
        self._voiced = voiced
        self._guard = guard
        self._end_frames = max(1, round(end_silence * FRAMES_PER_SECOND))
        self._longest = max(guard[1] + PRE_ROLL, round(longest * FRAMES_PER_SECOND))
        self._recent: deque[bool] = deque(maxlen=guard[1])
        self._before: deque[Frame] = deque(maxlen=PRE_ROLL)
        self._frames: list[Frame] = []
        self._silent = 0
        self._seen = 0
        self._done: Utterance | None = None
        self.speaking = False
        """Whether an utterance has begun and not ended."""

    def feed(self, frame: Frame) -> Change | None:
        """The next 20 ms. After "ended" and "cut" the utterance waits in `take`; after "cut" the next goes on."""
        self._seen += 1
        voiced = self._voiced(frame)
        if not self.speaking:
            self._before.append(frame)
            self._recent.append(voiced)
            if sum(self._recent) < self._guard[0]:
                return None
            self.speaking = True
            self._frames, self._silent = list(self._before), 0
            self._before.clear()
            return "began"
        self._frames.append(frame)
        self._silent = 0 if voiced else self._silent + 1
        if self._silent >= self._end_frames:
            self._end()
            return "ended"
        if len(self._frames) >= self._longest:
            self._cut()
            return "cut"
        return None

    def so_far(self) -> Utterance:
        """What has been said of the utterance that goes on; empty when there is none.

        It has no more silence at its end than the whole one will have, so it is never longer than that.
        """
        surplus = self._surplus()
        said = self._frames[: len(self._frames) - surplus]
        pcm = np.concatenate(said) if said else np.zeros(0, np.int16)
        return Utterance(pcm, self._seen - len(self._frames), tail=self._silent - surplus)

    def take(self) -> Utterance:
        """The utterance that was just said to be over. LookupError when there is none."""
        if self._done is None:
            raise LookupError("no utterance has ended")
        done, self._done = self._done, None
        return done

    def finish(self) -> Utterance | None:
        """Nothing more will be said: the utterance that goes on, as far as it came."""
        if not self.speaking or not self._frames:
            self.speaking = False
            return None
        self._end()
        return self.take()

    def _cut(self) -> None:
        """Part what was said where it was quietest in the last fifth; what is behind goes on."""
        late = len(self._frames) * 4 // 5
        levels = np.abs(np.array(self._frames[late:], np.int32)).sum(axis=1)
        at = late + int(np.convolve(levels, np.ones(QUIET), "valid").argmin()) + (QUIET + 1) // 2
        start = self._seen - len(self._frames)
        self._done = Utterance(np.concatenate(self._frames[:at]), start, cut=True)
        self._frames = self._frames[at:]

    def _surplus(self) -> int:
        """Frames of silence at the end that the utterance does not keep."""
        return min(max(0, self._silent - TAIL), len(self._frames))

    def _end(self) -> None:
        """Give up the silence at the end but for its beginning; what is given up may begin the next utterance."""
        self._done = self.so_far()
        self._before.extend(self._frames[len(self._frames) - self._surplus() :])
        self._recent.clear()
        self._frames, self.speaking, self._silent = [], False, 0


def voice_detector() -> Detector:
    """The best there is: webrtcvad (0.2 ms for a second of sound), without it the energy above the noise."""
    try:
        import webrtcvad
    except ImportError:
        return EnergyDetector()
    is_speech = webrtcvad.Vad(2).is_speech
    return lambda frame: bool(is_speech(frame.tobytes(), RATE))


class EnergyDetector:
    """Voiced is what is well above the noise floor, which falls at once and rises by 2.5 dB a second."""

    def __init__(self) -> None:
        self._floor = _FLOOR_START

    def __call__(self, frame: Frame) -> bool:
        """A `Detector`."""
        level = level_dbfs(frame)
        self._floor = max(_FLOOR_LOWEST, min(level, self._floor + _FLOOR_RISE))
        return level > max(_AUDIBLE, self._floor + _OVER_FLOOR)
