"""The history on a real disk: what a node has left is found again, whole, bounded, and whatever the disk does."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import shutil
import stat
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.live import until

from offhook.service import history as module
from offhook.service.call_folder import read_header
from offhook.service.clock import ManualClock
from offhook.service.history import History, HistoryRule
from offhook.service.masking import Body
from offhook.service.trace import About, CallTrace, Traces

NOW = 1_700_000_000.0
DAY = 86_400.0


class Bench:
    """A node's traces and their history; time stands still unless it is moved."""

    def __init__(self, root: Path, rule: HistoryRule | None = None, wall: float = NOW) -> None:
        self.clock = ManualClock(start=100.0, wall=wall)
        self.traces = Traces(self.clock, lambda *note: None)
        self.history = History(root, rule or HistoryRule(), self.traces, self.clock.wall)

    def call(self, name: str = "call-1", *, ended: bool = True, body: bytes = b'{"a": 1}') -> CallTrace:
        trace = self.traces.begin(name, About("server", "correlation", "incoming", "4:+1555", "Ada", "4:+1666"))
        self.traces.connect(trace, f"connection-of-{name}")
        self.traces.leg(trace, "leg", "4:+1555", "sip", "Ada")
        self.traces.note(trace, "leg", "placed", leg="leg")
        self.clock.advance(0.1234)
        self.traces.joined(trace, "leg", 16000)
        self.clock.advance(1.0)
        self.traces.note(trace, "rest", "Play", status=202, more={"requestBody": Body.of(body), "connection": "c"})
        if ended:
            self.traces.left(trace, "leg")
            self.traces.over(trace, "caller", 0, 560000, "gone")
            self.traces.end(trace)
        return trace

    async def found(self) -> list[str]:
        """The calls that the history knows, once it has looked."""
        await self.history.run(lambda: None)
        return [kept.call_id for kept in self.history.kept()]


@contextlib.asynccontextmanager
async def bench(root: Path, rule: HistoryRule | None = None, wall: float = NOW) -> AsyncIterator[Bench]:
    made = Bench(root, rule, wall)
    made.history.start()
    try:
        yield made
    finally:
        await made.history.close()


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WRITE_EVERY", 0.02)


async def test_a_call_is_found_by_the_next_node_as_it_was(tmp_path: Path) -> None:
    async with bench(tmp_path / "calls") as one:
        page = one.call().page()
    async with bench(tmp_path / "calls") as two:
        assert await two.found() == ["call-1"]
        assert two.history.find("connection-of-call-1") == "call-1"
        assert await two.history.page("call-1") == page
        (kept,) = two.history.kept()
        assert kept.row()["durationMs"] == 1000 and kept.row()["events"] == 2 and kept.size > 500


async def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    async with bench(tmp_path / "calls") as one:
        one.call()
    paths = [tmp_path / "calls", *tmp_path.rglob("calls/**/*")]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in paths}
    assert modes == {"calls": 0o700, "call-1": 0o700, "call.json": 0o600, "events.jsonl": 0o600}


async def test_a_live_call_is_on_disk_within_moments_and_what_comes_later_too(tmp_path: Path) -> None:
    async with bench(tmp_path) as one:
        trace = one.call(ended=False)
        await until(lambda: (tmp_path / "call-1/events.jsonl").exists(), "its events")
        assert await one.found() == [], "a live call is no kept one"
        one.traces.end(trace)
        await until(lambda: one.history.find("call-1"), "its end")
        one.traces.note(trace, "delivery", "CallDisconnected", status=200)
        lines = tmp_path / "call-1/events.jsonl"
        await until(lambda: lines.read_bytes().count(b"\n") == 3, "the late event")


async def test_a_call_of_a_killed_node_is_shown_as_cut_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = Bench(tmp_path)
    trace = one.call(ended=False)
    await one.history.written(trace)
    with (tmp_path / "call-1/events.jsonl").open("ab") as file:
        file.write(b'{"seq":3,"sinceMs":17')  # it was killed while it wrote this
    async with bench(tmp_path) as two:
        assert await two.found() == ["call-1"]
        page = await two.history.page("call-1")
    assert page is not None
    assert (page["ended"], page["interrupted"], page["endedBy"]) == (True, True, "service")
    assert page["endedAt"] == "2023-11-14T22:13:21.123Z", "the last that is known of it"
    assert page["result"]["code"] == 500 and len(page["events"]) == 2
    assert (tmp_path / "call-1/events.jsonl").read_bytes().count(b"\n") == 2, "what was begun is gone"
    assert "cut off" in caplog.text


