"""Transcription in whole calls, on a manual clock, with a recogniser that understands levels: who said what, when."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.scenarios.recogniser import Recogniser, loud_is_voiced
from tests.scenarios.stage import CALLBACK, CALLER, OTHER, VERSION, Party, Stage, asked
from tests.scenarios.test_participants import add, mute, remove

from offhook.audio.bridge import Bridge
from offhook.legs.leg import RateChanged
from offhook.legs.simulated import Script
from offhook.service.clock import ManualClock
from offhook.service.hearings import MOST_WAITING, Hearing, Hearings
from offhook.service.transcription import LAST_WORDS, transcribe
from offhook.wire.connecting import CallLocator, ConnectRequest
from offhook.wire.models import AnswerCallRequest, MediaStreamingOptions, TranscriptionOptions
from offhook.wire.transcription import (
    StartTranscriptionRequest,
    StopTranscriptionRequest,
    UpdateTranscriptionRequest,
)

__all__ = ["loud_is_voiced"]
pytestmark = pytest.mark.usefixtures("loud_is_voiced")

SOCKET = "ws://app.test/transcripts"


def staged(delay: float = 0.2) -> tuple[Stage, Recogniser]:
    stage = Stage()
    recogniser = stage.node.speech = Recogniser(stage.clock, delay)
    return stage, recogniser


def answered(stage: Stage, *, start: bool = True, partly: bool = False, rate: int = 16000) -> str:
    """The app answers the newest call with transcription; its call connection id."""
    request = AnswerCallRequest(
        incoming_call_context=stage.context,
        callback_uri=CALLBACK,
        operation_context="ctx",
        media_streaming_options=MediaStreamingOptions(
            audio_channel_type="mixed", transport_url="ws://app.test/ws", sample_rate=rate
        ),
        transcription_options=TranscriptionOptions(
            locale="en-US", transport_url=SOCKET, start=start, intermediate_results=partly
        ),
    )
    return str(stage.node.answer(request, VERSION).call_connection_id)


def say(party: Party, level: int, seconds: float, rate: int = 16000) -> None:
    party.leg.say(np.full(round(seconds * rate), level, "<i2").tobytes())


def texts(stage: Stage, status: str = "Final") -> list[tuple[str, str]]:
    """Who said what, so far."""
    messages = [message for socket in stage.transcripts for message in socket.messages]
    return [(one["participantRawID"], one["text"]) for one in messages if one["resultStatus"] == status]


def ask(stage: Stage, connection: str, request: Any) -> None:
    transcribe(stage.node, asked(connection), request)
    stage.run(1)


@pytest.mark.parametrize("rate", [16000, 24000])
def test_an_utterance_and_its_place_in_time(rate: int) -> None:
    stage, recogniser = staged()
    caller = stage.call()
    answered(stage, rate=rate)
    stage.run(1)
    assert stage.events == ["CallConnected", "ParticipantsUpdated", "TranscriptionStarted"]
    say(caller, 1000, 1.0, rate)
    stage.run(3)
    (message,) = stage.transcripts[0].messages
    assert message["text"].startswith("said 1") and message["participantRawID"] == CALLER.raw_id
    assert message["confidence"] == 0.5 and message["resultStatus"] == "Final"
    # Started 0.2 s after the answer, said from 1 s on with 0.3 s of what was before; the words are 0.1 s in it.
    assert 0.4 <= message["offset"] / 1e7 <= 0.8 and message["offset"] % 200_000 == 0
    assert message["duration"] == pytest.approx(1.6e7, abs=0.1e7)
    assert message["words"][0]["offset"] == message["offset"] + 1_000_000
    (one,) = recogniser.said
    assert one.language == "en-US" and round(one.seconds * 1e7) == message["duration"]


def test_partial_results_come_in_time_and_never_two_at_once() -> None:
    stage, recogniser = staged(delay=0.5)
    caller = stage.call()
    answered(stage, partly=True)
    stage.run(1)
    say(caller, 1000, 6.0)
    stage.run(8)
    assert texts(stage) == [(CALLER.raw_id, "said 1000")]
    partly = texts(stage, "Intermediate")
    assert 5 <= len(partly) <= 7 and set(partly) == {(CALLER.raw_id, "said 1000")}
    starts = [one.at for one in recogniser.said]
    assert min(np.diff(starts[:-1])) >= 0.7, "at most every 0.7 s"
    assert recogniser.most_at_once == 1
    lengths = [one.seconds for one in recogniser.said if not one.canceled]
    assert lengths == sorted(lengths)


def test_a_slow_recogniser_has_partial_results_half_of_the_time_at_most() -> None:
    stage, recogniser = staged(delay=2.0)
    caller = stage.call()
    answered(stage, partly=True)
    stage.run(3)
    say(caller, 1000, 10.0)
    stage.run(14)
    starts = [one.at for one in recogniser.said[:-1]]
    assert min(np.diff(starts)) >= 3.9
    assert texts(stage) == [(CALLER.raw_id, "said 1000")]
    assert recogniser.said[-2].canceled and recogniser.said[-1].at < 1000 + 3 + 10 + 1, "a partial result gives way"


def test_several_people_who_come_fall_silent_and_go() -> None:
    stage, _ = staged()
    caller = stage.call()
    app = answered(stage)
    other = stage.phone(OTHER, answers=0.1, script=Script(lead=0.0))
    stage.run(1)
    add(stage, app, OTHER)
    stage.run(1)
    say(caller, 1000, 0.5)
    say(other.parties[0], 2000, 0.7)
    stage.run(2)
    assert sorted(texts(stage)) == [(CALLER.raw_id, "said 1000"), (OTHER.raw_id, "said 2000")]
    first, second = (message["offset"] for message in stage.transcripts[0].messages)
    assert first == pytest.approx(second, abs=0.4e7), "both count from the same start, although one came later"
    mute(stage, app, OTHER)
    say(other.parties[0], 3000, 0.5)
    stage.run(2)
    assert len(texts(stage)) == 2, "a muted one is not heard"
    say(caller, 4000, 0.5)
    stage.run(0.4)
    remove(stage, app, OTHER)
    stage.run(2)
    assert texts(stage)[2:] == [(CALLER.raw_id, "said 4000")]
    caller.leg.leave()
    stage.run(1)
    assert stage.transcripts[0].ended and stage.empty()


def test_two_apps_of_one_call_each_have_their_own() -> None:
    """One in another language and with another start; when one goes, the other goes on."""
    stage, recogniser = staged()
    caller = stage.call()
    first = answered(stage)
    stage.run(1)
    request = ConnectRequest(
        locator=CallLocator(kind="serverCallLocator", id=caller.live.call.server_call_id),
        callback_uri=CALLBACK,
        transcription_options=TranscriptionOptions(locale="en-GB", transport_url=SOCKET, start=True),
    )
    second = str(stage.node.connect(request, VERSION).call_connection_id)
    stage.run(1)
    assert stage.events[-3:] == ["CallConnected", "ParticipantsUpdated", "TranscriptionStarted"]
    say(caller, 1000, 0.5)
    stage.run(2)
    assert [[one["text"] for one in socket.messages] for socket in stage.transcripts] == [["said 1000"]] * 2
    one, two = (socket.messages[0]["offset"] / 1e7 for socket in stage.transcripts)
    assert 0.9 <= one - two <= 1.3, "each counts from its own start"
    assert sorted(asked.language for asked in recogniser.said) == ["en-GB", "en-US"]
    stage.node.hang_up(first)
    assert stage.transcripts[0].ended and not stage.transcripts[1].ended
    say(caller, 2000, 0.5)
    stage.run(2)
    assert [one["text"] for one in stage.transcripts[1].messages] == ["said 1000", "said 2000"]
    stage.node.hang_up(second)
    stage.run(0.1)
    assert stage.transcripts[1].ended and stage.empty()


def test_an_app_with_a_transcription_is_there_whatever_becomes_of_its_callbacks() -> None:
    stage, _ = staged()
    caller = stage.call()
    app = answered(stage)
    stage.run(1)
    stage.node.app_unreachable(app)
    stage.run(30)
    assert caller.end is None
    ask(stage, app, StopTranscriptionRequest())
    stage.node.app_unreachable(app)
    stage.run(21)
    assert caller.end is not None


def test_what_somebody_said_who_leaves_is_still_told() -> None:
    stage, _ = staged()
    caller = stage.call()
    app = answered(stage)
    other = stage.phone(OTHER, answers=0.1, script=Script(lead=0.0))
    stage.run(1)
    add(stage, app, OTHER)
    stage.run(1)
    say(other.parties[0], 2000, 1.0)
    stage.run(0.6)
    other.parties[0].leg.leave()
    stage.run(0.5)
    assert texts(stage) == [(OTHER.raw_id, "said 2000")]
    say(caller, 1000, 0.5)
    stage.run(2)
    assert texts(stage)[1:] == [(CALLER.raw_id, "said 1000")]


def test_a_phone_that_changes_its_codec_is_heard_on() -> None:
    stage, _ = staged()
    caller = stage.call()
    answered(stage)
    stage.run(1)
    say(caller, 1000, 1.0)
    stage.run(0.4)
    caller.live.leg_event(caller.leg.leg_id, RateChanged())
    stage.run(2)
    assert texts(stage) == [(CALLER.raw_id, "said 1000")]


def test_a_stop_ends_it_with_what_was_said_and_a_start_begins_anew() -> None:
    stage, recogniser = staged(delay=0.5)
    caller = stage.call()
    app = answered(stage)
    stage.run(1)
    say(caller, 1000, 1.0)
    stage.run(1.9)
    ask(stage, app, StopTranscriptionRequest(operation_context="stop"))
    assert stage.event("TranscriptionStopped")["operationContext"] == "stop"
    assert texts(stage) == [(CALLER.raw_id, "said 1000")] and stage.transcripts[0].ended
    live = next(iter(stage.node.calls.values()))
    assert not live.bridge._taps, "nobody is heard"
    ask(stage, app, StartTranscriptionRequest(locale="en-GB"))
    say(caller, 2000, 0.5)
    stage.run(3)
    assert texts(stage)[1:] == [(CALLER.raw_id, "said 2000")] and recogniser.said[-1].language == "en-GB"


def test_another_language_counts_for_what_is_being_said() -> None:
    stage, recogniser = staged()
    caller = stage.call()
    app = answered(stage)
    stage.run(1)
    say(caller, 1000, 2.0)
    stage.run(0.5)
    ask(stage, app, UpdateTranscriptionRequest(locale="en-GB"))
    assert stage.events[-1] == "TranscriptionUpdated"
    ask(stage, app, UpdateTranscriptionRequest(locale="tlh"))
    assert stage.result("TranscriptionFailed") == (400, 8565)
    stage.run(2)
    assert texts(stage) == [(CALLER.raw_id, "said 1000")] and recogniser.said[-1].language == "en-GB"


def test_without_a_recogniser_it_fails_and_nothing_is_left_of_it() -> None:
    stage = Stage()
    stage.call()
    app = answered(stage)
    stage.run(1)
    assert stage.result("TranscriptionFailed") == (400, 8565)
    assert "pip install" in stage.event("TranscriptionFailed")["resultInformation"]["message"]
    assert stage.transcripts[0].ended and "TranscriptionStarted" not in stage.events
    subscription = stage.node.properties(app).transcription_subscription
    assert subscription is not None and subscription.state == "inactive"


@pytest.mark.parametrize("outcome", ["stream_url_invalid", "stream_auth_refused"])
def test_an_app_that_cannot_be_dialled(outcome: str) -> None:
    stage, recogniser = staged()
    stage.refuse_sockets = outcome
    caller = stage.call()
    answered(stage)
    stage.run(1)
    assert stage.result("TranscriptionFailed") == (400, 8581)
    say(caller, 1000, 1.0)
    stage.run(2)
    assert recogniser.said == [] and "TranscriptionStarted" not in stage.events


def test_utterances_that_fail_are_left_out_and_three_in_a_row_end_it() -> None:
    stage, recogniser = staged()
    caller = stage.call()
    answered(stage)
    stage.run(1)
    for broken in (True, True, False, True, True, False, True, True, True):
        recogniser.broken = int(broken)
        say(caller, 1000, 0.5)
        stage.run(2)
    assert texts(stage) == [(CALLER.raw_id, "said 1000")] * 2
    assert stage.events.count("TranscriptionFailed") == 1 and stage.result("TranscriptionFailed") == (400, 8565)
    assert "it broke" in stage.event("TranscriptionFailed")["resultInformation"]["message"]
    assert stage.transcripts[0].ended


def test_utterances_wait_for_a_slow_recogniser_and_too_many_are_left_out() -> None:
    stage, recogniser = staged(delay=30.0)
    caller = stage.call()
    answered(stage)
    stage.run(31)
    for level in range(1000, 1000 + (MOST_WAITING + 2) * 100, 100):
        say(caller, level, 0.3)
        stage.run(1.5)
    recogniser.delay = 0.1
    stage.run(40)
    assert [text for _, text in texts(stage)] == ["said 1000", "said 1200", "said 1300", "said 1400", "said 1500"]
    assert recogniser.most_at_once == 1


def test_a_node_that_stops_tells_it() -> None:
    stage, _ = staged()
    stage.call()
    answered(stage)
    stage.run(1)
    stage.node.shut_down()
    assert stage.events[-2:] == ["TranscriptionFailed", "CallDisconnected"]
    assert stage.result("TranscriptionFailed") == (500, 8580) and stage.transcripts[0].ended


def test_changes_of_language_are_answered_in_turn_and_after_the_start() -> None:
    """Also those that are asked for while it starts, and while another one is tried."""
    stage, recogniser = staged(delay=0.5)
    recogniser.knows.add("en-AU")
    stage.call()
    app = answered(stage, start=False)
    stage.run(1)
    transcribe(stage.node, asked(app), StartTranscriptionRequest(operation_context="start"))
    for locale in ("en-GB", "tlh", "en-AU", "en-GB"):
        transcribe(stage.node, asked(app), UpdateTranscriptionRequest(locale=locale, operation_context=locale))
    stage.run(4)
    results = [
        (event["type"].rpartition(".Transcription")[2], event["data"]["operationContext"])
        for event in stage.callbacks if "Transcription" in event["type"]
    ]  # fmt: skip
    assert results == [
        ("Started", "start"), ("Updated", "en-GB"), ("Failed", "tlh"), ("Updated", "en-AU"), ("Updated", "en-GB"),
    ]  # fmt: skip
    subscription = stage.node.properties(app).transcription_subscription
    assert subscription is not None and subscription.locale == "en-GB"


@pytest.mark.parametrize("end", ["leave", "hang up", "stop", "slow"])
def test_the_last_words_are_told_before_the_socket_is_closed(end: str) -> None:
    """What was said before the end; a recogniser that takes too long is not waited for."""
    stage, recogniser = staged(delay=0.5)
    caller = stage.call()
    app = answered(stage)
    stage.run(1)
    say(caller, 1000, 1.0)
    stage.run(0.6)
    if end == "slow":
        recogniser.delay = 60.0
    if end in ("leave", "slow"):
        caller.leg.leave()
    elif end == "hang up":
        stage.node.hang_up(app)
    else:
        transcribe(stage.node, asked(app), StopTranscriptionRequest())
    stage.run(0.1)
    assert not stage.transcripts[0].ended and texts(stage) == []
    stage.run(LAST_WORDS if end == "slow" else 1)
    assert texts(stage) == ([] if end == "slow" else [(CALLER.raw_id, "said 1000")])
    assert stage.transcripts[0].ended and (stage.empty() or end == "stop")
    assert "TranscriptionFailed" not in stage.events


def test_a_port_that_is_taken_off_is_silent() -> None:
    stage, recogniser = staged()
    caller = stage.call()
    answered(stage)
    stage.run(1)
    say(caller, 1000, 1.0)
    stage.run(0.6)
    live = next(iter(stage.node.calls.values()))
    assert live.lane_failed(live._ports[caller.leg.leg_id], RuntimeError("broken"))
    stage.run(3)
    assert texts(stage) == [(CALLER.raw_id, "said 1000")] and recogniser.said[-1].seconds < 1.5


def test_a_hearing_that_fails_in_a_tick_ends_the_transcription_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, _ = staged()
    caller = stage.call()
    app = answered(stage)
    stage.run(1)
    live = next(iter(stage.node.calls.values()))
    (hearing,) = live.hearings._hearings.values()
    monkeypatch.setattr(hearing, "block", None)
    stage.run(1)
    assert stage.result("TranscriptionFailed") == (400, 8565) and stage.transcripts[0].ended
    assert caller.end is None and not live.bridge._taps
    ask(stage, app, StartTranscriptionRequest())
    say(caller, 1000, 0.5)
    stage.run(2)
    assert texts(stage) == [(CALLER.raw_id, "said 1000")]


def test_people_who_come_and_go_leave_nothing() -> None:
    stage, _ = staged()
    stage.call()
    app = answered(stage, partly=True)
    stage.run(1)
    transcript = next(iter(stage.node.calls.values())).transcripts._transcripts[app]
    phone = stage.phone(OTHER, answers=0.1, script=Script(lead=0.0))
    for number in range(5):
        add(stage, app, OTHER)
        stage.run(0.5)
        say(phone.parties[number], 2000, 1.0)
        stage.run(0.5)
        remove(stage, app, OTHER)
        stage.run(1)
        assert len(transcript._people) == len(transcript._heard) == 1
    assert texts(stage) == [(OTHER.raw_id, "said 2000")] * 5


def test_many_are_looked_at_in_turn_and_nobody_is_forgotten_on_a_late_loop() -> None:
    """A third of the hearings after each tick; all of them when several ticks had to be made up."""
    clock, bridge, looked = ManualClock(), Bridge(16000, lambda port, error: None), list[str]()
    hearings = Hearings(bridge, {}, clock, lambda: Recogniser(clock))
    for number in range(6):
        hearings.start(str(number), "leg", 16000, None, language="en-US", end_silence=1.0)  # type: ignore[arg-type]
    look_at = hearings._look_at

    def look(hearing: Hearing) -> None:
        looked.append(hearing.hearing_id)
        look_at(hearing)

    hearings._look_at = look  # type: ignore[method-assign]
    counts = []
    for ticks in [1] * 12 + [3] * 12:
        for _ in range(ticks):
            bridge.tick()
        clock.advance(0.02)
        counts.append(len(looked))
        assert all(hearing.waits <= 5 for hearing in hearings._hearings.values())
        looked.clear()
    assert counts[6:12] == [2] * 6
    assert not any(hearing.dropped for hearing in hearings._hearings.values())
