"""A call as one file: what comes out is what went in, and no file does any harm."""

from __future__ import annotations

import contextlib
import io
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offhook.errors import CallError, DamagedCall
from offhook.service import call_archive
from offhook.service.call_archive import ArchiveBook, pack
from offhook.service.clock import ManualClock
from offhook.service.masking import Body
from offhook.service.trace import About, Traces

REPORT = {"answerMs": 12.5, "turns": []}


def call() -> dict[str, Any]:
    clock = ManualClock(start=100.0, wall=1_700_000_000.0)
    traces = Traces(clock, lambda *note: None)
    trace = traces.begin("call-1", About("server", "correlation", "outgoing", "4:+1555", "Ada", "4:+1666"))
    traces.connect(trace, "connection-1")
    traces.leg(trace, "leg", "4:+1666", "sip")
    clock.advance(0.33333)
    traces.joined(trace, "leg", 24000)
    for number in range(20):
        clock.advance(0.0101010101)
        traces.note(trace, "rest", "Play", status=202, more={"requestBody": Body.of(b'{"n": %d}' % number)})
    traces.note_at(100.0, trace, "sip", "INVITE", {"text": "earlier than all others"})
    traces.end(trace)
    return trace.page()


def packed(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("01-said.wav", "01b-heard.wav", "series.json", "tracks.json", "notes.txt"):
        (folder / name).write_bytes(f"content of {name}".encode() * 100)
    path = tmp_path / "call.zip"
    pack(path, call(), folder, REPORT)
    return path


def made(path: Path, entries: dict[str, bytes], change: Callable[[zipfile.ZipInfo], None] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if change is not None:
                change(info)
            archive.writestr(info, data)
    return path


HEADER = b'{"callId": "call-1", "startedAt": "2023-11-14T22:13:20.000Z"}'


async def test_a_call_comes_out_as_it_went_in(tmp_path: Path) -> None:
    book = ArchiveBook(packed(tmp_path))
    page = book.page("call-1")
    assert page == {**call(), "imported": True} == book.page("connection-1")
    assert book.page("another") is None and book.events("another", 0) is None
    assert await book.figures("call-1") == REPORT
    events = book.events("call-1", 19)
    assert events is not None and [event["seq"] for event in events] == [20, 21]
    assert book.rows()[0]["callId"] == "call-1" and not book.rows(state="live") and not book.rows(query="nobody")
    again = await book.archive("call-1")
    assert again is not None
    second = ArchiveBook(again)
    assert second.page("call-1") == page
    again.unlink()
    second.close()
    folder = book._folder
    book.close()
    assert not folder.exists(), "nothing is left behind"


def test_the_zip_says_what_is_in_it_and_leaves_out_what_is_not_of_the_call(tmp_path: Path) -> None:
    with zipfile.ZipFile(packed(tmp_path)) as archive:
        names = archive.namelist()
        readme = archive.read("README.txt").decode()
        assert archive.getinfo("01-said.wav").compress_type == zipfile.ZIP_STORED, "it can be played in place"
    assert sorted(names) == [
        "01-said.wav", "01b-heard.wav", "README.txt", "call.json", "events.jsonl", "report.json", "series.json",
        "tracks.json",
    ]  # fmt: skip
    for name in ("call.json", "events.jsonl", "said.wav", "heard.wav", "tracks.json", "series.json", "report.json"):
        assert name in readme


async def test_a_folder_is_shown_as_well_and_stays(tmp_path: Path) -> None:
    with zipfile.ZipFile(packed(tmp_path)) as archive:
        archive.extractall(tmp_path / "unpacked")
    with_folder = ArchiveBook(tmp_path / "unpacked")
    assert with_folder.page("call-1") == {**call(), "imported": True}
    with_folder.close()
    assert (tmp_path / "unpacked/call.json").exists()


def test_a_zip_of_a_folder_that_somebody_packed_is_taken(tmp_path: Path) -> None:
    path = made(tmp_path / "x.zip", {"call-1/call.json": HEADER, "call-1/.DS_Store": b"x", "other/deep/a.txt": b"x"})
    with contextlib.closing(ArchiveBook(path)) as book:
        assert book.call["callId"] == "call-1"


async def test_nothing_of_a_file_is_sent(tmp_path: Path) -> None:
    with contextlib.closing(ArchiveBook(packed(tmp_path))) as book, pytest.raises(CallError, match="from a file"):
        await book.resend("call-1", 1)


EVENT = b'{"seq":1,"sinceMs":0,"kind":"leg","name":"x","detail":{}}\n'
HOSTILE: dict[str, tuple[dict[str, bytes], str]] = {
    "nothing in it": ({}, "no call.json"),
    "something else": ({"a.txt": b"x"}, "no call.json"),
    "a path upwards": ({"../call.json": HEADER}, "path"),
    "a path far upwards": ({"../../../../tmp/call.json": HEADER}, "path"),
    "an absolute path": ({"/etc/call.json": HEADER}, "path"),
    "a path of Windows": ({"..\\x/call.json": HEADER}, "path"),
    "twice the same": ({"a/call.json": HEADER, "b/call.json": HEADER}, "two entries"),
    "no JSON": ({"call.json": b"{"}, "call.json"),
    "wrong types": ({"call.json": HEADER.replace(b'"call-1"', b"7")}, "callId"),
    "a list of legs that is none": ({"call.json": HEADER[:-1] + b', "legs": {"a": 1}}'}, "legs"),
    "deep JSON": ({"call.json": b"[" * 200_000}, "call.json"),
    "events that are none": ({"call.json": HEADER, "events.jsonl": EVENT + b"[1]\n"}, "events.jsonl, line 2"),
    "a time that is none": ({"call.json": HEADER, "events.jsonl": EVENT.replace(b":0,", b':"now",')}, "sinceMs"),
    "empty lines": ({"call.json": HEADER, "events.jsonl": b"\n" * (20 << 20)}, "more than 8000"),
    "a time at the end of the world": (
        {"call.json": HEADER, "events.jsonl": EVENT.replace(b":0,", b":1e300,")},
        "line 1",
    ),
    "legs that are endless": (
        {"call.json": HEADER[:-1] + b', "legs": [{"legId": "l", "number": 1, "joinedMs": 1e99}]}'},
        "joinedMs",
    ),
    "too many events": ({"call.json": HEADER, "events.jsonl": EVENT * 8001}, "more than 8000"),
    "a report that is none": ({"call.json": HEADER, "report.json": b"[]"}, "report.json"),
    "a report that is deep": ({"call.json": HEADER, "report.json": b"[" * 200_000}, "report.json"),
    "a bomb of a description": ({"call.json": b" " * (2 << 20)}, "too large"),
    "a bomb of events": ({"call.json": HEADER, "events.jsonl": b"\n" * (40 << 20)}, "too large"),
    "a bomb of sound": ({"call.json": HEADER, "01-said.wav": bytes(65 << 20)}, "too large"),
    "bombs of sound": ({"call.json": HEADER, **{f"{n:02d}-said.wav": bytes(33 << 20) for n in (1, 2)}}, "too large"),
    "many entries": ({"call.json": HEADER, **{f"{n}.txt": b"" for n in range(4200)}}, "entries"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_zip_is_refused_with_its_reason(tmp_path: Path, name: str) -> None:
    entries, reason = HOSTILE[name]
    path = made(tmp_path / "x.zip", entries)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DamagedCall, match=reason):
        ArchiveBook(path)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_symlink_in_a_zip_is_refused(tmp_path: Path) -> None:
    def link(info: zipfile.ZipInfo) -> None:
        info.external_attr = 0o120777 << 16

    with pytest.raises(DamagedCall, match="no ordinary file"):
        ArchiveBook(made(tmp_path / "x.zip", {"call.json": b"/etc/passwd"}, link))


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path / "x.zip", {"call.json": HEADER})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    path.write_bytes(bytes(data))
    with pytest.raises(DamagedCall, match="encrypted"):
        ArchiveBook(path)


def test_a_zip_that_lies_about_its_sizes_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path / "x.zip", {"call.json": HEADER + b" " * 5000})
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, 10)
    path.write_bytes(bytes(data))
    with pytest.raises(DamagedCall):
        ArchiveBook(path)


