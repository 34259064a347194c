"""The calls of a node as the console and the command line see them: live ones and kept ones in one book (console.md).

Every id may be a call id or a call connection id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from offhook.errors import CallError
from offhook.service.call_figures import figures_of
from offhook.service.call_sound import CallSound
from offhook.service.capturing import Captures
from offhook.service.trace import Heard, Traces

State = Literal["live", "ended"]
MOST_ROWS = 500


class CallBook:
    """What is known of calls. All methods belong to the loop's thread."""

    def __init__(self, traces: Traces) -> None:
        self.captures: Captures | None = None
        """What keeps the sound of calls."""
        self._traces = traces

    async def open(self, any_id: str) -> bool:
        """Make sure that the page of a call can be had at once, be it on disk; whether there is such a call."""
        return self._traces.find(any_id) is not None

    def rows(
        self, *, state: State | None = None, query: str = "", limit: int = 100, before: str = ""
    ) -> list[dict[str, Any]]:
        """Rows of calls, newest first.

        `query` is looked for in ids, numbers and names. `before`: the call id of the last row of the page before, or
        a time (RFC 3339) that calls began before.
        """
        rows = (trace.row() for trace in self._traces.all)
        return chosen(rows, state, query, limit, before)

    def row(self, any_id: str) -> dict[str, Any] | None:
        """The row of one call; None for one that is not known."""
        trace = self._traces.find(any_id)
        return None if trace is None else trace.row()

    def header(self, any_id: str) -> dict[str, Any] | None:
        """The page of a call without its events; None for one that is not known."""
        trace = self._traces.find(any_id)
        return None if trace is None else self._heard(trace.header())

    def page(self, any_id: str) -> dict[str, Any] | None:
        """A call with its events (console.md, A call); None for one that is not known."""
        trace = self._traces.find(any_id)
        return None if trace is None else self._heard(trace.page())

    def events(self, any_id: str, after: int) -> list[dict[str, Any]] | None:
        """The events of a call whose `seq` is greater, in its order; None for a call that is not known."""
        trace = self._traces.find(any_id)
        if trace is None:
            return None
        return [trace.shown(event) for event in trace.events[max(0, after) :]]

    def listen(self, heard: Heard) -> Callable[[], None]:
        """Hear (call id, event) of every event, and (call id, None) of each change of a row; gives back its end."""
        return self._traces.listen(heard)

    async def figures(self, any_id: str) -> dict[str, Any] | None:
        """The figures of a call; None where there are none."""
        page, look = self.page(any_id), self._sound(any_id)
        if page is None:
            return None
        return await asyncio.to_thread(lambda: figures_of(page, look()))

    async def peaks(
        self, any_id: str, leg: str, side: str, from_ms: float, to_ms: float, bins: int
    ) -> dict[str, Any] | None:
        """The waveform of what a leg said or heard; None where no sound is kept. ValueError as `CallSound.peaks`."""
        look = self._sound(any_id)

        def draw() -> dict[str, Any] | None:
            sound = look()
            return None if sound is None else sound.peaks(leg, side, from_ms, to_ms, bins)

        return await asyncio.to_thread(draw)

    async def sound(self, any_id: str, leg: str, side: str, from_ms: float, to_ms: float) -> tuple[int, bytes] | None:
        """Rate and PCM16 of a stretch; None where no sound is kept. ValueError as `CallSound.pcm`."""
        look = self._sound(any_id)

        def read() -> tuple[int, bytes] | None:
            sound = look()
            return None if sound is None else sound.pcm(leg, side, from_ms, to_ms)

        return await asyncio.to_thread(read)

    async def series(self, any_id: str) -> dict[str, Any] | None:
        """Depths and losses over time; None where there are none."""
        look = self._sound(any_id)

        def read() -> dict[str, Any] | None:
            sound = look()
            return None if sound is None else sound.series()

        return await asyncio.to_thread(read)

    def _heard(self, page: dict[str, Any]) -> dict[str, Any]:
        """With what there is now of the sound of its legs."""
        audio = {} if self.captures is None else self.captures.audio(page["callId"])
        for leg in page["legs"]:
            leg["audio"] = audio.get(leg["legId"], leg["audio"])
        return page

    def _sound(self, any_id: str) -> Callable[[], CallSound | None]:
        """What reads the sound of a call, in a thread."""
        trace = self._traces.find(any_id)
        if self.captures is None or trace is None:
            return lambda: None
        return self.captures.find(trace.call_id)

    async def archive(self, any_id: str) -> Path | None:
        """A zip of the call in a temporary file that the caller deletes; None for a call that is not known."""
        return None

    async def resend(self, any_id: str, seq: int) -> dict[str, Any]:
        """Post a callback or an IncomingCall again. CallError says why it cannot be."""
        raise CallError("call_not_found", f"No call {any_id} is kept.")


def chosen(
    rows: Iterable[dict[str, Any]], state: State | None, query: str, limit: int, before: str
) -> list[dict[str, Any]]:
    """The rows that are asked for, of rows that come newest first."""
    words = query.casefold().split()
    wanted = (
        row
        for row in _after(rows, before)
        if (state is None or row["ended"] == (state == "ended")) and all(word in sought(row) for word in words)
    )
    return [row for row, _ in zip(wanted, range(max(0, min(limit, MOST_ROWS))), strict=False)]


def sought(row: dict[str, Any]) -> str:
    """The text of a row that a query is looked for in."""
    parts = (row["callId"], row["callConnectionId"], row["from"]["rawId"], row["from"]["displayName"])
    return " ".join(filter(None, (*parts, row["to"]["rawId"]))).casefold()


def _after(rows: Iterable[dict[str, Any]], before: str) -> Iterator[dict[str, Any]]:
    if not before:
        yield from rows
        return
    moment, passed = _moment(before), False
    for row in rows:
        if moment is not None:
            if datetime.fromisoformat(row["startedAt"]) < moment:
                yield row
        elif passed:
            yield row
        elif row["callId"] == before:
            passed = True


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        return None
    return moment.astimezone() if moment.tzinfo is None else moment
