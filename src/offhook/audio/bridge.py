"""Port and Bridge: everything audible is a port, one bridge mixes a call, one tick pulls it (mix-minus).

A frame handed over is a view that is valid until the tick ends; whoever keeps it copies it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from offhook.audio.pcm import Frame, mix, mix_minus, samples_per_frame
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
    """One port's seat on a bridge: whom it hears, who hears it, and what it said in this tick."""

    __slots__ = ("audience", "frame", "hears", "held", "label", "muted", "port", "read", "write")

    def __init__(self, port: Port, label: str | None) -> None:
        self.port = port
        self.label = label
        self.read = port.read
        self.write = port.write
        self.muted = False
        self.held = False
        self.audience: frozenset[Member] | None = None
        self.frame: Frame | None = None
        self.hears: tuple[Member, ...] = ()


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

    def add(self, port: Port, label: str | None = None) -> Member:
        """Seat a port. `label` names the participant it carries (raw id); None for the app's stream."""
        member = Member(port, label)
        self._members.append(member)
        self._changed = True
        return member

    def remove(self, port: Port) -> None:
        """Take a port off; nothing happens when it is not on the bridge."""
        for member in self._members:
            if member.port is port:
                # Its frame is a view of what may be another port's by the next tick.
                member.hears, member.frame = (), None
        self._members = [m for m in self._members if m.port is not port]
        self._changed = True

    def close(self) -> None:
        """The call is over: let go of everything, so that nothing waits for the garbage collector."""
        for member in self._members:
            member.hears = ()
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
            member.frame = None if member.muted or member.held else frame
        if self._crowd:
            self._share(members)
            return
        for member in members:
            hears = member.hears
            try:
                if len(hears) == 1:
                    member.write(hears[0].frame, hears)
                else:
                    member.write(self._sum(hears), hears)
            except Exception as error:
                self._drop(member, error)

    def _tick_pair(self, pair: tuple[Member, Member]) -> None:
        """The tick of two who plainly hear each other, which is what nearly all calls are: nothing to sum."""
        one, two = pair
        at = one
        try:
            first = one.frame = one.read()
            at = two
            second = two.frame = two.read()
            at = one
            one.write(second, one.hears)
            at = two
            two.write(first, two.hears)
        except Exception as error:
            self._drop(at, error)

    def _share(self, members: Sequence[Member]) -> None:
        """Many who all hear each other: one sum, from which everybody's own share is taken."""
        speaking = [(member, member.frame) for member in members if member.frame is not None]
        frames = [frame for _, frame in speaking]
        total: Frame | None = None
        others: Sequence[Frame | None] = [None]
        if len(frames) > 1:
            total, others = mix(frames), mix_minus(frames)
        elif frames:
            total = frames[0]
        own = {member: rest for (member, _), rest in zip(speaking, others, strict=False)}
        for member in members:
            try:
                member.write(None if member.held else own.get(member, total), member.hears)
            except Exception as error:
                self._drop(member, error)

    def _seat(self) -> None:
        """Work out who hears whom; done on change, so that a tick only follows it."""
        self._changed = False
        members = self._members
        for member in members:
            member.hears = tuple(m for m in members if self._hears(member, m))
        plain = len(members) == 2 and not any(m.muted or m.held or m.audience is not None for m in members)
        self._pair = (members[0], members[1]) if plain else None
        self._crowd = len(members) > 3 and all(m.audience is None for m in members)

    @staticmethod
    def _hears(listener: Member, speaker: Member) -> bool:
        if speaker is listener:
            return False
        return not listener.held if speaker.audience is None else listener in speaker.audience

    @staticmethod
    def _sum(hears: Sequence[Member]) -> Frame | None:
        frames = [m.frame for m in hears if m.frame is not None]
        if len(frames) < 2:
            return frames[0] if frames else None
        total = frames[0].astype(np.int32)
        for frame in frames[1:]:
            total += frame
        return np.clip(total, -32768, 32767).astype(np.int16)

    def _drop(self, member: Member, error: Exception) -> None:
        """Off with it, without touching the list that the tick is walking."""
        self.remove(member.port)
        member.frame = None
        self._failed(member.port, error)


def _nobody(port: Port, error: Exception) -> None:
    """Where failures go once the call is over."""
