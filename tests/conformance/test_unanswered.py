"""Calls that nobody answers ring for half a minute (protocol.md §7), beside the other tests of the session."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.python_sdk import number, sdk
from tests.console_leg import caller, phone
from tests.live import CALLEE, TestApp, dev_node, rest, until

RING = 30.0


@dataclass
class Unanswered:
    """What became of one call that an app placed and of one that an app was told of."""

    created: dict[str, Any]
    created_after: float
    phone_ended: dict[str, Any]
    caller_ended: dict[str, Any]
    caller_after: float
    late_answer: tuple[int, str]


async def ring_out(state: Path) -> Unanswered:
    """Let both ring out, in a node of their own."""
    app, loop = TestApp(), asyncio.get_running_loop()
    async with (
        app.running(),
        dev_node(state, "--incoming", app.webhook) as node,
        sdk(node, "async http") as client,
        phone(node, "+15550100008", never=True) as called,
        caller(node, to=CALLEE) as leg,
    ):
        data, began = await app.invited(), loop.time()
        await client(client.client.create_call, number("+15550100008"), app.callback)
        failed = await until(lambda: app.named("CreateCallFailed"), "CreateCallFailed", RING + 10)
        created_after = loop.time() - began
        caller_ended = await leg.told("ended", deadline=RING + 10)
        caller_after = loop.time() - began
        body = {"incomingCallContext": data["incomingCallContext"], "callbackUri": app.callback}
        status, error = await rest(node, "POST", "/calling/callConnections:answer", body)
        assert len(app.incoming) == 1
        return Unanswered(
            failed[0]["data"],
            created_after,
            await called.told("ended"),
            caller_ended,
            caller_after,
            (status, error["error"]["code"]),
        )


@pytest.mark.timeout(90)
def test_create_and_nobody_answers(unanswered: Future[Unanswered]) -> None:
    result = unanswered.result(60)
    info = result.created["resultInformation"]
    assert (info["code"], info["subCode"]) == (487, 10004)
    assert result.created_after == pytest.approx(RING, abs=3)
    assert result.phone_ended["endedBy"] == "timeout"


@pytest.mark.timeout(90)
def test_no_app_answers(unanswered: Future[Unanswered]) -> None:
    """The caller is told, and an answer that comes too late finds no call."""
    result = unanswered.result(60)
    assert (result.caller_ended["code"], result.caller_ended["subCode"]) == (487, 10004)
    assert result.caller_ended["endedBy"] == "timeout"
    assert result.caller_after == pytest.approx(RING, abs=3)
    assert result.late_answer == (404, "8522")
