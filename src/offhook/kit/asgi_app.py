"""A VoiceApp as an ASGI 3 application: webhooks, sockets, and the server's lifespan; mounted, or served as it is."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any, Final

from offhook.errors import ConfigError
from offhook.kit.app import CALLBACKS, INCOMING, MOST_BODY, STREAMS, Answer, VoiceApp
from offhook.kit.asgi import Receive, Send, stream_app
from offhook.kit.stream import Stream

log: Final = logging.getLogger("offhook.kit")


class AsgiApp:
    """Made by `VoiceApp.asgi()`. A server that mounts it does not tell its lifespan: see `VoiceApp.lifespan`."""

    def __init__(self, voice: VoiceApp) -> None:
        self._voice = voice

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await self._stream(scope, receive, send)
        elif scope["type"] == "http":
            await _send_answer(send, await self._webhook(scope, receive))

    async def _stream(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        kind, _, secret = _path(scope).rpartition("/")

        async def take(stream: Stream) -> None:
            await self._voice.take_stream(secret if kind == STREAMS else "", stream)

        await stream_app(take, token_check=self._voice.token_setting)(scope, receive, send)

    async def _webhook(self, scope: MutableMapping[str, Any], receive: Receive) -> Answer:
        path = _path(scope)
        kind, _, secret = path.rpartition("/")
        if path != INCOMING and kind != CALLBACKS:
            return Answer(404, b"no such page\n")
        if scope["method"] != "POST":
            return Answer(405, b"this is posted to\n")
        body = await _body(receive)
        if body is None:
            return Answer(413, b"the body is too large\n")
        try:
            if path == INCOMING:
                return await self._voice.take_incoming(body)
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
            return await self._voice.take_callback(secret, headers, body)
        except ConfigError as error:
            log.error("the voice app cannot work: %s", error)
            return Answer(500, f"{error}\n".encode())

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self._voice.start()
                except ConfigError as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._voice.close()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _path(scope: MutableMapping[str, Any]) -> str:
    """The path below the mount: servers and routers differ in whether `path` has `root_path` in it (ASGI 3)."""
    path, root = str(scope["path"]), str(scope.get("root_path") or "")
    below = path.removeprefix(root) if root and path.startswith(root + "/") else path
    return below.rstrip("/") if len(below) > 1 else below


async def _body(receive: Receive) -> bytes | None:
    data = bytearray()
    while True:
        message = await receive()
        data += message.get("body") or b""
        if len(data) > MOST_BODY:
            return None
        if not message.get("more_body"):
            return bytes(data)


async def _send_answer(send: Send, answer: Answer) -> None:
    headers = [
        (b"content-type", answer.content_type.encode()),
        (b"content-length", str(len(answer.body)).encode()),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
