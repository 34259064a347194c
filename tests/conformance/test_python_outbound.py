"""The official Python SDK decides about calls and places them: reject, redirect, create, and how each one ends
(protocol.md §§3.2, 5.5, 5.7, 5.8)."""

from __future__ import annotations

import numpy as np
import pytest
from azure.communication.callautomation import CallRejectReason
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from tests.conformance.python_sdk import media_streaming, number, sdk, tone
from tests.console_leg import caller, phone
from tests.live import CALLEE, CALLER, LiveNode, TestApp, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOTH = pytest.mark.parametrize("kind", ["async http", "sync http"])
OTHER = "+15550100009"


@BOTH
@pytest.mark.parametrize(
    "reason, figures",
    [(CallRejectReason.BUSY, (486, 560486)), (CallRejectReason.FORBIDDEN, (403, 560403)), (None, (200, 5002))],
)
async def test_a_rejected_caller_hears_why(
    node: LiveNode, app: TestApp, kind: str, reason: CallRejectReason | None, figures: tuple[int, int]
) -> None:
    async with sdk(node, kind) as client, caller(node) as leg:
        data = await app.invited()
        options = {} if reason is None else {"call_reject_reason": reason}
        await client(client.client.reject_call, data["incomingCallContext"], **options)
        ended = await leg.told("ended")
        assert (ended["code"], ended["subCode"]) == figures
        assert not any(said["kind"] == "answered" for said in leg.said)
        assert not app.events, "no connection, so nobody is told"


@BOTH
async def test_redirect_to_a_registered_phone(node: LiveNode, app: TestApp, kind: str) -> None:
    """Caller and phone hear each other; the app is out of it."""
    async with sdk(node, kind) as client, phone(node, OTHER, tone=500) as other, caller(node, tone=900) as leg:
        data = await app.invited()
        await client(client.client.redirect_call, data["incomingCallContext"], number(OTHER))
        await other.told("invite")
        await leg.told("answered")
        await until(lambda: leg.heard.any() and other.heard.any(), "both are heard")
        await other.hang_up()
        assert (await leg.told("ended"))["endedBy"] == "callee"
        assert not app.events


async def test_redirect_to_a_number_that_an_app_watches_rings_the_app_again(node: LiveNode, app: TestApp) -> None:
    async with sdk(node, "async http") as client, caller(node) as leg:
        first = await app.invited()
        await client(client.client.redirect_call, first["incomingCallContext"], number(OTHER))
        second = await app.invited(2)
        assert second["to"]["rawId"] == f"4:{OTHER}"
        assert second["incomingCallContext"] != first["incomingCallContext"]
        await client(client.client.answer_call, second["incomingCallContext"], app.callback)
        await leg.told("answered")


@pytest.mark.parametrize(
    "script, figures",
    [({"reject": "busy"}, (486, 560486)), ({"reject": "declined"}, (603, 0))],
)
async def test_redirect_to_a_phone_that_refuses(
    node: LiveNode, app: TestApp, script: dict[str, str], figures: tuple[int, int]
) -> None:
    """The caller hears why; the context is spent all the same."""
    async with sdk(node, "async http") as client, phone(node, OTHER, **script), caller(node) as leg:
        context = (await app.invited())["incomingCallContext"]
        await client(client.client.redirect_call, context, number(OTHER))
        ended = await leg.told("ended")
        assert (ended["code"], ended["subCode"]) == figures
        assert not any(said["kind"] == "answered" for said in leg.said)
        with pytest.raises(ResourceNotFoundError):
            await client(client.client.answer_call, context, app.callback)
        assert not app.events


async def test_redirect_to_and_fro_without_end(node: LiveNode, app: TestApp) -> None:
    """After ten times the call still rings, and can be answered."""
    async with sdk(node, "async http") as client, caller(node, tone=900) as leg:
        for count in range(1, 11):
            context = (await app.invited(count))["incomingCallContext"]
            await client(client.client.redirect_call, context, number((OTHER, CALLEE)[count % 2]))
        context = (await app.invited(11))["incomingCallContext"]
        with pytest.raises(ResourceExistsError) as refused:
            await client(client.client.redirect_call, context, number(OTHER))
        assert refused.value.error is not None and refused.value.error.code == "8519"
        await client(client.client.answer_call, context, app.callback, media_streaming=media_streaming(app.socket))
        await leg.told("answered")
        stream = await app.stream(frames=5)
        assert not stream.frames[-1]["silent"]


