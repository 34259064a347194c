"""What the simulated caller hears: indexed frames put on one gapless line that starts at the answer.

A frame message of the console API is 4 bytes little-endian frame index, 1 byte of flags, 20 ms of PCM16 mono.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from offhook.cli.voice import Samples

FRAME_MS = 20
_HEAD = struct.Struct("<IB")
APP_AUDIO = 1
_FARTHEST_JUMP = 50 * 600  # ten minutes of frames: a larger hole is a broken index, not lost audio


@dataclass(frozen=True)
class HeardFrame:
    """One frame as it came: its number from the answer, whether the app was heard in it, its samples."""

    index: int
    of_app: bool
    samples: Samples


class Heard:
    """Collects frames at one rate. `missing` counts frames that never came, `broken` messages of a wrong size."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.missing = 0
        self.broken = 0
        self.frames_of_app = 0
        self.gaps = 0
        self._first_of_app: int | None = None
        self._last_of_app: int | None = None
        self._frame_bytes = rate // 50 * 2
        self._line = bytearray()

    def __len__(self) -> int:
        return len(self._line) // self._frame_bytes

    def add(self, message: bytes) -> HeardFrame | None:
        """Takes one binary message; None when it is no frame of this call or came a second time."""
        if len(message) != _HEAD.size + self._frame_bytes:
            self.broken += 1
            return None
        index, flags = _HEAD.unpack_from(message)
        hole = index - len(self)
        if hole < 0 or hole > _FARTHEST_JUMP:
            self.broken += 1
            return None
        self.missing += hole
        self._line += bytes(hole * self._frame_bytes)
        self._line += message[_HEAD.size :]
        of_app = bool(flags & APP_AUDIO)
        if of_app:
            self._count_app_frame(index)
        return HeardFrame(index, of_app, np.frombuffer(message, "<i2", offset=_HEAD.size).astype(np.int16))

    def _count_app_frame(self, index: int) -> None:
        if self._first_of_app is None:
            self._first_of_app = index
        elif self._last_of_app is not None and index > self._last_of_app + 1:
            self.gaps += 1
        self._last_of_app = index
        self.frames_of_app += 1

    def window(self, start: int, count: int) -> bytes | None:
        """`count` samples from sample `start` as PCM16; None while they have not all come."""
        piece = bytes(self._line[start * 2 : (start + count) * 2])
        return piece if len(piece) == count * 2 else None

    @property
    def first_audio_ms(self) -> int | None:
        """From the answer to the first frame with audio of the app; None when there was none."""
        return None if self._first_of_app is None else self._first_of_app * FRAME_MS

    def samples(self, duration_ms: int | None = None) -> Samples:
        """All that was heard, padded with silence to the call's length when the last frames did not come."""
        heard = np.frombuffer(bytes(self._line), "<i2").astype(np.int16)
        if duration_ms is None:
            return heard
        whole = round(duration_ms / FRAME_MS) * (self.rate // 50)
        return np.pad(heard, (0, max(0, whole - len(heard))))
