"""What the official Python SDK raises, by cause, and repeated requests (protocol.md §§3.7, 3.12)."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
)
from tests.conformance.python_sdk import number, sdk
from tests.console_leg import caller, phone
from tests.live import CALLEE, CONNECTIONS, LiveNode, TestApp, rest

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOTH = pytest.mark.parametrize("kind", ["async http", "sync http"])
NOWHERE = "11111111-2222-3333-4444-555555555555"


def figures(error: HttpResponseError) -> tuple[int | None, str | None]:
    """Status and code of an error."""
    return error.status_code, None if error.error is None else error.error.code


@BOTH
async def test_the_loser_of_a_second_answer(node: LiveNode, app: TestApp, kind: str) -> None:
    async with sdk(node, kind) as client, caller(node) as leg:
        context = (await app.invited())["incomingCallContext"]
        await client(client.client.answer_call, context, app.callback)
        for again in (client.client.answer_call, client.client.reject_call):
            with pytest.raises(ResourceExistsError) as refused:
                await client(again, context, *([app.callback] if again == client.client.answer_call else []))
            assert figures(refused.value) == (409, "8519")
        await leg.told("answered")
        assert len(app.named("CallConnected")) <= 1


@BOTH
async def test_a_wrong_key(node: LiveNode, kind: str) -> None:
    async with sdk(node, kind, key="bm90IHRoZSBrZXk=") as client:
        with pytest.raises(ClientAuthenticationError) as refused:
            await client(client.connection(NOWHERE).get_call_properties)
        assert figures(refused.value) == (401, "7509")


async def test_a_wrong_context_and_a_wrong_url(node: LiveNode, app: TestApp) -> None:
    async with sdk(node, "async http") as client, caller(node):
        context = (await app.invited())["incomingCallContext"]
        for wrong in (context[:-2] + "AA", context[: len(context) // 2], "x", "a.b.c"):
            with pytest.raises(HttpResponseError) as refused:
                await client(client.client.answer_call, wrong, app.callback)
            assert figures(refused.value) == (400, "8523")
            assert "incomingCallContext" in str(refused.value)
        with pytest.raises(HttpResponseError) as refused:
            await client(client.client.answer_call, context, "ftp://example.invalid/")
        assert figures(refused.value) == (400, "8523")
        assert "callbackUri" in str(refused.value)
        await client(client.client.answer_call, context, app.callback)


async def repeated(node: LiveNode, path: str, body: Any, request_id: str) -> tuple[int, Any]:
    """A request as the SDK's retry sends it: the same id, a new date and signature."""
    headers = {"Repeatability-Request-ID": request_id, "Repeatability-First-Sent": "Sun, 22 Nov 2026 12:08:00 GMT"}
    return await rest(node, "POST", path, body, headers=headers)


async def test_a_repeated_request_is_done_once(node: LiveNode, app: TestApp) -> None:
    """The same status and ids, the state as of now; another request under the id is refused."""
    request_id = str(uuid.uuid4())
    body = {"targets": [{"phoneNumber": {"value": CALLEE}}], "callbackUri": app.callback}
    async with phone(node) as leg:
        status, first = await repeated(node, CONNECTIONS, body, request_id)
        assert (status, first["callConnectionState"]) == (201, "connecting")
        await app.event("CallConnected")
        status, again = await repeated(node, CONNECTIONS, body, request_id)
        assert (status, again["callConnectionState"]) == (201, "connected")
        assert again["callConnectionId"] == first["callConnectionId"]
        assert len([said for said in leg.said if said["kind"] == "invite"]) == 1
        path = f"{CONNECTIONS}/{first['callConnectionId']}:terminate"
        assert (await repeated(node, path, None, request_id))[0] == 400
        other = str(uuid.uuid4())
        assert (await repeated(node, path, None, other))[0] == 204
        assert (await repeated(node, path, None, other))[0] == 204
        await leg.told("ended")
        await app.event("CallDisconnected")
        assert len(app.named("CallDisconnected")) == 1
        status, gone = await repeated(node, CONNECTIONS, body, request_id)
        assert (status, gone["callConnectionState"]) == (201, "disconnected")


async def test_a_participant_by_any_spelling_of_its_id(node: LiveNode, app: TestApp) -> None:
    """The SDKs encode raw ids in the path, the async one's HTTP stack half undoes it (protocol.md §4.1)."""
    async with sdk(node, "async http") as client, caller(node, sender="+15550100077"):
        context = (await app.invited())["incomingCallContext"]
        made = await client(client.client.answer_call, context, app.callback)
        await app.event("CallConnected")
        one = await client(client.connection(made.call_connection_id).get_participant, number("+15550100077"))
        assert one.identifier.raw_id == "4:+15550100077"
        for spelling in ("4%3A%2B15550100077", "4:%2B15550100077", "4:+15550100077"):
            path = f"{CONNECTIONS}/{made.call_connection_id}/participants/{spelling}"
            assert (await rest(node, "GET", path))[0] == 200
