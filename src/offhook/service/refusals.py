"""Who was turned away, for the log: once in a while per source, and never so much that a flood fills the disk."""

from __future__ import annotations

import logging
from collections import OrderedDict

from offhook.service.routing import Rate

log = logging.getLogger("offhook.sip")

AGAIN = 60.0
"""Seconds until the same is said of the same source again."""
LINES = 5.0
"""Lines a second over all sources; twice that at once."""
SOURCES = 4096
"""Sources that are remembered; the longest silent one is forgotten first."""


class Refusals:
    """Writes `… from ADDRESS`, one line each, as fail2ban and people read it (docs/phones.md)."""

    def __init__(self, now: float) -> None:
        self._rate = Rate(LINES, now)
        self._said: OrderedDict[tuple[str, str], float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._said)

    def note(self, what: str, host: str, now: float, *, again: float = AGAIN) -> bool:
        """Say it, unless it was said of this source within `again` seconds; whether it was."""
        key = (what, host)
        said = self._said.get(key)
        if (said is not None and now - said < again) or not self._rate.take(now):
            return False
        self._said[key] = now
        self._said.move_to_end(key)
        if len(self._said) > SOURCES:
            self._said.popitem(last=False)
        log.warning("%s from %s", what, host)
        return True
