"""An app with a raw WebSocket and no SDK for it (protocol.md §§2.4-2.9, real-cases.md §2): heard in every spelling,
read by a fixed buffer, paced and cut to the sample."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.console_leg import Leg, Samples, caller, phone
from tests.live import (
    CONNECTIONS,
    LiveNode,
    Stream,
    TestApp,
    answer,
    audio_text,
    rest,
    streaming_options,
    trace,
    until,
)
from tests.raw_socket import RawSocket, raw_app

from offhook.service.stream_port import Batch, StreamPort

pytestmark = pytest.mark.asyncio(loop_scope="module")

SAMPLES = Path(__file__).parents[1] / "fixtures/acs/samples/websocket"
RATE = 16000
FRAME = RATE // 50
RAMP = RATE // 200


def noise(seconds: float, seed: int = 7) -> Samples:
    """Audio in which no sample is zero, so that every one that was heard can be counted."""
    samples = np.random.default_rng(seed).integers(1000, 8000, round(seconds * RATE)).astype(np.int16)
    return samples * np.where(np.arange(samples.size) % 2, 1, -1).astype(np.int16)


def app_audio(heard: Samples) -> tuple[int, int]:
    """The first and the last but one index of what is not silence."""
    loud = np.flatnonzero(heard)
    return (int(loud[0]), int(loud[-1]) + 1) if loud.size else (0, 0)


@contextlib.asynccontextmanager
async def talking(
    node: LiveNode, app: TestApp, url: str = "", **script: Any
) -> AsyncIterator[tuple[Leg, dict[str, Any]]]:
    """A call that is answered with a stream to `url` (else to the app), and its connection."""
    async with caller(node, **script) as leg:
        data = await app.invited()
        connection = await answer(node, data["incomingCallContext"], app.callback, streaming_options(url or app.socket))
        await app.event("CallConnected")
        yield leg, connection


# what the app says --------------------------------------------------------------------------------------------------


async def test_every_spelling_of_audio_is_heard_and_of_stop_audio_flushes(node: LiveNode, app: TestApp) -> None:
    """Each variant carries its own piece of one signal; heard is the whole, in order, at unchanged level."""
    variants = json.loads((SAMPLES / "out-audio-variants.json").read_text())
    stops = json.loads((SAMPLES / "out-stop-variants.json").read_text())
    ignored = json.loads((SAMPLES / "out-to-be-ignored.json").read_text())
    piece = noise(0.1 * len(variants)).reshape(len(variants), -1)
    async with talking(node, app) as (leg, _):
        stream = await app.stream()
        for text in [row["text"] for row in ignored]:
            await stream.socket.send_str(text)
        for row, samples in zip(variants, piece, strict=True):
            await stream.socket.send_str(row["text"].replace("QUJD", base64.b64encode(samples.tobytes()).decode()))
        await leg.heard_app(5 * len(variants))
        heard = leg.heard
        start, _ = app_audio(heard)
        assert np.array_equal(heard[start : start + piece.size], piece.ravel())
        for count, row in enumerate(stops, 1):
            before = sum(leg.of_app)
            await stream.play(noise(60).tobytes())
            await leg.heard_app(before + 5)
            await stream.socket.send_str(row["text"])
            await until(lambda n=count: len(node.named("stopAudio")) >= n, row["text"])  # type: ignore[misc]
            quiet = leg.frames
            await leg.heard_frames(quiet + 8)
            assert not any(leg.of_app[quiet + 2 :]), row["text"]


async def test_audio_of_the_js_sdk_with_its_empty_stop_audio_does_not_flush(node: LiveNode, app: TestApp) -> None:
    said = noise(1)
    async with talking(node, app) as (leg, connection):
        stream = await app.stream()
        for part in said.reshape(10, -1):
            data = base64.b64encode(part.tobytes()).decode()
            await stream.socket.send_str(
                json.dumps({"kind": "audioData", "audioData": {"data": data, "isSilent": False}, "stopAudio": {}})
            )
        await leg.heard_app(50)
        start, _ = app_audio(leg.heard)
        assert np.array_equal(leg.heard[start : start + said.size], said)
        page = await trace(node, connection["callConnectionId"])
        assert not [event for event in page["events"] if event["kind"] == "stopAudio"]


async def test_a_burst_of_a_minute_plays_at_exact_pace_and_the_cut_is_told_to_the_sample(
    node: LiveNode, app: TestApp
) -> None:
    said = noise(60)
    async with talking(node, app) as (leg, connection):
        stream = await app.stream()
        for part in said.reshape(60, -1):
            await stream.play(part.tobytes())
        await leg.heard_app(100)
        played = [frame for frame, of_app in enumerate(leg.of_app) if of_app]
        assert played == list(range(played[0], played[0] + len(played))), "a gap"
        await stream.stop()
        told = await until(
            lambda: [e for e in node.named("stopAudio") if e["callConnectionId"] == connection["callConnectionId"]]
        )
        heard = await leg.heard_frames(told[0]["atSample"] // FRAME + 10)
        start, end = app_audio(heard)
        whole = end - start - (RAMP - 1)  # the ramp's last sample is zero
        assert np.array_equal(heard[start : start + whole], said[:whole])
        ramp = said[whole : whole + RAMP] * np.linspace(1, 0, RAMP, dtype=np.float32)
        assert np.array_equal(heard[start + whole : start + whole + RAMP], ramp.astype(np.int16))
        event = told[0]
        assert event["playedMs"] * RATE / 1000 == whole + RAMP
        assert event["playedMs"] + event["cutMs"] == 60_000
        assert event["atSample"] == start + whole + RAMP


async def test_after_stop_audio_at_most_one_more_frame_is_heard(node: LiveNode, app: TestApp) -> None:
    """The caller's own clock: StopAudio goes out when a frame is heard, and by the time it is acted on one more may
    have been played; after that only the ramp."""
    async with talking(node, app) as (leg, _):
        stream = await app.stream()
        for _ in range(5):
            before = len(node.named("stopAudio"))
            await stream.play(noise(10).tobytes())
            await leg.heard_app(sum(leg.of_app) + 20)
            await stream.stop()
            await until(lambda n=before: len(node.named("stopAudio")) > n)  # type: ignore[misc]
            at = node.named("stopAudio")[-1]["atSample"]
            heard = await leg.heard_frames(at // FRAME + 10)
            assert not heard[at:].any()
            assert at % FRAME == RAMP
            assert heard[at - RAMP - 1] != 0
            await stream.play(noise(0.1, seed=9).tobytes())
            await leg.heard_app(sum(leg.of_app) + 5)
            again = leg.heard[at:]
            first = int(np.flatnonzero(again)[0])
            assert np.array_equal(again[first : first + 1600], noise(0.1, seed=9))


async def test_marks_come_back_to_an_app_that_uses_them(node: LiveNode, app: TestApp) -> None:
    def marked(seconds: float, name: str) -> str:
        data = base64.b64encode(noise(seconds).tobytes()).decode()
        return json.dumps({"Kind": "AudioData", "AudioData": {"Data": data, "Mark": {"Id": name, "Sequence": 1}}})

    async with talking(node, app) as (leg, _):
        stream = await app.stream()
        await stream.socket.send_str(marked(0.2, "heard"))
        await stream.socket.send_str(marked(60, "cut"))
        await leg.heard_app(15)
        await stream.stop()

        def marks() -> list[tuple[str, str]]:
            return [(m["markData"]["id"], m["markData"]["status"]) for m in stream.messages if m["kind"] == "MarkData"]

        await until(lambda: len(marks()) == 2)
        assert marks() == [("heard", "Completed"), ("cut", "Cancelled")]


# what the app hears -------------------------------------------------------------------------------------------------


async def test_a_pause_in_speech_is_not_silent_and_nobody_is(node: LiveNode, app: TestApp) -> None:
    async with talking(node, app) as (leg, _):
        await leg.speak(noise(0.2).tobytes())
        stream = await app.stream(frames=40)
        assert not any(frame["silent"] for frame in stream.frames)
        assert any(not np.frombuffer(base64.b64decode(f["data"]), np.int16).any() for f in stream.frames)
    batch = Batch("text")
    port = StreamPort(RATE, mixed=True, bidirectional=True, batch=batch, restart_ms=40)
    port.connect(lambda kind, message: None)
    port.write(None, ())
    message = json.loads(batch.going[0][1])
    assert message["audioData"]["silent"] is True
    assert base64.b64decode(message["audioData"]["data"]) == bytes(FRAME * 2)


async def test_a_reader_with_a_fixed_buffer_that_never_answers_our_close(node: LiveNode, app: TestApp) -> None:
    """CallDisconnected does not wait for it, and the connection is gone within a second of our Close."""
    sockets: list[RawSocket] = []

    async def serve(socket: RawSocket) -> None:
        sockets.append(socket)
        await socket.read_strictly()

    async with raw_app(serve) as url, talking(node, app, url, dtmf=[[0.2, "5"], [0.3, "#"]]) as (leg, connection):
        await until(lambda: sockets and len(sockets[0].messages) > 30)
        hung_up = asyncio.get_running_loop().time()
        await rest(node, "POST", f"{CONNECTIONS}/{connection['callConnectionId']}:terminate")
        await app.event("CallDisconnected")
        assert asyncio.get_running_loop().time() - hung_up < 0.7
        await leg.told("ended")
        one = sockets[0]
        await until(lambda: one.gone_at is not None, deadline=3)
        assert not one.problems
        assert one.messages[0]["audioMetadata"] == {
            "subscriptionId": connection["mediaStreamingSubscription"]["id"],
            "encoding": "PCM",
            "sampleRate": RATE,
            "channels": 1,
            "length": FRAME * 2,
        }
        assert one.close_code == 1000
        assert one.close_at is not None and one.gone_at is not None
        assert one.gone_at - one.close_at < 1.3


async def test_an_app_that_accepts_and_reads_nothing_loses_nothing(node: LiveNode, app: TestApp) -> None:
    """Three seconds without a read, into 4 kB buffers; then everything is there, in order."""
    sockets: list[RawSocket] = []
    go = asyncio.Event()

    async def serve(socket: RawSocket) -> None:
        sockets.append(socket)
        await go.wait()
        await socket.read_strictly()

    said = noise(4)
    async with raw_app(serve) as url, talking(node, app, url) as (leg, _):
        await leg.speak(said.tobytes())
        await leg.heard_frames(150)
        assert not sockets[0].messages
        go.set()
        one = sockets[0]
        await until(lambda: len(one.pcm) >= (4 + 0.5) * RATE * 2, "the backlog")
        heard = np.frombuffer(one.pcm, np.int16)
        start, _ = app_audio(heard)
        assert np.array_equal(heard[start : start + said.size], said)
        assert not one.problems


async def test_an_unmixed_stream_names_the_speaker_and_keys_come_as_characters(node: LiveNode, app: TestApp) -> None:
    async with caller(node, dtmf=[[0.3, "1"], [0.4, "*"], [0.5, "#"]]) as leg:
        data = await app.invited()
        options = streaming_options(app.socket, 24000, mixed=False, dtmf=True)
        await answer(node, data["incomingCallContext"], app.callback, options)
        stream = await app.stream(frames=40)
        keys = [m["dtmfData"] for m in stream.messages if m["kind"] == "DtmfData"]
        assert [key["data"] for key in keys] == ["1", "*", "#"]
        assert {frame["participantRawID"] for frame in stream.frames} == {"4:+15550100001"}
        assert stream.metadata["sampleRate"] == 24000 and stream.metadata["length"] == 960
        assert {len(base64.b64decode(frame["data"])) for frame in stream.frames} == {960}
        assert max(stream.raw_sizes) < 2048
        assert (await leg.told("answered"))["rate"] == 24000


async def test_two_streams_of_two_calls_do_not_mix(node: LiveNode, app: TestApp) -> None:
    """The second party of a created call hears the app of that call alone, and its own voice never comes back."""
    async with phone(node, "+15550100007", tone=700) as one, talking(node, app, tone=400) as (other, _):
        body = {
            "targets": [{"rawId": "4:+15550100007", "phoneNumber": {"value": "+15550100007"}}],
            "callbackUri": app.callback,
            "mediaStreamingOptions": streaming_options(app.socket + "/created"),
        }
        status, made = await rest(node, "POST", CONNECTIONS, body)
        assert status == 201
        await one.told("answered")
        await until(lambda: len(app.streams) == 2 and all(len(s.frames) > 60 for s in app.streams))
        created = next(s for s in app.streams if s.path == "/ws/created")
        first = next(s for s in app.streams if s.path == "/ws")
        await created.play(noise(0.4).tobytes())
        await one.heard_app(20)
        assert dominant(created) == pytest.approx(700, abs=5)
        assert dominant(first) == pytest.approx(400, abs=5)
        assert not other.heard.any()
        assert created.headers["x-ms-call-connection-id"] == made["callConnectionId"]
        await rest(node, "DELETE", f"{CONNECTIONS}/{made['callConnectionId']}")
        assert (await one.told("ended"))["endedBy"] == "app"


def dominant(stream: Stream) -> float:
    """The loudest frequency of the last second of what a stream was told, in Hz."""
    samples = np.frombuffer(stream.pcm, np.int16)[-RATE:]
    return float(np.argmax(np.abs(np.fft.rfft(samples * np.hanning(samples.size)))) * RATE / samples.size)


async def test_long_and_fragmented_messages_are_heard(node: LiveNode, app: TestApp) -> None:
    said = noise(1)
    text = audio_text(said.tobytes()).encode()

    async def serve(socket: RawSocket) -> None:
        await socket.frame()
        for start in range(0, len(text), 5000):
            last = start + 5000 >= len(text)
            socket.send(text[start : start + 5000], 1 if start == 0 else 0, fin=last)
            socket.send(b"x", 9)
        await socket.read_strictly()

    async with raw_app(serve) as url, talking(node, app, url) as (leg, _):
        await leg.heard_app(50)
        start, _ = app_audio(leg.heard)
        assert np.array_equal(leg.heard[start : start + said.size], said)
