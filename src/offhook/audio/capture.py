"""Capture: what each leg of all calls said and heard, frame by frame, for somebody who keeps it.

`said` is what came from the leg, before mute and hold; `heard` is the mix that its port was given. Both are at the
rate of the bridge and gain one frame a tick while the leg has its seat; where nothing came there is silence.
Keys that a leg plays to its endpoint instead of the mix are not in it, for the leg makes them itself.

Cheap on purpose: the frames of all calls are gathered in one pass at the end of a tick and copied in one go, into
memory that is used again and again. A frame of silence is not noted at all.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from offhook.audio.bridge import Member
from offhook.audio.pcm import Frame, samples_per_frame, silence

BLOCK_TICKS: Final = 64
"""Ticks whose sound is handed on together: at 16 kHz they fill ten pages of memory, in five pairs."""
_SPARE: Final = 1.125
"""Room of a sheet over the frames of one block, for those that come while it is being written."""
_MOST_SPARE: Final = 3
"""The same for a disk that is slow."""

Side = Literal["said", "heard"]
SIDES: Final[tuple[Side, Side]] = ("said", "heard")
Numbers = npt.NDArray[np.int64]


class Ear:
    """One side of one leg. `begin` is the tick of its first frame, `sink` belongs to who keeps the sound."""

    __slots__ = ("begin", "frame_bytes", "number", "sink")

    def __init__(self, number: int, begin: int, frame_bytes: int, sink: Any) -> None:
        self.number = number
        self.begin = begin
        self.frame_bytes = frame_bytes
        self.sink = sink


class Track:
    """One leg's time on a bridge, in ticks of the capture; `end` None: it goes on."""

    __slots__ = ("begin", "end", "heard", "member", "said")

    def __init__(self, member: Member, begin: int, said: Ear, heard: Ear) -> None:
        self.member = member
        self.begin = begin
        self.end: int | None = None
        self.said = said
        self.heard = heard


class Sheet:
    """Room for frames of one size, used in a ring: rows are taken by the tick and given back by who keeps them."""

    __slots__ = ("given", "head", "rows", "taken")

    def __init__(self, rows: int, frame_bytes: int) -> None:
        self.rows: npt.NDArray[np.uint8] = np.empty((rows, frame_bytes), np.uint8)
        self.head = 0
        self.taken = 0
        self.given = 0
        """Only one thread adds to it, and it is not the one that adds to `taken`."""

    def take(self, count: int) -> int:
        """The first of so many rows in a line; -1: there is no room."""
        size, first = len(self.rows), self.head
        skipped = 0
        if first + count > size:
            skipped, first = size - first, 0
        if self.taken - self.given + skipped + count > size:
            return -1
        self.taken += skipped + count
        self.head = first + count
        return first


class Frames(NamedTuple):
    """Which frames there are: three columns of one length."""

    ears: Numbers
    ticks: Numbers
    rows: Numbers


class Block:
    """The frames of some ticks, all of one size; `ears` by number."""

    __slots__ = ("_marks", "_until", "ears", "sheet")

    def __init__(self, sheet: Sheet, ears: dict[int, Ear], marks: list[tuple[int, array[int], int]]) -> None:
        self.sheet = sheet
        self.ears = ears
        self._marks = marks
        self._until = sheet.taken

    @property
    def size(self) -> int:
        """Bytes of sound."""
        size: int = self.sheet.rows.shape[1]
        return size * sum(len(numbers) for _, numbers, _ in self._marks)

    @property
    def frames(self) -> Frames:
        """In order of ticks."""
        counts = [len(numbers) for _, numbers, _ in self._marks]
        begins = np.cumsum([0, *counts[:-1]])
        return Frames(
            np.concatenate([np.frombuffer(numbers, np.int64) for _, numbers, _ in self._marks]),
            np.repeat([tick for tick, _, _ in self._marks], counts),
            np.arange(sum(counts)) + np.repeat([row for _, _, row in self._marks] - begins, counts),
        )

    def of(self, ear: Ear) -> list[tuple[int, bytes]]:
        """The frames of one ear, each with the byte of its sound at which it begins. Not after a tick of `release`."""
        if ear.number not in self.ears:
            return []
        ears, ticks, rows = self.frames
        mine = ears == ear.number
        places = ((ticks[mine] - ear.begin) * ear.frame_bytes).tolist()
        return list(zip(places, map(bytes, self.sheet.rows[rows[mine]]), strict=True))

    def release(self) -> None:
        """Its room is used again from now on. Blocks of a sheet are released in order."""
        self.sheet.given = self._until


