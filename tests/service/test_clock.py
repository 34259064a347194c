"""MediaClock on a clock that moves by hand: an absolute grid, made-up ticks, slips, and ticks that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.legs.leg import Pace
from offhook.service.clock import LATENESS_BOUNDS, ManualClock, MediaClock, SystemClock


class Bench:
    """A media clock whose ticks note when they ran, on a clock that can be made to jump."""

    def __init__(self, on_tick: Callable[[], None] | None = None) -> None:
        self.clock = ManualClock(start=50.0)
        self.pace = Pace()
        self.at: list[float] = []
        self.late: list[bool] = []
        self._on_tick = on_tick
        self.media = MediaClock(self.clock, self._tick, self.pace)

    def _tick(self) -> None:
        self.at.append(round(self.clock.monotonic() - 50.0, 6))
        self.late.append(self.pace.late)
        if self._on_tick is not None:
            self._on_tick()

    def oversleep(self, seconds: float) -> None:
        """The loop was held: nothing ran meanwhile."""
        self.clock._now += seconds
        self.clock.advance(0)


def test_ticks_every_20_ms_from_the_start() -> None:
    bench = Bench()
    bench.media.start()
    bench.clock.advance(0.1)
    assert bench.at == [0.02, 0.04, 0.06, 0.08, 0.1]
    assert (bench.media.ticks, bench.media.slips, bench.media.made_up) == (5, 0, 0)
    assert bench.media.running


def test_start_twice_is_one_grid() -> None:
    bench = Bench()
    bench.media.start()
    bench.media.start()
    bench.clock.advance(0.1)
    assert bench.media.ticks == 5


def test_a_late_wake_does_not_move_the_grid() -> None:
    bench = Bench()
    bench.media.start()
    bench.oversleep(0.027)
    assert bench.at == [0.027]
    bench.clock.advance(0.04)
    assert bench.at == [0.027, 0.04, 0.06]


@pytest.mark.parametrize("missed", [1, 2, 4])
def test_missed_ticks_up_to_five_are_made_up_at_once(missed: int) -> None:
    bench = Bench()
    bench.media.start()
    bench.oversleep(0.02 * (1 + missed))
    assert bench.media.ticks == 1 + missed
    assert bench.media.made_up == missed
    assert bench.media.slips == 0
    bench.clock.advance(0.02)
    assert bench.media.ticks == 2 + missed


def test_beyond_five_the_grid_slips_and_slips_are_counted() -> None:
    bench = Bench()
    bench.media.start()
    bench.oversleep(0.02 * 12)
    assert (bench.media.ticks, bench.media.slips, bench.media.made_up) == (5, 7, 4)
    bench.clock.advance(0.02)
    assert bench.media.ticks == 6, "the grid goes on where it was, 20 ms later"
    assert bench.at[-1] == 0.26


def test_pace_is_late_over_ten_milliseconds_behind() -> None:
    bench = Bench()
    bench.media.start()
    bench.oversleep(0.020 + 0.009)
    bench.oversleep(0.011 + 0.0101)
    bench.oversleep(0.0099)
    assert bench.late == [False, True, False]
    assert bench.media.worst_lateness == pytest.approx(0.0101)


def test_made_up_ticks_are_late_but_for_the_last() -> None:
    bench = Bench()
    bench.media.start()
    bench.oversleep(0.065)
    assert bench.late == [True, True, False]


def test_lateness_is_counted_by_bounds() -> None:
    bench = Bench()
    bench.media.start()
    bench.oversleep(0.0203)
    bench.clock.advance(0.02 - 0.0003)
    bench.oversleep(0.02 + 0.003)
    assert bench.media.lateness[0] == 2
    assert bench.media.lateness[LATENESS_BOUNDS.index(0.005)] == 1
    bench.oversleep(1.0)
    assert bench.media.lateness[-1] == 0, "slipped ticks are not late ones: the grid has moved"
    assert sum(bench.media.lateness) == bench.media.ticks


def test_stop_inside_a_tick_ends_the_wake_and_its_made_up_ticks() -> None:
    bench = Bench(lambda: bench.media.stop())
    bench.media.start()
    bench.oversleep(0.08)
    assert bench.media.ticks == 1
    assert not bench.media.running
    bench.clock.advance(1.0)
    assert bench.media.ticks == 1


def test_stop_and_start_inside_a_tick_leave_one_grid() -> None:
    def again() -> None:
        if bench.media.ticks == 1:
            bench.media.stop()
            bench.media.start()

    bench = Bench(again)
    bench.media.start()
    bench.clock.advance(0.2)
    assert bench.media.ticks == 10


def test_stop_between_ticks_and_start_anew() -> None:
    bench = Bench()
    bench.media.start()
    bench.clock.advance(0.03)
    bench.media.stop()
    bench.media.stop()
    bench.clock.advance(1.0)
    assert bench.media.ticks == 1
    bench.media.start()
    bench.clock.advance(0.02)
    assert bench.at == [0.02, 1.05], "a new grid begins one frame after the start"


def test_a_tick_that_raises_does_not_stop_the_grid() -> None:
    def fail_once() -> None:
        if bench.media.ticks == 2:
            raise RuntimeError("a mistake")

    bench = Bench(fail_once)
    bench.media.start()
    bench.clock.advance(0.02)
    with pytest.raises(RuntimeError):
        bench.clock.advance(0.02)
    bench.clock.advance(0.06)
    assert bench.media.running
    assert bench.media.ticks == 5


def test_busy_is_the_time_inside_ticks() -> None:
    def work() -> None:
        bench.clock._now += 0.004

    bench = Bench(work)
    bench.media.start()
    bench.clock.advance(0.02)
    bench.clock.advance(0.02)
    assert bench.media.busy == pytest.approx(0.008)


def test_an_hour_does_not_drift() -> None:
    bench = Bench()
    bench.media.start()
    for _ in range(3600):
        bench.clock.advance(1.0)
    assert bench.media.ticks == 180_000
    assert bench.media.worst_lateness < 1e-6


@given(st.lists(st.floats(0.0, 0.3), min_size=1, max_size=60))
def test_however_wakes_come_every_grid_place_is_ticked_or_slipped(waits: list[float]) -> None:
    bench = Bench()
    bench.media.start()
    for wait in waits:
        bench.oversleep(wait)
        elapsed = bench.clock.monotonic() - 50.0
        places = bench.media.ticks + bench.media.slips
        assert abs(places * 0.02 - elapsed) <= 0.02 + 1e-6
        assert sum(bench.media.lateness) == bench.media.ticks


def test_manual_clock_runs_what_falls_due_in_order() -> None:
    clock = ManualClock(start=0.0, wall=500.0)
    seen: list[str] = []
    clock.call_at(2.0, lambda: seen.append("two"))

    def plan() -> None:
        clock.call_at(1.5, lambda: seen.append(f"at {clock.monotonic()}"))

    clock.call_at(1.0, plan)
    clock.call_at(2.0, lambda: seen.append("two again"))
    dropped = clock.call_at(1.2, lambda: seen.append("never"))
    dropped.cancel()
    later = clock.call_at(9.0, lambda: seen.append("later"))
    clock.advance(3.0)
    assert seen == ["at 1.5", "two", "two again"]
    assert (clock.monotonic(), clock.wall()) == (3.0, 503.0)
    later.cancel()
    clock.advance(10.0)
    assert len(seen) == 3


async def test_system_clock_on_a_real_loop() -> None:
    clock = SystemClock(asyncio.get_running_loop())
    pace, ticks, enough = Pace(), [0.0] * 0, asyncio.Event()

    def tick() -> None:
        ticks.append(clock.monotonic())
        if len(ticks) == 10:
            enough.set()

    media = MediaClock(clock, tick, pace)
    began = clock.monotonic()
    media.start()
    await asyncio.wait_for(enough.wait(), 5)
    media.stop()
    assert media.ticks == 10
    assert clock.monotonic() - began >= 0.199
    assert 1_600_000_000 < clock.wall() < 5_000_000_000
    clock.call_at(clock.monotonic() - 5, enough.clear)
    while enough.is_set():
        await asyncio.sleep(0)
