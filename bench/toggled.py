"""A node that keeps nothing of its calls' sound and figures from the first SIGUSR1 to the second, and so on.

The two halves of a pair in `trace.py`: one process, one set of calls, one state of the machine. With OFFHOOK_UNTRACED
set nothing is kept from the beginning, no event either.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from offhook.cli import main
from offhook.service import trace
from offhook.service.capturing import Captures


class Toggle:
    """Takes the taps of all calls off, and puts them back."""

    def __init__(self) -> None:
        self._keeps = "OFFHOOK_UNTRACED" not in os.environ
        self._all: Captures | None = None
        self._start, self._look, self._begin = Captures.start, Captures.look, Captures.begin

    def install(self) -> None:
        """Before the node is made."""

        def start(captures: Captures) -> None:
            self._all = captures
            self._start(captures)
            signal.signal(signal.SIGUSR1, self._turn)

        def look(captures: Captures, now: float) -> None:
            if self._keeps:
                self._look(captures, now)

        def begin(captures: Captures, live: Any) -> Any:
            return self._begin(captures, live) if self._keeps else None

        for name, method in (("start", start), ("look", look), ("begin", begin)):
            setattr(Captures, name, method)
        if not self._keeps:
            trace.CallTrace.note = lambda *args: None  # type: ignore[method-assign]

    def _turn(self, number: int, frame: object) -> None:
        """Between two ticks or in one: the tick has its own copy of the taps."""
        self._keeps = not self._keeps
        assert self._all is not None
        for call in self._all._live.values():
            self._all.capture.hand_on()
            if call._tap is not None:
                (call._live.bridge.tap if self._keeps else call._live.bridge.untap)(call._tap)


if __name__ == "__main__":
    Toggle().install()
    sys.exit(main())
