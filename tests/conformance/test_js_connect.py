"""The official JavaScript SDK joins calls, moves people and transfers them (protocol.md §9 rows 38 to 41)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio
from tests.conformance.test_js_sdk import APP_CALLS_FROM, purity, streaming, talking, unused_port
from tests.console_leg import phone
from tests.js_app import JsApp, running_app
from tests.live import CALLER, LiveNode, dev_node, until

pytestmark = [pytest.mark.js, pytest.mark.asyncio(loop_scope="module")]

CALLED, TARGET = "+15550300001", "+15550300002"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def two(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[LiveNode, JsApp]]:
    """A node and its app."""
    port = unused_port()
    async with (
        dev_node(tmp_path_factory.mktemp("state"), "--incoming", f"http://127.0.0.1:{port}/events") as node,
        running_app(node, port, tmp_path_factory.mktemp("app")) as app,
    ):
        await until(lambda: node.named("subscription"), "the subscription's validation")
        yield node, app


async def test_an_app_joins_and_people_are_moved_and_transferred(two: tuple[LiveNode, JsApp]) -> None:
    """Connect by server call id and to a group, transfer with a transferee, and who hears whom after each."""
    node, app = two
    async with talking(node, app, CALLED, {}) as (leg, connection), phone(node, TARGET, tone=700) as other:
        known = {"kind": "serverCallLocator", "id": connection["serverCallId"]}
        options = {"operationContext": "join", "mediaStreamingOptions": streaming(app.socket, "pcm24KMono")}
        joined = await app.ask("connectCall", locator=known, callback=app.callback, options=options)
        assert joined["serverCallId"] == connection["serverCallId"] and joined["callConnectionState"] == "connecting"
        assert (await app.event(joined, "CallConnected"))["operationContext"] == "join"
        await app.ask("hangUp", connectionId=joined["callConnectionId"], forEveryone=False)
        await app.event(joined, "CallDisconnected")
        group = {"kind": "groupCallLocator", "id": str(uuid4())}
        meeting = await app.ask("connectCall", locator=group, callback=app.callback)
        here = {"connectionId": meeting["callConnectionId"]}
        of = connection["callConnectionId"]
        moved = await app.ask("moveParticipants", **here, participants=[{"phoneNumber": CALLER}], fromCall=of)
        assert moved["fromCall"] == of and len(moved["participants"]) == 1
        told = await app.event(meeting, "MoveParticipantSucceeded")
        assert told["participant"]["phoneNumber"] == CALLER and told["fromCall"] == of
        await app.event(connection, "CallDisconnected")
        context = {"operationContext": "transfer", "sourceCallIdNumber": {"phoneNumber": APP_CALLS_FROM}}
        sent = await app.ask("transferCall", **here, target={"phoneNumber": TARGET}, options=context)
        assert sent["operationContext"] == "transfer"
        accepted = await app.event(meeting, "CallTransferAccepted")
        assert (accepted["operationContext"], accepted["resultInformation"]["subCode"]) == ("transfer", 7015)
        people = [accepted[who]["phoneNumber"]["value"] for who in ("transferee", "transferTarget")]
        assert people == [CALLER, TARGET], "the SDK hands these two on as they come"
        heard = await other.heard_frames(60)
        assert purity(heard, 16000, seconds=0.5) > 0.9, "the caller's voice, in the call of the two"
        await app.ask("hangUp", **here, forEveryone=False)
        await leg.hang_up()
        await other.told("ended")
