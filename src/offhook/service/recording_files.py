"""What is known of recordings that were made, kept beside their files: found again after a start, forgotten in time.

A recording is a JSON document `ID.json` and its files `ID-0.wav`, `ID-1.wav`. All of it blocks, and runs in the thread
of `Recordings`; `Shelf.documents` alone is read elsewhere.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from offhook.audio.wav import HEADER_SIZE
from offhook.service.folder_lock import FolderLock
from offhook.service.recording_writer import mend, piece_path

log = logging.getLogger("offhook.recordings")

_ID: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_FILE: Final = re.compile(f"({_ID})-([0-9]{{1,6}})")
_DRAFT: Final = re.compile(rf"{_ID}\.draft")


class Chunk(msgspec.Struct, kw_only=True):
    """One file. `started`: Unix seconds; `gone`: it was deleted, or is in another storage."""

    index: int
    started: float
    milliseconds: float = 0.0
    size: int = 0
    end_reason: str = ""
    gone: bool = False
    location: str = ""
    """Where it is in the storage of the app, without the query that opens that."""


class Pause(msgspec.Struct, kw_only=True):
    """From when (Unix seconds) and for how long nothing was recorded; None: to the end."""

    at: float
    milliseconds: float | None = None


class Document(msgspec.Struct, kw_only=True):
    """One recording. `ended` None: it runs, or the node was killed. `settled`: its files are where they belong.

    `told`: apps have taken its event, or refused it.
    """

    id: str
    recording_id: str
    call_id: str
    server_call_id: str
    started: float
    channel: str
    form: str
    rate: int
    channels: int
    ended: float | None = None
    end_reason: str = ""
    problem: str = ""
    interrupted: bool = False
    settled: bool = False
    told: bool = False
    chunks: list[Chunk] = []
    pauses: list[Pause] = []
    participants: list[tuple[str, int | None]] = []
    container_url: str = ""
    storage_problem: str = ""

    @property
    def size(self) -> int:
        """Bytes of its files that are here."""
        return sum(chunk.size for chunk in self.chunks if not chunk.gone)

    @property
    def here(self) -> bool:
        """Whether any of its files is here."""
        return any(not chunk.gone for chunk in self.chunks)

    def moment(self, milliseconds: float) -> float:
        """When it was said what is so far behind its beginning, in Unix seconds."""
        at = self.started + milliseconds / 1000
        for pause in self.pauses:
            if pause.at < at:
                at += (pause.milliseconds or 0.0) / 1000
        return at


class Shelf:
    """The folder of recordings. Methods raise OSError where nothing else is said."""

    def __init__(self, folder: Path, keep_seconds: float, most_bytes: int) -> None:
        """0: for ever; 0: as many as there is room for."""
        self.folder = folder
        self.documents: dict[str, Document] = {}
        self.alone = False
        """Whether no other node has this folder: what is not finished in it was left by one that ended."""
        self._keep = keep_seconds
        self._most = most_bytes
        self._lock = FolderLock(folder)

    def open(self, now: float) -> None:
        """Make the folder, read what is in it, mend what a node that was killed has left."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "it cannot be written into")
        self.alone = self._lock.share()
        for path in self.folder.iterdir() if self.alone else ():
            if _DRAFT.fullmatch(path.name):
                path.unlink(missing_ok=True)
        for path in sorted(self.folder.glob("*.json")):
            try:
                document = msgspec.json.decode(path.read_bytes(), type=Document)
            except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
                log.warning("%s is no document of a recording, and is left alone: %s", path, error)
                continue
            if document.id != path.stem or (document.ended is None and not self.alone):
                continue
            try:
                if document.ended is None and not self._recover(document):
                    self.forget(document)
                    continue
            except OSError as error:
                log.error("the recording %s cannot be mended: %s", document.id, error)
                continue
            self.documents[document.id] = document
        self.sweep(now)

    def save(self, document: Document) -> None:
        """Write a document, wholly or not at all."""
        path = self.folder / f"{document.id}.json"
        draft = path.with_suffix(".draft")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(msgspec.json.encode(document))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    def keep(self, document: Document) -> None:
        """Write a document anew, unless it was deleted meanwhile."""
        if document.id in self.documents:
            self.save(document)

    def stem(self, document: Document) -> Path:
        """What the paths of its files begin with."""
        return self.folder / document.id

    def path(self, document: Document, chunk: Chunk) -> Path:
        """Where a file is."""
        return piece_path(self.stem(document), chunk.index, document.form)

    def find(self, document_id: str) -> tuple[Document, Chunk] | None:
        """A file that is here and finished, by the id that its event has."""
        match = _FILE.fullmatch(document_id)
        document = self.documents.get(match[1]) if match else None
        if match is None or document is None or document.ended is None:
            return None
        for chunk in document.chunks:
            if chunk.index == int(match[2]) and not chunk.gone:
                return document, chunk
        return None

    def remove(self, document: Document, chunk: Chunk) -> None:
        """Delete a file; with the last one all that is known of the recording."""
        self.path(document, chunk).unlink(missing_ok=True)
        chunk.gone = True
        if document.here:
            self.save(document)
        else:
            self.forget(document)

    def handed(self, document: Document, chunk: Chunk) -> None:
        """A file is elsewhere: that is known before it is deleted, so that a killed node looks for none of them."""
        chunk.gone = True
        self.keep(document)
        self.path(document, chunk).unlink(missing_ok=True)

    def forget(self, document: Document) -> None:
        """Delete all that is known of a recording, and what there is of its files."""
        for chunk in document.chunks:
            self.path(document, chunk).unlink(missing_ok=True)
        (self.folder / f"{document.id}.json").unlink(missing_ok=True)
        self.documents.pop(document.id, None)

    def sweep(self, now: float) -> None:
        """Delete what is too old, then the oldest while there is too much. What cannot be deleted is logged."""
        documents = list(self.documents.values())  # at once, for others put more of them there meanwhile
        done = sorted(
            (document for document in documents if document.ended is not None and document.settled),
            key=lambda document: document.ended or 0.0,
        )
        size = sum(document.size for document in documents)
        for document in done:
            old = bool(self._keep) and now - (document.ended or 0.0) > self._keep
            if not old and not (self._most and size > self._most):
                continue
            why, size = "too old" if old else "over most_megabytes", size - document.size
            try:
                self.forget(document)
                log.info("the recording %s is deleted: it is %s", document.id, why)
            except OSError as error:
                log.error("the recording %s is %s, and cannot be deleted: %s", document.id, why, error)

    def close(self) -> None:
        """Leave the folder to others."""
        self._lock.release()

    def _recover(self, document: Document) -> bool:
        """Finish what a node that was killed has left; False where it had no file yet."""
        document.chunks = list(self._left(document))
        length = sum(chunk.milliseconds for chunk in document.chunks)
        document.ended = document.moment(length)
        document.end_reason, document.interrupted = "CallEnded", True
        if not document.chunks:
            return False
        self.save(document)
        log.warning(
            "the recording %s was cut off when the node ended; %.1f s of it are kept", document.id, length / 1000
        )
        return True

    def _left(self, document: Document) -> Iterator[Chunk]:
        index, length = 0, 0.0
        while (path := piece_path(self.stem(document), index, document.form)).exists():
            samples = mend(path, document.form, document.rate, document.channels)
            milliseconds = samples * 1000 / document.rate
            yield Chunk(
                index=index,
                started=document.moment(length),
                milliseconds=milliseconds,
                size=max(path.stat().st_size, HEADER_SIZE),
                end_reason="SessionEnded",
            )
            index, length = index + 1, length + milliseconds
