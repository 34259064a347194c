"""MediaStream: what the app says, keys, marks, and closing."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from picows import WSMsgType
from tests.live import until
from tests.raw_socket import BINARY, CLOSE, TEXT, RawSocket, raw_app, tcp_app
from tests.service.stream_bench import Bench, app, bench, hold

from offhook.audio.buffers import Cut

TEXT_KIND = WSMsgType.TEXT
AUDIO = {"kind": "AudioData", "audioData": {"data": base64.b64encode(b"\1\0" * 320).decode()}}
STOP = '{"kind":"StopAudio","stopAudio":{}}'
CONTINUATION = 0


# what the app says --------------------------------------------------------------------------------------------------


async def say(
    messages: list[tuple[bytes, int, bool]], wait: Callable[[Bench], bool], check: Callable[[Bench], None]
) -> None:
    """Open a stream to an app that says these frames; then wait and check."""

    async def speak(socket: RawSocket) -> None:
        for payload, opcode, fin in messages:
            socket.send(payload, opcode, fin=fin)
        await socket.reader.read()

    async with raw_app(speak) as url, bench(url) as one:
        await one.until_told()

        def waited() -> bool:
            one.batch.read()
            return wait(one)

        await until(waited, "the app's messages")
        check(one)


async def test_a_message_in_fragments_is_put_together() -> None:
    text = json.dumps(AUDIO).encode()
    parts = [(text[:10], TEXT, False), (text[10:11], CONTINUATION, False), (text[11:], CONTINUATION, True)]

    def check(one: Bench) -> None:
        assert one.port.playout.queued_samples == 320
        assert one.port.counters.bad_messages == 0

    await say(parts, lambda one: one.port.counters.messages_in == 1, check)


async def test_binary_frames_are_read_as_text() -> None:
    await say(
        [(json.dumps(AUDIO).encode(), BINARY, True)],
        lambda one: one.port.counters.messages_in == 1,
        lambda one: None,
    )


async def test_bad_messages_are_counted_said_once_and_cost_nothing() -> None:
    odd = json.dumps({"kind": "AudioData", "audioData": {"data": base64.b64encode(b"123").decode()}}).encode()
    frames = [odd, odd, b"not json", b"\xff\xfe", b"[]", b'{"kind":"Nonsense"}', b"", json.dumps(AUDIO).encode()]

    def check(one: Bench) -> None:
        assert one.port.counters.bad_messages == 2
        assert one.port.counters.ignored_messages == 5
        assert len(one.owner.problems()) == 1
        assert one.owner.kinds == ["opened"]

    await say([(f, BINARY, True) for f in frames], lambda one: one.port.counters.messages_in == 1, check)


async def test_frames_of_the_other_rate_are_said_once() -> None:
    other = json.dumps({"kind": "AudioData", "audioData": {"data": base64.b64encode(bytes(960)).decode()}}).encode()

    def check(one: Bench) -> None:
        assert one.owner.problems() == ["frames of 960 bytes are not 20 ms at 16000 Hz: is the rate right?"]

    await say([(other, TEXT, True)] * 200, lambda one: one.port.counters.messages_in == 200, check)


async def test_a_flood_beyond_ten_minutes_is_refused_and_said() -> None:
    minute = json.dumps({"kind": "AudioData", "audioData": {"data": base64.b64encode(bytes(1_920_000)).decode()}})

    def check(one: Bench) -> None:
        assert one.port.playout.queued_samples == 600 * 16000
        assert one.port.playout.refused == 60 * 16000
        assert len(one.owner.problems()) == 1

    await say([(minute.encode(), TEXT, True)] * 11, lambda one: one.port.counters.messages_in == 11, check)


async def test_stop_audio_cuts_behind_the_audio_before_it() -> None:
    def check(one: Bench) -> None:
        assert one.owner.cuts == [Cut(0, 320, 0)]
        assert one.port.playout.queued_samples == 320

    audio = json.dumps(AUDIO).encode()
    await say(
        [(audio, TEXT, True), (STOP.encode(), TEXT, True), (audio, TEXT, True)],
        lambda one: one.port.counters.messages_in == 2,
        check,
    )


async def test_a_long_message_is_read_at_once_and_in_its_order() -> None:
    big = json.dumps({"kind": "AudioData", "audioData": {"data": base64.b64encode(b"\2\0" * 16000).decode()}}).encode()

    async def speak(socket: RawSocket) -> None:
        socket.send(json.dumps(AUDIO).encode())
        socket.send(big)
        await socket.reader.read()

    async with raw_app(speak) as url, bench(url) as one:
        await until(lambda: one.port.counters.messages_in == 2)
        frames = [one.port.read() for _ in range(2)]
        assert [None if f is None else int(f[0]) for f in frames] == [1, 2]


@pytest.mark.parametrize("fragmented", [False, True])
async def test_a_message_over_four_mebibytes_is_closed_with_1009(fragmented: bool, quick: None) -> None:
    codes: list[bytes] = []

    async def flood(socket: RawSocket) -> None:
        if fragmented:
            socket.send(b'{"kind":"AudioData","audioData":{"data":"', fin=False)
            for _ in range(5):
                socket.send(b"A" * 1024 * 1024, CONTINUATION, fin=False)
        else:
            socket.send(b"A" * (4 * 1024 * 1024 + 1))
        while True:
            _, opcode, payload = await socket.frame()
            if opcode == CLOSE:
                codes.append(payload[:2])
                socket.send(b"\x03\xe8", CLOSE)  # some libraries answer any close with 1000

    async with raw_app(flood) as url, bench(url) as one:
        await one.until_told(2)
        assert codes[0] == b"\x03\xf1"
        reason = str(next(detail["reason"] for _, detail in one.owner.notes if "reason" in detail))
        assert "1009" in reason and str(4 * 1024 * 1024) in reason
        assert "closed by the app" not in one.owner.kinds


async def test_a_message_of_just_four_mebibytes_is_read() -> None:
    frame = json.dumps(AUDIO).encode().ljust(4 * 1024 * 1024)
    await say([(frame, TEXT, True)], lambda one: one.port.counters.messages_in == 1, lambda one: None)


# dtmf and marks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [True, False])
async def test_keys_are_told_only_to_apps_that_asked(wanted: bool) -> None:
    async with app(hold) as (url, came), bench(url, dtmf=wanted) as one:
        one.stream.send_dtmf("9", b"2024-11-15T19:16:12.925Z", "4:+15550001")
        await one.until_told()
        one.stream.send_dtmf("#", b"2024-11-15T19:16:12.925Z", "4:+15550001")
        one.tick()
        await came[0].recv()
        message = json.loads(await came[0].recv())
        if not wanted:
            assert message["kind"] == "AudioData"
            return
        assert message == {
            "kind": "DtmfData",
            "dtmfData": {"data": "#", "timestamp": "2024-11-15T19:16:12.925Z", "participantRawID": "4:+15550001"},
        }


async def test_marks_are_told_when_heard_or_cut() -> None:
    def marked(name: str) -> str:
        audio: dict[str, Any] = {**AUDIO["audioData"], "mark": {"id": name, "sequence": 1}}  # type: ignore[dict-item]
        return json.dumps({"kind": "AudioData", "audioData": audio})

    async with app(hold) as (url, came), bench(url) as one:
        await one.until_told()
        for text in (marked("one"), marked("two"), STOP):
            await came[0].send(text)
            await until(lambda: one.batch.came)
            one.tick()
        told: list[Any] = []
        while len(told) < 2:
            message = json.loads(await came[0].recv())
            if message["kind"] == "MarkData":
                told.append(message["markData"])
        assert told == [{"id": "one", "status": "Completed"}, {"id": "two", "status": "Completed"}]
        assert one.owner.marks == [("one", True), ("two", True)]


# closing ------------------------------------------------------------------------------------------------------------


async def test_close_says_1000_and_nothing_is_told() -> None:
    async with app(hold) as (url, came), bench(url) as one:
        await one.until_told()
        one.stream.close()
        one.stream.close()
        assert not one.port.connected
        await one.stream.closed()
        await came[0].wait_closed()
        assert came[0].close_code == 1000
        assert one.owner.kinds == ["opened"]


async def test_close_waits_at_most_a_second_for_an_answer() -> None:
    async def never(socket: RawSocket) -> None:
        await socket.read_strictly()

    async with raw_app(never) as url, bench(url) as one:
        await one.until_told()
        began = time.monotonic()
        one.stream.close()
        assert time.monotonic() - began < 0.05, "nothing is waited for here"
        await one.stream.closed()
        assert 0.9 < time.monotonic() - began < 1.3
        assert one.owner.kinds == ["opened"]


async def dialled(one: Bench) -> None:
    await until(lambda: one.dials)


async def test_close_while_dialling_and_between_tries(free_port: Callable[[], int]) -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with tcp_app(mute) as port:
        for url in (f"ws://127.0.0.1:{port}/", f"ws://127.0.0.1:{free_port()}/"):
            async with bench(url) as one:
                await dialled(one)
                one.stream.close()
                await asyncio.wait_for(one.stream.closed(), 2.0)
                assert one.owner.told == []


async def test_close_at_any_turn_of_the_dial_leaves_no_socket() -> None:
    async with app(hold) as (url, came):
        for turns in range(25):
            one = Bench(url)
            one.stream.open()
            for _ in range(turns):
                await asyncio.sleep(0)
            one.stream.close()
            await one.stream.closed()
            assert "failed" not in one.owner.kinds
        await until(lambda: all(connection.state.name == "CLOSED" for connection in came), "every socket is gone", 3)


async def test_close_before_open_is_nothing() -> None:
    one = Bench("ws://127.0.0.1:1/")
    one.stream.close()
    await one.stream.closed()
    assert one.owner.told == []
