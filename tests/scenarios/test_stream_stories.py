"""The stream in a call: started, stopped, refused, cut off; and what of it was heard, to the sample."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from tests.scenarios.stage import Stage, asked

from offhook.audio.pcm import samples_per_frame
from offhook.audio.tones import sine
from offhook.errors import CallError
from offhook.service import media
from offhook.wire.models import StartMediaStreamingRequest, StopMediaStreamingRequest


def loud(seconds: float, rate: int = 16000) -> bytes:
    return np.full(round(seconds * rate), 8000, "<i2").tobytes()


def test_started_and_stopped_and_started_again_in_mid_call() -> None:
    stage = Stage()
    stage.echo()
    caller = stage.call(tone=440.0)
    connection = stage.answer(start=False)
    stage.run(1)
    assert stage.streams == [] and caller.leg.figures.heard == 0
    for round_ in (1, 2):
        media.start_streaming(
            stage.node, asked(connection), StartMediaStreamingRequest(operation_context=f"go {round_}")
        )
        stage.run(1)
        assert len(stage.streams) == round_ and len(stage.streams[-1].frames) == 50
        assert stage.event("MediaStreamingStarted")["operationContext"] == f"go {round_}"
        media.stop_streaming(stage.node, asked(connection), StopMediaStreamingRequest(operation_context="stop"))
        stage.run(1)
        assert stage.events[-1] == "MediaStreamingStopped"
        assert len(stage.streams[-1].frames) == 50
    assert caller.leg.figures.heard == 98  # 49 each time: the last echo of a stopped stream is not heard


def test_two_starts_are_one_too_many() -> None:
    stage = Stage()
    stage.call()
    connection = stage.answer()
    stage.run(0.1)
    with pytest.raises(CallError) as refused:
        media.start_streaming(stage.node, asked(connection), StartMediaStreamingRequest())
    assert refused.value.outcome == "media_state" and len(stage.streams) == 1


@pytest.mark.parametrize("outcome", ["stream_url_invalid", "stream_auth_refused"])
def test_an_app_that_cannot_be_dialled_keeps_its_call(outcome: str) -> None:
    stage = Stage()
    stage.refuse_sockets = outcome
    caller = stage.call(duration=2.0)
    stage.answer()
    stage.run(1)
    assert stage.events[-1] == "MediaStreamingFailed"
    stage.run(2)
    assert stage.events[-1] == "CallDisconnected" and len(caller.heard) == 100
    assert stage.empty()


def test_a_stream_that_opens_after_the_call_has_ended_sends_nothing() -> None:
    stage = Stage()
    stage.dial_time = 1.0
    stage.call(duration=0.5)
    stage.answer()
    stage.run(3)
    assert stage.streams[0].frames == [] and "MediaStreamingStarted" not in stage.events
    assert stage.empty()


def test_what_the_app_closes_stays_closed_and_the_call_goes_on() -> None:
    stage = Stage()
    caller = stage.call(duration=2.0)
    stage.answer()
    stage.run(1)
    stage.streams[0].hang()
    stage.run(2)
    assert len(stage.streams) == 1 and len(caller.heard) == 100
    assert stage.events[-2:] == ["MediaStreamingStopped", "CallDisconnected"]


def test_stop_audio_is_exact_to_the_sample() -> None:
    stage = Stage()
    caller = stage.call()
    stage.answer()
    stage.run(1)
    stage.streams[0].say(loud(10))
    stage.run(2)
    stage.streams[0].stop()
    stage.run(1)
    heard = caller.pcm()
    last = int(np.flatnonzero(heard)[-1])
    (cut,) = [event for event in stage.told if event["event"] == "stopAudio"]
    assert cut["playedMs"] == pytest.approx(2005.0)  # two seconds, and the ramp of 5 ms
    assert cut["playedMs"] + cut["cutMs"] == pytest.approx(10_000.0)
    assert cut["atSample"] == 16000 * 3 + 80
    assert cut["atSample"] - 80 <= last < cut["atSample"]
    assert np.all(heard[16000 : 3 * 16000] == 8000)
    assert np.all(np.diff(heard[3 * 16000 - 1 : cut["atSample"]].astype(int)) <= 0)  # fades, never clicks


def test_stop_audio_with_nothing_queued_tells_nothing_was_cut() -> None:
    stage = Stage()
    stage.call()
    stage.answer()
    stage.run(1)
    stage.streams[0].stop()
    stage.run(0.1)
    (cut,) = [event for event in stage.told if event["event"] == "stopAudio"]
    assert (cut["playedMs"], cut["cutMs"]) == (0, 0)


def test_stop_audio_sent_before_the_hang_up_counts_before_it() -> None:
    stage = Stage()
    stage.call()
    connection = stage.answer()
    stage.run(1)
    stage.streams[0].say(loud(10))
    stage.run(1)
    stage.streams[0].stop()
    stage.node.hang_up(connection)
    (cut,) = [event for event in stage.told if event["event"] == "stopAudio"]
    assert cut["playedMs"] == pytest.approx(1005.0)


def test_a_burst_of_a_minute_plays_out_in_a_minute_whole() -> None:
    stage = Stage()
    caller = stage.call()
    stage.answer()
    stage.run(0.2)
    pcm = sine(440.0, 16000, 60.0)
    for start in range(0, len(pcm), 9999):
        stage.streams[0].say(pcm[start : start + 9999].tobytes())
    stage.run(61)
    heard = caller.pcm()[round(0.2 * 16000) :]
    assert np.array_equal(heard[: len(pcm)], pcm)
    assert not np.any(heard[len(pcm) :])
    assert caller.leg.figures.gaps == 0


def test_a_telephone_of_8_khz_on_a_call_of_24_khz() -> None:
    stage = Stage()
    stage.echo()
    caller = stage.call(rate=8000, tone=440.0, duration=3.0)
    stage.answer(rate=24000)
    stage.run(4)
    said = stage.streams[0].pcm()
    assert len(stage.streams[0].frames) == len(caller.heard) == 150
    assert all(len(base64.b64decode(f["data"])) == samples_per_frame(24000) * 2 for f in stage.streams[0].frames)
    assert all(frame is None or len(frame) == samples_per_frame(8000) for frame in caller.heard)
    assert peak_hz(said[24000:48000], 24000) == peak_hz(caller.pcm(8000)[8000:16000], 8000) == 440


def peak_hz(samples: np.ndarray, rate: int) -> int:
    return int(np.argmax(np.abs(np.fft.rfft(samples))) * rate / len(samples))


def test_unmixed_frames_name_the_one_who_speaks() -> None:
    stage = Stage()
    stage.call(tone=440.0, duration=1.0)
    stage.answer(audio_channel_type="unmixed")
    stage.run(2)
    frames = stage.streams[0].frames
    assert len(frames) == 50 and {frame["participantRawID"] for frame in frames} == {"4:+15550100001"}


def test_the_apps_audio_is_ignored_on_a_one_way_stream() -> None:
    stage = Stage()
    stage.echo()
    caller = stage.call(tone=440.0, duration=1.0)
    stage.answer(bidirectional=False)
    stage.run(2)
    assert len(stage.streams[0].frames) == 50
    assert caller.figures is not None and caller.figures.heard == 0


def test_messages_that_make_no_sense_cost_nothing_else() -> None:
    stage = Stage()
    stage.echo()
    caller = stage.call(tone=440.0, duration=1.0)
    stage.answer()
    stage.run(0.2)
    stream = stage.streams[0]
    for message in ({}, {"kind": "AudioData"}, {"kind": "AudioData", "audioData": {"data": "%%%"}}, {"kind": 7}):
        stream.send(message)
    stream.port.batch.came.append((stream.receive, b"\xff\x00 not json"))
    stage.run(2)
    assert stream.port.counters.bad_messages == 2
    assert stream.port.counters.ignored_messages == 3  # kinds that are not ours
    assert caller.figures is not None and caller.figures.heard == 49
    trace = stage.node.traces.find(stream.connection_id)
    assert trace is not None
    (figures,) = [event.detail for event in trace.events if event.name == "figures"]
    assert figures["badMessages"] == 2
