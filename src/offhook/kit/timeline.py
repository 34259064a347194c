"""What is due when the caller has heard so much: things in the order of their place in the app's sound. No I/O.

A place is counted in samples of the stream, from the first sample that was ever put. Sound that was cut is counted
as if it had been heard, so that places only grow.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final, Generic, TypeVar

from offhook.kit.playback import Playback

T = TypeVar("T")

_WORD: Final = re.compile(r"\s*\S+\s*")


class Timeline(Generic[T]):
    """Sound of one call, as playbacks in order, and the things that are due at places in it."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._sounds: deque[tuple[Playback, int]] = deque()  # not heard whole, each with where it begins
        self._due: list[tuple[int, int, T]] = []
        self._count = 0
        self._heard = 0
        self.end = 0
        """Where the sound ends that was put."""

    @property
    def heard(self) -> int:
        """The place up to which the caller has heard, as of the last `advance`."""
        return self._heard

    @property
    def quiet(self) -> bool:
        """All that was put has been heard."""
        return self._heard >= self.end

    def sound(self, playback: Playback, samples: int) -> None:
        """More sound, behind all that is there; `playback` tells how much of it has been heard."""
        self._sounds.append((playback, self.end))
        self.end += samples

    def add(self, place: int, thing: T) -> None:
        """`thing` is due once the sound before `place` has been heard; of equal places the first added comes first."""
        self._count += 1
        heappush(self._due, (place, self._count, thing))

    def advance(self) -> bool:
        """Note what has been heard by now; False when what is being heard has been cut by somebody else."""
        while self._sounds:
            playback, begins = self._sounds[0]
            if playback.cut:
                self._heard = max(self._heard, self._inside(playback, begins))
                return False
            if not playback.done:
                self._heard = max(self._heard, self._inside(playback, begins))
                return True
            self._sounds.popleft()
            self._heard = max(self._heard, self._sounds[0][1] if self._sounds else self.end)
        self._heard = self.end
        return True

    def take(self) -> list[T]:
        """What is due, in order."""
        if not self._due or self._due[0][0] > self._heard:
            return []
        things = []
        while self._due and self._due[0][0] <= self._heard:
            things.append(heappop(self._due)[2])
        return things

    def cut(self) -> list[tuple[int, T]]:
        """The sound that was not heard is gone; what was due in it, in order, with how far behind what was heard."""
        self.advance()
        dropped = [(place - self._heard, thing) for place, _, thing in sorted(self._due, key=lambda due: due[:2])]
        self._due.clear()
        self._sounds.clear()
        self.end = self._heard
        return dropped

    @property
    def waiting(self) -> list[T]:
        """What is not due yet, in no order."""
        return [thing for _, _, thing in self._due]

    def keep(self, wanted: Callable[[T], bool]) -> None:
        """Forget the things that are not wanted; the sound goes on."""
        self._due = sorted((due for due in self._due if wanted(due[2])), key=lambda due: due[:2])

    def pull_in(self) -> None:
        """No more sound comes: what would be due behind its end is due at its end."""
        in_order = sorted(self._due, key=lambda due: due[:2])
        self._due = [(min(place, self.end), number, thing) for number, (place, _, thing) in enumerate(in_order)]
        self._count = len(in_order)

    def _inside(self, playback: Playback, begins: int) -> int:
        return begins + round(playback.heard_ms * self._rate / 1000)


def words(text: str) -> list[tuple[str, float]]:
    """The words of a text with the white space around them, and how much of the text is spoken at each one's end.

    Shares go by letters, as if every letter took as long: the last is 1.
    """
    found = _WORD.findall(text)
    total, so_far, shares = sum(len(word.strip()) for word in found), 0, []
    for word in found:
        so_far += len(word.strip())
        shares.append((word, so_far / total))
    return shares
