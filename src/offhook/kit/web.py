"""A VoiceApp in a server: on aiohttp routes, or alone."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

from offhook.errors import ConfigError
from offhook.kit.aiohttp import stream_handler

if TYPE_CHECKING:
    from aiohttp import web

    from offhook.kit.app import Answer, VoiceApp


def add_routes(voice: VoiceApp, app: web.Application) -> None:
    """Mount it on an aiohttp application."""
    from aiohttp import web

    from offhook.kit.app import CALLBACKS, INCOMING, STREAMS

    def answer(given: Answer) -> web.Response:
        return web.Response(status=given.status, body=given.body, content_type=given.content_type)

    async def incoming(request: web.Request) -> web.Response:
        return answer(await voice.on_incoming(await request.read()))

    async def callback(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        return answer(await voice.on_callback(request.match_info["secret"], headers, await request.read()))

    async def stream(request: web.Request) -> web.StreamResponse:
        secret = request.match_info["secret"]
        handler = stream_handler(lambda stream: voice.on_stream(secret, stream), token_check=voice._token_setting)
        return await handler(request)

    app.router.add_post(INCOMING, incoming)
    app.router.add_post(CALLBACKS + "/{secret}", callback)
    app.router.add_get(STREAMS + "/{secret}", stream)


def run(voice: VoiceApp, host: str, port: int) -> None:
    """Serve it alone until SIGINT or SIGTERM."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(voice, host, port))


async def _serve(voice: VoiceApp, host: str, port: int) -> None:
    from aiohttp import web

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    app = web.Application(client_max_size=1 << 20)
    add_routes(voice, app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
        voice.public_url = (voice.public_url or f"http://{host}:{runner.addresses[0][1]}").rstrip("/")
        print(f"The voice app listens; incoming calls go to {voice.public_url}/api/incomingCall", flush=True)  # noqa: T201
        await stop.wait()
    finally:
        await voice.close()
        await runner.cleanup()


def _loop_factory() -> Any:
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop
