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
from azure.core.exceptions import ResourceNotFoundError
from tests.conformance.python_sdk import Sdk, media_streaming, number, sdk
from tests.console_leg import Leg, Samples, caller
from tests.live import CALLER, LiveNode, TestApp

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


async def file_of(node: LiveNode, app: TestApp, count: int = 1) -> tuple[Samples, dict[str, Any], dict[str, Any]]:
    """What the `count`-th recording holds, its metadata and its event."""
    told = await app.recorded(count)
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
        samples, metadata, told = await file_of(node, app)
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
        assert metadata["participants"] == [{"participantId": f"4:{CALLER}"}]
