"""Comfort noise: what a silent sender says its background sounds like (RFC 3389).

Only the level is taken: its spectrum is optional (§3), and is not missed at the level of a background.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from offhook.audio.pcm import Frame

_SEED = 3389
_SECONDS = 1.0
_FULL = 32768.0


class ComfortNoise:
    """White noise at `rate` Hz, none until a `level` is told."""

    __slots__ = ("_at", "_gain", "_table")

    def __init__(self, rate: int) -> None:
        self._table = _noise(rate)
        self._gain = 0.0
        self._at = 0

    def level(self, payload: bytes) -> None:
        """Take a packet: its first byte is the level in -dBov, 0 to 127 (§3.1); an empty one changes nothing."""
        if payload:
            self._gain = 10.0 ** (-(payload[0] & 0x7F) / 20)

    def next(self, samples: int) -> Frame:
        """The next stretch of noise, at most a second."""
        if self._at + samples > len(self._table):
            self._at = (self._at * 7 + 13) % max(len(self._table) - samples, 1)  # another seam each time
        part = self._table[self._at : self._at + samples]
        self._at += samples
        frame: Frame = np.clip(np.rint(part * self._gain), -32768, 32767).astype(np.int16)
        return frame


@lru_cache(maxsize=8)
def _noise(rate: int) -> npt.NDArray[np.float32]:
    """Noise with the mean power of a full-scale square wave, 0 dBov."""
    noise = np.random.default_rng(_SEED).standard_normal(round(rate * _SECONDS)) * _FULL
    return noise.astype(np.float32)
