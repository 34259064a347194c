"""A node that is full and a node that stops, through the official Python SDK: what new calls are refused with, and how
what runs comes to its end (protocol.md §§3.7, 5.8)."""

from __future__ import annotations

import io
import uuid
import wave
from pathlib import Path
from typing import Any

import pytest
from azure.communication.callautomation import (
    DtmfTone,
    FileSource,
    RecognizeInputType,
    StreamingTransportType,
    TranscriptionOptions,
)
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from tests.conformance.python_sdk import media_streaming, number, sdk, tone
from tests.conformance.test_python_participants import hears
from tests.console_leg import caller, phone
from tests.live import CALLEE, CALLER, TestApp, dev_node, serve_node, until
from tests.service.config_text import HEAD, written
from tests.sound_files import sound_files

OTHER = "+15550100009"


def results(app: TestApp, name: str) -> list[tuple[Any, ...]]:
    """Codes, sub-codes and contexts of one kind of event."""
    told = [event["data"] for event in app.named(name)]
    return [(one["resultInformation"]["code"], one["resultInformation"]["subCode"], one.get("operationContext"))
            for one in told]  # fmt: skip


async def test_a_node_with_as_many_calls_as_it_takes(tmp_path: Path) -> None:
    """429/8516 for a further one, whoever makes it; the one that it has goes on, and its end makes room."""
    app = TestApp()
    async with app.running():
        text = (
            f'{HEAD}[node]\nhost = "127.0.0.1"\nport = 0\nstate_dir = "state"\nmost_calls = 1\n'
            f'allow_targets = ["127.0.0.0/8"]\n[[webhook]]\nurl = "{app.webhook}"\n'
        )
        async with (
            serve_node(written(tmp_path, text)) as node,
            sdk(node, "async http", retry_total=0) as client,
            phone(node, OTHER, tone=440) as leg,
        ):
            made = await client(
                client.client.create_call, number(OTHER), app.callback, media_streaming=media_streaming(app.socket)
            )
            stream = await app.stream(frames=5)
            for request, options in (
                (client.client.create_call, {"target_participant": number(CALLEE)}),
                (client.client.connect_call, {"group_call_id": str(uuid.uuid4())}),
            ):
                with pytest.raises(HttpResponseError) as full:
                    await client(request, callback_url=app.callback, **options)
                assert (full.value.status_code, full.value.error.code) == (429, "8516")  # type: ignore[union-attr]
                assert full.value.response.headers["Retry-After"]  # type: ignore[union-attr]
            await stream.play(tone(1000, 10, 16000))
            await hears(leg, 1000)
            connection = client.connection(made.call_connection_id)
            await client(connection.hang_up, True)
            await app.event("CallDisconnected")
            made = await client(client.client.create_call, number(OTHER), app.callback)
            await app.event("CallConnected", 2)
            await client(client.connection(made.call_connection_id).hang_up, True)
            await app.event("CallDisconnected", 2)


async def test_a_node_whose_recordings_cannot_be_written(tmp_path: Path) -> None:
    """The app is told, nothing of it is left, the call goes on; and when there is a place again it is recorded."""
    app = TestApp()
    async with app.running(), dev_node(tmp_path, "--incoming", app.webhook) as node:
        await until(lambda: node.named("subscription"), "validation")
        async with sdk(node, "async http") as client, caller(node, tone=440) as leg:
            context = (await app.invited())["incomingCallContext"]
            made = await client(client.client.answer_call, context, app.callback)
            await app.event("CallConnected")
            folder = tmp_path / "recordings"
            folder.rename(tmp_path / "elsewhere")
            start, which = client.client.start_recording, {"call_connection_id": made.call_connection_id}
            recording = await client(start, **which)
            failed = await app.event("StartRecordingFailed")
            assert results(app, "StartRecordingFailed") == [(500, 9999, None)]
            assert failed["recordingId"] == recording.recording_id
            assert "No such file" in failed["resultInformation"]["message"]
            with pytest.raises(ResourceNotFoundError):
                await client(client.client.get_recording_properties, recording.recording_id)
            (tmp_path / "elsewhere").rename(folder)
            again = await client(start, **which)
            assert (await app.event("RecordingStateChanged"))["state"] == "active"
            await leg.heard_frames(leg.frames + 10)
            await client(client.client.stop_recording, again.recording_id)
            assert (await app.recorded(again.recording_id))["recordingDurationMs"] > 0
            assert not any(said["kind"] == "ended" for said in leg.said)


@pytest.mark.timeout(120)
async def test_a_node_that_stops_ends_what_runs(tmp_path: Path) -> None:
    """Everything has its one end before CallDisconnected, with the codes of a service that shuts down."""
    app = TestApp()
    async with app.running(), sound_files() as files, dev_node(tmp_path, "--incoming", app.webhook) as node:
        await until(lambda: node.named("subscription"), "validation")
        async with sdk(node, "async http") as client, caller(node, tone=440) as leg:
            context = (await app.invited())["incomingCallContext"]
            made = await client(
                client.client.answer_call,
                context,
                app.callback,
                transcription=TranscriptionOptions(
                    transport_url=app.socket, transport_type=StreamingTransportType.WEBSOCKET, locale="en-US",
                    start_transcription=True,
                ),
            )  # fmt: skip
            await until(lambda: app.named("TranscriptionStarted"), "the recogniser", 60)
            connection = client.connection(made.call_connection_id)
            recording = await client(client.client.start_recording, call_connection_id=made.call_connection_id)
            sound = FileSource(files.url("/a.wav"))
            await client(connection.play_media, sound, loop=True, operation_context="play")
            await app.event("PlayStarted")
            await client(
                connection.start_recognizing_media, RecognizeInputType.DTMF, number(CALLER), play_prompt=sound,
                operation_context="ask",
            )  # fmt: skip
            await client(connection.send_dtmf_tones, [DtmfTone.ONE] * 18, number(CALLER), operation_context="tones")
            await leg.told("key")
            assert await node.stop() == 0
            assert (await leg.told("ended"))["endedBy"] == "service"
        assert results(app, "PlayFailed") == [(500, 8572, "play")]
        assert results(app, "RecognizeCanceled") == [(400, 8508, "ask")]
        assert results(app, "SendDtmfTonesFailed") == [(400, 8508, "tones")]
        assert results(app, "TranscriptionFailed") == [(500, 8580, None)]
        assert results(app, "CallDisconnected") == [(0, 7000, None)]
        states = [event["data"]["state"] for event in app.named("RecordingStateChanged")]
        assert states == ["active", "inactive"]
        assert app.events[-1]["type"].endswith("CallDisconnected")
        (file,) = (tmp_path / "recordings").rglob("*.wav")
        with wave.open(io.BytesIO(file.read_bytes())) as recorded:
            assert recorded.getnframes() > 1600, "a recording that plays"
        assert recording.recording_id
