"""The demo's child processes: started one by one, read by JSON lines, ended by their own process ids."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from offhook.cli.console_client import KEY_VARIABLE
from offhook.errors import OffhookError

STOP_SECONDS = 10.0
_LONGEST_LINE = 1 << 20
Line = dict[str, Any]


class ChildFailed(OffhookError):
    """A child ended, or did not say in time what was expected; the message holds its last words."""


class Child:
    """One `offhook` command in its own process. Its stdout is read as JSON lines, its stderr kept in a file."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.process = process
        self._log = log
        self.lines: list[Line] = []
        self._news = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while text := await self.process.stdout.readline():
            with suppress(ValueError):
                line = json.loads(text)
                if isinstance(line, dict):
                    self.lines.append(line)
            async with self._news:
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()

    async def line(self, wanted: Callable[[Line], bool], what: str, seconds: float) -> Line:
        """The first line that is `wanted`, old or new. Raises ChildFailed when it does not come in time."""

        def found() -> bool:
            return self._reader.done() or any(wanted(line) for line in self.lines)

        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(found)
        for line in self.lines:
            if wanted(line):
                return line
        raise ChildFailed(f"{self.name}: no {what} within {seconds:g} s{self._last_words()}")

    async def end(self, seconds: float) -> int:
        """Waits for the child to end by itself; its exit status. Raises ChildFailed when it does not."""
        try:
            async with asyncio.timeout(seconds):
                await self._reader
                return await self.process.wait()
        except TimeoutError:
            raise ChildFailed(f"{self.name} did not end within {seconds:g} s{self._last_words()}") from None

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL when that is not heeded; of this process alone."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), STOP_SECONDS)
            except TimeoutError:
                with suppress(ProcessLookupError):
                    self.process.kill()
                await self.process.wait()
        await self._reader

    def _last_words(self) -> str:
        words = self._log.read_text(errors="replace").strip().splitlines()[-5:]
        return "".join(f"\n    {word}" for word in words)


class Children:
    """Starts children and, when left, ends those that still run, the last one first."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._all: list[Child] = []

    async def __aenter__(self) -> Children:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None
    ) -> None:
        for child in reversed(self._all):
            await child.stop()

    async def start(self, name: str, arguments: Sequence[str]) -> Child:
        """Starts `offhook ARGUMENTS` with this Python, in a session of its own: Ctrl-C reaches the demo alone."""
        variables = {key: value for key, value in os.environ.items() if key != KEY_VARIABLE}
        log = self._logs / f"{name}.log"
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *program(),
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                env=variables,
                start_new_session=True,
                limit=_LONGEST_LINE,
            )
        child = Child(name, process, log)
        self._all.append(child)
        return child


def program() -> list[str]:
    """The command that runs this same program."""
    return [sys.executable, "-m", "offhook.cli"]
