"""Loss concealment for waveform codecs: the last pitch period goes on, fading (after ITU-T G.711 appendix I).

For the first 10 ms the period is repeated as it was; then it loses 20 % every 10 ms; after 60 ms there is silence.
The first good frame after a loss is cross-faded with what the concealment would have gone on with.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from offhook.audio.pcm import FRAMES_PER_SECOND, Frame

_HISTORY_MS = 60
_LOWEST_HZ, _HIGHEST_HZ = 66, 200
_OVERLAP_MS = 4
_FADE_PER_MS = 0.02
_LONGEST_MS = 60


class Concealer:
    """The memory of one stream at `rate` Hz. `heard` every good frame; `conceal` for every missing one."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._frame = rate // FRAMES_PER_SECOND
        self._overlap = rate * _OVERLAP_MS // 1000
        self._size = rate * _HISTORY_MS // 1000
        self._recent: deque[Frame] = deque(maxlen=_HISTORY_MS // 10)  # frames of 10 ms and more
        self._period: npt.NDArray[np.float32] | None = None
        self._phase = 0
        self._gone = 0  # samples concealed so far

    def heard(self, frame: Frame) -> Frame:
        """Remember a good frame; after a loss it comes back blended with the concealment."""
        if self._period is not None:
            frame = self._joined(frame)
            self._period, self._gone = None, 0
        self._recent.append(frame)
        return frame

    def _joined(self, frame: Frame) -> Frame:
        """A good frame after a loss, blended with what the concealment would have gone on with."""
        if len(frame) < self._overlap:
            return frame
        tail = self._next(self._overlap)
        blend = np.linspace(0, 1, self._overlap, dtype=np.float32)
        good = frame.astype(np.float32)
        good[: self._overlap] = good[: self._overlap] * blend + tail * (1 - blend)
        return np.rint(good).astype(np.int16)

    @property
    def running(self) -> bool:
        """Whether the last that it gave was made up: the next good frame must be `heard` for what it becomes."""
        return self._period is not None

    def conceal(self, samples: int | None = None) -> Frame:
        """So many samples for what is missing; a frame when nobody says."""
        if self._period is None:
            self._period = self._pitch()
            self._phase = 0
        return np.rint(self._next(self._frame if samples is None else samples)).astype(np.int16)

    def _history(self) -> npt.NDArray[np.float32]:
        """The last 60 ms, zeros where there was nothing yet."""
        heard = np.concatenate([np.zeros(self._size, np.int16), *self._recent])
        return heard[-self._size :].astype(np.float32)

    def _pitch(self) -> npt.NDArray[np.float32]:
        """The last pitch period: the lag at which the newest 20 ms are most like what was before."""
        shortest, longest = self._rate // _HIGHEST_HZ, self._rate // _LOWEST_HZ
        history = self._history()
        recent = history[-self._frame :]
        windows = np.lib.stride_tricks.sliding_window_view(history, self._frame)
        starts = len(history) - self._frame - np.arange(shortest, longest + 1)
        candidates = windows[starts]
        energy = np.sqrt(np.einsum("ij,ij->i", candidates, candidates)) + 1.0
        lag = shortest + int(np.argmax(candidates @ recent / energy))
        return history[-lag:].copy()

    def _next(self, size: int) -> npt.NDArray[np.float32]:
        period = self._period
        assert period is not None
        samples = period[(self._phase + np.arange(size)) % len(period)]
        self._phase = (self._phase + size) % len(period)
        ms = (self._gone + np.arange(size)) * 1000 / self._rate
        self._gone += size
        gain = np.where(ms < 10, 1.0, np.where(ms < _LONGEST_MS, np.maximum(1 - (ms - 10) * _FADE_PER_MS, 0), 0))
        faded: npt.NDArray[np.float32] = (samples * gain).astype(np.float32)
        return faded
