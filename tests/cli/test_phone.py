"""`offhook phone` against a stand-in for the node."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cli.fake_node import CALL_ID, ENDED, FakeNode, Send, frame, serving

from offhook.audio.wav import read_wav, write_wav
from offhook.cli import main
from offhook.cli.phone import register_message

PHONE = ["phone", "--json", "--number", "+15550100003"]


async def one_call(node: FakeNode, send: Send) -> None:
    await send({"kind": "registered", "identity": node.told[0]["identity"]})
    await send({"kind": "invite", "from": "4:+15550100009", "to": node.told[0]["identity"], "callId": CALL_ID})
    await send({"kind": "answered", "rate": 16000, "answerMs": 5})
    for index in range(5):
        await send(frame(index, np.full(320, index, "<i2").tobytes()))
    if "eof" not in node.names() and node.status.get("speaks"):
        await node.until_told("eof")
    await send({**ENDED, "endedBy": "app", "stats": {"durationMs": 120}})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((None, None, False), {"answerAfter": 1.0, "reject": None, "never": False}),
        ((0.0, None, False), {"answerAfter": 0.0, "reject": None, "never": False}),
        ((None, "busy", False), {"answerAfter": None, "reject": "busy", "never": False}),
        ((None, None, True), {"answerAfter": None, "reject": None, "never": True}),
    ],
)
def test_what_is_registered(options: tuple[float | None, str | None, bool], expected: dict[str, Any]) -> None:
    assert register_message("+15550100003", *options) == {
        "kind": "register",
        "identity": "4:+15550100003",
        "listen": True,
        **expected,
    }


def test_one_call_is_answered_spoken_and_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wav, out = tmp_path / "greeting.wav", tmp_path / "heard.wav"
    wav.write_bytes(write_wav(np.ones(1600, np.int16), 16000))
    with serving(FakeNode(one_call, status={"speaks": True})) as node:
        status = main([*PHONE, "--once", "--wav", str(wav), "--out", str(out), "--node", node.origin])
    assert status == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["registered", "invite", "answered", "ended"]
    assert events[1]["from"] == "4:+15550100009"
    heard = read_wav(out.read_bytes())
    assert heard.samples[::320].tolist() == [0, 1, 2, 3, 4, 0]
    assert bytes(node.audio) == np.ones(1600, "<i2").tobytes()


def test_one_call_that_is_not_answered_is_status_3(capsys: pytest.CaptureFixture[str]) -> None:
    async def scene(node: FakeNode, send: Send) -> None:
        await send({"kind": "registered", "identity": node.told[0]["identity"]})
        await send({"kind": "invite", "from": None, "to": node.told[0]["identity"], "callId": CALL_ID})
        await send({**ENDED, "code": 486, "subCode": 0})

    with serving(FakeNode(scene)) as node:
        assert main([*PHONE, "--once", "--reject", "busy", "--node", node.origin]) == 3


def test_a_number_that_is_taken_is_status_4(capsys: pytest.CaptureFixture[str]) -> None:
    async def scene(node: FakeNode, send: Send) -> None:
        await send({"kind": "error", "message": "registered by another phone"})

    with serving(FakeNode(scene)) as node:
        assert main([*PHONE, "--node", node.origin]) == 4
    assert "another phone" in capsys.readouterr().err


def test_no_node_is_status_4(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PHONE, "--node", "http://127.0.0.1:1"]) == 4
    assert "no node at" in capsys.readouterr().err


def test_a_waiting_phone_leaves_at_ctrl_c_with_status_0() -> None:
    async def scene(node: FakeNode, send: Send) -> None:
        await send({"kind": "registered", "identity": node.told[0]["identity"]})

    with serving(FakeNode(scene)) as node:
        command = [sys.executable, "-m", "offhook.cli", *PHONE, "--node", node.origin]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "registered"
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=20)
    assert (process.returncode, told) == (0, "")
