"""What goes wrong in an app harms its own call at most: a live node, the real SDK, real sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.console_leg import caller
from tests.kit.live import alone, echoing, hears_tone, validated, voice_app
from tests.live import LiveNode, dev_node, until

from offhook.errors import ConfigError
from offhook.kit import Call
from offhook.kit.events import MediaStreamingStarted

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.usefixtures("nothing_left"),
]
TONE = 440.0


@pytest.fixture(scope="module")
def port(free_port: Callable[[], int]) -> int:
    return free_port()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory, port: int) -> AsyncIterator[LiveNode]:
    state: Path = tmp_path_factory.mktemp("state")
    async with dev_node(state, "--incoming", f"http://127.0.0.1:{port}/api/incomingCall") as made:
        yield made


def webhook(port: int) -> str:
    return f"http://127.0.0.1:{port}/api/incomingCall"


async def test_an_agent_that_fails_or_blocks_is_named_and_other_calls_go_on(
    node: LiveNode, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    app = voice_app(node, blocking_ms=200)

    @app.on_call
    async def agent(call: Call) -> None:
        if call.caller == "4:+15550100013":
            raise ZeroDivisionError
        if call.caller == "4:+15550100014":
            time.sleep(0.6)
        async for frame in call.audio:
            call.play(frame.pcm)

    async with alone(app, port):
        await validated(node, webhook(port))
        async with caller(node, tone=TONE) as leg:
            await hears_tone(leg, TONE)
            async with caller(node, sender="+15550100013") as failing:
                assert (await failing.told("ended"))["endedBy"] == "app"
            async with caller(node, sender="+15550100014", tone=600) as blocking:
                await hears_tone(blocking, 600)
            already = leg.frames
            await leg.heard_frames(already + 5)
            await hears_tone(leg, TONE)
            assert not any(said["kind"] == "ended" for said in leg.said)
    failed = next(message for message in caplog.messages if "failed" in message)
    assert "from 4:+15550100013 failed: the call is hung up" in failed and "ZeroDivisionError" in caplog.text
    (blocked,) = [message for message in caplog.messages if "event loop" in message]
    lines = [text.strip() for text in Path(__file__).read_text().splitlines()]
    line = lines.index("time.sleep(0.6)") + 1
    assert f"agent() at {__file__}:{line}" in blocked and "time.sleep(0.6)" in blocked


async def test_a_stream_that_breaks_is_taken_up_again(node: LiveNode, port: int) -> None:
    app = voice_app(node)
    calls = echoing(app)
    started: list[MediaStreamingStarted] = []

    @app.on(MediaStreamingStarted)
    async def again(call: Call, event: MediaStreamingStarted) -> None:
        started.append(event)

    async with alone(app, port):
        await validated(node, webhook(port))
        async with caller(node, tone=TONE) as leg:
            await hears_tone(leg, TONE)
            first: Any = calls[0].stream
            first._socket._ws._req.transport.abort()
            await until(lambda: calls[0].stream is not first, "another socket")
            await leg.heard_frames(leg.frames + 10)
            await hears_tone(leg, TONE)
            assert len(calls) == 1 and not calls[0].ended.is_set()


async def test_a_stream_that_cannot_be_dialled_is_told_and_the_caller_hung_up(
    node: LiveNode, port: int, free_port: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    app = voice_app(node, stream_url=f"ws://127.0.0.1:{free_port()}")
    calls = echoing(app)
    async with alone(app, port):
        await validated(node, webhook(port))
        async with caller(node) as leg:
            assert (await leg.told("ended"))["endedBy"] == "app"
    assert not calls
    (told,) = [message for message in caplog.messages if "has no stream" in message]
    assert "400/8581" in told and app.stream_url in told


async def test_a_port_that_is_taken_is_named(node: LiveNode, port: int) -> None:
    taken = socket.create_server(("127.0.0.1", port))  # nobody accepts: the node's late posts stay outside
    app = voice_app(node)
    echoing(app)
    with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}: .*in use"):
        async with alone(app, port):
            pass
    taken.close()
    await app.close()
