"""A call as one file: the zip of its folder, written and read (docs/trace.md).

A file may come from anybody. Nothing of it is written under a name that it chooses, what it claims of its sizes is
checked before and while it is read, and whatever is wrong is one DamagedCall that says what.
"""

from __future__ import annotations

import asyncio
import errno
import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from offhook.errors import CallError, DamagedCall
from offhook.service.call_figures import figures_of
from offhook.service.call_folder import (
    CALL,
    EVENTS,
    MOST_CALL_BYTES,
    MOST_EVENTS_BYTES,
    encode,
    lines_of,
    page_of,
    read_events,
    read_file,
    read_header,
)
from offhook.service.call_sound import read_folder
from offhook.service.trace import row_of, sought

REPORT: Final = "report.json"
README: Final = "README.txt"
MOST_ENTRIES: Final = 4096
MOST_PACKED: Final = 64 << 20
"""Bytes that all compressed entries together may become; ours are not compressed but for text."""
MOST_JSON: Final = 16 << 20
_SOUND: Final = re.compile(r"[0-9]{2,4}(?:[a-z]|-[0-9]{1,4})?-(?:said|heard)\.wav")
_LIMITS: Final = {
    CALL: MOST_CALL_BYTES,
    EVENTS: MOST_EVENTS_BYTES,
    REPORT: MOST_JSON,
    "series.json": MOST_JSON,
    "tracks.json": 1 << 20,
    README: 1 << 16,
}
"""The files of a call beside its sound, and the most bytes of each."""
_END: Final = b"PK\x05\x06"
_PIECE: Final = 1 << 20

_TEXT: Final = """\
A call of Offhook, as its node saw it: docs/trace.md of the project explains every field.

  call.json      who called whom, when it began, was answered and ended, and how; who took part
  events.jsonl   everything that happened, one JSON object a line, in the order in which it was noted:
                 seq, sinceMs (milliseconds from the start of the call; from the answer: less answeredMs of call.json),
                 kind, name, leg, connection, detail
  NN-said.wav    what leg NN of call.json said, and
  NN-heard.wav   what it heard (NNb, NNc ...: after it came back); PCM, 16 bits, mono
  tracks.json    where on the axis of time each of these begins
  series.json    depths of buffers and losses over time
  report.json    the figures of the call, each with how it was measured

What is not there was not kept. Tokens, signatures, passwords and keys of media are not in it; what people said, their
numbers, the keys that they pressed (PINs too), and the bodies of requests and callbacks are.

To look at it:  offhook trace show FILE.zip     and with the page of the console:  offhook trace show FILE.zip --open
"""


def pack(path: Path, page: dict[str, Any], folder: Path | None, report: dict[str, Any] | None) -> None:
    """Write the zip of a call. `folder`: where its sound and series are, if anywhere. OSError."""
    header = {name: value for name, value in page.items() if name != "events"}
    answered = header["answeredMs"] or 0.0
    events = [
        {**event, "sinceMs": round(event["atMs"] + answered, 3)}
        for event in sorted(page["events"], key=lambda event: int(event["seq"]))
    ]
    for event in events:
        del event["atMs"]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(README, _TEXT)
        archive.writestr(CALL, encode(header))
        archive.writestr(EVENTS, lines_of(events))
        if report is not None:
            archive.writestr(REPORT, encode(report))
        for file in sorted(folder.iterdir()) if folder is not None and folder.is_dir() else ():
            if file.is_symlink() or not file.is_file():
                continue
            if _SOUND.fullmatch(file.name):
                archive.write(file, file.name, zipfile.ZIP_STORED)
            elif file.name in ("series.json", "tracks.json"):
                archive.write(file, file.name)


def packed(page: dict[str, Any], folder: Path | None, report: dict[str, Any] | None) -> Path:
    """The same in a new temporary file. OSError."""
    with tempfile.NamedTemporaryFile(prefix="offhook-", suffix=".zip", delete=False) as file:
        path = Path(file.name)
    try:
        pack(path, page, folder, report)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def unpack(path: Path, into: Path) -> None:
    """Put the files of a zip into a folder. DamagedCall says why it cannot be; OSError for the disk."""
    try:
        _check_end(path)
        with zipfile.ZipFile(path) as archive:
            chosen = _chosen(archive.infolist())
            if CALL not in chosen:
                raise DamagedCall(f"there is no {CALL} in it: is it a call that was exported?")
            room = {True: path.stat().st_size, False: MOST_PACKED}  # what is stored is no longer than the zip itself
            for name, entry in chosen.items():
                stored = entry.compress_type == zipfile.ZIP_STORED
                with archive.open(entry) as source, (into / name).open("xb") as target:
                    room[stored] -= _copy(source, target, min(_LIMITS.get(name, room[stored]), room[stored]), name)
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError, RuntimeError) as error:
        raise DamagedCall(f"it is no zip that can be read: {error}") from None
    except (UnicodeError, ValueError, OverflowError) as error:
        raise DamagedCall(f"it is no zip that can be read: {error}") from None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise DamagedCall("it is no zip that can be read: an entry begins before the file does") from None


