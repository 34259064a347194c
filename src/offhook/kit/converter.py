"""PCM of any length from one rate to another, for sources that know no 20 ms: what is no whole frame waits for more."""

from __future__ import annotations

from offhook.audio.pcm import PTIME_MS, from_bytes, samples_per_frame, to_bytes
from offhook.audio.resample import StreamResampler


class RateConverter:
    """One sound, PCM16 LE mono, in pieces cut anywhere. Equal rates give each piece back as it is.

    Less than a frame of 20 ms is held back and comes with the next piece, or with `flush`. AudioError for a rate
    that is not 8000, 16000, 24000 or 48000.
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        self.from_rate, self.to_rate = from_rate, to_rate
        self._size = samples_per_frame(from_rate) * 2
        self._resampler = StreamResampler(from_rate, to_rate)
        self._held = b""

    @property
    def held_ms(self) -> float:
        """How much waits for more; under 20."""
        return len(self._held) * PTIME_MS / self._size

    def process(self, pcm: bytes | bytearray | memoryview) -> bytes:
        """The next piece; all of it that makes whole frames comes back."""
        if self.from_rate == self.to_rate:
            return bytes(pcm)
        data = self._held + bytes(pcm)
        whole = len(data) - len(data) % self._size
        self._held = data[whole:]
        if whole == self._size:
            return to_bytes(self._resampler.process(from_bytes(data[:whole])))
        frames = (data[at : at + self._size] for at in range(0, whole, self._size))
        return b"".join(to_bytes(self._resampler.process(from_bytes(frame))) for frame in frames)

    def flush(self) -> bytes:
        """What is held back, filled up with silence to a frame; the sound ends, the next starts after silence."""
        rest = self.process(bytes(self._size - len(self._held))) if self._held else b""
        self.reset()
        return rest

    def reset(self) -> None:
        """Forget all, as if new."""
        self._held = b""
        self._resampler.reset()
