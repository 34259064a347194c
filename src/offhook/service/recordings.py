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


Finished = Callable[[Document], Any]
"""Awaited when a recording is over and its files are closed."""


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
    open: bool = False
    closing: str = ""
    saved: bool = True

    def failed(self, error: Exception) -> None:
        """See `Tap`; it is called inside a tick."""
        self.document.problem = self.document.problem or str(error)


class Recordings:
    """The `Recorders` of a node."""

    def __init__(self, node: Node, shelf: Shelf, finished: Finished) -> None:
        """`finished` is awaited for each recording that is over, and for those that an earlier run has left."""
        self.shelf = shelf
        self.bytes_written = 0
        self.failures = 0
        """Recordings that ended because they could not be written."""
        self._node = node
        self._finished = finished
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

    # life -------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Find what is there, and see to what an earlier run has not finished. OSError when there is no folder."""
        await self._on_disk(self.shelf.open, self._node.clock.wall())
        for document in list(self.shelf.documents.values()):
            if not document.told and self.shelf.alone:
                self._spawn(self._finish(document))
        self._spawn(self._sweeps())

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
            running.document.ended = now
            self._wake.set()
        running.saved = False
        reason = {"reason": action.reason} if action.reason else {}
        live.note("recording", action.what, recording=running.document.id, **reason)

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
        running = self._running[id] = _Running(live, machine, take, document, recorder, channels, recorder.hear, apps)
        if not request.pause_on_start:
            live.bridge.tap(running)
        self._node.bridged(live)
        live.note("recording", "open", recording=document.id, channel=document.channel, format=document.form)
        self._wake.set()
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write())

    # the files --------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        """Move every take on until there is none."""
        while self._running:
            self._wake.clear()
            for id, running in list(self._running.items()):
                try:
                    await self._move(id, running)
                except Exception:
                    # A mistake of ours with one recording must not stop the others.
                    log.exception("the recording %s is given up", running.document.id)
                    running.live.bridge.untap(running)
                    self._running.pop(id, None)
            if self._running:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), WRITE_EVERY)

    async def _move(self, id: str, running: _Running) -> None:
        """One round of a take: open it, or write what waits; close it when it is over."""
        before, opened, document = running.take.written, running.open, running.document
        try:
            if not opened:
                await self._on_disk(self._begin, running)
                running.open = True
            elif not running.saved:
                running.saved = True
                self._describe(running)
                await self._on_disk(self.shelf.save, document)
            await self._on_disk(running.take.write)
        except Exception as error:
            if not isinstance(error, OSError):
                log.exception("the recording %s failed", document.id)
            document.problem = document.problem or f"{getattr(error, 'strerror', None) or error}"
        self.bytes_written += running.take.written - before
        if document.problem and not running.closing:
            self.failures += 1
            log.error("the recording %s ends, and its call goes on: %s", document.id, document.problem)
            running.machine.failed(document.problem)
            running.live.settle()
        elif running.open and not opened:
            running.machine.opened()
            running.live.settle()
        if running.closing:
            await self._end(id, running)

    def _begin(self, running: _Running) -> None:
        self.shelf.save(running.document)
        running.take.open()

    async def _end(self, id: str, running: _Running) -> None:
        document, take = running.document, running.take
        before = take.written
        try:
            await self._on_disk(take.close)
        except Exception as error:
            log.error("the end of the recording %s is lost: %s", document.id, error)
            document.problem = document.problem or str(error)
        self.bytes_written += take.written - before
        document.ended = document.ended or self._node.clock.wall()
        document.end_reason = "CallEnded" if running.closing == "failed" else running.closing
        self._describe(running)
        del self._running[id]
        if not document.chunks:
            await self._quietly(self._forget, document)
            return
        self.shelf.documents[document.id] = document
        await self._quietly(self.shelf.save, document)
        if not self._closing:
            self._spawn(self._finish(document))

    def _describe(self, running: _Running) -> None:
        """Bring the document up to what the take and its recorder know."""
        document, take, started = running.document, running.take, running.document.started
        document.chunks = []
        for piece in take.pieces:
            milliseconds = piece.samples * 1000 / take.rate
            document.chunks.append(
                Chunk(
                    index=piece.index,
                    started=started,
                    milliseconds=milliseconds,
                    size=piece.size,
                    end_reason=piece.end_reason,
                )
            )
            started += milliseconds / 1000
        people, channels = running.recorder.people, running.channels
        known = {} if channels is None else channels.known
        document.participants = [(raw_id, known.get(raw_id)) for raw_id in people]
        app = None if channels is None else channels.of(None)
        document.participants += [(raw_id, app) for raw_id in running.apps if raw_id not in people]

    def _forget(self, document: Document) -> None:
        self.shelf.documents.pop(document.id, None)
        (self.shelf.folder / f"{document.id}.json").unlink(missing_ok=True)

    async def _finish(self, document: Document) -> None:
        """Its files go where they belong, and apps are told; then it counts as old one day."""
        try:
            await self._finished(document)
        except Exception:
            log.exception("the recording %s could not be told of", document.id)
        document.told, document.container_url = True, ""
        if document.here:
            await self._quietly(self.shelf.save, document)
        else:
            await self._quietly(self._forget, document)
        await self._on_disk(self.shelf.sweep, self._node.clock.wall())

    async def remove(self, document: Document, chunk: Chunk) -> None:
        """Delete a file. OSError."""
        await self._on_disk(self.shelf.remove, document, chunk)

    async def _sweeps(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            await self._on_disk(self.shelf.sweep, self._node.clock.wall())

    # inside -----------------------------------------------------------------------------------------------------

    async def _on_disk(self, work: Callable[..., Any], *args: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(self._disk, work, *args)

    async def _quietly(self, work: Callable[..., Any], *args: Any) -> None:
        try:
            await self._on_disk(work, *args)
        except OSError as error:
            log.error("a document of a recording cannot be written: %s", error)

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
