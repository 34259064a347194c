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
                    self._rest += self.buffer.gap
                else:
                    self.heard.append(int.from_bytes(due.payload[:4], "big"))
                    self.buffer.played(len(due.payload))
                    self._rest += len(due.payload)
            self._rest -= FRAME
            self.buffer.left(self._rest, now)
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


@pytest.mark.parametrize("ms", [10, 20, 30, 40, 60])
@pytest.mark.parametrize("phase", [0.001, 0.010, 0.019])
def test_what_it_says_of_its_delay_is_so(ms: int, phase: float) -> None:
    """From a packet's arrival on the wire to the beginning of its sound, though it is read at the next tick only."""
    buffer, size, waits, rest = JitterBuffer(8000), ms * 8, list[float](), 0
    sent = 0
    for tick in range(1, 1000):
        now = 0.02 * tick
        while (arrived := sent * ms / 1000 + phase) <= now:
            buffer.put(packet(sent, timestamp=sent * size, size=size), now)
            buffer.waited_before += (now - arrived - buffer.waited_before) / 50
            sent += 1
        while rest < FRAME:
            due = buffer.take(now, FRAME)
            if isinstance(due, Due):
                rest += buffer.gap
                continue
            number = int.from_bytes(due.payload[:4], "big")
            waits.append(now + rest / 8000 - (number * ms / 1000 + phase))
            buffer.played(size)
            rest += size
        rest -= FRAME
        buffer.left(rest, now)
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


# what real networks and senders do ----------------------------------------------------------------------------------


@pytest.mark.parametrize("pause", [1.0, 10.0])
def test_time_stamps_that_stand_still_in_a_pause_do_not_make_it_deaf(pause: float) -> None:
    """A stall of the network, then a pause after which the sender goes on as if there had been none."""
    first = [(2.6 if 100 <= n < 130 else 0.02 * n, packet(n)) for n in range(200)]
    second = [(4.0 + pause + 0.02 * n, packet(200 + n)) for n in range(500)]
    line = Line()
    line.play([*first, *second], 4.0 + pause + 11)
    assert len([n for n in line.numbers if n >= 200]) >= 495


def test_a_stream_that_falls_behind_is_taken_up_again() -> None:
    """The time stamps go back by less than a jump, the sequence numbers go on."""
    first = [(0.02 * n, packet(n, timestamp=10**6 + n * FRAME)) for n in range(100)]
    second = [(0.02 * n, packet(n, timestamp=10**6 + n * FRAME - 12000)) for n in range(100, 300)]
    line = Line()
    line.play([*first, *second], 6.5)
    assert len([n for n in line.numbers if n >= 100]) >= 190
    assert line.buffer.delay < 0.1


@pytest.mark.parametrize("stray", ["ssrc", "time stamp"])
def test_one_stray_packet_does_not_begin_another_line(stray: str) -> None:
    strays = [
        (0.02 * n + 0.001, packet(7 * n, timestamp=123_456_789, ssrc=99 if stray == "ssrc" else 1))
        for n in range(10, 200, 3)
    ]
    line = Line()
    line.play([*even(200), *strays], 4.2)
    assert line.numbers == list(range(200)) and line.buffer.counters.restarts == 0


def test_a_new_source_comes_once_though_the_network_mixes_it_with_the_old() -> None:
    chance = random.Random(3)
    arrivals = [
        (0.02 * n + chance.random() * 0.06, packet(n, timestamp=n * FRAME + (n >= 100) * 10**6, ssrc=1 + (n >= 100)))
        for n in range(200)
    ]
    line = Line()
    line.play(arrivals, 4.5)
    assert line.buffer.counters.restarts == 1
    assert len([n for n in line.numbers if n >= 110]) >= 85


def test_what_comes_before_anybody_listens_is_bounded_and_does_not_make_it_late() -> None:
    buffer = JitterBuffer(8000)
    for number in range(3000):
        buffer.put(packet(number), 0.02 * number)
        assert buffer.waiting <= HARD_MS // 20 + 1
    heard = []
    for tick in range(3):
        buffer.put(packet(3000 + tick), 60.0 + 0.02 * tick)
        due = buffer.take(60.0 + 0.02 * tick, FRAME)
        if not isinstance(due, Due):
            heard.append(int.from_bytes(due.payload[:4], "big"))
            buffer.played(FRAME)
    assert heard and heard[0] >= 2997


def test_copies_that_come_late_do_not_make_the_delay_grow() -> None:
    line = Line()
    line.play([*even(300), *[(at + 0.06, one) for at, one in even(300)]], 6.2)
    assert line.numbers == list(range(300))
    assert line.buffer.counters.late == line.buffer.counters.grown == 0
    assert line.buffer.counters.duplicate == 300


def test_numbers_of_packets_without_sound_are_not_missing() -> None:
    """Keys take sequence numbers of the stream (RFC 4733 §2.1)."""
    line, buffer = Line(), JitterBuffer(8000)
    line.buffer = buffer
    line.play(even(50), 1.1)
    lost = buffer.counters.lost
    for number in range(50, 60):
        buffer.other(number)
    line.play([(0.02 * n, packet(10 + n, timestamp=(50 + n) * FRAME)) for n in range(50, 90)], 2.0)
    assert buffer.counters.lost == lost and buffer.counters.received == 50 + 10 + 40
    assert buffer.highest_sequence == 99


def test_another_clock_begins_anew_and_goes_on_counting() -> None:
    line = Line()
    line.play(even(50), 0.9)
    line.buffer.change(48000)
    assert line.buffer.waiting == 0 and line.buffer.source == 1 and line.buffer.first == (0, 0)
    line.buffer.put(Packet(111, False, 50, 48000, 1, bytes(40)), 1.0)
    assert line.buffer.first == (0, 0) and line.buffer.counters.received > 40


@pytest.mark.parametrize("ms", [10, 20, 30, 40, 60])
@pytest.mark.parametrize("loss", [0.01, 0.05, 0.2])
def test_a_gap_is_as_long_as_what_is_missing(ms: int, loss: float) -> None:
    chance, size = random.Random(ms), ms * 8
    arrivals = [
        (ms / 1000 * n, packet(n, timestamp=n * size, size=size))
        for n in range(30_000 // ms)
        if n < 10 or chance.random() >= loss
    ]
    line = Line()
    line.play(arrivals, 31)
    assert line.buffer.delay < 0.09
    assert len(line.numbers) >= len(arrivals) - 12
