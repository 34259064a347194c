"""What must not happen, happens: ports that raise, clocks that stall, nodes that are full or stop."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from tests.scenarios.stage import CALLEE, Stage

from offhook.errors import CallError
from offhook.service.clock import ManualClock


def fail(*args: Any) -> Any:
    raise RuntimeError("boom")


boom: Any = fail


def test_a_port_that_raises_is_taken_off_and_costs_no_other_call(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.echo()
    first = stage.call(tone=440.0, duration=2.0)
    stage.answer()
    second = stage.call(tone=440.0, duration=2.0)
    stage.answer()
    stage.run(1)
    bridge = first.live.bridge
    for member in bridge.members:
        if member.port is stage.streams[0].port:
            member.write = boom
    stage.run(2)
    assert second.figures is not None and second.figures.heard == 99
    assert first.figures is not None and first.figures.frames == 100  # its caller is still there to the end
    names = [event.name for trace in stage.node.traces._calls.values() for event in trace.events]
    assert names.count("port failed") == 1
    assert "boom" in caplog.text
    assert stage.empty()


def test_a_lane_that_fails_costs_only_its_own_leg(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.echo()
    odd = stage.call(rate=8000, tone=440.0, duration=2.0)
    stage.answer()
    other = stage.call(rate=8000, tone=440.0, duration=2.0)
    stage.answer()
    stage.run(1)
    odd.leg._source = boom
    stage.run(2)
    assert other.figures is not None and other.figures.frames == 100 and other.figures.gaps == 0
    assert "boom" in caplog.text
    stage.node.shut_down()
    assert stage.empty()


def test_an_event_that_fails_stops_no_clock(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    caller = stage.call(duration=1.0)
    stage.answer()
    caller.live.leg_event, saved = boom, caller.live.leg_event  # type: ignore[method-assign]
    other = stage.call(duration=2.0)
    stage.answer()
    stage.run(3)
    assert len(other.heard) == 100
    caller.live.leg_event = saved  # type: ignore[method-assign]
    caller.leg.leave()
    assert stage.empty()
    assert any(record.levelno == logging.ERROR for record in caplog.records)


def test_a_deadline_that_fails_holds_up_no_other_call(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    broken, other = stage.call(), stage.call()
    broken.live.call.advance = boom  # type: ignore[method-assign]
    stage.run(31)
    assert other.end is not None and other.end.sub_code == 10004, "it rang for 30 s"
    assert "boom" in caplog.text


def test_a_stall_is_made_up_or_slips_and_is_counted() -> None:
    stage = Stage()
    caller = stage.call(tone=440.0)
    stage.answer()
    stage.run(1)
    clock = stage.clock
    stall(clock, 0.08)
    stage.run(0.1)
    assert stage.node.media.slips == 0 and stage.node.media.made_up >= 3
    before = len(caller.heard)
    stall(clock, 1.0)
    stage.run(0.1)
    assert stage.node.media.slips >= 40
    assert len(caller.heard) - before <= 12
    assert caller.leg.figures.late > 0


def stall(clock: ManualClock, seconds: float) -> None:
    """The process does not get to run for a while."""
    clock._now += seconds


def test_a_full_node_refuses_new_calls_and_keeps_those_it_has() -> None:
    stage = Stage()
    caller = stage.call()
    stage.answer()
    stage.run(0.1)
    stage.node._tick_mean = 0.019
    for attempt in (stage.call, lambda: stage.create(CALLEE)):
        with pytest.raises(CallError) as refused:
            attempt()
        assert refused.value.outcome == "throttled"
    stage.run(3)  # the mean falls, for the ticks of the manual clock take no time
    assert not stage.node.overloaded
    assert caller.end is None
    stage.call()


def test_a_node_that_stops_ends_every_call_and_takes_none() -> None:
    stage = Stage()
    ringing = stage.call()
    talking = stage.call()
    stage.answer()
    stage.phone(CALLEE, answers=None)
    stage.create(CALLEE)
    stage.run(1)
    stage.node.shut_down()
    assert ringing.end is not None and talking.end is not None
    assert (talking.end.code, talking.end.sub_code, talking.end.ended_by) == (0, 7000, "service")
    assert stage.events.count("CallDisconnected") >= 1
    assert stage.empty()
    for attempt in (stage.call, lambda: stage.create(CALLEE)):
        with pytest.raises(CallError) as refused:
            attempt()
        assert refused.value.outcome == "service_unavailable"
    assert not stage.clock._planned or all(p[2]._callback is None for p in stage.clock._planned)


def test_an_app_that_cannot_be_reached_any_more_leaves_the_call() -> None:
    stage = Stage()
    caller = stage.call(duration=120.0)
    connection = stage.answer(stream=False)
    stage.run(1)
    stage.node.app_unreachable(connection)
    stage.run(19)
    assert caller.end is None
    stage.run(2)
    assert caller.end is not None
    assert stage.empty()


def test_an_app_that_comes_back_in_time_keeps_its_call() -> None:
    stage = Stage()
    caller = stage.call(duration=60.0)
    connection = stage.answer(stream=False)
    stage.run(1)
    stage.node.app_unreachable(connection)
    stage.run(10)
    stage.node.note_request(connection, "get", 200, {})
    stage.run(20)
    assert caller.end is None
    stage.node.shut_down()
    assert stage.empty()


def test_an_app_with_a_stream_is_there_whatever_becomes_of_its_callbacks() -> None:
    stage = Stage()
    caller = stage.call(duration=60.0)
    connection = stage.answer()
    stage.run(1)
    stage.node.app_unreachable(connection)
    stage.run(30)
    assert caller.end is None
    stage.node.shut_down()
    assert stage.empty()
