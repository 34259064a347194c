"""An aiohttp application that a test serves, closed so that no connection that comes meanwhile is left open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from offhook.kit.web import accept_no_more


@asynccontextmanager
async def web_server(app: web.Application, port: int = 0) -> AsyncIterator[int]:
    """It listens on 127.0.0.1; gives the port."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    assert runner.server is not None
    server = await asyncio.get_running_loop().create_server(runner.server, "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        await accept_no_more(server.sockets)
        server.close()
        await runner.cleanup()
