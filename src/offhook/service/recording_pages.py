"""Where the files of recordings are fetched and deleted, and their list (protocol.md §3.11; docs/recording.md).

Requests are signed as those of the REST interface are. Official SDKs sign a recording's URL for the host of their
endpoint, whatever the URL's host is, and name that host in `x-ms-host`, with or without its port.
"""

from __future__ import annotations

import asyncio
import datetime
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from offhook.service.api import Api
from offhook.service.recording_files import Chunk, Document, Shelf
from offhook.service.recordings import Recordings
from offhook.wire.events import grid_time
from offhook.wire.fields import encode
from offhook.wire.recording import RecordingChunk, recording_metadata

_RANGE: Final = re.compile("bytes=([0-9]+-[0-9]*|-0*[1-9][0-9]*)", re.IGNORECASE)
TYPES: Final = {"wav": "audio/wav", "mp3": "audio/mpeg"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _File(web.FileResponse):
    """A file, or the part of it that is asked for. A Range that is none is as none at all (`bytes=None` was seen)."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        asked = request.headers.get("Range")
        if asked is not None and not _RANGE.fullmatch(asked):
            headers = request.headers.copy()
            del headers["Range"]
            request = request.clone(headers=headers)
        return await super().prepare(request)


class RecordingPages:
    """The handlers."""

    def __init__(self, recordings: Recordings, api: Api, endpoint: Callable[[], str], resource_id: str) -> None:
        """`endpoint`: our base URL as clients know it, ending in '/'."""
        self._recordings = recordings
        self._shelf: Shelf = recordings.shelf
        self._api = api
        self._endpoint = endpoint
        self._resource_id = resource_id

    def routes(self, console: Callable[[Handler, Handler], Handler]) -> list[web.RouteDef]:
        """The routes, each behind the access key or a token; the list also behind what the console asks of browsers.

        `console` makes a handler of one for the console's browsers and one for everybody else.
        """
        return [
            web.get("/v1/objects/{id}/content/audio", self._signed(self._content)),
            web.get("/v1/objects/{id}/content/acsmetadata", self._signed(self._metadata)),
            web.delete("/v1/objects/{id}", self._signed(self._delete)),
            web.get("/console/api/recordings", console(self._list, self._signed(self._list))),
        ]

    def chunk(self, document: Document, chunk: Chunk) -> RecordingChunk:
        """A file as its event names it."""
        id = f"{document.id}-{chunk.index}"
        place = f"{self._endpoint()}v1/objects/{id}"
        name = chunk.location.rpartition(".")[0]
        return RecordingChunk(
            document_id=id,
            index=chunk.index,
            end_reason=chunk.end_reason,
            content_location=chunk.location or f"{place}/content/audio",
            metadata_location=f"{name}.json" if chunk.location else f"{place}/content/acsmetadata",
            delete_location=chunk.location or place,
        )

    def metadata(self, document: Document, chunk: Chunk) -> bytes:
        """The metadata document of a file."""
        return encode(
            recording_metadata(
                resource_id=self._resource_id,
                call_id=document.call_id,
                chunk=self.chunk(document, chunk),
                started=grid_time(chunk.started),
                duration_ms=round(chunk.milliseconds, 3),
                channel=document.channel,
                form=document.form,
                rate=document.rate,
                channels=document.channels,
                pauses=[(grid_time(pause.at), pause.milliseconds) for pause in document.pauses],
                participants=document.participants,
                interrupted=document.interrupted,
            )
        )

    # handlers ---------------------------------------------------------------------------------------------------

    def _signed(self, handler: Handler) -> Handler:
        async def check(request: web.Request) -> web.StreamResponse:
            told = request.headers.get("x-ms-host", "")
            port = request.headers.get("Host", "").rpartition(":")[2]
            hosts = [told, f"{told}:{port}"] if told else []
            refusal = await self._api.refusal(request, *hosts)
            return refusal if refusal is not None else await handler(request)

        return check

    async def _content(self, request: web.Request) -> web.StreamResponse:
        found = self._shelf.find(request.match_info["id"])
        if found is None:
            return self._unknown(request)
        document, chunk = found
        path = self._shelf.path(document, chunk)
        if not await asyncio.to_thread(path.is_file):
            return self._unknown(request)
        name = f"{document.id}-{chunk.index}.{document.form}"
        headers = {"Content-Type": TYPES[document.form], "Content-Disposition": f'attachment; filename="{name}"'}
        return _File(path, headers=headers)

    async def _metadata(self, request: web.Request) -> web.StreamResponse:
        found = self._shelf.find(request.match_info["id"])
        if found is None:
            return self._unknown(request)
        return web.Response(body=self.metadata(*found), content_type="application/json")

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        found = self._shelf.find(request.match_info["id"])
        if found is None:
            return self._unknown(request)
        try:
            await self._recordings.remove(*found)
        except OSError as error:
            return self._api.answer_with(request, "internal_error", f"It cannot be deleted: {error.strerror or error}")
        return web.Response()

    async def _list(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=await asyncio.to_thread(self._rows), content_type="application/json")

    def _rows(self) -> bytes:
        """One by one and beside the loop: of thousands, all at once would hold up the media clock."""
        documents = [document for document in list(self._shelf.documents.values()) if document.here]
        documents.sort(key=lambda document: document.started)
        rows = [msgspec.json.encode(self._row(document)) for document in documents]
        return b'{"recordings":[' + b",".join(rows) + b"]}"

    def _row(self, document: Document) -> dict[str, Any]:
        length = sum(chunk.milliseconds for chunk in document.chunks)
        return {
            "id": document.id,
            "recordingId": document.recording_id,
            "callId": document.call_id,
            "started": datetime.datetime.fromtimestamp(document.started, datetime.UTC).isoformat("T", "milliseconds"),
            "durationMs": round(length),
            "bytes": document.size,
            "format": document.form,
            "channelType": document.channel,
            "channels": document.channels,
            "interrupted": document.interrupted,
            "problem": document.problem or document.storage_problem,
            "files": [self.chunk(document, chunk).to_wire() for chunk in document.chunks if not chunk.gone],
        }

    def _unknown(self, request: web.Request) -> web.StreamResponse:
        detail = "It was deleted, is not finished, or never was."
        return self._api.answer_with(request, "recording_not_found", detail)
