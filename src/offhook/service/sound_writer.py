"""SoundWriter: one thread that puts the sound of all calls into their WAV files (docs/architecture.md).

A block is written at its place, so one that is left out is silence and nothing after it moves. Nothing is synced: the
sound of calls is for looking at, and what a crash of the machine takes of it is lost; a kill of the process takes what
waits, half a second or so.

Overflow rule: with `MOST_WAITING` bytes in the queue it is `full`, and `Capture` leaves the newest frames out.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from offhook.audio.capture import BLOCK_TICKS, Block, Ear
from offhook.audio.pcm import samples_per_frame
from offhook.audio.wav import PADDED_HEADER_SIZE, largest_data, padded_header

log = logging.getLogger("offhook.sound")

MOST_WAITING: Final = 64_000_000  # bytes: of 300 calls at 16 kHz that talk all the time, three seconds
MOST_OPEN: Final = 1024
"""Files that stay open between two blocks; further ones are opened for each, so that calls find descriptors."""
MARK_BLOCKS: Final = 10
"""Blocks between two headers."""
CALL_EVERY: Final = 0.2
"""Seconds that what was not `put` may wait."""
NICER: Final = 5
"""The tick goes first."""
MOST_DATA: Final = largest_data() - (1 << 16)
"""Bytes of sound in one file, which has room for its header as well."""


@dataclass(slots=True, eq=False)
class SoundFile:
    """One WAV file of PCM16 mono. Made by the loop, everything else is the thread's.

    `lead`: bytes of sound up to the end of the first block. The sound begins at such a place of the file that blocks
    end where pages do, and pairs of pages where a block is made of such: what is written whole costs the kernel less.
    """

    path: Path
    rate: int
    lead: int = 0
    left_out: int = 0
    """Frames that are silent because they could not be written."""
    problem: str = ""
    size: int = 0
    """Bytes of sound up to the end of the last block that was written."""
    _fd: int = -1
    _blocks: int = 0

    @property
    def offset(self) -> int:
        """Where the sound begins in the file."""
        block = BLOCK_TICKS * 2 * samples_per_frame(self.rate)
        return PADDED_HEADER_SIZE + -(PADDED_HEADER_SIZE + self.lead) % (block & -block)

    def write(self, place: int, frames: npt.NDArray[np.uint8], *, keep_open: bool) -> None:
        """Put frames, a row each, at their place, counted in bytes of sound. OSError."""
        size = frames.size
        if place + size > MOST_DATA:
            self.left_out += len(frames)
            return
        if self._fd < 0:
            self._open()
        if os.pwrite(self._fd, frames.data, self.offset + place) != size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size = max(self.size, place + size)
        self._blocks += 1
        if self._blocks % MARK_BLOCKS == 1:
            self._mark()
        if not keep_open:
            self.shut()

    def finish(self, length: int) -> None:
        """It is this long, with silence at its end where nothing was written. OSError."""
        length = min(length, MOST_DATA)
        try:
            if self._fd < 0:
                self._open()
            if length > self.size:
                os.ftruncate(self._fd, self.offset + length)
                self.size = length
            self._mark()
        finally:
            self.shut()

    def shut(self) -> None:
        """Hold no descriptor."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)

    def _mark(self) -> None:
        """The header says what is there: the file is whole even when nobody comes back to it."""
        os.pwrite(self._fd, padded_header(self.rate, self.size, self.offset), 0)


_Job = list[Block] | Callable[[], None]