def _check_end(path: Path) -> None:
    """Look at the end of the zip before its directory is read: how many entries it claims (APPNOTE §4.3.16)."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 66_000))
        tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < 22:
        raise DamagedCall("it is no zip")
    entries, directory = struct.unpack_from("<HI", tail, at + 10)
    if entries > MOST_ENTRIES or directory > MOST_ENTRIES * 512:
        raise DamagedCall(f"it has more than {MOST_ENTRIES} entries")


def _chosen(entries: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """The entries that are files of a call, by the names that they are written under. Others are left alone.

    They may lie in one folder of the zip, as when somebody packs one by hand. A folder is no path: nothing else of an
    entry's name is used.
    """
    chosen: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        folder, _, name = entry.filename.rpartition("/")
        if name not in _LIMITS and not _SOUND.fullmatch(name):
            continue
        if "/" in folder or folder in (".", "..", "__MACOSX") or "\\" in folder:
            raise DamagedCall(f"an entry of it has the path {entry.filename[:80]!a}")
        if name in chosen:
            raise DamagedCall(f"it has two entries named {name}")
        if (entry.external_attr >> 16) & 0o170000 not in (0, 0o100000):
            raise DamagedCall(f"{name} in it is no ordinary file")
        if entry.flag_bits & 1:
            raise DamagedCall(f"{name} in it is encrypted")
        chosen[name] = entry
    return chosen


def _copy(source: IO[bytes], target: IO[bytes], most: int, name: str) -> int:
    size = 0
    while piece := source.read(_PIECE):
        size += len(piece)
        if size > most:
            raise DamagedCall(f"{name} in it is too large: more than {most} bytes; unpack it and show the folder")
        target.write(piece)
    return size


class ArchiveBook:
    """One call of a file or a folder, with the methods of `CallBook`; close it in the end.

    Made where it may block. DamagedCall says what is wrong with the file, OSError that it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        folder = path
        if not path.is_dir():
            if not path.exists():
                raise FileNotFoundError(2, "there is no such file")
            self._temporary = tempfile.TemporaryDirectory(prefix="offhook-trace-")
            folder = Path(self._temporary.name)
        try:
            if folder is not path:
                unpack(path, folder)
            self._read(folder)
            self._sound = read_folder(folder)
            self._figures = self._report(folder)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Delete what was unpacked."""
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    async def open(self, any_id: str) -> bool:
        """See `CallBook`."""
        return self._is(any_id)

    def rows(
        self, *, state: str | None = None, query: str = "", limit: int = 100, before: str = ""
    ) -> list[dict[str, Any]]:
        """See `CallBook`."""
        row = row_of(self.call)
        wanted = all(word in sought(row) for word in query.casefold().split())
        return [row] if wanted and limit > 0 and not before and state in (None, "ended") else []

    def page(self, any_id: str) -> dict[str, Any] | None:
        """See `CallBook`."""
        return {**self.call, "events": list(self.call["events"])} if self._is(any_id) else None

    def row(self, any_id: str) -> dict[str, Any] | None:
        """See `CallBook`."""
        return row_of(self.call) if self._is(any_id) else None

    def header(self, any_id: str) -> dict[str, Any] | None:
        """See `CallBook`."""
        return {name: value for name, value in self.call.items() if name != "events"} if self._is(any_id) else None

    def events(self, any_id: str, after: int) -> list[dict[str, Any]] | None:
        """See `CallBook`."""
        if not self._is(any_id):
            return None
        return sorted((event for event in self.call["events"] if event["seq"] > after), key=lambda event: event["seq"])

    def listen(self, heard: Callable[[str, dict[str, Any] | None], None]) -> Callable[[], None]:
        """See `CallBook`: nothing happens any more."""
        return lambda: None

    async def figures(self, any_id: str) -> dict[str, Any] | None:
        """See `CallBook`."""
        return self._figures if self._is(any_id) else None

    async def peaks(
        self, any_id: str, leg: str, side: str, from_ms: float, to_ms: float, bins: int
    ) -> dict[str, Any] | None:
        """See `CallBook`."""
        return self._sound.peaks(leg, side, from_ms, to_ms, bins) if self._sound and self._is(any_id) else None

    async def sound(self, any_id: str, leg: str, side: str, from_ms: float, to_ms: float) -> tuple[int, bytes] | None:
        """See `CallBook`."""
        return self._sound.pcm(leg, side, from_ms, to_ms) if self._sound and self._is(any_id) else None

    async def series(self, any_id: str) -> dict[str, Any] | None:
        """See `CallBook`."""
        return self._sound.series() if self._sound and self._is(any_id) else None

    async def archive(self, any_id: str) -> Path | None:
        """See `CallBook`: packed anew."""
        if not self._is(any_id):
            return None
        return await asyncio.to_thread(packed, self.call, self._folder, self._figures)

    async def resend(self, any_id: str, seq: int) -> dict[str, Any]:
        """See `CallBook`: nothing can be sent."""
        raise CallError("conflict", "This call was opened from a file: open it in its node to send anything.")

    def _is(self, any_id: str) -> bool:
        return any_id == self.call["callId"] or any_id in self.call["callConnectionIds"]

    def _read(self, folder: Path) -> None:
        try:
            header = read_header(folder)
        except FileNotFoundError:
            raise DamagedCall(f"there is no {CALL} in it: is it a call that was exported?") from None
        self._folder = folder
        self.call = page_of({**header, "imported": True}, read_events(folder, strict=True))

    def _report(self, folder: Path) -> dict[str, Any]:
        try:
            found = msgspec.json.decode(read_file(folder / REPORT, MOST_JSON))
        except FileNotFoundError:
            return figures_of(self.call, self._sound)
        except (ValueError, RecursionError) as error:
            raise DamagedCall(f"{REPORT} cannot be used: {error}") from None
        if not isinstance(found, dict):
            raise DamagedCall(f"{REPORT} is no JSON object")
        return found
