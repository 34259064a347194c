"""Calls that outlive their node: a folder each, written while they run, found again after a start (docs/trace.md).

What is new in traces is written about once a second by a thread, so a node that is killed leaves calls that can be
looked at. A disk that is full or read-only never hurts a call: it is told once, and what was not written is tried
again with the next batch, for as long as its call is in memory.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import logging
import re
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from offhook.errors import DamagedCall
from offhook.service.call_folder import (
    CALL,
    append_events,
    encode,
    mend_events,
    page_of,
    read_events,
    read_header,
    size_of,
    write_header,
)
from offhook.service.folder_lock import FolderLock
from offhook.service.trace import CallTrace, Traces, event_page, iso, row_of, sought

log = logging.getLogger("offhook.history")

WRITE_EVERY: Final = 1.0
SWEEP_EVERY: Final = 3600.0
CLOSE_WITHIN: Final = 3.0
MOST_CALLS: Final = 20_000
"""Calls that are known at once, 1 kB each; above it the oldest is deleted."""
_SETTLES: Final = 10.0  # seconds after the end of a call in which its folder still grows
_ID: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,63}")

Result = TypeVar("Result")
Audio = Callable[[Path], dict[str, list[dict[str, Any]]]]


@dataclass(frozen=True, slots=True)
class HistoryRule:
    """How long calls are kept. `days` 0: none is; `megabytes` 0: as many as there is room for."""

    days: float = 7.0
    megabytes: int = 2048


@dataclass(slots=True, eq=False)
class Kept:
    """A call that is over and on disk. Times are Unix seconds; `data`: its row as JSON; `words`: see `CallTrace`."""

    call_id: str
    began_wall: float
    ended_wall: float
    words: str
    data: bytes
    size: int
    connections: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        """It is over."""
        return True

    def row(self) -> dict[str, Any]:
        """Its row."""
        return dict(msgspec.json.decode(self.data))


@dataclass(slots=True)
class _Progress:
    """What of a trace is on disk."""

    events: int = 0
    header: bytes = b""


@dataclass(slots=True)
class _Index:
    """Kept calls. Changed in the thread, read on the loop: each step is one that the interpreter does not divide."""

    calls: dict[str, Kept] = field(default_factory=dict)
    connections: dict[str, str] = field(default_factory=dict)
    order: list[Kept] = field(default_factory=list)
    size: int = 0

    def put(self, kept: Kept) -> None:
        self.drop(kept.call_id)
        self.calls[kept.call_id] = kept
        for connection in kept.connections:
            self.connections[connection] = kept.call_id
        bisect.insort(self.order, kept, key=lambda one: one.began_wall)
        self.size += kept.size

    def drop(self, call_id: str) -> None:
        kept = self.calls.pop(call_id, None)
        if kept is None:
            return
        for connection in kept.connections:
            self.connections.pop(connection, None)
        self.order.remove(kept)
        self.size -= kept.size


class History:
    """The kept calls of a node. Methods belong to the loop but for what says that it runs in the thread."""

    def __init__(self, root: Path, rule: HistoryRule, traces: Traces, wall: Callable[[], float]) -> None:
        """`root`: the folder of the calls; `wall`: Unix seconds."""
        self.root = root
        self.rule = rule
        self.audio: Audio = lambda folder: {}
        """What of a call's sound is in its folder, by leg, where its node could not say it; asked in the thread."""
        self._traces = traces
        self._wall = wall
        self._index = _Index()
        self._dirty: dict[str, CallTrace] = {}
        self._progress: dict[str, _Progress] = {}
        self._fresh: dict[str, float] = {}
        self._thread = ThreadPoolExecutor(1, "history")
        self._timers: list[asyncio.TimerHandle] = []
        self._busy = self._closed = False
        self._troubled = False
        self._lock = FolderLock(root)
        self._alone = True

    # life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to write, and look in the background for what earlier nodes have left."""
        if not self.rule.days:
            return
        loop = asyncio.get_running_loop()
        self._traces.changed = self._changed
        loop.run_in_executor(self._thread, self._open)
        self._timers = [loop.call_later(WRITE_EVERY, self._write_due), loop.call_later(SWEEP_EVERY, self._sweep_due)]

    async def close(self) -> None:
        """Write what there is to write, for three seconds at most. Closing twice is fine."""
        if self._closed:
            return
        self._closed = True
        for timer in self._timers:
            timer.cancel()
        rest, self._dirty = list(self._dirty.values()), {}
        end = time.monotonic() + CLOSE_WITHIN
        with contextlib.suppress(TimeoutError):
            while rest:
                writing = self.run(lambda batch=rest: self._write(batch))  # type: ignore[misc]
                rest = (await asyncio.wait_for(writing, end - time.monotonic()))[:-1]
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._lock.release()

    def run(self, work: Callable[[], Result]) -> asyncio.Future[Result]:
        """Do something that blocks in the thread, after what is queued there."""
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    # what is kept -----------------------------------------------------------------------------------------------

    def kept(self) -> Iterator[Kept]:
        """Every kept call, newest first."""
        return reversed(list(self._index.order))

    def find(self, any_id: str) -> str | None:
        """The call id of a kept call, by call id or call connection id."""
        if any_id in self._index.calls:
            return any_id
        return self._index.connections.get(any_id)

    def known(self, any_id: str) -> Kept | None:
        """A kept call, by any of its ids."""
        return self._index.calls.get(self.find(any_id) or "")

    def folder(self, call_id: str) -> Path:
        """Where a call is, or will be."""
        return self.root / call_id

    async def page(self, call_id: str) -> dict[str, Any] | None:
        """The page of a kept call; None when it is gone or damaged, which is logged."""
        return await self.run(lambda: self._read(call_id))

    async def written(self, trace: CallTrace) -> bool:
        """Write what is new of a call now; whether its folder is whole then."""
        if not self.rule.days:
            return False
        return await self.run(lambda: self._write_one(trace))

    async def add(self, page: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
        """Add an event to a call that is no longer in memory, and to its page; gives it back as the page shows it.

        A disk that does not take it is logged.
        """
        folder = self.folder(page["callId"])

        shown = event_page(event, page["answeredMs"])
        page["events"].append(shown)
        page["eventCount"] = count = page["eventCount"] + 1

        def append() -> None:
            try:
                append_events(folder, [event])
                header = {**read_header(folder), "eventCount": count}
                write_header(folder, header)
                self._keep(header)
            except FileNotFoundError:
                pass  # it was deleted meanwhile
            except (OSError, DamagedCall) as error:
                self._complain(error)

        await self.run(append)
        return shown

    # writing ----------------------------------------------------------------------------------------------------

    def _changed(self, trace: CallTrace) -> None:
        self._dirty[trace.call_id] = trace

    def _write_due(self) -> None:
        loop = asyncio.get_running_loop()
        self._timers[0] = loop.call_later(WRITE_EVERY, self._write_due)
        if self._busy or not (self._dirty or self._fresh):
            return  # what the disk is too slow for goes with the next batch
        batch, self._dirty = list(self._dirty.values()), {}
        self._busy = True
        self.run(lambda: self._write(batch)).add_done_callback(self._wrote)

    def _wrote(self, done: asyncio.Future[list[CallTrace]]) -> None:
        self._busy = False
        if done.cancelled():
            return
        if done.exception() is not None:
            log.error("the history could not be written", exc_info=done.exception())
            return
        for trace in done.result():
            if self._traces.find(trace.call_id) is trace:
                self._dirty.setdefault(trace.call_id, trace)
            else:
                self._progress.pop(trace.call_id, None)

    def _sweep_due(self) -> None:
        self._timers[1] = asyncio.get_running_loop().call_later(SWEEP_EVERY, self._sweep_due)
        self.run(self._sweep)

    # in the thread ----------------------------------------------------------------------------------------------

    def _write(self, batch: list[CallTrace]) -> list[CallTrace]:
        """Gives back what could not be written. A disk that refuses one call is not asked for the others at once."""
        failed: list[CallTrace] = []
        for place, trace in enumerate(batch):
            if not self._write_one(trace):
                failed = [*batch[place + 1 :], trace]
                break
        ended = any(trace.ended for trace in batch)
        now = time.monotonic()
        for call_id in [call_id for call_id, at in self._fresh.items() if now - at > _SETTLES]:
            del self._fresh[call_id]
            self._progress.pop(call_id, None)
            self._measure(call_id)
        if ended:
            self._sweep()
        return failed

    def _write_one(self, trace: CallTrace) -> bool:
        folder = self.folder(trace.call_id)
        progress = self._progress.get(trace.call_id)
        if progress is None or not folder.exists():
            if trace.ended and (folder / CALL).exists():  # long over, and something more was noted
                progress = _Progress(len(_read_quietly(folder)))
            else:
                progress = _Progress()
            self._progress[trace.call_id] = progress
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            events = trace.events[progress.events :]
            if events:
                append_events(folder, [trace.kept(event) for event in events])
                progress.events += len(events)
            header = trace.header()
            data = encode(header if trace.ended else {**header, "eventCount": 0})
            if data != progress.header:
                write_header(folder, header)
                progress.header = data
        except OSError as error:
            self._complain(error)
            return False
        self._troubled = False
        if trace.ended:
            self._keep(header)
            self._fresh.setdefault(trace.call_id, time.monotonic())
        return True

    def _keep(self, header: dict[str, Any]) -> None:
        row = row_of(header)
        ended = header["endedAt"] or header["startedAt"]
        self._index.put(
            Kept(
                header["callId"],
                datetime.fromisoformat(header["startedAt"]).timestamp(),
                datetime.fromisoformat(ended).timestamp(),
                sought(row),
                encode(row),
                size_of(self.folder(header["callId"])),
                tuple(header["callConnectionIds"]),
            )
        )

    def _measure(self, call_id: str) -> None:
        kept = self._index.calls.get(call_id)
        if kept is None:
            return
        size = size_of(self.folder(call_id))
        self._index.size += size - kept.size
        kept.size = size

    def _read(self, call_id: str) -> dict[str, Any] | None:
        folder = self.folder(call_id)
        try:
            return page_of(read_header(folder), read_events(folder))
        except FileNotFoundError:
            return None
        except DamagedCall as error:
            log.warning("the call %s cannot be read: %s", call_id, error)
            return None

    def _open(self) -> None:
        """Find the calls that earlier nodes have left; finish those that were live when one was killed."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._alone = self._lock.share()
            folders = [path for path in self.root.iterdir() if _ID.fullmatch(path.name) and not path.is_symlink()]
        except OSError as error:
            self._complain(error)
            return
        for folder in folders:
            if self._closed:
                return  # what live calls have to say at the end comes first
            if not folder.is_dir() or folder.name in self._progress:
                continue
            try:
                self._found(folder)
            except FileNotFoundError:
                self._orphan(folder, f"it has no {CALL}")
            except OSError as error:
                self._complain(error)
            except (DamagedCall, ValueError, ArithmeticError) as error:
                self._orphan(folder, str(error))
        self._sweep()

    def _found(self, folder: Path) -> None:
        header = read_header(folder)
        if header["callId"] != folder.name:
            raise DamagedCall(f"{CALL} is of the call {header['callId']!r}")
        if not header["ended"]:
            if not self._alone or self._traces.find(folder.name) is not None:
                return  # another node has it
            self._interrupted(folder, header)
        self._keep(header)
        time.sleep(0)  # a node that has just started has calls to serve

    def _interrupted(self, folder: Path, header: dict[str, Any]) -> None:
        """A call that its node did not see the end of: it ended with the last that is known of it."""
        events = mend_events(folder)
        _add_audio(header, self.audio(folder))
        last = max((event["sinceMs"] for event in events), default=0.0)
        last = max(last, (header["answeredMs"] or 0.0) + _sound_ends(header))
        began = datetime.fromisoformat(header["startedAt"]).timestamp()
        header |= {
            "state": "ended",
            "ended": True,
            "eventCount": len(events),
            "interrupted": True,
            "endedAt": iso(began + last / 1000),
            "endedBy": "service",
            "result": {"code": 500, "subCode": 0, "message": "The node ended while this call was live."},
        }
        write_header(folder, header)
        log.warning("the call %s was cut off when its node ended", folder.name)

    def _orphan(self, folder: Path, why: str) -> None:
        """A folder that is of no use: it is left alone until it is too old."""
        try:
            age = self._wall() - folder.stat().st_mtime
            if age > self.rule.days * 86400:
                shutil.rmtree(folder)
            else:
                log.warning("the call in %s is left out: %s", folder, why)
        except OSError as error:
            self._complain(error)

    def _sweep(self) -> None:
        """Delete what is too old, then the oldest while there is too much."""
        oldest, most = self._wall() - self.rule.days * 86400, self.rule.megabytes << 20
        for kept in list(self._index.order):
            too_much = (most and self._index.size > most) or len(self._index.order) > MOST_CALLS
            if self._closed:
                return
            if kept.ended_wall >= oldest and not too_much:
                continue
            self._index.drop(kept.call_id)
            self._fresh.pop(kept.call_id, None)
            self._progress.pop(kept.call_id, None)
            try:
                shutil.rmtree(self.folder(kept.call_id))
            except FileNotFoundError:
                pass
            except OSError as error:
                self._complain(error)
            time.sleep(0)

    def _complain(self, error: OSError | DamagedCall) -> None:
        if not self._troubled:
            self._troubled = True
            log.warning("calls are not kept in %s: %s", self.root, getattr(error, "strerror", None) or error)


def _add_audio(header: dict[str, Any], audio: dict[str, list[dict[str, Any]]]) -> None:
    for leg in header["legs"]:
        leg["audio"] = audio.get(leg["legId"], leg["audio"])


def _sound_ends(header: dict[str, Any]) -> float:
    """Milliseconds from the answer to the last sound that was kept; 0 where there is none."""
    tracks = [track for leg in header["legs"] for track in leg["audio"]]
    return max((track["beginMs"] + track["samples"] * 1000 / track["rate"] for track in tracks), default=0.0)


def _read_quietly(folder: Path) -> list[dict[str, Any]]:
    try:
        return read_events(folder)
    except (DamagedCall, OSError):
        return []
