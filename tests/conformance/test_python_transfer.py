"""The official Python SDK transfers people: who talks to whom before, meanwhile and after; what goes along; every way
to fail (protocol.md §§3.2, 5.7, §9 rows 40 and 42)."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from azure.communication.callautomation import CommunicationUserIdentifier, TeamsPhoneCallDetails
from azure.core.exceptions import HttpResponseError
from tests.conformance.python_sdk import media_streaming, number, tone
from tests.conformance.test_python_participants import BOTH, OTHER, THIRD, Talk, hears, talk
from tests.conformance.test_two_apps import USER, stream_of
from tests.console_leg import phone
from tests.live import CALLER, LiveNode, TestApp, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def transfer(one: Talk, to: Any = None, **options: Any) -> Any:
    transfer_to = one.connection.transfer_call_to_participant
    return await one.client(transfer_to, to or number(OTHER), operation_context="transfer", **options)


@BOTH
async def test_a_call_of_one_is_transferred(node: LiveNode, app: TestApp, kind: str) -> None:
    async with talk(node, app, kind) as one, phone(node, OTHER, tone=700, delay=0.5) as other:
        await app.streams[0].play(tone(1100, 30, 16000))
        elsewhere = f"{app.url}/other"
        result = await transfer(one, source_caller_id_number=number("+15550100077"), operation_callback_url=elsewhere)
        assert result.operation_context == "transfer"
        assert (await other.told("invite"))["from"] == "4:+15550100077"
        accepted = await app.event("CallTransferAccepted")
        assert (accepted["transferee"]["rawId"], accepted["transferTarget"]["rawId"]) == (f"4:{CALLER}", f"4:{OTHER}")
        information = accepted["resultInformation"]
        assert (information["code"], information["subCode"], accepted["operationContext"]) == (200, 7015, "transfer")
        assert [event["path"] for event in app.named("CallTransferAccepted")] == ["/other"]
        gone = await app.event("CallDisconnected")
        assert (gone["resultInformation"]["code"], gone["resultInformation"]["subCode"]) == (0, 0)
        await hears(one.leg, 700)
        await hears(other, 440)
        await until(lambda: app.streams[0].closed_with is not None, "the stream of the app that has left")
        with pytest.raises(HttpResponseError):
            await one.client(one.connection.get_call_properties)
        await one.leg.hang_up()
        await other.told("ended")


async def test_the_call_goes_on_while_the_target_rings(node: LiveNode, app: TestApp) -> None:
    async with talk(node, app) as one, phone(node, OTHER, never=True) as other:
        await app.streams[0].play(tone(1100, 30, 16000))
        await transfer(one)
        await other.told("invite")
        assert (await one.client(one.connection.get_call_properties)).call_connection_state == "transferring"
        await hears(one.leg, 1100)
        await one.leg.hang_up()
        failed = await app.event("CallTransferFailed")
        assert (failed["resultInformation"]["code"], failed["resultInformation"]["subCode"]) == (400, 8558)
        await app.event("CallDisconnected")
        await other.told("ended")


@BOTH
async def test_one_of_a_group_is_transferred_and_the_others_stay(node: LiveNode, app: TestApp, kind: str) -> None:
    async with (
        talk(node, app, kind) as one,
        phone(node, OTHER, tone=700) as second,
        phone(node, THIRD, tone=1100) as third,
        phone(node, "+15550100011", tone=1500) as target,
    ):
        await one.joined()
        await one.joined(THIRD)
        goal = number("+15550100011")
        for options, figures in (
            ({}, (400, "8523")),
            ({"transferee": number("+15559999999")}, (404, "8522")),
        ):
            with pytest.raises(HttpResponseError) as refused:
                await transfer(one, goal, **options)
            assert (refused.value.status_code, refused.value.error.code) == figures  # type: ignore[union-attr]
        with pytest.raises(HttpResponseError) as refused:
            await transfer(one, number(THIRD), transferee=number(OTHER))
        assert (refused.value.status_code, refused.value.error.code) == (409, "8519")  # type: ignore[union-attr]
        await transfer(one, goal, transferee=number(OTHER))
        accepted = await app.event("CallTransferAccepted")
        assert accepted["transferee"]["rawId"] == f"4:{OTHER}"
        await hears(second, 1500)
        await hears(target, 700)
        await hears(one.leg, 1100)
        await hears(third, 440)
        roster = await one.roster()
        assert f"4:{OTHER}" not in roster and {f"4:{CALLER}", f"4:{THIRD}"} <= set(roster)
        assert not app.named("CallDisconnected")
        await target.hang_up()
        await second.told("ended")


@pytest.mark.parametrize(
    "script, figures",
    [({"reject": "busy"}, (486, 560486)), ({"reject": "declined"}, (603, 0)), (None, (404, 8544))],
)
async def test_a_transfer_that_fails_keeps_the_call(
    node: LiveNode, app: TestApp, script: dict[str, str] | None, figures: tuple[int, int]
) -> None:
    async with talk(node, app) as one, contextlib.AsyncExitStack() as stack:
        if script is not None:
            await stack.enter_async_context(phone(node, OTHER, **script))
        await transfer(one)
        failed = await app.event("CallTransferFailed")
        assert (failed["resultInformation"]["code"], failed["resultInformation"]["subCode"]) == figures
        assert failed["operationContext"] == "transfer"
        await app.streams[0].play(tone(1100, 30, 16000))
        await hears(one.leg, 1100)
        assert (await one.client(one.connection.get_call_properties)).call_connection_state == "connected"


async def test_a_transfer_under_way_is_not_begun_again(node: LiveNode, app: TestApp) -> None:
    """Until the app leaves, which calls it off."""
    async with talk(node, app) as one, phone(node, OTHER, never=True) as other:
        await transfer(one)
        with pytest.raises(HttpResponseError) as refused:
            await transfer(one, number(THIRD))
        assert (refused.value.status_code, refused.value.error.code) == (409, "8607")  # type: ignore[union-attr]
        with pytest.raises(HttpResponseError) as refused:
            await transfer(one, number(CALLER))
        assert (refused.value.status_code, refused.value.error.code) == (400, "8523")  # type: ignore[union-attr]
        await other.told("invite")
        await one.client(one.connection.hang_up, False)
        failed = await app.event("CallTransferFailed")
        assert (failed["resultInformation"]["code"], failed["resultInformation"]["subCode"]) == (400, 8508)
        await app.event("CallDisconnected")
        names = [event["type"].rpartition(".")[2] for event in app.events]
        assert names.index("CallTransferFailed") < names.index("CallDisconnected") == len(names) - 1
        await other.told("ended")
        await one.leg.told("ended")


@BOTH
@pytest.mark.parametrize("way", ["transfer", "add"])
async def test_to_a_user_whom_an_app_watches(node: LiveNode, app: TestApp, way: str, kind: str) -> None:
    """The other app is told what goes along, answers, and is heard."""
    async with talk(node, app, kind) as one:
        along = {"voip_headers": {"order": "7 ä"}, "sip_headers": {"X-MS-Custom-a": "b", "User-To-User": "u"}}
        if way == "transfer":
            await transfer(one, CommunicationUserIdentifier(USER), **along)
        else:
            await one.client(one.connection.add_participant, CommunicationUserIdentifier(USER), **along)
        data = await app.invited(2)
        assert data["customContext"] == {
            "voipHeaders": {"order": "7 ä"},
            "sipHeaders": {"X-MS-Custom-a": "b", "userToUser": "u"},
        }
        assert data["to"]["rawId"] == USER
        assert way == "add" or data["from"]["rawId"] == f"4:{CALLER}"
        answered = await one.client(
            one.client.client.answer_call,
            data["incomingCallContext"],
            app.callback,
            media_streaming=media_streaming(app.socket, 24000),
        )
        await app.event("CallTransferAccepted" if way == "transfer" else "AddParticipantSucceeded")
        stream = await stream_of(app, answered.call_connection_id)
        await stream.play(tone(1100, 30, 24000))
        await hears(one.leg, 1100)
        await until(lambda: not stream.frames[-1]["silent"], "the caller's voice")
        await one.client(one.client.connection(answered.call_connection_id).hang_up, False)
        if way == "transfer":
            await one.leg.told("ended")
        else:
            await app.event("ParticipantsUpdated", 3)


async def test_details_for_teams_are_refused_by_name(node: LiveNode, app: TestApp) -> None:
    async with talk(node, app) as one:
        with pytest.raises(HttpResponseError) as refused:
            await transfer(one, voip_headers={"a": "b"}, teams_phone_call_details=TeamsPhoneCallDetails(session_id="s"))
        assert (refused.value.status_code, refused.value.error.code) == (405, "8520")  # type: ignore[union-attr]
        assert "teamsPhoneCallDetails" in refused.value.message
