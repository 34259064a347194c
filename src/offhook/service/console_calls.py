"""Calls as data: lists, pages, events, figures, sound, and a call as one file (docs/console.md, "Calls")."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from aiohttp import web

from offhook.audio.wav import wav_header
from offhook.errors import CallError
from offhook.service.call_book import MOST_ROWS, CallBook, State
from offhook.service.console_guard import Guard, Problem, invalid, unknown
from offhook.service.console_query import MOST_ID, Query, checked_id, checked_whole
from offhook.wire.results import RESULTS

MOST_QUERY: Final = 200
MOST_BINS: Final = 4000
MOST_SECONDS: Final = 600
"""Of sound in one answer."""
MOST_EXPORTS: Final = 2
"""Archives that are made and sent at once."""
MOST_SENT: Final = 8
"""Stretches of sound that are sent at once."""
MOST_RESENT: Final = 8
"""Events that are sent again at once: they share what an app takes at once with those of live calls."""
STALLED_S: Final = 30.0
"""A reader of a file that takes nothing for so long is given up."""
_DAYS_MS: Final = 30 * 86_400_000.0
_PIECE: Final = 256 * 1024
_NO_SOUND: Final = "There is no sound of this leg: the legs of GET /console/api/calls/{id} say in audio what there is."


class Calls:
    """The handlers of `/console/api/calls` that answer at once."""

    def __init__(self, book: CallBook, guard: Guard) -> None:
        self._book = book
        self._guard = guard
        self._sending: Counter[str] = Counter()

    def routes(self) -> list[web.RouteDef]:
        """All of them are reads but one."""
        read, call = self._guard.read, "/console/api/calls/{id}"
        return [
            web.get("/console/api/calls", read(self._rows)),
            web.get(call, read(self._page)),
            web.get(f"{call}/events", read(self._events)),
            web.get(f"{call}/figures", read(self._figures)),
            web.get(f"{call}/peaks", read(self._peaks)),
            web.get(f"{call}/sound.wav", read(self._sound)),
            web.get(f"{call}/series", read(self._series)),
            web.get(f"{call}/export", read(self._export)),
            web.post(f"{call}/events/{{seq}}/resend", self._guard.write(self._resend)),
        ]

    # documents --------------------------------------------------------------------------------------------------

    async def _rows(self, request: web.Request) -> web.StreamResponse:
        query = Query(request, "state", "q", "limit", "before")
        state = query.one_of("state", ("live", "ended"), needed=False)
        text, before = query.text("q", MOST_QUERY), query.text("before")
        limit, of = query.whole("limit", 1, MOST_ROWS, 100), cast(State, state) if state else None
        # Thousands may be looked through: the media clock waits for none of it.
        rows = await asyncio.to_thread(self._book.rows, state=of, query=text, limit=limit, before=before)
        return await _long('{"calls":', rows, "}")

    async def _page(self, request: web.Request) -> web.StreamResponse:
        Query(request)
        page = self._book.page(await self._found(request))
        if page is None:
            raise _no_call()
        events = page.pop("events")
        return await _long(f'{json.dumps(page)[:-1]}, "events":', events, "}")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        after = Query(request, "after").whole("after", 0, 10**9, 0)
        return await _long('{"events":', self._book.events(await self._found(request), after) or [], "}")

    async def _figures(self, request: web.Request) -> web.StreamResponse:
        Query(request)
        return web.json_response(await self._book.figures(await self._found(request)))

    async def _series(self, request: web.Request) -> web.StreamResponse:
        Query(request)
        return web.json_response(await self._book.series(await self._found(request)))

    async def _peaks(self, request: web.Request) -> web.StreamResponse:
        query = Query(request, "leg", "side", "fromMs", "toMs", "bins")
        leg, side, begin, end = _stretch(query, ("said", "heard"))
        bins = query.whole("bins", 1, MOST_BINS)
        call = await self._found(request)
        found = await _asked(self._book.peaks(call, leg, side, begin, end, bins))
        if found is None:
            raise unknown(_NO_SOUND)
        return web.json_response(found)

    async def _sound(self, request: web.Request) -> web.StreamResponse:
        leg, side, begin, end = _stretch(Query(request, "leg", "side", "fromMs", "toMs"), ("said", "heard", "both"))
        if end - begin > MOST_SECONDS * 1000:
            raise invalid(f"fromMs to toMs is more than {MOST_SECONDS} s: ask for less at once, or export the call.")
        call = await self._found(request)
        with self._one_of(MOST_SENT, "sounds"):
            found = await _asked(self._book.sound(call, leg, side, begin, end))
            if found is None:
                raise unknown(_NO_SOUND)
            rate, pcm = found
            head = wav_header(rate, len(pcm), 2 if side == "both" else 1)
            headers = {"Content-Type": "audio/wav", **_named("inline", f"{call}-{side}", "wav")}
            return await _send(request, io.BytesIO(head + pcm), len(head) + len(pcm), headers)

    # a call as a file -------------------------------------------------------------------------------------------

    async def _export(self, request: web.Request) -> web.StreamResponse:
        Query(request)
        call = await self._found(request)
        with self._one_of(MOST_EXPORTS, "exports"):
            path = await _archive(self._book, call)
            if path is None:
                raise _no_call()
            file, size = await asyncio.to_thread(_take, path)
            headers = {"Content-Type": "application/zip", **_named("attachment", f"offhook-call-{call}", "zip")}
            try:
                return await _send(request, file, size, headers)
            finally:
                file.close()
                await asyncio.to_thread(path.unlink, missing_ok=True)

    # writes -----------------------------------------------------------------------------------------------------

    async def _resend(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        Query(request)
        if fields:
            raise invalid("This takes no fields: the event is named by the path.")
        seq = checked_whole("The number of an event", request.match_info["seq"], 1, 10**9)
        call = await self._found(request)
        with self._one_of(MOST_RESENT, "events"):
            return web.json_response(await _asked(self._book.resend(call, seq)))

    # inside -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _one_of(self, most: int, what: str) -> Iterator[None]:
        """Something dear that only so many may have at once."""
        if self._sending[what] >= most:
            message = f"{most} {what} are being sent already; try again in a moment."
            raise Problem(429, "8516", message, {"Retry-After": "2"})
        self._sending[what] += 1
        try:
            yield
        finally:
            self._sending[what] -= 1

    async def _found(self, request: web.Request) -> str:
        """The id that a path names, when there is such a call."""
        call = checked_id(request)
        if not await self._book.open(call):
            raise _no_call()
        return call


def _no_call() -> Problem:
    return unknown("No such call is kept: GET /console/api/calls lists them. Ids of calls and of call connections do.")


async def _asked(answer: Any) -> Any:
    """An answer of the book; what it refuses becomes what the asker is told."""
    try:
        return await answer
    except ValueError as error:
        raise invalid(f"{error}.") from None
    except CallError as error:
        row = RESULTS[error.outcome]
        raise Problem(row.http if row.http >= 400 else 400, row.error_code, row.text(error.detail)) from None


def _stretch(query: Query, sides: tuple[str, ...]) -> tuple[str, str, float, float]:
    """Which leg, which side, and from when to when."""
    leg, side = query.text("leg", MOST_ID), query.one_of("side", sides)
    if not leg:
        raise invalid("leg is missing: give the legId of one of the call's legs.")
    begin, end = query.number("fromMs", -_DAYS_MS, _DAYS_MS), query.number("toMs", -_DAYS_MS, _DAYS_MS)
    if begin >= end:
        raise invalid("toMs must be greater than fromMs.")
    return leg, side, begin, end


async def _long(head: str, rows: Iterable[dict[str, Any]], tail: str) -> web.Response:
    """JSON with a list that may be long, written one by one and beside the loop: the media clock waits for nothing."""
    body = await asyncio.to_thread(lambda: f"{head}[{','.join([json.dumps(row) for row in rows])}]{tail}".encode())
    return web.Response(body=body, content_type="application/json")


def _named(kind: str, name: str, form: str) -> dict[str, str]:
    """A name for a file to be saved as, of nothing but harmless characters."""
    safe = re.sub(r"[^A-Za-z0-9-]", "_", name)[:100]
    return {"Content-Disposition": f'{kind}; filename="{safe}.{form}"'}


async def _archive(book: CallBook, call: str) -> Path | None:
    """The file of a call; when the asker is gone before it is finished, it goes too."""
    making = asyncio.ensure_future(book.archive(call))

    def remove(made: asyncio.Future[Path | None]) -> None:
        if not made.cancelled() and made.exception() is None and (path := made.result()) is not None:
            path.unlink(missing_ok=True)

    try:
        return cast(Path | None, await _asked(asyncio.shield(making)))
    except OSError as error:
        raise Problem(507, "9999", f"The file cannot be made: {error.strerror or error}.") from None
    except asyncio.CancelledError:
        making.add_done_callback(remove)
        raise


def _take(path: Path) -> tuple[BinaryIO, int]:
    """Open a file and remove its name where the system allows it: then nothing is left whatever happens."""
    file = path.open("rb")
    if os.name == "posix":
        path.unlink()
    return file, os.fstat(file.fileno()).st_size


async def _send(request: web.Request, file: BinaryIO, size: int, headers: dict[str, str]) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    response.content_length = size
    await response.prepare(request)
    try:
        while request.method != "HEAD" and (piece := await asyncio.to_thread(file.read, _PIECE)):
            await asyncio.wait_for(response.write(piece), STALLED_S)
        await response.write_eof()
    except (ConnectionError, TimeoutError):
        if request.transport is not None:
            request.transport.abort()  # what came so far must not pass for the whole
    return response
