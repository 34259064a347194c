"""Port and Bridge: everything audible is a port, one bridge mixes a call, one tick pulls it (mix-minus).

A frame handed over is a view that is valid until the tick ends; whoever keeps it copies it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from offhook.audio.pcm import Frame, mix, samples_per_frame, saturate, total
from offhook.errors import AudioError


class Port(Protocol):
    """A place on a bridge. It never runs by itself; each tick calls `read` once, then `write` once."""

    def read(self) -> Frame | None:
        """The next 20 ms from this port; None means that no source is there, which is not silence."""

    def write(self, mix: Frame | None, heard: Sequence[Member]) -> None:
        """The next 20 ms for this port: the sum of the others (None: nobody said anything), and each of them."""


class Tap(Protocol):
    """Somebody who notes what a bridge says, and is no member: nobody hears it."""

    def hear(self, members: Sequence[Member]) -> None:
        """Every member with what it said in this tick; frames are views that are valid until the tick ends."""

    def failed(self, error: Exception) -> None:
        """`hear` raised: it is asked no more."""


class Member:
    """One port's seat on a bridge: whom it hears, who hears it, and what it said in this tick.

    `frame` is what others may hear of it; for taps there are `said`, what came of its port, muted or not, and `given`,
    the mix that its port was given. All three are views that are valid until the tick ends.
    """

    __slots__ = (
        "audience",
        "circle",
        "frame",
        "given",
        "hears",
        "held",
        "label",
        "listens",
        "muted",
        "port",
        "read",
        "said",
        "write",
    )

    def __init__(self, port: Port, label: str | None, listens: bool) -> None:
        self.port = port
        self.label = label
        self.listens = listens
        self.read = port.read
        self.write = port.write
        self.muted = False
        self.held = False
        self.audience: frozenset[Member] | None = None
        self.frame: Frame | None = None
        self.said: Frame | None = None
        self.given: Frame | None = None
        self.hears: tuple[Member, ...] = ()
        self.circle: _Circle = (False, ())

    def part(self) -> None:
        """It has no seat any more: it says nothing, and lets go of the others."""
        self.frame = self.said = self.given = None
        self.hears, self.circle = (), (False, ())


_Circle = tuple[bool, tuple[Member, ...]]
"""Whom a member hears, itself apart: whether those whom everybody hears, and who names it in their audience."""


class Bridge:
    """The ports of one call at one rate; gives each the sum of the others. `tick` never raises.

    A port that raises is taken off and reported to `failed`; the call goes on.
    """

    def __init__(self, rate: int, failed: Callable[[Port, Exception], None]) -> None:
        self.rate = rate
        self._failed = failed
        self._members: list[Member] = []
        self._changed = False
        self._pair: tuple[Member, Member] | None = None
        self._crowd = False
        self._taps: tuple[Tap, ...] = ()

    @property
    def members(self) -> tuple[Member, ...]:
        """The seats in order of joining."""
        return tuple(self._members)

    def add(self, port: Port, label: str | None = None, *, listens: bool = True) -> Member:
        """Seat a port. `label` names the participant it carries (raw id); None for the app's stream.

        Nothing is mixed for a port that does not listen.
        """
        member = Member(port, label, listens)
        self._members.append(member)
        self._changed = True
        return member

    def remove(self, port: Port) -> None:
        """Take a port off; nothing happens when it is not on the bridge."""
        for member in self._members:
            if member.port is port:
                # Its frame is a view of what may be another port's by the next tick.
                member.part()
        self._members = [m for m in self._members if m.port is not port]
        self._changed = True

    def close(self) -> None:
        """The call is over: let go of everything, so that nothing waits for the garbage collector."""
        for member in self._members:
            member.part()
        self._members, self._pair, self._taps = [], None, ()
        self._failed = _nobody

    def mute(self, member: Member, muted: bool) -> None:
        """A muted member hears, and is not heard."""
        member.muted = muted
        self._changed = True

    def hold(self, member: Member, held: bool) -> None:
        """A held member is not heard, and hears only those whose audience names it."""
        member.held = held
        self._changed = True

    def set_audience(self, member: Member, audience: frozenset[Member] | None) -> None:
        """Who hears this member; None is everyone else."""
        member.audience = audience
        self._changed = True

    def tap(self, tap: Tap) -> None:
        """Let somebody note what is said, from the next tick on."""
        self._taps = (*self._taps, tap)

    def untap(self, tap: Tap) -> None:
        """That is over; nothing happens when it was over before."""
        self._taps = tuple(other for other in self._taps if other is not tap)

    def tick(self) -> None:
        """Move 20 ms: read every port once, then write to every port what it hears, then tell taps."""
        self._exchange()
        for tap in self._taps:
            try:
                tap.hear(self._members)
            except Exception as error:
                self.untap(tap)
                tap.failed(error)

    def _exchange(self) -> None:
        if self._changed:
            self._seat()
        if self._pair is not None:
            self._tick_pair(self._pair)
            return
        members, length = self._members, samples_per_frame(self.rate)
        for member in members:
            try:
                frame = member.read()
                if frame is not None and len(frame) != length:
                    raise AudioError(f"a frame of {len(frame)} samples cannot be mixed with those of {length}")
            except Exception as error:
                self._drop(member, error)
                frame = None
            member.said = frame
            member.frame = None if member.muted or member.held else frame
        if self._crowd:
            self._share(members)
            return
        for member in members:
            hears = member.hears
            try:
                mix = member.given = hears[0].frame if len(hears) == 1 else self._sum(hears)
                member.write(mix, hears)
            except Exception as error:
                self._drop(member, error)

    def _tick_pair(self, pair: tuple[Member, Member]) -> None:
        """The tick of two who plainly hear each other, which is what nearly all calls are: nothing to sum."""
        one, two = pair
        at = one
        two.frame = two.said = one.given = two.given = None  # for taps, should the first one fail
        try:
            first = one.frame = one.said = one.read()
            at = two
            second = two.frame = two.said = two.read()
            at = one
            one.given = second
            one.write(second, one.hears)
            at = two
            two.given = first
            two.write(first, two.hears)
        except Exception as error:
            self._drop(at, error)

    def _share(self, members: Sequence[Member]) -> None:
        """Many: what those hear who hear the same is summed once, and everybody's own share taken off it."""
        free = [member.frame for member in members if member.audience is None and member.frame is not None]
        sums: dict[_Circle, tuple[Frame | None, npt.NDArray[np.int32] | None]] = {}
        for member in members:
            circle = member.circle
            if circle not in sums:
                named = [speaker.frame for speaker in circle[1] if speaker.frame is not None]
                sums[circle] = _summed([*free, *named] if circle[0] else named)
            whole, wide = sums[circle]
            if circle[0] and member.audience is None and member.frame is not None:
                whole = None if wide is None else saturate(wide - member.frame)
            member.given = whole
            try:
                member.write(whole, member.hears)
            except Exception as error:
                self._drop(member, error)

    def _seat(self) -> None:
        """Work out who hears whom; done on change, so that a tick only follows it."""
        self._changed = False
        members = self._members
        free = [m for m in members if m.audience is None]
        some = [(m, m.audience) for m in members if m.audience is not None]
        for member in members:
            everybody = member.listens and not member.held
            named = tuple(m for m, audience in some if member in audience and m is not member and member.listens)
            member.circle = (everybody, named)
            member.hears = (*(m for m in free if m is not member), *named) if everybody else named
        plain = len(members) == 2 and not some and not any(m.muted or m.held or not m.listens for m in members)
        self._pair = (members[0], members[1]) if plain else None
        self._crowd = len(members) > 3

    @staticmethod
    def _sum(hears: Sequence[Member]) -> Frame | None:
        frames = [m.frame for m in hears if m.frame is not None]
        if len(frames) < 2:
            return frames[0] if frames else None
        return mix(frames)

    def _drop(self, member: Member, error: Exception) -> None:
        """Off with it, without touching the list that the tick is walking."""
        self.remove(member.port)
        member.frame = member.said = member.given = None
        self._failed(member.port, error)


def _summed(frames: Sequence[Frame]) -> tuple[Frame | None, npt.NDArray[np.int32] | None]:
    """Frames as they are heard together, and their sum in 32 bits; one alone is handed on as it is, without a sum."""
    if len(frames) < 2:
        return (frames[0] if frames else None), None
    wide = total(frames)
    return saturate(wide.copy()), wide


def _nobody(port: Port, error: Exception) -> None:
    """Where failures go once the call is over."""
