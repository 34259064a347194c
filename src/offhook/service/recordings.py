"""Recordings: what the API does about them, the takes under way, and what happens with their files after the end.

One task moves every take on, five times a second: its disk work is done in one thread beside the loop, in turn. A disk
that is slow or full ends recordings, never a call (architecture.md, Bounds).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from offhook.audio.bridge import Member
from offhook.audio.recorder import Channels, Recorder
from offhook.calls.actions import Record
from offhook.calls.recording import Recording, RecordingPlan
from offhook.errors import CallError, WireError
from offhook.service.recording_files import Chunk, Document, Pause, Shelf
from offhook.service.recording_writer import MP3_EXTRA, Take, has_mp3
from offhook.wire.events import event_time
from offhook.wire.ids import read_server_call_id
from offhook.wire.recording import CHANNELS, RecordingStateResponse, StartCallRecordingRequest, recording_id

if TYPE_CHECKING:
    from offhook.calls.call import Call
    from offhook.service.live import LiveCall
    from offhook.service.node import Node
    from offhook.service.operations import Asked, CallControl

log = logging.getLogger("offhook.recordings")

WRITE_EVERY: Final = 0.2  # seconds
SWEEP_EVERY: Final = 600.0  # seconds
CLOSE_WITHIN: Final = 3.0  # seconds for the files that are open when the node stops


@dataclass(frozen=True, slots=True)
class RecordingRule:
    """Where recordings are kept (None: below the state directory), and for how long; 0 is no limit."""

    folder: Path | None = None
    keep_hours: float = 48.0
    most_megabytes: int = 0


class Recorders(Protocol):
    """What calls and the API need of recordings. CallError as in `calls.recording`, `recording_not_found`."""

    def start(self, request: StartCallRecordingRequest, api_version: str) -> RecordingStateResponse: ...
    def state(self, id: str) -> RecordingStateResponse: ...
    def stop(self, id: str) -> None: ...
    def pause(self, id: str) -> None: ...
    def resume(self, id: str) -> None: ...
    def perform(self, live: LiveCall, action: Record) -> None:
        """Carry out what a call wants of its recording."""
        ...


class Afterwards(Protocol):
    """What is done with a recording that is over and whose files are closed; each may last."""

    async def hand_over(self, document: Document) -> None:
        """Put its files where they belong."""

    async def tell(self, document: Document) -> None:
        """Tell apps of it, until all have taken that or it is of no use."""


@dataclass(slots=True, eq=False)
class _Running:
    """A take of a live call. It taps the bridge; `closing` names why it ends."""

    live: LiveCall
    machine: Recording
    take: Take
    document: Document
    recorder: Recorder
    channels: Channels | None
    hear: Callable[[Sequence[Member]], None]
    apps: tuple[str, ...]
    """Raw ids that apps have in the call."""
    broke: Callable[[_Running], None]
    """Takes note, inside a tick, that it can go on no more."""
    open: bool = False
    reported: bool = False
    closing: str = ""
    ended: float = 0.0
    """When; its document says so once its files are closed, for a document that has an end is not mended."""
    saved: bool = False
    people: int = 0
    """How many its document names: a channel of somebody whom nobody names is of no use after a kill."""

    def failed(self, error: Exception) -> None:
        """See `Tap`; it is called inside a tick."""
        self.document.problem = self.document.problem or str(error)
        self.broke(self)


class Recordings:
    """The `Recorders` of a node."""

    def __init__(self, node: Node, shelf: Shelf, after: Afterwards) -> None:
        """`after` is done for each recording that is over, and for those that an earlier run has left."""
        self.shelf = shelf
        self.failures = 0
        """Recordings that ended because they could not be written."""
        self._node = node
        self._after = after
        self._written = 0
        self._disk = ThreadPoolExecutor(1, "recordings")
        self._asked: dict[str, StartCallRecordingRequest] = {}
        self._running: dict[str, _Running] = {}
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writer: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def running(self) -> int:
        """Recordings under way, paused ones too."""
        return len(self._running)

    @property
    def bytes_written(self) -> int:
        """Bytes of sound, of recordings that are over too."""
        return self._written + sum(running.take.written for running in self._running.values())

    # life -------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Find what is there, and see to what an earlier run has not finished. OSError when there is no folder."""
        await self._on_disk(self.shelf.open, self._node.clock.wall())
        for document in list(self.shelf.documents.values()):
            if not document.told and self.shelf.alone:
                self._spawn(self._finish(document))
        self._spawn(self._sweep_on())

    async def close(self) -> None:
        """Finish every file, in a few seconds at most. What was not told of is told after the next start."""
        self._closing = True
        for running in self._running.values():
            running.closing = running.closing or "CallEnded"
        self._wake.set()
        if self._writer is not None:
            await asyncio.wait([self._writer], timeout=CLOSE_WITHIN)
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._disk.shutdown(wait=False, cancel_futures=True)
        self.shelf.close()

    # requests ---------------------------------------------------------------------------------------------------

    def start(self, request: StartCallRecordingRequest, api_version: str) -> RecordingStateResponse:
        """See `Recorders`."""
        if request.form == "mp3" and not has_mp3():
            raise CallError("invalid_argument", MP3_EXTRA)
        node, connection_id = self._node, self._connection(request)
        id = recording_id(node.mint(), node.mint())
        plan = RecordingPlan(
            id, event_time(node.clock.wall()), api_version, request.pause_on_start, request.state_callback_uri
        )
        self._asked[id] = request
        try:
            node.ask(connection_id, lambda call, now: call.start_recording(connection_id, plan, now))
        finally:
            self._asked.pop(id, None)
        return RecordingStateResponse(
            recording_id=id, recording_state="inactive" if request.pause_on_start else "active"
        )

    def state(self, id: str) -> RecordingStateResponse:
        """See `Recorders`."""
        return RecordingStateResponse(recording_id=id, recording_state=self._find(id).machine.state)

    def stop(self, id: str) -> None:
        """See `Recorders`."""
        self._ask(id, Recording.stop)

    def pause(self, id: str) -> None:
        """See `Recorders`."""
        self._ask(id, Recording.pause)

    def resume(self, id: str) -> None:
        """See `Recorders`."""
        self._ask(id, Recording.resume)

    def _ask(self, id: str, request: Callable[[Recording], None]) -> None:
        running = self._find(id)
        request(running.machine)
        running.live.settle()

    def _find(self, id: str) -> _Running:
        running = self._running.get(id)
        if running is None or running.machine.over:
            raise CallError("recording_not_found", "It is over, or never was.")
        return running

    def _connection(self, request: StartCallRecordingRequest) -> str:
        """The hold of an app on the call that is named: the first one where it is named by itself."""
        if request.call_connection_id:
            return request.call_connection_id
        call = self._located(request)
        if call is None or not call.connections:
            raise CallError("call_not_found", "No app is in a call that this callLocator names.")
        return next(iter(call.connections))

    def _located(self, request: StartCallRecordingRequest) -> Call | None:
        assert request.locator is not None
        if request.locator.kind == "groupCallLocator":
            live = self._node.groups.get(request.locator.id)
        else:
            try:
                live = self._node.calls.get(read_server_call_id(request.locator.id)[1])
            except WireError:
                return None
        return None if live is None else live.call

    # what calls want --------------------------------------------------------------------------------------------

    def perform(self, live: LiveCall, action: Record) -> None:
        """See `Recorders`."""
        if action.what == "open":
            self._open(live, action.recording_id)
            return
        running = self._running.get(action.recording_id)
        if running is None:
            return
        bridge, now, pauses = live.bridge, self._node.clock.wall(), running.document.pauses
        if action.what == "resume":
            bridge.tap(running)
            pauses[-1].milliseconds = (now - pauses[-1].at) * 1000
        else:
            bridge.untap(running)
        if action.what == "pause":
            pauses.append(Pause(at=now))
        elif action.what == "close":
            running.closing = action.reason
            running.ended = now
            self._wake.set()
        running.saved = running.saved and action.what == "close"
        reason = {"reason": action.reason} if action.reason else {}
        live.note("media", f"recording {action.what}", recording=running.document.id, **reason)

    def _open(self, live: LiveCall, id: str) -> None:
        request, machine, now = self._asked[id], live.call.recording, self._node.clock.wall()
        assert machine is not None
        apps = tuple(app.identity.raw_id for app in live.call.connections.values() if app.identity is not None)
        channels = Channels(CHANNELS, request.channels, apps) if request.channel == "unmixed" else None
        document = Document(
            id=self._node.mint(),
            recording_id=id,
            call_id=live.call.call_id,
            server_call_id=live.call.server_call_id,
            started=now,
            channel=request.channel,
            form=request.form,
            rate=live.bridge.rate,
            channels=1 if channels is None else channels.count,
            pauses=[Pause(at=now)] if request.pause_on_start else [],
            container_url="" if request.external is None else request.external.container_url,
        )
        take = Take(self.shelf.stem(document), document.form, document.rate, document.channels)
        recorder = Recorder(live.bridge.rate, channels, take.put)
        running = self._running[id] = _Running(
            live, machine, take, document, recorder, channels, recorder.hear, apps, self._broke
        )
        if not request.pause_on_start:
            live.bridge.tap(running)
        self._node.bridged(live)
        live.note("media", "recording open", recording=document.id, channel=document.channel, format=document.form)
        self._wake.set()
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write())

    # the files --------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        """Move every take on until there is none: all of them in one turn of the thread."""
        while self._running:
            self._wake.clear()
            batch = list(self._running.values())
            for running in batch:
                if not running.saved or len(running.recorder.people) != running.people:
                    running.saved = False
                    self._describe(running)
            await self._on_disk(self._move, batch)
            for running in batch:
                self._report(running)
            await self._end([running for running in batch if running.closing])
            if self._running:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), WRITE_EVERY)

    def _move(self, batch: Sequence[_Running]) -> None:
        """One round of each: open it, or write what waits. In the thread."""
        for running in batch:
            document = running.document
            if running.closing == "failed" and not running.open:
                continue  # StartRecordingFailed has said that there is no file
            try:
                if not running.saved:
                    running.saved = True
                    self.shelf.save(document)
                if not running.open:
                    running.take.open()
                    running.open = True
                running.take.write()
            except Exception as error:
                if not isinstance(error, OSError):
                    log.exception("the recording %s failed", document.id)
                document.problem = document.problem or f"{getattr(error, 'strerror', None) or error}"

    def _broke(self, running: _Running) -> None:
        """Its call hears of it after the tick: the thread may hang, and with it the task that would tell."""
        clock = self._node.clock
        clock.call_at(clock.monotonic(), lambda: self._report(running))

    def _report(self, running: _Running) -> None:
        """Tell its call how that went."""
        document, machine = running.document, running.machine
        try:
            if document.problem and not running.closing:
                self.failures += 1
                log.error("the recording %s ends, and its call goes on: %s", document.id, document.problem)
                machine.failed(document.problem)
                running.live.settle()
            elif running.open and not running.reported:
                running.reported = True
                machine.opened()
                running.live.settle()
        except Exception:
            # A mistake of ours with one recording must not stop the others.
            log.exception("the recording %s is given up", document.id)
            running.live.bridge.untap(running)
            running.closing = running.closing or "failed"

    async def _end(self, ended: Sequence[_Running]) -> None:
        """These are over: close their files, and keep their documents."""
        if not ended:
            return
        await self._on_disk(self._close, ended)
        documents = []
        for running in ended:
            document = running.document
            document.ended = running.ended or self._node.clock.wall()
            document.end_reason = "CallEnded" if running.closing == "failed" else running.closing
            self._describe(running)
            self._written += running.take.written
            del self._running[document.recording_id]
            self.shelf.documents[document.id] = document
            documents.append(document)
        await self._on_disk(self._settle, documents)
        if not self._closing:
            for document in documents:
                if document.chunks:
                    self._spawn(self._finish(document))

    def _close(self, ended: Sequence[_Running]) -> None:
        """Close their files. In the thread."""
        for running in ended:
            try:
                running.take.close()
            except Exception as error:
                log.error("the end of the recording %s is lost: %s", running.document.id, error)
                running.document.problem = running.document.problem or str(error)

    def _settle(self, documents: Sequence[Document]) -> None:
        """Write them as they are now; those of no further use go. In the thread; errors are logged."""
        for document in documents:
            needed = document.here or (document.chunks and not document.told)
            try:
                (self.shelf.keep if needed else self.shelf.forget)(document)
            except OSError as error:
                log.error("the document of the recording %s cannot be written: %s", document.id, error)

    def _describe(self, running: _Running) -> None:
        """Bring the document up to what the take and its recorder know."""
        document, take, length = running.document, running.take, 0.0
        document.chunks = []
        for piece in take.pieces:
            milliseconds = piece.samples * 1000 / take.rate
            document.chunks.append(
                Chunk(
                    index=piece.index,
                    started=document.moment(length),
                    milliseconds=milliseconds,
                    size=piece.size,
                    end_reason=piece.end_reason,
                )
            )
            length += milliseconds
        people, channels = running.recorder.people, running.channels
        running.people = len(people)
        known = {} if channels is None else channels.known
        document.participants = [(raw_id, known.get(raw_id)) for raw_id in people]
        app = None if channels is None else channels.of(None)
        document.participants += [(raw_id, app) for raw_id in running.apps if raw_id not in people]

    async def _finish(self, document: Document) -> None:
        """Its files go where they belong, and it counts as old one day; apps are told for as long as they need."""
        if not document.settled:
            try:
                await self._after.hand_over(document)
            except Exception:
                log.exception("the recording %s could not be put where it belongs", document.id)
            document.settled, document.container_url = True, ""
            await self._on_disk(self._settle, [document])
            await self._sweep()
        await self._after.tell(document)
        document.told = True
        await self._on_disk(self._settle, [document])

    async def handed(self, document: Document, chunk: Chunk) -> None:
        """A file is in the storage of the app. It is deleted here at the latest with its recording."""
        try:
            await self._on_disk(self.shelf.handed, document, chunk)
        except OSError as error:
            log.error("a file of the recording %s is in its storage, and stays here: %s", document.id, error)

    async def remove(self, document: Document, chunk: Chunk) -> None:
        """Delete a file. OSError."""
        await self._on_disk(self.shelf.remove, document, chunk)

    async def _sweep_on(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            await self._sweep()

    async def _sweep(self) -> None:
        await self._on_disk(self.shelf.sweep, self._node.clock.wall())

    # inside -----------------------------------------------------------------------------------------------------

    async def _on_disk(self, work: Callable[..., Any], *args: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(self._disk, work, *args)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


# what the table of operations runs ----------------------------------------------------------------------------------


def start(control: CallControl, asked: Asked, body: StartCallRecordingRequest) -> RecordingStateResponse:
    """Record a call."""
    return _of(control).start(body, asked.api_version)


def state(control: CallControl, asked: Asked) -> RecordingStateResponse:
    """Whether it records."""
    return _of(control).state(asked.ids["recordingId"])


def stop(control: CallControl, asked: Asked) -> None:
    """End it."""
    _of(control).stop(asked.ids["recordingId"])


def pause(control: CallControl, asked: Asked) -> None:
    """Record nothing for a while."""
    _of(control).pause(asked.ids["recordingId"])


def resume(control: CallControl, asked: Asked) -> None:
    """Record again."""
    _of(control).resume(asked.ids["recordingId"])


def _of(control: CallControl) -> Recorders:
    if control.recordings is None:
        raise CallError("not_supported", "This node keeps no recordings.")
    return control.recordings
