"""Detectors of speech, loaded beside the loop and one at a time: all of calls that begin at once would stall it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final, TypeAlias

from offhook.kit.turns import Turns, TurnTaking

log: Final = logging.getLogger("offhook.kit")

Load: TypeAlias = Callable[[Callable[[Turns], None]], None]
"""Asks for the turns of one more speaker; they are given when they are there, or never."""


def loader(settings: TurnTaking, rate: int) -> Load:
    """Of a stream of `rate` Hz; in a running loop, in which it gives them. What cannot be loaded is logged."""

    def load(got: Callable[[Turns], None]) -> None:
        loading = asyncio.get_running_loop().run_in_executor(_thread(), Turns, settings, rate)
        loading.add_done_callback(lambda done: _give(done, got))

    return load


def _give(done: asyncio.Future[Turns], got: Callable[[Turns], None]) -> None:
    if done.cancelled():
        return
    if (failed := done.exception()) is not None:
        log.error("turns cannot be told: no detector of speech could be loaded: %s", failed)
    else:
        got(done.result())


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "offhook-turns")
