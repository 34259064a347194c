"""`offhook doctor`: every check, good and bad, against stand-ins and against a real node."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.live import OFFHOOK, dev_node

from offhook.cli import main
from offhook.cli.console_client import node_address
from offhook.cli.doctor import examine
from offhook.service.app_environment import TRUST_VARIABLES
from offhook.service.checks import Check

NOBODY = node_address("http://127.0.0.1:1")


def named(results: list[Check], name: str) -> Check:
    return next(result for result in results if result.name == name)


async def app(handler: Any) -> TestServer:
    application = web.Application()
    application.router.add_route("*", "/route", handler)
    server = TestServer(application)
    await server.start_server()
    return server


async def validating(request: web.Request) -> web.Response:
    assert request.headers["aeg-event-type"] == "SubscriptionValidation"
    (event,) = await request.json()
    return web.json_response({"validationResponse": event["data"]["validationCode"]})


async def accepting(request: web.Request) -> web.StreamResponse:
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for _ in ws:
        pass
    return ws


async def refusing(request: web.Request) -> web.Response:
    return web.Response(status=401)


async def ignoring(request: web.Request) -> web.Response:
    return web.Response(text="[1]")


async def missing(request: web.Request) -> web.Response:
    return web.Response(status=404)


async def moved(request: web.Request) -> web.StreamResponse:
    """To where it would be taken; the node goes nowhere but where it was told."""
    if request.query:
        return await (accepting if request.method == "GET" else validating)(request)
    return web.Response(status=307, headers={"Location": "/route?there=1"})


@pytest.mark.parametrize(
    ("handler", "option", "result"),
    [
        (validating, "webhook", "ok"),
        (ignoring, "webhook", "fail"),
        (missing, "webhook", "fail"),
        (accepting, "websocket", "ok"),
        (refusing, "websocket", "ok"),
        (missing, "websocket", "fail"),
        (moved, "webhook", "fail"),
        (moved, "websocket", "fail"),
    ],
)
async def test_the_apps_routes(handler: Any, option: str, result: str) -> None:
    server = await app(handler)
    try:
        place = f"://127.0.0.1:{server.port}/route"
        urls = ("http" + place, None) if option == "webhook" else (None, "ws" + place)
        found = named(await examine(NOBODY, *urls), option)
    finally:
        await server.close()
    assert found.result == result, found
    assert bool(found.fix) == (result == "fail")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "http://no-such-host.invalid/x"])
async def test_an_app_that_is_not_there(url: str) -> None:
    results = await examine(NOBODY, url, url.replace("http", "ws"))
    for name in ("webhook", "websocket"):
        assert named(results, name).result == "fail" and named(results, name).fix


async def test_a_free_port_and_a_taken_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = node_address(f"http://127.0.0.1:{taken.getsockname()[1]}")

        async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        async with await asyncio.start_server(closing, sock=taken):
            found = named(await examine(address), "port")
            assert found.result == "fail" and "--port" in found.fix
    assert named(await examine(address), "port").result == "ok"


async def test_trust_of_nonsense_is_a_failure(tmp_path: Path) -> None:
    pem = tmp_path / "ca.pem"
    pem.write_text("no certificate")
    found = (await examine(NOBODY, "https://127.0.0.1:1/", trust=[pem]))[-1]
    assert (found.name, found.result) == ("trust", "fail")


async def test_a_real_node_in_and_out_of_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in TRUST_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    async with dev_node(tmp_path / "state") as node:
        results = await examine(node_address(node.http))
        assert [(each.name, each.result) for each in results] == [
            ("port", "ok"),
            ("tls", "ok"),
            ("clock", "ok"),
            *[("trust", "fail")] * 3,
        ]
        process = await asyncio.create_subprocess_exec(
            *OFFHOOK, "exec", "--node", node.http, "--", *OFFHOOK, "doctor", "--json", "--node", node.http,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        told, _ = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 0, told
        assert {json.loads(line)["result"] for line in told.splitlines()} == {"ok"}
        over_tls = await asyncio.create_subprocess_exec(
            *OFFHOOK, "exec", "--node", node.http, "--", *OFFHOOK, "doctor", "--node", node.info["endpoint"],
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        told, _ = await asyncio.wait_for(over_tls.communicate(), 30)
        assert over_tls.returncode == 0, told


def test_without_a_node_the_lines_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert main(["doctor", "--node", f"http://127.0.0.1:{port}"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("ok    port") and "offhook dev" in shown[0]
    assert len(shown) == 4
    assert sys.stdout is not None
