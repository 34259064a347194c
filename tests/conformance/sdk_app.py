"""An app as people write it: unmodified SDK code that knows only its environment and its public name.

Started by test_python_environment.py with `offhook exec`'s variables, as `python -m tests.conformance.sdk_app PUBLIC
(sync|async)`. It listens on plain HTTP, prints its port, and echoes the caller. Nothing here trusts anything by hand.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from typing import Any

from aiohttp import web
from azure.communication.callautomation import CallAutomationClient
from azure.communication.callautomation.aio import CallAutomationClient as AsyncClient
from tests.conformance.python_sdk import media_streaming


class App:
    """Its handlers; `public` is the https origin under which others know it, empty for its own plain one."""

    def __init__(self, public: str, kind: str) -> None:
        self.public = public
        self.socket = "ws" + public.removeprefix("http") + "/ws"
        self.kind = kind
        self._tasks: set[asyncio.Task[None]] = set()

    def listen_on(self, port: int) -> None:
        """Take the plain origin where no public one was given."""
        if not self.public:
            self.public, self.socket = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}/ws"

    async def incoming(self, request: web.Request) -> web.Response:
        """Event Grid: validation, and calls."""
        for event in await request.json():
            if event["eventType"] == "Microsoft.EventGrid.SubscriptionValidationEvent":
                return web.json_response({"validationResponse": event["data"]["validationCode"]})
            task = asyncio.create_task(self.answer(event["data"]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return web.Response()

    async def answer(self, data: dict[str, Any]) -> None:
        """Answer with a stream to the public name."""
        connection_string = os.environ["ACS_CONNECTION_STRING"]
        arguments = (data["incomingCallContext"], f"{self.public}/callbacks?callerId={data['from']['rawId']}")
        options = media_streaming(self.socket)
        if self.kind == "async":
            async with AsyncClient.from_connection_string(connection_string) as client:
                await client.answer_call(*arguments, media_streaming=options)
        else:
            with CallAutomationClient.from_connection_string(connection_string) as sync_client:
                await asyncio.to_thread(sync_client.answer_call, *arguments, media_streaming=options)

    async def callbacks(self, request: web.Request) -> web.Response:
        """Print each event's type and the query as it came."""
        for event in await request.json():
            say({"event": event["type"].rpartition(".")[2], "query": request.raw_path.partition("?")[2]})
        return web.Response()

    async def echo(self, request: web.Request) -> web.WebSocketResponse:
        """Send the caller's audio back."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        say({"event": "stream", "host": request.headers["Host"]})
        async for message in socket:
            heard = json.loads(message.data)
            if heard["kind"] == "AudioData":
                data = base64.b64encode(base64.b64decode(heard["audioData"]["data"])).decode()
                await socket.send_json({"Kind": "AudioData", "AudioData": {"Data": data}, "StopAudio": None})
        return socket


def say(line: dict[str, Any]) -> None:
    """One JSON line to the test."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def main(public: str, kind: str) -> None:
    """Serve until stdin is closed."""
    app, server = App(public, kind), web.Application()
    server.add_routes(
        [web.post("/events", app.incoming), web.post("/callbacks", app.callbacks), web.get("/ws", app.echo)]
    )
    runner = web.AppRunner(server, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(os.environ.get("APP_PORT", "0"))).start()
    port = runner.addresses[0][1]
    app.listen_on(port)
    say({"event": "listening", "port": port})
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
