"""Names code that blocks the event loop: one blocking call in an agent makes every call of the process stutter.

The loop says ten times a second that it lives; a thread that finds it late looks where it is, and says so once it goes
on, or after `STILL_S` if it does not. The thread sleeps else.
"""

from __future__ import annotations

import asyncio
import linecache
import logging
import os
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

log: Final = logging.getLogger("offhook.kit")

BEAT_S: Final = 0.1
LOOK_S: Final = 0.05
STILL_S: Final = 2.0
"""Code that blocks for longer is named while it does."""

_OFFHOOK: Final = str(Path(__file__).resolve().parents[1]) + os.sep
_STANDARD: Final = tuple({str(Path(sysconfig.get_path(name))) + os.sep for name in ("stdlib", "platstdlib")})
_PACKAGES: Final = tuple({f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}"})
_LOOP: Final = tuple(os.sep + str(Path("asyncio") / name) for name in ("base_events.py", "events.py", "runners.py"))


@dataclass(frozen=True, slots=True)
class Place:
    """Where the loop is: a line of somebody's code, and the call that it runs for, where that is known."""

    function: str
    file: str
    line: int
    text: str
    call: str

    def __str__(self) -> str:
        code = f": {self.text}" if self.text else ""
        return f"{self.function}() at {self.file}:{self.line}{self.call}{code}"


class Watchdog:
    """Watches the loop that it is started in; `limit_ms`: how late it may be."""

    def __init__(self, limit_ms: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit_ms / 1000
        self._clock = clock
        self._due = 0.0
        self._blocked = 0.0  # how long the spell that is over took
        self._place: Place | None = None
        self._told = False
        self._stopped = threading.Event()
        self._beating: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread_id = 0

    def start(self) -> None:
        """Watch the running loop until `stop`."""
        self.attach()
        threading.Thread(target=self._watch, name="offhook watchdog", daemon=True).start()

    def attach(self) -> None:
        """Let the running loop beat; who looks is somebody else."""
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._due = self._clock()
        self._beat()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        if self._beating is not None:
            self._beating.cancel()

    def look(self) -> None:
        """See whether the loop is late now, or was since the last look; called by the thread."""
        late = self._clock() - self._due
        if late > self._limit:
            self._place = self._place or self._where()
            if late > STILL_S and not self._told:
                self._tell(late, "is blocked, for {} ms by now,")
        elif self._blocked:
            if not self._told:
                self._tell(self._blocked, "was blocked for {} ms")
            self._place, self._blocked, self._told = None, 0.0, False

    def _watch(self) -> None:
        while not self._stopped.wait(LOOK_S):
            self.look()

    def _beat(self) -> None:
        assert self._loop is not None
        now = self._clock()
        if now - self._due > self._limit:
            self._blocked = now - self._due
        self._due = now + BEAT_S
        self._beating = self._loop.call_later(BEAT_S, self._beat)

    def _tell(self, seconds: float, words: str) -> None:
        if self._place is None:
            return  # nobody's code: the machine was busy, or asleep
        self._told = True
        log.warning(
            "the event loop %s by %s. All calls stood still meanwhile; run it beside the loop: "
            "await asyncio.to_thread(...)",
            words.format(round(seconds * 1000)),
            self._place,
        )

    def _where(self) -> Place | None:
        frame = sys._current_frames().get(self._thread_id)
        found: FrameType | None = None
        while frame is not None:
            file = frame.f_code.co_filename
            if file.endswith(_LOOP):
                break
            if not file.startswith(("<frozen", _OFFHOOK)):
                package = any(part in file for part in _PACKAGES)
                if not package and not file.startswith(_STANDARD):
                    found = frame
                    break
                if package and found is None:
                    found = frame
            frame = frame.f_back
        if found is None:
            return None
        file, line = found.f_code.co_filename, found.f_lineno
        return Place(found.f_code.co_qualname, file, line, linecache.getline(file, line).strip(), self._call())

    def _call(self) -> str:
        """ " in call ..." where the task that runs says which."""
        from offhook.kit.life import CURRENT

        try:
            task: Any = asyncio.current_task(self._loop)
            context = task.get_context() if hasattr(task, "get_context") else {}  # Python 3.12
            call = context.get(CURRENT)
            if call is not None:
                return f" (call {call.id} from {call.caller or 'unknown'})"
            name = task.get_name()
        except (RuntimeError, AttributeError):
            return ""
        return f" ({name})" if " of call " in name else ""
