"""The official Python SDK takes an incoming call and holds it: streams both ways, participants, stop and start,
StopAudio, hang-up; both clients, every form of endpoint (protocol.md §§2, 3, 5, 6)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from azure.communication.callautomation import CallConnectionState
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from tests.conformance.python_sdk import CLIENTS, Sdk, claims, dominant, media_streaming, number, pcm_of, sdk, tone
from tests.console_leg import Leg, caller
from tests.live import CALLEE, CALLER, LiveNode, Stream, TestApp, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORMATS = dict(zip(CLIENTS, [(16000, True), (24000, False), (16000, False), (24000, True), (16000, True)], strict=True))


@pytest.mark.parametrize("kind", CLIENTS)
async def test_a_whole_call(node: LiveNode, app: TestApp, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the ring to CallDisconnected, in the order in which the docs' samples do it."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(node.info["caBundle"]))
    rate, mixed = FORMATS[kind]
    async with sdk(node, kind) as client, caller(node, tone=440) as leg:
        seen: list[Any] = []

        async def on_event(event: dict[str, Any]) -> None:
            if event["type"].endswith("CallConnected"):
                connection = client.connection(event["data"]["callConnectionId"])
                seen.append(await client(connection.get_call_properties))

        app.on_event = on_event
        data = await app.invited()
        assert data["to"]["phoneNumber"]["value"] == CALLEE
        assert data["from"]["rawId"] == f"4:{CALLER}"
        answered = await client(
            client.client.answer_call,
            data["incomingCallContext"],
            app.callback,
            operation_context="the answer",
            media_streaming=media_streaming(app.socket, rate, mixed=mixed),
        )
        connected = await app.event("CallConnected")
        assert connected["operationContext"] == "the answer"
        assert connected["callConnectionId"] == answered.call_connection_id
        stream = await app.stream(frames=55)
        await until(lambda: seen, "properties inside the handler")
        assert seen[0].call_connection_state == CallConnectionState.CONNECTED
        assert seen[0].media_streaming_subscription.state == "active"
        assert seen[0].media_streaming_subscription.id == stream.metadata["subscriptionId"]
        assert seen[0].media_streaming_subscription.subscribed_content_types == ["audio"]
        await check_stream(node, app, stream, leg, rate, mixed)
        await check_participants(client, answered.call_connection_id)
        await check_stop_and_start(client, app, answered.call_connection_id)
        await check_stop_audio(node, app, leg, rate)
        await client(client.connection(answered.call_connection_id).hang_up, kind.startswith("async"))
        gone = await app.event("CallDisconnected")
        assert (gone["resultInformation"]["code"], gone["resultInformation"]["subCode"]) == (200, 7000)
        ended = await leg.told("ended")
        assert (ended["endedBy"], ended["code"], ended["subCode"]) == ("app", 200, 7000)
        with pytest.raises(ResourceNotFoundError) as refused:
            await client(client.connection(answered.call_connection_id).get_call_properties)
        assert refused.value.error is not None and refused.value.error.code == "8522"


async def check_stream(node: LiveNode, app: TestApp, stream: Stream, leg: Leg, rate: int, mixed: bool) -> None:
    """Handshake, metadata and frames; the caller's tone up, the app's tone down, both at unchanged level."""
    connected = await app.event("CallConnected")
    assert stream.headers["x-ms-call-connection-id"] == connected["callConnectionId"]
    assert stream.headers["x-ms-call-correlation-id"] == connected["correlationId"]
    assert {event["data"]["correlationId"] for event in app.events} == {connected["correlationId"]}
    assert (await claims(node, stream.headers["authorization"]))["iss"] == node.info["issuer"]
    for token in app.tokens:
        await claims(node, token)
    assert stream.metadata == {
        "subscriptionId": stream.metadata["subscriptionId"],
        "encoding": "PCM",
        "sampleRate": rate,
        "channels": 1,
        "length": rate // 25,
    }
    assert {len(pcm_of([frame])) for frame in stream.frames} == {rate // 50}
    assert {frame.get("participantRawID") for frame in stream.frames} == {None if mixed else f"4:{CALLER}"}
    assert not any(frame["silent"] for frame in stream.frames)
    up = pcm_of(stream.frames[-50:])
    assert dominant(up, rate) == pytest.approx(440, abs=3)
    said = tone(1000, 0.5, rate)
    await stream.play(said)
    await leg.heard_app(25)
    start = int(np.flatnonzero(leg.heard)[0]) - 1  # a sine begins with a zero
    assert np.array_equal(leg.heard[start : start + len(said) // 2], np.frombuffer(said, "<i2"))
    assert dominant(pcm_of(stream.frames[-25:]), rate) == pytest.approx(440, abs=3), "no echo of the app's own audio"


async def check_participants(client: Sdk, connection_id: str) -> None:
    """The caller is listed, and found by identifier."""
    connection = client.connection(connection_id)
    listed = await client(connection.list_participants)
    assert f"4:{CALLER}" in [one.identifier.raw_id for one in listed]
    one = await client(connection.get_participant, number(CALLER))
    assert one.identifier.properties["value"] == CALLER
    assert (one.is_muted, one.is_on_hold) == (False, False)
    with pytest.raises(ResourceNotFoundError):
        await client(connection.get_participant, number("+15559999999"))


async def check_stop_and_start(client: Sdk, app: TestApp, connection_id: str) -> None:
    """Each result comes with the context of its own request, to the address of its own request."""
    connection = client.connection(connection_id)
    started = await app.event("MediaStreamingStarted")
    assert started["operationContext"] == "the answer"
    assert started["mediaStreamingUpdate"] == {
        "contentType": "Audio",
        "mediaStreamingStatus": "mediaStreamingStarted",
        "mediaStreamingStatusDetails": "subscriptionStarted",
    }
    other = f"{app.url}/other"
    await client(connection.stop_media_streaming, operation_context="stop it", operation_callback_url=other)
    stopped = await app.event("MediaStreamingStopped")
    assert stopped["operationContext"] == "stop it"
    assert stopped["mediaStreamingUpdate"]["mediaStreamingStatusDetails"] == "subscriptionStopped"
    await until(lambda: app.streams[0].closed_with == 1000, "our close")
    await _not_now(client, connection.stop_media_streaming)
    properties = await client(connection.get_call_properties)
    assert properties.media_streaming_subscription.state == "inactive"
    await client(connection.start_media_streaming, operation_context="start it")
    again = await app.event("MediaStreamingStarted", 2)
    assert again["operationContext"] == "start it"
    assert [event["path"] for event in app.named("MediaStreamingStopped") + app.named("MediaStreamingStarted")] == [
        "/other",
        "/callbacks",
        "/callbacks",
    ]
    await app.stream(2, frames=5)
    await _not_now(client, connection.start_media_streaming)


async def _not_now(client: Sdk, request: Any) -> None:
    with pytest.raises(HttpResponseError) as refused:
        await client(request, operation_context="refused")
    assert (refused.value.status_code, refused.value.error.code) == (400, "8500")  # type: ignore[union-attr]


async def check_stop_audio(node: LiveNode, app: TestApp, leg: Leg, rate: int) -> None:
    """What is queued is thrown away at once, on the second stream too."""
    stream = app.streams[1]
    before, events = sum(leg.of_app), len(node.named("stopAudio"))
    await stream.play(tone(1000, 20, rate))
    await leg.heard_app(before + 10)
    await stream.stop()
    cut = (await until(lambda: node.named("stopAudio")[events:]))[0]
    assert cut["playedMs"] + cut["cutMs"] == 20_000
    await leg.heard_frames(leg.frames + 5)
    assert not any(leg.of_app[-3:])


async def test_streaming_that_is_not_wanted_at_first(node: LiveNode, app: TestApp) -> None:
    """No socket until start_media_streaming; without any options it is refused by name."""
    async with sdk(node, "async http") as client:
        async with caller(node):
            data = await app.invited()
            options = media_streaming(app.socket, start=False)
            made = await client(
                client.client.answer_call, data["incomingCallContext"], app.callback, media_streaming=options
            )
            await app.event("ParticipantsUpdated")
            assert made.media_streaming_subscription.state == "inactive"
            assert not app.streams
            await client(client.connection(made.call_connection_id).start_media_streaming)
            assert (await app.event("MediaStreamingStarted")).get("operationContext") is None
            await app.stream(frames=3)
        await app.clear()
        async with caller(node):
            data = await app.invited()
            made = await client(client.client.answer_call, data["incomingCallContext"], app.callback)
            await app.event("CallConnected")
            with pytest.raises(Exception) as refused:
                await client(client.connection(made.call_connection_id).start_media_streaming)
            assert (refused.value.status_code, refused.value.error.code) == (405, "8522")  # type: ignore[attr-defined]
