"""`offhook echo` as a process beside a live node."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from tests.live import OFFHOOK, LiveNode, sdk_environment, until


@dataclass
class Echo:
    """A running `offhook echo` and the lines that it printed."""

    process: asyncio.subprocess.Process
    lines: list[dict[str, Any]] = field(default_factory=list)

    def named(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]

    def callbacks(self) -> list[str]:
        return [line["type"] for line in self.named("callback")]

    @property
    def url(self) -> str:
        return str(self.named("listening")[0]["url"])


@contextlib.asynccontextmanager
async def echo_app(node: LiveNode, *options: str) -> AsyncIterator[Echo]:
    environment = sdk_environment(node) | {
        "ACS_RESOURCE_ID": node.info["resourceId"],
        "ACS_TOKEN_ISSUER": node.info["issuer"],
        "ACS_JWKS_URI": node.info["jwksUri"],
    }
    process = await asyncio.create_subprocess_exec(
        *OFFHOOK, "echo", "--json", *options, env=environment, stdout=asyncio.subprocess.PIPE, stderr=sys.stderr
    )
    app = Echo(process)
    assert process.stdout is not None
    reading = asyncio.create_task(_read(process.stdout, app.lines))
    try:
        await until(lambda: app.named("listening"), "the app listens")
        yield app
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await reading


async def _read(stdout: asyncio.StreamReader, lines: list[dict[str, Any]]) -> None:
    while line := await stdout.readline():
        lines.append(json.loads(line))
