"""Calls that an app places and hands over, and settings that cannot be (protocol.md 5.5, 5.8)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from tests.kit.issued import AUDIENCE
from tests.kit.shell import Agent, Shell, open_call, settle, until

from offhook.errors import ConfigError
from offhook.kit import Call, DialFailed, Interrupted, TransferFailed, TurnReport, TurnTaking, VoiceApp
from offhook.kit import life as life_module
from offhook.kit.events import IncomingCall, PlayCompleted
from offhook.kit.web import serve_alone

CONNECTION = "endpoint=http://127.0.0.1:1/;accesskey=a2V5"


async def test_a_call_is_placed_and_has_the_same_agent(shell: Shell, agent: Agent) -> None:
    dialling = asyncio.create_task(shell.app.dial("+15550100003", caller_id="+15550100009"))
    await until(lambda: shell.client.created)
    (asked,) = shell.client.created
    assert asked["target"].properties["value"] == "+15550100003"
    assert asked["source_caller_id_number"].properties["value"] == "+15550100009"
    secret = asked["callback"].rpartition("/")[2]
    await shell.callback(secret, "CallConnected")
    assert not dialling.done()
    shell.dial(secret, "connection-1")
    call = await dialling
    assert agent.calls == [call] and (call.caller, call.incoming) == ("", None)


async def test_a_call_that_nobody_takes_says_why(shell: Shell, agent: Agent) -> None:
    dialling = asyncio.create_task(shell.app.dial("8:acs:a_b"))
    await until(lambda: shell.client.created)
    secret = shell.client.created[0]["callback"].rpartition("/")[2]
    result = {"code": 487, "subCode": 10004, "message": "not answered"}
    await shell.callback(secret, "CreateCallFailed", resultInformation=result)
    with pytest.raises(DialFailed, match="487/10004 not answered") as failed:
        await dialling
    assert (failed.value.code, failed.value.sub_code) == (487, 10004)
    shell.client.error = HttpResponseError("no such number")
    with pytest.raises(DialFailed, match="no such number"):
        await shell.app.dial("+15550100003")
    assert not agent.calls


async def test_a_placed_call_without_a_stream_fails(
    shell: Shell, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(life_module, "RING_S", 0.01)
    monkeypatch.setattr(life_module, "STREAM_WAIT_S", 0.01)
    monkeypatch.setattr(life_module, "LEAVE_S", 0.01)
    with pytest.raises(DialFailed, match="did not come about"):
        await shell.app.dial("+15550100003")
    assert shell.connection("1").hung_up == 1


# ------------------------------------------------------------------ transfer


async def transferring(shell: Shell, agent: Agent) -> tuple[Call, str, asyncio.Task[Any], str]:
    call, secret, _ = await open_call(shell, agent)
    task = asyncio.create_task(call.transfer("+15550100003", caller_id="+15550100002", sip_headers={"X-A": "b"}))
    await until(lambda: shell.connection().transfers)
    (asked,) = shell.connection().transfers
    assert asked["target"].properties["value"] == "+15550100003" and asked["sip_headers"] == {"X-A": "b"}
    return call, secret, task, asked["operation_context"]


async def test_a_transfer_waits_until_it_is_accepted(shell: Shell, agent: Agent) -> None:
    call, secret, task, context = await transferring(shell, agent)
    await shell.callback(secret, "CallTransferFailed", "another")
    assert not task.done()
    await shell.callback(secret, "CallTransferAccepted", context, transferTarget={"rawId": "4:+15550100003"})
    assert (await task).transfer_target.raw_id == "4:+15550100003"
    agent.go.set()
    await settle()
    assert not shell.connection().hung_up  # the caller talks to the target now
    await shell.callback(secret, "CallDisconnected")
    await until(lambda: not shell.app._lives)
    assert not shell.connection().hung_up


async def test_an_accepted_transfer_may_be_told_after_the_end_of_the_call(shell: Shell, agent: Agent) -> None:
    """Callbacks overtake one another: the caller is with the target, so nothing has failed."""
    _, secret, task, context = await transferring(shell, agent)
    await shell.callback(secret, "CallDisconnected")
    await settle()
    assert not task.done()
    await shell.callback(secret, "CallTransferFailed", "another")
    await shell.callback(secret, "CallTransferAccepted", context, transferTarget={"rawId": "4:+15550100003"})
    assert (await task).transfer_target.raw_id == "4:+15550100003"
    agent.go.set()


async def test_a_transfer_that_fails_says_why_and_the_call_goes_on(
    shell: Shell, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offhook.kit.call.OVERTAKEN_S", 0.01)
    call, secret, task, context = await transferring(shell, agent)
    result = {"code": 486, "subCode": 560486, "message": "busy"}
    await shell.callback(secret, "CallTransferFailed", context, resultInformation=result)
    with pytest.raises(TransferFailed, match="486/560486 busy") as failed:
        await task
    assert (failed.value.code, failed.value.sub_code) == (486, 560486) and not call.ended.is_set()
    shell.connection().error = HttpResponseError("no")
    with pytest.raises(TransferFailed, match="the transfer was refused: no"):
        await call.transfer("8:acs:a_b")
    shell.connection().error = None
    ending = asyncio.create_task(call.transfer("+15550100003"))
    await settle()
    await shell.callback(secret, "CallDisconnected")
    with pytest.raises(TransferFailed, match="the call ended"):
        await ending
    agent.go.set()


# ------------------------------------------------------------------ settings


def test_settings_that_cannot_be_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACS_CONNECTION_STRING", "ACS_RESOURCE_ID", "PUBLIC_URL", "STREAM_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="rate is 16000 or 24000"):
        VoiceApp(rate=8000)
    with pytest.raises(ConfigError, match="public_url is a base URL"):
        VoiceApp(public_url="my.host")
    with pytest.raises(ConfigError, match="stream_url is a base URL such as wss://"):
        VoiceApp(stream_url="https://my.host")
    app = VoiceApp()
    with pytest.raises(ConfigError, match="no agent"):
        app.check()

    async def told(call: Call, turn: TurnReport) -> None:
        raise AssertionError

    with pytest.raises(ConfigError, match="told has to be a plain function"):
        app.on_turn(told)  # type: ignore[type-var]
    with pytest.raises(ConfigError, match=r"plain has to be async: async def agent"):
        app.on_call(plain)  # type: ignore[type-var]
    with pytest.raises(ConfigError, match=r"calls that ring go to @app.on_incoming"):
        app.on(IncomingCall)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"an event's name, not plain"):
        app.on(plain)  # type: ignore[arg-type]
    app.on_incoming(lambda incoming: None)
    with pytest.raises(ConfigError, match="a filter of incoming calls already"):
        app.on_incoming(lambda incoming: None)
    with pytest.raises(ConfigError, match="has to be a plain function"):
        app.on_turn(shouted)  # type: ignore[type-var]
    Agent(app)
    with pytest.raises(ConfigError, match="has an agent already"):
        app.on_call(Agent.__call__)  # type: ignore[type-var]
    with pytest.raises(ConfigError, match="ACS_CONNECTION_STRING is not set: run it as  offhook exec"):
        app.check()
    monkeypatch.setenv("ACS_CONNECTION_STRING", "x")
    with pytest.raises(ConfigError, match="ACS_CONNECTION_STRING cannot be used"):
        app.check()
    monkeypatch.setenv("ACS_CONNECTION_STRING", CONNECTION)
    with pytest.raises(ConfigError, match=r"offhook exec.*ACS_RESOURCE_ID"):
        app.check()
    monkeypatch.setenv("ACS_RESOURCE_ID", AUDIENCE)
    app.check()
    with pytest.raises(ConfigError, match="no voice detector 'sileru'"):
        TurnTaking(detector="sileru")


def test_decorators_take_what_they_can_call(caplog: pytest.LogCaptureFixture) -> None:
    app = VoiceApp()

    async def nothing() -> None: ...

    async def two(call: Call, event: object) -> None: ...

    with pytest.raises(ConfigError, match=r"nothing has other parameters \(too many .*async def agent\(call: Call\)"):
        app.on_call(nothing)  # type: ignore[type-var]
    with pytest.raises(ConfigError, match=r"takes a class of offhook.kit.events.*not .*two"):
        app.on(two)  # type: ignore[arg-type]  # @app.on, without what
    with pytest.raises(ConfigError, match=r"takes a class of offhook.kit.events.*not Interrupted"):
        app.on(Interrupted)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="two has to be a plain function: def handler"):
        app.on_turn(two)  # type: ignore[type-var]
    app.on_incoming(lambda incoming: None)
    with pytest.raises(ConfigError, match="has a filter of incoming calls already"):
        app.on_incoming(lambda incoming: None)
    assert not caplog.messages
    app.on("PlayComplete")(two)
    assert caplog.messages == ["no callback is called 'PlayComplete' today: is it PlayCompleted?"]


def test_a_handler_may_name_the_whole_type() -> None:
    app = VoiceApp()

    @app.on("Microsoft.Communication.PlayCompleted")
    async def done(call: Call, event: PlayCompleted) -> None: ...

    assert app.handlers_of(PlayCompleted("PlayCompleted", "", "", "", None, None, None, "", {})) == [done]


async def test_run_in_a_loop_that_runs_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="in one that runs, mount it"):
        Shell().app.run()


def test_run_says_in_one_line_what_cannot_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", "x")
    with pytest.raises(SystemExit) as status:
        VoiceApp().run()
    assert status.value.code == 2
    assert capsys.readouterr().err == "offhook: PORT is a number from 0 to 65535, not 'x'\n"
    monkeypatch.delenv("PORT")
    with pytest.raises(SystemExit):
        VoiceApp().run()
    assert capsys.readouterr().err == "offhook: the app has no agent: decorate one with @app.on_call\n"


ALONE = """
import asyncio, gc, os, signal
from offhook.kit import VoiceApp

