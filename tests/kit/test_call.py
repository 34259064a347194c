"""A call as its agent has it: what is played and heard, sources that fail or never end, keys, events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.kit.shell import LOUD, Socket, a_call, opened, settle, until

from offhook.audio.wav import write_wav
from offhook.kit import Call, CallEnded, OffhookError, PlayQueueFull
from offhook.kit import sources as sources_module
from offhook.kit.events import CallbackEvent, PlayCompleted, PlayFailed
from offhook.kit.session import GONE_MS
from offhook.wire.app_events import read_callbacks, read_grid_events
from offhook.wire.streaming import FrameWriter

SECOND = LOUD * 50


class Endless:
    """A source that never ends, and says what became of it."""

    def __init__(self, piece: bytes = LOUD) -> None:
        self.pulled = 0
        self.closed = 0
        self.piece = piece

    async def stream(self) -> AsyncIterator[bytes]:
        try:
            while True:
                self.pulled += 1
                yield self.piece
                await asyncio.sleep(0)
        finally:
            self.closed += 1

    async def stuck(self) -> AsyncIterator[bytes]:
        try:
            yield self.piece
            await asyncio.Event().wait()
        finally:
            self.closed += 1

    def plain(self) -> Iterator[bytes]:
        try:
            while True:
                self.pulled += 1
                yield self.piece
        finally:
            self.closed += 1


@pytest.fixture
async def live() -> AsyncIterator[tuple[Call, Socket]]:
    call, _ = a_call()
    socket, task = await opened(call)
    yield call, socket
    socket.drop()
    await task


def event(name: str, context: str | None = None) -> CallbackEvent:
    text = f'"operationContext":"{context}"' if context else ""
    return read_callbacks(f'[{{"type":"Microsoft.Communication.{name}","data":{{{text}}}}}]'.encode())[0]


# ------------------------------------------------------------------ what can be played


async def test_every_kind_of_source_is_heard(live: tuple[Call, Socket], tmp_path: Path) -> None:
    call, socket = live
    tone = (np.sin(np.arange(800) / 3) * 9000).astype(np.int16)
    wav = write_wav(tone, 8000)
    (tmp_path / "tone.wav").write_bytes(wav)

    async def stream() -> AsyncIterator[bytes]:
        yield LOUD[:7]
        yield LOUD[7:]

    for source, length in (
        (LOUD, 20),
        (bytearray(LOUD), 20),
        (memoryview(LOUD), 20),
        (wav, 100),
        (tmp_path / "tone.wav", 100),
        (str(tmp_path / "tone.wav"), 100),
        (stream(), 20),
        ([LOUD, LOUD], 40),
        (iter([LOUD]), 20),
    ):
        socket.sent.clear()
        playback = call.play(source)
        async with asyncio.timeout(5):
            while not playback.done:
                await socket.heard(1)
        assert (playback.length_ms, playback.heard_ms, playback.cut) == (length, length, False), source
        assert len(socket.audio) == length * 32
        assert await playback is playback


async def test_what_cannot_be_played_is_named(live: tuple[Call, Socket]) -> None:
    call, _ = live
    with pytest.raises(TypeError, match="not NoneType"):
        call.play(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not int"):
        call.play(5)  # type: ignore[arg-type]
    with open(__file__, "rb") as file, pytest.raises(TypeError, match="the bytes of a WAV file.* not BufferedReader"):
        call.play(file)
    assert not call.speaking


async def test_playbacks_are_heard_in_order_whatever_they_are_made_of(live: tuple[Call, Socket]) -> None:
    call, socket = live
    gate = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        await gate.wait()
        yield b"\x02\x00" * 320

    sources = (b"\x01\x00" * 320, slow(), b"\x03\x00" * 320, [b"\x04\x00"])
    playbacks = [call.play(source) for source in sources]
    await settle()
    assert socket.audio == b"\x01\x00" * 320
    gate.set()
    await until(lambda: len(socket.audio) == 1922)
    assert socket.audio == b"\x01\x00" * 320 + b"\x02\x00" * 320 + b"\x03\x00" * 320 + b"\x04\x00"
    await socket.heard(6)
    assert all(one.done and not one.cut for one in playbacks)
    again = call.play(LOUD)  # nothing waits any more: it goes out at once
    await until(lambda: socket.audio.endswith(LOUD))
    assert again.length_ms == 20


@pytest.mark.parametrize("broken", ["missing.wav", b"RIFF\0\0\0\0WAVEfmt ", ["text"], "generator"], ids=str)
async def test_a_source_that_fails_fails_alone(
    live: tuple[Call, Socket], broken: object, caplog: pytest.LogCaptureFixture
) -> None:
    call, socket = live

    async def failing() -> AsyncIterator[bytes]:
        yield LOUD
        raise ZeroDivisionError

    bad = call.play(failing() if broken == "generator" else broken)  # type: ignore[arg-type]
    good = call.play(LOUD)
    await until(lambda: bad.error is not None)
    await settle()
    await socket.heard(4)
    assert "call connection-1: a source of sound failed" in caplog.text and "Traceback" in caplog.text
    assert isinstance(bad.error, OSError | ValueError | OffhookError | TypeError | ZeroDivisionError)
    with pytest.raises(type(bad.error)):
        await bad
    assert bad.heard_ms == (20 if broken == "generator" else 0) and good.heard_ms == 20 and good.done
    assert not call.ended.is_set()


@pytest.mark.parametrize("kind", ["stream", "stuck", "plain"])
async def test_a_source_is_closed_when_it_is_cut(live: tuple[Call, Socket], kind: str) -> None:
    call, socket = live
    source = Endless()
    generator = getattr(source, kind)()  # held here, so that nothing but closing it closes it
    playback = call.play(generator)
    waiting = Endless()
    behind = call.play(waiting.stream())
    await until(lambda: socket.audio)
    await socket.heard(2)
    assert await call.stop() == playback.heard_ms == call.heard == min(20 + GONE_MS, playback.length_ms)
    await until(lambda: source.closed == 1)
    assert playback.cut and behind.cut and waiting.pulled == 0
    after = call.play(LOUD)
    await until(lambda: socket.audio == LOUD)
    await socket.heard(2)
    assert after.done and not after.cut


async def test_a_source_is_pulled_no_further_than_half_a_minute_ahead(
    live: tuple[Call, Socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    call, socket = live
    for kind in ("stream", "plain"):
        source = Endless(SECOND)
        playback = call.play(getattr(source, kind)())
        await until(lambda playback=playback: playback.length_ms > 30_000)  # type: ignore[misc]
        await settle()
        assert playback.length_ms == 31_000 and source.pulled == 31
        await socket.heard(51)
        await until(lambda source=source: source.pulled == 32)  # type: ignore[misc]
        await settle()
        assert source.pulled == 32
        await call.stop()


async def test_samples_beyond_ten_minutes_are_refused(live: tuple[Call, Socket]) -> None:
    call, socket = live
    long = bytes(16000 * 2 * 590)
    first = call.play(long)
    with pytest.raises(PlayQueueFull):
        call.play(long)
    assert first.length_ms == 590_000
    await call.stop()
    assert not call.play(LOUD).done


async def test_what_waits_behind_an_endless_source_is_bounded(
    live: tuple[Call, Socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources_module, "MOST_WAITING", 2)
    call, _ = live
    call.play(Endless().stuck())
    await settle()
    call.play(LOUD)
    call.play(LOUD)
    with pytest.raises(PlayQueueFull, match="2 sources of sound wait"):
        call.play(LOUD)
    await call.stop()
    await settle()
    call.play(LOUD)
    monkeypatch.setattr(sources_module, "MOST_WAITING", 1000)
    call.play(Endless().stuck())
    call.play(bytes(16000 * 2 * 590))
    with pytest.raises(PlayQueueFull):
        call.play(bytes(16000 * 2 * 590))


async def test_what_was_heard_is_known_after_its_end(live: tuple[Call, Socket]) -> None:
    call, socket = live
    assert (call.heard, call.speaking) == (0, False)
    call.play(LOUD * 3)
    await until(lambda: socket.audio)
    await socket.heard(2)
    assert (call.heard, call.speaking) == (20, True)
    await socket.heard(2)
    assert (call.heard, call.speaking) == (60, False)
    await socket.heard(9)
    assert call.heard == 60
    playback = call.play(LOUD * 9)
    await socket.heard(3)
    assert await call.stop() == call.heard == playback.heard_ms == 40 + GONE_MS
    await socket.heard(3)
    assert call.heard == 40 + GONE_MS and await call.stop() == 0


async def test_quiet_waits_for_all_that_was_played(live: tuple[Call, Socket]) -> None:
    call, socket = live
    call.play(LOUD)
    call.play(["no sound"])  # type: ignore[list-item]
    call.play([LOUD])
    waiting = asyncio.create_task(call.quiet())
    await socket.heard(2)
    assert not waiting.done()
    await socket.heard(3)
    await asyncio.wait_for(waiting, 5)


async def test_the_end_of_a_call_ends_all_of_it() -> None:
    call, _ = a_call()
    with pytest.raises(CallEnded, match="no stream yet"):
        call.play(LOUD)
    socket, task = await opened(call)
    source = Endless()
    playback = call.play(source.stuck())
    listeners: list[Any] = [call.audio, call.dtmf, call.turns, call.events]
    await until(lambda: socket.audio)
    call.take_event(event("CallDisconnected"))
    assert call.ended.is_set() and call.gone
    assert (await playback).cut
    for listener in listeners:
        assert [one async for one in listener] == ([] if listener is not listeners[3] else [event("CallDisconnected")])
    assert [one async for one in call.audio] == []
    with pytest.raises(CallEnded, match="over"):
        call.play(LOUD)
    await until(lambda: source.closed == 1)
    socket.drop()
    await task


async def test_turns_that_fail_leave_the_sound(live: tuple[Call, Socket], caplog: pytest.LogCaptureFixture) -> None:
    call, socket = live
    call.follows_turns = True
    call._barge_in.hear = lambda *_: 1 / 0  # type: ignore[union-attr, method-assign]
    frames = call.audio
    await socket.heard(3)
    assert [(await anext(frames)).pcm for _ in range(3)] == [LOUD] * 3
    assert caplog.text.count("turns cannot be told any more") == 1


async def test_turns_are_followed_from_the_first_look_at_them(live: tuple[Call, Socket]) -> None:
    call, socket = live
    heard: list[bytes] = []
    call._barge_in.hear = lambda pcm, speaker: heard.append(pcm)  # type: ignore[union-attr, method-assign]
    await socket.heard(2)
    assert not heard
    turns = call.turns
    await socket.heard(3)
    assert len(heard) == 3
    del turns
    await socket.heard(1)
    assert len(heard) == 4


async def test_frames_of_another_length_are_cut_to_20_ms(live: tuple[Call, Socket]) -> None:
    call, socket = live
    with pytest.raises(OffhookError, match="44100 Hz is not supported; use one of 8000"):
        call.audio_at(44100)
    frames, narrow = call.audio, call.audio_at(8000)
    first = asyncio.ensure_future(anext(narrow))
    for size in (300, 0, 1000, 20):
        socket.say(FrameWriter(None).build(bytes(size), b"2024-11-15T19:16:12.925Z", False).decode())
    await until(socket.incoming.empty)
    await settle()
    got = [await anext(frames) for _ in range(3)]
    assert [len(frame.pcm) for frame in got] == [640] * 3
    assert (len((await first).pcm), (await anext(narrow)).rate) == (320, 8000)


# ------------------------------------------------------------------ keys and events


async def test_keys_are_gathered(live: tuple[Call, Socket]) -> None:
    call, socket = live

    async def typed(keys: str, **how: float | int | str | None) -> str:
        task = asyncio.create_task(call.gather(**how))  # type: ignore[arg-type]
        await settle()
        socket.keys(keys)
        return await asyncio.wait_for(task, 5)

    assert await typed("12#9") == "12"
    assert await typed("1234", count=3) == "123"
    assert await typed("1*2", until="*") == "1"
    assert await typed("#") == ""
    assert await typed("7", timeout=0.01) == "7"
    assert await typed("", first_timeout=0.01) == ""


async def test_the_first_key_stops_the_prompt_and_its_time_begins_after_it(live: tuple[Call, Socket]) -> None:
    call, socket = live
    prompt = call.play(LOUD * 5)
    gathering = asyncio.create_task(call.gather(1, first_timeout=0))
    await socket.heard(3)
    assert not gathering.done()
    socket.keys("5")
    assert await gathering == "5"
    assert prompt.cut and prompt.heard_ms == 40 + GONE_MS
    fixed = call.play(LOUD * 5, interruptible=False)
    gathering = asyncio.create_task(call.gather(1))
    await settle()
    socket.keys("6")
    assert await gathering == "6" and not fixed.done
    await socket.heard(6)
    assert not fixed.cut
    call.play(LOUD)
    gathering = asyncio.create_task(call.gather(1, first_timeout=0))
    await settle()
    assert not gathering.done()
    await socket.heard(2)
    assert await gathering == ""


async def test_gathering_ends_with_the_call() -> None:
    call, _ = a_call()
    socket, task = await opened(call)
    gathering = asyncio.create_task(call.gather(5))
    await settle()
    socket.keys("12")
    await settle()
    socket.drop()
    assert await gathering == "12"
    await task


async def test_an_event_is_waited_for(live: tuple[Call, Socket]) -> None:
    call, _ = live
    waiting = call.wait_for(PlayCompleted, operation_context="b")
    either = call.wait_for((PlayCompleted, PlayFailed))
    for one in (event("PlayStarted"), event("PlayCompleted", "a"), event("PlayCompleted", "b")):
        call.take_event(one)  # before anybody awaits
    assert (await waiting).operation_context == "b"
    assert (await either).operation_context == "a"
    with pytest.raises(TimeoutError, match=r"connection-1 has had no PlayCompleted within 0\.01 s"):
        await call.wait_for(PlayCompleted, timeout=0.01)
    ending = asyncio.create_task(call.wait_for(PlayCompleted))
    await settle()
    call.take_event(event("CallDisconnected"))
    with pytest.raises(CallEnded):
        await ending


def test_custom_headers_are_those_of_the_announcement() -> None:
    path = Path(__file__).parents[1] / "fixtures/acs/samples/eventgrid/incoming-call.json"
    (incoming,) = read_grid_events(path.read_bytes())

    async def made() -> Call:
        return a_call(incoming=incoming)[0]  # type: ignore[arg-type]

    call = asyncio.run(made())
    assert call.custom_headers == {
        "userToUser": "616d617a6f6e",
        "X-MS-Custom-myheader1": "35567842",
        "myHeader": "myValue",
    }
    assert a_call_without_headers() == {}


def a_call_without_headers() -> dict[str, str]:
    async def made() -> dict[str, str]:
        return a_call()[0].custom_headers

    return asyncio.run(made())
