"""The official Python SDK moves people between calls: who hears whom, who is told, and every way to fail (protocol.md
§§3.2, 5.5, §9 row 41)."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from tests.conformance.python_sdk import media_streaming, number, tone
from tests.conformance.test_python_connect import connect, stream_of, streams, told
from tests.conformance.test_python_participants import BOTH, OTHER, THIRD, hears, talk
from tests.console_leg import phone
from tests.live import CALLER, LiveNode, TestApp, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
NEVER = "+15550100888"


@BOTH
async def test_somebody_is_moved_here_and_hears_who_is_here(node: LiveNode, app: TestApp, kind: str) -> None:
    async with (
        talk(node, app, kind) as one,
        phone(node, OTHER, tone=700, rate=16000) as other,
        phone(node, THIRD, tone=1100),
    ):
        await one.joined(THIRD)
        options = media_streaming(app.socket, 24000)
        group = await connect(one.client, app, group_call_id=str(uuid.uuid4()), media_streaming=options)
        here = one.client.connection(group.call_connection_id)
        await one.client(here.add_participant, number(OTHER), source_caller_id_number=number("+15550100077"))
        await app.event("AddParticipantSucceeded", 2)
        first = app.streams[0].headers["x-ms-call-connection-id"]
        result = await one.client(
            here.move_participants,
            [number(CALLER)],
            first,
            operation_context="move",
            operation_callback_url=f"{app.url}/callbacks",
        )
        assert (result.from_call, result.operation_context) == (first, "move")
        assert [person.identifier.raw_id for person in result.participants] == [f"4:{OTHER}", f"4:{CALLER}"]
        moved = await app.event("MoveParticipantSucceeded")
        assert (moved["participant"]["rawId"], moved["fromCall"]) == (f"4:{CALLER}", first)
        assert (moved["callConnectionId"], moved["operationContext"]) == (group.call_connection_id, "move")
        assert [event["path"] for event in app.named("MoveParticipantSucceeded")] == ["/callbacks"]
        await hears(one.leg, 700)
        await hears(other, 440)
        await streams(await stream_of(app, group.call_connection_id), 24000, 440, 700)
        await until(lambda: set(await_roster(app, first)) == {f"4:{THIRD}"}, "the roster of the call that was left")
        assert not any(said["kind"] == "ended" for said in one.leg.said)
        await one.client(here.move_participants, [number(THIRD)], first)
        gone = await app.event("CallDisconnected")
        assert gone["callConnectionId"] == first and gone["resultInformation"]["subCode"] == 5003
        await hears(one.leg, 700, 1100)
        await one.client(here.hang_up, True)
        await one.leg.told("ended")


def await_roster(app: TestApp, connection: str) -> list[str]:
    """Phones in the newest roster of a connection."""
    rosters = [e["data"] for e in app.named("ParticipantsUpdated") if e["data"]["callConnectionId"] == connection]
    raw_ids = [person["identifier"]["rawId"] for person in rosters[-1]["participants"]]
    return [raw_id for raw_id in raw_ids if raw_id.startswith("4:") and raw_id != "4:+15550100002"]


async def test_who_cannot_be_moved(node: LiveNode, app: TestApp) -> None:
    async with talk(node, app) as one, phone(node, OTHER, never=True) as other, phone(node, NEVER, never=True):
        await one.add()
        await other.told("invite")
        group = await connect(one.client, app, group_call_id=str(uuid.uuid4()))
        here, first = one.client.connection(group.call_connection_id), app.streams[0].headers["x-ms-call-connection-id"]
        await one.client(here.move_participants, [number(OTHER)], first, operation_context="move")
        failed = await app.event("MoveParticipantFailed")
        assert (failed["participant"]["rawId"], failed["fromCall"]) == (f"4:{OTHER}", first)
        assert (failed["resultInformation"]["code"], failed["resultInformation"]["subCode"]) == (400, 8558)
        for people, of, figures in (
            ([number(THIRD)], first, (404, "8522")),
            ([number(CALLER)], "00000000-0000-8001-8000-000000000000", (404, "8522")),
            ([number(CALLER)], group.call_connection_id, (400, "8523")),
        ):
            with pytest.raises(HttpResponseError) as refused:
                await one.client(here.move_participants, people, of)
            assert (refused.value.status_code, refused.value.error.code) == figures  # type: ignore[union-attr]
        ringing = await one.client(one.client.client.create_call, number(NEVER), app.callback)
        with pytest.raises(HttpResponseError) as early:
            await one.client(here.move_participants, [number(NEVER)], ringing.call_connection_id)
        assert (early.value.status_code, early.value.error.code) == (400, "8501")  # type: ignore[union-attr]
        await one.client(one.client.connection(ringing.call_connection_id).hang_up, True)
        assert "MoveParticipantSucceeded" not in told(app, group.call_connection_id)
        await one.client(here.hang_up, True)


async def test_who_is_here_already_or_being_transferred_stays(node: LiveNode, app: TestApp) -> None:
    """Each is told of by an event, and goes on talking where they are."""
    async with talk(node, app) as one, phone(node, CALLER, tone=700) as same, phone(node, OTHER, never=True) as target:
        group = await connect(one.client, app, group_call_id=str(uuid.uuid4()))
        here, first = one.client.connection(group.call_connection_id), app.streams[0].headers["x-ms-call-connection-id"]
        await one.client(one.connection.transfer_call_to_participant, number(OTHER))
        await target.told("invite")
        await one.client(here.move_participants, [number(CALLER)], first, operation_context="transferred")
        assert _result(await app.event("MoveParticipantFailed")) == (409, 8607, "transferred")
        await target.hang_up()
        await app.event("CallTransferFailed")
        await one.client(here.add_participant, number(CALLER), source_caller_id_number=number("+15550100077"))
        await app.event("AddParticipantSucceeded")
        await one.client(here.move_participants, [number(CALLER)], first, operation_context="here")
        assert _result(await app.event("MoveParticipantFailed", 2)) == (409, 8519, "here")
        await app.streams[0].play(tone(1100, 30, 16000))
        await hears(one.leg, 1100)
        assert not same.heard.any(), "they are in another call"
        await one.client(here.hang_up, True)
        await same.told("ended")


def _result(data: dict[str, Any]) -> tuple[int, int, str]:
    information = data["resultInformation"]
    assert data["participant"]["rawId"] == f"4:{CALLER}"
    return information["code"], information["subCode"], data["operationContext"]
