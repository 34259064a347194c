"""Detectors are loaded beside the loop, one at a time, and what cannot be loaded is said."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from tests.kit.test_barge_in import Told

from offhook.kit import loading
from offhook.kit.turns import Turns, TurnTaking


async def test_one_at_a_time_and_never_in_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    running: list[threading.Thread] = []
    most = []

    def make(settings: TurnTaking, rate: int) -> Turns:
        running.append(threading.current_thread())
        most.append(len(running))
        time.sleep(0.005)
        running.pop()
        assert threading.current_thread() is not threading.main_thread()
        return Turns(settings, rate, Told())

    monkeypatch.setattr(loading, "Turns", make)
    got: list[Turns] = []
    for _ in range(8):
        loading.loader(TurnTaking(), 16000)(got.append)
    assert not got
    async with asyncio.timeout(20):
        while len(got) < 8:
            await asyncio.sleep(0.005)
    assert most == [1] * 8


async def test_what_cannot_be_loaded_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def make(settings: TurnTaking, rate: int) -> Turns:
        raise OSError("libsilero is not for this processor")

    monkeypatch.setattr(loading, "Turns", make)
    loading.loader(TurnTaking(), 16000)(lambda _: None)
    async with asyncio.timeout(20):
        while not caplog.records:
            await asyncio.sleep(0.005)
    assert "no detector of speech could be loaded: libsilero is not for this processor" in caplog.text
