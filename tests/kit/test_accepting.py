"""Whoever dials while a server of the kit closes is not left on a connection that nobody has."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
from tests.kit.shell import Agent, Shell

from offhook.kit import Stream
from offhook.kit.plain import serve
from offhook.kit.web import serve_alone

pytestmark = pytest.mark.usefixtures("nothing_left")

MOST_TURNS = 200


async def in_each_turn(serving: Callable[[], Awaitable[tuple[int, Callable[[], Awaitable[None]]]]]) -> int:
    """Dial a server in the first turn of the loop since it began to close, another in the second, and so on until
    dialling fails. Gives how often it did not."""
    for turn in range(MOST_TURNS):
        port, close = await serving()
        closing = asyncio.ensure_future(close())
        for _ in range(turn):
            await asyncio.sleep(0)
        with socket.socket() as dialled:
            try:
                dialled.connect(("127.0.0.1", port))  # the system accepts it at once
            except ConnectionRefusedError:
                return turn
            finally:
                await closing
            await asyncio.sleep(0)
            dialled.settimeout(5)
            try:
                assert dialled.recv(1) == b""
            except ConnectionResetError:
                pass
    raise AssertionError("it never closes")


async def test_a_stream_server() -> None:
    async def handler(stream: Stream) -> None:
        await stream.opened()

    async def serving() -> tuple[int, Callable[[], Awaitable[None]]]:
        server = await serve(handler, token_check=None)
        return server.port, server.close

    assert await in_each_turn(serving) > 2


async def test_an_app_alone(free_port: Callable[[], int], capfd: pytest.CaptureFixture[str]) -> None:
    async def serving() -> tuple[int, Callable[[], Awaitable[None]]]:
        shell, stop = Shell(public_url=""), asyncio.Event()
        Agent(shell.app)
        ready = asyncio.Event()
        running = asyncio.create_task(serve_alone(shell.app, "127.0.0.1", 0, stop=stop, ready=ready.set))
        await ready.wait()

        async def close() -> None:
            stop.set()
            await running

        return int(shell.app.public_url.rpartition(":")[2]), close

    assert await in_each_turn(serving) > 2
