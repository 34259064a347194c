"""A live node and a test app: real processes, real sockets, for conformance and end-to-end tests.

`dev_node` runs `offhook dev` as a process of its own; `TestApp` is an app on aiohttp in the test's loop that records
every post and every stream message; `rest` signs a request by hand; `call` runs `offhook call`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import ClientSession, WSMsgType, web
from tests.web_server import web_server

from offhook.wire.signing import http_date, sign_hmac

OFFHOOK = [sys.executable, "-m", "offhook.cli"]
KEY = "b2ZmaG9vay1sb2NhbC1kZXZlbG9wbWVudC1rZXktMDAwMQ=="
CALLER, CALLEE = "+15550100001", "+15550100002"
DEADLINE = 15.0
API_VERSION = "2026-03-12"
CONNECTIONS = "/calling/callConnections"


async def until(condition: Callable[[], Any], what: str = "", deadline: float = DEADLINE) -> Any:
    """Poll until `condition` gives something true; fail with `what` after the deadline."""
    end = asyncio.get_running_loop().time() + deadline
    while not (value := condition()):
        if asyncio.get_running_loop().time() > end:
            raise AssertionError(f"not within {deadline:g} s: {what or condition}")
        await asyncio.sleep(0.01)
    return value


@dataclass
class LiveNode:
    """A running `offhook dev`: its first line, and the events that it printed since."""

    process: asyncio.subprocess.Process
    info: dict[str, Any]
    events: list[dict[str, Any]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    @property
    def http(self) -> str:
        return str(self.info["httpEndpoint"])

    @property
    def connection_string(self) -> str:
        return str(self.info["connectionString"])

    @property
    def port(self) -> int:
        port = urlsplit(self.http).port
        assert port is not None
        return port

    @property
    def key(self) -> str:
        return str(self.info["accessKey"])

    def named(self, event: str) -> list[dict[str, Any]]:
        """Events of one kind so far."""
        return [e for e in self.events if e["event"] == event]

    async def stop(self) -> int:
        """SIGTERM, and the exit status."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 12)


@contextlib.asynccontextmanager
async def dev_node(state: Path, *options: str) -> AsyncIterator[LiveNode]:
    """Start a node on a free port; it is stopped at the end, and must then exit with 0."""
    async with running_node("dev", "--port", "0", "--json", "--state", str(state), *options) as node:
        yield node


@contextlib.asynccontextmanager
async def serve_node(config: Path) -> AsyncIterator[LiveNode]:
    """Start a node from its file; as `dev_node`."""
    async with running_node("serve", "--json", "--config", str(config)) as node:
        yield node