@BOTH
async def test_create_and_the_phone_answers(node: LiveNode, app: TestApp, kind: str) -> None:
    async with sdk(node, kind) as client, phone(node, tone=600, answerAfter=0.2) as leg:
        made = await client(
            client.client.create_call,
            number(CALLEE),
            app.callback,
            source_caller_id_number=number(CALLER),
            source_display_name="Offhook",
            operation_context="made",
            media_streaming=media_streaming(app.socket, 24000),
        )
        invite = await leg.told("invite")
        assert (invite["from"], invite["displayName"], invite["to"]) == (f"4:{CALLER}", "Offhook", f"4:{CALLEE}")
        assert made.call_connection_state == "connecting"
        connected = await app.event("CallConnected")
        assert connected["operationContext"] == "made"
        assert connected["callConnectionId"] == made.call_connection_id
        stream = await app.stream(frames=10)
        assert stream.metadata["sampleRate"] == 24000
        said = tone(700, 0.3, 24000)
        await stream.play(said)
        await leg.heard_app(15)
        start = int(np.flatnonzero(leg.heard)[0]) - 1
        assert np.array_equal(leg.heard[start : start + len(said) // 2], np.frombuffer(said, "<i2"))
        properties = await client(client.connection(made.call_connection_id).get_call_properties)
        assert properties.call_connection_state == "connected"
        assert properties.server_call_id == connected["serverCallId"]
        assert [target.raw_id for target in properties.targets] == [f"4:{CALLEE}"]
        await leg.hang_up()
        gone = await app.event("CallDisconnected")
        assert gone["callConnectionId"] == made.call_connection_id
        assert not app.named("CreateCallFailed")


@pytest.mark.parametrize(
    "script, figures, also_disconnected",
    [
        ({"reject": "busy"}, (486, 560486), False),
        ({"reject": "declined"}, (200, 5002), True),
    ],
)
@BOTH
async def test_create_and_the_phone_refuses(
    node: LiveNode, app: TestApp, kind: str, script: dict[str, str], figures: tuple[int, int], also_disconnected: bool
) -> None:
    """A rejected call was recorded from the real service with both events, 200/5002 (protocol.md §9 row 21)."""
    async with sdk(node, kind) as client, phone(node, **script) as leg:
        await client(client.client.create_call, number(CALLEE), app.callback, operation_context="made")
        failed = await app.event("CreateCallFailed")
        assert failed["operationContext"] == "made"
        assert (failed["resultInformation"]["code"], failed["resultInformation"]["subCode"]) == figures
        await leg.told("ended")
        if also_disconnected:
            gone = await app.event("CallDisconnected")
            assert (gone["resultInformation"]["code"], gone["resultInformation"]["subCode"]) == figures
        assert not app.named("CallConnected")


async def test_create_and_nobody_is_registered(node: LiveNode, app: TestApp) -> None:
    """The message names the command that registers a phone."""
    async with sdk(node, "sync http") as client:
        await client(client.client.create_call, number("+15550100404"), app.callback)
        failed = await app.event("CreateCallFailed")
        assert (failed["resultInformation"]["code"], failed["resultInformation"]["subCode"]) == (404, 8544)
        assert "offhook phone --number +15550100404" in failed["resultInformation"]["message"]


async def test_create_and_the_app_hangs_up_while_it_rings(node: LiveNode, app: TestApp) -> None:
    async with sdk(node, "async http") as client, phone(node, never=True) as leg:
        made = await client(client.client.create_call, number(CALLEE), app.callback)
        await leg.told("invite")
        await client(client.connection(made.call_connection_id).hang_up, True)
        assert (await leg.told("ended"))["endedBy"] == "app"
        gone = await app.event("CallDisconnected")
        assert gone["resultInformation"]["subCode"] == 7000


async def test_create_for_nobody_or_somebody_twice(node: LiveNode, app: TestApp) -> None:
    async with sdk(node, "async http") as client:
        for targets in ([], [number(OTHER), number(OTHER)]):
            with pytest.raises(HttpResponseError) as refused:
                await client(client.client.create_call, targets, app.callback)
            assert (refused.value.status_code, refused.value.error.code) == (400, "8523")  # type: ignore[union-attr]
            assert "targets" in refused.value.message
        assert not app.events
