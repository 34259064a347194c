"""The end of a server: what it has accepted is made a connection before it closes, so that it can be ended too."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol

TURNS: Final = 3
"""Turns of the loop in which a connection that was accepted becomes a client, and ends."""


class Listening(Protocol):
    """A socket that listens."""

    def fileno(self) -> int:
        """Its descriptor."""


async def accept_no_more(sockets: Sequence[Listening]) -> None:
    """Leave who dials from now on to the system, and let the loop make what it has accepted. Close the server next.

    asyncio and aiofastnet forget a connection that they accepted in the turn of the loop in which the server closes:
    it stays open and unheard until the collector finds it (python/cpython#109564). A loop whose servers do not read
    their sockets by `add_reader` (uvloop, Windows) is left as it is.
    """
    loop = asyncio.get_running_loop()
    for listening in sockets:
        with suppress(NotImplementedError):
            loop.remove_reader(listening.fileno())
    for _ in range(TURNS):
        await asyncio.sleep(0)
