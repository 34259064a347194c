"""SoundWriter: one thread that puts the sound of all calls into their WAV files (docs/architecture.md).

A block is written at its place, so one that is left out is silence and nothing after it moves. Nothing is synced: the
sound of calls is for looking at, and what a crash of the machine takes of it is lost; a kill of the process takes what
waits, half a second or so.

Overflow rule: with `MOST_WAITING` bytes in the queue the newest ticks are left out and counted in `left_out`.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from offhook.audio.capture import Block, Ear
from offhook.audio.wav import HEADER_SIZE, largest_data, wav_header

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


@dataclass(slots=True, eq=False)
class SoundFile:
    """One WAV file of PCM16 mono. `put` is called by the loop, everything else by the thread."""

    path: Path
    rate: int
    left_out: int = 0
    """Frames that are silent because they could not be written."""
    problem: str = ""
    size: int = 0
    """Bytes of sound up to the end of the last block that was written."""
    _fd: int = -1
    _blocks: int = 0

    def write(self, place: int, frames: list[memoryview], *, keep_open: bool) -> None:
        """Put frames at their place, counted in bytes of sound. OSError."""
        size = len(frames) * len(frames[0])
        if place + size > largest_data():
            self.left_out += len(frames)
            return
        if self._fd < 0:
            self._open()
        if os.pwritev(self._fd, frames, HEADER_SIZE + place) != size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size = max(self.size, place + size)
        self._blocks += 1
        if self._blocks % MARK_BLOCKS == 1:
            self._mark()
        if not keep_open:
            self.shut()

    def finish(self, length: int) -> None:
        """It is this long, with silence at its end where nothing was written. OSError."""
        length = min(length, largest_data())
        try:
            if self._fd < 0:
                self._open()
            if length > self.size:
                os.ftruncate(self._fd, HEADER_SIZE + length)
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
        os.pwrite(self._fd, wav_header(self.rate, self.size), 0)


_Job = list[Block] | Callable[[], None]


class SoundWriter:
    """The queue and its thread. `put` and `call` never wait. The sink of an ear is its `SoundFile`."""

    def __init__(self) -> None:
        self.left_out = 0
        """Ticks of all calls that were left out."""
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
        if self.behind > MOST_WAITING:
            self.left_out += len(blocks)
            return
        self._waiting += sum(len(data) for _, _, data in blocks)
        self._jobs.append(blocks)
        self._wake.set()

    @property
    def behind(self) -> int:
        """Bytes of sound that wait."""
        return self._waiting - self._written

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
        """What each ear heard in these ticks goes into its file, in runs without a hole."""
        for first, order, views in _stretches(blocks):
            at = 0
            for ear in order:
                end = at + ear.frame_bytes
                self._put(ear, first, [view[at:end] for view in views])
                at = end
        self._written += sum(len(data) for _, _, data in blocks)

    def _put(self, ear: Ear, tick: int, frames: list[memoryview]) -> None:
        file: SoundFile = ear.sink
        if file.problem:
            file.left_out += len(frames)
            return
        keep = file in self._open or len(self._open) < MOST_OPEN
        try:
            file.write((tick - ear.begin) * ear.frame_bytes, frames, keep_open=keep)
        except OSError as error:
            file.left_out += len(frames)
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


def _stretches(blocks: Iterable[Block]) -> Iterator[tuple[int, list[Ear], list[memoryview]]]:
    """Runs of ticks with the same ears in the same order."""
    views: list[memoryview] = []
    first, order = 0, list[Ear]()
    for tick, ears, data in blocks:
        if ears is not order or tick != first + len(views):
            if views:
                yield first, order, views
            first, order, views = tick, ears, []
        views.append(memoryview(data))
    if views:
        yield first, order, views


def sound_of(ear: Ear, blocks: Iterable[Block]) -> list[tuple[int, bytes]]:
    """The frames of one ear in these blocks, each with the byte of its sound at which it begins."""
    found = []
    for tick, ears, data in blocks:
        at = 0
        for other in ears:
            if other is ear:
                found.append(((tick - ear.begin) * ear.frame_bytes, data[at : at + ear.frame_bytes]))
            at += other.frame_bytes
    return found
