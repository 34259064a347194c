"""Unmodified SDK code, as a program of its own, that has only the node's environment: TLS trust by SSL_CERT_FILE and
REQUESTS_CA_BUNDLE; and one that believes in its public https name, behind --map."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conformance.python_sdk import dominant
from tests.console_leg import caller
from tests.live import LiveNode, dev_node, sdk_environment, until

PUBLIC = "https://voice.example.com"


@contextlib.asynccontextmanager
async def program(node: LiveNode, public: str, kind: str, port: int) -> AsyncIterator[list[dict[str, Any]]]:
    """The app as a process with the node's environment; gives the lines that it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.conformance.sdk_app", public, kind,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**sdk_environment(node), "APP_PORT": str(port), "PYTHONPATH": "."},
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    stdout = process.stdout
    lines: list[dict[str, Any]] = []

    async def read() -> None:
        while line := await stdout.readline():
            lines.append(json.loads(line))

    reader = asyncio.create_task(read())
    try:
        await until(lambda: lines, "the app listens", 30)
        yield lines
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 10)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await reader


async def talk(node: LiveNode, lines: list[dict[str, Any]]) -> None:
    """A call whose tone comes back."""
    await until(lambda: [e for e in node.named("subscription") if e["state"] == "validated"], "validation", 30)
    async with caller(node, tone=440) as leg:
        await leg.heard_app(40)
        assert dominant(leg.heard[-6400:], 16000) == pytest.approx(440, abs=5)
        assert np.abs(leg.heard).max() > 1000
    await until(lambda: [line for line in lines if line["event"] == "CallDisconnected"], "CallDisconnected")
    names = [line["event"] for line in lines]
    assert {"stream", "CallConnected", "ParticipantsUpdated", "MediaStreamingStarted"} <= set(names)


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_connection_string_and_the_environment_are_enough(
    tmp_path: Path, free_port: Callable[[], int], kind: str
) -> None:
    port = free_port()
    async with dev_node(tmp_path, "--incoming", f"http://127.0.0.1:{port}/events") as node:
        async with program(node, "", kind, port) as lines:
            await talk(node, lines)


async def test_an_app_that_believes_in_its_public_name_behind_map(tmp_path: Path, free_port: Callable[[], int]) -> None:
    """Webhook, callbacks and socket are dialled locally, with the public name in Host and the query untouched."""
    port = free_port()
    options = ("--map", f"{PUBLIC}=http://127.0.0.1:{port}", "--incoming", f"{PUBLIC}/events")
    async with dev_node(tmp_path, *options) as node:
        async with program(node, PUBLIC, "async", port) as lines:
            await talk(node, lines)
        assert next(line for line in lines if line["event"] == "stream")["host"] == "voice.example.com"
        assert {line["query"] for line in lines if "query" in line} == {"callerId=4:+15550100001"}
