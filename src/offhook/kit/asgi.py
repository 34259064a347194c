"""Streams in any ASGI server: Starlette, FastAPI, or the bare protocol (ASGI 3, WebSocket).

Mount `stream_app(on_stream)`, or call `accept_stream(websocket)` in a Starlette or FastAPI endpoint.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Protocol, TypeAlias

from offhook.kit.stream import (
    Handler,
    Stream,
    TokenSetting,
    admit,
    resolve_check,
    serve_stream,
)
from offhook.kit.tokens import TokenCheck, TokenError
from offhook.wire.folding import Text

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


class WebSocketLike(Protocol):
    """A Starlette or FastAPI WebSocket, as far as it is used here."""

    @property
    def scope(self) -> MutableMapping[str, Any]: ...
    async def receive(self) -> Message: ...
    async def send(self, message: Message) -> None: ...


class _Socket:
    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._gone = False

    async def receive(self) -> Text | None:
        if self._gone:
            return None
        message = await self._receive()
        text: Text | None = message.get("text")
        if text is not None:
            return text
        if message["type"] != "websocket.receive":
            self._gone = True
            return None
        return message.get("bytes") or ""

    async def send(self, text: str) -> None:
        if self._gone:
            raise ConnectionResetError("the other side has closed")
        try:
            await self._send({"type": "websocket.send", "text": text})
        except Exception as error:  # each server has its own class for "the other side has gone"
            self._gone = True
            raise ConnectionResetError(str(error) or "the other side has gone") from error

    async def close(self, code: int, reason: str) -> None:
        if self._gone:
            return
        self._gone = True
        try:
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except Exception:
            return  # closed by the other side at the same moment; each server has its own class for that


class StreamApp:
    """An ASGI application for one route; made by `stream_app`."""

    def __init__(self, handler: Handler, check: TokenCheck | None) -> None:
        self._handler = handler
        self._check = check

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await _plain_answer(scope, send)
            return
        stream = await _accept(scope, receive, send, self._check)
        if stream is not None:
            await serve_stream(stream, self._handler)


def stream_app(handler: Handler, *, token_check: TokenSetting = ...) -> StreamApp:
    """An ASGI application that takes the service's connections and runs `handler` for each.

    Starlette: `WebSocketRoute("/ws", stream_app(on_stream))`; FastAPI: `app.mount("/ws", stream_app(on_stream))`.
    A bad token is refused before the upgrade: 401 where the server has the denial extension, else 403.
    """
    return StreamApp(handler, resolve_check(token_check))


async def accept_stream(websocket: WebSocketLike, *, token_check: TokenSetting = ...) -> Stream | None:
    """Take a connection inside a Starlette or FastAPI endpoint; None when its token was refused.

    Close the stream, or just return, when done.
    """
    return await _accept(websocket.scope, websocket.receive, websocket.send, resolve_check(token_check))


async def _accept(scope: Mapping[str, Any], receive: Receive, send: Send, check: TokenCheck | None) -> Stream | None:
    first = await receive()
    if first["type"] != "websocket.connect":
        return None
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    try:
        await admit(check, headers)
    except TokenError as error:
        await _refuse(scope, send, str(error))
        return None
    await send({"type": "websocket.accept"})
    return Stream(_Socket(receive, send), headers)


async def _refuse(scope: Mapping[str, Any], send: Send, why: str) -> None:
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"www-authenticate", b"Bearer")]
    await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": f"{why}\n".encode()})


async def _plain_answer(scope: Mapping[str, Any], send: Send) -> None:
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 426, "headers": [(b"upgrade", b"websocket")]})
    await send({"type": "http.response.body", "body": b"this is a WebSocket\n"})
