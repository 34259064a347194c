"""Bad input on the port and on the REST interface gets a clear error and loses nothing.

After each test the node takes a call, and its log has no traceback (fixture `still_well`).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import resource
import socket
import ssl
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession
from tests.console_leg import caller
from tests.live import (
    API_VERSION,
    CONNECTIONS,
    LiveNode,
    TestApp,
    answer,
    rest,
    streaming_options,
)

from offhook.service.certificates import State
from offhook.wire.signing import http_date, seal_context, sign_hmac

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("still_well")]

CALL = {"targets": [{"phoneNumber": {"value": "+15550100002"}}], "callbackUri": "http://127.0.0.1:1/"}


def streaming(**changed: Any) -> dict[str, Any]:
    """A call whose stream has wrong options."""
    return {**CALL, "mediaStreamingOptions": {**streaming_options("ws://x/"), **changed}}


def told(error: Any) -> str:
    """The message of an error envelope."""
    return str(error["error"]["message"])


# REST ---------------------------------------------------------------------------------------------------------------


WRONG_BODIES: list[tuple[Any, str]] = [
    (b"{", "JSON"),
    (b"", "targets"),
    (b"\xff\xfe{}", ""),
    (b"[]", "object"),
    (b"null", "object"),
    (b"[" * 50_000, ""),
    (b'{"targets":' + b'{"a":' * 5000, ""),
    ({**CALL, "targets": "x"}, "targets"),
    ({**CALL, "targets": []}, "targets"),
    ({**CALL, "targets": [5]}, "targets"),
    ({**CALL, "targets": [{"phoneNumber": {"value": 5}}]}, "phoneNumber.value"),
    ({**CALL, "targets": [{"phoneNumber": {"value": ""}}]}, "targets"),
    ({**CALL, "callbackUri": None}, "callbackUri"),
    ({**CALL, "callbackUri": ["http://x/"]}, "callbackUri"),
    ({**CALL, "callbackUri": "not a url"}, "callbackUri"),
    ({**CALL, "operationContext": 7}, "operationContext"),
    ({**CALL, "mediaStreamingOptions": []}, "mediaStreamingOptions"),
    (streaming(audioFormat="pcm8KMono"), "audioFormat"),
    (streaming(startMediaStreaming="yes"), "startMediaStreaming"),
    (streaming(audioChannelType=None), "audioChannelType"),
    (streaming(transportUrl="http://x/"), "transportUrl"),
    (streaming(transportUrl="ws://"), "transportUrl"),
    (streaming(transportUrl="ws://[::1/"), "transportUrl"),
    (streaming(transportUrl="ws://host:99999/"), "transportUrl"),
]


async def test_a_wrong_body_is_refused_by_the_name_of_its_field(node: LiveNode) -> None:
    for body, word in WRONG_BODIES:
        status, error = await rest(node, "POST", CONNECTIONS, body)
        assert (status, error["error"]["code"]) == (400, "8523"), (body, error)
        assert word in told(error), (body, told(error))


async def test_a_huge_body_is_refused_whether_or_not_it_says_so(node: LiveNode) -> None:
    status, error = await rest(node, "POST", CONNECTIONS, b"x" * (2**20 + 1))
    assert (status, "1048576" in told(error)) == (413, True)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 65536

    async with ClientSession() as session, session.post(node.http + CONNECTIONS, data=chunks()) as response:
        assert response.status == 413


async def test_paths_methods_and_versions(node: LiveNode) -> None:
    for method, path, expected in [
        ("GET", "/", 404),
        ("GET", "/calling/nothing", 404),
        ("PUT", CONNECTIONS, 405),
        ("GET", f"{CONNECTIONS}/%00%ff%zz", 404),
        ("GET", f"{CONNECTIONS}/{'a' * 4000}", 404),
        ("GET", f"{CONNECTIONS}/../../etc/passwd", 404),
        ("POST", f"{CONNECTIONS}/x:noSuchVerb", 404),
    ]:
        status, error = await raw_target(node, method, f"{path}?api-version={API_VERSION}")
        assert status == expected, (path, status)
        assert error["error"]["code"] and told(error)
    for query in ("", "?api-version=", "?api-version=1999-01-01", "?api-version=" + "9" * 3000):
        status, error = await raw_target(node, "GET", f"{CONNECTIONS}/x{query}")
        assert (status, API_VERSION in told(error)) == (400, True)


async def raw_target(node: LiveNode, method: str, target: str) -> tuple[int, Any]:
    """A signed request whose target goes out as it is."""
    host = urlsplit(node.http).netloc
    signed = sign_hmac(method, target, host, http_date(time.time()), b"", base64.b64decode(node.key))
    head = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
    return await raw_http(
        node, f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{head}Connection: close\r\n\r\n".encode()
    )


async def raw_http(node: LiveNode, request: bytes) -> tuple[int, Any]:
    """Bytes to the port; status and JSON of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    writer.write(request)
    answered = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    head, _, body = answered.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    with contextlib.suppress(ValueError):
        return status, json.loads(body)
    return status, body


