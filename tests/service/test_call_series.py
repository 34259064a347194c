"""CallSeries: a point each 200 ms, what is not there is None, and an hour has no more than 3,000 points."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from offhook.audio.buffers import PlayoutBuffer
from offhook.audio.jitter import JitterBuffer
from offhook.service.call_series import MOST_POINTS, CallSeries


def test_points_are_read_in_their_time() -> None:
    series, jitter, playout = CallSeries(10.0), JitterBuffer(8000), PlayoutBuffer(16000)
    series.look(10.0, 0.0)
    series.add_leg("leg", jitter)
    jitter.counters.lost += 2
    series.look(10.2, 0.012)
    series.playing({"c": (playout, 16000)})
    playout.write(bytes(2 * 16000))
    jitter.counters.late += 1
    series.look(10.3, 0.003)  # too soon: only its lateness counts
    series.look(10.4, 0.001)
    series.drop_leg("leg")
    series.playing({})
    series.look(10.6, 0.0)
    assert series.page(12.34) == {
        "stepMs": 200,
        "startMs": 12.3,
        "legs": {
            "leg": {"jitterMs": [None, 40, 40, None], "lost": [None, 2, 0, None], "late": [None, 0, 1, None]},
        },
        "streams": {"c": {"queuedMs": [None, None, 1000, None]}},
        "clock": {"lateMs": [0, 12, 3, 0]},
    }


def test_a_leg_that_changes_its_codec_goes_on() -> None:
    series, jitter = CallSeries(0.0), JitterBuffer(8000)
    series.add_leg("leg", jitter)
    series.look(0.0, 0.0)
    series.drop_leg("leg")
    series.add_leg("leg", jitter)
    series.look(0.2, 0.0)
    assert series.page(0)["legs"]["leg"]["jitterMs"] == [40, 40]


def test_looks_that_do_not_come_leave_no_hole() -> None:
    series, playout = CallSeries(0.0), PlayoutBuffer(16000)
    series.playing({"c": (playout, 16000)})
    series.look(0.0, 0.0)
    playout.write(bytes(32000))
    series.look(1.0, 0.4)
    page = series.page(0)
    assert page["streams"]["c"]["queuedMs"] == [0, 0, 0, 0, 0, 1000]
    assert page["clock"]["lateMs"] == [0, 0, 0, 0, 0, 400]


def test_an_hour_keeps_its_sums_and_its_worst() -> None:
    series, jitter = CallSeries(0.0), JitterBuffer(8000)
    series.add_leg("leg", jitter)
    for step in range(36_000):
        if step % 1000 == 0:
            jitter.counters.lost += 3
        series.look(step / 10 + 0.001, 0.03 if step == 20_001 else 0.0)
    page = series.page(0)
    assert page["stepMs"] == 1600
    points = len(page["clock"]["lateMs"])
    assert points == 2250 <= MOST_POINTS
    assert sum(page["legs"]["leg"]["lost"]) == 3 * 36
    assert max(page["clock"]["lateMs"]) == 30
    assert page["clock"]["lateMs"].index(30) == 20_001 // 16


@given(st.lists(st.tuples(st.sampled_from(["look", "leg", "part", "play", "stop"]), st.floats(0, 400)), max_size=80))
def test_all_lines_are_of_one_length_and_lose_no_packet(steps: list[tuple[str, float]]) -> None:
    """Whatever comes and goes, and however late looks are: one value a point, and each lost packet once."""
    series, now = CallSeries(0.0), 0.0
    jitters = {name: JitterBuffer(8000) for name in "ab"}
    playout = PlayoutBuffer(8000)
    live: set[str] = set()
    truth = dict.fromkeys("ab", 0)
    for count, (step, wait) in enumerate(steps):
        name = "ab"[count % 2]
        if step == "look":
            now += wait
            for one in live:
                jitters[one].counters.lost += 1
            before = series._points
            series.look(now, 0.0)
            if series._points == before:  # no point was due: they count at the next
                for one in live:
                    jitters[one].counters.lost -= 1
            else:
                for one in live:
                    truth[one] += 1
        elif step == "leg":
            series.add_leg(name, jitters[name])
            live.add(name)
        elif step == "part":
            series.drop_leg(name)
            live.discard(name)
        else:
            series.playing({"c": (playout, 8000)} if step == "play" else {})
    page = series.page(0)
    points = len(page["clock"]["lateMs"])
    assert points < MOST_POINTS
    for name, leg in page["legs"].items():
        assert {len(values) for values in leg.values()} == {points}
        assert sum(value or 0 for value in leg["lost"]) == truth[name]
    assert all(len(stream["queuedMs"]) == points for stream in page["streams"].values())
