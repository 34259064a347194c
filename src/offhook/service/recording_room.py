"""All of recording in one node: shelf, takes, pages, and what is done when a recording is over (protocol.md §6.4)."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from offhook.errors import ConfigError
from offhook.service.api import Api
from offhook.service.eventgrid import IncomingPost
from offhook.service.masking import Body
from offhook.service.node import Node
from offhook.service.origins import Origins
from offhook.service.recording_files import Document, Shelf
from offhook.service.recording_pages import TYPES, Handler, RecordingPages
from offhook.service.recording_storage import Storage
from offhook.service.recordings import RecordingRule, Recordings
from offhook.service.targets import Targets
from offhook.wire.events import grid_time
from offhook.wire.recording import recording_file_status

log = logging.getLogger("offhook.recordings")

FILE_STATUS = "Microsoft.Communication.RecordingFileStatusUpdated"


class RecordingRoom:
    """Recording, ready to be opened when the node's port is bound."""

    def __init__(
        self,
        node: Node,
        api: Api,
        rule: RecordingRule,
        state: Path,
        *,
        endpoint: Callable[[], str],
        tell: Callable[[IncomingPost], Awaitable[None]],
        network: tuple[ssl.SSLContext | None, Origins, Targets],
    ) -> None:
        """`state`: the node's folder. `tell`: posts an event to every subscription, until each has taken or refused it.

        `network`: how storages are met.
        """
        self.folder = state / "recordings" if rule.folder is None else rule.folder
        shelf = Shelf(self.folder, rule.keep_hours * 3600, rule.most_megabytes * 1_000_000)
        self.recordings = node.recordings = Recordings(node, shelf, self)
        self.pages = RecordingPages(self.recordings, api, endpoint, node.identity.resource_id)
        self._node = node
        self._shelf = shelf
        self._tell = tell
        self._storage = Storage(*network)

    def routes(self, console: Callable[[Handler, Handler], Handler]) -> list[web.RouteDef]:
        """The pages; see `RecordingPages`."""
        return self.pages.routes(console)

    async def open(self) -> None:
        """See `Recordings`. ConfigError when there can be no folder."""
        try:
            await self.recordings.open()
        except OSError as error:
            raise ConfigError(f"recordings cannot be kept in {self.folder} ({error.strerror or error})") from None

    async def close(self) -> None:
        """See `Recordings`."""
        await self.recordings.close()

    async def tell(self, document: Document) -> None:
        """See `Afterwards`."""
        now, event_id = self._node.clock.wall(), self._node.mint()
        body = recording_file_status(
            event_id=event_id,
            topic=self._node.identity.topic,
            time=grid_time(now),
            call_id=document.call_id,
            server_call_id=document.server_call_id,
            recording_id=document.recording_id,
            chunks=[self.pages.chunk(document, chunk) for chunk in document.chunks],
            started=grid_time(document.started),
            duration_ms=round(sum(chunk.milliseconds for chunk in document.chunks)),
            channel=document.channel,
            form=document.form,
            session_end_reason=document.end_reason,
            storage_error=document.storage_problem,
        )
        there = self._shelf.documents
        trace = self._node.traces.find(document.call_id)
        if trace is not None:
            more = {"eventId": event_id, "type": FILE_STATUS, "body": Body.of(body)}
            self._node.traces.note(trace, "callback", "RecordingFileStatusUpdated", more=more, recording=document.id)
        await self._tell(
            IncomingPost(document.call_id, event_id, body, lambda: document.id in there, event_type=FILE_STATUS)
        )

    async def hand_over(self, document: Document) -> None:
        """See `Afterwards`: what is in the storage of the app is not kept here; what cannot be put there is."""
        if not document.container_url:
            return
        document.storage_problem = ""
        try:
            for chunk in document.chunks:
                if chunk.gone:
                    continue
                name, form = f"{document.id}-{chunk.index}", document.form
                source = self._shelf.path(document, chunk)
                put, container = self._storage.put, document.container_url
                location = await put(container, f"{name}.{form}", source, TYPES[form])
                chunk.location = location
                await put(container, f"{name}.json", self.pages.metadata(document, chunk), "application/json")
                await self.recordings.handed(document, chunk)
        except OSError as error:
            document.storage_problem = str(error)
            log.error("the recording %s stays here: it could not be put into its storage: %s", document.id, error)
        for chunk in document.chunks:
            if not chunk.gone:
                chunk.location = ""
