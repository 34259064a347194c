"""Runs a file of examples/ as its reader would: `offhook exec -- python examples/x.py`, against a live node.

`example_node` is a node whose calls go to one port; `running_example` is a program that listens there until the block
ends, and then has to end well. Examples of one node take turns.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests.live import OFFHOOK, LiveNode, dev_node, until

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
INCOMING = "/api/incomingCall"
START_SECONDS = 30.0  # loading the SDK takes seconds on a busy machine
STOP_SECONDS = 12.0


@dataclass
class Example:
    """A running example: its process, and the lines that it has printed, stderr among them."""

    process: asyncio.subprocess.Process
    port: int
    log: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All that it has printed."""
        return "\n".join(self.log)

    async def stop(self) -> int:
        """SIGTERM, and the exit status."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), STOP_SECONDS)


@contextlib.asynccontextmanager
async def example_node(state: Path, port: int, *options: str) -> AsyncIterator[LiveNode]:
    """A node whose calls go to the example on `port` of 127.0.0.1."""
    async with dev_node(state, "--incoming", f"http://127.0.0.1:{port}{INCOMING}", *options) as node:
        yield node


@contextlib.asynccontextmanager
async def running_example(
    node: LiveNode, name: str, *arguments: str, env: dict[str, str] | None = None, status: int = 0
) -> AsyncIterator[Example]:
    """Run examples/`name` for the node's calls, with `env` added to the environment.

    Yields when it listens and its webhook is validated. After the block SIGTERM has to end it with `status`, and it
    must not have printed a traceback.
    """
    async with running_app(node, str(EXAMPLES / name), *arguments, env=env, status=status) as example:
        yield example


@contextlib.asynccontextmanager
async def running_app(
    node: LiveNode, *words: str, env: dict[str, str] | None = None, status: int = 0
) -> AsyncIterator[Example]:
    """As `running_example`: any `python WORDS`, in the repository's folder."""
    name = " ".join(words)
    port = urlsplit(node.info["incoming"][0]["url"]).port
    assert port is not None
    process = await asyncio.create_subprocess_exec(
        *OFFHOOK, "exec", "--node", node.http, "--", sys.executable, *words,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=ROOT,
        env={**os.environ, "PORT": str(port), "PYTHONUNBUFFERED": "1", **(env or {})},
    )  # fmt: skip
    example = Example(process, port)
    reader = asyncio.create_task(_read(example))
    try:
        await until(lambda: process.returncode is not None or _listens(port), f"{name} listens", START_SECONDS)
        await until(lambda: process.returncode is not None or _validated(node), f"{name} is validated", START_SECONDS)
        assert process.returncode is None, f"{name} ended with {process.returncode}:\n{example.text}"
        yield example
        assert await example.stop() == status, example.text
        await reader
        assert "Traceback" not in example.text, example.text
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        reader.cancel()


def _validated(node: LiveNode) -> bool:
    return any(event["state"] == "validated" for event in node.named("subscription"))


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def _read(example: Example) -> None:
    assert example.process.stdout is not None
    async for line in example.process.stdout:
        example.log.append(line.decode(errors="replace").rstrip())
