"""The files of recordings: sound is appended, and what is on disk can be played at any time (docs/recording.md).

A WAV file's header says a size that is there: sound goes out first, the header after it, and twice a second. So a node
that is killed leaves a file that plays; what is behind its last header is found by `mend`. All of it blocks: it runs
in the thread of `Recordings`.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from offhook.audio.pcm import FRAMES_PER_SECOND, saturate, to_bytes
from offhook.audio.recorder import Block
from offhook.audio.wav import HEADER_SIZE, largest_data, wav_header
from offhook.errors import AudioError

BEHIND: Final = 10 * FRAMES_PER_SECOND
"""Blocks that wait to be written, above which the recording ends: the disk is too slow."""
MARK_EVERY: Final = 0.5  # seconds between two headers
SYNC_EVERY: Final = 1.0  # seconds until what was said is on the disk, come what may
MP3_KBITS: Final = 64
MP3_EXTRA: Final = "recordingFormatType mp3 needs an encoder: pip install 'offhook[mp3]', or ask for wav"


def has_mp3() -> bool:
    """Whether the encoder is installed."""
    return importlib.util.find_spec("lameenc") is not None


class SoundFile(Protocol):
    """A file that grows."""

    @property
    def size(self) -> int:
        """Bytes of the file."""

    @property
    def room(self) -> int:
        """Bytes of PCM that it still takes, in whole samples."""

    def write(self, pcm: bytes) -> None:
        """Append interleaved PCM16. OSError."""

    def mark(self) -> None:
        """Make what is there playable."""

    def sync(self) -> None:
        """Wait until it is on the disk."""

    def close(self) -> None:
        """Finish."""


class _Appended:
    """A new file of our own that is only ever appended to."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self.size = 0

    def append(self, data: bytes | memoryview) -> None:
        """All of it, or OSError with as much as the disk took."""
        view = memoryview(data)
        while view:
            count = os.write(self._fd, view)
            self.size += count
            view = view[count:]

    def put(self, data: bytes, place: int) -> None:
        """Over what is there."""
        os.pwrite(self._fd, data, place)

    def sync(self) -> None:
        """Out to the disk."""
        os.fsync(self._fd)

    def close(self) -> None:
        """No more."""
        os.close(self._fd)


class WavFile:
    """A WAV file of PCM16."""

    def __init__(self, path: Path, rate: int, channels: int, most: int = 0) -> None:
        """`most` bytes of sound; 0: as many as the format can."""
        self._rate, self._channels = rate, channels
        limit = largest_data(channels)
        self._most = min(most, limit) // (2 * channels) * 2 * channels if most else limit
        self._file = _Appended(path)
        self._file.append(wav_header(rate, 0, channels))

    @property
    def size(self) -> int:
        """See `SoundFile`."""
        return self._file.size

    @property
    def room(self) -> int:
        """See `SoundFile`."""
        return self._most - (self._file.size - HEADER_SIZE)

    def write(self, pcm: bytes) -> None:
        """See `SoundFile`."""
        self._file.append(pcm)

    def mark(self) -> None:
        """See `SoundFile`."""
        size = self._file.size - HEADER_SIZE
        size -= size % (2 * self._channels)
        self._file.put(wav_header(self._rate, size, self._channels), 0)

    def sync(self) -> None:
        """See `SoundFile`."""
        self._file.sync()

    def close(self) -> None:
        """See `SoundFile`."""
        try:
            self.mark()
            self._file.sync()
        finally:
            self._file.close()


class Mp3File:
    """An MP3 file of one channel; each frame of it stands for itself, so it plays wherever it ends."""

    def __init__(self, path: Path, rate: int) -> None:
        import lameenc

        self._encoder = lameenc.Encoder()
        self._encoder.set_bit_rate(MP3_KBITS)
        self._encoder.set_in_sample_rate(rate)
        self._encoder.set_channels(1)
        self._encoder.set_quality(5)
        self._encoder.silence()
        self._encoder.encode(b"")  # begins it: one that has encoded nothing cannot be flushed
        self._file = _Appended(path)

    @property
    def size(self) -> int:
        """See `SoundFile`."""
        return self._file.size

    @property
    def room(self) -> int:
        """See `SoundFile`; an MP3 file has no end of its own."""
        return 1 << 40

    def write(self, pcm: bytes) -> None:
        """See `SoundFile`."""
        self._file.append(bytes(self._encoder.encode(pcm)))

    def mark(self) -> None:
        """See `SoundFile`."""

    def sync(self) -> None:
        """See `SoundFile`."""
        self._file.sync()

    def close(self) -> None:
        """See `SoundFile`."""
        try:
            self._file.append(bytes(self._encoder.flush()))
            self._file.sync()
        finally:
            self._file.close()


