"""The jitter buffer on a clock that is a number: order, loss, lateness, drift, and what it says of itself."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offhook.audio.jitter import HARD_MS, Due, JitterBuffer
from offhook.audio.rtp import Packet

FRAME = 160


def packet(number: int, *, timestamp: int | None = None, ssrc: int = 1, size: int = FRAME) -> Packet:
    at = number * FRAME if timestamp is None else timestamp
    return Packet(0, False, number & 0xFFFF, at & 0xFFFFFFFF, ssrc, number.to_bytes(4, "big") + bytes(size - 4))


@dataclass
class Line:
    """A sender, a network and a listener; `arrivals` are (time, packet)."""

    buffer: JitterBuffer = field(default_factory=lambda: JitterBuffer(8000))
    heard: list[int | Due] = field(default_factory=list)
    _rest: int = 0

    def play(self, arrivals: list[tuple[float, Packet]], seconds: float, *, silent: bool = False) -> None:
        """Deliver in order of arrival, tick every 20 ms; `heard` gets the packet's number or what was due."""
        waiting = sorted(arrivals, key=lambda one: one[0])
        for tick in range(round(seconds * 50)):
            now = 0.005 + tick * 0.02
            while waiting and waiting[0][0] <= now:
                at, one = waiting.pop(0)
                self.buffer.put(one, at)
            while self._rest < FRAME:
                due = self.buffer.take(now, FRAME)
                if isinstance(due, Due):
                    self.heard.append(due)
                    self._rest += FRAME
                else:
                    self.heard.append(int.from_bytes(due.payload[:4], "big"))
                    self.buffer.played(len(due.payload))
                    self._rest += len(due.payload)
            self._rest -= FRAME
            self.buffer.settle(silent=silent)

    @property
    def numbers(self) -> list[int]:
        return [item for item in self.heard if isinstance(item, int)]

    @property
    def lost(self) -> int:
        return self.heard.count(Due.LOST)


def even(count: int, delay: float = 0.0) -> list[tuple[float, Packet]]:
    return [(0.02 * n + delay, packet(n)) for n in range(count)]


def test_an_even_stream_is_heard_whole_and_in_order_after_two_frames() -> None:
    line = Line()
    line.play(even(500), 10.2)
    assert line.numbers == list(range(500))
    first = next(i for i, item in enumerate(line.heard) if item == 0)
    assert 1 <= first <= 3
    assert line.heard[first : first + 500] == list(range(500))
    assert line.buffer.counters.late == line.buffer.counters.grown == 0


def test_any_order_within_the_delay_is_put_right() -> None:
    arrivals = even(100)
    arrivals[10], arrivals[11] = (arrivals[10][0], packet(11)), (arrivals[11][0], packet(10))
    line = Line()
    line.play(arrivals, 2.5)
    assert line.numbers == list(range(100))


def test_a_lost_packet_is_one_gap_in_its_place() -> None:
    line = Line()
    line.play([one for one in even(100) if one[1].sequence != 40], 2.5)
    at = line.heard.index(39)
    assert line.heard[at : at + 3] == [39, Due.LOST, 41]
    assert line.buffer.counters.lost == 1


def test_a_packet_that_comes_twice_is_heard_once() -> None:
    line = Line()
    line.play([*even(50), *even(50, 0.001)], 1.5)
    assert line.numbers == list(range(50))
    assert line.buffer.counters.duplicate == 50


def test_silence_suppression_is_not_loss() -> None:
    """Time stamps go on while nothing is sent; sequence numbers tell that nothing is missing."""
    talk = [(0.02 * n, packet(n)) for n in range(20)]
    again = [(1.0 + 0.02 * n, packet(20 + n, timestamp=(50 + n) * FRAME)) for n in range(20)]
    line = Line()
    line.play([*talk, *again], 2.0)
    assert line.numbers == list(range(40))
    at = line.heard.index(19)
    back = line.heard.index(20)
    assert back - at == 31  # the pause is as long as it was
    assert line.buffer.counters.restarts == 0


