"""`offhook echo` against a live node: answers, echoes, hangs up on `#`; and its refusals."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import ClientSession
from tests.echo import echo_app
from tests.live import CALLER, OFFHOOK, call, dev_node, until

from offhook.audio.wav import read_wav


@pytest.mark.parametrize(("rate", "options"), [(16000, []), (24000, ["--unmixed"])])
async def test_it_answers_echoes_and_hangs_up(
    tmp_path: Path, free_port: Callable[[], int], rate: int, options: list[str]
) -> None:
    port = free_port()
    webhook = f"http://127.0.0.1:{port}/api/incomingCall"
    heard = tmp_path / "heard.wav"
    async with (
        dev_node(tmp_path / "state", "--incoming", webhook) as node,
        echo_app(node, "--port", str(port), "--rate", str(rate), *options) as app,
    ):
        assert app.named("listening")[0]["incoming"] == webhook
        await until(lambda: app.named("validated"), "the webhook is validated")
        status, report = await call(
            node, "--tone", "440", "--duration", "10", "--dtmf", "1.5:1,2.0:#", "--out", str(heard)
        )
        await until(lambda: "CallDisconnected" in app.callbacks(), "the app hears of the end")
    assert (status, report["endedBy"], report["code"], report["subCode"]) == (0, "app", 200, 7000)
    assert report["durationMs"] < 4000
    assert report["framesHeard"] >= 60
    sound = read_wav(heard.read_bytes())
    assert sound.rate == rate
    assert abs(sound.samples).max() > 1000
    assert {"CallConnected", "MediaStreamingStarted"} <= set(app.callbacks())
    assert [line["tone"] for line in app.named("dtmf")] == ["1", "#"]
    assert app.named("incoming")[0]["from"] == "4:" + CALLER
    assert app.named("streamOpened")[0]["rate"] == rate


async def test_strangers_are_refused(tmp_path: Path) -> None:
    async with (
        dev_node(tmp_path / "state") as node,
        echo_app(node, "--port", "0") as app,
        ClientSession() as session,
    ):
        for token in ({}, {"Authorization": "Bearer x.y.z"}):
            async with session.post(app.url + "/api/callbacks", json=[], headers=token) as answer:
                assert answer.status == 401
            async with session.get(app.url + "/ws", headers=token) as answer:
                assert answer.status == 401
        for body in (b"", b"x", b"{}", b"[{}]"):
            async with session.post(app.url + "/api/incomingCall", data=body) as answer:
                assert answer.status == 400


async def run(*options: str, **variables: str) -> tuple[int, str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ACS_")}
    process = await asyncio.create_subprocess_exec(
        *OFFHOOK, "echo", *options, env=kept | variables,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


STRING = "endpoint=https://localhost:1/;accesskey=AAAA"


@pytest.mark.parametrize(
    ("options", "variables", "named"),
    [
        ([], {}, "offhook exec"),
        ([], {"ACS_CONNECTION_STRING": "nonsense", "ACS_RESOURCE_ID": "x"}, "ACS_CONNECTION_STRING"),
        (["--port", "0"], {"ACS_CONNECTION_STRING": STRING}, "ACS_RESOURCE_ID"),
        (["--rate", "8000"], {"ACS_CONNECTION_STRING": STRING}, "--rate"),
        (["--public", "my.host"], {"ACS_CONNECTION_STRING": STRING}, "--public"),
        (["--host", "192.0.2.1"], {"ACS_CONNECTION_STRING": STRING, "ACS_RESOURCE_ID": "x"}, "192.0.2.1"),
    ],
)
async def test_what_cannot_work_is_one_line_and_exit_2(
    options: list[str], variables: dict[str, str], named: str
) -> None:
    status, out, err = await run(*options, **variables)
    assert status == 2
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert named in err


async def test_help_has_an_example() -> None:
    status, out, _ = await run("--help")
    assert status == 0
    assert "offhook exec -- offhook echo" in out
