"""The app shell's double, with an agent."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.kit.shell import Agent, Shell

from offhook.kit import TurnTaking


@pytest.fixture
async def shell() -> AsyncIterator[Shell]:
    made = Shell(turn_taking=TurnTaking(barge_in=False, rewind_ms=0))
    yield made
    await made.close()


@pytest.fixture
def agent(shell: Shell) -> Agent:
    return Agent(shell.app)


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """What a server and a client have left open is found here, not in a test that comes later."""
    yield
    gc.collect()
