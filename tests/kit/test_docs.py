"""docs/kit.md: its examples run, and it names what the kit exports."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from offhook import kit
from offhook.kit import Stream, TurnReport
from offhook.wire.streaming import AppAudio, FrameWriter, StopAudio, audio_metadata, dtmf_data, parse_app_message

PAGE = (Path(__file__).parents[2] / "docs/kit.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
FRAME = FrameWriter(None).build(b"\x01\x02" * 320, b"2024-11-15T19:16:12.925Z", False).decode()


def example(part: str) -> dict[str, Any]:
    (text,) = [text for text in EXAMPLES if part in text]
    names: dict[str, Any] = {}
    exec(compile(text, "docs/kit.md", "exec"), names)
    return names


class Socket:
    def __init__(self, *messages: str) -> None:
        self.messages = list(messages)
        self.sent: list[Any] = []
        self.code: int | None = None

    async def receive(self) -> str | None:
        return self.messages.pop(0) if self.messages else None

    async def send(self, text: str) -> None:
        self.sent.append(parse_app_message(text))

    async def close(self, code: int, reason: str) -> None:
        self.code = code


def test_the_message_example() -> None:
    on_message = example("def on_message(text):")["on_message"]
    assert parse_app_message(on_message(FRAME)) == AppAudio(b"\x01\x02" * 320)
    assert parse_app_message(on_message(dtmf_data("#"))) == StopAudio()
    assert on_message(dtmf_data("1")) is None


def test_the_handler_example(capsys: pytest.CaptureFixture[str]) -> None:
    socket = Socket(audio_metadata("id", 16000).decode(), FRAME, dtmf_data("#").decode(), FRAME)
    stream = Stream(socket, {"x-ms-call-connection-id": "connection-1"})
    asyncio.run(example("async def on_stream")["on_stream"](stream))
    assert socket.sent == [AppAudio(b"\x01\x02" * 320), StopAudio()]
    assert capsys.readouterr().out == "connection-1 16000\n"


def test_the_barge_in_example() -> None:
    told: list[tuple[str, int]] = []

    class Model:
        async def truncate(self, item: str, audio_end_ms: int) -> None:
            told.append((item, audio_end_ms))

    async def run() -> None:
        stream = Stream(Socket(audio_metadata("id", 16000).decode(), *[FRAME] * 11), {})
        await stream.opened()
        await stream.play(bytes(32000))
        async for _ in stream:
            pass
        stream._closed = False  # the socket of this test has nothing more to say, but it is there
        await example("on_speech_started")["on_speech_started"](stream, Model(), "item-1")

    asyncio.run(run())
    assert told == [("item-1", 225)]


def test_the_session_example() -> None:
    sent: list[str] = []
    example("session = StreamSession()")["on_message"](FRAME, sent.append)
    assert [parse_app_message(text) for text in sent] == [AppAudio(bytes(320))]


def test_the_token_example() -> None:
    assert asyncio.run(example("check = TokenCheck")["allowed"](None)) is False


def test_the_telemetry_example(capsys: pytest.CaptureFixture[str]) -> None:
    measure = example("def measure")["measure"]

    class Call:
        id = "call-1"

    measure(Call(), TurnReport(2, "answer", "heard", 100, 700, 900, 901, 920, 1920, 1000, 1, 0, 20))
    measure(Call(), TurnReport(3, "answer", "unanswered", 100, 700, None, None, None, 1920, 0, 0, 0, 20))
    assert capsys.readouterr().out == "call-1 820 {'detection': 600, 'answer': 200, 'sending': 1, 'playout': 19}\n"


def test_every_example_compiles() -> None:
    assert len(EXAMPLES) >= 7
    for text in EXAMPLES:
        compile(text, "docs/kit.md", "exec")


def test_the_page_names_what_there_is() -> None:
    for name in re.findall(r"from offhook\.kit import ([\w, ]+)", PAGE):
        for one in name.split(", "):
            assert hasattr(kit, one), one
    for name in ("stream_handler", "stream_app", "accept_stream", "serve", "PlayQueueFull", "Unreadable"):
        assert name in kit.__all__
        assert f"`{name}" in PAGE or f" {name}(" in PAGE, name
