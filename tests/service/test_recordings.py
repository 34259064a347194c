"""Recordings of a node on a manual clock: disks that fail, what is told and counted, and calls that go on whatever."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import threading
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from tests.live import until
from tests.scenarios.stage import VERSION, Stage

from offhook.calls.recording import Recording
from offhook.errors import CallError
from offhook.service import recordings
from offhook.service.recording_files import Document, Shelf
from offhook.service.recording_writer import BEHIND, Take
from offhook.service.recordings import Recordings
from offhook.wire.recording import StartCallRecordingRequest

FULL = OSError(errno.ENOSPC, "No space left on device")


class Bench:
    """A stage whose node records into a folder."""

    def __init__(self, folder: Path) -> None:
        self.stage = Stage()
        self.finished: list[Document] = []
        self.handed: list[str] = []
        self.heard = asyncio.Event()
        """Apps take what they are told."""
        self.heard.set()
        self.shelf = Shelf(folder, 3600.0, 0)
        self.recordings = Recordings(self.stage.node, self.shelf, self)
        self.stage.node.recordings = self.recordings

    async def hand_over(self, document: Document) -> None:
        """See `Afterwards`."""
        self.handed.append(document.id)

    async def tell(self, document: Document) -> None:
        """See `Afterwards`."""
        self.finished.append(document)
        await self.heard.wait()

    def start(self, connection: str, **options: Any) -> str:
        request = StartCallRecordingRequest(call_connection_id=connection, **options)
        return str(self.recordings.start(request, VERSION).recording_id)

    def told(self) -> list[tuple[str, Any]]:
        """The events of recordings: name and state, with the code where there is one."""
        found = []
        for event in self.stage.callbacks:
            name, data = event["type"].rpartition(".")[2], event["data"]
            if "Recording" in name:
                found.append((name, data.get("state") or data["resultInformation"]["code"]))
        return found

    async def tells(self, count: int) -> None:
        await until(lambda: len(self.told()) >= count, f"{count} events; so far {self.told()}")

    def samples(self, rate: int = 16000) -> Any:
        """What is in the one file."""
        (path,) = self.shelf.folder.glob("*.wav")
        with wave.open(str(path)) as file:
            assert file.getframerate() == rate
            return np.frombuffer(file.readframes(file.getnframes()), "<i2")


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    one = Bench(tmp_path / "recordings")
    await one.recordings.open()
    yield one
    await one.recordings.close()


def connected(bench: Bench, **options: Any) -> str:
    """A caller with a tone whom the app has answered."""
    bench.stage.call(tone=440.0)
    connection = bench.stage.answer(**options)
    bench.stage.run(0.2)
    return connection


async def over(bench: Bench, count: int = 1) -> Document:
    """The `count`-th recording that is over."""
    await until(lambda: len(bench.finished) >= count, "the end")
    document = bench.finished[count - 1]
    path = bench.shelf.folder / f"{document.id}.json"
    await until(lambda: json.loads(path.read_bytes())["told"], "that is written down")
    return document


@pytest.mark.parametrize("rate", [16000, 24000])
async def test_every_tick_from_the_request_to_the_stop_is_in_the_file(bench: Bench, rate: int) -> None:
    connection = connected(bench, rate=rate)
    id = bench.start(connection)
    bench.stage.run(2.0)
    bench.recordings.stop(id)
    bench.stage.run(1.0)
    document = await over(bench)
    assert len(bench.samples(rate)) == 2 * rate and bench.samples(rate).any()
    (chunk,) = document.chunks
    assert (chunk.milliseconds, chunk.size) == (2000.0, 44 + 4 * rate)
    assert bench.recordings.bytes_written == 4 * rate and bench.recordings.running == 0
    assert not bench.stage.node.calls[document.call_id].bridge._taps


async def test_a_folder_that_is_gone(bench: Bench) -> None:
    """StartRecordingFailed says why; nothing is left, and the call goes on."""
    connection = connected(bench)
    bench.shelf.folder.rmdir()
    id = bench.start(connection)
    await bench.tells(1)
    assert bench.told() == [("StartRecordingFailed", 500)]
    assert "No such file" in bench.stage.event("StartRecordingFailed")["resultInformation"]["message"]
    with pytest.raises(CallError) as gone:
        bench.recordings.state(id)
    assert gone.value.outcome == "recording_not_found"
    await until(lambda: not bench.recordings.running, "nothing runs")
    assert bench.recordings.failures == 1 and not bench.finished
    bench.shelf.folder.mkdir()
    again = bench.start(connection)
    await bench.tells(2)
    assert bench.recordings.state(again).recording_state == "active"
    assert connection and len(bench.stage.node.calls) == 1


async def test_a_disk_that_fills(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What was written is kept and told of; the app hears why it ended; the call goes on."""
    connection = connected(bench)
    bench.start(connection)
    await bench.tells(1)
    bench.stage.run(1.0)
    await until(lambda: bench.recordings.bytes_written == 32000, "a second is written")

    def full(self: Take, pcm: memoryview) -> None:
        raise FULL

    monkeypatch.setattr(Take, "_append", full)
    with caplog.at_level(logging.ERROR):
        bench.stage.run(0.2)
        await bench.tells(2)
    assert bench.told()[1] == ("RecordingStateChanged", "inactive")
    assert "No space left" in bench.stage.event("RecordingStateChanged")["resultInformation"]["message"]
    document = await over(bench)
    assert "No space left" in document.problem and len(bench.samples()) == 16000
    bench.stage.run(1.0)
    assert bench.stage.node.calls and "CallDisconnected" not in bench.stage.events


