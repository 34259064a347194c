"""A double of a service that speaks the OpenAI audio API: it keeps what it is asked and answers as the test says."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiohttp import web

SPEECH = (3000 * np.sin(2 * np.pi * 440 * np.arange(24000 + 77) / 24000)).astype(np.int16)
VERBOSE = {
    "text": " Hello there.",
    "segments": [{"text": " Hello there.", "avg_logprob": -0.1}],
    "words": [{"word": "Hello", "start": 0.1, "end": 0.4}, {"word": "there", "start": 0.4, "end": 0.75}],
}


@dataclass
class Service:
    """The double: what it was asked, and how it answers."""

    port: int = 0
    spoken: list[dict[str, Any]] = field(default_factory=list)
    heard: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    body: bytes = SPEECH.tobytes()
    piece: int = 5001
    status: int = 200
    error: Any = None
    location: str = ""
    answer: Any = field(default_factory=lambda: VERBOSE)
    plain_only: bool = False
    content_type: str = ""
    stalls_after: int | None = None
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def speak(self, request: web.Request) -> web.StreamResponse:
        self.keys.append(request.headers.get("Authorization"))
        self.spoken.append(await request.json())
        if self.status != 200:
            moved = {"Location": self.location} if self.location else {}
            return web.json_response(self.error, status=self.status, headers=moved)
        response = web.StreamResponse(headers={"Content-Type": self.content_type} if self.content_type else None)
        await response.prepare(request)
        for at in range(0, len(self.body), self.piece):
            if self.stalls_after is not None and at >= self.stalls_after:
                await self.go_on.wait()
            await response.write(self.body[at : at + self.piece])
        return response

    async def hear(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers.get("Authorization"))
        form = await request.post()
        self.heard.append({name: part.file.read() if hasattr(part, "file") else part for name, part in form.items()})
        if self.plain_only and form["response_format"] != "json":
            return web.json_response({"error": {"code": "unsupported_value"}}, status=400)
        if self.status != 200:
            return web.json_response(self.error, status=self.status)
        text = self.answer if isinstance(self.answer, str) else json.dumps(self.answer)
        return web.Response(text=text, content_type="application/json")


@contextlib.asynccontextmanager
async def speech_service() -> AsyncIterator[Service]:
    """One on a free port."""
    double = Service()
    app = web.Application()
    app.add_routes([web.post("/v1/audio/speech", double.speak), web.post("/v1/audio/transcriptions", double.hear)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    double.port = runner.addresses[0][1]
    try:
        yield double
    finally:
        double.go_on.set()
        await runner.cleanup()