async def test_a_call_that_was_cut_off_lasted_as_long_as_its_sound(tmp_path: Path) -> None:
    """Nothing may have happened in it for long."""
    one, two = Bench(tmp_path), Bench(tmp_path)
    await one.history.written(one.call(ended=False))
    sound = {"side": "said", "beginMs": 20.0, "rate": 16000, "samples": 80000}
    two.history.audio = lambda folder: {"leg": [sound]}
    two.history.start()
    assert await two.found() == ["call-1"]
    page = await two.history.page("call-1")
    assert page is not None and page["endedAt"] == "2023-11-14T22:13:25.143Z"
    await two.history.close()


async def test_the_live_call_of_another_node_is_left_alone(tmp_path: Path) -> None:
    async with bench(tmp_path) as one:
        trace = one.call(ended=False)
        await until(lambda: (tmp_path / "call-1/call.json").exists(), "its description")
        async with bench(tmp_path) as two:
            assert await two.found() == []
        assert not json.loads((tmp_path / "call-1/call.json").read_bytes())["ended"]
        one.traces.end(trace)


async def test_what_is_too_old_goes_and_nothing_else(tmp_path: Path) -> None:
    async with bench(tmp_path) as one:
        one.call("old")
        one.clock.advance(3 * DAY)
        one.call("new")
    async with bench(tmp_path, wall=NOW + 8 * DAY) as two:
        assert await two.found() == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


async def test_of_too_much_the_oldest_goes_first(tmp_path: Path) -> None:
    async with bench(tmp_path, HistoryRule(megabytes=1)) as one:
        for number in range(4):
            one.call(f"call-{number}")
            sound = tmp_path / f"call-{number}/01-said.wav"
            await until(lambda path=sound: path.parent.exists(), "its folder")  # type: ignore[misc]
            sound.write_bytes(bytes(400_000))
            one.clock.advance(60.0)
    async with bench(tmp_path, HistoryRule(megabytes=1)) as two:
        assert await two.found() == ["call-3", "call-2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["call-2", "call-3"]


async def test_nothing_is_kept_where_nothing_is_to_be(tmp_path: Path) -> None:
    async with bench(tmp_path / "calls", HistoryRule(days=0)) as one:
        trace = one.call()
        assert not await one.history.written(trace)
    assert not (tmp_path / "calls").exists()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("call.json", b"{"),
        ("call.json", b"[]"),
        ("call.json", b'{"callId": 5, "startedAt": "x"}'),
        ("call.json", b'{"callId": "call-1", "startedAt": "yesterday"}'),
        ("call.json", b'{"callId": "another", "startedAt": "2023-11-14T22:13:20.000Z"}'),
        ("call.json", b'{"callId":' + b"[" * 100_000),
        ("call.json", b"x" * (1 << 20) + b"x"),
        (
            "call.json",
            b'{"callId": "call-1", "startedAt": "2023-11-14T22:13:20Z", "ended": false, "legs": [{"legId": "l",'
            b'"number": 1, "audio": [{"side": "said", "beginMs": 0, "rate": 0, "samples": 1}]}]}',
        ),
        ("call.json", b'{"callId": "call-1", "startedAt": "9999-12-31T23:59:59+00:00", "ended": false}'),
    ],
)
async def test_a_damaged_call_is_left_out_and_the_others_are_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, data: bytes
) -> None:
    async with bench(tmp_path) as one:
        one.call("call-1")
        one.call("call-2")
    (tmp_path / "call-1" / name).write_bytes(data)
    os.utime(tmp_path / "call-1", (NOW, NOW))
    async with bench(tmp_path) as two:
        assert await two.found() == ["call-2"]
        assert await two.history.page("call-1") is None or b"another" in data or b"9999" in data
    assert "call-1 is left out" in caplog.text


async def test_things_that_are_no_calls_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "outside").mkdir()
    os.symlink(tmp_path / "outside", tmp_path / "linked")
    async with bench(tmp_path) as one:
        assert await one.found() == []
    assert (tmp_path / "a file").exists() and (tmp_path / "outside").exists()


async def test_a_full_disk_is_told_once_and_hurts_no_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries = []

    def full(*args: Any) -> None:
        tries.append(args)
        raise OSError(errno.ENOSPC, "No space left on device")

    caplog.set_level(logging.WARNING)
    async with bench(tmp_path) as one:
        with monkeypatch.context() as patch:
            patch.setattr(module, "append_events", full)
            trace = one.call()
            await until(lambda: len(tries) > 3, "tries to write")
        await until(lambda: one.history.find("call-1"), "there is room again, though nothing more happens")
        page = await one.history.page("call-1")
    assert page == trace.page(), "nothing is missing"
    assert caplog.text.count("calls are not kept") == 1 and "No space left" in caplog.text