async def test_a_disk_that_hangs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds wait for it; then the recording ends inside a tick that goes on."""
    connection = connected(bench)
    bench.start(connection)
    await bench.tells(1)
    party_frames = bench.stage.node.media.ticks
    bench.stage.run(BEHIND / 50 + 0.5)  # nothing is awaited: the writer has no turn
    assert bench.stage.node.media.ticks == party_frames + BEHIND + 25
    await bench.tells(2)
    assert bench.told()[1] == ("RecordingStateChanged", "inactive")
    assert "10 s behind" in bench.stage.event("RecordingStateChanged")["resultInformation"]["message"]
    await over(bench)
    assert len(bench.samples()) == BEHIND * 320


async def test_a_disk_that_answers_no_more(bench: Bench) -> None:
    """The app hears of it although nothing that was begun comes back, also of a recording that was never opened."""
    first, second = connected(bench), connected(bench)
    bench.start(first)
    await bench.tells(1)
    hung = threading.Event()
    bench.recordings._disk.submit(hung.wait)
    try:
        bench.start(second)
        for _ in range(11):
            bench.stage.run(1.0)
            await asyncio.sleep(0)
        await bench.tells(3)
        assert sorted(bench.told()[1:]) == [("RecordingStateChanged", "inactive"), ("StartRecordingFailed", 500)]
        assert "10 s behind" in bench.stage.event("StartRecordingFailed")["resultInformation"]["message"]
        assert bench.recordings.failures == 2
    finally:
        hung.set()
    await over(bench)
    await until(lambda: not bench.recordings.running, "the end")
    assert len(bench.told()) == 3 and len(bench.stage.node.calls) == 2
    assert len(bench.finished) == len(list(bench.shelf.folder.glob("*.wav"))) == 1


async def test_calls_that_end_end_their_recordings(bench: Bench) -> None:
    connection = connected(bench)
    bench.start(connection)
    await bench.tells(1)
    bench.stage.run(0.5)
    bench.stage.node.hang_up(connection)
    document = await over(bench)
    assert document.end_reason == "CallEnded" and len(bench.samples()) == 8000
    assert bench.stage.events.index("CallDisconnected") > bench.stage.events.index("RecordingStateChanged")
    assert bench.stage.empty()


async def test_without_the_encoder_mp3_is_refused_by_name(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = connected(bench)
    monkeypatch.setattr(recordings, "has_mp3", lambda: False)
    with pytest.raises(CallError, match=r"pip install 'offhook\[mp3\]'"):
        bench.start(connection, form="mp3")
    assert bench.recordings.running == 0


async def test_many_at_once_are_written_apart(bench: Bench) -> None:
    connections = [connected(bench) for _ in range(8)]
    ids = [bench.start(connection) for connection in connections]
    bench.stage.run(1.0)
    await bench.tells(8)
    assert bench.recordings.running == 8
    for id in ids:
        bench.recordings.stop(id)
    await over(bench, 8)
    assert [sum(chunk.milliseconds for chunk in done.chunks) for done in bench.finished] == [1000.0] * 8


async def test_what_was_not_told_of_is_told_after_the_next_start(tmp_path: Path) -> None:
    first = Bench(tmp_path / "recordings")
    await first.recordings.open()
    connection = connected(first)
    first.start(connection)
    await first.tells(1)
    first.stage.run(0.4)
    first.stage.node.shut_down()
    await first.recordings.close()
    assert not first.finished and len(first.samples()) == 6400
    second = Bench(tmp_path / "recordings")
    await second.recordings.open()
    document = await over(second)
    assert document.end_reason == "CallEnded" and not document.interrupted
    await second.recordings.close()
    third = Bench(tmp_path / "recordings")
    await third.recordings.open()
    await asyncio.sleep(0)
    assert not third.finished, "once"
    await third.recordings.close()


async def test_apps_that_have_not_taken_it_are_told_by_the_next_node(bench: Bench, tmp_path: Path) -> None:
    """Its files are where they belong already; meanwhile it can be fetched, and grows old."""
    bench.heard.clear()
    connection = connected(bench)
    id = bench.start(connection)
    await bench.tells(1)
    bench.stage.run(0.4)
    bench.recordings.stop(id)
    await until(lambda: bench.finished, "they are told")
    (document,) = bench.finished
    assert document.settled and not document.told and bench.shelf.find(f"{document.id}-0") is not None
    await bench.recordings.close()
    second = Bench(tmp_path / "recordings")
    await second.recordings.open()
    assert (await over(second)).id == document.id and not second.handed
    await second.recordings.close()
    third = Bench(tmp_path / "recordings")
    await third.recordings.open()
    await asyncio.sleep(0)
    assert not third.finished and third.shelf.documents
    third.shelf.sweep(third.stage.node.clock.wall() + 1e9)
    assert not third.shelf.documents
    await third.recordings.close()


async def test_a_node_that_is_killed_as_one_ends_leaves_it_to_be_mended(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until its files are closed its document says that it runs: of one that has ended nobody looks at the files."""
    connection = connected(bench)
    id = bench.start(connection)
    await bench.tells(1)
    bench.stage.run(0.4)
    bench.recordings.pause(id)
    bench.recordings.stop(id)
    documents: list[bytes] = []

    def seen(self: Recordings, ended: object) -> None:
        documents.extend(path.read_bytes() for path in bench.shelf.folder.glob("*.json"))
        close(self, ended)

    close: Any = Recordings._close
    monkeypatch.setattr(Recordings, "_close", seen)
    await over(bench)
    assert [json.loads(body)["ended"] for body in documents] == [None]


