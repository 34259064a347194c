"""Files of recordings: playable at any moment, in chunks, mended; disks that are slow or full."""

from __future__ import annotations

import errno
import io
import os
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.audio.pcm import Frame
from offhook.audio.wav import read_wav
from offhook.errors import AudioError
from offhook.service.recording_writer import BEHIND, Take, WavFile, mend

RATE = 16000
WRITER = "offhook.service.recording_writer"


def blocks(count: int, channels: int = 1) -> list[Frame]:
    """Blocks in which every sample is another."""
    shape = (320,) if channels == 1 else (320, channels)
    numbers = np.arange(count * 320 * channels).astype(np.int16)
    return [part.reshape(shape) for part in np.split(numbers, count)]


def take(folder: Path, channels: int = 1, form: str = "wav", most: int = 0) -> Take:
    made = Take(folder / "rec", form, RATE, channels, most)
    made.open()
    return made


def read(path: Path) -> Frame:
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getsampwidth()) == (RATE, 2)
        frames = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return frames.reshape(-1, file.getnchannels()).astype(np.int16)


@pytest.mark.parametrize("channels", [1, 6])
def test_what_is_put_is_in_the_file(tmp_path: Path, channels: int) -> None:
    one, put = take(tmp_path, channels), blocks(7, channels)
    for block in put[:3]:
        one.put(block)
    one.write()
    for block in put[3:]:
        one.put(block)
    one.close()
    assert np.array_equal(read(one.path(0)), np.concatenate(put).reshape(-1, channels))
    (piece,) = one.pieces
    assert (piece.samples, piece.end_reason) == (7 * 320, "SessionEnded")
    assert piece.size == one.path(0).stat().st_size == 44 + one.written
    assert one.path(0).stat().st_mode & 0o077 == 0, "for nobody else"


def test_sums_are_held_at_the_ends_of_the_range(tmp_path: Path) -> None:
    one = take(tmp_path)
    for level in (60001, -1, -70000):
        one.put(np.full(320, level, np.int32))
    one.close()
    assert read(one.path(0))[::320, 0].tolist() == [32767, -1, -32768]


def test_a_file_is_playable_at_any_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most half a second is behind its header, and a second not on the disk."""
    now = [100.0]
    synced: list[float] = []
    monkeypatch.setattr(f"{WRITER}.time.monotonic", lambda: now[0])
    sync = os.fsync

    def seen(fd: int) -> None:
        synced.append(now[0])
        sync(fd)

    monkeypatch.setattr(f"{WRITER}.os.fsync", seen)
    one = take(tmp_path)
    assert len(read(one.path(0))) == 0
    for number, block in enumerate(blocks(100)):
        one.put(block)
        if number % 10 == 9:
            now[0] += 0.2
            one.write()
            assert (number + 1) * 320 - len(read(one.path(0))) <= 0.6 * RATE
    assert len(synced) >= 2 and max(np.diff([100.0, *synced])) <= 1.2


@given(st.integers(0, 500), st.sampled_from([1, 6]))
def test_whatever_a_kill_leaves_is_mended(cut: int, channels: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        one, put = take(Path(folder), channels), blocks(3, channels)
        for block in put:
            one.put(block)
        one.write()
        path = one.path(0)
        with path.open("r+b") as file:
            file.truncate(max(path.stat().st_size - cut, 0))
        samples = mend(path, "wav", RATE, channels)
        kept = read(path)
        assert len(kept) == samples >= 3 * 320 - cut // (2 * channels) - 1
        assert np.array_equal(kept, np.concatenate(put).reshape(-1, channels)[:samples])


def test_a_file_that_is_full_goes_on_in_another(tmp_path: Path) -> None:
    put = blocks(10)
    one = take(tmp_path, most=1001)
    for block in put:
        one.put(block)
    one.close()
    parts = [read(one.path(piece.index)) for piece in one.pieces]
    assert [len(part) for part in parts] == [500] * 6 + [200]
    assert np.array_equal(np.concatenate(parts)[:, 0], np.concatenate(put)), "without a gap"
    assert {piece.end_reason for piece in one.pieces[:-1]} == {"ChunkMaximumSizeExceeded"}
    assert one.pieces[-1].end_reason == "SessionEnded"


def test_no_file_is_longer_than_its_header_can_say(tmp_path: Path) -> None:
    file = WavFile(tmp_path / "x.wav", RATE, 6)
    assert file.room % 12 == 0 and 0xFFFFFFFF - 36 - 12 < file.room <= 0xFFFFFFFF - 36
    file.close()


def test_a_disk_that_is_too_slow(tmp_path: Path) -> None:
    one = take(tmp_path)
    (block,) = blocks(1)
    for _ in range(BEHIND):
        one.put(block)
    with pytest.raises(AudioError, match="10 s behind"):
        one.put(block)
    one.close()
    assert len(read(one.path(0))) == BEHIND * 320


def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it took is playable."""
    one, put, write = take(tmp_path), blocks(4), os.write
    for block in put[:2]:
        one.put(block)
    one.write()
    room = [100]

    def full(fd: int, data: memoryview) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = write(fd, data[: room[0]])
        room[0] -= count
        return count

    monkeypatch.setattr(f"{WRITER}.os.write", full)
    for block in put[2:]:
        one.put(block)
    with pytest.raises(OSError, match="No space left"):
        one.write()
    one.close()
    kept = read(one.path(0))
    assert one.pieces[0].samples == len(kept) == 2 * 320 + 50
    assert np.array_equal(kept[:, 0], np.concatenate(put)[: len(kept)])


