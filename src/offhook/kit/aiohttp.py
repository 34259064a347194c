"""Streams in an aiohttp application: `app.router.add_get("/ws", stream_handler(on_stream))`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from offhook.errors import ConfigError
from offhook.kit.stream import (
    MAX_MESSAGE_BYTES,
    Handler,
    Stream,
    TokenSetting,
    admit,
    resolve_check,
    serve_stream,
)
from offhook.kit.tokens import TokenError
from offhook.wire.folding import Text

if TYPE_CHECKING:
    from aiohttp import web


class _Socket:
    def __init__(self, ws: web.WebSocketResponse) -> None:
        from aiohttp import WSMsgType

        self._ws = ws
        self._data = (WSMsgType.TEXT, WSMsgType.BINARY)

    async def receive(self) -> Text | None:
        message = await self._ws.receive()
        if message.type in self._data:
            data: Text = message.data
            return data
        return None

    async def send(self, text: str) -> None:
        await self._ws.send_str(text)

    async def close(self, code: int, reason: str) -> None:
        await self._ws.close(code=code, message=reason.encode())


def stream_handler(
    handler: Handler, *, token_check: TokenSetting = ...
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """A GET handler that takes the service's connections and runs `handler` for each.

    A bad token is answered 401 before the upgrade. ConfigError when no audience is known for the
    check (ACS_RESOURCE_ID), or aiohttp is not installed.
    """
    try:
        from aiohttp import web
    except ModuleNotFoundError:
        raise ConfigError("offhook.kit.aiohttp needs the package aiohttp: pip install aiohttp") from None
    check = resolve_check(token_check)

    async def handle(request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            await admit(check, headers)
        except TokenError as error:
            return web.Response(status=401, text=f"{error}\n", headers={"WWW-Authenticate": "Bearer"})
        ws = web.WebSocketResponse(compress=False, max_msg_size=MAX_MESSAGE_BYTES, timeout=1.0)
        await ws.prepare(request)
        await serve_stream(Stream(_Socket(ws), headers), handler)
        return ws

    return handle
