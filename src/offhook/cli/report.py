"""What commands print: JSON lines on stdout for programs, tables and a live line for people.

Colours and the live line are for terminals only; everything that is no result goes to stderr.
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from offhook.cli.voice import Samples

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
METER_FLOOR_DB = -60.0
METER_WIDTH = 20


def harmless(text: object) -> str:
    """A text without control characters: escape sequences, line ends, changes of direction."""
    return _CONTROL.sub("\ufffd", str(text))


def json_line(fields: Mapping[str, Any]) -> None:
    """One object on its own line of stdout, flushed so that a reader of a pipe has it at once; nothing in it moves the
    cursor of a terminal."""
    text = _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(fields, ensure_ascii=False))
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """One line for people, on stderr."""
    print(text, file=sys.stderr, flush=True)


def table(title: str, rows: Iterable[tuple[str, str]]) -> None:
    """A two-column table on stdout."""
    drawn = Table(title=title, title_justify="left", show_header=False, title_style="bold")
    drawn.add_column(style="dim", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in rows:
        drawn.add_row(Text(name), Text(value))
    Console(highlight=False).print(drawn)


def ms(value: float | None) -> str:
    """Milliseconds for a table; a dash for a figure that was not measured."""
    return "-" if value is None else f"{value:g} ms"


def peak_db(samples: Samples) -> float:
    """The loudest sample in dB of full scale, not below the meter's floor."""
    loudest = int(np.abs(samples.astype(np.int32)).max(initial=0))
    return max(METER_FLOOR_DB, 20 * math.log10(loudest / 32768)) if loudest else METER_FLOOR_DB


def meter(db: float) -> str:
    """A bar of METER_WIDTH characters for a level in dB of full scale."""
    filled = round((db - METER_FLOOR_DB) / -METER_FLOOR_DB * METER_WIDTH)
    return "█" * filled + "·" * (METER_WIDTH - filled)


class LiveLine:
    """One line of a terminal that shows the call's state, time and both levels; silent when stderr is piped."""

    def __init__(self, shown: bool) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._wanted = shown and self._console.is_terminal
        self._state = "calling"
        self._since = time.monotonic()
        self._last_drawn = 0.0

    def __enter__(self) -> LiveLine:
        if self._wanted:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def state(self, text: str) -> None:
        """A new state: shown on the line, or as a line of its own when there is no terminal."""
        self._state = text
        if self._live is None and self._wanted:
            note(text)
        self._draw(None, None, force=True)

    def levels(self, spoken_db: float, heard_db: float) -> None:
        """New levels; drawn at most ten times a second."""
        self._draw(spoken_db, heard_db, force=False)

    def _draw(self, spoken_db: float | None, heard_db: float | None, force: bool) -> None:
        now = time.monotonic()
        if self._live is None or (not force and now - self._last_drawn < 0.1):
            return
        self._last_drawn = now
        line = Text(f"{now - self._since:6.1f} s  ")
        line.append(self._state, style="bold")
        if spoken_db is not None and heard_db is not None:
            line.append("  up ")
            line.append(meter(spoken_db), style="green")
            line.append("  down ")
            line.append(meter(heard_db), style="cyan")
        self._live.update(line, refresh=True)