async def test_a_folder_that_cannot_be_made_is_told_and_hurts_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "calls").write_text("in the way")
    async with bench(tmp_path / "calls") as one:
        one.call()
        await until(lambda: "calls are not kept" in caplog.text, "a try to write")
        one.traces._forget()
        await until(lambda: not one.history._dirty and not one.history._busy, "the end of the tries")
        assert not one.history._progress
    assert caplog.text.count("calls are not kept") == 1


async def test_what_a_killed_node_wrote_in_part_spoils_nothing_that_is_added_later(tmp_path: Path) -> None:
    async with bench(tmp_path) as one:
        one.call()
    lines = tmp_path / "call-1/events.jsonl"
    lines.write_bytes(lines.read_bytes() + b'{"seq":3,"sinceMs":17')
    event = {
        "seq": 3, "sinceMs": 5000.0, "kind": "delivery", "name": "X", "leg": None, "connection": None, "detail": {},
    }  # fmt: skip
    async with bench(tmp_path) as two:
        await two.found()
        page = await two.history.page("call-1")
        assert page is not None
        await two.history.add(page, event)
        assert await two.history.page("call-1") == page and page["eventCount"] == 3
        (kept,) = two.history.kept()
        assert kept.row()["events"] == 3, "the list says the same"


async def test_a_disk_that_refuses_is_asked_once_for_all_and_one_bad_folder_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(tmp_path) as one:
        (tmp_path / "call-0").write_text("in the way")
        tries, write = list[str](), one.history._write_one

        def counted(trace: CallTrace) -> bool:
            tries.append(trace.call_id)
            return write(trace)

        monkeypatch.setattr(one.history, "_write_one", counted)
        for number in range(5):
            one.call(f"call-{number}")
        assert [trace.call_id for trace in one.history._write(list(one.history._dirty.values()))][-1] == "call-0"
        assert tries == ["call-0"]
        await until(lambda: len(list(one.history.kept())) == 4, "all the others")
        monkeypatch.setattr(module, "WRITE_EVERY", 60.0)
        await until(lambda: not one.history._busy, "the last try")
        one.call("call-9")
    assert (tmp_path / "call-9/call.json").exists(), "what is written at the end goes past it too"


async def test_what_was_written_in_part_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Bench(tmp_path)
    trace = one.call(ended=False)
    await one.history.written(trace)
    write, wrote = os.write, 0

    def tight(fd: int, data: Any) -> int:
        nonlocal wrote
        if wrote:
            raise OSError(errno.ENOSPC, "No space left on device")
        wrote = write(fd, bytes(data)[:20])
        return wrote

    one.traces.note(trace, "leg", "more")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", tight)
        assert not await one.history.written(trace)
    assert wrote == 20
    one.traces.note(trace, "leg", "and more")
    assert await one.history.written(trace)
    lines = (tmp_path / "call-1/events.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [1, 2, 3, 4]


async def test_an_event_that_is_added_to_a_kept_call_stays(tmp_path: Path) -> None:
    async with bench(tmp_path) as one:
        one.call()
    event = {
        "seq": 3, "sinceMs": 5000.0, "kind": "delivery", "name": "X", "leg": None, "connection": None, "detail": {},
    }  # fmt: skip
    async with bench(tmp_path) as two:
        await two.found()
        page = await two.history.page("call-1")
        assert page is not None
        shown = await two.history.add(page, event)
        assert shown["atMs"] == round(5000.0 - page["answeredMs"], 1)
        assert await two.history.page("call-1") == page and len(page["events"]) == page["eventCount"] == 3


async def test_a_call_that_was_deleted_and_is_told_of_again_is_whole(tmp_path: Path) -> None:
    async with bench(tmp_path) as one:
        trace = one.call()
        assert await one.history.written(trace)
        shutil.rmtree(tmp_path / "call-1")
        one.traces.note(trace, "delivery", "late")
        assert await one.history.written(trace)
        assert await one.history.page("call-1") == trace.page()


async def test_a_node_that_stops_as_it_starts_writes_its_own_calls_before_it_finds_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        (tmp_path / f"call-{number + 10}").mkdir()
    look = read_header

    def slow(folder: Path) -> dict[str, Any]:
        time.sleep(0.01)
        return look(folder)

    monkeypatch.setattr(module, "read_header", slow)
    monkeypatch.setattr(module, "CLOSE_WITHIN", 0.5)
    async with bench(tmp_path) as one:
        one.call()
    assert (tmp_path / "call-1/call.json").exists()


async def test_closing_waits_for_a_slow_disk_only_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(module, "CLOSE_WITHIN", 0.05)
    monkeypatch.setattr(module, "append_events", lambda *args: release.wait(10) and None)
    one = Bench(tmp_path)
    one.history.start()
    one.call()
    await asyncio.wait_for(one.history.close(), 5)
    release.set()
    await one.history.close()
