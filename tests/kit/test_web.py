"""An app that serves alone: whoever dials while it closes is not left on a connection that nobody has."""

from __future__ import annotations

import asyncio
import socket

import pytest
from tests.kit.shell import Agent, Shell

from offhook.kit.web import serve_alone

MOST_TURNS = 200


@pytest.mark.usefixtures("nothing_left")
async def test_whoever_dials_while_it_closes_sees_an_end() -> None:
    """In the first turn of the loop since it began to close, in the second, and so on until it listens no more."""
    for turn in range(MOST_TURNS):
        shell, stop, ready = Shell(public_url=""), asyncio.Event(), asyncio.Event()
        Agent(shell.app)
        serving = asyncio.create_task(serve_alone(shell.app, "127.0.0.1", 0, stop=stop, ready=ready.set))
        await ready.wait()
        port = int(shell.app.public_url.rpartition(":")[2])
        stop.set()
        for _ in range(turn):
            await asyncio.sleep(0)
        with socket.socket() as dialled:
            try:
                dialled.connect(("127.0.0.1", port))  # the system accepts it at once
            except ConnectionRefusedError:
                break
            finally:
                await serving
            dialled.settimeout(5)
            try:
                assert dialled.recv(1) == b""
            except ConnectionResetError:
                pass
    else:
        raise AssertionError("it never closes")
    assert turn > 2
