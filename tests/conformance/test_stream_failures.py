"""Streams that cannot be opened or break: the right event for each cause, in words, and the call lives on
(protocol.md §2.10 and §9 row 20)."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from azure.communication.callautomation import StreamingTransportType, TranscriptionOptions
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.conformance.python_sdk import media_streaming, sdk
from tests.console_leg import Leg, caller
from tests.live import LiveNode, Stream, TestApp, answer, rest, streaming_options, until
from tests.raw_socket import tcp_app

pytestmark = pytest.mark.asyncio(loop_scope="module")

INVALID = (400, 8581, "initialWebSocketConnectionFailed")
REFUSED = (400, 8581, "authenticationFailure")
LOST = (500, 8603, "streamConnectionInterrupted")
# cause: code, subCode and details, and a word that the message must hold
CAUSES: dict[str, tuple[tuple[int, int, str], str]] = {
    "unknown name": (INVALID, "no-such-host.invalid"),
    "refused": (INVALID, "refused"),
    "not trusted": (INVALID, "not trusted"),
    "plain on tls": (INVALID, "TLS"),
    "401": (REFUSED, "401"),
    "403": (REFUSED, "403"),
    "404": (INVALID, "404"),
    "500": (INVALID, "500"),
    "no upgrade": (INVALID, "200"),
    "no answer": (INVALID, "no answer"),
    "closes in the upgrade": (INVALID, "before it answered the upgrade"),
    "drops at once": (INVALID, "right after it opened"),
    "closes 1008": (REFUSED, "1008"),
    "closes 1011 at once": (INVALID, "1011"),
    "gone in mid-call": (LOST, "404"),
}


@dataclass
class Failure:
    """What became of one call."""

    event: dict[str, Any]
    after: float
    leg: Leg
    connection: str


def certificate(folder: Path) -> ssl.SSLContext:
    """A server's TLS with a certificate of nobody."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


async def take_over(stream: Stream) -> None:
    """The app's part in the causes that get a socket."""
    path = stream.path.removeprefix("/ws/")
    if path == "drop":
        stream.drop()
    elif path.startswith("close/"):
        await stream.socket.close(code=int(path.removeprefix("close/")))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def failures(
    world: tuple[LiveNode, TestApp], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, Failure]]:
    """All causes at once, each in a call of its own that is still up when the tests look at it."""
    node, app = world
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:

        async def serve(handler: Callable[..., Any], **options: Any) -> int:
            return await stack.enter_async_context(tcp_app(handler, **options))

        async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.close()

        silent, closing = await serve(hold), await serve(close)
        secret = await serve(hold, ssl=certificate(tmp_path_factory.mktemp("tls")))
        closed = await asyncio.start_server(hold, "127.0.0.1", 0)
        free = closed.sockets[0].getsockname()[1]
        closed.close()
        vanishing = TestApp()
        base = app.url.replace("http", "ws")
        urls = {
            "unknown name": "wss://no-such-host.invalid/ws",
            "refused": f"ws://127.0.0.1:{free}/ws",
            "not trusted": f"wss://localhost:{secret}/ws",
            "plain on tls": f"wss://127.0.0.1:{app.port}/ws",
            "no upgrade": f"{base}/status/200",
            "no answer": f"ws://127.0.0.1:{silent}/ws",
            "closes in the upgrade": f"ws://127.0.0.1:{closing}/ws",
            "drops at once": f"{base}/ws/drop",
            "closes 1008": f"{base}/ws/close/1008",
            "closes 1011 at once": f"{base}/ws/close/1011",
            "gone in mid-call": "",
        }
        app.on_stream = take_over
        client = await stack.enter_async_context(sdk(node, "async http"))
        gone = await stack.enter_async_context(vanishing.running())

        async def one(cause: str, number: str) -> tuple[str, Failure]:
            leg = await stack.enter_async_context(caller(node, to=number))
            data = await until(lambda: [e["data"] for e in app.incoming if e["data"]["to"]["rawId"] == f"4:{number}"])
            url = urls.get(cause, f"{base}/status/{cause}") or gone.socket
            began = loop.time()
            made = await client(
                client.client.answer_call,
                data[0]["incomingCallContext"],
                app.callback,
                media_streaming=media_streaming(url),
            )
            connection = made.call_connection_id
            if cause == "gone in mid-call":
                await until(lambda: gone.streams and len(gone.streams[0].frames) > 55)
                gone.refusing = 404
                gone.streams[0].drop()
                began = loop.time()
            event = await until(
                lambda: [
                    e["data"] for e in app.named("MediaStreamingFailed") if e["data"]["callConnectionId"] == connection
                ],
                f"MediaStreamingFailed: {cause}",
                deadline=20,
            )
            return cause, Failure(event[0], loop.time() - began, leg, connection)

        yield dict(await asyncio.gather(*(one(c, f"+1555020{n:04}") for n, c in enumerate(CAUSES))))