@dataclass(slots=True)
class Piece:
    """One file of a recording: how long it is, its bytes, and why it ended."""

    index: int
    samples: int = 0
    size: int = 0
    end_reason: str = ""


@dataclass(slots=True)
class Take:
    """One recording under way: `put` is called by ticks, everything else by the thread that writes.

    `stem`: path without index and ending. `most`: bytes of sound of one file, 0 for as many as it can hold.
    """

    stem: Path
    form: str
    rate: int
    channels: int
    most: int = 0
    pieces: list[Piece] = field(default_factory=list)
    written: int = 0
    """Bytes of sound."""
    _queue: deque[Block] = field(default_factory=deque)
    _broken: bool = True
    """Not opened, or a write failed: nothing more is appended, for what failed would be missing before it."""
    _file: SoundFile | None = None
    _marked: float = 0.0
    _synced: float = 0.0

    def put(self, block: Block) -> None:
        """Queue a block. AudioError when the thread is so far behind that nothing more may wait."""
        if len(self._queue) >= BEHIND:
            raise AudioError(f"the disk is {BEHIND // FRAMES_PER_SECOND} s behind")
        self._queue.append(block)

    def path(self, index: int) -> Path:
        """Where a piece is."""
        return piece_path(self.stem, index, self.form)

    def open(self) -> None:
        """Begin the next file. OSError."""
        piece = Piece(len(self.pieces))
        path = self.path(piece.index)
        if self.form == "mp3":
            self._file = Mp3File(path, self.rate)
        else:
            self._file = WavFile(path, self.rate, self.channels, self.most)
        self.pieces.append(piece)
        self._broken = False
        self._marked = self._synced = time.monotonic()

    def write(self) -> None:
        """Put what waits into the file, and see that it is safe there. OSError."""
        blocks = []
        while self._queue:
            blocks.append(self._queue.popleft())
        if blocks and not self._broken:
            sound = np.concatenate(blocks)
            summed = sound.dtype == np.int32
            pcm = saturate(sound.astype(np.int32)) if summed else sound.astype(np.int16, copy=False)
            self._append(memoryview(to_bytes(pcm)))
        now, file = time.monotonic(), self._file
        if file is None:
            return
        if now - self._marked >= MARK_EVERY:
            file.mark()
            self._marked = now
        if now - self._synced >= SYNC_EVERY:
            file.sync()
            self._synced = now

    def close(self, reason: str = "SessionEnded") -> None:
        """Write the rest, and finish. OSError; the file is closed all the same."""
        try:
            self.write()
        finally:
            self._finish(reason)

    def _append(self, pcm: memoryview) -> None:
        while pcm:
            assert self._file is not None
            self._broken = True
            part = pcm[: self._file.room]
            self._file.write(bytes(part))
            self.written += len(part)
            self.pieces[-1].samples += len(part) // (2 * self.channels)
            pcm = pcm[len(part) :]
            if pcm:
                self._finish("ChunkMaximumSizeExceeded")
                self.open()
            self._broken = False

    def _finish(self, reason: str) -> None:
        file, self._file = self._file, None
        if file is not None:
            self.pieces[-1].end_reason = reason
            try:
                file.close()
            finally:
                piece = self.pieces[-1]
                piece.size = file.size
                if self.form == "wav":  # also what a full disk took of the last write
                    piece.samples = (file.size - HEADER_SIZE) // (2 * self.channels)


def piece_path(stem: Path, index: int, form: str) -> Path:
    """The file of a piece."""
    return stem.with_name(f"{stem.name}-{index}.{form}")


def mend(path: Path, form: str, rate: int, channels: int) -> int:
    """Make a file playable to its end that nobody finished; gives back its samples. OSError."""
    size = path.stat().st_size
    if form == "mp3":
        return size * 8 * rate // (MP3_KBITS * 1000)
    size = max(size - HEADER_SIZE, 0)
    size -= size % (2 * channels)
    with path.open("r+b") as file:
        file.truncate(HEADER_SIZE + size)
        file.write(wav_header(rate, size, channels))
        file.flush()
        os.fsync(file.fileno())
    return size // (2 * channels)
