"""Several apps on one call: who hears whom, who is told what, and what is left when one of them goes."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from tests.scenarios.meeting import GROUP, PEOPLE, add, answered, connect, hears, level, server_id, speaking, told
from tests.scenarios.stage import CALLEE, CALLER, Stage, Stream

from offhook.errors import CallError
from offhook.wire.connecting import CallLocator


def streamed(stream: Stream) -> tuple[int, int]:
    """Samples and level of the newest mixed frame."""
    frame = np.frombuffer(base64.b64decode(stream.frames[-1]["data"]), "<i2")
    return len(frame), level(frame)


@pytest.mark.parametrize("rate", [16000, 24000])
def test_a_second_app_hears_and_is_heard_in_its_own_format(rate: int) -> None:
    stage = Stage()
    app, caller = answered(stage, 64)
    second = connect(stage, server_id(caller.live), rate=rate)
    assert stage.node.properties(second).call_connection_state == "connected"
    stage.run(0.2)
    assert told(stage, second) == ["CallConnected", "ParticipantsUpdated", "MediaStreamingStarted"]
    assert [e["uri"] for e in stage.callbacks if e["data"]["callConnectionId"] == second][0].endswith("2")
    assert stage.event("CallConnected")["operationContext"] == "second"
    first, other = stage.streams
    assert (streamed(first), streamed(other)) == ((320, 64), (rate // 50, 64))
    other.say(np.full(rate * 2, 1024, "<i2").tobytes())
    stage.run(0.3)
    assert hears(caller) == 1024
    assert streamed(first) == (320, 64 + 1024), "an app hears the others"
    assert streamed(other) == (rate // 50, 64), "and never itself"
    first.say(np.full(16000, 512, "<i2").tobytes())
    stage.run(0.3)
    assert hears(caller) == 1024 + 512 and streamed(other)[1] == 64 + 512
    other.stop()
    stage.run(0.1)
    assert hears(caller) == 512, "StopAudio is of its own sound alone"
    assert [p.identifier for p in stage.node.participants(second)] == [CALLER, CALLEE]


def test_unmixed_streams_hold_people_alone() -> None:
    stage = Stage()
    app, caller = answered(stage, 64)
    connect(stage, server_id(caller.live), rate=24000, audio_channel_type="unmixed")
    stage.streams[0].say(np.full(16000, 512, "<i2").tobytes())
    stage.run(0.3)
    frames = stage.streams[1].frames[-3:]
    assert {frame["participantRawID"] for frame in frames} == {CALLER.raw_id}
    assert {level(np.frombuffer(base64.b64decode(frame["data"]), "<i2")) for frame in frames} == {64}


def test_one_app_leaves_and_the_other_has_the_call() -> None:
    stage = Stage()
    app, caller = answered(stage)
    second = connect(stage, server_id(caller.live))
    stage.run(0.1)
    stage.node.hang_up(app)
    stage.run(0.1)
    assert told(stage, app)[-1] == "CallDisconnected"
    assert told(stage, second)[-1] == "ParticipantsUpdated", "the identity of the first is gone"
    assert [p.identifier for p in stage.node.participants(second)] == [CALLER]
    stage.streams[1].say(b"\x00\x10" * 16000)
    stage.run(0.1)
    assert hears(caller) == 0x1000 and caller.end is None
    stage.node.hang_up(second)
    stage.run(0.1)
    assert caller.end is not None and told(stage, second)[-1] == "CallDisconnected" and stage.empty()


def test_terminate_ends_it_for_all() -> None:
    stage = Stage()
    app, caller = answered(stage)
    second = connect(stage, server_id(caller.live), stream=False)
    stage.node.terminate(second)
    stage.run(0.1)
    assert told(stage, app)[-1] == told(stage, second)[-1] == "CallDisconnected"
    assert caller.end is not None and stage.empty()


def test_who_was_invited_by_an_app_that_leaves_is_rung_no_more() -> None:
    stage = Stage()
    app, caller = answered(stage)
    second = connect(stage, server_id(caller.live))
    phones = [stage.phone(person, answers=None) for person in PEOPLE[:2]]
    add(stage, app, PEOPLE[0])
    add(stage, second, PEOPLE[1])
    stage.node.hang_up(app)
    stage.run(0.1)
    assert phones[0].parties[0].end is not None and phones[1].parties[0].end is None


def test_an_app_that_leaves_with_nobody_there_but_whom_it_rings_ends_the_call() -> None:
    stage = Stage()
    app, caller = answered(stage)
    second = connect(stage, server_id(caller.live), stream=False)
    phone = stage.phone(PEOPLE[0], answers=None)
    add(stage, app, PEOPLE[0])
    caller.leg.leave()
    stage.run(0.1)
    assert told(stage, second)[-1] == "ParticipantsUpdated", "somebody may still come"
    stage.node.hang_up(app)
    stage.run(0.1)
    assert phone.parties[0].end is not None and stage.empty()
    assert told(stage, second)[-1] == "CallDisconnected" and stage.result("CallDisconnected") == (0, 5003)


def test_how_an_app_left_is_not_how_somebody_leaves_later() -> None:
    stage = Stage()
    app, caller = answered(stage)
    second = connect(stage, server_id(caller.live), stream=False)
    speaking(stage, PEOPLE[0], 2)
    add(stage, second, PEOPLE[0])
    stage.run(0.3)
    stage.node.hang_up(app)
    assert stage.result("CallDisconnected") == (200, 7000)
    caller.leg.leave()
    stage.run(0.1)
    assert caller.end is not None and (caller.end.code, caller.end.sub_code) == (0, 0)


def test_an_app_takes_up_a_call_that_every_app_has_left() -> None:
    stage = Stage()
    app, caller = answered(stage)
    parties = speaking(stage, PEOPLE[0], 2)
    add(stage, app, PEOPLE[0])
    stage.run(0.3)
    stage.node.hang_up(app)
    stage.run(0.1)
    assert caller.live.call.state == "bridged"
    second = connect(stage, server_id(caller.live))
    stage.run(0.1)
    assert streamed(stage.streams[1]) == (320, 3)
    stage.node.terminate(second)
    stage.run(0.1)
    assert parties[0].end is not None and stage.empty()


def test_an_app_that_is_early_is_connected_with_the_call_or_not_at_all() -> None:
    stage = Stage()
    stage.phone(CALLEE, answers=1.0)
    stage.create(CALLEE)
    live = next(iter(stage.node.calls.values()))
    early = connect(stage, server_id(live))
    stage.run(0.5)
    assert stage.node.properties(early).call_connection_state == "connecting" and not told(stage, early)
    stage.run(1.0)
    assert told(stage, early)[:2] == ["CallConnected", "ParticipantsUpdated"]
    stage.node.terminate(early)
    stage.phone(CALLEE, refuses="declined")
    stage.create(CALLEE)
    live = next(iter(stage.node.calls.values()))
    late = connect(stage, server_id(live))
    stage.run(2.0)
    assert told(stage, late) == ["ConnectFailed", "CallDisconnected"]
    assert stage.result("ConnectFailed") == (200, 5002) and stage.empty()


def test_what_cannot_be_joined_is_refused() -> None:
    stage = Stage()
    caller = stage.call()
    ringing = server_id(caller.live)
    cases = [
        (ringing, "call_not_established"),
        (CallLocator("serverCallLocator", "s1"), "call_not_found"),
    ]
    for locator, outcome in cases:
        with pytest.raises(CallError) as refused:
            connect(stage, locator)
        assert refused.value.outcome == outcome
    caller.leg.leave()
    stage.run(0.1)
    with pytest.raises(CallError) as refused:
        connect(stage, ringing)
    assert refused.value.outcome == "call_not_found" and stage.empty()


def test_a_group_begins_with_its_first_app_and_people_come_and_go() -> None:
    stage = Stage()
    group = CallLocator("groupCallLocator", GROUP)
    first = connect(stage, group, rate=24000)
    second = connect(stage, group, rate=16000)
    stage.run(0.1)
    assert len(stage.node.calls) == 1 and stage.streams[0].frames[-1]["silent"]
    assert told(stage, first) == told(stage, second)
    assert stage.node.participants(first) == []
    parties = speaking(stage, PEOPLE[0], 128)
    add(stage, first, PEOPLE[0])
    stage.run(0.3)
    assert [streamed(stream) for stream in stage.streams] == [(480, 128), (320, 128)]
    parties[0].leg.leave()
    stage.run(0.1)
    assert "CallDisconnected" not in stage.events, "it goes on without people"
    add(stage, second, PEOPLE[0])
    stage.run(0.3)
    assert hears(parties[1]) == 0 and streamed(stage.streams[1]) == (320, 128)
    stage.node.hang_up(first)
    stage.node.hang_up(second)
    stage.run(0.1)
    assert parties[1].end is not None and stage.empty()
    again = connect(stage, group)
    assert told(stage, again)[0] == "CallConnected" and len(stage.node.groups) == 1
    stage.node.terminate(again)
    stage.run(0.1)
    assert stage.empty()


def test_a_group_without_people_does_not_last_for_ever() -> None:
    stage = Stage()
    app = connect(stage, CallLocator("groupCallLocator", GROUP), stream=False)
    stage.phone(PEOPLE[0], refuses="declined")
    stage.clock.advance(3000.0)
    add(stage, app, PEOPLE[0])
    stage.clock.advance(3000.0)
    assert told(stage, app)[-1] == "AddParticipantFailed", "the hour counts anew"
    stage.clock.advance(700.0)
    assert told(stage, app)[-1] == "CallDisconnected" and stage.empty()


def test_a_group_is_left_to_an_app_when_the_hour_is_over_and_somebody_rings() -> None:
    stage = Stage()
    group = CallLocator("groupCallLocator", GROUP)
    app, other = connect(stage, group, stream=False), connect(stage, group, stream=False)
    stage.phone(PEOPLE[0], answers=None)
    stage.clock.advance(3590.0)
    add(stage, app, PEOPLE[0])
    stage.clock.advance(20.0)
    stage.node.hang_up(app)
    assert "CallDisconnected" not in told(stage, other)
    stage.clock.advance(3700.0)
    assert told(stage, other)[-1] == "CallDisconnected" and stage.empty()


def test_a_call_has_so_many_apps_at_most() -> None:
    stage = Stage()
    group = CallLocator("groupCallLocator", GROUP)
    for _ in range(32):
        app = connect(stage, group, stream=False)
    with pytest.raises(CallError) as refused:
        connect(stage, group)
    assert refused.value.outcome == "invalid_argument"
    stage.node.terminate(app)
    assert stage.events.count("CallDisconnected") == 32 and stage.empty()


def test_apps_that_come_and_go_leave_nothing_in_a_group_that_lasts() -> None:
    stage = Stage()
    group = CallLocator("groupCallLocator", GROUP)
    first = connect(stage, group, stream=False)
    for _ in range(300):
        stage.node.hang_up(connect(stage, group, stream=False))
    assert len(stage.node._connections) == 1 and len(stage.finished) == 300
    live = next(iter(stage.node.calls.values()))
    assert len(live.trace.connection_ids) == 256 and set(live.app_heard) <= {first}
    stage.node.hang_up(first)
    assert stage.empty() and len(stage.finished) == 301


def test_an_app_that_cannot_be_reached_leaves_the_others() -> None:
    stage = Stage()
    app, caller = answered(stage)
    second = connect(stage, server_id(caller.live), stream=False)
    stage.node.app_unreachable(second)
    stage.node.app_unreachable(second)
    stage.clock.advance(21.0)
    assert told(stage, second)[-1] == "CallDisconnected" and told(stage, app)[-1] != "CallDisconnected"
    assert caller.end is None


def test_a_full_node_takes_no_further_stream_and_no_new_group(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    app, caller = answered(stage)
    group, call = CallLocator("groupCallLocator", GROUP), server_id(caller.live)
    monkeypatch.setattr(stage.node, "_tick_mean", 1.0)
    for locator, stream in ((call, True), (group, False)):
        with pytest.raises(CallError) as refused:
            connect(stage, locator, stream=stream)
        assert refused.value.outcome == "throttled"
    monkeypatch.setattr(stage.node, "_tick_mean", 0.0)
    stage.node.draining = True
    with pytest.raises(CallError) as refused:
        connect(stage, group)
    assert refused.value.outcome == "service_unavailable"
    assert told(stage, connect(stage, call))[0] == "CallConnected", "a call that lives on takes another app"
    assert not stage.node.groups
