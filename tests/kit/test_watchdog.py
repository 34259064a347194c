"""Blocking code is named: function, line, call and time, once a spell; what is nobody's fault is not."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.kit.shell import a_call

from offhook.kit import watchdog
from offhook.kit.life import CURRENT
from offhook.kit.watchdog import Watchdog


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


BESIDE = ThreadPoolExecutor(1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lookup(dog: Watchdog, clock: Clock, seconds: float) -> None:
    """Stand still while another thread looks, as the watchdog's own does."""
    clock.now += seconds
    BESIDE.submit(dog.look).result()


async def on_time(dog: Watchdog) -> None:
    """The loop goes on, and the thread sees it."""
    dog._beating.cancel()  # type: ignore[union-attr]
    dog._beat()
    BESIDE.submit(dog.look).result()


async def test_code_that_blocks_is_named_once_it_has_ended(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    dog = Watchdog(200, clock)
    dog.attach()
    call, _ = a_call()
    CURRENT.set(call)

    async def agent() -> None:
        for _ in range(3):
            lookup(dog, clock, 0.3)  # more and more late: one spell

    await asyncio.create_task(agent(), name="agent of call connection-1")
    assert not caplog.messages
    await on_time(dog)
    (told,) = caplog.messages
    line = lookup.__code__.co_firstlineno + 3
    assert f"was blocked for 800 ms by lookup() at {__file__}:{line}" in told
    assert "connection-1" in told and "BESIDE.submit(dog.look).result()" in told
    assert "await asyncio.to_thread(...)" in told
    await on_time(dog)
    assert len(caplog.messages) == 1
    await asyncio.create_task(agent())
    await on_time(dog)
    assert len(caplog.messages) == 2
    dog.stop()


async def test_code_that_does_not_end_is_named_while_it_blocks(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    dog = Watchdog(200, clock)
    dog.attach()
    lookup(dog, clock, 0.5)
    assert not caplog.messages
    lookup(dog, clock, 2.0)
    lookup(dog, clock, 2.0)
    await on_time(dog)
    (told,) = caplog.messages
    assert "is blocked, for 2400 ms by now, by lookup()" in told
    dog.stop()


async def test_what_is_short_or_nobodys_is_not_told(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    dog = Watchdog(200, clock)
    dog.attach()
    lookup(dog, clock, 0.25)  # its next beat was due in 100 ms
    await on_time(dog)
    clock.now += 5
    await asyncio.get_running_loop().run_in_executor(None, dog.look)  # the loop waits for its sockets meanwhile
    await on_time(dog)
    assert not caplog.messages
    dog.stop()


async def test_it_watches_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "STILL_S", 0.02)
    told = threading.Event()
    dog = Watchdog(20)
    monkeypatch.setattr(dog, "_tell", lambda *_: told.set())
    dog.start()
    assert told.wait(10)  # the loop stands still until it is seen
    dog.stop()
