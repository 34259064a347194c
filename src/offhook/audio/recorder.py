"""Recorder: writes down what is said on a bridge, one block of every channel each tick (architecture.md).

It hears what people hear: the playout buffers' samples, so that audio which StopAudio cut is not there, prompts too;
muted and held people are silent, and what only they are played on hold is not part of the talk. Nobody hears it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from offhook.audio.bridge import Member
from offhook.audio.pcm import Frame, saturate, silence

Put = Callable[[Frame], None]
"""Takes a block for good: shape (samples,) of mixed sound, (samples, channels) of unmixed. It must not wait."""


class Channels:
    """Who is on which channel of an unmixed recording.

    People have the `people` first channels: those who are named theirs, others in the order in which they are first
    there the lowest free one; who finds none free shares the last. The channel after these holds what has no
    participant: the audio of apps and prompts.
    """

    def __init__(self, people: int, named: Sequence[tuple[int, str]]) -> None:
        self.count = people + 1
        self._people = people
        self._of: dict[str, int] = {label: channel for channel, label in named}
        self._taken = set(self._of.values())

    def of(self, label: str | None) -> int:
        """The channel of somebody, for ever; None is for what has no participant."""
        if label is None:
            return self._people
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
        self._quiet = silence(rate)
        self.hear: Callable[[Sequence[Member]], None] = self._mix if channels is None else self._separate

    def _mix(self, members: Sequence[Member]) -> None:
        """One block with the sum of everybody."""
        people, frames = self.people, []
        for member in members:
            if member.label is not None and member.label not in people:
                people[member.label] = None
            if member.frame is not None and not _aside(member):
                frames.append(member.frame)
        if not frames:
            self._put(self._quiet)
        elif len(frames) == 1:
            self._put(frames[0].copy())
        else:
            total = frames[0].astype(np.int32)
            for frame in frames[1:]:
                total += frame
            self._put(saturate(total))

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
            if frame is None or _aside(member):
                continue
            if column in filled:
                block[:, column] = saturate(block[:, column].astype(np.int32) + frame)
            else:
                block[:, column] = frame
                filled.add(column)
        self._put(block)


def _aside(member: Member) -> bool:
    """Whether only people on hold hear it."""
    return member.audience is not None and all(listener.held for listener in member.audience)
