"""Recorder: writes down what is said on a bridge, one block of every channel each tick (architecture.md).

It hears what people hear: the playout buffers' samples, so that audio which StopAudio cut is not there, prompts too;
muted and held people are silent, and what only they are played on hold is not part of the talk, nor is what an app says
while nobody is there to hear it. Nobody hears it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import numpy.typing as npt

from offhook.audio.bridge import Member
from offhook.audio.pcm import saturate, silence

Block = npt.NDArray[np.int16] | npt.NDArray[np.int32]
"""A tick's sound: shape (samples, channels) of unmixed, (samples,) of mixed. That is a plain sum in 32 bits, which is
held at the ends of the range by who writes it, off the tick."""

Put = Callable[[Block], None]
"""Takes a block for good. It must not wait."""


class Channels:
    """Who is on which channel of an unmixed recording.

    People have the `people` first channels: those who are named theirs, others in the order in which they are first
    there the lowest free one; who finds none free shares the last. The channel after these holds what has no
    participant, the audio of apps and prompts, unless one of `apps`, labels that apps go by, is named a channel.
    """

    def __init__(self, people: int, named: Sequence[tuple[int, str]], apps: Collection[str] = ()) -> None:
        self.count = people + 1
        self._people = people
        self._rest = next((channel for channel, label in named if label in apps), people)
        self._of: dict[str, int] = {label: channel for channel, label in named}
        self._taken = set(self._of.values())

    def of(self, label: str | None) -> int:
        """The channel of somebody, for ever; None is for what has no participant."""
        if label is None:
            return self._rest
        channel = self._of.get(label)
        if channel is None:
            channel = next((free for free in range(self._people) if free not in self._taken), self._people - 1)
            self._of[label] = channel
            self._taken.add(channel)
        return channel

    @property
    def known(self) -> dict[str, int]:
        """Channels by label."""
        return dict(self._of)


class Recorder:
    """What a tap of a bridge does. `channels` None: everything mixed into one."""

    def __init__(self, rate: int, channels: Channels | None, put: Put) -> None:
        self.rate = rate
        self.people: dict[str, None] = {}
        """Who was there while it recorded, in the order of coming."""
        self._channels = channels
        self._put = put
        self._quiet = silence(rate).astype(np.int32)
        self.hear: Callable[[Sequence[Member]], None] = self._mix if channels is None else self._separate

    def _mix(self, members: Sequence[Member]) -> None:
        """One block with the sum of everybody."""
        people = self.people
        total: npt.NDArray[np.int32] | None = None
        for member in members:
            label, frame = member.label, member.frame
            if label is not None and label not in people:
                people[label] = None
            if frame is None or (label is None and _unheard(member, members)):
                continue
            if total is None:
                total = frame.astype(np.int32)
            else:
                total += frame
        self._put(self._quiet if total is None else total)

    def _separate(self, members: Sequence[Member]) -> None:
        """One block with everybody in a column."""
        channels, people = self._channels, self.people
        assert channels is not None
        block = np.zeros((len(self._quiet), channels.count), np.int16)
        filled = set()
        for member in members:
            label = member.label
            if label is not None and label not in people:
                people[label] = None
            column, frame = channels.of(label), member.frame
            if frame is None or (label is None and _unheard(member, members)):
                continue
            if column in filled:
                block[:, column] = saturate(block[:, column].astype(np.int32) + frame)
            else:
                block[:, column] = frame
                filled.add(column)
        self._put(block)


def _unheard(member: Member, members: Sequence[Member]) -> bool:
    """Whether nobody but people on hold, and apps, is there to hear it."""
    listeners = members if member.audience is None else member.audience
    return all(listener.held or listener.label is None for listener in listeners)