@pytest.mark.parametrize("cause", CAUSES)
async def test_each_cause_is_told_and_the_call_lives_on(
    world: tuple[LiveNode, TestApp], failures: dict[str, Failure], cause: str
) -> None:
    node, app = world
    failure = failures[cause]
    (code, sub_code, details), word = CAUSES[cause]
    result, update = failure.event["resultInformation"], failure.event["mediaStreamingUpdate"]
    assert (result["code"], result["subCode"], update["mediaStreamingStatusDetails"]) == (code, sub_code, details)
    assert update["mediaStreamingStatus"] == "mediaStreamingFailed"
    assert update["contentType"] == "Audio"
    assert word in result["message"], result["message"]
    assert failure.after < 10
    assert (
        len([e for e in app.named("MediaStreamingFailed") if e["data"]["callConnectionId"] == failure.connection]) == 1
    )
    assert any(word in line and failure.connection in line for line in node.log), "the log says it too"
    heard = failure.leg.frames
    await until(lambda: failure.leg.frames > heard, "the call goes on")
    status, properties = await rest(node, "GET", f"/calling/callConnections/{failure.connection}")
    assert (status, properties["callConnectionState"]) == (200, "connected")
    assert properties["mediaStreamingSubscription"]["state"] == "inactive"


async def test_stopped_before_it_is_open(world: tuple[LiveNode, TestApp]) -> None:
    """A stream and a transcription that dial an app which never answers: the start fails, the stop is done."""
    node, app = world
    await app.clear()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with tcp_app(hold) as port, sdk(node, "async http") as client, caller(node) as leg:
        url = f"ws://127.0.0.1:{port}/ws"
        made = await client(
            client.client.answer_call,
            (await app.invited())["incomingCallContext"],
            app.callback,
            media_streaming=media_streaming(url, start=False),
            transcription=TranscriptionOptions(
                transport_url=url, transport_type=StreamingTransportType.WEBSOCKET, locale="en-US",
                start_transcription=False,
            ),
        )  # fmt: skip
        await app.event("CallConnected")
        one = client.connection(made.call_connection_id)
        for start, stop, name, sub_code in (
            (one.start_media_streaming, one.stop_media_streaming, "MediaStreaming", 8603),
            (one.start_transcription, one.stop_transcription, "Transcription", 8579),
        ):
            await client(start, operation_context="start")
            await client(stop, operation_context="stop")
            failed, stopped = await app.event(f"{name}Failed"), await app.event(f"{name}Stopped")
            assert (failed["resultInformation"]["code"], failed["resultInformation"]["subCode"]) == (500, sub_code)
            assert (failed["operationContext"], stopped["operationContext"]) == ("start", "stop")
            assert not app.named(f"{name}Started")
        there = await client(one.get_call_properties)
        assert there.call_connection_state == "connected"
        assert there.media_streaming_subscription.state == there.transcription_subscription.state == "inactive"
        await leg.heard_frames(leg.frames + 5)


@pytest.mark.parametrize("code", [1000, 1001])
async def test_an_app_that_closes_in_order_stops_the_stream(world: tuple[LiveNode, TestApp], code: int) -> None:
    node, app = world
    await app.clear()
    async with caller(node) as leg:
        data = await app.invited()
        made = await answer(node, data["incomingCallContext"], app.callback, streaming_options(app.socket))
        stream = await app.stream(frames=5)
        await stream.socket.close(code=code)
        stopped = await app.event("MediaStreamingStopped")
        assert stopped["mediaStreamingUpdate"]["mediaStreamingStatusDetails"] == "subscriptionStopped"
        heard = leg.frames
        await leg.heard_frames(heard + 40)
        assert len(app.streams) == 1, "no re-dial"
        status, _ = await rest(node, "POST", f"/calling/callConnections/{made['callConnectionId']}:startMediaStreaming")
        assert status == 202, "and it can be started again"
        await app.stream(2, frames=5)
        await app.event("MediaStreamingStarted", 2)


async def test_a_drop_in_mid_call_is_dialled_again(world: tuple[LiveNode, TestApp]) -> None:
    """Metadata again, Started with streamConnectionReestablished; what was queued plays on."""
    node, app = world
    await app.clear()
    async with caller(node) as leg:
        data = await app.invited()
        await answer(node, data["incomingCallContext"], app.callback, streaming_options(app.socket))
        stream = await app.stream(frames=55)
        await app.event("MediaStreamingStarted")
        await stream.play(b"\x01\x02" * 16000 * 5)
        await leg.heard_app(5)
        stream.drop()
        again = await app.stream(2, frames=5)
        assert again.metadata == stream.metadata
        told = await app.event("MediaStreamingStarted", 2)
        assert told["mediaStreamingUpdate"]["mediaStreamingStatusDetails"] == "streamConnectionReestablished"
        assert again.headers["authorization"] != stream.headers["authorization"]
        played = [frame for frame, of_app in enumerate(leg.of_app) if of_app]
        assert len(played) == played[-1] - played[0] + 1, "no gap"
        assert not app.named("MediaStreamingFailed")
