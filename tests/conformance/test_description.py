"""Requests made up from the REST description against a live node: whatever is asked, the answer is one of the contract.

No request may bring a 5xx (but the 501 of what is not built), an answer that the schema does not have, a traceback or
a leak. The seed is in the first line that a failure prints; `described.made_up(count, seed)` makes the same ones again.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import pytest
from tests.conformance.described import Made, made_up, sent
from tests.conformance.described_calls import Calls, running_calls
from tests.console_leg import caller
from tests.live import TestApp as App
from tests.live import answer, dev_node, streaming_options, until
from tests.soak.test_leaks import Usage, at_rest, figures
from tests.sound_files import sound_files

from offhook.service.operations import OPERATIONS

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

SEED = 20261125
UNBUILT = {operation.name for operation in OPERATIONS if operation.run is None}
"""Operations that may answer 501."""
# The speech process is started by the first text that is played, and stays.
SPEECH_TASKS, SPEECH_DESCRIPTORS = 3, 3
TAKE_CONTEXTS = ("AnswerCall", "RedirectCall", "RejectCall")


async def conform(folder: Path, count: int, number: int) -> Calls:
    """Send `count` requests; the node must answer each as it may, and be as it was when all calls are over."""
    cases, chance = made_up(count, number), random.Random(number)
    assert len(cases) >= count
    app = App()
    async with app.running(), sound_files() as files, dev_node(folder, "--incoming", app.webhook) as node:
        await until(lambda: node.named("subscription"), "validation")
        idle, descriptors = await figures(node), Usage.of(node.process.pid).descriptors
        began = time.monotonic()
        async with running_calls(node, app, files.url("/a.wav")) as calls:
            for index, case in enumerate(cases):
                await calls.renew(chance)
                if case.operation.definition.raw["operationId"] in TAKE_CONTEXTS:
                    await calls.ringing()
                made = sent(case, calls, chance)
                await one(calls, made, f"seed {number}, case {index}")
        print(f"seed {number}: {len(cases)} requests in {time.monotonic() - began:.1f} s, {calls.answers}", flush=True)
        await at_rest(node, idle["tasks"] + SPEECH_TASKS, descriptors + SPEECH_DESCRIPTORS)
        await app.clear()
        async with caller(node, tone=440) as leg:
            data = await app.invited()
            await answer(node, data["incomingCallContext"], app.callback, streaming_options(app.socket))
            stream = await app.stream(frames=5)
            await stream.play(b"\x01\x02" * 3200)
            await leg.heard_app(5)
        return calls


async def one(calls: Calls, made: Made, which: str) -> None:
    status, headers, body = await calls.send(made)
    shown = f"{which}: {made.case.method} {made.target} {made.headers} {made.body!r} -> {status} {body!r}"
    assert status < 500 or (status == 501 and made.name in UNBUILT), shown
    try:
        made.check(status, headers, body)
    except BaseException as failure:
        raise AssertionError(f"{shown}\n{failure}") from None


@pytest.mark.timeout(180)
async def test_a_thousand_requests(tmp_path: Path) -> None:
    calls = await conform(tmp_path, 1000, SEED)
    done = {name for (name, status), times in calls.answers.items() if status < 300 and times}
    never = {operation.name for operation in OPERATIONS} - UNBUILT - done
    assert len(never) <= 4, f"{never}: what is made up does not get as far as to be done"


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_ten_thousand_requests(tmp_path: Path) -> None:
    await conform(tmp_path, 10_200, SEED + 1)
