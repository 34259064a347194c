"""A voice app alone, on aiohttp and in FastAPI under uvicorn: each answers a call of a live node that is heard."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import pytest_asyncio
import uvicorn
from aiohttp import web
from fastapi import FastAPI
from tests.console_leg import caller, phone
from tests.kit.live import alone, echoing, hears_tone, validated, voice_app
from tests.live import CALLEE, LiveNode, dev_node, until
from tests.web_server import web_server

from offhook.kit import Call, DialFailed, Ignore, Redirect, VoiceApp
from offhook.kit.events import CallDisconnected
from offhook.kit.web import accept_no_more

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.usefixtures("nothing_left"),
]
Serving: TypeAlias = Callable[[VoiceApp, int], Any]
TONE = 440.0


@pytest.fixture(scope="module")
def port(free_port: Callable[[], int]) -> int:
    return free_port()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory, port: int) -> AsyncIterator[LiveNode]:
    base = f"http://127.0.0.1:{port}"
    hooks = ("--incoming", f"{base}/api/incomingCall", "--incoming", f"{base}/voice/api/incomingCall")
    state: Path = tmp_path_factory.mktemp("state")
    async with dev_node(state, *hooks) as made:
        yield made


@asynccontextmanager
async def with_stream_port(app: VoiceApp, port: int) -> AsyncIterator[None]:
    async with alone(app, port, 0):
        yield


@asynccontextmanager
async def on_aiohttp(app: VoiceApp, port: int) -> AsyncIterator[None]:
    server = web.Application()
    app.add_to(server, "/voice")
    async with web_server(server, port):
        yield


@asynccontextmanager
async def under_uvicorn(server: Any, port: int) -> AsyncIterator[None]:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    config = uvicorn.Config(server, ws="websockets-sansio", log_level="warning", timeout_graceful_shutdown=5)
    made = uvicorn.Server(config)
    task = asyncio.create_task(made.serve(sockets=[listening]))
    await until(lambda: made.started, "uvicorn")
    try:
        yield
    finally:
        await accept_no_more([listening])
        made.should_exit = True
        await task
        listening.close()


def in_fastapi(app: VoiceApp, port: int) -> Any:
    server = FastAPI(lifespan=app.lifespan)
    server.mount("/voice", app.asgi())
    return under_uvicorn(server, port)


def as_asgi(app: VoiceApp, port: int) -> Any:
    return under_uvicorn(app.asgi(), port)


@pytest.mark.parametrize(
    ("serving", "prefix", "rate"),
    [
        (alone, "", 24000),
        (with_stream_port, "", 16000),
        (on_aiohttp, "/voice", 16000),
        (in_fastapi, "/voice", 24000),
        (as_asgi, "", 16000),
    ],
    ids=lambda given: getattr(given, "__name__", None),
)
async def test_a_call_is_answered_and_heard_and_hung_up_at_the_end(
    node: LiveNode, port: int, serving: Serving, prefix: str, rate: int
) -> None:
    base = f"http://127.0.0.1:{port}{prefix}"
    app = voice_app(node, "" if serving in (alone, with_stream_port) else base, rate=rate)
    calls = echoing(app)
    gone: list[str] = []

    @app.on(CallDisconnected)
    async def disconnected(call: Call, event: CallDisconnected) -> None:
        gone.append(call.id)

    async with AsyncExitStack() as legs:
        async with serving(app, port):
            await validated(node, f"{base}/api/incomingCall")
            async with caller(node, tone=TONE) as leg:
                await hears_tone(leg, TONE)
                assert (calls[0].rate, calls[0].caller, calls[0].callee) == (rate, "4:+15550100001", f"4:{CALLEE}")
            await until(lambda: gone == [calls[0].id], "CallDisconnected")
            await until(lambda: not app._lives, "the call's end")
            leg = await legs.enter_async_context(caller(node, tone=TONE))
            await hears_tone(leg, TONE)
        assert (await leg.told("ended"))["endedBy"] == "app"  # the server has stopped
    assert not app._lives and not app._tasks


async def test_an_app_calls_a_phone_and_passes_on_and_refuses_callers(node: LiveNode, port: int) -> None:
    app = voice_app(node)
    calls = echoing(app)
    target = "+15550100077"

    @app.on_incoming
    async def decide(incoming: Any) -> Any:
        return Redirect(target) if incoming.caller.raw_id == "4:+15550100005" else Ignore()

    async with alone(app, port):
        await validated(node, f"http://127.0.0.1:{port}/api/incomingCall")
        async with phone(node, target, tone=TONE) as leg:
            call = await app.dial(target, caller_id=CALLEE)
            await hears_tone(leg, TONE)
            assert calls == [call] and call.caller == ""
            await call.hang_up()
            await leg.told("ended")
            async with caller(node, sender="+15550100005") as redirected:
                await redirected.told("answered")
        with pytest.raises(DialFailed, match=r"did not come about: \d+/\d+") as failed:
            await app.dial("+15550100078")
        assert failed.value.code
    assert len(calls) == 1
