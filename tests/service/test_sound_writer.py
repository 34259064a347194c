"""SoundWriter: blocks at their places, files that are whole at any moment, and what a slow or full disk does."""

from __future__ import annotations

import itertools
import os
import wave
from array import array
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.audio.bridge import Member
from offhook.audio.capture import BLOCK_TICKS, Block, Capture, Ear, Sheet
from offhook.audio.pcm import Frame
from offhook.audio.wav import PADDED_HEADER_SIZE, read_wav
from offhook.service import sound_writer
from offhook.service.sound_writer import SoundFile, SoundWriter, sound_of

SIZE = 160


NUMBERS = itertools.count()


def ear(folder: Path, name: str = "x.wav", begin: int = 0) -> Ear:
    return Ear(next(NUMBERS), begin, 2 * SIZE, SoundFile(folder / name, 8000))


def frames(*values: int) -> npt.NDArray[np.uint8]:
    """A row for each."""
    return np.repeat(np.array(values, np.int16), SIZE).reshape(-1, SIZE).view(np.uint8)


def block(*ticks: tuple[int, list[tuple[Ear, int]]]) -> Block:
    """What ears heard in some ticks: a number each."""
    heard = [pair for _, pairs in ticks for pair in pairs]
    sheet, marks = Sheet(max(len(heard), 1), 2 * SIZE), []
    for tick, pairs in ticks:
        row = sheet.take(len(pairs))
        sheet.rows[row : row + len(pairs)] = frames(*(value for _, value in pairs))
        marks.append((tick, array("q", [one.number for one, _ in pairs]), row))
    return Block(sheet, {one.number: one for one, _ in heard}, marks)


def values(path: Path) -> list[int]:
    sound: Frame = read_wav(path.read_bytes()).samples
    found: list[int] = sound[::SIZE].tolist()
    return found


def test_frames_of_many_ears_go_where_they_belong_and_holes_are_silent(tmp_path: Path) -> None:
    writer, one, two = SoundWriter(), ear(tmp_path, "1.wav"), ear(tmp_path, "2.wav", begin=2)
    shared = [(tick, [(one, tick + 1), (two, 50 + tick)]) for tick in (2, 3, 4)]
    writer.put([block((0, [(one, 7)]), *shared[:1]), block(*shared[1:], (6, [(two, 99)]))])
    writer.drain()
    writer.finish(one.sink, 8 * 2 * SIZE)
    writer.finish(two.sink, 6 * 2 * SIZE)
    assert values(tmp_path / "1.wav") == [7, 0, 3, 4, 5, 0, 0, 0]
    assert values(tmp_path / "2.wav") == [52, 53, 54, 0, 99, 0]
    assert writer.behind == 0


def test_a_leg_that_never_said_a_word_has_a_file_of_silence_that_takes_no_room(tmp_path: Path) -> None:
    file = SoundFile(tmp_path / "quiet.wav", 8000)
    SoundWriter().finish(file, 50 * 60 * 2 * SIZE)
    assert len(values(tmp_path / "quiet.wav")) == 3000
    assert (tmp_path / "quiet.wav").stat().st_blocks * 512 <= 8192


def test_a_file_is_whole_whenever_the_process_ends(tmp_path: Path) -> None:
    """After every write: the header states no more than there is, and lags by ten blocks at most."""
    one = ear(tmp_path)
    for tick in range(25):
        one.sink.write(tick * 2 * SIZE, frames(tick + 1), keep_open=True)
        there = values(tmp_path / "x.wav")
        assert there == list(range(1, len(there) + 1))
        assert len(there) >= tick + 1 - sound_writer.MARK_BLOCKS
    one.sink.shut()


def test_what_waits_can_be_seen_until_it_is_in_its_file(tmp_path: Path) -> None:
    writer, one, two = SoundWriter(), ear(tmp_path, "1.wav", begin=3), ear(tmp_path, "2.wav")
    writer.put([block((3, [(two, 1), (one, 2)])), block((5, [(one, 3)]))])
    found = sound_of(one, writer.waiting())
    assert [(place, np.frombuffer(data, np.int16)[0]) for place, data in found] == [(0, 2), (2 * 2 * SIZE, 3)]
    writer.drain()
    assert writer.waiting() == []


