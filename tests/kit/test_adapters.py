"""Every adapter on a real socket, dialled as the service dials it (protocol.md 2.2, 2.3)."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
from starlette.websockets import WebSocket
from tests.kit.issued import AUDIENCE, KEY, OTHER, Page, token
from tests.web_server import web_server
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from offhook.kit import (
    Audio,
    ConfigError,
    Dtmf,
    Handler,
    Opened,
    OutStreamingData,
    PlayQueueFull,
    Stream,
    StreamClosed,
    TokenCheck,
    Unreadable,
    accept_stream,
    serve,
    stream_app,
    stream_handler,
)
from offhook.kit import plain as plain_module
from offhook.wire.streaming import AppAudio, FrameWriter, StopAudio, audio_metadata, dtmf_data, parse_app_message
from offhook.wire.turns import TurnReport

Serving: TypeAlias = Callable[[Handler, TokenCheck | None], Any]
FRAME = FrameWriter(None).build(b"\x01\x02" * 320, b"2024-11-15T19:16:12.925Z", False).decode()
METADATA = audio_metadata("id", 16000).decode()
HEADERS = {"x-ms-call-connection-id": "connection-1", "x-ms-call-correlation-id": "correlation-1"}


@asynccontextmanager
async def on_aiohttp(handler: Handler, check: TokenCheck | None) -> AsyncIterator[str]:
    from aiohttp import web

    app = web.Application()
    app.router.add_get("/ws", stream_handler(handler, token_check=check))
    async with web_server(app) as port:
        yield f"ws://127.0.0.1:{port}/ws"


@asynccontextmanager
async def uvicorn_serving(app: Any, path: str = "/ws") -> AsyncIterator[str]:
    import uvicorn

    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, ws="websockets-sansio", log_level="warning", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    await until(lambda: server.started)
    try:
        yield f"ws://127.0.0.1:{listening.getsockname()[1]}{path}"
    finally:
        server.should_exit = True
        await task
        listening.close()


def on_asgi(handler: Handler, check: TokenCheck | None) -> Any:
    return uvicorn_serving(Starlette(routes=[WebSocketRoute("/ws", stream_app(handler, token_check=check))]))


def on_mount(handler: Handler, check: TokenCheck | None) -> Any:
    return uvicorn_serving(Starlette(routes=[Mount("/ws", stream_app(handler, token_check=check))]), "/ws/")


def on_endpoint(handler: Handler, check: TokenCheck | None) -> Any:
    async def endpoint(websocket: WebSocket) -> None:
        stream = await accept_stream(websocket, token_check=check)
        if stream is not None:
            try:
                await handler(stream)
            except StreamClosed:
                pass
            finally:
                await stream.close()

    return uvicorn_serving(Starlette(routes=[WebSocketRoute("/ws", endpoint)]))


@asynccontextmanager
async def on_plain(handler: Handler, check: TokenCheck | None) -> AsyncIterator[str]:
    async with await serve(handler, path="/ws", token_check=check) as server:
        yield f"ws://127.0.0.1:{server.port}/ws"


every_adapter = pytest.mark.parametrize(
    "serving", [on_aiohttp, on_asgi, on_mount, on_endpoint, on_plain], ids=lambda serving: serving.__name__[3:]
)


async def until(holds: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.005)


async def settled(value: Callable[[], int]) -> None:
    """Wait until a figure has stood still for a while."""
    since, last = time.monotonic(), value()
    while time.monotonic() - since < 0.1:
        await asyncio.sleep(0.005)
        if value() != last:
            since, last = time.monotonic(), value()


def dial(url: str, authorization: str | None = None, **settings: Any) -> connect:
    headers = HEADERS | ({"Authorization": authorization} if authorization else {})
    return connect(url, additional_headers=headers, compression=None, **settings)


async def heard(ws: ClientConnection) -> AppAudio | StopAudio | TurnReport | None:
    return parse_app_message(await asyncio.wait_for(ws.recv(), 5))


async def echo(stream: Stream) -> None:
    async for event in stream:
        if isinstance(event, Audio):
            await stream.play(event.pcm)
        elif isinstance(event, Dtmf):
            await stream.stop()


def bearer(**claims: Any) -> str:
    return f"Bearer {token(**({'exp': int(time.time()) + 300, 'nbf': None, 'iat': None} | claims))}"


# ------------------------------------------------------------------------------------------ conversation


@every_adapter
async def test_a_conversation(serving: Serving) -> None:
    seen: list[Any] = []

    async def handler(stream: Stream) -> None:
        seen.append((stream.call_connection_id, stream.correlation_id, stream.metadata, stream.closed))
        metadata = await stream.opened()
        seen.append((metadata.sample_rate, stream.metadata == metadata))
        await echo(stream)
        seen.append(stream.closed)

    async with serving(handler, None) as url, dial(url) as ws:
        await ws.send(METADATA)
        for _ in range(3):
            await ws.send(FRAME)
            assert await heard(ws) == AppAudio(b"\x01\x02" * 320)
        await ws.send(FRAME.encode(), text=False)  # bytes are read as text
        assert await heard(ws) == AppAudio(b"\x01\x02" * 320)
        await ws.send(dtmf_data("#").decode())
        assert await heard(ws) == StopAudio()
        await ws.close()
        await until(lambda: len(seen) == 3)
    assert seen == [("connection-1", "correlation-1", None, False), (16000, True), True]


@every_adapter
async def test_what_cannot_be_used_is_passed_over(serving: Serving) -> None:
    seen: list[str] = []

    async def handler(stream: Stream) -> None:
        async for event in stream:
            if isinstance(event, Unreadable):
                seen.append(event.reason)
            elif isinstance(event, Opened):
                await stream.play(b"ok")

    async with serving(handler, None) as url, dial(url) as ws:
        for text in ("", "x", '{"kind":"New"}', '{"kind":"AudioData","audioData":{"data":"Q"}}', METADATA):
            await ws.send(text)
        assert await heard(ws) == AppAudio(b"ok")
    assert len(seen) == 4


@every_adapter
async def test_a_long_answer_arrives_whole_and_in_order(serving: Serving) -> None:
    pcm = bytes(range(256)) * 4000  # 32 s in one go

    async def handler(stream: Stream) -> None:
        await stream.opened()
        await stream.play(pcm)
        await stream.close()

    async with serving(handler, None) as url, dial(url) as ws:
        await ws.send(METADATA)
        got = b""
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                message = await heard(ws)
                assert isinstance(message, AppAudio)
                got += message.pcm
        assert got == pcm
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1000


@every_adapter
async def test_stop_overtakes_a_play_that_waits_for_a_slow_service(serving: Serving) -> None:
    blocked = asyncio.Event()
    stopped: list[float] = []

    async def handler(stream: Stream) -> None:
        await stream.opened()
        long = asyncio.create_task(stream.play(bytes(16_000_000)))
        await settled(lambda: stream.session.unsent_bytes)
        assert stream.session.unsent_bytes > 0
        blocked.set()
        stopped.append(await asyncio.wait_for(stream.stop(), 10))
        await long
        await stream.play(b"after")  # an odd length: the last byte waits for its other half
        await stream.play(b"!")
        async for _ in stream:
            pass

    async with serving(handler, None) as url, dial(url, max_queue=2) as ws:
        await ws.send(METADATA)
        await blocked.wait()
        size, after = 0, b""
        while after != b"after!":
            message = await heard(ws)
            if isinstance(message, StopAudio):
                size = 0
            elif isinstance(message, AppAudio):
                size += len(message.pcm)
                after = after + message.pcm if size <= 6 else b""
    assert stopped == [0]


@every_adapter
async def test_the_end_of_the_handler_closes_the_stream(serving: Serving) -> None:
    async def handler(stream: Stream) -> None:
        await stream.opened()

    async with serving(handler, None) as url, dial(url) as ws:
        await ws.send(METADATA)
        await asyncio.wait_for(ws.wait_closed(), 5)
        assert ws.close_code == 1000


@pytest.mark.parametrize("serving", [on_aiohttp, on_asgi, on_plain], ids=lambda serving: serving.__name__[3:])
async def test_a_failing_handler_closes_with_1011(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(stream: Stream) -> None:
        raise LookupError("a fault in the app")

    async with serving(handler, None) as url, dial(url) as ws:
        await asyncio.wait_for(ws.wait_closed(), 5)
        assert ws.close_code == 1011
    assert "a fault in the app" in caplog.text
    assert "connection-1" in caplog.text


@every_adapter
async def test_playing_into_a_closed_stream_is_an_error(serving: Serving) -> None:
    errors: list[str] = []

    async def handler(stream: Stream) -> None:
        async for _ in stream:
            pass
        for act in (lambda: stream.play(b"ab"), stream.stop):
            try:
                await act()
            except StreamClosed as error:
                errors.append(str(error))
        await stream.close()

    async with serving(handler, None) as url:
        async with dial(url) as ws:
            await ws.send(METADATA)
        await until(lambda: len(errors) == 2)


@every_adapter
async def test_a_connection_that_breaks_ends_the_handler(serving: Serving) -> None:
    ended: list[bool] = []

    async def handler(stream: Stream) -> None:
        await stream.opened()
        await echo(stream)
        ended.append(stream.closed)

    async with serving(handler, None) as url:
        ws = await dial(url)
        await ws.send(METADATA)
        await ws.send(FRAME)
        await heard(ws)
        ws.transport.abort()
        await until(lambda: ended == [True])


@every_adapter
async def test_a_reader_that_is_slow_loses_nothing(serving: Serving) -> None:
    go = asyncio.Event()
    got: list[bytes] = []

    async def handler(stream: Stream) -> None:
        await go.wait()
        got.extend([event.pcm async for event in stream if isinstance(event, Audio)])

    count = 3000  # a minute of frames
    sent: list[int] = []
    async with serving(handler, None) as url, dial(url) as ws:
        await ws.send(METADATA)
        sending = asyncio.create_task(_send_numbered(ws, count, sent))
        await settled(lambda: len(sent))  # nobody reads; the buffers on the way are full, or all is sent
        go.set()
        await asyncio.wait_for(sending, 20)
        await ws.close()
        await until(lambda: len(got) == count, 20)
    assert got == [number.to_bytes(2, "little") * 320 for number in range(count)]


@every_adapter
async def test_a_handler_that_never_reads_holds_the_service_back(serving: Serving) -> None:
    connected = asyncio.Event()
    end = asyncio.Event()

    async def handler(stream: Stream) -> None:
        connected.set()
        await end.wait()

    sent: list[int] = []
    async with serving(handler, None) as url, dial(url) as ws:
        await connected.wait()
        sending = asyncio.create_task(_send_numbered(ws, 40_000, sent))  # more than sockets hold
        await settled(lambda: len(sent))
        assert not sending.done()
        sending.cancel()
        ws.transport.abort()
        end.set()


async def test_messages_keep_their_order_while_sends_overlap() -> None:
    got: list[str] = []

    class Slow:
        async def receive(self) -> None:
            return None

        async def send(self, text: str) -> None:
            for _ in range(0 if got else 20):
                await asyncio.sleep(0)
            got.append(text)

        async def close(self, code: int, reason: str) -> None:
            return None

    stream = Stream(Slow(), {})
    await asyncio.gather(*(stream.play(bytes([n, n])) for n in range(5)), stream.stop(), stream.play(b"zz"))
    assert [parse_app_message(text) for text in got] == [AppAudio(bytes(2)), StopAudio(), AppAudio(b"zz")]


async def _send_numbered(ws: ClientConnection, count: int, sent: list[int]) -> None:
    writer = FrameWriter(None)
    for number in range(count):
        await ws.send(writer.build(number.to_bytes(2, "little") * 320, b"2024-11-15T19:16:12.925Z", False).decode())
        sent.append(number)


# ------------------------------------------------------------------------------------------------ tokens


@every_adapter
async def test_a_good_token_is_let_in(serving: Serving) -> None:
    check = TokenCheck(AUDIENCE, fetch=Page(KEY))
    async with serving(echo, check) as url:
        for _ in range(2):
            async with dial(url, bearer()) as ws:
                await ws.send(METADATA)
                await ws.send(FRAME)
                assert await heard(ws) == AppAudio(b"\x01\x02" * 320)


@every_adapter
@pytest.mark.parametrize(
    "authorization",
    [None, "Bearer x", bearer(aud="someone else"), bearer(exp=1), bearer(key=OTHER), bearer(iss="https://evil")],
    ids=["none", "garbage", "audience", "expired", "forged", "issuer"],
)
async def test_a_bad_token_is_refused_before_the_upgrade(serving: Serving, authorization: str | None) -> None:
    ran: list[Stream] = []

    async def handler(stream: Stream) -> None:
        ran.append(stream)

    async with serving(handler, TokenCheck(AUDIENCE, fetch=Page(KEY))) as url:
        with pytest.raises(InvalidStatus) as refused:
            await dial(url, authorization)
        assert refused.value.response.status_code == 401
    assert not ran


async def test_without_the_denial_extension_asgi_refuses_by_closing() -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    app = stream_app(echo, token_check=TokenCheck(AUDIENCE, fetch=Page(KEY)))
    await app({"type": "websocket", "headers": [], "extensions": {}}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]  # servers answer 403


async def test_the_plain_server_checks_a_token_whose_key_comes_late() -> None:
    source = Page(KEY)
    source.error = OSError("the key page is not up yet")
    async with on_plain(echo, TokenCheck(AUDIENCE, fetch=source)) as url:
        async with dial(url, bearer()) as ws:
            await asyncio.wait_for(ws.wait_closed(), 5)
            assert ws.close_code == 1008
        source.error = None

        async def let_in() -> bool:
            async with dial(url, bearer()) as ws:
                try:
                    await ws.send(METADATA)
                    await ws.send(FRAME)
                    return await heard(ws) is not None
                except ConnectionClosed:
                    return False

        deadline = time.monotonic() + 5
        while not await let_in():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: stream_handler(echo),
        lambda: stream_app(echo),
        lambda: serve(echo),
    ],
    ids=["aiohttp", "asgi", "plain"],
)
async def test_the_check_is_on_unless_switched_off(make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACS_RESOURCE_ID", raising=False)
    with pytest.raises(ConfigError, match="token_check=None"):
        made = make()
        if isinstance(made, Awaitable):
            await made


# ----------------------------------------------------------------------------------------- the plain server


async def test_the_plain_server_takes_its_path_only() -> None:
    async with on_plain(echo, None) as url:
        with pytest.raises(InvalidStatus) as refused:
            await dial(url.replace("/ws", "/other"))
        assert refused.value.response.status_code == 404
        async with dial(url + "?id=5"):
            pass


async def test_the_plain_server_joins_fragments_and_bounds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_module, "MAX_MESSAGE_BYTES", 5000)
    async with on_plain(echo, None) as url, dial(url) as ws:
        await ws.send(METADATA)
        await ws.send([FRAME[:10], "", FRAME[10:500], FRAME[500:], ""])
        assert await heard(ws) == AppAudio(b"\x01\x02" * 320)
        with pytest.raises(ConnectionClosed):
            await ws.send(["x" * 1000] * 6)
            await heard(ws)
        assert ws.close_code == 1009


async def test_closing_the_plain_server_ends_its_streams() -> None:
    server = await serve(echo, token_check=None)
    async with dial(f"ws://127.0.0.1:{server.port}/") as ws:
        await ws.send(METADATA)
        await ws.send(FRAME)
        await heard(ws)
        await asyncio.wait_for(server.close(), 5)
        await asyncio.wait_for(ws.wait_closed(), 5)
        assert ws.close_code == 1011


async def test_closing_the_plain_server_ends_connections_that_are_no_streams_yet() -> None:
    server = await serve(echo, token_check=None)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /ws HTTP/1.1\r\n")
    await writer.drain()
    await asyncio.sleep(0.01)
    late, late_writer = await asyncio.open_connection("127.0.0.1", server.port)
    await server.close()
    for one, its_writer in ((reader, writer), (late, late_writer)):
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(one.read(), 3) == b""
        its_writer.close()


async def test_too_much_ahead_is_refused() -> None:
    refused = asyncio.Event()

    async def handler(stream: Stream) -> None:
        await stream.opened()
        try:
            await stream.play(bytes(32_000 * 601))
        except PlayQueueFull:
            refused.set()

    async with on_plain(handler, None) as url, dial(url) as ws:
        await ws.send(METADATA)
        await asyncio.wait_for(refused.wait(), 5)


# ------------------------------------------------------------------------------------------------- imports


def test_the_kit_is_light() -> None:
    code = (
        "import sys, offhook.kit; print([m for m in ('aiohttp', 'starlette', 'numpy', 'uvloop') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert ran.stdout.strip() == "[]"


def test_a_missing_server_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(ConfigError, match="pip install aiohttp"):
        stream_handler(echo, token_check=None)


def test_what_is_played_is_the_dotnet_text() -> None:
    assert '"Kind":"AudioData"' in OutStreamingData.get_audio_data_for_outbound(b"ab")
