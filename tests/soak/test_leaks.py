"""Calls come and go and an idle node rests: nothing is left of them, and nothing is spent on nothing.

Read from /proc, so on Linux only. `make soak` runs the long forms; the plain run has the short ones.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession
from tests.console_leg import caller
from tests.live import LiveNode, Stream, TestApp, answer, audio_text, dev_node, streaming_options, until

from offhook.wire.signing import http_date, sign_hmac

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@dataclass(frozen=True)
class Usage:
    """What a process holds now."""

    mib: float
    descriptors: int
    cpu: float

    @classmethod
    def of(cls, pid: int) -> Usage:
        proc = Path(f"/proc/{pid}")
        pages = int((proc / "statm").read_text().split()[1])
        fields = (proc / "stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        return cls(
            pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
            len(list((proc / "fd").iterdir())),
            ticks / os.sysconf("SC_CLK_TCK"),
        )


@asynccontextmanager
async def echoing(tmp_path: Path) -> AsyncIterator[tuple[LiveNode, TestApp]]:
    """A node, and an app that answers every call and echoes its stream."""
    app = TestApp()
    async with app.running(), dev_node(tmp_path, "--incoming", app.webhook) as node:
        await until(lambda: app.validations, "validation")

        async def take(data: dict[str, Any]) -> None:
            await answer(node, data["incomingCallContext"], app.callback, streaming_options(app.socket))

        async def echo(stream: Stream, message: dict[str, Any]) -> None:
            stream.messages.clear()
            if message["kind"] == "AudioData":
                await stream.socket.send_str(audio_text(base64.b64decode(message["audioData"]["data"])))

        app.on_incoming, app.on_message = take, echo
        yield node, app


async def figures(node: LiveNode) -> dict[str, Any]:
    """The node's own figures."""
    path = "/console/api/status"
    signed = sign_hmac("GET", path, urlsplit(node.http).netloc, http_date(time.time()), b"", base64.b64decode(node.key))
    async with ClientSession() as session, session.get(node.http + path, headers=signed) as response:
        return dict((await response.json())["figures"])


async def calls(node: LiveNode, app: TestApp, count: int, seconds: float) -> None:
    """`count` calls, twenty at a time, each heard and hung up."""

    async def one() -> None:
        async with caller(node, tone=440, lead=0) as leg:
            await until(lambda: any(leg.of_app), "the caller hears the app")
            await leg.heard_frames(round(seconds * 50))
            await leg.hang_up()

    for _ in range(count // 20):
        await asyncio.gather(*(one() for _ in range(20)))
        for kept in (app.events, app.incoming, app.tokens, app.streams):
            kept.clear()
        node.events.clear()


async def leaks(tmp_path: Path, warm: int, count: int, seconds: float, growth: float) -> list[Usage]:
    """Usage after the warm-up and after each fifth of `count` more calls, each at rest; the last holds no more."""
    async with echoing(tmp_path) as (node, app):
        pid, idle = node.process.pid, await figures(node)
        descriptors = Usage.of(pid).descriptors
        usages = []
        for part in (warm, *(count // 5,) * 5):
            await calls(node, app, part, seconds)
            usages.append(await at_rest(node, idle["tasks"], descriptors))
            print(json.dumps({"mib": round(usages[-1].mib, 1), "descriptors": usages[-1].descriptors}), flush=True)
        assert (await figures(node))["callsTaken"] == warm + count
        assert usages[-1].mib - usages[0].mib < growth, [round(usage.mib, 1) for usage in usages]
        return usages


async def at_rest(node: LiveNode, tasks: int, descriptors: int) -> Usage:
    """What the node holds once no call, no task and no socket of a call is left; fails when that does not come."""
    deadline = time.monotonic() + 15
    while True:
        now, usage = await figures(node), Usage.of(node.process.pid)
        # One of the descriptors and tasks may be of this very request.
        if now["calls"] == 0 and now["tasks"] <= tasks + 1 and usage.descriptors <= descriptors + 1:
            return usage
        assert time.monotonic() < deadline, (
            f"left after 15 s: {now['calls']} calls, {now['tasks'] - tasks} tasks, "
            f"{usage.descriptors - descriptors} descriptors"
        )
        await asyncio.sleep(0.1)


async def test_two_hundred_short_calls_leave_nothing(tmp_path: Path) -> None:
    await leaks(tmp_path, warm=100, count=100, seconds=0.2, growth=8.0)


async def test_an_idle_node_hardly_runs(tmp_path: Path) -> None:
    async with dev_node(tmp_path) as node:
        await asyncio.sleep(0)
        before, began = Usage.of(node.process.pid), time.monotonic()
        await until(lambda: time.monotonic() - began > 3.0, "three idle seconds")
        after = Usage.of(node.process.pid)
        assert (after.cpu - before.cpu) / (time.monotonic() - began) < 0.01
        assert after.mib < 120


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_a_thousand_calls_of_two_seconds_leave_nothing(tmp_path: Path) -> None:
    usages = await leaks(tmp_path, warm=300, count=1000, seconds=2.0, growth=4.0)
    # The last two fifths hold no more than the two before: flat, and not merely slow.
    assert usages[5].mib - usages[3].mib < 1.5
