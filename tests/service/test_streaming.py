"""MediaStream against real local WebSocket servers: dialling, failing, breaking, closing, falling behind."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from picows import WSMsgType
from tests.live import until
from tests.raw_socket import CLOSE, PING, RawSocket, raw_app, tcp_app
from tests.service.stream_bench import Bench, Owner, app, bench, hold
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from offhook.service import streaming
from offhook.service.certificates import State, client_context, server_context
from offhook.service.clock import ManualClock
from offhook.service.streaming import MediaStream
from offhook.service.targets import Targets
from offhook.service.transcription import TranscriptStream

TEXT_KIND = WSMsgType.TEXT
AUDIO = {"kind": "AudioData", "audioData": {"data": base64.b64encode(b"\1\0" * 320).decode()}}
STOP = '{"kind":"StopAudio","stopAudio":{}}'
CONTINUATION = 0


# the first connect --------------------------------------------------------------------------------------------------


async def test_it_dials_the_url_byte_for_byte_with_its_headers_and_says_metadata_first() -> None:
    async with app(hold) as (url, came), bench(url) as one:
        await one.until_told()
        assert one.port.connected
        request = came[0].request
        assert request is not None
        assert request.path == "/ws?call=1"
        assert request.headers["Authorization"] == "Bearer token-1"
        assert request.headers["x-ms-call-connection-id"] == "connection"
        one.tick(3)
        first = json.loads(await came[0].recv())
        assert first == {
            "kind": "AudioMetadata",
            "audioMetadata": {
                "subscriptionId": "subscription", "encoding": "PCM", "sampleRate": 16000, "channels": 1, "length": 640,
            },
        }  # fmt: skip
        for _ in range(3):
            message = await came[0].recv()
            assert isinstance(message, str), "text, never binary"
            assert json.loads(message)["kind"] == "AudioData"
        assert one.owner.kinds == ["opened"]


async def test_over_tls_with_a_certificate_that_is_trusted_or_not(tmp_path: Path, quick: None) -> None:
    state = State.open(tmp_path)
    async with app(hold, ssl=server_context(state)) as (url, _):
        async with bench(url, tls=client_context(state, [])) as one:
            assert await one.until_told() == ["opened"]
        async with bench(url) as one:
            outcome, detail = await one.failure()
            assert outcome == "stream_url_invalid"
            assert "certificate is not trusted" in detail


async def test_plain_server_behind_a_wss_url(quick: None) -> None:
    async with app(hold) as (url, _), bench(url.replace("ws://", "wss://")) as one:
        outcome, detail = await one.failure()
        assert outcome == "stream_url_invalid"
        assert "TLS failed" in detail


async def test_refused_three_times_within_a_second_and_a_half(free_port: Callable[[], int]) -> None:
    began = time.monotonic()
    async with bench(f"ws://127.0.0.1:{free_port()}/") as one:
        outcome, detail = await one.failure()
        assert 1.4 < time.monotonic() - began < 2.5
        assert one.dials == 3
        assert outcome == "stream_url_invalid"
        assert "refused" in detail
        assert [name for name, _ in one.owner.notes] == ["dial failed"] * 3


async def test_a_name_that_nobody_knows(quick: None) -> None:
    async with bench("ws://no-such-host.invalid/ws") as one:
        outcome, detail = await one.failure()
        assert outcome == "stream_url_invalid"
        assert "no-such-host.invalid" in detail


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "ws://", "ws://127.0.0.1:99999/", "nonsense", ""])
async def test_a_url_that_is_none(url: str, quick: None) -> None:
    async with bench(url) as one:
        outcome, _ = await one.failure()
        assert outcome == "stream_url_invalid"


@pytest.mark.parametrize(
    ("status", "outcome", "dials"),
    [
        (401, "stream_auth_refused", 1),
        (403, "stream_auth_refused", 1),
        (404, "stream_url_invalid", 3),
        (500, "stream_url_invalid", 3),
        (302, "stream_url_invalid", 3),
    ],
)
async def test_an_upgrade_answered_otherwise(status: int, outcome: str, dials: int, quick: None) -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        return connection.respond(status, "no")

    async with app(hold, process_request=refuse) as (url, _), bench(url) as one:
        told, detail = await one.failure()
        assert (told, one.dials) == (outcome, dials)
        assert str(status) in detail


async def test_an_app_that_is_no_web_server(quick: None) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n\r\n")
        await reader.read()
        writer.close()

    async with tcp_app(babble) as port, bench(f"ws://127.0.0.1:{port}/") as one:
        outcome, detail = await one.failure()
        assert outcome == "stream_url_invalid"
        assert detail
        one.stream.close()


async def test_an_app_that_never_answers_the_upgrade(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "DIAL_TIMEOUT", 0.1)

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with tcp_app(mute) as port, bench(f"ws://127.0.0.1:{port}/") as one:
        outcome, detail = await one.failure()
        assert (outcome, one.dials) == ("stream_url_invalid", 3)
        assert "no answer" in detail


async def test_it_opens_at_the_second_try() -> None:
    tries = []

    def once(connection: ServerConnection, request: Request) -> Response | None:
        tries.append(request.headers["Authorization"])
        return connection.respond(503, "starting") if len(tries) == 1 else None

    async with app(hold, process_request=once) as (url, _), bench(url) as one:
        assert await one.until_told() == ["opened"]
        assert tries == ["Bearer token-1", "Bearer token-2"], "each try has a token of its own"


async def test_a_handler_that_dies_right_after_the_upgrade_is_a_url_that_does_not_work(quick: None) -> None:
    async def die(connection: ServerConnection) -> None:
        connection.transport.abort()

    async with app(die) as (url, came), bench(url) as one:
        outcome, detail = await one.failure()
        assert outcome == "stream_url_invalid"
        assert "right after it opened" in detail
        assert len(came) == 3


# in mid-call --------------------------------------------------------------------------------------------------------


async def test_a_drop_is_dialled_again_with_metadata_and_told_as_reestablished(quick: None) -> None:
    async with app(hold) as (url, came), bench(url) as one:
        await one.until_told()
        one.clock.advance(10)
        for again in (1, 2):
            came[-1].transport.abort()
            assert (await one.until_told(1 + again))[-1] == "reestablished"
            assert one.port.connected
            one.tick()
            kinds = [json.loads(await came[again].recv())["kind"] for _ in range(2)]
            assert kinds == ["AudioMetadata", "AudioData"]
            one.clock.advance(10)
        assert one.dials == 3


async def test_what_is_queued_plays_on_while_the_socket_is_away(quick: None) -> None:
    async with app(hold) as (url, came), bench(url) as one:
        await one.until_told()
        one.clock.advance(10)
        await came[0].send(json.dumps(AUDIO))
        await came[0].send(json.dumps(AUDIO))
        await until(lambda: len(one.batch.came) == 2)
        one.batch.read()
        came[0].transport.abort()
        await until(lambda: not one.port.connected)
        assert one.port.playout.queued_samples == 640
        await one.until_told(2)
        assert one.port.playout.queued_samples == 640


async def test_a_drop_for_good_is_lost_after_three_tries(quick: None) -> None:
    async with app(hold) as (url, came):
        one = Bench(url)
        one.stream.open()
        await one.until_told()
        one.clock.advance(10)
        connection = came[0]
    # The server is closed: its sockets are gone, and nobody answers.
    with contextlib.suppress(ConnectionClosed):
        await connection.close()
    await one.until_told(2)
    if one.owner.kinds[-1] == "closed by the app":  # a server that goes says 1001
        return
    assert one.owner.told[-1][1] == "stream_lost"


async def test_an_aborted_app_that_does_not_come_back(quick: None) -> None:
    refuse = False

    def gate(connection: ServerConnection, request: Request) -> Response | None:
        return connection.respond(404, "gone") if refuse else None

    async with app(hold, process_request=gate) as (url, came), bench(url) as one:
        await one.until_told()
        one.clock.advance(10)
        refuse = True
        came[0].transport.abort()
        outcome, detail = await one.failure()
        assert (outcome, one.dials) == ("stream_lost", 4)
        assert "404" in detail
        assert not one.port.connected


async def test_the_spacing_of_the_tries_after_a_drop() -> None:
    at: list[float] = []

    def gate(connection: ServerConnection, request: Request) -> Response | None:
        at.append(time.monotonic())
        return connection.respond(404, "gone") if len(at) > 1 else None

    async with app(hold, process_request=gate) as (url, came), bench(url) as one:
        await one.until_told()
        one.clock.advance(10)
        began = time.monotonic()
        came[0].transport.abort()
        await one.failure()
        gaps = [round(b - a, 1) for a, b in zip([began, *at[1:]], at[1:], strict=False)]
        assert [0.2 <= gaps[0] <= 0.4, 0.9 <= gaps[1] <= 1.2, 1.9 <= gaps[2] <= 2.2] == [True] * 3, gaps


@pytest.mark.parametrize("status", [401, 403])
async def test_a_re_dial_that_is_refused_for_its_token(status: int, quick: None) -> None:
    def gate(connection: ServerConnection, request: Request) -> Response | None:
        return connection.respond(status, "no") if came else None

    async with app(hold, process_request=gate) as (url, came), bench(url) as one:
        await one.until_told()
        one.clock.advance(10)
        came[0].transport.abort()
        outcome, _ = await one.failure()
        assert (outcome, one.dials) == ("stream_auth_refused", 2)


async def test_drops_at_once_in_mid_call_are_a_lost_stream(quick: None) -> None:
    async def first_lives(connection: ServerConnection) -> None:
        if len(came) == 1:
            await connection.wait_closed()
        connection.transport.abort()

    async with app(first_lives) as (url, came), bench(url) as one:
        await one.until_told()
        one.clock.advance(10)
        came[0].transport.abort()
        outcome, detail = await one.failure()
        assert outcome == "stream_lost"
        assert len(came) == 4


@pytest.mark.parametrize("code", [1000, 1001])
async def test_an_ordinary_close_is_told_and_not_dialled_again(code: int, quick: None) -> None:
    async def leave(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.close(code, "bye")

    async with app(leave) as (url, came), bench(url) as one:
        assert await one.until_told(2) == ["opened", "closed by the app"]
        assert not one.port.connected
        await asyncio.sleep(0.1)
        assert one.dials == 1
        assert came[0].protocol.close_rcvd is not None and came[0].protocol.close_rcvd.code == code


async def test_a_close_without_a_code_is_ordinary_and_answered_with_1000(quick: None) -> None:
    answers: list[tuple[int, bytes]] = []

    async def leave(socket: RawSocket) -> None:
        await socket.frame()
        socket.send(b"", CLOSE)
        _, opcode, payload = await socket.frame()
        answers.append((opcode, payload))

    async with raw_app(leave) as url, bench(url) as one:
        assert await one.until_told(2) == ["opened", "closed by the app"]
        await until(lambda: answers)
        assert answers == [(CLOSE, b"\x03\xe8")]


async def test_1008_is_the_apps_word_against_the_token(quick: None) -> None:
    async def refuse(connection: ServerConnection) -> None:
        await connection.close(1008, "token")

    async with app(refuse) as (url, _), bench(url) as one:
        outcome, detail = await one.failure()
        assert (outcome, one.dials) == ("stream_auth_refused", 1)
        assert "1008" in detail


@pytest.mark.parametrize("code", [1011, 1012, 3000, 4999])
async def test_another_close_code_is_a_drop(code: int, quick: None) -> None:
    async def break_once(connection: ServerConnection) -> None:
        if len(came) == 1:
            await connection.recv()
            await connection.close(code)
        await connection.wait_closed()

    async with app(break_once) as (url, came), bench(url) as one:
        assert await one.until_told(2) == ["opened", "reestablished"]
        assert ("dropped", {"reason": f"close code {code}"}) in one.owner.notes


async def test_a_quiet_socket_is_pinged_and_dialled_again_when_nobody_answers(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the app is told little, as in a transcription: one that is gone sends nothing, not even an end."""
    assert TranscriptStream.ping_after > 0 == MediaStream.ping_after
    monkeypatch.setattr(MediaStream, "ping_after", 0.1)
    monkeypatch.setattr(streaming, "PONG_WITHIN", 0.1)
    frames: list[int] = []

    async def deaf(socket: RawSocket) -> None:
        while True:
            frames.append((await socket.frame())[1])

    async with raw_app(deaf) as url, bench(url) as one:
        assert (await one.until_told(2))[:2] == ["opened", "reestablished"]
        assert PING in frames
    async with app(hold) as (url, _), bench(url) as one:
        await one.until_told()
        await asyncio.sleep(0)
        assert one.owner.kinds == ["opened"]


async def test_what_an_app_sends_on_a_transcription_socket_is_kept_nowhere(quick: None) -> None:
    """Nobody reads it: also not in the ticks of calls, which may be none."""

    async def talk(connection: ServerConnection) -> None:
        for size in (10, 100_000):
            for _ in range(20):
                await connection.send("x" * size)
        await connection.close()

    owner = Owner()
    async with app(talk) as (url, _):
        stream = TranscriptStream(
            "connection", "subscription", url, locale="en-US", correlation_id="", headers=dict,
            tls=ssl.create_default_context(), targets=Targets(private=True), clock=ManualClock(), owner=owner,
        )  # fmt: skip
        stream.open()
        await until(lambda: "closed by the app" in owner.kinds, "its end")
        assert not stream.batch.came
        await stream.closed()
