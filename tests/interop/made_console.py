"""A server of the console's pages over calls that were made up: the API's shapes without a node behind them.

Run by itself (`python -m tests.interop.made_console 8099`) it is for looking at the pages while one works on them.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import mimetypes
import sys
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import web
from playwright.async_api import Browser, Page
from tests.interop.made_call import MadeCall, crowded, going_on, story, unanswered

from offhook.service.console_guard import HEADERS

WEB = Path(__file__).parents[2] / "src/offhook/web"
POLICY = HEADERS["Content-Security-Policy"]

Queue = asyncio.Queue[tuple[str, Any]]
_ROW = (
    "callId", "callConnectionId", "direction", "from", "to", "state", "ended", "startedAt", "answeredAt", "endedAt",
    "endedBy", "result",
)  # fmt: skip


class MadeConsole:
    """Routes over some calls; `resent` has the events that were sent again, `queues` the listeners of each call."""

    def __init__(self, calls: list[MadeCall]) -> None:
        self.calls = {call.page["callId"]: call for call in calls}
        self.resent: list[int] = []
        self.queues: list[Queue] = []
        self.lists: list[Queue] = []
        """Listeners of the list."""
        self.more_rows: list[dict[str, Any]] = []
        """Rows of calls without a page."""
        self.app = web.Application()
        call = "/console/api/calls/{id}"
        self.app.add_routes(
            [
                web.get("/console/api/calls", self.rows),
                web.get("/console/api/stream", self.changes),
                web.get(call, self.page),
                web.get(call + "/events", self.events),
                web.get(call + "/figures", self.figures),
                web.get(call + "/series", self.series),
                web.get(call + "/peaks", self.peaks),
                web.get(call + "/sound.wav", self.sound),
                web.get(call + "/stream", self.stream),
                web.post(call + "/events/{seq}/resend", self.resend),
                web.get("/console/{path:.*}", self.file),
            ]
        )

    def tell(self, kind: str, data: Any) -> None:
        """To every listener of a call's stream."""
        for queue in self.queues:
            queue.put_nowait((kind, data))

    def _call(self, request: web.Request) -> MadeCall:
        call = self.calls.get(request.match_info["id"])
        if call is None:
            error = {"error": {"code": "8522", "message": "Call not found."}}
            raise web.HTTPNotFound(text=json.dumps(error), content_type="application/json")
        return call

    async def rows(self, request: web.Request) -> web.Response:
        """As the node has them: newest first, by state, some of them."""
        asked = request.query
        rows = [row for row in self.all_rows if asked.get("state") in (None, "ended" if row["ended"] else "live")]
        if before := asked.get("before"):
            rows = rows[1 + [row["callId"] for row in rows].index(before) :]
        return web.json_response({"calls": rows[: int(asked.get("limit", 100))]})

    @property
    def all_rows(self) -> list[dict[str, Any]]:
        """A row of each call, newest first."""
        rows = [
            {
                **{key: value for key, value in call.page.items() if key in _ROW},
                "durationMs": None,
                "events": len(call.page["events"]),
                "legs": len(call.page["legs"]),
            }
            for call in self.calls.values()
        ]
        return sorted(self.more_rows + rows, key=lambda row: str(row["startedAt"]), reverse=True)

    def tell_row(self, row: dict[str, Any]) -> None:
        """A call has begun or changed."""
        self.more_rows = [row, *(one for one in self.more_rows if one["callId"] != row["callId"])]
        for queue in self.lists:
            queue.put_nowait(("row", row))

    async def changes(self, request: web.Request) -> web.StreamResponse:
        return await self._listened(request, self.lists)

    async def page(self, request: web.Request) -> web.Response:
        return web.json_response(self._call(request).page)

    async def events(self, request: web.Request) -> web.Response:
        after = int(request.query.get("after", 0))
        return web.json_response({"events": [e for e in self._call(request).page["events"] if e["seq"] > after]})

    async def figures(self, request: web.Request) -> web.Response:
        return self._known(self._call(request).figures)

    async def series(self, request: web.Request) -> web.Response:
        return self._known(self._call(request).series)

    @staticmethod
    def _known(page: dict[str, Any] | None) -> web.Response:
        return web.json_response(page, status=200 if page is not None else 404)

    def _stretch(self, request: web.Request, side: str) -> tuple[int, np.ndarray[Any, np.dtype[np.int16]]]:
        """The samples asked for, with silence where the track does not reach."""
        call, asked = self._call(request), request.query
        leg = next((one for one in call.page["legs"] if one["legId"] == asked["leg"]), None)
        track = call.sounds.get((asked["leg"], side))
        if leg is None or track is None:
            raise web.HTTPNotFound
        rate = leg["audio"][0]["rate"]
        first = round((float(asked["fromMs"]) - leg["audio"][0]["beginMs"]) * rate / 1000)
        size = round((float(asked["toMs"]) - float(asked["fromMs"])) * rate / 1000)
        out = np.zeros(size, np.int16)
        begin, end = max(first, 0), min(first + size, len(track))
        if end > begin:
            out[begin - first : end - first] = track[begin:end]
        return rate, out

    async def peaks(self, request: web.Request) -> web.Response:
        asked = request.query
        rate, samples = self._stretch(request, asked["side"])
        bins = int(asked["bins"])
        edges = (np.arange(bins) * len(samples) / bins).astype(int)
        low = np.minimum.reduceat(samples, edges) if len(samples) else np.zeros(bins)
        high = np.maximum.reduceat(samples, edges) if len(samples) else np.zeros(bins)
        peaks = np.stack([low, high], axis=1).reshape(-1).astype(float) / 258.0
        begin, end = float(asked["fromMs"]), float(asked["toMs"])
        answer = {"fromMs": begin, "toMs": end, "binMs": (end - begin) / bins, "rate": rate}
        return web.json_response({**answer, "peaks": np.rint(peaks).astype(int).tolist(), "from": 0, "to": bins})

    async def sound(self, request: web.Request) -> web.Response:
        side = request.query["side"]
        tracks = [self._stretch(request, one) for one in (("said", "heard") if side == "both" else (side,))]
        out = io.BytesIO()
        with wave.open(out, "wb") as file:
            file.setnchannels(len(tracks))
            file.setsampwidth(2)
            file.setframerate(tracks[0][0])
            file.writeframes(np.stack([samples for _, samples in tracks], axis=1).tobytes())
        return web.Response(body=out.getvalue(), content_type="audio/wav")

    async def resend(self, request: web.Request) -> web.Response:
        assert request.headers["X-Offhook-Console"] == "1"
        seq, events = int(request.match_info["seq"]), self._call(request).page["events"]
        self.resent.append(seq)
        made = next(event for event in events if event["seq"] == seq)
        detail = {"eventId": made["detail"]["eventId"], "attempt": 1, "status": 200, "error": None, "resent": True}
        again = {"kind": "delivery", "seq": len(events) + 1, "atMs": 3600000.0, "detail": detail}
        events.append({**made, **again})
        return web.json_response({"status": 200, "ms": 12.3, "error": None, "note": "It is too late."})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        return await self._listened(request, self.queues)

    async def _listened(self, request: web.Request, all_queues: list[Queue]) -> web.StreamResponse:
        queue: Queue = asyncio.Queue()
        all_queues.append(queue)
        try:
            return await self._events(request, queue)
        finally:
            all_queues.remove(queue)

    @staticmethod
    async def _events(request: web.Request, queue: Queue) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        while True:
            try:
                kind, data = await asyncio.wait_for(queue.get(), 5)
                seq = f"id: {data['seq']}\n" if kind == "event" else ""
                await response.write(f"event: {kind}\n{seq}data: {json.dumps(data)}\n\n".encode())
                if kind == "end":
                    return response
            except TimeoutError:
                await response.write(b": still here\n\n")

    async def file(self, request: web.Request) -> web.StreamResponse:
        path = (WEB / request.match_info["path"]).resolve()
        if not path.is_file() or not path.is_relative_to(WEB):
            path = WEB / "index.html"
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
        return web.Response(body=path.read_bytes(), content_type=kind, headers=headers)


@contextlib.asynccontextmanager
async def page_for_modules(browser: Browser) -> AsyncIterator[Page]:
    """A page of the console's origin with nothing on it, for tests of its modules."""
    runner = web.AppRunner(MadeConsole([]).app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    opened = await browser.new_page()
    try:
        await opened.goto(f"http://127.0.0.1:{runner.addresses[0][1]}/console/icon.svg")
        yield opened
    finally:
        await opened.close()
        await runner.cleanup()


def main() -> None:
    """Serve the calls until interrupted."""
    web.run_app(
        MadeConsole([story(), crowded(), going_on(), unanswered()]).app, host="127.0.0.1", port=int(sys.argv[1])
    )


if __name__ == "__main__":
    main()
