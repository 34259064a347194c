"""The app in Node.js of the conformance tests as a process: commands on its stdin, reports from its stdout.

It lives in tests/conformance/js and ends when its stdin is closed, so that it cannot outlive its test.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from tests.live import LiveNode, sdk_environment, until

JS = Path(__file__).parent / "conformance" / "js"
STRANGER_KEY = base64.b64encode(b"not the key of this node, for sure").decode()

Report = dict[str, Any]


def unused_port() -> int:
    """A port for the app, which the node must know before the app runs: the app starts with the node's CA."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class JsError(Exception):
    """What the SDK raised: name, statusCode, code and message as the app reported them."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.seen = (report.get("name"), report.get("statusCode"), report.get("code"))
        self.message = str(report["message"])


class JsApp:
    """The app's process: what it reported, and commands that it carries out with the SDK."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.reports: list[Report] = []
        self.errors = b""
        self.callback = f"http://127.0.0.1:{port}/callbacks"
        self.socket = f"ws://127.0.0.1:{port}/ws"
        self._process = process
        self._ids = itertools.count(1)

    async def read(self) -> None:
        """Take reports until the process ends."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.reports.append(json.loads(line))

    async def read_errors(self) -> None:
        """Keep what the app wrote to stderr, for the message of a failure."""
        assert self._process.stderr is not None
        self.errors = await self._process.stderr.read()

    async def ask(self, action: str, **fields: Any) -> Any:
        """Carry out one action; its result. Raises JsError."""
        assert self._process.stdin is not None
        number = next(self._ids)
        self._process.stdin.write(json.dumps({"id": number, "action": action, **fields}).encode() + b"\n")
        reply = await self.told("reply", lambda report: report["id"] == number)
        if "error" in reply:
            raise JsError(reply["error"])
        return reply["value"]

    def all(self, event: str, matches: Callable[[Report], Any] = lambda report: True) -> list[Report]:
        """Reports of one kind so far."""
        return [report for report in self.reports if report["event"] == event and matches(report)]

    async def told(
        self, event: str, matches: Callable[[Report], Any] = lambda report: True, count: int = 1, deadline: float = 15
    ) -> Report:
        """The `count`-th report that matches, as soon as it is there."""

        def found() -> Report | None:
            reports = self.all(event, matches)
            return reports[count - 1] if len(reports) >= count else None

        return dict(await until(found, f"{event} from the app; it said {self.reports[-8:]}", deadline))

    async def incoming(self, number: str) -> Report:
        """The data of the newest call to a number; each test calls its own."""
        report = await self.told("incoming", lambda r: r["data"]["to"]["phoneNumber"]["value"] == number)
        assert report["type"] == "Microsoft.Communication.IncomingCall"
        return dict(report["data"])

    async def event(self, connection: Report, kind: str, count: int = 1, deadline: float = 15) -> Report:
        """A callback of one connection as the SDK parsed it."""
        connection_id = connection["callConnectionId"]
        report = await self.told(
            "callback",
            lambda r: r["connectionId"] == connection_id and r["type"] == f"Microsoft.Communication.{kind}",
            count,
            deadline,
        )
        assert "error" not in report, report
        parsed = dict(report["parsed"])
        assert report["same"] and parsed["kind"] == kind
        assert parsed["callConnectionId"] == connection_id and report["version"] == "2026-03-12"
        assert parsed["serverCallId"] and parsed["correlationId"] == connection["correlationId"]
        return parsed

    async def stream(self, connection: Report, event: str, count: int = 1) -> Report:
        """A report about the streams of one connection."""
        return await self.told(event, lambda r: r["connectionId"] == connection["callConnectionId"], count)

    def assert_nothing_threw(self) -> None:
        """No parser of the SDK threw, and the app wrote nothing to stderr."""
        assert self.all("callback") and not self.all("callback", lambda r: "error" in r or not r["same"])
        assert not [report["errors"] for report in self.reports if report.get("errors")]
        assert not self.errors, self.errors.decode()


@contextlib.asynccontextmanager
async def running_app(node: LiveNode, port: int, folder: Path) -> AsyncIterator[JsApp]:
    """Start the app as `offhook exec` would; it ends when its stdin is closed."""
    process = await asyncio.create_subprocess_exec(
        "node", "app.mjs", cwd=JS, limit=2**20,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={
            **sdk_environment(node),
            "PORT": str(port),
            "APP_FOLDER": str(folder),
            "APP_HTTP_CONNECTION_STRING": f"endpoint={node.http}/;accesskey={node.key}",
            "APP_STRANGER_CONNECTION_STRING": f"endpoint={node.info['endpoint']};accesskey={STRANGER_KEY}",
        },
    )  # fmt: skip
    app = JsApp(process, port)
    readers = [asyncio.create_task(app.read()), asyncio.create_task(app.read_errors())]
    try:
        await app.told("listening")
        yield app
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()
        await asyncio.gather(*readers)
    assert process.returncode == 0, app.errors.decode()
    app.assert_nothing_threw()