async def test_a_signature_outside_the_skew(node: LiveNode) -> None:
    path = f"{CONNECTIONS}/{uuid.uuid4()}"
    for minutes, expected in [(-6, 401), (6, 401), (-4, 404), (4, 404)]:
        status, error = await rest(node, "GET", path, signed_at=time.time() + 60 * minutes)
        assert status == expected, minutes
        if expected == 401:
            assert "x-ms-date" in told(error)


async def test_a_request_without_a_good_signature(node: LiveNode) -> None:
    """Whatever is wrong with it: 401, code 7509 or 7501, never anything else."""
    target = f"{CONNECTIONS}/x?api-version={API_VERSION}"
    host = urlsplit(node.http).netloc
    start = "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature="
    wrongs: list[dict[str, str | None]] = [
        {"Authorization": None},
        {"Authorization": "Bearer x"},
        {"Authorization": "HMAC-SHA256 x"},
        {"Authorization": start + "\u00e9"},
        {"Authorization": f"{start}{'A' * 43}="},
        {"x-ms-date": None},
        {"x-ms-date": "yesterday"},
        {"x-ms-content-sha256": "\u00e9"},
    ]
    for wrong in wrongs:
        signed = sign_hmac("GET", target, host, http_date(time.time()), b"", base64.b64decode(node.key))
        lines = "".join(f"{name}: {value}\r\n" for name, value in {**signed, **wrong}.items() if value is not None)
        request = f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{lines}Connection: close\r\n\r\n"
        status, error = await raw_http(node, request.encode())
        assert (status, error["error"]["code"] in ("7509", "7501")) == (401, True), (wrong, error)


async def test_an_expired_context(node: LiveNode, app: TestApp) -> None:
    """Sealed with the node's own key, so that only its age is wrong."""
    state = State.open(Path(node.info["caFile"]).parent)
    key = hashlib.sha256(b"context" + state.token_key_pem).digest()
    old = seal_context({"call": "x", "hop": 1, "exp": time.time() - 1}, key, b"n" * 12)
    body = {"incomingCallContext": old, "callbackUri": app.callback}
    status, error = await rest(node, "POST", f"{CONNECTIONS}:answer", body)
    assert (status, error["error"]["code"]) == (400, "8587")
    assert "expired" in told(error)
    fresh = seal_context({"call": "x", "hop": 1, "exp": time.time() + 60}, key, b"n" * 12)
    status, error = await rest(node, "POST", f"{CONNECTIONS}:answer", {**body, "incomingCallContext": fresh})
    assert (status, error["error"]["code"]) == (404, "8522")


# the port -----------------------------------------------------------------------------------------------------------


async def test_a_client_hello_in_one_byte_pieces(node: LiveNode) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context(cafile=node.info["caFile"]).wrap_bio(
        incoming, outgoing, server_hostname="localhost"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    pieces = 0
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            for byte in outgoing.read():
                writer.write(bytes([byte]))
                await writer.drain()
                pieces += 1
            incoming.write(await asyncio.wait_for(reader.read(65536), 5))
    tls.write(b"GET /calling/keys HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    writer.write(outgoing.read())
    answered = b""
    while b'"keys"' not in answered:
        incoming.write(await asyncio.wait_for(reader.read(65536), 5))
        with contextlib.suppress(ssl.SSLWantReadError):
            answered += tls.read(65536)
    writer.transport.abort()
    assert pieces > 200


async def test_garbage_on_the_port(node: LiveNode) -> None:
    for garbage in (b"\0" * 100, b"\x16" + b"\xff" * 500, b"\x16\x03\x01", b"GET", b"\r\n\r\n", b"A" * 70_000):
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        writer.write(garbage)
        with contextlib.suppress(ConnectionError):
            writer.write_eof()
            await asyncio.wait_for(reader.read(), 5)
        writer.close()


async def test_a_thousand_idle_sockets(node: LiveNode, app: TestApp) -> None:
    """Silent ones, half a request, half a console socket: calls go on beside them (looked at by the fixture too)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4096), hard), hard))
    writers = []
    try:
        for index in range(1000):
            _, writer = await asyncio.open_connection("127.0.0.1", node.port)
            writer.write([b"", b"", b"POST /calling/callConnections HTTP/1.1\r\n", b"\x16\x03"][index % 4])
            writers.append(writer)
        async with caller(node) as one:
            data = await app.invited()
            await answer(node, data["incomingCallContext"], app.callback, streaming_options(app.socket))
            await app.stream(frames=30)
            assert (await one.hang_up())["stats"]["lateFrames"] < 10
    finally:
        for writer in writers:
            writer.transport.abort()
