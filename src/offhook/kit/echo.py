"""What of the caller's sound is the app's own, come back through their loudspeaker, room or line. No I/O.

Both sounds are compared as energies of bands, 20 ms at a time. An echo is the app's sound 0 to 600 ms ago, softer by
about the same in each band over time; speech over it has energy that this does not explain. As long as no echo has
been heard although the app spoke, what is louder than the quiet until then is no echo.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from offhook.audio.pcm import Frame

DELAYS: Final = 31
"""Frames that an echo may be late."""
_EDGES: Final = (4, 6, 8, 10, 12, 15, 18, 22, 27, 33, 40, 56)  # of the bands, in bins of 50 Hz, up to 2.8 kHz
_BANDS: Final = len(_EDGES) - 1
_FULL: Final = 9  # bands that a telephone carries too
_KEPT: Final = 24  # frames of the caller that are compared at most
_FEWEST: Final = 6  # that tell anything
_QUIET_DB: Final = -58.0  # of a frame of the app: no echo to speak of
_SMEAR_DB: Final = 3.0  # a frame that a room's sound falls
_ALIKE_DB: Final = 6.0  # how much the difference of both may vary
_CLOSEST_DB: Final = -5.0  # an echo is at least so much softer than what was said
_LEAST_DB: Final = -75.0
_MARGIN_DB: Final = 4  # over what is expected of an echo
_PROVEN: Final = 32  # frames of the app's sound without any echo: there is none
_OVER_LEAK_DB: Final = 10.0
_LEAK_RISE: Final = 0.2  # dB a frame, where nothing proves it to be the app's

Levels = npt.NDArray[np.float32]


class EchoReference:
    """Fed with both sounds of each 20 ms; says how much of the caller's is the app's own."""

    def __init__(self, rate: int) -> None:
        size = rate // 50
        self._window = np.hanning(size).astype(np.float32) / (32768 * size * 0.375**0.5) * np.float32(2**0.5)
        # Of the app, newest last, twice: so that any stretch is one view.
        self._own = np.full((2 * (_KEPT + DELAYS), _BANDS), _LEAST_DB, np.float32)
        self._own_level = np.full(DELAYS, _LEAST_DB, np.float32)
        self._caller = np.full((2 * _KEPT, _BANDS), _LEAST_DB, np.float32)
        self._smeared = np.full(_BANDS, _LEAST_DB, np.float32)
        self._floor = np.full(_BANDS, -60.0, np.float32)
        self._at = 0
        self._spoken = 0  # frames of the app's sound since the start, up to _PROVEN
        self._leak = _LEAST_DB
        self._delay: int | None = None
        self._gains: Any = np.zeros(_BANDS, np.float32)

    def feed(self, caller: Frame, own: Frame | None) -> float:
        """20 ms of both at the stream's rate; None: the app was not heard. 0 (all is the caller's) to 1 (all echo)."""
        levels = self._levels(caller)
        self._keep(levels, self._levels(np.resize(own, len(self._window))) if own is not None else None)
        loudest_own = float(self._own_level.max())
        if loudest_own < _QUIET_DB:
            return 0.0
        level = _total(levels)
        share = self._share(levels, level, loudest_own)
        self._spoken = min(_PROVEN, self._spoken + 1)
        if level > _total(self._floor) + 6:
            over = min(level - loudest_own, _CLOSEST_DB) - self._leak
            if self._spoken < _PROVEN or (self._delay is not None and share > 0.5):
                self._leak += max(-_LEAK_RISE, over)
            elif over < _OVER_LEAK_DB:
                self._leak += max(-_LEAK_RISE / 10, min(over, _LEAK_RISE))
        return share

    def _share(self, levels: Levels, level: float, loudest_own: float) -> float:
        if level - loudest_own > _CLOSEST_DB:
            return 0.0
        if self._spoken >= _PROVEN and level > self._leak + loudest_own + _OVER_LEAK_DB:
            return 0.0
        found = self._fit()
        if found is not None:
            self._delay, self._gains = found
        if self._delay is None:
            return 1.0 if found is not None or self._active() < _FEWEST else 0.0
        return self._explained(levels)

    def _explained(self, levels: Levels) -> float:
        assert self._delay is not None
        end = self._end()
        near = self._own[end - 1 - min(self._delay + 1, DELAYS - 1) : end - max(self._delay - 1, 0)].max(axis=0)
        power = 10 ** (levels / 10)
        over = np.maximum(power - 10 ** ((near + self._gains + _MARGIN_DB) / 10) - 10 ** ((self._floor + 4) / 10), 0)
        return 1 - float(over.sum() / power.sum())

    def _fit(self) -> tuple[int, Levels] | None:
        """The delay at which the last frames are the app's, and the gain of each band in dB; None: at none."""
        frames = self._caller[self._at % _KEPT + 1 : self._at % _KEPT + 1 + _KEPT]
        weight = np.clip(frames - (self._floor + 6), 0, 25)
        total = float(weight.sum())
        if self._active() < _FEWEST:
            return None
        end = self._end()
        shifted = sliding_window_view(self._own[end - _KEPT - DELAYS + 1 : end], _KEPT, axis=0)[::-1]
        difference = frames.T[None] - shifted  # delay, band, frame
        weighted = difference * weight.T[None]
        mean = weighted.sum(axis=(1, 2)) / total
        spread = np.sqrt(np.maximum((weighted * difference).sum(axis=(1, 2)) / total - mean * mean, 0))
        best = int(spread.argmin())
        if spread[best] > _ALIKE_DB or mean[best] > _CLOSEST_DB:
            return None
        bands = np.maximum(weight.sum(axis=0), 1e-3)
        gains = (weighted[best].sum(axis=1) + mean[best] * 20) / (bands + 20)
        return best, gains

    def _active(self) -> int:
        frames = self._caller[self._at % _KEPT + 1 : self._at % _KEPT + 1 + _KEPT]
        return int(((frames - self._floor)[:, :_FULL].max(axis=1) > 9).sum())

    def _keep(self, levels: Levels, own: Levels | None) -> None:
        self._at += 1
        self._caller[self._at % _KEPT] = self._caller[self._at % _KEPT + _KEPT] = levels
        self._floor = np.maximum(np.minimum(levels, self._floor + 0.05), _LEAST_DB)
        self._smeared = self._smeared - np.float32(_SMEAR_DB)
        self._own_level[self._at % DELAYS] = _LEAST_DB if own is None else _total(own)
        if own is not None:
            self._smeared = np.maximum(self._smeared, own)
        size = len(self._own) // 2
        self._own[self._at % size] = self._own[self._at % size + size] = np.maximum(self._smeared, _LEAST_DB)

    def _end(self) -> int:
        size = len(self._own) // 2
        return self._at % size + 1 + size

    def _levels(self, frame: Frame) -> Levels:
        spectrum = np.fft.rfft(frame * self._window)
        power = (spectrum.real**2 + spectrum.imag**2)[: _EDGES[-1]]
        bands = np.add.reduceat(power, _EDGES[:-1])
        levels: Levels = np.maximum(10 * np.log10(bands + 1e-9), _LEAST_DB).astype(np.float32)
        return levels


def _total(levels: Levels) -> float:
    return float(10 * np.log10((10 ** (levels / 10)).sum()))
