"""Calls by the hour and by the hundred, in seconds: nothing drifts, nothing grows."""

from __future__ import annotations

import numpy as np
from tests.scenarios.stage import Stage

from offhook.service.clock import PTIME
from offhook.service.trace import MAX_CALLS, MAX_EVENTS, share

HOUR_FRAMES = 3600 * 50


def test_an_hour_of_call_is_exact_to_the_frame() -> None:
    stage = Stage(restart_ms=40)
    caller = stage.call(tone=440.0, duration=3600.0)
    caller.leg._hear = None  # nobody keeps an hour of audio here
    stage.answer()
    stream = stage.streams[0]
    counted = 0

    def echo(kind: object, message: bytes) -> None:
        nonlocal counted
        counted += 1
        stream.port.playout.write(bytes(640))

    stage.run(PTIME)
    stream.port.connect(echo)
    stage.clock.advance(3601.0)
    assert caller.figures is not None
    assert (caller.figures.frames, caller.figures.gaps, caller.figures.late) == (HOUR_FRAMES, 0, 0)
    assert counted == HOUR_FRAMES - 1  # the first went to the stage's own socket
    assert stage.node.media.slips == 0
    assert stream.port.playout.queued_samples <= 3 * 320  # the queue is no longer than at the start
    assert stage.empty()


def test_a_thousand_calls_leave_nothing_but_bounded_traces() -> None:
    stage = Stage()
    for _ in range(1000):
        stage.call(duration=0.04)
        stage.answer()
        stage.run(0.1)
    assert stage.events.count("CallDisconnected") == 1000
    assert stage.empty()
    assert len(stage.node.traces.pages()) == MAX_CALLS
    assert len(stage.node.traces._connections) == MAX_CALLS
    assert len(stage.finished) == 1000
    # The clock keeps no plans of calls that are over.
    stage.run(600)
    assert not stage.clock._planned


def test_a_hundred_at_once_keep_their_own_audio() -> None:
    stage = Stage()
    stage.echo()
    callers = []
    for number in range(100):
        callers.append(stage.call(tone=200.0 + 10 * number, duration=1.0))
        stage.answer()
    stage.run(2)
    for number, caller in enumerate(callers):
        spectrum = np.abs(np.fft.rfft(caller.pcm()[320:].astype(float), 16000))
        assert int(np.argmax(spectrum)) == 200 + 10 * number
    assert stage.empty()


def test_a_trace_has_a_bound_and_counts_what_it_leaves_out() -> None:
    stage = Stage()
    stage.call()
    connection = stage.answer()
    live = next(iter(stage.node.calls.values()))
    for number in range(MAX_EVENTS + 10):
        live.note("leg", "noise", number=number)
    trace = stage.node.traces.find(connection)
    assert trace is not None
    assert len(trace.events) == MAX_EVENTS * share("leg", "noise") and sum(trace.dropped.values()) > 10
    assert trace.page()["droppedEvents"] == sum(trace.dropped.values())