def test_an_entry_that_begins_before_the_zip_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path / "x.zip", {"call.json": HEADER, "events.jsonl": EVENT})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x05\x06")
    (offset,) = struct.unpack_from("<I", data, at + 16)
    struct.pack_into("<I", data, at + 16, offset + 500)
    path.write_bytes(bytes(data))
    with pytest.raises(DamagedCall, match="no zip that can be read"):
        ArchiveBook(path)


def test_symlinks_in_a_folder_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(HEADER)
    (tmp_path / "call").mkdir()
    (tmp_path / "call/call.json").symlink_to(tmp_path / "secret")
    with pytest.raises(DamagedCall, match=r"call\.json cannot be read"):
        ArchiveBook(tmp_path / "call")


def test_a_report_that_is_elsewhere_or_endless_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "call").mkdir()
    (tmp_path / "call/call.json").write_bytes(HEADER)
    for target in ("/dev/zero", str(tmp_path / "call/call.json")):
        (tmp_path / "call/report.json").symlink_to(target)
        with pytest.raises(DamagedCall, match=r"report\.json"):
            ArchiveBook(tmp_path / "call")
        (tmp_path / "call/report.json").unlink()


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK but no zip" * 100)
    with pytest.raises(DamagedCall, match="no zip"):
        ArchiveBook(tmp_path / "x.zip")
    with pytest.raises(FileNotFoundError):
        ArchiveBook(tmp_path / "nothing.zip")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_damage_of_a_zip_raises_anything_else(tmp_path: Path, data: st.DataObject) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("call.json", HEADER)
        archive.writestr("events.jsonl", EVENT)
    broken = bytearray(whole.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "broken.zip"
    path.write_bytes(bytes(broken[: data.draw(st.integers(1, len(broken)))]))
    try:
        ArchiveBook(path).close()
    except DamagedCall as error:
        assert str(error)


def test_nothing_is_left_when_there_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(call_archive, "pack", full)
    with pytest.raises(OSError, match="No space"):
        call_archive.packed(call(), None, None)
    assert not list(tmp_path.iterdir())
