"""The shelf of recordings: found again, mended, deleted in time; documents that are no documents."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from offhook.audio.wav import read_wav
from offhook.service.recording_files import Chunk, Document, Pause, Shelf
from offhook.service.recording_writer import Take

NOW = 1_700_000_000.0


def guid(number: int) -> str:
    return f"00000000-0000-8001-8000-{number:012d}"


def document(number: int, ended: float | None = NOW, settled: bool = True) -> Document:
    return Document(
        id=guid(number),
        recording_id=f"r{number}",
        call_id="c",
        server_call_id="s",
        started=NOW - 10,
        channel="mixed",
        form="wav",
        rate=16000,
        channels=1,
        ended=ended,
        settled=settled,
        told=settled,
    )


def made(shelf: Shelf, made: Document, seconds: float = 1.0) -> Document:
    """A recording on the shelf, as long as that."""
    take = Take(shelf.stem(made), "wav", 16000, 1)
    take.open()
    take.put(np.ones(round(seconds * 16000), np.int16))
    take.close()
    if made.ended is not None:
        made.chunks = [Chunk(index=0, started=made.started, milliseconds=seconds * 1000, size=take.pieces[0].size)]
        shelf.documents[made.id] = made
    shelf.save(made)
    return made


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    one = Shelf(tmp_path / "recordings", 3600.0, 0)
    one.open(NOW)
    yield one
    one.close()


def again(shelf: Shelf, now: float = NOW, keep: float = 3600.0, most: int = 0) -> Shelf:
    """The shelf of the next node."""
    one = Shelf(shelf.folder, keep, most)
    one.open(now)
    return one


def test_recordings_are_there_after_a_start(shelf: Shelf) -> None:
    one = made(shelf, document(1))
    assert again(shelf).documents == {one.id: one}
    assert shelf.folder.stat().st_mode & 0o077 == 0


def test_one_that_a_killed_node_has_left_is_finished(shelf: Shelf) -> None:
    left = made(shelf, document(1, ended=None, settled=False), 2.5)
    path = shelf.folder / f"{left.id}-0.wav"
    path.write_bytes(path.read_bytes()[:44] + path.read_bytes()[44:-1])
    shelf.close()
    found = again(shelf).documents[left.id]
    assert found.interrupted and not found.settled and not found.told and found.end_reason == "CallEnded"
    (chunk,) = found.chunks
    assert chunk.milliseconds == pytest.approx(2500, abs=1) and found.ended == pytest.approx(NOW - 7.5, abs=0.01)
    assert len(read_wav(path.read_bytes()).samples) == 40000 - 1
    assert again(shelf).documents[left.id] == found, "once"


def test_one_that_was_killed_before_it_had_a_file_is_forgotten(shelf: Shelf) -> None:
    shelf.save(document(1, ended=None, settled=False))
    shelf.close()
    assert not again(shelf).documents and not list(shelf.folder.iterdir())


def test_a_document_that_was_being_written_leaves_no_draft(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    one = made(shelf, document(1))
    draft = shelf.folder / f"{one.id}.draft"
    draft.write_bytes(b"{")
    (shelf.folder / f"{guid(7)}.draft").write_bytes(b"")
    (shelf.folder / "mine.draft").write_bytes(b"")
    shelf.close()
    assert set(again(shelf).documents) == {one.id}
    assert [path.name for path in shelf.folder.glob("*.draft")] == ["mine.draft"]

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError):
        shelf.save(one)
    assert not draft.exists()


def test_what_another_node_records_is_left_alone(shelf: Shelf) -> None:
    """Also by a node that comes after the first one has gone and while the second one records."""
    live = made(shelf, document(1, ended=None, settled=False))
    second = again(shelf)
    assert not second.alone and not second.documents
    shelf.close()
    third = again(shelf)
    assert not third.alone and not third.documents
    third.close()
    second.close()
    assert again(shelf).documents[live.id].interrupted


def test_a_file_system_without_locks(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def none(fd: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    one = made(shelf, document(1))
    assert set(again(shelf).documents) == {one.id}


def test_a_folder_that_cannot_be_written_into(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OSError, match="written into"):
        again(shelf)


def test_a_further_file_begins_where_the_one_before_ended() -> None:
    """Paused time is in between."""
    one = document(1)
    one.pauses = [Pause(at=one.started, milliseconds=1000), Pause(at=one.started + 5, milliseconds=2000)]
    one.pauses.append(Pause(at=one.started + 60))
    assert [one.moment(ms) - one.started for ms in (0, 3000, 5000, 90_000)] == [0, 4, 8, 93]


def test_what_cannot_be_deleted_is_told(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old = made(shelf, document(1, NOW - 3700))

    def refused(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refused)
    shelf.sweep(NOW)
    assert set(shelf.documents) == {old.id}
    assert "cannot be deleted" in caplog.text and "is deleted" not in caplog.text


def test_what_is_too_old_goes(shelf: Shelf) -> None:
    kinds = ((1, 3700, True), (2, 60, True), (3, 3700, False))
    old, new, unsettled = (made(shelf, document(n, NOW - age, settled)) for n, age, settled in kinds)
    shelf.sweep(NOW)
    assert set(shelf.documents) == {new.id, unsettled.id}
    assert not list(shelf.folder.glob(f"{old.id}*"))
    assert set(again(shelf, keep=0).documents) == {new.id, unsettled.id}


def test_the_oldest_go_while_there_is_too_much(shelf: Shelf) -> None:
    for number in range(1, 5):
        made(shelf, document(number, NOW - 100 + number))
    assert set(again(shelf, most=70_000).documents) == {guid(3), guid(4)}


def test_files_are_found_by_their_id_and_nothing_else_is(shelf: Shelf) -> None:
    one = made(shelf, document(1))
    made(shelf, document(2, ended=None))
    assert shelf.find(f"{guid(1)}-0") == (one, one.chunks[0])
    for text in ("", guid(1), f"{guid(1)}-1", f"{guid(2)}-0", f"../{guid(1)}-0", f"{guid(1)}-0.wav", f"{guid(1)}-x"):
        assert shelf.find(text) is None


def test_with_its_last_file_a_recording_is_gone(shelf: Shelf) -> None:
    one = made(shelf, document(1))
    one.chunks.append(Chunk(index=1, started=NOW))
    shelf.remove(one, one.chunks[0])
    assert shelf.documents and again(shelf).documents
    shelf.remove(one, one.chunks[1])
    assert not shelf.documents and not list(shelf.folder.iterdir())


def test_what_is_no_document_is_left_alone(shelf: Shelf) -> None:
    made(shelf, document(1))
    for name, text in (("x.json", b"{"), ("y.json", b"{}"), (f"{guid(9)}.json", b"\xff"), ("note.txt", b"hello")):
        (shelf.folder / name).write_bytes(text)
    (shelf.folder / f"{guid(8)}.json").write_bytes((shelf.folder / f"{guid(1)}.json").read_bytes())
    assert set(again(shelf).documents) == {guid(1)}
    assert (shelf.folder / "x.json").exists()
