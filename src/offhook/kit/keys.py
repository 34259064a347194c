"""Keys that belong together, such as a number that ends with #: read from a call, one after the other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from offhook.kit.feed import Listener

if TYPE_CHECKING:
    from offhook.kit.call import Call


async def gather(call: Call, count: int | None, until: str, timeout: float, first_timeout: float) -> str:
    """As `Call.gather` says."""
    keys = call.dtmf
    first = asyncio.ensure_future(_next(keys))
    quiet = asyncio.ensure_future(call.quiet())
    try:
        # While something is said, the caller may still listen: the first key's time begins when it was heard.
        await asyncio.wait({first, quiet}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({first}, timeout=first_timeout)
        if not first.done():
            return ""
        if call.interruptible:
            await call.stop()
        return await _rest(keys, first.result(), count, until, timeout)
    finally:
        first.cancel()
        quiet.cancel()


async def _rest(keys: Listener[str], key: str | None, count: int | None, until: str, timeout: float) -> str:
    found = ""
    while key is not None and key not in until:
        found += key
        if count is not None and len(found) >= count:
            break
        try:
            key = await asyncio.wait_for(_next(keys), timeout)
        except TimeoutError:
            break
    return found


async def _next(keys: Listener[str]) -> str | None:
    return await anext(keys, None)
