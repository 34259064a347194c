"""Capture: what each leg of all calls said and heard, frame by frame, for somebody who keeps it.

`said` is what came from the leg, before mute and hold; `heard` is the mix that its port was given. Both are at the
rate of the bridge and gain one frame a tick while the leg has its seat; where nothing came there is silence.
Keys that a leg plays to its endpoint instead of the mix are not in it, for the leg makes them itself.

Cheap on purpose: a tick only notes where the frames are, and what all calls said and heard is copied in one go at its
end, into one block, in order. A frame of silence is not noted at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, cast

from offhook.audio.bridge import Member
from offhook.audio.pcm import FRAMES_PER_SECOND, Frame, samples_per_frame, silence

BLOCK_TICKS: Final = FRAMES_PER_SECOND
"""Ticks whose sound is handed on together."""

Side = Literal["said", "heard"]
SIDES: Final[tuple[Side, Side]] = ("said", "heard")


class Ear:
    """One side of one leg. `begin` is the tick of its first frame, `sink` belongs to who keeps the sound."""

    __slots__ = ("begin", "frame_bytes", "sink")

    def __init__(self, begin: int, frame_bytes: int, sink: Any) -> None:
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


Block = tuple[int, list[Ear], bytes]
"""A tick, whose frames there are in it, and the frames in that order."""


class Capture:
    """The frames of a node. `put` takes blocks for good, some ticks' at once; it must not wait."""

    def __init__(self, put: Callable[[list[Block]], None]) -> None:
        self.ticks = 0
        """Ticks that are over."""
        self.frames: list[Frame] = []
        self.ears: list[Ear] = []
        self.blocks: list[Block] = []
        """Blocks that were not handed on yet."""
        self._order: list[Ear] = []
        self._size = 0
        self._put = put

    def tick(self) -> None:
        """The tick ends, and with it the life of its frames."""
        if self.frames:
            block = b"".join(cast("list[bytes]", self.frames))
            if self.ears != self._order:
                self._order = self.ears.copy()  # many ticks have the same one
                self._size = sum(ear.frame_bytes for ear in self._order)
            if len(block) != self._size:
                block = b"".join(map(_fitted, self.frames, self._order))
            self.blocks.append((self.ticks, self._order, block))
            self.frames.clear()
            self.ears.clear()
        self.ticks += 1
        if not self.ticks % BLOCK_TICKS:
            self.hand_on()

    def hand_on(self) -> None:
        """Let go of what there is."""
        if self.blocks:
            self._put(self.blocks)
            self.blocks = []


class CallTap:
    """The tap of one call's bridge."""

    def __init__(self, capture: Capture, rate: int, failed: Callable[[Exception], None]) -> None:
        self.failed = failed
        self.frame_bytes = 2 * samples_per_frame(rate)
        self._still = silence(rate)
        self._capture = capture
        self._tracks: list[Track] = []
        self._ears: tuple[tuple[Member, Ear, Ear], ...] = ()
        self._see, self._note = capture.frames.append, capture.ears.append

    def join(self, member: Member, sinks: tuple[Any, Any]) -> Track:
        """Keep what this member says and hears from the next tick on."""
        begin = self._capture.ticks
        said, heard = (Ear(begin, self.frame_bytes, sink) for sink in sinks)
        return self.rejoin(Track(member, begin, said, heard), member)

    def rejoin(self, track: Track, member: Member) -> Track:
        """A track goes on, on another seat."""
        track.member, track.end = member, None
        self._tracks.append(track)
        self._listen()
        return track

    def part(self, track: Track) -> None:
        """It has left its seat."""
        track.end = self._capture.ticks
        self._tracks = [other for other in self._tracks if other is not track]
        self._listen()

    def hear(self, members: Sequence[Member]) -> None:
        """See `Tap`."""
        see, note, still = self._see, self._note, self._still
        for member, said, heard in self._ears:
            frame = member.said
            if frame is not None and frame is not still:
                see(frame)
                note(said)
            frame = member.given
            if frame is not None and frame is not still:
                see(frame)
                note(heard)

    def _listen(self) -> None:
        self._ears = tuple((track.member, track.said, track.heard) for track in self._tracks)


def _fitted(frame: Frame, ear: Ear) -> bytes:
    """A frame of another length, cut or filled with silence so that the others keep their place."""
    return frame.tobytes()[: ear.frame_bytes].ljust(ear.frame_bytes, b"\0")