def test_while_the_queue_is_full_the_newest_is_left_out_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory stays bounded, and what comes when the disk is back is at its place."""
    monkeypatch.setattr(sound_writer, "MOST_WAITING", 3 * BLOCK_TICKS * 2 * SIZE)
    writer, path = SoundWriter(), tmp_path / "x.wav"
    capture, file = Capture(writer.put, writer.full), SoundFile(path, 8000)
    member = Member(SimpleNamespace(read=None, write=None), None, True)
    track = capture.join(member, 8000, (file, None))
    ticks = 20 * BLOCK_TICKS
    for tick in range(ticks):
        member.said = np.full(SIZE, tick + 1, np.int16)
        capture.tick()
        if tick == ticks - 2 * BLOCK_TICKS:
            writer.drain()
    capture.part(track)
    capture.hand_on()
    writer.drain()
    writer.finish(file, ticks * 2 * SIZE)
    found = values(path)
    kept = [value for value in found if value]
    assert len(kept) + capture.left_out == ticks and 3 * BLOCK_TICKS < len(kept) <= 10 * BLOCK_TICKS
    assert all(value in (0, at + 1) for at, value in enumerate(found))
    assert kept[0] == 1 and kept[-1] == ticks


def test_blocks_end_where_pages_do(tmp_path: Path) -> None:
    for lead in (0, 640, 12800, 19840):
        file = SoundFile(tmp_path / f"{lead}.wav", 16000, lead)
        assert (file.offset + lead) % 8192 == 0
        assert PADDED_HEADER_SIZE <= file.offset < PADDED_HEADER_SIZE + 8192
        file.write(0, np.full((3, 640), 1, np.uint8), keep_open=True)
        file.finish(1920)
        assert len(read_wav(file.path.read_bytes()).samples) == 960
        with wave.open(str(file.path)) as other:
            assert (other.getnframes(), other.getframerate()) == (960, 16000)


def test_a_disk_that_takes_no_more_ends_that_file_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, one, two = SoundWriter(), ear(tmp_path, "gone/1.wav"), ear(tmp_path, "2.wav")
    writer.put([block((0, [(one, 1), (two, 2)]))])
    writer.put([block((1, [(one, 1), (two, 3)]))])
    writer.call(lambda: writer.finish(two.sink, 2 * 2 * SIZE))
    writer.drain()
    assert "No such file" in one.sink.problem
    assert one.sink.left_out == 2
    assert values(tmp_path / "2.wav") == [2, 3]


def test_short_writes_are_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, one = SoundWriter(), ear(tmp_path)
    monkeypatch.setattr(os, "pwrite", lambda fd, frames, place: 10)
    writer.put([block((0, [(one, 1)]))])
    writer.drain()
    assert one.sink.problem == os.strerror(28)


def test_files_beyond_the_bound_are_not_kept_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_writer, "MOST_OPEN", 1)
    writer, one, two = SoundWriter(), ear(tmp_path, "1.wav"), ear(tmp_path, "2.wav")
    for tick in range(3):
        writer.put([block((tick, [(one, tick + 1), (two, tick + 11)]))])
    before = len(os.listdir("/proc/self/fd"))
    writer.drain()
    assert len(os.listdir("/proc/self/fd")) == before + 1
    for each in (one, two):
        writer.finish(each.sink, 3 * 2 * SIZE)
    assert (values(tmp_path / "1.wav"), values(tmp_path / "2.wav")) == ([1, 2, 3], [11, 12, 13])
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "x.wav").symlink_to(tmp_path / "victim")
    writer, one = SoundWriter(), ear(tmp_path)
    writer.put([block((0, [(one, 1)]))])
    writer.drain()
    assert one.sink.problem
    assert (tmp_path / "victim").read_text() == "precious"


def test_the_thread_writes_and_ends(tmp_path: Path) -> None:
    writer, one = SoundWriter(), ear(tmp_path)
    writer.start()
    writer.put([block((0, [(one, 1)])), block((1, [(one, 2)]))])
    writer.call(lambda: writer.finish(one.sink, 2 * 2 * SIZE))
    writer.stop(10)
    assert values(tmp_path / "x.wav") == [1, 2]
    assert (tmp_path / "x.wav").stat().st_size == one.sink.offset + 2 * 2 * SIZE


@given(data=st.data())
def test_whatever_is_said_when_is_found_at_its_place(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any pattern of speech of three ears that begin at different ticks, in batches of any size."""
    folder = tmp_path_factory.mktemp("sound")
    writer = SoundWriter()
    ears = [ear(folder, f"{index}.wav", begin=index) for index in range(3)]
    ticks = data.draw(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=3, max_size=25))
    blocks, truth = [], [[0] * (len(ticks) - index) for index in range(3)]
    for tick, speaks in enumerate(ticks):
        said = [(one, 1 + tick) for one, speak in zip(ears, speaks, strict=True) if speak and tick >= one.begin]
        for one, value in said:
            truth[one.begin][tick - one.begin] = value
        if said:
            blocks.append(block((tick, said)))
    while blocks:
        count = data.draw(st.integers(1, 7))
        writer.put(blocks[:count])
        del blocks[:count]
        if data.draw(st.booleans()):
            writer.drain()
    writer.drain()
    for one, expected in zip(ears, truth, strict=True):
        writer.finish(one.sink, len(expected) * 2 * SIZE)
        assert values(one.sink.path) == expected
