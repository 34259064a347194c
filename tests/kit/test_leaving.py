"""How calls of the app shell end: once, whole, and whatever else ends at the same time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.kit.shell import Agent, Connection, Shell, open_call, settle, until

from offhook.kit import Call, DialFailed
from offhook.kit import app as app_module
from offhook.kit import life as life_module
from offhook.kit.events import CallbackEvent


class SlowService:
    """Hanging up takes until `go`; `done` are those that were waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = asyncio.Event()
        self.asked: list[str] = []
        self.done: list[str] = []
        service = self

        async def hang_up(connection: Connection, is_for_everyone: bool) -> None:
            service.asked.append(connection.id)
            await service.go.wait()
            service.done.append(connection.id)

        monkeypatch.setattr(Connection, "hang_up", hang_up)


async def test_closing_does_not_disturb_a_hang_up_that_is_under_way(
    shell: Shell, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = SlowService(monkeypatch)
    endless: list[asyncio.Task[Any] | None] = []

    @shell.app.on(CallbackEvent)
    async def handler(call: Call, event: CallbackEvent) -> None:
        endless.append(asyncio.current_task())
        await asyncio.Event().wait()

    call, secret, _ = await open_call(shell, agent)
    await shell.callback(secret, "PlayStarted")
    agent.go.set()
    await until(lambda: service.asked)
    closing = asyncio.create_task(shell.app.close())
    await settle()
    service.go.set()
    await closing
    assert service.done == [call.id] and call.ended.is_set()
    assert endless[0] is not None and endless[0].cancelled()


async def test_the_end_of_the_loop_waits_for_the_hang_up(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    async def hang_up(connection: Connection, is_for_everyone: bool) -> None:
        await settle()
        done.append(connection.id)

    async def serve() -> None:
        shell = Shell()
        kept.append(shell)
        await open_call(shell, Agent(shell.app))

    kept: list[Shell] = []
    monkeypatch.setattr(Connection, "hang_up", hang_up)
    await asyncio.to_thread(asyncio.run, serve())
    assert done == ["connection-c"] and kept[0].client.closed


async def test_an_app_can_close_before_a_call_has_begun(shell: Shell, agent: Agent) -> None:
    await shell.ring()
    dialling = asyncio.create_task(shell.app.dial("+15550100003"))
    await asyncio.sleep(0)
    await shell.app.close()
    with pytest.raises(DialFailed):
        await asyncio.wait_for(dialling, 5)
    assert not shell.app._lives and not agent.calls


async def test_no_call_is_placed_while_the_app_closes_or_is_full(
    shell: Shell, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[DialFailed] = []
    monkeypatch.setattr(app_module, "MOST_CALLS", 1)
    await open_call(shell, agent)
    with pytest.raises(DialFailed, match="the app has 1 calls already"):
        await shell.app.dial("+15550100003")

    @shell.app.on_stop
    async def again() -> None:
        try:
            await shell.app.dial("+15550100003")
        except DialFailed as failed:
            failures.append(failed)

    await shell.app.close()
    assert "the app is closing" in str(failures[0]) and not shell.client.created


async def test_a_hook_that_does_not_end_does_not_hold_up_the_end(
    shell: Shell, agent: Agent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(app_module, "CLOSE_S", 0.01)

    @shell.app.on_stop
    async def endless() -> None:
        await asyncio.Event().wait()

    await shell.app.start()
    await shell.app.close()
    assert shell.client.closed and "the on_stop hook" in caplog.text and "endless failed" in caplog.text


async def test_a_call_is_hung_up_once(shell: Shell, agent: Agent) -> None:
    call, secret, _ = await open_call(shell, agent)
    await call.hang_up()
    agent.go.set()
    await settle()
    await shell.callback(secret, "CallDisconnected")
    await until(lambda: not shell.app._lives)
    assert shell.connection().hung_up == 1


async def test_what_comes_when_a_call_is_over_starts_nothing(
    shell: Shell, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(life_module, "LEAVE_S", 0.05)
    got: list[str] = []

    @shell.app.on(CallbackEvent)
    async def handler(call: Call, event: CallbackEvent) -> None:
        got.append(event.type)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await shell.callback(secret, "PlayCompleted")
            raise

    _, secret, _ = await open_call(shell, agent)
    agent.go.set()
    await shell.callback(secret, "CallDisconnected")
    await until(lambda: not shell.app._lives)
    assert got == ["CallDisconnected"]
