"""One node and one app for each module of conformance tests; the app forgets everything between tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import pytest_asyncio
from tests.console_leg import caller
from tests.js_app import JsApp, running_app, unused_port
from tests.live import LiveNode, TestApp, answer, dev_node, streaming_options, until


@pytest.fixture(scope="session", autouse=True)
def unanswered(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Future[Any] | None]:
    """Half a minute of ringing, begun with the first conformance test so that nobody waits for it."""
    if not any(item.path.name == "test_unanswered.py" for item in request.session.items):
        yield None
        return
    from tests.conformance.test_unanswered import ring_out

    state = tmp_path_factory.mktemp("unanswered")
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(lambda: asyncio.run(ring_out(state)))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[LiveNode, TestApp]]:
    """A node whose calls go to an app that has been validated."""
    app = TestApp()
    async with app.running(), dev_node(tmp_path_factory.mktemp("state"), "--incoming", app.webhook) as node:
        await until(lambda: node.named("subscription"), "validation")
        yield node, app


@pytest_asyncio.fixture(loop_scope="module")
async def app(world: tuple[LiveNode, TestApp]) -> TestApp:
    """The module's app, as new."""
    await world[1].clear()
    return world[1]


@pytest_asyncio.fixture(loop_scope="module")
async def node(world: tuple[LiveNode, TestApp], app: TestApp) -> LiveNode:
    """The module's node."""
    return world[0]


@pytest_asyncio.fixture(loop_scope="module")
async def still_well(world: tuple[LiveNode, TestApp]) -> AsyncIterator[None]:
    """After the test: a whole call with sound both ways, and a log without a traceback."""
    node, app = world
    yield
    await app.clear()
    async with caller(node, tone=440) as leg:
        data = await app.invited()
        await answer(node, data["incomingCallContext"], app.callback, streaming_options(app.socket))
        stream = await app.stream(frames=5)
        await stream.play(b"\x01\x02" * 3200)
        await leg.heard_app(5)
    await app.event("CallDisconnected")
    assert not [line for line in node.log if "Traceback" in line], "\n".join(node.log)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def js_pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[LiveNode, JsApp]]:
    """A node, and its app in Node.js."""
    port = unused_port()
    async with (
        dev_node(tmp_path_factory.mktemp("state"), "--incoming", f"http://127.0.0.1:{port}/events") as node,
        running_app(node, port, tmp_path_factory.mktemp("app")) as app,
    ):
        await until(lambda: node.named("subscription"), "the subscription's validation")
        yield node, app