app = VoiceApp("endpoint=https://localhost;accesskey=b2ZmaG9vaw==", token_check=None)

@app.on_call
async def agent(call):
    pass

async def later():
    while not gc.get_freeze_count():
        await asyncio.sleep(0.01)
    began = gc.get_freeze_count()
    print("frozen", began, "seen", len(gc.get_objects()), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

@app.on_start
async def started():
    app.task = asyncio.create_task(later())

app.run("127.0.0.1", 0)
"""


def test_an_app_alone_lets_the_collector_look_at_nothing_that_was_loaded() -> None:
    ran = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True, timeout=30)
    words = next(line for line in ran.stdout.splitlines() if line.startswith("frozen")).split()
    assert int(words[3]) * 20 < int(words[1]), ran.stdout


async def test_an_app_alone_needs_ports_that_can_be() -> None:
    shell = Shell()
    Agent(shell.app)
    with pytest.raises(ConfigError, match=r"stream_port needs STREAM_URL"):
        await serve_alone(shell.app, "127.0.0.1", 0, stream_port=0)


async def test_an_app_that_is_mounted_needs_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PUBLIC_URL", raising=False)
    shell = Shell(public_url="")
    Agent(shell.app)
    with pytest.raises(ConfigError, match="PUBLIC_URL"):
        await shell.app.start()


def plain(call: Call) -> None:
    """No coroutine function."""


async def shouted(call: Call, turn: TurnReport) -> None:
    """A coroutine function."""
