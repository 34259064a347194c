"""One port, TLS and plain HTTP: slow, silent and many clients (bad input of the first issue)."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import uvloop
from aiohttp import web
from aiohttp.typedefs import Handler

from offhook.errors import ConfigError
from offhook.service.certificates import State, client_context, server_context
from offhook.service.listener import Listener


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> State:
    return State.open(tmp_path_factory.mktemp("tls"))


async def hello(request: web.Request) -> web.Response:
    return web.Response(text=f"{request.scheme} {await request.text()}")


async def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def served(state: State | None, **options: Any) -> AsyncIterator[tuple[Listener, int]]:
    listeners: list[Listener] = []

    @web.middleware
    async def heard(request: web.Request, handler: Handler) -> web.StreamResponse:
        listeners[0].asked(request.protocol)
        return await handler(request)

    app = web.Application(middlewares=[heard])
    app.router.add_route("*", "/", hello)
    runner = web.AppRunner(app)
    await runner.setup()
    assert runner.server is not None
    listener = Listener(runner.server, server_context(state) if state else None, **options)
    listeners.append(listener)
    try:
        yield listener, await listener.start()
    finally:
        await listener.close()
        await runner.cleanup()


async def get(session: aiohttp.ClientSession, state: State, url: str) -> str:
    async with session.post(url, data="x" * 10, ssl=client_context(state)) as response:
        return await response.text()


async def test_http_and_https_on_one_port_and_both_families(state: State) -> None:
    async with served(state) as (_, port), aiohttp.ClientSession() as session:
        for host in ["localhost", "127.0.0.1", "[::1]"]:
            assert await get(session, state, f"http://{host}:{port}/") == "http xxxxxxxxxx"
            assert await get(session, state, f"https://{host}:{port}/") == "https xxxxxxxxxx"


def test_the_same_under_uvloop(state: State) -> None:
    async def main() -> None:
        async with served(state) as (listener, port), aiohttp.ClientSession() as session:
            idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
            assert await get(session, state, f"https://localhost:{port}/") == "https xxxxxxxxxx"
            assert await get(session, state, f"http://localhost:{port}/") == "http xxxxxxxxxx"
            assert await get_bytewise(state, port) == b"HTTP/1.1 200 OK"
            assert await send_rubbish(port) == b""
            await until(lambda: listener.undecided == 20)
            for _, writer in idle:
                writer.close()
            await until(lambda: listener.undecided == 0)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


async def test_a_client_hello_in_one_byte_pieces(state: State) -> None:
    async with served(state) as (_, port):
        assert await get_bytewise(state, port) == b"HTTP/1.1 200 OK"


async def test_a_silent_client_is_closed(state: State) -> None:
    async with served(state, first_byte_timeout=0.05) as (listener, port):
        clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        for reader, writer in clients:
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
        assert listener.undecided == 0


@pytest.mark.parametrize("said", [b"G", b"GET / HTTP/1.1\r\nHost: x\r\n"])
async def test_a_client_that_never_ends_its_first_request_is_closed(state: State, said: bytes) -> None:
    async with served(state, first_byte_timeout=0.1) as (listener, port), aiohttp.ClientSession() as session:
        assert await get(session, state, f"http://localhost:{port}/") == "http xxxxxxxxxx"  # and is kept alive
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        await until(lambda: listener.unasked == 1)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert listener.unasked == 0
        connections = session.connector._conns.values()  # type: ignore[union-attr]
        assert [protocol.is_connected() for row in connections for protocol, _ in row] == [True]
        writer.close()


async def test_requests_begun_and_not_ended_are_bounded_and_the_oldest_goes(state: State) -> None:
    async with served(state, undecided_limit=2) as (listener, port):
        clients = []
        for count in range(4):
            clients.append(await asyncio.open_connection("127.0.0.1", port))
            clients[-1][1].write(b"G")
            await until(lambda count=count: listener.unasked == min(count + 1, 2))  # type: ignore[misc]
        for reader, _ in clients[:2]:
            assert await asyncio.wait_for(reader.read(), 5) == b""
        for _, writer in clients:
            writer.close()


async def test_a_tls_client_that_stops_in_its_hello_is_closed(state: State) -> None:
    async with served(state, first_byte_timeout=0.05) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x16\x03")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_a_thousand_idle_sockets_harm_nobody(state: State) -> None:
    async with served(state) as (listener, port), aiohttp.ClientSession() as session:
        idle = [plain_socket(port) for _ in range(1000)]
        await until(lambda: listener.undecided == 1000)
        async with asyncio.timeout(2):
            assert await get(session, state, f"https://localhost:{port}/") == "https xxxxxxxxxx"
        for sock in idle:
            sock.close()
        await until(lambda: listener.undecided == 0)


async def test_undecided_sockets_are_bounded_and_the_oldest_goes(state: State) -> None:
    async with served(state, undecided_limit=3) as (listener, port), aiohttp.ClientSession() as session:
        clients = []
        for count in range(5):
            clients.append(await asyncio.open_connection("127.0.0.1", port))
            await until(lambda count=count: listener.undecided == min(count + 1, 3))  # type: ignore[misc]
        for reader, _ in clients[:2]:
            assert await asyncio.wait_for(reader.read(), 5) == b""
        assert await get(session, state, f"http://localhost:{port}/") == "http xxxxxxxxxx"
        for _, writer in clients:
            writer.close()


async def test_running_out_of_descriptors_is_survived_and_said_once(
    state: State, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, failures = socket.socket.accept, [4]

    def accept(self: socket.socket) -> tuple[socket.socket, Any]:
        if failures[0]:
            failures[0] -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return real(self)

    async with served(state, back_off=0.01) as (_, port), aiohttp.ClientSession() as session:
        monkeypatch.setattr(socket.socket, "accept", accept)
        assert await get(session, state, f"http://127.0.0.1:{port}/") == "http xxxxxxxxxx"
    assert failures == [0]
    assert [record.message for record in caplog.records if "Too many open files" in record.message] != []
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1


async def test_a_failed_handshake_is_one_line(state: State, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with served(state) as (_, port), aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            async with session.get(f"https://localhost:{port}/", ssl=ssl.create_default_context()):
                pass
        assert await send_rubbish(port) == b""
        await until(lambda: sum("TLS handshake from" in record.message for record in caplog.records) >= 2)
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.WARNING]


async def test_without_a_certificate_tls_is_closed_and_http_served() -> None:
    async with served(None) as (_, port), aiohttp.ClientSession() as session:
        assert await send_rubbish(port) == b""
        async with session.get(f"http://127.0.0.1:{port}/") as response:
            assert response.status == 200


async def test_a_taken_port_is_a_config_error(state: State) -> None:
    async with served(state) as (_, port):
        with pytest.raises(ConfigError, match=rf"--port {port} is taken"):
            async with served(state, port=port):
                pass


async def test_a_foreign_address_is_a_config_error(state: State) -> None:
    with pytest.raises(ConfigError, match="--host"):
        async with served(state, host="192.0.2.1"):
            pass


async def test_close_ends_undecided_connections_and_the_port(state: State) -> None:
    async with served(state) as (listener, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: listener.undecided == 1)
        await listener.close()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)


def plain_socket(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 5)


async def send_rubbish(port: int) -> bytes:
    """Speaks something that only begins like TLS; returns what is left after the alert."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x16\x03\x01\x00\x05hello")
    try:
        await asyncio.wait_for(reader.read(), 5)
    except ConnectionError:
        pass
    writer.close()
    return b""


async def get_bytewise(state: State, port: int) -> bytes:
    """A GET over TLS whose every byte is sent alone."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    await loop.sock_connect(sock, ("127.0.0.1", port))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context(state).wrap_bio(incoming, outgoing, server_hostname="localhost")

    async def flush() -> None:
        for byte in outgoing.read():
            await loop.sock_sendall(sock, bytes([byte]))
            await asyncio.sleep(0)

    async def run(step: Callable[[], Any]) -> Any:
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                await flush()
                incoming.write(await loop.sock_recv(sock, 65536))
            else:
                await flush()
                return done

    with sock:
        await run(tls.do_handshake)
        await run(lambda: tls.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
        answer: bytes = await run(lambda: tls.read(65536))
    return answer.split(b"\r\n")[0]
