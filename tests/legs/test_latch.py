"""Whose packets are heard: NATs are followed, strangers are not."""

from __future__ import annotations

import pytest

from offhook.audio.rtp import Packet
from offhook.legs.latch import PROBATION, SILENT_SECONDS, Latch

TOLD, NAT, STRANGER = ("192.168.1.5", 4000), ("198.51.100.3", 6000), ("203.0.113.9", 7000)


class Stream:
    """A latch and a clock; `send` says how many of some packets in turn were heard."""

    def __init__(self, *, anywhere: bool = False, near: str = NAT[0]) -> None:
        self.now = 10.0
        self.heard_at: float | None = None
        self.latch = Latch(anywhere=anywhere)
        self.latch.signal(TOLD, near, self.now)
        self.numbers: dict[tuple[str, int], int] = {}

    def send(self, source: tuple[str, int], count: int = 1) -> int:
        heard = 0
        for _ in range(count):
            self.now += 0.02
            number = self.numbers[source] = self.numbers.get(source, 0) + 1
            if self.latch.admits(source, Packet(0, False, number, 0, 1, b""), self.now, self.heard_at):
                self.heard_at = self.now
                heard += 1
        return heard


def test_who_was_signalled_is_heard_at_once() -> None:
    stream = Stream()
    assert stream.send(TOLD, 5) == 5 and stream.latch.remote == TOLD


def test_a_phone_behind_a_nat_is_heard_from_where_its_signalling_comes() -> None:
    stream = Stream()
    assert stream.send(NAT, 10) == 10 - PROBATION + 1
    assert stream.latch.remote == NAT


def test_a_stranger_is_never_heard_and_draws_nothing() -> None:
    stream = Stream()
    assert stream.send(STRANGER, 100) == 0 and stream.latch.remote == TOLD
    assert stream.send(TOLD, 2) == 2


def test_where_it_is_allowed_anybody_may_come_first_and_nobody_after() -> None:
    stream = Stream(anywhere=True, near="")
    assert stream.send(NAT, 10) == 8
    assert sum(stream.send(STRANGER) + 0 * stream.send(NAT) for _ in range(50)) == 0
    assert stream.latch.remote == NAT


def test_a_nat_that_moves_the_phone_is_followed_once_it_is_silent() -> None:
    stream, moved = Stream(), (NAT[0], 6999)
    stream.send(NAT, 10)
    assert stream.send(moved, 10) == 0
    stream.now += SILENT_SECONDS
    assert stream.send(moved, 10) == 10 - PROBATION + 1
    assert stream.latch.remote == moved


def test_packets_that_only_repeat_are_not_believed() -> None:
    stream = Stream()
    stream.numbers[NAT] = 0
    for _ in range(10):
        stream.numbers[NAT] = 0
        assert stream.send(NAT) == 0


@pytest.mark.parametrize("anywhere", [False, True])
def test_another_port_of_the_signalled_host(anywhere: bool) -> None:
    """What is sent still goes where it was told to go, unless everything is followed."""
    stream, other = Stream(anywhere=anywhere, near=TOLD[0]), (TOLD[0], 4999)
    assert stream.send(other, 5) == 3
    assert stream.latch.remote == (other if anywhere else TOLD)


def test_a_hold_changes_nothing_and_another_place_everything() -> None:
    stream = Stream()
    stream.send(NAT, 5)
    stream.latch.signal(TOLD, NAT[0], stream.now)
    assert stream.send(NAT) == 1 and stream.latch.remote == NAT
    stream.latch.signal(STRANGER, STRANGER[0], stream.now)
    assert stream.send(NAT, 20) == 0, "late packets of the place before"
    assert stream.send(STRANGER) == 1
