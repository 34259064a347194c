"""The calls of a node as the console and the command line see them: live ones and kept ones in one book (console.md).

Every id may be a call id or a call connection id.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from offhook.errors import CallError
from offhook.service.call_archive import packed
from offhook.service.call_figures import figures_of
from offhook.service.call_folder import MOST_EVENTS, page_of
from offhook.service.call_sound import CallSound
from offhook.service.capturing import Captures
from offhook.service.history import History, Kept
from offhook.service.resending import Again, Resend, again_of
from offhook.service.trace import CallTrace, Heard, Traces, event_page

State = Literal["live", "ended"]
MOST_ROWS = 500
PAGES_KEPT = 4
AT_ONCE = 50
"""Events that may be made on the loop."""

Result = TypeVar("Result")


class CallBook:
    """What is known of calls. All methods belong to the loop's thread."""

    def __init__(
        self,
        traces: Traces,
        history: History | None = None,
        captures: Captures | None = None,
        resend: Resend | None = None,
    ) -> None:
        self._traces = traces
        self._history = history
        self._captures = captures
        self._resend = resend
        self._pages: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._events: OrderedDict[str, list[dict[str, Any]]] = OrderedDict()

    # pages ------------------------------------------------------------------------------------------------------

    async def open(self, any_id: str) -> bool:
        """Whether there is such a call; from then on its page can be had at once, be it on disk."""
        trace = self._traces.find(any_id)
        if trace is not None:
            await self._render(trace)
            return True
        call_id = None if self._history is None else self._history.find(any_id)
        if self._history is None or call_id is None:
            return False
        if call_id not in self._pages:
            page = await self._history.page(call_id)
            if page is None:
                return False
            self._pages[call_id] = page
            while len(self._pages) > PAGES_KEPT:
                self._pages.popitem(last=False)
        return True

    def rows(
        self, *, state: State | None = None, query: str = "", limit: int = 100, before: str = ""
    ) -> list[dict[str, Any]]:
        """Rows of calls, newest first. It may be asked in a thread.

        `query` is looked for in ids, numbers and names. `before`: the call id of the last row of the page before, or
        a time (RFC 3339) that calls began before.
        """
        words, most = query.casefold().split(), max(0, min(limit, MOST_ROWS))
        wanted = (
            one.row()
            for one in self._after(before, live_only=state == "live")
            if (state is None or one.ended == (state == "ended")) and all(word in one.words for word in words)
        )
        return list(itertools.islice(wanted, most))

    def row(self, any_id: str) -> dict[str, Any] | None:
        """The row of one call; None for one that is not known."""
        trace = self._traces.find(any_id)
        if trace is not None:
            return trace.row()
        kept = None if self._history is None else self._history.known(any_id)
        return None if kept is None else kept.row()

    def header(self, any_id: str) -> dict[str, Any] | None:
        """The page of a call without its events; None for one that is not known, or not opened."""
        trace = self._traces.find(any_id)
        if trace is not None:
            return self._with_audio(trace.header())
        page = self.page(any_id)
        return None if page is None else {name: value for name, value in page.items() if name != "events"}

    def page(self, any_id: str) -> dict[str, Any] | None:
        """A call with its events (console.md, A call); None for one that is not known, or not opened."""
        trace = self._traces.find(any_id)
        if trace is not None:
            return self._with_audio(page_of(trace.header(), self._kept(trace)))
        call_id = None if self._history is None else self._history.find(any_id)
        if call_id is None or call_id not in self._pages:
            return None
        self._pages.move_to_end(call_id)
        page = self._pages[call_id]
        return {**page, "events": list(page["events"])}

    def events(self, any_id: str, after: int) -> list[dict[str, Any]] | None:
        """The events of a call whose `seq` is greater, by `seq`; None as for `page`."""
        trace = self._traces.find(any_id)
        if trace is not None:
            after = max(0, after)
            if trace.call_id in self._events:
                new = self._kept(trace)[after:]
            else:
                new = [trace.kept(event) for event in trace.events[after:]]
            answered = None if trace.answered is None else trace.since(trace.answered)
            return [event_page(event, answered) for event in new]
        page = self.page(any_id)
        if page is None:
            return None
        return sorted((event for event in page["events"] if event["seq"] > after), key=lambda event: int(event["seq"]))

    def listen(self, heard: Heard) -> Callable[[], None]:
        """Hear of every event (call id, and its seq, kind and name), and of each change of a row (call id, None).

        It is called in ticks too. Gives back the end of listening.
        """
        return self._traces.listen(heard)

    # sound and figures ------------------------------------------------------------------------------------------

    async def figures(self, any_id: str) -> dict[str, Any] | None:
        """The figures of a call; None for a call that is not known."""
        page = await self._opened(any_id)
        if page is None:
            return None
        look = self._sound(page["callId"])
        return await asyncio.to_thread(lambda: figures_of(page, look()))

    async def peaks(
        self, any_id: str, leg: str, side: str, from_ms: float, to_ms: float, bins: int
    ) -> dict[str, Any] | None:
        """The waveform of what a leg said or heard; None where no sound is kept. ValueError as `CallSound`."""
        return await self._heard_in(any_id, lambda sound: sound.peaks(leg, side, from_ms, to_ms, bins))

    async def sound(self, any_id: str, leg: str, side: str, from_ms: float, to_ms: float) -> tuple[int, bytes] | None:
        """Rate and PCM16 of a stretch; None where no sound is kept. ValueError as `CallSound`."""
        return await self._heard_in(any_id, lambda sound: sound.pcm(leg, side, from_ms, to_ms))

    async def series(self, any_id: str) -> dict[str, Any] | None:
        """Depths and losses over time; None where there are none."""
        return await self._heard_in(any_id, lambda sound: sound.series())

    async def archive(self, any_id: str) -> Path | None:
        """A zip of the call in a temporary file that the caller deletes; None for a call that is not known.

        OSError when there is no room for it.
        """
        page = await self._opened(any_id)
        if page is None:
            return None
        call_id, history = page["callId"], self._history
        trace = self._traces.find(call_id)
        if trace is not None and history is not None:
            await history.written(trace)
        folder, look = None if history is None else history.folder(call_id), self._sound(call_id)
        return await asyncio.to_thread(lambda: packed(page, folder, figures_of(page, look())))

    # sending again ----------------------------------------------------------------------------------------------

    async def resend(self, any_id: str, seq: int) -> dict[str, Any]:
        """Post a callback or an IncomingCall again, and note it: `{status, ms, error}`, with a `note` for people.

        CallError says why it cannot be: `call_not_found` for no such call or event, `invalid_argument` for one that
        is not sent, `conflict` for one of which not everything was kept.
        """
        page = await self._opened(any_id)
        if page is None:
            raise CallError("call_not_found", f"No call {any_id} is kept.")
        trace = self._traces.find(any_id)
        again = again_of(page, seq, None if trace is None else trace.events)
        if trace is None and len(page["events"]) >= MOST_EVENTS:
            raise CallError("conflict", f"This call has {MOST_EVENTS} events: no further ones are kept.")
        if self._resend is None:
            raise CallError("conflict", "Nothing can be sent from here: open the call in its node.")
        told: list[dict[str, Any]] = []
        for report in await self._resend(again):
            detail = {**again.detail(report), "resent": True}
            told.append({"status": report.status, "ms": round(report.ms, 1), "error": report.error})
            await self._note(trace, page, again, detail)
        answer = next((one for one in told if one["error"] or not 200 <= (one["status"] or 0) < 300), told[-1])
        if again.incoming and page["state"] != "ringing":
            state = "is over" if page["ended"] else "was answered"
            answer = {**answer, "note": f"The call {state}: the app cannot answer it any more."}
        return answer

    async def _note(self, trace: CallTrace | None, page: dict[str, Any], again: Again, detail: dict[str, Any]) -> None:
        if trace is not None:
            self._traces.note(trace, "delivery", again.name, **detail)
            return
        assert self._history is not None
        began = datetime.fromisoformat(page["startedAt"]).timestamp()
        await self.open(page["callId"])  # another may have sent something of it since
        known = self._pages.get(page["callId"], page)
        kept = {
            "seq": max((event["seq"] for event in known["events"]), default=0) + 1,
            "sinceMs": max(round((self._traces.wall() - began) * 1000, 3), 0.0),
            "kind": "delivery",
            "name": again.name,
            "leg": None,
            "connection": again.connection,
            "detail": detail,
        }
        self._traces.tell(page["callId"], await self._history.add(known, kept))

    # inside -----------------------------------------------------------------------------------------------------

    async def _opened(self, any_id: str) -> dict[str, Any] | None:
        return self.page(any_id) if await self.open(any_id) else None

    async def _heard_in(self, any_id: str, ask: Callable[[CallSound], Result | None]) -> Result | None:
        row = self.row(any_id)
        if row is None:
            return None
        look = self._sound(row["callId"])

        def work() -> Result | None:
            sound = look()
            return None if sound is None else ask(sound)

        return await asyncio.to_thread(work)

    def _sound(self, call_id: str) -> Callable[[], CallSound | None]:
        """What reads the sound of a call, in a thread."""
        return (lambda: None) if self._captures is None else self._captures.find(call_id)

    def _with_audio(self, page: dict[str, Any]) -> dict[str, Any]:
        """A page with what there is of the sound of a call that is live, or was a moment ago; later its trace knows."""
        audio = {} if self._captures is None else self._captures.audio(page["callId"])
        for leg in page["legs"]:
            leg["audio"] = audio.get(leg["legId"], leg["audio"])
        return page

    def _kept(self, trace: CallTrace) -> list[dict[str, Any]]:
        """The events of a trace as they are written down; those that were made already are not made again."""
        known = self._events.get(trace.call_id, [])
        known += [trace.kept(event) for event in trace.events[len(known) :]]
        self._events[trace.call_id] = known
        self._events.move_to_end(trace.call_id)
        while len(self._events) > PAGES_KEPT:
            self._events.popitem(last=False)
        return known

    async def _render(self, trace: CallTrace) -> None:
        """Make many events beside the loop: bodies are decoded and secrets looked for, which takes its time."""
        known = len(self._events.get(trace.call_id, []))
        missing = trace.events[known:]
        if len(missing) > AT_ONCE:
            made = await asyncio.to_thread(lambda: [trace.kept(event) for event in missing])
            events = self._events.setdefault(trace.call_id, [])
            events += made[len(events) - known :] if len(events) >= known else []

    def _all(self, live_only: bool) -> Iterator[CallTrace | Kept]:
        """Every call, newest first by the clock on the wall; one that is in memory and on disk is that in memory."""
        here = sorted(self._traces.all, key=_began, reverse=True)
        if self._history is None or live_only:
            return iter(here)
        known = {trace.call_id for trace in here}
        others = (one for one in self._history.kept() if one.call_id not in known)
        return heapq.merge(here, others, key=_began, reverse=True)

    def _after(self, before: str, *, live_only: bool) -> Iterator[CallTrace | Kept]:
        """The calls that follow one, or that began before a time."""
        every = self._all(live_only)
        if not before:
            return every
        moment = _moment(before)
        if moment is not None:
            return (one for one in every if one.began_wall < moment)
        rest = itertools.dropwhile(lambda one: one.call_id != before, every)
        return itertools.islice(rest, 1, None)


def _began(call: CallTrace | Kept) -> float:
    return call.began_wall


def _moment(text: str) -> float | None:
    """Unix seconds of a time; None for what is none."""
    try:
        return datetime.fromisoformat(text.replace(" ", "+")).timestamp()
    except ValueError:
        return None
