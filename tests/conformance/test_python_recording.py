"""The official Python SDK records calls: what is in the file, what the app is told, every way to be refused
(protocol.md §§3.3, 3.7, 5.5, 6.4)."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import time
import wave
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from aiohttp import ClientSession
from azure.communication.callautomation import (
    AzureBlobContainerRecordingStorage,
    AzureCommunicationsRecordingStorage,
    ChannelAffinity,
    RecordingChannel,
    RecordingContent,
    RecordingFormat,
)
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from tests.conformance.python_sdk import Sdk, media_streaming, number, sdk
from tests.console_leg import Leg, Samples, caller, phone
from tests.live import CALLEE, CALLER, LiveNode, TestApp, rest, until

from offhook.wire.signing import http_date, sign_hmac

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOTH = pytest.mark.parametrize("kind", ["async http", "sync http"])
OTHER, THIRD = "+15550100019", "+15550100020"


class Talk:
    """A caller whom the app has answered, with the SDK's client."""

    def __init__(self, client: Sdk, app: TestApp, leg: Leg, answered: Any) -> None:
        self.client, self.app, self.leg = client, app, leg
        self.connection_id: str = answered.call_connection_id
        self.server_call_id: str = answered.server_call_id
        self.connection = client.connection(self.connection_id)

    async def start(self, **options: Any) -> Any:
        where = dict(options)
        if not {"call_connection_id", "server_call_id", "group_call_id", "room_id"} & set(where):
            where["call_connection_id"] = self.connection_id
        return await self.client(self.client.client.start_recording, **where)

    async def stop(self, recording_id: str) -> None:
        await self.client(self.client.client.stop_recording, recording_id)

    async def state(self, recording_id: str) -> str:
        found = await self.client(self.client.client.get_recording_properties, recording_id)
        return str(found.recording_state)

    async def joined(self, to: str) -> None:
        before = len(self.app.named("AddParticipantSucceeded"))
        await self.client(self.connection.add_participant, number(to), source_caller_id_number=number("+15550100077"))
        await self.app.event("AddParticipantSucceeded", before + 1)

    async def passed(self, frames: int) -> None:
        """Wait for so many ticks."""
        await self.leg.heard_frames(self.leg.frames + frames)


@contextlib.asynccontextmanager
async def talk(node: LiveNode, app: TestApp, kind: str = "async http", **script: Any) -> AsyncIterator[Talk]:
    async with sdk(node, kind) as client, caller(node, **script) as leg:
        data = await app.invited()
        answered = await client(
            client.client.answer_call,
            data["incomingCallContext"],
            app.callback,
            operation_context="answer",
            media_streaming=media_streaming(app.socket),
        )
        await app.stream(frames=5)
        await app.event("ParticipantsUpdated")
        yield Talk(client, app, leg, answered)


