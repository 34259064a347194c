"""The recording of a call: what is done and what is told, in which order, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.calls.stage import APP, CALLBACK, VERSION, answer_request, incoming

from offhook.calls.actions import Notify, Record
from offhook.calls.call import Call
from offhook.calls.recording import Recording, RecordingPlan
from offhook.errors import CallError
from offhook.wire.recording import RecordingStateChanged

STARTED = "2024-05-02T11:20:40.0000000+00:00"


def connected() -> Call:
    call = incoming()
    call.answer(APP, "subscription", answer_request(), VERSION, 0.0)
    call.leg_answered("leg0", 0.0)
    call.drain()
    return call


def start(call: Call, **options: Any) -> Recording:
    call.start_recording(APP, RecordingPlan("rec", STARTED, VERSION, **options), 1.0)
    assert call.recording is not None
    return call.recording


def said(call: Call) -> list[str]:
    """Record and the events of recordings, a line each."""
    lines = []
    for output in call.drain():
        if isinstance(output, Record):
            lines.append(f"{output.what} {output.reason}".strip())
        elif isinstance(output, Notify):
            event, info = output.event, output.event.result_information
            state = f" {event.state}" if isinstance(event, RecordingStateChanged) else ""
            code = f" {info.code}" if info is not None and state else ""
            lines.append(f"{event.name}{state}{code}" + ("" if output.callback_uri == CALLBACK else " elsewhere"))
    return lines


def test_from_start_to_stop() -> None:
    call = connected()
    recording = start(call)
    assert said(call) == ["open"] and recording.state == "active"
    recording.opened()
    assert said(call) == ["RecordingStateChanged active"]
    recording.pause()
    recording.resume()
    assert said(call) == ["pause", "RecordingStateChanged inactive", "resume", "RecordingStateChanged active"]
    recording.stop()
    recording.stop()
    recording.failed("too late")
    assert said(call) == ["close RecordingStopped", "RecordingStateChanged inactive"]
    start(call)
    assert said(call) == ["open"], "and another one after it"


def test_it_ends_with_the_call_before_the_app_is_told_of_that() -> None:
    call = connected()
    start(call).opened()
    call.drain()
    call.terminate(APP, 2.0)
    assert said(call) == ["close CallEnded", "RecordingStateChanged inactive", "CallDisconnected"]


def test_what_is_not_allowed() -> None:
    call = connected()
    recording = start(call)
    for ask, outcome in (
        (recording.resume, "recording_not_allowed"),
        (lambda: start(call), "recording_running"),
    ):
        with pytest.raises(CallError) as refused:
            ask()
        assert refused.value.outcome == outcome
    recording.pause()
    with pytest.raises(CallError) as refused:
        recording.pause()
    assert refused.value.outcome == "recording_not_allowed"
    ringing = incoming()
    ringing.answer(APP, "subscription", answer_request(), VERSION, 0.0)
    with pytest.raises(CallError) as refused:
        start(ringing)
    assert refused.value.outcome == "call_not_established"


def test_a_file_that_cannot_be_made_or_written_on() -> None:
    call = connected()
    start(call).failed("no room")
    assert said(call) == ["open", "close failed", "StartRecordingFailed"]
    recording = start(call)
    recording.opened()
    recording.failed("no room any more")
    assert said(call) == ["open", "RecordingStateChanged active", "close failed", "RecordingStateChanged inactive 500"]


def test_pauses_before_the_file_is_there_are_told_with_it() -> None:
    call = connected()
    recording = start(call, paused=True)
    assert recording.state == "inactive"
    recording.resume()
    recording.pause()
    assert said(call) == ["open", "resume", "pause"]
    recording.opened()
    assert said(call) == ["RecordingStateChanged inactive"]


@pytest.mark.parametrize("elsewhere", [None, "https://app.test/recordings"])
def test_an_app_that_left_hears_nothing_but_where_it_asked_to(elsewhere: str | None) -> None:
    call = connected()
    recording = start(call, callback_uri=elsewhere)
    recording.opened()
    assert said(call)[1:] == ["RecordingStateChanged active" + (" elsewhere" if elsewhere else "")]
    recording.app_left("another app")
    recording.app_left(APP)
    recording.pause()
    assert said(call) == ["pause", *(["RecordingStateChanged inactive elsewhere"] if elsewhere else [])]


@given(st.lists(st.sampled_from(["opened", "failed", "pause", "resume", "stop", "terminate"])), st.booleans())
def test_whatever_happens_in_whatever_order(steps: list[str], paused: bool) -> None:
    """It is closed once at most; what is told is what it does; after the end there is nothing more."""
    call = connected()
    recording, lines = start(call, paused=paused), said(call)
    opened = False
    for step in steps:
        over, before = recording.over, recording.paused
        if step == "terminate":
            if call.state != "ended":
                call.terminate(APP, 2.0)
        elif step == "opened":
            if opened or over:
                continue
            recording.opened()
            opened = True
        elif step == "failed":
            recording.failed("why")
        elif over:
            continue  # nobody finds it any more
        else:
            try:
                getattr(recording, step)()
            except CallError:
                assert before is (step == "pause")
        new = [line for line in said(call) if line != "CallDisconnected"]
        assert not (over and new), new
        lines += new
    closes = [line for line in lines if line.startswith("close")]
    assert len(closes) == recording.over and lines[0] == "open"
    told = [line for line in lines if line.startswith("RecordingStateChanged")]
    if told:
        assert told[-1].split()[1] == recording.state
    assert ("StartRecordingFailed" in lines) <= (not opened)
