"""`offhook dev` as a process: how it starts, stops and keeps what it made (exact words of the first issue)."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import ClientSession
from tests.console_leg import caller
from tests.live import CALLEE, KEY, OFFHOOK, TestApp, answer, dev_node, rest, streaming_options, until
from tests.raw_socket import RawSocket, raw_app, tcp_app


async def test_sigterm_ends_every_call_though_the_app_never_answers(tmp_path: Path) -> None:
    """CallDisconnected to every connection, Close 1000 on every stream, `ended` on every leg, exit 0 within 10 s."""
    app, posts = TestApp(), dict[str, list[str]]()
    sockets: list[RawSocket] = []

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        event = json.loads(await reader.readexactly(int(head.split("content-length:")[1].split("\r\n")[0])))[0]
        posts.setdefault(event["data"]["callConnectionId"], []).append(event["type"].rpartition(".")[2])
        await reader.read()
        writer.close()

    async def never_closes(socket: RawSocket) -> None:
        sockets.append(socket)
        await socket.read_strictly()

    async with (
        app.running(),
        tcp_app(swallow) as port,
        raw_app(never_closes) as stream_url,
        dev_node(tmp_path, "--incoming", app.webhook) as node,
    ):
        url = f"http://127.0.0.1:{port}/"
        await until(lambda: node.named("subscription"), "validation")
        async with (
            caller(node, to="+15550100011") as one,
            caller(node, to="+15550100012") as two,
            caller(node, to="+15550100013") as ringing,
        ):
            await app.invited(3)
            for data in [e["data"] for e in app.incoming if e["data"]["to"]["rawId"] != "4:+15550100013"]:
                await answer(node, data["incomingCallContext"], url, streaming_options(stream_url))
            await until(lambda: len(sockets) == 2 and all(len(s.messages) > 10 for s in sockets))
            began = time.monotonic()
            assert await node.stop() == 0
            assert time.monotonic() - began < 10
            for leg in (one, two, ringing):
                ended = await leg.told("ended")
                assert (ended["endedBy"], ended["subCode"]) == ("service", 7000)
            assert len(posts) == 2
            for names in posts.values():
                assert names[0] == "CallConnected"
                assert names[-1] == "CallDisconnected"
                assert len(names) == len(set(names)), "nothing is sent twice"
            assert [s.close_code for s in sockets] == [1000, 1000]


async def test_sigterm_with_nothing_up_is_quick_and_sigint_is_the_same(tmp_path: Path) -> None:
    for number in (15, 2):
        async with dev_node(tmp_path) as node:
            began = time.monotonic()
            node.process.send_signal(number)
            assert await asyncio.wait_for(node.process.wait(), 5) == 0
            assert time.monotonic() - began < 3


async def test_a_second_start_keeps_key_and_ca(tmp_path: Path) -> None:
    """Port 0 picks a free one each time; trust in the first CA is trust in the second node."""
    async with dev_node(tmp_path) as node:
        first = node.info
        trusted = Path(first["caBundle"]).read_bytes()
        assert node.port > 0
        assert first["endpoint"] == f"https://localhost:{node.port}/"
        assert first["httpEndpoint"] == f"http://localhost:{node.port}"
        assert first["connectionString"] == f"endpoint={first['endpoint']};accesskey={KEY}"
        assert first["incoming"] == []
        assert Path(first["caBundle"]).is_absolute() and Path(first["caFile"]).is_absolute()
        keys = await page(node.http + "/calling/keys")
    (tmp_path / "trusted.pem").write_bytes(trusted)
    async with dev_node(tmp_path) as node:
        for key in ("accessKey", "caBundle", "caFile", "resourceId", "issuer"):
            assert node.info[key] == first[key], key
        assert Path(first["caBundle"]).read_bytes() == trusted
        context = ssl.create_default_context(cafile=str(tmp_path / "trusted.pem"))
        assert await page(node.info["jwksUri"], context) == keys
        openid = await page(node.info["openIdConfiguration"], context)
        assert (openid["issuer"], openid["jwks_uri"]) == (node.info["issuer"], node.info["jwksUri"])


async def page(url: str, context: ssl.SSLContext | None = None) -> dict[str, object]:
    """A public page."""
    async with ClientSession() as session, session.get(url, ssl=context or True) as response:
        assert response.status == 200
        return dict(await response.json(content_type=None))


async def test_a_call_rings_until_the_app_has_validated(tmp_path: Path, free_port: Callable[[], int]) -> None:
    """Placed before the app is up: it rings, and is announced as soon as the app answers the validation."""
    port = free_port()
    async with dev_node(tmp_path, "--incoming", f"http://127.0.0.1:{port}/events") as node, caller(node) as leg:
        await leg.told("ringing")
        await until(lambda: any(e["event"] == "subscription" for e in node.events), "the state is shown")
        assert not any(said["kind"] == "ended" for said in leg.said)
        app = TestApp()
        async with app.running(port):
            data = await app.invited()
            assert app.validations == 1
            assert data["to"]["rawId"] == f"4:{CALLEE}"
            await answer(node, data["incomingCallContext"], app.callback, streaming_options(app.socket))
            await leg.told("answered")
            await app.stream(frames=5)
            assert len(app.incoming) == 1
            await leg.hang_up()


async def test_nobody_to_tell_is_said_to_the_caller(tmp_path: Path) -> None:
    """Without --incoming a call cannot be answered; it ends at once with the fix in the node's events."""
    async with dev_node(tmp_path) as node, caller(node) as leg:
        ended = await leg.told("ended")
        assert ended["code"] == 404
        assert any("--incoming" in str(event) for event in node.events)


async def test_another_host_makes_a_random_key_and_refuses_the_fixed_one(tmp_path: Path) -> None:
    """On every interface: TLS for the loopback names too, a key of its own that the second start keeps."""
    key = ""
    for _ in range(2):
        async with dev_node(tmp_path, "--host", "0.0.0.0") as node:
            assert node.info["endpoint"] == f"https://localhost:{node.port}/"
            assert node.key != KEY
            assert key in ("", node.key)
            key = node.key
            assert (await rest(node, "GET", "/calling/callConnections/x"))[0] == 404
            status, error = await rest(node, "GET", "/calling/callConnections/x", key=KEY)
            assert (status, error["error"]["code"]) == (401, "7509")
            context = ssl.create_default_context(cafile=str(node.info["caBundle"]))
            await page(str(node.info["jwksUri"]), context)


@pytest.mark.parametrize(
    "options, word",
    [
        (("--map", "nonsense"), "--map"),
        (("--trust", "/no/such/file.pem"), "/no/such/file.pem"),
        (("--incoming", "ftp://x/"), "ftp://x/"),
        (("--host", "no-such-host.invalid"), "no-such-host.invalid"),
        (("--port", "70000"), "--port"),
        (("--state", "/dev/null/x"), "/dev/null"),
    ],
)
async def test_a_wrong_option_exits_with_2_and_says_which(tmp_path: Path, options: tuple[str, str], word: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *OFFHOOK, "dev", "--port", "0", "--json", "--state", str(tmp_path), *options,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2, err.decode()
    assert not out
    assert word in err.decode()
    assert "Traceback" not in err.decode()


async def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            *OFFHOOK, "dev", "--port", str(port), "--json", "--state", str(tmp_path),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, out) == (2, b"")
    assert str(port) in err.decode() and "Traceback" not in err.decode()
