"""What is the same for every operation, over the table: one that is added to it is tested at once.

What no SDK sends, so over plain REST: bodies that are not valid, requests that are not signed; and the address that
the events of one action go to. The rest is in test_python_every_operation.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import ClientSession
from tests.console_leg import Leg, caller
from tests.live import API_VERSION, LiveNode, TestApp, answer, rest, streaming_options, until
from tests.request_bodies import BODIES, BUILT, CALLER, NOWHERE, path_of

from offhook.service.operations import OPERATIONS, Operation

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAME = {operation.name: operation for operation in OPERATIONS}


def of(operation: Operation) -> str:
    return operation.name


def code(error: Any) -> str:
    """The code of an error envelope."""
    assert list(error) == ["error"] and error["error"]["message"]
    return str(error["error"]["code"])


@contextlib.asynccontextmanager
async def talk(node: LiveNode, app: TestApp, **options: Any) -> AsyncIterator[tuple[Leg, str]]:
    """A call with one caller."""
    async with caller(node, tone=440) as leg:
        data = await app.invited()
        properties = await answer(node, data["incomingCallContext"], app.callback, **options)
        await app.event("CallConnected")
        yield leg, properties["callConnectionId"]


@pytest.mark.parametrize("operation", [one for one in BUILT if BODIES.get(one.name)], ids=of)
async def test_a_body_that_is_not_valid(node: LiveNode, operation: Operation) -> None:
    """Each field, and what stands in it: the message names the one that is wrong."""
    path = path_of(operation)
    for body in (b"[]", b"{", b'"x"'):
        status, error = await rest(node, operation.method, path, body)
        assert (status, code(error)) == (400, "8523")
    for name in BODIES[operation.name]:
        for wrong in (7, [7], {"kind": 7}):
            status, error = await rest(node, operation.method, path, {**BODIES[operation.name], name: wrong})
            assert (status, code(error)) == (400, "8523"), (name, wrong)
            assert name in error["error"]["message"], (name, wrong)


@pytest.mark.parametrize("operation", OPERATIONS, ids=of)
async def test_a_request_that_is_not_signed(node: LiveNode, operation: Operation) -> None:
    url = f"{node.http}{path_of(operation)}?api-version={API_VERSION}"
    async with ClientSession() as session, session.request(operation.method, url) as response:
        assert (response.status, code(await response.json())) == (401, "7509")


def words_options(app: TestApp) -> dict[str, Any]:
    """`transcriptionOptions` that are not started with the call."""
    return {"transportType": "websocket", "transportUrl": app.socket, "locale": "en-US"}


# the address that the events of one action go to -------------------------------------------------------------------

Step = Callable[[LiveNode, str, Leg], Awaitable[None]]


@dataclass(frozen=True)
class Told:
    """How an operation is made to tell of itself: `event` follows, after `then` where something must happen first."""

    event: str
    body: dict[str, Any] | None = None
    before: str | None = None
    then: Step | None = None


async def _presses(node: LiveNode, connection: str, leg: Leg) -> None:
    await leg.send(kind="dtmf", tone="5")


_SILENT = {"targetParticipant": CALLER, "initialSilenceTimeoutInSeconds": 0}
TOLD: dict[str, Told] = {
    "AddParticipant": Told("AddParticipantFailed"),
    "RemoveParticipant": Told("RemoveParticipantSucceeded"),
    "CancelAddParticipant": Told("CancelAddParticipantFailed"),
    "Play": Told("PlayFailed"),
    "TransferToParticipant": Told("CallTransferFailed"),
    "Recognize": Told("RecognizeFailed", {"recognizeInputType": "dtmf", "recognizeOptions": _SILENT}),
    "Hold": Told("HoldFailed", {**BODIES["Hold"], "playSourceInfo": NOWHERE}),
    "StopContinuousDtmfRecognition": Told("ContinuousDtmfRecognitionStopped", before="StartContinuousDtmfRecognition"),
    "StartContinuousDtmfRecognition": Told("ContinuousDtmfRecognitionToneReceived", then=_presses),
    "SendDtmfTones": Told("SendDtmfTonesCompleted"),
    "StartMediaStreaming": Told("MediaStreamingStarted"),
    "StopMediaStreaming": Told("MediaStreamingStopped", before="StartMediaStreaming"),
    "StartTranscription": Told("TranscriptionStarted"),
    "StopTranscription": Told("TranscriptionStopped", before="StartTranscription"),
    "UpdateTranscription": Told("TranscriptionUpdated", before="StartTranscription"),
}


async def test_every_operation_with_an_address_of_its_own_is_here() -> None:
    have = {one.name for one in BUILT if "operation_callback_uri" in getattr(one.request, "__struct_fields__", ())}
    # Unhold has no event of its own; a move needs two calls: test_python_moves.py.
    assert have == {*TOLD, "Unhold", "MoveParticipants"}


@pytest.mark.parametrize("name", TOLD)
async def test_events_go_to_the_operations_own_address(node: LiveNode, app: TestApp, name: str) -> None:
    told = TOLD[name]
    streaming = streaming_options(app.socket, start=False)
    async with talk(node, app, streaming=streaming, transcriptionOptions=words_options(app)) as (leg, connection):
        if told.before is not None:
            assert (await rest(node, "POST", path_of(NAME[told.before], connection), BODIES[told.before]))[0] < 300
            if told.before in TOLD and told.before != "StartContinuousDtmfRecognition":
                await app.event(TOLD[told.before].event)
        body = {**(told.body or BODIES[name]), "operationCallbackUri": f"{app.url}/other", "operationContext": "mine"}
        status, error = await rest(node, "POST", path_of(NAME[name], connection), body)
        assert status == NAME[name].success, error
        if told.then is not None:
            await told.then(node, connection, leg)
        found = await until(lambda: app.named(told.event), told.event)
        assert (found[0]["path"], found[0]["data"]["operationContext"]) == ("/other", "mine")
        assert {e["path"] for e in app.named("CallConnected")} == {"/callbacks"}
    await until(lambda: app.named("CallDisconnected"), "CallDisconnected")
    assert app.named("CallDisconnected")[0]["path"] == "/callbacks"