class _Reel:
    """The seats of all calls of one rate, and their frames that were not handed on yet."""

    def __init__(self, rate: int) -> None:
        self.frame_bytes = 2 * samples_per_frame(rate)
        self.seats: tuple[tuple[Member, int, int], ...] = ()
        self.ears: dict[int, Ear] = {}
        self._still = silence(rate)
        self._sheet = Sheet(0, self.frame_bytes)
        self._marks: list[tuple[int, array[int], int]] = []
        self._order: list[int] = []
        self._numbers = array("q")

    def gather(self) -> tuple[list[Frame], list[int]]:
        """What was said and heard in this tick, and by which ears."""
        frames: list[Frame] = []
        numbers: list[int] = []
        see, note, still = frames.append, numbers.append, self._still
        for member, said, heard in self.seats:
            frame = member.said
            if frame is not None and frame is not still:
                see(frame)
                note(said)
            frame = member.given
            if frame is not None and frame is not still:
                see(frame)
                note(heard)
        return frames, numbers

    def keep(self, tick: int, frames: list[Frame], numbers: list[int]) -> bool:
        """Copy them; False: there is no room."""
        size, count = self.frame_bytes, len(frames)
        row = self._sheet.take(count)
        if row < 0:
            return False
        data = b"".join(cast("list[bytes]", frames))
        if len(data) != count * size:
            data = b"".join(_fitted(frame, size) for frame in frames)
        self._sheet.rows[row : row + count] = np.frombuffer(data, np.uint8).reshape(count, size)
        if numbers != self._order:
            self._order, self._numbers = numbers, array("q", numbers)  # many ticks have the same one
        self._marks.append((tick, self._numbers, row))
        return True

    def grow(self, count: int) -> None:
        """Another sheet, for so many frames a tick; after `end`."""
        self._sheet = Sheet(_room(count * BLOCK_TICKS, len(self._sheet.rows)), self.frame_bytes)

    def end(self) -> Block | None:
        """The block of what there is; None: nothing."""
        if not self._marks:
            return None
        block, self._marks = Block(self._sheet, self.ears, self._marks), []
        if block.size * 2 * _MOST_SPARE < self._sheet.rows.size:
            self._sheet = Sheet(0, self.frame_bytes)  # many calls have ended, and its memory is not needed
        here = [number for _, said, heard in self.seats for number in (said, heard)]
        self.ears = {number: self.ears[number] for number in here}
        return block

    def peek(self) -> Block | None:
        """The same, which goes on."""
        return Block(self._sheet, self.ears, self._marks) if self._marks else None


class Capture:
    """The frames of a node. `put` takes blocks for good, some ticks' at once; it must not wait.

    Overflow rule: while `full` says so there is no more memory for frames; the newest are left out, and counted.
    """

    def __init__(self, put: Callable[[list[Block]], None], full: Callable[[], bool] = lambda: False) -> None:
        self.ticks = 0
        """Ticks that are over."""
        self.left_out = 0
        """Frames of all calls."""
        self._reels: dict[int, _Reel] = {}
        self._tracks: dict[Track, int] = {}
        self._ended: list[Block] = []
        self._after: list[Callable[[], None]] = []
        self._ears = 0
        self._put = put
        self._full = full

    def join(self, member: Member, rate: int, sinks: tuple[Any, Any]) -> Track:
        """Keep what this member says and hears from the next tick on; `rate`: of its bridge."""
        reel = self._reels.get(rate)
        if reel is None:
            reel = self._reels[rate] = _Reel(rate)
        ears = [Ear(self._ears + at, self.ticks, reel.frame_bytes, sink) for at, sink in enumerate(sinks)]
        self._ears += 2
        return self.rejoin(Track(member, self.ticks, ears[0], ears[1]), member, rate)

    def rejoin(self, track: Track, member: Member, rate: int) -> Track:
        """A track goes on, on another seat."""
        track.member, track.end = member, None
        self._tracks[track] = rate
        for ear in (track.said, track.heard):
            self._reels[rate].ears[ear.number] = ear
        self._seat(rate)
        return track

    def part(self, track: Track) -> None:
        """It has left its seat."""
        track.end = self.ticks
        rate = self._tracks.pop(track, None)
        if rate is not None:
            self._seat(rate)

    def after(self, work: Callable[[], None]) -> None:
        """Do this once all that there is has been handed on: with the block that is being made, or now."""
        self._after.append(work)
        if not self._tracks:
            self.hand_on()  # perhaps no tick comes any more

    def tick(self) -> None:
        """The tick ends, and with it the life of its frames."""
        for reel in self._reels.values():
            frames, numbers = reel.gather()
            if frames and not reel.keep(self.ticks, frames, numbers):
                self._no_room(reel, frames, numbers)
        self.ticks += 1
        if not self.ticks % BLOCK_TICKS:
            self.hand_on()

    def skip(self, ticks: int) -> None:
        """Nothing was said and heard for so long."""
        self.hand_on()
        self.ticks += ticks

    def hand_on(self) -> None:
        """Let go of what there is."""
        blocks, self._ended = self._ended, []
        blocks += [block for reel in self._reels.values() if (block := reel.end()) is not None]
        if blocks:
            self._put(blocks)
        after, self._after = self._after, []
        for work in after:
            work()

    def blocks(self) -> list[Block]:
        """What was not handed on yet."""
        return [*self._ended, *(block for reel in self._reels.values() if (block := reel.peek()) is not None)]

    def _no_room(self, reel: _Reel, frames: list[Frame], numbers: list[int]) -> None:
        """More speak than before, or the sound is not taken fast enough."""
        if self._full():
            self.left_out += len(frames)
            return
        if (block := reel.end()) is not None:
            self._ended.append(block)
        reel.grow(len(frames))
        reel.keep(self.ticks, frames, numbers)

    def _seat(self, rate: int) -> None:
        self._reels[rate].seats = tuple(
            (track.member, track.said.number, track.heard.number) for track, at in self._tracks.items() if at == rate
        )


def _room(rows: int, before: int) -> int:
    """Rows of a sheet for blocks of so many, when one of `before` was too small, or was not given back in time."""
    enough = int(rows * _SPARE)
    return enough if before < enough else min(before * 3 // 2, rows * _MOST_SPARE)


def _fitted(frame: Frame, size: int) -> bytes:
    """A frame of another length, cut or filled with silence so that the others keep their place."""
    return frame.tobytes()[:size].ljust(size, b"\0")
