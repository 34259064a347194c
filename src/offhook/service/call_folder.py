"""A call as files: `call.json` (its page without events) and `events.jsonl`, beside its sound and figures.

docs/trace.md. A folder may be anybody's, and a zip's contents too: everything that is read is checked for its types
and sizes. All of it blocks. DamagedCall names the file and what is wrong with it.
"""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from offhook.errors import DamagedCall
from offhook.service.trace import MAX_EVENTS, event_page

CALL: Final = "call.json"
EVENTS: Final = "events.jsonl"
MOST_CALL_BYTES: Final = 1 << 20
MOST_EVENTS_BYTES: Final = 32 << 20
MOST_EVENTS: Final = 4 * MAX_EVENTS
"""Lines of a file: more than a trace holds, since what is sent again later is added."""
_FARTHEST: Final = 1e11
"""Milliseconds, three years: no time of a call is farther from its start."""
_Ms = Annotated[float, msgspec.Meta(ge=-_FARTHEST, le=_FARTHEST)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


class _Row(msgspec.Struct, rename="camel", kw_only=True):
    pass


class _Caller(_Row):
    raw_id: str = ""
    display_name: str = ""


class _Callee(_Row):
    raw_id: str = ""


class _Result(_Row):
    code: int
    sub_code: int
    message: str


class _Audio(_Row):
    side: str
    begin_ms: _Ms
    rate: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]
    samples: _Count


class _Leg(_Row):
    leg_id: str
    number: int
    raw_id: str = ""
    display_name: str = ""
    kind: str = ""
    joined_ms: _Ms | None = None
    left_ms: _Ms | None = None
    audio: list[_Audio] = []


class _Header(_Row):
    call_id: str
    started_at: str
    server_call_id: str = ""
    correlation_id: str = ""
    call_connection_id: str | None = None
    call_connection_ids: list[str] = []
    direction: str = "incoming"
    from_: _Caller = msgspec.field(name="from", default_factory=_Caller)
    to: _Callee = msgspec.field(default_factory=_Callee)
    state: str = "ended"
    ended: bool = True
    answered_at: str | None = None
    ended_at: str | None = None
    ended_by: str | None = None
    result: _Result | None = None
    rate: int | None = None
    interrupted: bool = False
    imported: bool = False
    answered_ms: _Ms | None = None
    legs: list[_Leg] = []
    event_count: int = 0
    dropped_events: int = 0
    dropped_by_kind: dict[str, int] = {}


class _Kept(_Row):
    seq: _Count
    since_ms: _Ms
    kind: str
    name: str
    leg: str | None = None
    connection: str | None = None
    detail: dict[str, Any] = {}


_header = msgspec.json.Decoder(_Header)
_kept = msgspec.json.Decoder(_Kept)


def read_header(folder: Path) -> dict[str, Any]:
    """The page of a call without its events. DamagedCall; FileNotFoundError without one."""
    data = read_file(folder / CALL, MOST_CALL_BYTES)
    try:
        header = _header.decode(data)
        for moment in (header.started_at, header.answered_at, header.ended_at):
            if moment is not None:
                _check_moment(moment)
    except (ValueError, RecursionError) as error:
        raise DamagedCall(f"{CALL} is no description of a call: {error}") from None
    return dict(msgspec.to_builtins(header))


def read_events(folder: Path, *, strict: bool = False) -> list[dict[str, Any]]:
    """The events of a call as they were written down.

    A line that cannot be read is left out, as a node that was killed may have left the last one; `strict`: then
    DamagedCall.
    """
    try:
        data = read_file(folder / EVENTS, MOST_EVENTS_BYTES)
    except FileNotFoundError:
        return []
    made: list[dict[str, Any]] = []
    for number, line in enumerate(io.BytesIO(data), 1):
        if number > MOST_EVENTS:
            raise DamagedCall(f"{EVENTS} has more than {MOST_EVENTS} events")
        if not line.strip():
            continue
        try:
            kept = _kept.decode(line)
        except (ValueError, RecursionError) as error:
            if strict:
                raise DamagedCall(f"{EVENTS}, line {number}: {error}") from None
            continue
        made.append(msgspec.to_builtins(kept))
    return made


def mend_events(folder: Path) -> list[dict[str, Any]]:
    """The same of a call whose node was killed: nothing that cannot be read stays in its file. OSError as well."""
    made = read_events(folder)
    if made:
        write_file(folder / EVENTS, lines_of(made))
    return made


def page_of(header: dict[str, Any], events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The page of a call, of its header and its events as they were written down."""
    shown = [event_page(event, header["answeredMs"]) for event in events]
    return {**header, "eventCount": len(shown), "events": sorted(shown, key=lambda event: float(event["atMs"]))}


def lines_of(events: Iterable[dict[str, Any]]) -> bytes:
    """Events as lines of JSON."""
    return b"".join(encode(event) + b"\n" for event in events)


def encode(value: Any) -> bytes:
    """JSON, whatever is in it."""
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError):
        return json.dumps(value, default=str).encode()


def write_header(folder: Path, header: dict[str, Any]) -> None:
    """Write the page without events, wholly or not at all. OSError."""
    write_file(folder / CALL, encode(header))


def write_file(path: Path, data: bytes) -> None:
    """A file that only we may read, wholly or not at all. OSError."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def append_events(folder: Path, events: Sequence[dict[str, Any]]) -> None:
    """Add events, all or none of them, each on a line of its own whatever was left there. OSError."""
    path, data = folder / EVENTS, lines_of(events)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        size = os.fstat(fd).st_size
        if size and os.lseek(fd, size - 1, os.SEEK_SET) >= 0 and os.read(fd, 1) != b"\n":
            data = b"\n" + data
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
        except OSError:
            os.ftruncate(fd, size)
            raise
    finally:
        os.close(fd)


def size_of(folder: Path) -> int:
    """Bytes of the files of a folder."""
    try:
        with os.scandir(folder) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
    except OSError:
        return 0


def read_file(path: Path, most: int) -> bytes:
    """A regular file, whole. DamagedCall for one that is none or too long; FileNotFoundError."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedCall(f"{path.name} cannot be read: {error.strerror or error}") from None
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise DamagedCall(f"{path.name} is no ordinary file")
        try:
            data = file.read(most + 1)
        except OSError as error:
            raise DamagedCall(f"{path.name} cannot be read: {error.strerror or error}") from None
    if len(data) > most:
        raise DamagedCall(f"{path.name} has more than {most} bytes")
    return data


def _check_moment(text: str) -> None:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError(f"{text!r} names no time zone")
