"""A VoiceApp in a server: on aiohttp routes, or alone."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, cast

from offhook.errors import ConfigError
from offhook.kit.aiohttp import stream_handler
from offhook.kit.app import CALLBACKS, INCOMING, MOST_BODY, STREAMS, Answer, VoiceApp
from offhook.kit.plain import serve
from offhook.kit.stream import Stream

if TYPE_CHECKING:
    from _typeshed import HasFileno
    from aiohttp import web

_ACCEPTING: Final = 3
"""Turns of the loop in which a connection that was accepted is made, and its protocol told."""


def add_routes(voice: VoiceApp, app: web.Application, prefix: str, *, with_server: bool) -> None:
    """Mount it on an aiohttp application; `with_server`: it starts and closes with that."""
    from aiohttp import web

    def answer(given: Answer) -> web.Response:
        return web.Response(status=given.status, body=given.body, content_type=given.content_type)

    async def incoming(request: web.Request) -> web.Response:
        return answer(await voice.take_incoming(await _body(request)))

    async def callback(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        return answer(await voice.take_callback(request.match_info["secret"], headers, await _body(request)))

    async def stream(request: web.Request) -> web.StreamResponse:
        secret = request.match_info["secret"]
        handler = stream_handler(lambda stream: voice.take_stream(secret, stream), token_check=voice.token_setting)
        return await handler(request)

    if prefix and not prefix.startswith("/"):
        raise ConfigError(f"a prefix begins with a slash, such as /voice, not {prefix!r}")
    prefix = prefix.rstrip("/")
    app.router.add_post(prefix + INCOMING, incoming)
    app.router.add_post(prefix + CALLBACKS + "/{secret}", callback)
    app.router.add_get(prefix + STREAMS + "/{secret}", stream)
    if with_server:
        app.on_startup.append(lambda _: voice.start())
        app.on_shutdown.append(lambda _: voice.close())


async def _body(request: web.Request) -> bytes:
    """As much as a webhook may have, whatever the application that it is mounted on allows. HTTP 413."""
    from aiohttp import web

    data = bytearray()
    async for chunk in request.content.iter_chunked(1 << 16):
        data += chunk
        if len(data) > MOST_BODY:
            raise web.HTTPRequestEntityTooLarge(MOST_BODY, len(data))
    return bytes(data)


def run(voice: VoiceApp, host: str | None, port: int | None, stream_port: int | None) -> None:
    """Serve it alone until SIGINT or SIGTERM. What cannot be is one line on stderr, and exit status 2."""
    if asyncio._get_running_loop() is not None:
        raise ConfigError("app.run() has an event loop of its own: in one that runs, mount it (app.add_to, app.asgi)")
    try:
        host = host or os.environ.get("HOST") or "127.0.0.1"
        work = serve_alone(voice, host, _port(port), stream_port, ready=_settled)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(work)
    except ConfigError as error:
        print(f"offhook: {error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None


def _settled() -> None:
    """What is loaded stays: out of the collector's sight, for one look at all of it (50 to 100 ms with the SDK and a
    model's client) is a hole in the sound of every call. Only a process of the app's own is settled so."""
    gc.collect()
    gc.freeze()


def _port(port: int | None) -> int:
    if port is not None:
        return port
    text = os.environ.get("PORT") or "8000"
    if not text.isdecimal() or int(text) > 65535:
        raise ConfigError(f"PORT is a number from 0 to 65535, not {text!r}")
    return int(text)


async def serve_alone(
    voice: VoiceApp,
    host: str,
    port: int,
    stream_port: int | None = None,
    stop: asyncio.Event | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve it until `stop` is set, or SIGINT or SIGTERM comes; `ready` is called when it can be. ConfigError."""
    try:
        from aiohttp import web
    except ModuleNotFoundError:
        raise ConfigError("app.run() needs the package aiohttp: pip install 'offhook[app]'") from None
    voice.check()
    if stream_port is not None and voice.public_url and not voice.stream_url:
        raise ConfigError(
            "stream_port needs STREAM_URL, or VoiceApp(stream_url=...): where the service reaches that port, "
            "such as wss://my.host:8081"
        )
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    app = web.Application()
    add_routes(voice, app, "", with_server=False)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    async with AsyncExitStack() as closing:
        closing.push_async_callback(runner.cleanup)
        opening = loop.create_server(cast(web.Server, runner.server), host, port, backlog=128)
        server = await _listening(opening, host, port, "PORT or run(port=...)")
        closing.callback(server.close)
        closing.push_async_callback(accept_no_more, server.sockets)
        if stream_port is not None:
            own = await _listening(
                serve(lambda stream: _take(voice, stream), host, stream_port, token_check=voice.token_setting),
                host,
                stream_port,
                "run(stream_port=...)",
            )
            closing.push_async_callback(own.close)
            voice.stream_url = voice.stream_url or f"ws://{_dialled(host)}:{own.port}"
        closing.push_async_callback(voice.close)
        voice.public_url = voice.public_url or f"http://{_dialled(host)}:{server.sockets[0].getsockname()[1]}"
        with _on_signals(stop):
            await voice.start()
            ready()
            print(f"The voice app listens; incoming calls go to {voice.public_url}{INCOMING}", flush=True)  # noqa: T201
            await stop.wait()


async def accept_no_more(sockets: Iterable[HasFileno]) -> None:
    """Leave who dials from now on to the system, and let the loop make what it has accepted. Close the server next.

    asyncio forgets a connection that it accepted in the turn of the loop in which the server closes: it stays open and
    unheard until the collector finds it (python/cpython#109564). A loop whose servers do not read their sockets by
    `add_reader` (uvloop, Windows) is left as it is.
    """
    loop = asyncio.get_running_loop()
    for listening in sockets:
        with suppress(NotImplementedError):  # Windows
            loop.remove_reader(listening.fileno())
    for _ in range(_ACCEPTING):
        await asyncio.sleep(0)


async def _take(voice: VoiceApp, stream: Stream) -> None:
    before, slash, secret = stream.path.rpartition("/")
    await voice.take_stream(secret if before.endswith(STREAMS) and slash else "", stream)


async def _listening(starting: Any, host: str, port: int, given_by: str) -> Any:
    try:
        return await starting
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; another port is given by {given_by}"
        ) from None


@contextmanager
def _on_signals(stop: asyncio.Event) -> Iterator[None]:
    """Both set `stop`; another SIGINT, while it closes, ends it at once."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    try:
        for number in numbers:
            with suppress(NotImplementedError, ValueError, RuntimeError):  # Windows; a thread that is not the main one
                loop.add_signal_handler(number, stop.set)
        yield
    finally:
        with suppress(NotImplementedError, ValueError, RuntimeError):
            loop.remove_signal_handler(signal.SIGINT)


def _dialled(host: str) -> str:
    """The address to dial for one that was listened on."""
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _loop_factory() -> Any:
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop
