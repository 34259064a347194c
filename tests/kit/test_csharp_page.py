"""docs/csharp.md: the Python beside the C# runs, and does what is said of it."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.kit.shell import LOUD, a_call, opened, settle, until

import offhook.kit
import offhook.kit.events
from offhook.wire.streaming import AppAudio, StopAudio, parse_app_message

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "tests/fixtures/acs/samples"
PAGE = (ROOT / "docs/csharp.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
RESOURCE = "endpoint=http://127.0.0.1:1/;accesskey=a2V5"


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACS_CONNECTION_STRING", RESOURCE)
    monkeypatch.setenv("ACS_RESOURCE_ID", "00000000-0000-0000-0000-000000000000")


def block(part: str) -> dict[str, Any]:
    """The names of the block that has this."""
    (text,) = [text for text in BLOCKS if part in text]
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(text, "docs/csharp.md", "exec"), names)
    return names


def sample(name: str) -> str:
    return (SAMPLES / f"websocket/in-{name}.json").read_text()


async def test_both_credentials_make_a_client() -> None:
    names = block("def by_key")
    for client in (names["by_key"](RESOURCE), names["by_entra"]("https://my.communication.azure.com")):
        await client.close()


async def test_an_incoming_call_is_validated_and_answered_with_a_stream() -> None:
    asked: list[Any] = []

    class Client:
        async def answer_call(self, context: str, callback: str, *, media_streaming: Any) -> None:
            asked.append((context, callback, media_streaming._to_generated().serialize()))

    incoming = block("async def incoming")["incoming"]
    grid = SAMPLES / "eventgrid"
    answer = await incoming(Client(), json.loads((grid / "subscription-validation.json").read_text()))
    assert list(answer) == ["validationResponse"] and not asked
    assert await incoming(Client(), json.loads((grid / "incoming-call.json").read_text())) == {}
    ((context, callback, streaming),) = asked
    assert context and callback == "https://my.host/api/callbacks"
    assert streaming == {
        "transportUrl": "wss://my.host/ws", "transportType": "websocket", "contentType": "audio",
        "audioChannelType": "mixed", "startMediaStreaming": True, "enableBidirectional": True,
        "audioFormat": "pcm24KMono", "enableDtmfTones": True,
    }  # fmt: skip


def test_messages_are_read() -> None:
    told: list[object] = []
    on_message = block("def on_message")["on_message"]
    for name in ("audio-metadata-16k", "audio-data", "audio-data-mixed-silent.constructed", "dtmf-data"):
        on_message(sample(name), told)
    rate, pcm, key = told
    assert (rate, key) == (16000, "3") and isinstance(pcm, bytes) and len(pcm) == 640


def test_messages_are_built_as_net_builds_them() -> None:
    audio, stop = block("def messages")["messages"](b"ABCD")
    assert parse_app_message(audio) == AppAudio(b"ABCD") and parse_app_message(stop) == StopAudio()
    known = {
        row["text"]
        for name in ("out-audio-variants", "out-stop-variants")
        for row in json.loads((SAMPLES / f"websocket/{name}.json").read_text())
        if ".NET" in row["emitter"]
    }
    assert block("def messages")["messages"](b"ABC\\0"[:2])[1] in known
    assert audio.replace("QUJDRA==", "QUJD") in known


async def test_the_echo_and_what_was_heard() -> None:
    agent, names = block("async for frame in call.audio")["agent"], block("async def say")
    call, _ = a_call()
    socket, running = await opened(call)
    echoing = asyncio.create_task(agent(call))
    await settle()
    socket.frames(1)
    await until(lambda: socket.audio)
    assert socket.audio == LOUD
    echoing.cancel()
    told: list[float] = []
    listening = asyncio.create_task(names["truncate"](call, told))
    saying = asyncio.create_task(names["say"](call, LOUD * 5))
    await settle()
    await socket.heard(20)
    assert await saying == 100
    call._turn_events.put(offhook.kit.Interrupted(40.0))
    await settle()
    assert told == [40.0]
    listening.cancel()
    running.cancel()


async def test_keys_on_the_stream_and_by_an_action() -> None:
    names = block("async def pin")
    call, _ = a_call()
    socket, running = await opened(call)
    collecting = asyncio.create_task(names["pin"](call))
    await settle()
    socket.keys("12#")
    assert await collecting == "12"
    running.cancel()
    asked: list[Any] = []

    class Connection:
        async def start_recognizing_media(self, *args: Any, **more: Any) -> None:
            asked.append((args, more))

    call.connection = Connection()  # type: ignore[assignment]
    await names["pin_by_action"](call, "+15550100001")
    ((kind, who), more), = asked  # fmt: skip
    assert (kind.value, who.raw_id) == ("dtmf", "4:+15550100001")
    assert more == {"dtmf_max_tones_to_collect": 4, "dtmf_stop_tones": ["pound"]}


async def test_events_are_typed() -> None:
    from offhook.wire.app_events import read_callbacks

    names = block("async def outcome")
    call, _ = a_call()
    (event,) = read_callbacks((SAMPLES / "callbacks/play-failed.constructed.json").read_bytes())
    (connected,) = read_callbacks((SAMPLES / "callbacks/call-connected.constructed.json").read_bytes())
    waiting = asyncio.create_task(names["outcome"](call))
    await settle()
    call.take_event(event)
    assert await waiting is event
    await names["failed"](call, event)
    await names["connected"](call, connected)
    assert names["log"] == [event.sub_code, connected.call_connection_id]


def test_transcription() -> None:
    names = block("def on_words")
    assert names["on_words"](sample("transcription-data")) == "Testing transcription."
    assert names["on_words"](sample("transcription-metadata")) is None
    assert names["WORDS"].locale == "en-US" and names["WORDS"].start_transcription is True


async def test_a_transfer_that_fails_is_told() -> None:
    hand_over = block("async def hand_over")["hand_over"]

    class Refusing:
        gone = False

        async def transfer(self, target: str) -> None:
            raise offhook.kit.TransferFailed("busy", 486, 560486)

        async def hang_up(self) -> None:
            self.gone = True

    call = Refusing()
    assert await hand_over(call) == "486/560486" and call.gone


async def test_tokens() -> None:
    assert await block("async def allowed")["allowed"](None) is False


def test_every_block_was_run_and_every_name_is_there() -> None:
    source = inspect.getsource(inspect.getmodule(block) or pytest)
    parts = re.findall(r'block\("([^"]+)"\)', source)
    for text in BLOCKS:
        assert any(part in text for part in parts), text
    for name in re.findall(r"`([A-Z]\w+)\.[a-z_]+", PAGE.rpartition("## Names")[2]):
        assert hasattr(offhook.kit, name), name
    table = PAGE.rpartition("## Names")[2]
    for row in re.findall(r"\| `(\w+)\.[A-Z].*? \| `(\w+)\.(.*?)` \|", table):
        kind = getattr(offhook.kit, row[1])
        for field in re.findall(r"\w+", row[2]):
            assert hasattr(kind, field), (row[1], field)
