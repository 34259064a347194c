"""A node that keeps nothing of its calls: no events, no sound, no figures over time. The other half of `trace.py`."""

from __future__ import annotations

import sys
from typing import Any

from offhook.cli import main
from offhook.service import process, trace


class NoCaptures:
    """Nothing is kept."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        pass

    def start(self) -> None:
        """Nothing to write."""

    def stop(self) -> None:
        """Nothing was."""

    def begin(self, live: object) -> None:
        """A call has nothing to tell."""

    def tick(self) -> None:
        """Nothing to copy."""

    def look(self, now: float) -> None:
        """Nothing to read."""


process.Captures = NoCaptures  # type: ignore[assignment,attr-defined]
trace.CallTrace.note = lambda self, now, kind, name, detail: None  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(main())
