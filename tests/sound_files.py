"""A web server of sound files, for prompts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import numpy as np
from aiohttp import web

from offhook.audio.wav import write_wav

TONE = (8000 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)).astype(np.int16)


class Files:
    """A web server of sound files that counts what it is asked for."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[str] = []
        self.files: dict[str, bytes] = {"/a.wav": write_wav(TONE, 16000)}
        self.quick: set[str] = set()
        """Paths that do not wait for `release`."""
        self.redirects: dict[str, str] = {}
        self.release = asyncio.Event()
        self.release.set()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        if request.path not in self.quick:
            await self.release.wait()
        if request.path in self.redirects:
            return web.Response(status=302, headers={"Location": self.redirects[request.path]})
        if request.path not in self.files:
            return web.Response(status=404)
        return web.Response(body=self.files[request.path])


@contextlib.asynccontextmanager
async def sound_files() -> AsyncIterator[Files]:
    """Served on a free port; every request waits while `release` is not set."""
    files = Files()
    app = web.Application()
    app.add_routes([web.get("/{path:.*}", files.serve)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    files.port = runner.addresses[0][1]
    try:
        yield files
    finally:
        files.release.set()
        await runner.cleanup()