async def fetch(
    node: LiveNode, url: str, method: str = "GET", headers: dict[str, str] | None = None, **signing: str
) -> tuple[int, dict[str, str], bytes]:
    """One request for a file, signed as SDKs sign it unless `signing` says otherwise (host, target)."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    host = signing.get("host", urlsplit(node.http).netloc)
    date = http_date(time.time())
    signed = sign_hmac(method, signing.get("target", target), host, date, b"", base64.b64decode(node.key))
    async with (
        ClientSession() as session,
        session.request(method, node.http + target, headers={**signed, **(headers or {})}) as response,
    ):
        return response.status, dict(response.headers), await response.read()


def read(data: bytes) -> tuple[Samples, int]:
    """Samples by channel, and the rate, as the standard library reads them."""
    with wave.open(io.BytesIO(data)) as file:
        assert file.getsampwidth() == 2
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
        return samples.astype(np.int16), file.getframerate()


async def file_of(node: LiveNode, app: TestApp, recording_id: str) -> tuple[Samples, dict[str, Any], dict[str, Any]]:
    """What a recording holds, its metadata and its event."""
    told = await app.recorded(recording_id)
    chunk = told["recordingStorageInfo"]["recordingChunks"][0]
    status, _, data = await fetch(node, chunk["contentLocation"])
    assert status == 200, data
    status, _, metadata = await fetch(node, chunk["metadataLocation"])
    assert status == 200
    samples, rate = read(data)
    assert rate == 16000
    return samples, json.loads(metadata), told


def noise(seed: int, seconds: float) -> Samples:
    """Sound that is like nothing else."""
    return np.random.default_rng(seed).integers(-6000, 6000, round(seconds * 16000)).astype(np.int16)


def place_of(part: Samples, whole: Samples) -> int:
    """Where a part is in a whole, sample by sample; -1 when it is not."""
    for at in np.flatnonzero(whole[: len(whole) - len(part) + 1] == part[0]):
        if np.array_equal(whole[at : at + len(part)], part):
            return int(at)
    return -1


@BOTH
async def test_a_mixed_recording(node: LiveNode, app: TestApp, kind: str) -> None:
    """It holds the caller and the app as they were heard, from start to stop."""
    mine, apps = noise(1, 1), noise(2, 0.5)
    async with talk(node, app, kind) as one:
        started = await one.start(server_call_id=one.server_call_id)
        assert started.recording_state == "active"
        changed = await app.event("RecordingStateChanged")
        assert (changed["state"], changed["recordingId"]) == ("active", started.recording_id)
        assert changed["recordingKind"] == "azureCommunicationServices" and "operationContext" not in changed
        event = app.named("RecordingStateChanged")[0]
        assert event["source"] == f"calling/recordings/{changed['serverCallId']}/recordingId/{started.recording_id}"
        assert await one.state(started.recording_id) == "active"
        await one.leg.speak(mine.tobytes())
        await app.streams[0].play(apps.tobytes())
        await one.leg.heard_app(25)
        await one.passed(60)
        await one.stop(started.recording_id)
        assert (await app.event("RecordingStateChanged", 2))["state"] == "inactive"
        with pytest.raises(ResourceNotFoundError) as gone:
            await one.state(started.recording_id)
        assert gone.value.error is not None and gone.value.error.code == "8522"
        samples, metadata, told = await file_of(node, app, started.recording_id)
        assert samples.shape[1] == 1
        mixed, heard = samples[:, 0].astype(np.int32), one.leg.heard
        at = place_of(apps, heard)
        assert at >= 0
        spoken = next(
            start
            for start in range(0, len(mixed) - len(mine), 320)
            if np.corrcoef(mixed[start : start + len(mine)], mine)[0, 1] > 0.5
        )
        rest_of = mixed.copy()
        rest_of[spoken : spoken + len(mine)] -= mine
        assert place_of(apps, rest_of.astype(np.int16)) >= 0, "what is not the caller is the app, sample by sample"
        assert told["recordingChannelType"] == "Mixed" and told["recordingFormatType"] == "Wav"
        assert told["recordingDurationMs"] == len(samples) // 16
        assert metadata["participants"] == [{"participantId": f"4:{CALLER}"}, {"participantId": f"4:{CALLEE}"}]


class Line:
    """Where a whole recording stands in what somebody heard, sample by sample."""

    def __init__(self, channels: Samples, others: list[int]) -> None:
        total = channels[:, others].astype(np.int32).sum(axis=1)
        self.samples = np.clip(total, -32768, 32767).astype(np.int16)

    def shift(self, heard: Samples) -> int:
        """How many samples what was heard is ahead; -1 where no shift makes them the same."""
        for at in range(0, len(heard) - len(self.samples) + 1, 320):
            if np.array_equal(heard[at : at + len(self.samples)], self.samples):
                return at
        return -1


@BOTH
async def test_three_people_and_a_barge_in_unmixed(node: LiveNode, app: TestApp, kind: str) -> None:
    """Each alone on the channel that was asked for, all aligned to the sample; what StopAudio cut is not there."""
    voices = {CALLER: noise(11, 2), OTHER: noise(12, 2), THIRD: noise(13, 2)}
    answer = noise(14, 4)
    async with talk(node, app, kind) as one, phone(node, OTHER) as second, phone(node, THIRD) as third:
        await one.joined(OTHER)
        await one.joined(THIRD)
        started = await one.start(
            recording_channel_type=RecordingChannel.UNMIXED,
            recording_format_type=RecordingFormat.WAV,
            recording_content_type=RecordingContent.AUDIO,
            audio_channel_participant_ordering=[number(THIRD)],
            channel_affinity=[ChannelAffinity(number(OTHER), 3)],
        )
        await app.event("RecordingStateChanged")
        legs = {CALLER: one.leg, OTHER: second, THIRD: third}
        for who, leg in legs.items():
            await leg.speak(voices[who].tobytes())
        await app.streams[0].play(answer.tobytes())
        await one.leg.heard_app(40)
        await app.streams[0].stop()
        await one.passed(120)
        await one.stop(started.recording_id)
        samples, metadata, told = await file_of(node, app, started.recording_id)
        heard = {who: leg.heard for who, leg in legs.items()}
    assert samples.shape[1] == 6 and told["recordingChannelType"] == "Unmixed"
    columns = {who["participantId"]: who["channel"] for who in metadata["participants"]}
    assert columns == {f"4:{THIRD}": 0, f"4:{CALLER}": 1, f"4:{OTHER}": 3, f"4:{CALLEE}": 5}
    for who, voice in voices.items():
        at = place_of(voice, samples[:, columns[f"4:{who}"]])
        assert at >= 0, f"{who} is on the channel, whole"
        alone = samples[:, columns[f"4:{who}"]].copy()
        alone[at : at + len(voice)] = 0
        assert not alone.any(), "and nobody else"
    assert not samples[:, [2, 4]].any()
    for who, samples_heard in heard.items():
        others = [channel for channel in range(6) if channel != columns[f"4:{who}"]]
        assert Line(samples, others).shift(samples_heard) >= 0, f"{who} heard exactly the other channels together"
    apps = samples[:, 5]
    spoken = np.flatnonzero(apps)
    length = int(spoken[-1] - spoken[0] + 1)
    assert 8000 <= length < len(answer) - 16000, "it was cut"
    ramp = 80
    begin = int(spoken[0])
    assert place_of(apps[begin : begin + length - ramp], answer) in (0, 1), "from its first sample to the ramp"
    assert not apps[begin + length :].any()


async def test_pause_and_resume(node: LiveNode, app: TestApp) -> None:
    """What is said meanwhile is not in the file, which has no gap; the metadata say when."""
    before, meanwhile, after = noise(21, 0.4), noise(22, 0.4), noise(23, 0.4)
    async with talk(node, app) as one:
        id = (await one.start(recording_state_callback_url=f"{app.url}/other")).recording_id
        await app.event("RecordingStateChanged")
        await one.leg.speak(before.tobytes())
        await one.passed(40)
        await one.client(one.client.client.pause_recording, id)
        assert (await app.event("RecordingStateChanged", 2))["state"] == "inactive"
        assert await one.state(id) == "inactive"
        with pytest.raises(HttpResponseError) as refused:
            await one.client(one.client.client.pause_recording, id)
        assert (refused.value.status_code, refused.value.error.code) == (400, "8573")  # type: ignore[union-attr]
        await one.leg.speak(meanwhile.tobytes())
        await one.passed(40)
        await one.client(one.client.client.resume_recording, id)
        assert (await app.event("RecordingStateChanged", 3))["state"] == "active"
        with pytest.raises(HttpResponseError) as refused:
            await one.client(one.client.client.resume_recording, id)
        assert refused.value.error is not None and refused.value.error.code == "8573"
        await one.leg.speak(after.tobytes())
        await one.passed(40)
        await one.stop(id)
        samples, metadata, told = await file_of(node, app, id)
    assert {event["path"] for event in app.named("RecordingStateChanged")} == {"/other"}
    sound = samples[:, 0]
    first, last = place_of(before, sound), place_of(after, sound)
    assert 0 <= first < last and place_of(meanwhile, sound) < 0
    (pause,) = metadata["pauseResumeIntervals"]
    assert 700 <= pause["duration"] < 5000
    assert told["recordingDurationMs"] == len(sound) // 16


async def test_a_recording_that_begins_paused_and_ends_with_the_call(node: LiveNode, app: TestApp) -> None:
    unheard, heard = noise(31, 0.3), noise(32, 0.3)
    async with talk(node, app) as one:
        started = await one.start(pause_on_start=True)
        assert started.recording_state == "inactive"
        assert (await app.event("RecordingStateChanged"))["state"] == "inactive"
        await one.leg.speak(unheard.tobytes())
        await one.passed(40)
        await one.client(one.client.client.resume_recording, started.recording_id)
        await one.leg.speak(heard.tobytes())
        await one.passed(40)
        await one.client(one.connection.hang_up, True)
        await app.event("CallDisconnected")
        names = [event["type"].rpartition(".")[2] for event in app.events]
        assert names.index("CallDisconnected") > max(
            i for i, name in enumerate(names) if name == "RecordingStateChanged"
        )
        assert app.named("RecordingStateChanged")[-1]["data"]["state"] == "inactive"
        samples, _, told = await file_of(node, app, started.recording_id)
    assert told["sessionEndReason"] == "CallEnded"
    assert told["recordingStorageInfo"]["recordingChunks"][0]["endReason"] == "SessionEnded"
    assert place_of(heard, samples[:, 0]) >= 0 and place_of(unheard, samples[:, 0]) < 0


async def test_mp3(node: LiveNode, app: TestApp) -> None:
    async with talk(node, app, tone=440) as one:
        id = (await one.start(recording_format_type=RecordingFormat.MP3)).recording_id
        await one.passed(100)
        await one.stop(id)
        told = await app.recorded(id)
        chunk = told["recordingStorageInfo"]["recordingChunks"][0]
        status, headers, data = await fetch(node, chunk["contentLocation"])
    assert (status, headers["Content-Type"], told["recordingFormatType"]) == (200, "audio/mpeg", "Mp3")
    assert data[0] == 0xFF and data[1] & 0xE0 == 0xE0, "frames of MPEG audio from the first byte on"
    assert len(data) == pytest.approx(told["recordingDurationMs"] * 8, rel=0.2)


async def test_what_cannot_be_recorded(node: LiveNode, app: TestApp) -> None:
    """Each refusal by the SDK; none of them leaves anything behind."""
    async with talk(node, app) as one:
        connection = {"call_connection_id": one.connection_id}
        people = [number(f"+1555010010{n}") for n in range(6)]
        mixed = {"recording_channel_type": "mixed", "audio_channel_participant_ordering": people[:1]}
        for options, status, code, word in (
            ({**connection, "recording_content_type": RecordingContent.AUDIO_VIDEO}, 405, "8520", "audioVideo"),
            ({**connection, "recording_format_type": RecordingFormat.MP4}, 405, "8520", "mp4"),
            ({"room_id": "99"}, 405, "8520", "rooms"),
            ({"call_connection_id": "5b1b1b1b-0000-8001-8000-000000000000"}, 404, "8522", "Call"),
            ({"server_call_id": "bm9uc2Vuc2U="}, 404, "8522", "callLocator"),
            ({"group_call_id": "5b1b1b1b-0000-4001-8000-000000000000"}, 404, "8522", "callLocator"),
            ({**connection, "recording_channel_type": "unmixed", "recording_format_type": "mp3"}, 400, "8523", "wav"),
            ({**connection, **mixed}, 400, "8523", "unmixed"),
            (
                {**connection, "recording_channel_type": "unmixed", "audio_channel_participant_ordering": people},
                400,
                "8523",
                "channels",
            ),
            ({**connection, "recording_state_callback_url": "ftp://x"}, 400, "8523", "recordingStateCallbackUri"),
            (
                {**connection, "recording_storage": AzureBlobContainerRecordingStorage(container_url="x")},
                400,
                "8523",
                "recordingDestinationContainerUrl",
            ),
        ):
            with pytest.raises(HttpResponseError) as refused:
                await one.start(**options)
            assert refused.value.error is not None
            assert (refused.value.status_code, refused.value.error.code) == (status, code), refused.value
            assert word in refused.value.message, refused.value.message
        for name in ("get_recording_properties", "stop_recording", "pause_recording", "resume_recording"):
            with pytest.raises(ResourceNotFoundError) as gone:
                await one.client(getattr(one.client.client, name), "bm90LW9uZQ")
            assert gone.value.error is not None and gone.value.error.code == "8522"
        body = {
            "callConnectionId": one.connection_id,
            "callLocator": {"kind": "serverCallLocator", "serverCallId": "x"},
        }
        for wrong in ({}, body, {"callConnectionId": one.connection_id, "channelAffinity": [{"channel": 7}]}):
            assert (await rest(node, "POST", "/calling/recordings", wrong))[0] == 400
        id = (await one.start(recording_storage=AzureCommunicationsRecordingStorage())).recording_id
        with pytest.raises(HttpResponseError) as refused:
            await one.start()
        assert (refused.value.status_code, refused.value.error.code) == (400, "8559")  # type: ignore[union-attr]
        await one.stop(id)
        with pytest.raises(ResourceNotFoundError):
            await one.stop(id)
        again = (await one.start()).recording_id
        assert again != id
        await one.stop(again)


async def test_a_group_call_and_who_is_on_hold(node: LiveNode, app: TestApp) -> None:
    """Named by its group; it is recorded before anybody is there; who is on hold is silent in it."""
    voice, unheard = noise(61, 0.4), noise(62, 0.4)
    group = "5B1B1B1B-0000-4001-8000-00000000AAAA"
    async with sdk(node, "async http") as client, phone(node, OTHER) as leg, phone(node, THIRD) as other:
        joined = await client(client.client.connect_call, app.callback, group_call_id=group)
        await app.event("CallConnected")
        connection = client.connection(joined.call_connection_id)
        started = await client(client.client.start_recording, group_call_id=group.lower())
        await app.event("RecordingStateChanged")
        for number_of, count in ((OTHER, 1), (THIRD, 2)):
            add = {"source_caller_id_number": number("+15550100077")}
            await client(connection.add_participant, number(number_of), **add)
            await app.event("AddParticipantSucceeded", count)
        await leg.speak(voice.tobytes())
        await until(lambda: place_of(voice, other.heard) >= 0, "the other one hears it")
        await client(connection.hold, number(OTHER))
        await leg.speak(unheard.tobytes())
        await leg.heard_frames(leg.frames + 40)
        await client(client.client.stop_recording, started.recording_id)
        samples, metadata, _ = await file_of(node, app, started.recording_id)
        assert place_of(voice, samples[:, 0]) >= 0 and place_of(unheard, samples[:, 0]) < 0
        assert {who["participantId"] for who in metadata["participants"]} == {f"4:{OTHER}", f"4:{THIRD}"}
        await client(connection.hang_up, True)
        await app.event("CallDisconnected")


async def test_the_app_leaves_and_the_others_are_recorded_on(node: LiveNode, app: TestApp) -> None:
    """Its events go on to where the request wanted them; it can be stopped by its id."""
    voice = noise(71, 0.4)
    async with talk(node, app) as one, phone(node, OTHER) as other:
        await one.joined(OTHER)
        id = (await one.start(recording_state_callback_url=f"{app.url}/other")).recording_id
        await app.event("RecordingStateChanged")
        await one.client(one.connection.hang_up, False)
        await app.event("CallDisconnected")
        await one.leg.speak(voice.tobytes())
        await until(lambda: place_of(voice, other.heard) >= 0, "they talk on")
        assert await one.state(id) == "active"
        await one.stop(id)
        assert (await app.event("RecordingStateChanged", 2))["state"] == "inactive"
        samples, _, told = await file_of(node, app, id)
    assert place_of(voice, samples[:, 0]) >= 0 and told["sessionEndReason"] == "RecordingStopped"
    assert {event["path"] for event in app.named("RecordingStateChanged")} == {"/other"}


async def test_an_app_that_leaves_and_at_once_stops_the_recording_hears_of_it(node: LiveNode, app: TestApp) -> None:
    """What it is told of its leaving still waits then. Nothing of the connection follows that; this is of another."""
    async with talk(node, app) as one, phone(node, OTHER):
        await one.joined(OTHER)
        id = (await one.start(recording_state_callback_url=f"{app.url}/other")).recording_id
        await app.event("RecordingStateChanged")
        await one.client(one.connection.hang_up, False)
        await one.stop(id)
        assert (await app.event("RecordingStateChanged", 2))["state"] == "inactive"
        await app.event("CallDisconnected")


async def test_a_file_in_parts_and_its_end(node: LiveNode, app: TestApp) -> None:
    """Range requests, both signing ways of SDKs, who may not, and deletion."""
    async with talk(node, app, tone=440) as one:
        id = (await one.start()).recording_id
        await one.passed(30)
        await one.stop(id)
        told = await app.recorded(id)
    chunk = told["recordingStorageInfo"]["recordingChunks"][0]
    content, gone = chunk["contentLocation"], chunk["deleteLocation"]
    _, headers, data = await fetch(node, content)
    assert headers["Content-Type"] == "audio/wav" and headers["Content-Length"] == str(len(data))
    status, headers, part = await fetch(node, content, headers={"Range": "bytes=10-19"})
    assert (status, part, headers["Content-Range"]) == (206, data[10:20], f"bytes 10-19/{len(data)}")
    assert (await fetch(node, content, headers={"Range": "bytes=100-"}))[2] == data[100:]
    assert (await fetch(node, content, headers={"Range": "bytes=-7"}))[2] == data[-7:]
    assert (await fetch(node, content, headers={"Range": f"bytes={len(data)}-"}))[0] == 416
    status, _, whole = await fetch(node, content, headers={"Range": "bytes=None"})
    assert (status, whole) == (200, data), "older SDKs send this where no part is asked for"
    for none in ("bytes=0-1,5-6", "bytes= 0-9", "bytes=-0", "samples=0-9", "bytes=-"):
        assert (await fetch(node, content, headers={"Range": none}))[0::2] == (200, data), none
    for beyond in ("bytes=9-3", f"bytes={'9' * 5000}-"):
        assert (await fetch(node, content, headers={"Range": beyond}))[0] == 416
    assert (await fetch(node, content, headers={"Range": f"bytes=0-{'9' * 30}"}))[0::2] == (206, data)
    status, headers, nothing = await fetch(node, content, "HEAD")
    assert (status, headers["Content-Length"], nothing) == (200, str(len(data)), b"")
    endpoint = f"calls.example:{node.port}"  # another name of the node than that of the URL
    python, js = {"x-ms-host": "calls.example"}, {"x-ms-host": endpoint, "OriginalUrl": content}
    assert (await fetch(node, content, headers=python, host=endpoint))[0] == 200
    assert (await fetch(node, content, headers=js, host=endpoint))[0] == 200
    assert (await fetch(node, content, host="elsewhere.example"))[0] == 401
    async with ClientSession() as session, session.get(node.http + urlsplit(content).path) as response:
        assert response.status == 401
        assert (await response.json())["error"]["code"] == "7509"
    for url in (content.replace(chunk["documentId"], "..%2F..%2Fstate"), content.replace(chunk["documentId"], "x")):
        assert (await fetch(node, url))[0] == 404
    assert (await fetch(node, gone, "DELETE"))[0] == 200
    assert (await fetch(node, gone, "DELETE"))[0] == 404
    status, _, body = await fetch(node, content)
    assert (status, json.loads(body)["error"]["code"]) == (404, "8522")
