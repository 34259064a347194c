"""The official Python SDK joins calls: by server call id and by group id; who hears whom, who is told what, and every
way to fail (protocol.md §§3.2, 5.7, §9 rows 38 and 39)."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from tests.conformance.python_sdk import Sdk, media_streaming, number, pcm_of, sdk, tone
from tests.conformance.test_python_participants import BOTH, OTHER, hears, talk, tones
from tests.console_leg import caller, phone
from tests.live import CALLER, LiveNode, Stream, TestApp, until

from offhook.calls.moving import MOST_APPS

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def connect(client: Sdk, app: TestApp, **options: Any) -> Any:
    """A second app joins; its callbacks go to /other."""
    return await client(client.client.connect_call, f"{app.url}/other", operation_context="join", **options)


def told(app: TestApp, connection: str) -> list[str]:
    """Names of the events of one connection."""
    return [event["type"].rpartition(".")[2] for event in app.events if event["data"]["callConnectionId"] == connection]


async def stream_of(app: TestApp, connection: str, frames: int = 30) -> Stream:
    """The stream of one connection, once it has sent that many frames."""

    def found() -> list[Stream]:
        mine = [s for s in app.streams if s.headers["x-ms-call-connection-id"] == connection]
        return [stream for stream in mine if len(stream.frames) >= frames]

    return (await until(found, "the stream"))[0]  # type: ignore[no-any-return]


async def streams(stream: Stream, rate: int, *expected: int) -> None:
    """Wait until an app hears these tones, and nothing else."""

    def heard() -> set[int]:
        return tones(pcm_of(stream.frames[-30:]), rate)

    await until(lambda: heard() == set(expected), f"{expected}; it hears {heard()}")


@BOTH
async def test_a_second_app_joins_with_a_stream_of_its_own(node: LiveNode, app: TestApp, kind: str) -> None:
    async with talk(node, app, kind) as one:
        known = await app.event("CallConnected")
        made = await connect(
            one.client,
            app,
            server_call_id=known["serverCallId"],
            media_streaming=media_streaming(app.socket, 24000),
        )
        second = made.call_connection_id
        assert second != known["callConnectionId"] and made.call_connection_state == "connecting"
        assert made.server_call_id == known["serverCallId"]
        await until(lambda: "MediaStreamingStarted" in told(app, second), "its stream")
        assert told(app, second) == ["CallConnected", "ParticipantsUpdated", "MediaStreamingStarted"]
        assert {e["path"] for e in app.events if e["data"]["callConnectionId"] == second} == {"/other"}
        joined = await app.event("CallConnected", 2)
        assert (joined["operationContext"], joined["correlationId"]) == ("join", known["correlationId"])
        stream = await stream_of(app, second)
        assert stream.metadata["sampleRate"] == 24000 and len(stream.frames[-1]["data"]) == 1280
        await streams(stream, 24000, 440)
        await stream.play(tone(1100, 30, 24000))
        await hears(one.leg, 1100)
        frames = await one.newest(CALLER)
        assert tones(pcm_of(frames)) == {440}, "an unmixed stream holds people alone"
        await app.streams[0].play(tone(700, 30, 16000))
        await hears(one.leg, 700, 1100)
        await streams(stream, 24000, 440, 700)
        connection = one.client.connection(second)
        there = await one.client(connection.get_call_properties)
        assert there.call_connection_state == "connected" and there.callback_url == f"{app.url}/other"
        listed = await one.client(connection.list_participants)
        assert f"4:{CALLER}" in [person.identifier.raw_id for person in listed]
        await one.client(one.connection.hang_up, False)
        gone = await app.event("CallDisconnected")
        assert gone["callConnectionId"] == known["callConnectionId"]
        await hears(one.leg, 1100)
        await one.client(connection.hang_up, False)
        await app.event("CallDisconnected", 2)
        await one.leg.told("ended")


async def test_both_apps_are_told_of_who_comes_and_one_ends_it_for_all(node: LiveNode, app: TestApp) -> None:
    async with talk(node, app) as one, phone(node, OTHER, tone=700) as other:
        known = await app.event("CallConnected")
        second = (await connect(one.client, app, server_call_id=known["serverCallId"])).call_connection_id
        await until(lambda: len(told(app, second)) == 2, "its events")
        await one.joined()
        await until(lambda: told(app, second).count("ParticipantsUpdated") == 2, "the roster")
        assert "AddParticipantSucceeded" not in told(app, second), "that is for who has asked"
        await one.client(one.client.connection(second).hang_up, True)
        await app.event("CallDisconnected", 2)
        assert told(app, second)[-1] == told(app, known["callConnectionId"])[-1] == "CallDisconnected"
        await one.leg.told("ended")
        await other.told("ended")


@BOTH
async def test_apps_meet_in_a_group_and_add_people(node: LiveNode, app: TestApp, kind: str) -> None:
    group = str(uuid.uuid4())
    async with sdk(node, kind) as client, phone(node, OTHER, tone=700) as other:
        made = [
            await connect(client, app, group_call_id=name, media_streaming=media_streaming(app.socket, rate))
            for name, rate in ((group, 16000), (group.upper(), 24000))
        ]
        first, second = (one.call_connection_id for one in made)
        assert made[0].server_call_id == made[1].server_call_id and first != second
        streamed = [await stream_of(app, first, 5), await stream_of(app, second, 5)]
        assert streamed[0].frames[-1]["silent"], "nobody is there"
        connection = client.connection(second)
        await client(connection.add_participant, number(OTHER), source_caller_id_number=number("+15550100077"))
        await app.event("AddParticipantSucceeded")
        await streams(streamed[0], 16000, 700)
        await streams(streamed[1], 24000, 700)
        await streamed[0].play(tone(1100, 30, 16000))
        await hears(other, 1100)
        await streams(streamed[1], 24000, 700, 1100)
        await client(client.connection(first).hang_up, False)
        await app.event("CallDisconnected")
        assert not any(said["kind"] == "ended" for said in other.said)
        await client(connection.hang_up, False)
        await other.told("ended")


async def test_what_cannot_be_joined(node: LiveNode, app: TestApp) -> None:
    async with sdk(node, "async http") as client:
        with pytest.raises(ResourceNotFoundError) as gone:
            await connect(client, app, server_call_id="bm9ib2R5")
        assert gone.value.error is not None and gone.value.error.code == "8522"
        with pytest.raises(HttpResponseError) as room:
            await connect(client, app, room_id="99434917639286209")
        assert (room.value.status_code, room.value.error.code) == (405, "8520")  # type: ignore[union-attr]
        assert "roomCallLocator" in room.value.message
        async with caller(node) as leg:
            ringing = (await app.invited())["serverCallId"]
            with pytest.raises(HttpResponseError) as early:
                await connect(client, app, server_call_id=ringing)
            assert (early.value.status_code, early.value.error.code) == (400, "8501")  # type: ignore[union-attr]
            await leg.hang_up()
        with pytest.raises(ResourceNotFoundError):
            await connect(client, app, server_call_id=ringing)
        assert not app.events


async def test_a_call_holds_so_many_apps_and_no_more(node: LiveNode, app: TestApp) -> None:
    async with talk(node, app) as one:
        server_call_id = (await app.event("CallConnected"))["serverCallId"]
        for _ in range(MOST_APPS - 1):
            last = await connect(one.client, app, server_call_id=server_call_id)
        with pytest.raises(HttpResponseError) as refused:
            await connect(one.client, app, server_call_id=server_call_id)
        assert (refused.value.status_code, refused.value.error.code) == (400, "8523")  # type: ignore[union-attr]
        assert "callLocator" in refused.value.message
        await app.event("CallConnected", MOST_APPS)
        assert tones(pcm_of(await one.newest(CALLER))) == {440}, "the first goes on"
        await one.client(one.client.connection(last.call_connection_id).hang_up, False)
        await app.event("CallDisconnected")
        await connect(one.client, app, server_call_id=server_call_id)
        await app.event("CallConnected", MOST_APPS + 1)


async def test_who_joins_too_early_hears_that_the_call_never_was(node: LiveNode, app: TestApp) -> None:
    """The call is dialled; the id of one that is not connected yet is known to who asks the node."""
    async with sdk(node, "async http") as client, phone(node, OTHER, never=True) as other:
        created = await client(client.client.create_call, number(OTHER), app.callback)
        call_id = (await other.told("invite"))["callId"]
        early = await connect(client, app, server_call_id=_server_call_id(call_id, created.call_connection_id))
        await client(client.connection(created.call_connection_id).hang_up, True)
        failed = await app.event("ConnectFailed")
        assert failed["callConnectionId"] == early.call_connection_id and failed["operationContext"] == "join"
        await until(lambda: len(told(app, early.call_connection_id)) == 2, "both events")
        assert sorted(told(app, early.call_connection_id)) == ["CallDisconnected", "ConnectFailed"]


def _server_call_id(call_id: str, connection_id: str) -> str:
    from offhook.wire.ids import node_of, server_call_id

    return server_call_id(node_of(connection_id), call_id)
