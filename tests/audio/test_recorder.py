"""What a recorder makes of the ticks of a bridge: mixed, and a channel for each."""

from __future__ import annotations

import numpy as np
import pytest
from tests.audio.test_bridge import RATE, Broken, Constant, bridge

from offhook.audio.bridge import Bridge, Member
from offhook.audio.recorder import Block, Channels, Recorder


class Taken:
    """A tap that keeps the blocks."""

    def __init__(self, channels: Channels | None = None) -> None:
        self.blocks: list[Block] = []
        self.errors: list[Exception] = []
        self.recorder = Recorder(RATE, channels, self.blocks.append)
        self.hear = self.recorder.hear

    def failed(self, error: Exception) -> None:
        self.errors.append(error)

    def levels(self) -> list[object]:
        """The first sample of each block."""
        return [block[0].tolist() for block in self.blocks]


def seated(*values: int | None) -> tuple[Bridge, list[Constant], list[Member]]:
    room, _ = bridge()
    ports = [Constant(value) for value in values]
    return room, ports, [room.add(port, f"4:{number}") for number, port in enumerate(ports)]


def test_mixed_is_the_sum_of_everybody() -> None:
    for values, level in (
        ((1, 2), 3),
        ((1, None), 1),
        ((None, None), 0),
        ((1, 2, 4, 8), 15),
        ((30000, 30000, 1), 60001),
    ):
        room, _, _ = seated(*values)
        tap = Taken()
        room.tap(tap)
        room.tick()
        assert tap.levels() == [level]
        assert len(tap.blocks[0]) == 320


def test_nobody_hears_it_and_pairs_stay_pairs() -> None:
    room, ports, _ = seated(1, 2)
    room.tap(Taken())
    room.tick()
    assert [port.heard for port in ports] == [[2], [1]]


def test_muted_and_held_people_are_silent_and_whom_some_hear_is_there() -> None:
    room, _, members = seated(1, 2, 4)
    some = room.add(Constant(8))
    room.set_audience(some, frozenset(members[:1]))
    tap = Taken()
    room.tap(tap)
    room.tick()
    room.mute(members[1], True)
    room.hold(members[2], True)
    room.tick()
    assert tap.levels() == [15, 9]


@pytest.mark.parametrize("channels", [None, Channels(5, [])])
def test_what_only_people_on_hold_hear_is_not_in_it(channels: Channels | None) -> None:
    room, _, members = seated(1, 2)
    music = room.add(Constant(64))
    room.set_audience(music, frozenset(members[:1]))
    tap = Taken(channels)
    room.tap(tap)
    room.hold(members[0], True)
    room.tick()
    room.hold(members[0], False)
    room.tick()
    assert tap.levels() == ([2, 67] if channels is None else [[0, 2, 0, 0, 0, 0], [1, 2, 0, 0, 0, 64]])


@pytest.mark.parametrize("channels", [None, Channels(5, [])])
def test_what_an_app_says_to_nobody_is_not_in_it(channels: Channels | None) -> None:
    """While those who would hear it are on hold, and before anybody has come; people are in it whoever hears them."""
    room, ports, members = seated(1)
    room.add(Constant(64))
    room.add(Constant(None))
    tap = Taken(channels)
    room.tap(tap)
    room.hold(members[0], True)
    room.tick()
    room.hold(members[0], False)
    room.tick()
    room.remove(ports[0])
    room.tick()
    assert tap.levels() == ([0, 65, 0] if channels is None else [[0] * 6, [1, 0, 0, 0, 0, 64], [0] * 6])


@pytest.mark.parametrize("channels", [None, Channels(5, [])])
def test_a_port_that_fails_leaves_nothing_of_an_earlier_tick(channels: Channels | None) -> None:
    room, _ = bridge()
    frames = iter([np.full(320, 1, np.int16)])
    failing = Constant(1)
    failing.read = lambda: next(frames)  # type: ignore[method-assign]
    room.add(failing, "4:0")
    room.add(Constant(2), "4:1")
    tap = Taken(channels)
    room.tap(tap)
    for _ in range(3):
        room.tick()
    second = tap.levels()[1]
    assert second in (0, [0] * 6), "the other one was not read in the tick of the failure"


def test_blocks_are_copies() -> None:
    room, _ = bridge()
    frame = np.full(320, 5, np.int16)
    port = Constant(None)
    port.read = lambda: frame  # type: ignore[method-assign]
    room.add(port, "4:1")
    tap = Taken()
    room.tap(tap)
    room.tick()
    frame[:] = 0
    assert tap.levels() == [5]


def test_a_channel_for_each_and_one_for_what_has_no_participant() -> None:
    room, ports, members = seated(1, 2)
    room.add(Constant(64))
    room.add(Constant(32))
    tap = Taken(Channels(5, [(0, "4:1"), (3, "4:5")]))
    room.tap(tap)
    room.tick()
    late = Constant(4)
    room.add(late, "4:5")
    room.remove(ports[1])
    room.tick()
    room.add(ports[1], "4:1")
    room.tick()
    assert tap.levels() == [[2, 1, 0, 0, 0, 96], [0, 1, 0, 4, 0, 96], [2, 1, 0, 4, 0, 96]]
    assert list(tap.recorder.people) == ["4:0", "4:1", "4:5"]


def test_an_app_that_is_named_has_that_channel() -> None:
    channels = Channels(5, [(1, "4:9")], ["8:app", "4:9"])
    assert [channels.of(label) for label in (None, "4:1", "4:2", "4:3")] == [1, 0, 2, 3]


def test_people_beyond_the_channels_share_the_last() -> None:
    room, _, _ = seated(1, 2, 4, 8)
    channels = Channels(3, [])
    tap = Taken(channels)
    room.tap(tap)
    room.tick()
    assert tap.levels() == [[1, 2, 12, 0]]
    assert channels.known == {"4:0": 0, "4:1": 1, "4:2": 2, "4:3": 2}


def test_a_port_that_raises_is_silent_and_a_tap_that_raises_is_asked_no_more() -> None:
    room, failures = bridge()
    room.add(Constant(1), "4:0")
    room.add(Broken(2), "4:1")
    tap = Taken()
    room.tap(tap)
    room.tick()
    assert tap.levels() == [1] and len(failures) == 1

    def full(members: object) -> None:
        raise OSError("full")

    tap.hear = full
    heard = Constant(9)
    room.add(heard, "4:2")
    room.tick()
    room.tick()
    assert len(tap.errors) == 1 and heard.heard == [1, 1]
    room.untap(tap)
