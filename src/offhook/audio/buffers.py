"""The playout buffer: what has been sent to be heard and nobody has heard yet (architecture.md: playout truth).

Audio comes in any chunk size and any burst; it leaves at one frame of 20 ms a tick, and the buffer knows
exactly which sample has left. Time is counted in ticks, one `read` a tick; nothing here knows a clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from offhook.audio.pcm import FRAMES_PER_SECOND, PTIME_MS, Frame, samples_per_frame

SAMPLE_BYTES = 2
RAMP_MS = 5
UTTERANCE_GAP_MS = 500
_INT16 = np.dtype("<i2")


@dataclass(frozen=True, slots=True)
class Cut:
    """What `clear` did: samples of the current utterance that were heard (ramp included) and thrown away."""

    played: int
    cut: int
    ramp: int


@dataclass(frozen=True, slots=True)
class PlayedMark:
    """A mark that was reached (`completed`) or thrown away with its audio."""

    id: str
    completed: bool


class PlayoutBuffer:
    """Queues mono PCM16 at one rate and hands it out as frames.

    Restart rule: playing starts, at first and after running dry, when `restart_ms` are queued or the oldest
    queued sample has waited that long; so a hiccup of a live source costs one pause, not a stutter. Audio that
    ends inside a frame is played out at once, padded with zeros.

    Overflow rule: beyond `limit_seconds` the newest audio is refused, counted in `refused` and told to `on_refused`.

    An utterance begins with the first audio after `clear`, after creation, or after more than half a second of
    dryness; `played` counts its samples that have left.
    """

    __slots__ = (
        "_chunk",
        "_chunks",
        "_dry_ticks",
        "_frame_bytes",
        "_limit",
        "_marks",
        "_offset",
        "_playing",
        "_queued",
        "_restart_bytes",
        "_restart_ticks",
        "_small",
        "_tail",
        "_taken",
        "_utterance_ticks",
        "_waited",
        "_written",
        "fired",
        "frame_samples",
        "gaps",
        "on_fired",
        "on_refused",
        "played",
        "refused",
    )

    def __init__(self, rate: int, *, limit_seconds: float = 600.0, restart_ms: int = 40) -> None:
        self.frame_samples = samples_per_frame(rate)
        self._frame_bytes = self.frame_samples * SAMPLE_BYTES
        self._limit = int(limit_seconds * FRAMES_PER_SECOND) * self._frame_bytes
        self._restart_ticks = -(-restart_ms // PTIME_MS)
        self._restart_bytes = self._restart_ticks * self._frame_bytes
        self._chunks: deque[bytes] = deque()
        self._chunk = b""  # the chunk being played
        self._offset = 0  # bytes of it that have left
        self._small = bytearray()  # writes shorter than a frame gather here, so that floods of them stay cheap
        self._queued = 0
        self._written = 0
        self._taken = 0
        self._tail: Frame | None = None  # the ramp that follows a cut
        self._playing = False
        self._waited = 0
        self._dry_ticks = 0
        self._utterance_ticks = UTTERANCE_GAP_MS // PTIME_MS
        self._marks: deque[tuple[int, str]] = deque()
        self.fired: list[PlayedMark] = []
        self.on_fired: Callable[[list[PlayedMark]], None] | None = None
        self.on_refused: Callable[[], None] | None = None
        self.played = 0
        self.refused = 0
        self.gaps = 0

    @property
    def queued_samples(self) -> int:
        """Samples waiting to be heard."""
        return self._queued // SAMPLE_BYTES

    @property
    def playing(self) -> bool:
        """Whether the next `read` gives audio without waiting for more."""
        return self._playing or self._tail is not None

    def write(self, pcm: bytes) -> int:
        """Queue little-endian PCM16 (an even number of bytes); gives back the bytes accepted."""
        size = len(pcm)
        if self._queued + size > self._limit:
            room = max(self._limit - self._queued, 0) & ~1
            self.refused += (size - room) // SAMPLE_BYTES
            if self.on_refused is not None:
                self.on_refused()
            if not room:
                return 0
            pcm, size = pcm[:room], room
        if size >= self._frame_bytes:
            if self._small:
                self._flush_small()
            self._chunks.append(pcm)
        else:
            self._small += pcm
            if len(self._small) >= self._frame_bytes:
                self._flush_small()
        self._queued += size
        self._written += size
        return size

    def mark(self, mark_id: str) -> None:
        """Place a mark behind all audio queued so far; it comes back in `fired`."""
        self._marks.append((self._written, mark_id))
        self._fire()

    def read(self) -> Frame | None:
        """The next frame, or None when there is nothing to say. A frame is valid until the tick ends."""
        if self._tail is not None:
            frame, self._tail = self._tail, None
            return frame
        if not self._playing and not self._start():
            return None
        queued, want = self._queued, self._frame_bytes
        if queued < want:
            return self._last(queued)
        self._queued = queued - want
        self._taken += want
        self.played += self.frame_samples
        chunk, offset = self._chunk, self._offset
        if offset == len(chunk) and self._chunks:
            chunk, offset = self._chunk, self._offset = self._chunks.popleft(), 0
        end = offset + want
        if end <= len(chunk):
            self._offset = end
            frame = np.frombuffer(chunk, _INT16, self.frame_samples, offset)
        else:
            frame = np.frombuffer(self._gather(want), _INT16)
        if self._marks:
            self._fire()
        return frame

    def clear(self) -> Cut:
        """Throw away what is queued (StopAudio). When audio was playing, at most one more frame follows: a ramp."""
        ramp = b""
        if self._playing and self._queued:
            ramp = self._gather(min(self._queued, self.frame_samples * SAMPLE_BYTES * RAMP_MS // PTIME_MS))
            self._tail = self._ramp_frame(ramp)
        kept = len(ramp) // SAMPLE_BYTES
        cut = Cut(self.played + kept, self._queued // SAMPLE_BYTES - kept, kept)
        self._chunks.clear()
        self._small.clear()
        self._chunk, self._offset, self._queued = b"", 0, 0
        self._taken = self._written
        self._playing, self._waited, self.played = False, 0, 0
        self._dry_ticks = self._utterance_ticks + 1
        self.fired.extend(PlayedMark(mark_id, False) for _, mark_id in self._marks)
        self._marks.clear()
        self._report()
        return cut

    def take_fired(self) -> list[PlayedMark]:
        """Marks reached or thrown away since the last call."""
        fired, self.fired = self.fired, []
        return fired

    def _start(self) -> bool:
        """Decide whether playing may begin with this tick."""
        if not self._queued:
            self._dry_ticks += 1
            return False
        if self._queued < self._restart_bytes and self._waited < self._restart_ticks:
            self._waited += 1
            self._dry_ticks += 1
            return False
        if self._dry_ticks > self._utterance_ticks:
            self.played = 0
        elif self.played:
            self.gaps += 1
        self._playing, self._waited, self._dry_ticks = True, 0, 0
        return True

    def _last(self, queued: int) -> Frame | None:
        """Fewer samples than a frame are left: play them padded with zeros, then be dry."""
        self._playing = False
        self._dry_ticks = 1 if not queued else 0
        if not queued:
            return None
        frame = np.zeros(self.frame_samples, _INT16)
        frame[: queued // SAMPLE_BYTES] = np.frombuffer(self._gather(queued), _INT16)
        self._queued = 0
        self._taken += queued
        self.played += queued // SAMPLE_BYTES
        if self._marks:
            self._fire()
        return frame

    def _gather(self, want: int) -> bytes:
        """Take `want` bytes over chunk borders; the caller has made sure that they are queued."""
        parts = []
        while want:
            left = len(self._chunk) - self._offset
            if not left:
                if not self._chunks:
                    self._flush_small()
                self._chunk, self._offset = self._chunks.popleft(), 0
                left = len(self._chunk)
            take = min(want, left)
            parts.append(self._chunk[self._offset : self._offset + take])
            self._offset += take
            want -= take
        return b"".join(parts)

    def _flush_small(self) -> None:
        self._chunks.append(bytes(self._small))
        self._small.clear()

    def _ramp_frame(self, pcm: bytes) -> Frame:
        """A frame that fades these samples to nothing, so that a cut makes no click."""
        samples = np.frombuffer(pcm, _INT16)
        frame = np.zeros(self.frame_samples, _INT16)
        frame[: samples.size] = (samples * np.linspace(1.0, 0.0, samples.size, dtype=np.float32)).astype(_INT16)
        return frame

    def _fire(self) -> None:
        while self._marks and self._marks[0][0] <= self._taken:
            self.fired.append(PlayedMark(self._marks.popleft()[1], True))
        self._report()

    def _report(self) -> None:
        """Hand marks to `on_fired`, if somebody listens."""
        if self.fired and self.on_fired is not None:
            self.on_fired(self.take_fired())
