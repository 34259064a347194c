"""The console's pages over one call of a file, on loopback only: to look at, with nothing behind that could act."""

from __future__ import annotations

import os
import time
from typing import cast
from urllib.parse import quote

from aiohttp import web

from offhook import __version__
from offhook.errors import ConfigError
from offhook.service.call_archive import ArchiveBook
from offhook.service.call_book import CallBook
from offhook.service.console_calls import Calls
from offhook.service.console_feeds import Feeds
from offhook.service.console_guard import Guard, unknown
from offhook.service.console_logins import ConsoleRule, Sessions
from offhook.service.web_files import WebFiles


class ArchiveServer:
    """Serves a call that was exported, as its node's console showed it."""

    def __init__(self, book: ArchiveBook) -> None:
        self.book = book
        self._guard = Guard(ConsoleRule(open=True), Sessions(0.0, os.urandom), keys=tuple, wall=time.time, hosts=tuple)
        calls = cast(CallBook, book)  # all that the routes use of one
        self._feeds = Feeds(calls, self._guard)
        self._calls = Calls(calls, self._guard)
        self._files = WebFiles()
        self._runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> str:
        """Listen on 127.0.0.1; gives back the address of the call's page. ConfigError when the port cannot be had."""
        app = web.Application()
        read, page = self._guard.read, self._guard.page
        app.add_routes(
            [
                web.get("/console/api/status", read(self._status)),
                web.get("/console/api/setup", read(self._setup)),
                *self._calls.routes(),
                *self._feeds.routes(),
                web.get("/console/{name:.*}", page(self._page)),
                web.get("/", page(self._front)),
            ]
        )
        app.on_response_prepare.append(self._dress)
        runner = self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
        except OSError as error:
            await self.close()
            raise ConfigError(f"--port {port}: {error.strerror or error}; give another one, or 0") from None
        call_id = quote(self.book.call["callId"], safe="")
        return f"http://127.0.0.1:{runner.addresses[0][1]}/console/calls/{call_id}"

    async def close(self) -> None:
        """Stop."""
        await self._feeds.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _dress(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        self._guard.dress(response)

    async def _status(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"version": __version__, "archive": True})

    async def _setup(self, request: web.Request) -> web.StreamResponse:
        nothing = {"connectionString": "", "endpoint": "", "httpEndpoint": "", "environment": {}, "incoming": []}
        return web.json_response({**nothing, "archive": True, "sip": None, "webrtc": None, "login": False})

    async def _front(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "/console/"})

    async def _page(self, request: web.Request) -> web.StreamResponse:
        found = self._files.answer(request.match_info["name"], request.headers.get("If-None-Match", ""))
        if found is None:
            raise unknown("There is no such page; begin at /console/.")
        return found
