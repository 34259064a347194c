"""The official JavaScript SDK records a call: its five operations, what its parser makes of the events, and the file
(protocol.md §§3.2, 5.5, 6.4)."""

from __future__ import annotations

import io
import wave
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.conformance.test_python_recording import fetch
from tests.console_leg import caller
from tests.js_app import JsApp, JsError, running_app, unused_port
from tests.live import CALLEE, CALLER, LiveNode, dev_node, until

pytestmark = [pytest.mark.js, pytest.mark.asyncio(loop_scope="module")]

World = tuple[LiveNode, JsApp]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A node and its app in Node.js."""
    port = unused_port()
    async with (
        dev_node(tmp_path_factory.mktemp("state"), "--incoming", f"http://127.0.0.1:{port}/events") as node,
        running_app(node, port, tmp_path_factory.mktemp("app")) as app,
    ):
        await until(lambda: node.named("subscription"), "the subscription's validation")
        yield node, app


async def test_a_recording(pair: World) -> None:
    node, app = pair
    async with caller(node, tone=440) as leg:
        context = (await app.incoming(CALLEE))["incomingCallContext"]
        connection = await app.ask("answerCall", context=context, callback=app.callback, options={})
        await app.event(connection, "CallConnected")
        options = {
            "callLocator": {"kind": "serverCallLocator", "id": connection["serverCallId"]},
            "recordingContent": "audio",
            "recordingChannel": "unmixed",
            "recordingFormat": "wav",
            "channelAffinity": [{"channel": 2, "targetParticipant": {"phoneNumber": CALLER}}],
        }
        started = await app.ask("startRecording", options=options)
        one = {"recordingId": started["recordingId"]}
        assert started["recordingState"] == "active"
        changed = await app.event(connection, "RecordingStateChanged")
        assert changed["state"] == "active" and changed["recordingId"] == started["recordingId"]
        assert changed["startDateTime"]
        await leg.heard_frames(leg.frames + 30)
        await app.ask("pauseRecording", **one)
        assert (await app.event(connection, "RecordingStateChanged", 2))["state"] == "inactive"
        assert (await app.ask("getRecordingState", **one))["recordingState"] == "inactive"
        await app.ask("resumeRecording", **one)
        assert (await app.ask("getRecordingState", **one))["recordingState"] == "active"
        await leg.heard_frames(leg.frames + 30)
        await app.ask("stopRecording", **one)
        assert (await app.event(connection, "RecordingStateChanged", 4))["state"] == "inactive"
        with pytest.raises(JsError) as gone:
            await app.ask("getRecordingState", **one)
        assert gone.value.seen == ("RestError", 404, "8522")
    told = (await app.told("recorded"))["data"]
    chunk = told["recordingStorageInfo"]["recordingChunks"][0]
    _, _, data = await fetch(node, chunk["contentLocation"])
    with wave.open(io.BytesIO(data)) as file:
        frames = file.readframes(file.getnframes())
    loud = [any(frames[channel * 2 :: 12]) for channel in range(6)]
    assert loud == [False, False, True, False, False, False]
    app.assert_nothing_threw()
