"""Functions that a model has called: which of a response still run, and when the model may go on."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, Final

from offhook.kit.realtime_events import Item, ToolCalled
from offhook.kit.tools import Tool

if TYPE_CHECKING:
    from offhook.kit.call import Call

AT_ONCE: Final = 16
"""Functions that run at once for one call; the model is told that more is too much."""


@dataclass(slots=True)
class _Calls:
    """Of one response."""

    made: int = 0
    open: int = 0
    over: bool = False  # the response is; no more calls come


class FunctionCalls:
    """Of one call. A response has answered when it is over and all functions that it called have."""

    def __init__(self, call: Call, tools: dict[str, Tool], timeout_s: float) -> None:
        self._call = call
        self._tools = tools
        self._timeout_s = timeout_s
        self._responses: dict[str, _Calls] = {}
        self._threads: set[Thread] = set()  # of functions, those that were given up too

    def begin(self, response_id: str) -> None:
        """A response called a function."""
        calls = self._responses.setdefault(response_id, _Calls())
        calls.made += 1
        calls.open += 1

    async def run(self, item: Item) -> ToolCalled:
        """Its output. Never raises."""
        name, arguments = item.name or "", item.arguments or ""
        tool = self._tools.get(name)
        if tool is None:
            known = ", ".join(self._tools) or "none"
            return ToolCalled(name, arguments, f"error: no tool named {name}; there are: {known}", True, 0.0)
        self._threads -= {thread for thread in self._threads if not thread.is_alive()}
        if self._open > AT_ONCE or len(self._threads) >= AT_ONCE:
            return ToolCalled(name, arguments, "error: too many calls at once; try again", True, 0.0)
        return await tool.run(self._call, arguments, self._timeout_s, self._threads)

    @property
    def _open(self) -> int:
        return sum(calls.open for calls in self._responses.values())

    def answered(self, response_id: str) -> bool:
        """A function has; whether that was the last thing that the model waits for."""
        self._responses[response_id].open -= 1
        return self._all_answered(response_id)

    def over(self, response_id: str) -> bool:
        """A response is; whether it had functions, and all have answered."""
        self._responses.setdefault(response_id, _Calls()).over = True
        return self._all_answered(response_id)

    def forget(self) -> None:
        """The session that called is gone."""
        self._responses.clear()

    def _all_answered(self, response_id: str) -> bool:
        calls = self._responses[response_id]
        if calls.open or not calls.over:
            return False
        del self._responses[response_id]
        return calls.made > 0