async def test_who_is_there_is_written_down_as_they_come(bench: Bench) -> None:
    """With their channels: a node that is killed has no other chance."""
    connection = connected(bench)
    bench.start(connection, channel="unmixed")
    await bench.tells(1)

    def known() -> dict[str, int]:
        (path,) = bench.shelf.folder.glob("*.json")
        return dict(json.loads(path.read_bytes())["participants"])

    bench.stage.run(0.1)
    await until(lambda: len(known()) == 2, "the caller and the app")
    assert sorted(known().values()) == [0, 5]
    (call,) = bench.stage.node.calls.values()
    call.bridge.add(next(iter(call.legs.values())).port, "4:+15550009")
    bench.stage.run(0.1)
    await until(lambda: known().get("4:+15550009") == 1, "one more")


async def test_one_that_is_deleted_before_apps_are_told_stays_away(bench: Bench) -> None:
    bench.heard.clear()
    connection = connected(bench)
    id = bench.start(connection)
    await bench.tells(1)
    bench.stage.run(0.4)
    bench.recordings.stop(id)
    await until(lambda: bench.finished, "they are told")
    (document,) = bench.finished
    await bench.recordings.remove(document, document.chunks[0])
    bench.heard.set()
    await until(lambda: document.told, "they have taken it")
    bench.shelf.keep(document)
    assert not bench.shelf.documents and not list(bench.shelf.folder.iterdir())


async def test_a_mistake_with_one_ends_that_one_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = connected(bench), connected(bench)
    bench.start(first)
    await bench.tells(1)
    monkeypatch.setattr(Recording, "opened", lambda self: 1 / 0)
    bench.start(second)
    await until(lambda: bench.recordings.running == 1, "one is given up")
    document = await over(bench)
    bench.stage.run(0.4)
    await until(lambda: bench.recordings.bytes_written >= 12800, "the other one goes on")
    assert not bench.stage.node.calls[document.call_id].bridge._taps
    assert not [name for name in os.listdir("/proc/self/fd") if document.id in _target(name)]


def _target(number: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return ""
