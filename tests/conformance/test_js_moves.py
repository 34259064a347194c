"""The official JavaScript SDK connects to a call, moves people and transfers them: answers, events as its parser makes
them, and who hears whom (protocol.md §§3.2, 5.5)."""

from __future__ import annotations

import asyncio

import pytest
from tests.conformance.test_python_participants import hears
from tests.console_leg import caller, phone
from tests.js_app import JsApp
from tests.live import CALLEE, CALLER, LiveNode

pytestmark = [pytest.mark.js, pytest.mark.asyncio(loop_scope="module")]

OTHER, THIRD = "+15550300001", "+15550300002"
GROUP = "5f41b2a8-6a6b-4f86-8bd2-3f55a1f0a3c1"


async def test_a_call_is_joined_its_caller_moved_and_transferred(js_pair: tuple[LiveNode, JsApp]) -> None:
    node, app = js_pair
    async with (
        caller(node, tone=440) as leg,
        phone(node, OTHER, tone=700) as other,
        phone(node, THIRD, tone=1100) as third,
    ):
        context = (await app.incoming(CALLEE))["incomingCallContext"]
        first = await app.ask("answerCall", context=context, callback=app.callback, options={})
        await app.event(first, "CallConnected")

        locator = {"kind": "serverCallLocator", "id": first["serverCallId"]}
        again = await app.ask(
            "connectCall", locator=locator, callback=app.callback, options={"operationContext": "join"}
        )
        joined = await app.event(again, "CallConnected")
        assert joined["operationContext"] == "join" and again["callConnectionId"] != first["callConnectionId"]
        listed = (await app.ask("listParticipants", connectionId=again["callConnectionId"]))["values"]
        assert CALLER in [row["identifier"].get("phoneNumber") for row in listed]

        here = await app.ask(
            "connectCall", locator={"kind": "groupCallLocator", "id": GROUP}, callback=app.callback, options={}
        )
        await app.event(here, "CallConnected")
        one = {"connectionId": here["callConnectionId"]}
        await app.ask("addParticipant", invite={"targetParticipant": {"phoneNumber": OTHER}}, options={}, **one)
        await app.event(here, "AddParticipantSucceeded")
        moved = await app.ask(
            "moveParticipants",
            targets=[{"phoneNumber": CALLER}],
            fromCall=first["callConnectionId"],
            options={"operationContext": "move"},
            **one,
        )
        assert moved["fromCall"] == first["callConnectionId"] and moved["operationContext"] == "move"
        told = await app.event(here, "MoveParticipantSucceeded")
        assert (told["participant"]["phoneNumber"], told["fromCall"]) == (CALLER, first["callConnectionId"])
        await asyncio.gather(hears(leg, 700), hears(other, 440))
        await app.event(first, "CallDisconnected")

        options = {"operationContext": "transfer", "transferee": {"phoneNumber": CALLER}}
        asked = await app.ask("transferCallToParticipant", participant={"phoneNumber": THIRD}, options=options, **one)
        assert asked["operationContext"] == "transfer"
        accepted = await app.event(here, "CallTransferAccepted")
        assert accepted["transferTarget"]["rawId"] == f"4:{THIRD}" and accepted["transferee"]["rawId"] == f"4:{CALLER}"
        assert accepted["resultInformation"]["subCode"] == 7015
        await asyncio.gather(hears(leg, 1100), hears(third, 440))
        await app.ask("hangUp", forEveryone=True, **one)
        await other.told("ended")
        await leg.hang_up()
        await third.told("ended")