class SoundWriter:
    """The queue and its thread. `put` and `call` never wait. The sink of an ear is its `SoundFile`."""

    def __init__(self) -> None:
        self._jobs: deque[_Job] = deque()
        self._waiting = 0  # bytes of sound that were put
        self._written = 0  # of these, bytes that are dealt with
        self._open: set[SoundFile] = set()
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to write."""
        self._thread = threading.Thread(target=self._run, name="sound", daemon=True)
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Write what waits, for so long at most, and end. Blocks."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def put(self, blocks: list[Block]) -> None:
        """Write these, soon."""
        self._waiting += sum(block.size for block in blocks)
        self._jobs.append(blocks)
        self._wake.set()

    @property
    def behind(self) -> int:
        """Bytes of sound that wait."""
        return self._waiting - self._written

    def full(self) -> bool:
        """Whether so much waits that no more must come."""
        return self.behind > MOST_WAITING

    def call(self, work: Callable[[], None]) -> None:
        """Run something in the thread, after all that was put before. It is not left out: calls are bounded."""
        self._jobs.append(work)

    def waiting(self) -> list[Block]:
        """Blocks that are not in their files for certain."""
        # A copy of a deque is made under the interpreter's lock, and a job leaves it only once it is done.
        return [block for job in self._jobs.copy() if isinstance(job, list) for block in job]

    def finish(self, file: SoundFile, length: int) -> None:
        """End a file, after its blocks. In the thread."""
        self._open.discard(file)
        try:
            file.finish(length)
        except OSError as error:
            self._broke(file, error)

    def _run(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # Linux: a thread has a niceness of its own
            me = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, me, min(os.getpriority(os.PRIO_PROCESS, me) + NICER, 19))
        while True:
            self._wake.wait(CALL_EVERY)
            self._wake.clear()
            last = self._stopping
            self.drain()
            if last:
                return

    def drain(self) -> None:
        """Do what waits, now. In the thread; tests call it in its place."""
        jobs = self._jobs
        for _ in range(len(jobs)):
            job = jobs[0]
            try:
                if isinstance(job, list):
                    self._write(job)
                else:
                    job()
            except Exception:
                log.exception("a piece of the sound of calls could not be dealt with")
            jobs.popleft()

    def _write(self, blocks: list[Block]) -> None:
        """What each ear heard goes into its file, in one piece a block: a pause in it is written as silence."""
        for block in blocks:
            ears, ticks, rows = block.frames
            order = np.argsort(ears, kind="stable")
            ears, ticks, rows = ears[order], ticks[order], rows[order]
            ends = [*(np.flatnonzero(np.diff(ears)) + 1).tolist(), len(ears)]
            begin, sound = 0, block.sheet.rows
            room = np.empty((int(ticks.max() - ticks.min()) + 1, sound.shape[1]), np.uint8)
            for end in ends:
                first, last, count = int(ticks[begin]), int(ticks[end - 1]), end - begin
                piece = room[: last - first + 1]
                if len(piece) == count:
                    sound.take(rows[begin:end], axis=0, out=piece, mode="clip")
                else:
                    piece[:] = 0
                    piece[ticks[begin:end] - first] = sound[rows[begin:end]]
                self._put(block.ears[int(ears[begin])], first, piece, count)
                begin = end
            self._written += block.size
            block.release()

    def _put(self, ear: Ear, tick: int, frames: npt.NDArray[np.uint8], count: int) -> None:
        """`count`: how many of the frames are not silence."""
        file: SoundFile = ear.sink
        if file.problem:
            file.left_out += count
            return
        keep = file in self._open or len(self._open) < MOST_OPEN
        try:
            file.write((tick - ear.begin) * ear.frame_bytes, frames, keep_open=keep)
        except OSError as error:
            file.left_out += count
            self._broke(file, error)
            return
        if keep:
            self._open.add(file)

    def _broke(self, file: SoundFile, error: OSError) -> None:
        """A full disk ends the sound of one track, never its call."""
        file.problem = error.strerror or str(error)
        self._open.discard(file)
        file.shut()
        log.error("the sound %s ends here, and its call goes on: %s", file.path, file.problem)


def sound_of(ear: Ear, blocks: Iterable[Block]) -> list[tuple[int, bytes]]:
    """The frames of one ear in these blocks, each with the byte of its sound at which it begins. On the loop."""
    return [frame for block in blocks for frame in block.of(ear)]
