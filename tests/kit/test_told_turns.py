"""What an app tells its node of turns: in the trace of the call, next to what the node measured of them itself."""

from __future__ import annotations

import contextlib
import logging
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientSession, web
from azure.communication.callautomation.aio import CallAutomationClient
from tests.live import LiveNode, call, dev_node, trace, until
from tests.web_server import web_server

from offhook.assets import speech_wav
from offhook.audio.pcm import to_bytes
from offhook.audio.wav import read_wav, write_wav
from offhook.kit import Call, SpeechEnded, TurnReport, VoiceApp
from offhook.kit.telemetry import words
from offhook.service.app_environment import environment
from offhook.wire.signing import http_date, sign_hmac

RATE = 16000
AGREE_MS = 100
"""Of the first sound, between the app's count and what the node finds: two or three frames, more on a busy machine."""
SPEECH_END_MS = 120
"""Of the end of speech, which one finds by a voice detector and the other by the level."""


class Answering:
    """Greets, and answers whatever is said by a tone; keeps the turns of each call."""

    def __init__(self, client: CallAutomationClient) -> None:
        self.voice = VoiceApp(rate=RATE, telemetry=True, client=client)
        self.turns: dict[str, list[TurnReport]] = {}
        self.voice.on_call(self.agent)
        self.voice.on_turn(self.keep)
        self.voice.on_turn(self.fail)

    async def agent(self, call: Call) -> None:
        turns = call.turns
        await call.play(tone(0.3), interruptible=False)
        async for event in turns:
            if isinstance(event, SpeechEnded):
                call.play(tone(0.6))

    def keep(self, call: Call, turn: TurnReport) -> None:
        self.turns.setdefault(call.id, []).append(turn)

    def fail(self, call: Call, turn: TurnReport) -> None:
        raise RuntimeError("a handler that fails costs only itself")

    @contextlib.asynccontextmanager
    async def serving(self, port: int) -> AsyncIterator[None]:
        app = web.Application()
        self.voice.public_url = f"http://127.0.0.1:{port}"
        self.voice.add_to(app)
        async with web_server(app, port):
            yield


def tone(seconds: float) -> bytes:
    at = np.arange(round(seconds * RATE)) / RATE
    return to_bytes((6000 * np.sin(2 * np.pi * 400 * at)).astype(np.int16))


def spoken(path: Path) -> Path:
    """Speech of 0.8 s."""
    sound = read_wav(speech_wav())
    path.write_bytes(write_wav(sound.samples[: round(0.8 * sound.rate)], sound.rate))
    return path


async def figures(node: LiveNode, call_id: str) -> dict[str, Any]:
    path = f"/console/api/calls/{call_id}/figures"
    signed = sign_hmac("GET", path, node.http.removeprefix("http://"), http_date(time.time()), b"", b64decode(node.key))
    async with ClientSession() as session, session.get(node.http + path, headers=signed) as response:
        assert response.status == 200
        return dict(await response.json())


async def test_the_nodes_figures_and_the_apps_turns_agree(
    tmp_path: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    caplog.set_level(logging.INFO, "offhook.kit.turns")
    async with dev_node(tmp_path, "--incoming", f"http://127.0.0.1:{port}/api/incomingCall") as node:
        for name, value in environment(node.info).items():
            monkeypatch.setenv(name, value)
        # A process that has imported aiohttp has its certificates already, so the client is given the node's.
        app = Answering(
            CallAutomationClient.from_connection_string(node.connection_string, connection_verify=node.info["caBundle"])
        )
        wav = spoken(tmp_path / "said.wav")
        async with app.serving(port):
            await until(lambda: any(one["state"] == "validated" for one in node.named("subscription")), "the webhook")
            status, report = await call(node, "--wav", str(wav), "--lead", "1.0", "--duration", "4.2")
            assert status == 0, report
            ((connection, turns),) = app.turns.items()
            page, own = await trace(node, connection), await figures(node, connection)
    told = [event for event in page["events"] if event["kind"] == "turn"]
    assert [(one["detail"]["turn"], one["name"], one["connection"]) for one in told] == [
        ("greeting", "heard", connection),
        ("answer", "heard", connection),
    ]
    assert [one["detail"]["spans"] for one in told] == [turn.spans for turn in turns]
    lines = [record.getMessage() for record in caplog.records if record.name == "offhook.kit.turns"]
    assert lines == [f"call {connection}: {words(turn)}" for turn in turns]

    (measured,), detail = own["turns"], told[1]["detail"]
    assert sum(detail["spans"].values()) == detail["responseMs"] == turns[1].response_ms
    assert abs(detail["firstHeardMs"] - measured["heardMs"]) <= AGREE_MS
    assert abs(detail["stoppedMs"] - measured["speechEndedMs"]) <= SPEECH_END_MS
    assert abs(detail["responseMs"] - measured["latencyMs"]) <= AGREE_MS + SPEECH_END_MS
    greeting = next(row["value"] for row in own["figures"] if row["name"] == "greetingLatency")
    assert abs(told[0]["detail"]["firstHeardMs"] - greeting) <= AGREE_MS
    assert detail["heardMs"] == pytest.approx(600, abs=1) and detail["errorMs"] < 100
    assert [record for record in caplog.records if "the handler of turns" in record.getMessage()]