def test_after_a_write_that_failed_nothing_is_appended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that has room again would go on behind a hole, and in the middle of a sample of six channels."""
    one, put, write = take(tmp_path, 6), blocks(3, 6), os.write
    one.put(put[0])
    one.write()

    def full(fd: int, data: memoryview) -> int:
        if len(data) == 3840:
            return write(fd, data[:1001])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"{WRITER}.os.write", full)
    one.put(put[1])
    with pytest.raises(OSError, match="No space left"):
        one.write()
    monkeypatch.setattr(f"{WRITER}.os.write", write)
    one.put(put[2])
    one.close()
    kept = read(one.path(0))
    assert len(kept) == 320 + 1001 // 12
    assert np.array_equal(kept, np.concatenate(put)[: len(kept)])


def test_a_further_file_that_cannot_be_made_ends_it(tmp_path: Path) -> None:
    (tmp_path / "rec-1.wav").write_bytes(b"mine")
    one = take(tmp_path, most=640)
    for block in blocks(2):
        one.put(block)
    with pytest.raises(OSError):
        one.write()
    one.put(blocks(1)[0])
    one.close()
    assert len(read(one.path(0))) == 320 and [piece.samples for piece in one.pieces] == [320]
    assert (tmp_path / "rec-1.wav").read_bytes() == b"mine"


def test_a_name_that_is_taken_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "rec-0.wav").write_bytes(b"mine")
    with pytest.raises(OSError):
        take(tmp_path)
    assert (tmp_path / "rec-0.wav").read_bytes() == b"mine"


def test_mp3_of_nothing(tmp_path: Path) -> None:
    """Paused from its start to its end."""
    pytest.importorskip("lameenc")
    one = take(tmp_path, form="mp3")
    one.write()
    one.close()
    assert (one.pieces[0].samples, one.pieces[0].end_reason) == (0, "SessionEnded")


def test_mp3_is_whole_wherever_it_ends(tmp_path: Path) -> None:
    pytest.importorskip("lameenc")
    one = take(tmp_path, form="mp3")
    for block in blocks(150):
        one.put(block)
    one.write()
    cut = one.path(0).stat().st_size
    assert cut > 2000, "it is encoded as it comes"
    assert mend(one.path(0), "mp3", RATE, 1) == pytest.approx(150 * 320, rel=0.2)
    one.close()
    assert one.path(0).stat().st_size >= cut
    with pytest.raises(AudioError, match="MP3"):
        read_wav(io.BytesIO(one.path(0).read_bytes()))
