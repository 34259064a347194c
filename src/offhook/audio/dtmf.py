"""Keys heard in the sound itself (ITU-T Q.23, Q.24): for phones and gateways that send no telephone events.

A window of 40 ms moves on by a frame. A key is told when two windows in turn hold its two tones: loud enough, of like
strength, and nearly all that there is, so that speech is not taken for a key. Tones of 60 ms and more are heard, and
two presses of one key with 40 ms between them are two.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from offhook.audio.pcm import Frame, samples_per_frame

_LOW, _HIGH = (697.0, 770.0, 852.0, 941.0), (1209.0, 1336.0, 1477.0, 1633.0)
_KEYPAD = ("123A", "456B", "789C", "*0#D")
_LEAST_DB = -36.0
"""Least level of the pair in dB of full scale (Q.24: -25 dBm and above must be taken)."""
_SHARE = 0.9
"""Least part of all energy that the two tones hold."""
_BENDS = (0.985, 1.0, 1.015)
"""Tones may be off by 1.5 % and must be taken (Q.24)."""
_TWIST_DB = 8.0
"""Most that one tone may be above the other, either way."""
_WINDOWS = 2


class KeyDetector:
    """One stream at `rate` Hz: `hear` every frame; it returns a key when one begins.

    A frame that was lost and made up is not `real`: that a key is not in it says nothing.
    """

    def __init__(self, rate: int) -> None:
        size = 2 * samples_per_frame(rate)
        self._frame = size // 2
        self._recent: npt.NDArray[np.float32] = np.zeros(size, np.float32)
        self._window: npt.NDArray[np.float32] = np.hanning(size).astype(np.float32)
        turns = np.outer(np.arange(size), np.outer(_LOW + _HIGH, _BENDS)) * (2 * np.pi / rate)
        self._waves: npt.NDArray[np.complex64] = np.exp(-1j * turns).astype(np.complex64)
        self._waves *= self._window[:, None]
        self._gain = float(self._window.sum()) / 2
        """Amplitude of a wave from its correlation."""
        self._energy = float((self._window**2).sum())
        self._candidate = ""
        self._seen = 0
        self._told = ""
        self._blind = 0  # windows in which something made up is

    def hear(self, frame: Frame, *, real: bool = True) -> str:
        """Take a frame of 20 ms; a key that begins, else nothing."""
        self._blind = max(self._blind - 1, 0) if real else len(self._recent) // self._frame
        recent = self._recent
        recent[: self._frame] = recent[self._frame :]
        recent[self._frame :] = frame
        key = self._key()
        if not key and self._blind:
            return ""
        if key and key == self._candidate:
            self._seen += 1
        else:
            self._candidate, self._seen = key, 1
        if key != self._told and not key:
            self._told = ""
        if self._seen >= _WINDOWS and key and key != self._told:
            self._told = key
            return key
        return ""

    def _key(self) -> str:
        recent = self._recent
        total = float(((recent * self._window) ** 2).sum()) / self._energy  # mean square
        if total < 2 * (32768.0 * 10 ** (_LEAST_DB / 20)) ** 2 / 4:
            return ""
        amplitudes = np.abs(recent @ self._waves).reshape(8, len(_BENDS)).max(axis=1) / self._gain
        row, column = int(amplitudes[:4].argmax()), int(amplitudes[4:].argmax())
        low, high = float(amplitudes[row]), float(amplitudes[4 + column])
        if (low * low + high * high) / 2 < _SHARE * total or min(low, high) <= 0:
            return ""
        if abs(20 * np.log10(low / high)) > _TWIST_DB:
            return ""
        return _KEYPAD[row][column]