@contextlib.asynccontextmanager
async def running_node(*words: str) -> AsyncIterator[LiveNode]:
    """Start a node by its command, and wait until it has announced itself."""
    process = await asyncio.create_subprocess_exec(
        *OFFHOOK, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=2**20
    )
    assert process.stdout is not None and process.stderr is not None
    tasks: list[asyncio.Task[None]] = []
    try:
        first = await asyncio.wait_for(process.stdout.readline(), DEADLINE)
        if not first:
            raise AssertionError(f"the node did not start: {(await process.stderr.read()).decode()}")
        node = LiveNode(process, json.loads(first))
        tasks = [
            asyncio.create_task(_lines(process.stdout, lambda line: node.events.append(json.loads(line)))),
            asyncio.create_task(_lines(process.stderr, node.log.append)),
        ]
        yield node
        if process.returncode is None:
            assert await node.stop() == 0, "\n".join(node.log)
        assert not [line for line in node.log if "Traceback" in line], "\n".join(node.log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        for task in tasks:
            task.cancel()


async def _lines(stream: asyncio.StreamReader, take: Callable[[str], Any]) -> None:
    while line := await stream.readline():
        take(line.decode().rstrip())


async def rest(
    node: LiveNode,
    method: str,
    path: str,
    body: Any = None,
    *,
    key: str | None = None,
    headers: dict[str, str] | None = None,
    signed_at: float | None = None,
    api_version: str = API_VERSION,
) -> tuple[int, Any]:
    """One signed request, by hand: `path` without its query; a body that is not bytes goes out as JSON.

    Gives back the status and the decoded JSON, None for an empty answer.
    """
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    target = f"{path}?api-version={api_version}"
    date = http_date(time.time() if signed_at is None else signed_at)
    signed = sign_hmac(method, target, urlsplit(node.http).netloc, date, data, base64.b64decode(key or node.key))
    async with (
        ClientSession() as session,
        session.request(
            method,
            node.http + target,
            data=io.BytesIO(data) if data else None,
            headers={"Content-Type": "application/json", **signed, **(headers or {})},
        ) as response,
    ):
        text = await response.text()
        return response.status, json.loads(text) if text else None


def streaming_options(
    url: str, rate: int = 16000, *, mixed: bool = True, start: bool = True, dtmf: bool = False
) -> dict[str, Any]:
    """`mediaStreamingOptions` of a bidirectional stream."""
    return {
        "transportUrl": url,
        "transportType": "websocket",
        "contentType": "audio",
        "audioChannelType": "mixed" if mixed else "unmixed",
        "startMediaStreaming": start,
        "enableBidirectional": True,
        "audioFormat": {16000: "pcm16KMono", 24000: "pcm24KMono"}[rate],
        "enableDtmfTones": dtmf,
    }


async def answer(
    node: LiveNode, context: str, callback: str, streaming: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """Answer by hand, with `more` in the body; the CallConnectionProperties."""
    body: dict[str, Any] = {"incomingCallContext": context, "callbackUri": callback, **more}
    if streaming is not None:
        body["mediaStreamingOptions"] = streaming
    status, properties = await rest(node, "POST", f"{CONNECTIONS}:answer", body)
    assert status == 200, properties
    return dict(properties)


async def trace(node: LiveNode, any_id: str) -> dict[str, Any]:
    """The node's trace of a call, by call id or call connection id."""
    path = f"/console/api/calls/{any_id}"
    signed = sign_hmac("GET", path, urlsplit(node.http).netloc, http_date(time.time()), b"", base64.b64decode(node.key))
    async with ClientSession() as session, session.get(node.http + path, headers=signed) as response:
        assert response.status == 200, await response.text()
        return dict(await response.json())


async def call(node: LiveNode, *options: str, to: str = CALLEE, sender: str = CALLER) -> tuple[int, dict[str, Any]]:
    """Run `offhook call`; its exit status and the JSON of its last line."""
    process = await asyncio.create_subprocess_exec(
        *OFFHOOK, "call", "--node", node.http, "--to", to, "--from", sender, "--json", *options,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(), 90)
    except BaseException:
        process.kill()
        raise
    lines = out.decode().strip().splitlines()
    assert lines, err.decode()
    assert process.returncode is not None
    return process.returncode, json.loads(lines[-1])


@dataclass
class Stream:
    """One WebSocket that the node dialled: its headers, what it said, and a way to answer."""

    socket: web.WebSocketResponse
    headers: dict[str, str]
    path: str
    request: web.Request
    messages: list[dict[str, Any]] = field(default_factory=list)
    raw_sizes: list[int] = field(default_factory=list)
    closed_with: int | None = None

    @property
    def frames(self) -> list[dict[str, Any]]:
        return [m["audioData"] for m in self.messages if m["kind"] == "AudioData"]

    @property
    def metadata(self) -> dict[str, Any]:
        assert self.messages[0]["kind"] == "AudioMetadata", self.messages[0]["kind"]
        return dict(self.messages[0]["audioMetadata"])

    @property
    def pcm(self) -> bytes:
        """Everything that was said up to now."""
        return b"".join(base64.b64decode(frame["data"]) for frame in self.frames)

    def drop(self) -> None:
        """Cut the connection without a close frame."""
        transport = self.request.transport
        assert transport is not None
        transport.abort()

    async def play(self, pcm: bytes) -> None:
        """One AudioData message in the docs' spelling."""
        await self.socket.send_str(audio_text(pcm))

    async def stop(self) -> None:
        """StopAudio in the docs' spelling."""
        await self.socket.send_str('{"Kind":"StopAudio","AudioData":null,"StopAudio":{}}')


def audio_text(pcm: bytes) -> str:
    """AudioData in the docs' spelling."""
    return json.dumps({"Kind": "AudioData", "AudioData": {"Data": base64.b64encode(pcm).decode()}, "StopAudio": None})


class TestApp:
    """An app: answers the validation handshake, keeps what it is told, and lets the test decide about calls."""

    __test__ = False

    def __init__(self) -> None:
        self.port = 0
        self.incoming: list[dict[str, Any]] = []
        self.files: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.tokens: list[str] = []
        self.streams: list[Stream] = []
        self.validations = 0
        self.on_incoming: Callable[[dict[str, Any]], Awaitable[None]] | None = None
        self.on_message: Callable[[Stream, dict[str, Any]], Awaitable[None]] | None = None
        self.on_event: Callable[[dict[str, Any]], Awaitable[None]] | None = None
        self.on_stream: Callable[[Stream], Awaitable[None]] | None = None
        self.refusing: int | None = None
        self._over: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def clear(self) -> None:
        """Forget everything, so that the next test starts anew; late events of calls so far are not taken."""
        self._over |= {event["data"]["callConnectionId"] for event in self.events}
        self._over |= {stream.headers["x-ms-call-connection-id"] for stream in self.streams}
        for stream in self.streams:
            await stream.socket.close()
        for kept in (self.incoming, self.files, self.events, self.tokens, self.streams):
            kept.clear()
        self.on_incoming = self.on_message = self.on_event = self.on_stream = None
        self.refusing = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def webhook(self) -> str:
        return f"{self.url}/events"

    @property
    def callback(self) -> str:
        return f"{self.url}/callbacks"

    @property
    def socket(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    @contextlib.asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[TestApp]:
        """Serve on a port; 0 is a free one."""
        app = web.Application(client_max_size=2**24)
        app.add_routes(
            [
                web.post("/events", self._events),
                web.post("/callbacks", self._callbacks),
                web.post("/other", self._callbacks),
                web.get("/ws{tail:.*}", self._socket),
                web.get("/status/{status}", self._refuse),
            ]
        )
        async with web_server(app, port) as self.port:
            try:
                yield self
            finally:
                for stream in self.streams:
                    await stream.socket.close()
                for task in self._tasks:
                    task.cancel()

    def named(self, name: str) -> list[dict[str, Any]]:
        """Callback events of one type so far (the CloudEvents)."""
        return [e for e in self.events if e["type"] == f"Microsoft.Communication.{name}"]

    async def event(self, name: str, count: int = 1) -> dict[str, Any]:
        """The data of the `count`-th callback of a type, as soon as it is there."""
        found = await until(lambda: len(self.named(name)) >= count and self.named(name)[count - 1], name)
        return dict(found["data"])

    async def invited(self, count: int = 1) -> dict[str, Any]:
        """The data of the `count`-th IncomingCall, as soon as it is there."""
        found = await until(lambda: len(self.incoming) >= count and self.incoming[count - 1], "IncomingCall")
        return dict(found["data"])

    async def recorded(self, recording_id: str = "") -> dict[str, Any]:
        """The data of the RecordingFileStatusUpdated of a recording, as soon as it is there; "": of any."""

        def found() -> dict[str, Any] | None:
            return next((event for event in self.files if event["subject"].endswith(recording_id)), None)

        return dict((await until(found, "RecordingFileStatusUpdated"))["data"])

    async def stream(self, count: int = 1, frames: int = 1) -> Stream:
        """The `count`-th stream, once it has sent that many frames."""
        await until(lambda: len(self.streams) >= count and len(self.streams[count - 1].frames) >= frames, "a stream")
        return self.streams[count - 1]

    async def _events(self, request: web.Request) -> web.Response:
        for event in await request.json():
            if event["eventType"] == "Microsoft.EventGrid.SubscriptionValidationEvent":
                assert request.headers["aeg-event-type"] == "SubscriptionValidation"
                self.validations += 1
                return web.json_response({"validationResponse": event["data"]["validationCode"]})
            assert request.headers["aeg-event-type"] == "Notification"
            if event["eventType"] == "Microsoft.Communication.RecordingFileStatusUpdated":
                self.files.append(event)
                continue
            self.incoming.append(event)
            if self.on_incoming is not None:
                self._spawn(self.on_incoming(event["data"]))
        return web.Response()

    async def _callbacks(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/json"
        events = await request.json()
        assert len(events) == 1
        if events[0]["data"]["callConnectionId"] in self._over:
            return web.Response()
        self.tokens.append(request.headers["Authorization"])
        self.events.append({**events[0], "path": request.path})
        if self.on_event is not None:
            self._spawn(self.on_event(events[0]))
        return web.Response()

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if self.refusing is not None:
            return web.Response(status=self.refusing)
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        headers = {name.lower(): value for name, value in request.headers.items()}
        stream = Stream(socket, headers, request.path_qs, request)
        self.streams.append(stream)
        if self.on_stream is not None:
            await self.on_stream(stream)
        async for message in socket:
            assert message.type == WSMsgType.TEXT
            stream.raw_sizes.append(len(message.data.encode()))
            stream.messages.append(json.loads(message.data))
            if self.on_message is not None:
                await self.on_message(stream, stream.messages[-1])
        stream.closed_with = socket.close_code
        return socket

    async def _refuse(self, request: web.Request) -> web.Response:
        return web.Response(status=int(request.match_info["status"]))

    def _spawn(self, work: Awaitable[None]) -> None:
        async def run() -> None:
            await work

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def sdk_environment(node: LiveNode) -> dict[str, str]:
    """The environment in which an SDK trusts the node, as `offhook exec` sets it."""
    bundle = str(node.info["caBundle"])
    return {
        **os.environ,
        "ACS_CONNECTION_STRING": node.connection_string,
        "SSL_CERT_FILE": bundle,
        "REQUESTS_CA_BUNDLE": bundle,
        "NODE_EXTRA_CA_CERTS": str(node.info["caFile"]),
    }