@pytest.mark.parametrize("change", ["ssrc", "forward", "backward"])
def test_a_new_source_or_a_jump_begins_anew(change: str) -> None:
    offset = {"ssrc": 0, "forward": 10**6, "backward": -(10**6)}[change]
    ssrc = 2 if change == "ssrc" else 1
    second = [
        (1.0 + 0.02 * n, packet(50 + n, timestamp=2**31 + (50 + n) * FRAME + offset, ssrc=ssrc)) for n in range(50)
    ]
    first = [(0.02 * n, packet(n, timestamp=2**31 + n * FRAME)) for n in range(50)]
    line = Line()
    line.play([*first, *second], 2.3)
    assert line.numbers[-50:] == list(range(50, 100))
    assert line.buffer.counters.restarts == 1


def test_numbers_and_time_stamps_may_go_round() -> None:
    start = 2**32 - 20 * FRAME
    arrivals = [(0.02 * n, packet(65526 + n, timestamp=start + n * FRAME)) for n in range(60)]
    line = Line()
    line.play(arrivals, 1.5)
    assert len(line.numbers) == 60 and line.lost <= 3


@pytest.mark.parametrize("ms", [10, 30, 40, 60])
def test_packets_of_other_lengths(ms: int) -> None:
    size = ms * 8
    arrivals = [(ms / 1000 * n, packet(n, timestamp=n * size, size=size)) for n in range(3000 // ms)]
    line = Line()
    line.play(arrivals, 3.3)
    assert line.numbers == list(range(3000 // ms))


def jittery(count: int, spread: float, seed: int = 1) -> list[tuple[float, Packet]]:
    chance = random.Random(seed)
    return [(0.02 * n + chance.random() * spread, packet(n)) for n in range(count)]


def test_it_stays_as_far_behind_as_the_network_makes_it() -> None:
    line = Line()
    line.play(jittery(1500, 0.06), 31)
    counters = line.buffer.counters
    assert counters.grown >= 1
    late = [item for item in line.heard[500:1400] if item is Due.LOST]
    assert len(late) <= 9  # at most one frame in a hundred once it has settled
    assert counters.late < 40


def test_it_comes_closer_again_when_the_network_is_quiet() -> None:
    line = Line()
    rough = jittery(500, 0.1)
    line.play([*rough, *[(0.02 * n, packet(n)) for n in range(500, 3000)]], 60, silent=True)
    assert line.buffer.counters.shrunk >= 1
    assert line.buffer.delay < 0.06


def test_what_it_says_of_its_delay_is_so() -> None:
    """The mean time between a packet's arrival and its tick, in the window that is reported."""
    buffer, waits = JitterBuffer(8000), []
    arrived: dict[int, float] = {}
    for tick in range(400):
        now = 0.013 + tick * 0.02
        buffer.put(packet(tick), now - 0.008)
        arrived[tick] = now - 0.008
        due = buffer.take(now, FRAME)
        if not isinstance(due, Due):
            number = int.from_bytes(due.payload[:4], "big")
            waits.append(now - arrived[number])
            buffer.played(FRAME)
    assert buffer.delay == pytest.approx(sum(waits[-100:]) / 100, abs=0.010)


@pytest.mark.parametrize("ppm", [200, -200])
def test_a_clock_that_is_off_does_not_drift_away(ppm: int) -> None:
    """Ten minutes of a sender whose seconds are not ours."""
    period = 0.02 * (1 + ppm / 1e6)
    count = round(600 / period)
    line = Line()
    line.play([(period * n, packet(n)) for n in range(count)], 600, silent=True)
    counters = line.buffer.counters
    assert counters.lost + counters.late + counters.dropped <= 20
    assert line.buffer.delay < 0.08 and line.buffer.waiting < 8


def test_what_waits_is_bounded() -> None:
    buffer = JitterBuffer(8000)
    buffer.put(packet(0), 0.0)
    for tick in range(5):
        if not isinstance(buffer.take(0.02 * tick, FRAME), Due):
            buffer.played(FRAME)
    for number in range(1, 100):
        buffer.put(packet(number), 0.1)
    assert buffer.waiting <= HARD_MS // 20 + 1
    assert buffer.counters.dropped > 0


@settings(max_examples=200)
@given(st.data())
def test_nothing_breaks_it_and_nothing_is_heard_twice(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 60))
    numbers = data.draw(st.lists(st.integers(0, 70), min_size=count, max_size=count))
    times = data.draw(st.lists(st.floats(0, 1.5), min_size=count, max_size=count))
    line = Line()
    line.play([(at, packet(n)) for at, n in zip(times, numbers, strict=True)], 2.5)
    assert len(line.numbers) == len(set(line.numbers))
    assert line.numbers == sorted(line.numbers)
