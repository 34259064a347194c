"""`offhook call` against a stand-in for the node: options, figures, recordings, exit statuses."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.fake_node import CALL_ID, ENDED, FakeNode, Send, echo_scene, ending_scene, frame, serving
from tests.live import until

from offhook.audio.wav import read_wav, write_wav
from offhook.cli import main
from offhook.cli.call import plan, read_dtmf
from offhook.cli.console_client import KEY_VARIABLE, LOCAL_KEY, node_address
from offhook.cli.voice import Voice
from offhook.errors import ConfigError

TO = ["call", "--json", "--to", "+15550100002"]
RESULT = [
    "answered", "answerMs", "firstAudioMs", "durationMs", "framesSent", "framesHeard", "lateFrames", "gaps",
    "echoDelayMs", "heard", "code", "subCode", "endedBy",
]  # fmt: skip


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """A second of noise at 16 kHz: as distinct as speech."""
    path = tmp_path / "speech.wav"
    noise = np.random.default_rng(7).normal(0, 4000, 16000).astype(np.int16)
    path.write_bytes(write_wav(noise, 16000))
    return path


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_an_answered_call_gives_all_figures_and_the_recording(
    speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "heard.wav"
    with serving(FakeNode(echo_scene(delay_frames=3))) as node:
        status = main([*TO, "--wav", str(speech), "--out", str(out), "--node", node.origin, "--dtmf", "0.2:1,0.1:#"])
    told = lines(capsys)
    assert status == 0
    assert [line["event"] for line in told[:-1]] == ["ringing", "placed", "answered", "spoke"]
    assert told[1]["callId"] == CALL_ID
    result = told[-1]
    assert list(result) == RESULT
    assert result["answered"] is True and result["answerMs"] == 21 and result["firstAudioMs"] == 60
    assert result["echoDelayMs"] == 60 and result["gaps"] == 0 and result["lateFrames"] == 2
    assert (result["code"], result["subCode"], result["endedBy"]) == (0, 560000, "caller")
    assert result["heard"] == str(out)
    heard, spoken = read_wav(out.read_bytes()), read_wav(speech.read_bytes())
    assert heard.rate == 16000 and len(heard.samples) * 1000 // 16000 == result["durationMs"]
    start = 8000 + 960
    assert (heard.samples[start : start + 16000] == spoken.samples).all()
    assert node.told[0] == {
        "kind": "place",
        "to": "4:+15550100002",
        "from": "4:+15550100001",
        "lead": 0.5,
        "duration": 2.5,
        "tone": None,
        "dtmf": [[0.1, "#"], [0.2, "1"]],
        "listen": True,
    }
    assert bytes(node.audio) == spoken.samples.tobytes()


def test_the_wav_is_spoken_at_the_rate_of_the_call(speech: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(FakeNode(echo_scene(rate=24000))) as node:
        assert main([*TO, "--wav", str(speech), "--node", node.origin]) == 0
    assert len(node.audio) == 24000 * 2
    assert lines(capsys)[-1]["echoDelayMs"] == 60


def test_frames_that_never_came_are_silence_and_counted(
    speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "heard.wav"
    with serving(FakeNode(echo_scene(lose=frozenset((40, 41))))) as node:
        assert main([*TO, "--wav", str(speech), "--out", str(out), "--node", node.origin]) == 0
    result = lines(capsys)[-1]
    heard = read_wav(out.read_bytes()).samples
    assert result["gaps"] == 2
    assert len(heard) == result["durationMs"] * 16
    assert not heard[40 * 320 : 42 * 320].any() and heard[39 * 320 : 40 * 320].any() and heard[42 * 320 :].any()


def test_other_sound_than_the_spoken_has_no_echo_delay(speech: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scene(node: FakeNode, send: Send) -> None:
        await send({"kind": "answered", "rate": 16000, "answerMs": 1})
        await node.until_told("eof")
        noise = np.random.default_rng(8).normal(0, 4000, (100, 320)).astype("<i2")
        for index, each in enumerate(noise):
            await send(frame(index, each.tobytes()))
        await send({**ENDED, "stats": {"durationMs": 2000}})

    with serving(FakeNode(scene)) as node:
        assert main([*TO, "--wav", str(speech), "--node", node.origin]) == 0
    assert lines(capsys)[-1]["echoDelayMs"] is None


@pytest.mark.parametrize(
    "scene",
    [
        [{"kind": "ringing"}, {**ENDED, "code": 603, "subCode": 0, "endedBy": "app"}],
        [{"kind": "placed", "callId": CALL_ID}, {**ENDED, "code": 487, "subCode": 10004, "endedBy": "timeout"}],
    ],
)
def test_rung_but_not_answered_is_status_3_without_a_recording(
    scene: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "heard.wav"
    out.write_bytes(b"of an earlier call")
    with serving(FakeNode(ending_scene(*scene))) as node:
        assert main([*TO, "--tone", "440", "--out", str(out), "--node", node.origin]) == 3
    result = lines(capsys)[-1]
    assert result["answered"] is False and result["heard"] is None and result["code"] == scene[-1]["code"]
    assert not out.exists()


def test_an_error_of_the_node_is_status_4(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(FakeNode(ending_scene({"kind": "error", "message": "no room"}))) as node:
        assert main([*TO, "--tone", "440", "--node", node.origin]) == 4
    told = capsys.readouterr()
    assert "no room" in told.err
    assert json.loads(told.out.splitlines()[-1])["error"] == "no room"


def test_a_node_that_vanishes_is_status_4_and_what_was_heard_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene(node: FakeNode, send: Send) -> None:
        await send({"kind": "answered", "rate": 16000, "answerMs": 1})
        await send(frame(0, bytes(640)))

    out = tmp_path / "heard.wav"
    with serving(FakeNode(scene)) as node:
        assert main([*TO, "--tone", "440", "--out", str(out), "--node", node.origin]) == 4
    assert len(read_wav(out.read_bytes()).samples) == 320
    assert "closed the connection" in lines(capsys)[-1]["error"]


@pytest.mark.parametrize("message", ["[]", '{"kind": "answered", "rate": 11025}', '{"a": 1}', '"x"'])
def test_messages_of_no_node_are_status_4(message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(FakeNode(ending_scene(json.loads(message)))) as node:
        assert main([*TO, "--tone", "440", "--node", node.origin]) == 4
    assert "Traceback" not in capsys.readouterr().err


def test_no_node_is_status_4_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TO, "--tone", "440", "--node", "http://127.0.0.1:1"]) == 4
    told = capsys.readouterr()
    assert told.err.splitlines() == [
        "offhook call: no node at http://127.0.0.1:1: nothing listens there: start one with  offhook dev"
    ]
    result = json.loads(told.out)
    assert result["answered"] is False and list(result)[: len(RESULT)] == RESULT


def test_a_node_with_a_key_of_its_own(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    own = "b3RoZXIta2V5"
    with serving(FakeNode(ending_scene({"kind": "ringing"}, ENDED), key=own)) as node:
        assert main([*TO, "--tone", "440", "--node", node.origin]) == 4
        assert "refused our key" in capsys.readouterr().err
        assert main([*TO, "--tone", "440", "--node", f"endpoint={node.origin}/;accesskey={own}"]) == 3
        monkeypatch.setenv(KEY_VARIABLE, own)
        assert main([*TO, "--tone", "440", "--node", node.origin]) == 3


def test_for_people_there_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(FakeNode(ending_scene({"kind": "ringing"}, ENDED))) as node:
        assert main(["call", "--to", "+15550100002", "--tone", "440", "--node", node.origin]) == 3
    told = capsys.readouterr()
    assert "not answered" in told.out and "caller, 0/560000" in told.out
    assert "\x1b" not in told.out + told.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "exactly one of --wav FILE"),
        (["--tone", "440", "--wav", "SPEECH"], "exactly one of --wav FILE"),
        (["--tone", "5"], "--tone"),
        (["--tone", "nan"], "--tone"),
        (["--text", "  "], "--text"),
        (["--wav", "/nowhere.wav"], "--wav"),
        (["--wav", "NOISE"], "--wav"),
        (["--wav", "SPEECH", "--lead", "-1"], "--lead"),
        (["--wav", "SPEECH", "--duration", "0"], "--duration"),
        (["--wav", "SPEECH", "--dtmf", "1:x"], "--dtmf"),
        (["--wav", "SPEECH", "--out", "/nowhere/heard.wav"], "--out"),
        (["--wav", "SPEECH", "--out", "/"], "--out"),
        (["--wav", "SPEECH", "--out", "SPEECH"], "--out"),
        (["--wav", "SPEECH", "--from", ""], "--from"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_call(
    options: list[str], says: str, speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = tmp_path / "noise.wav"
    noise.write_bytes(b"this is no sound")
    given_options = [{"SPEECH": str(speech), "NOISE": str(noise)}.get(option, option) for option in options]
    with serving(FakeNode(ending_scene())) as node:
        assert main([*TO, *given_options, "--node", node.origin]) == 2
    told = capsys.readouterr().err.strip()
    assert says in told and len(told.splitlines()) == 1
    assert node.told == []


@pytest.mark.parametrize(
    ("module", "option", "extra"), [("hibari", "--text", "speech"), ("sounddevice", "--mic", "mic")]
)
def test_a_missing_extra_is_named(
    module: str, option: str, extra: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert main([*TO, option, *(["Hello"] if option == "--text" else [])]) == 2
    assert f"offhook[{extra}]" in capsys.readouterr().err


def test_text_is_spoken_by_the_engine(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Engine:
        SAMPLE_RATE = 24000

        class Hibari:
            def split_sentences(self, text: str) -> list[str]:
                return [text]

            def stream(self, text: str, speed: float, seed: int) -> Any:
                yield np.full(240 * len(text), 0.5, np.float32)

    monkeypatch.setitem(sys.modules, "hibari", Engine)
    with serving(FakeNode(echo_scene(rate=24000))) as node:
        assert main([*TO, "--text", "Hello", "--node", node.origin]) == 0
    assert np.frombuffer(bytes(node.audio), "<i2").tolist() == [16383] * 1200


def test_ctrl_c_hangs_up_and_keeps_what_was_heard(speech: Path, tmp_path: Path) -> None:
    async def scene(node: FakeNode, send: Send) -> None:
        await send({"kind": "answered", "rate": 16000, "answerMs": 1})
        hung_up = asyncio.ensure_future(node.until_told("hangup"))
        index = 0
        while not hung_up.done():
            await send(frame(index, bytes(640)))
            index += 1
            await asyncio.sleep(0.02)
        await send({**ENDED, "stats": {"durationMs": index * 20}})

    out = tmp_path / "heard.wav"
    with serving(FakeNode(scene)) as node:
        command = [sys.executable, "-m", "offhook.cli", *TO, "--wav", str(speech), "--out", str(out)]
        process = subprocess.Popen([*command, "--node", node.origin], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "answered"
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    result = json.loads(told.splitlines()[-1])
    assert result["endedBy"] == "caller"
    assert len(read_wav(out.read_bytes()).samples) == result["durationMs"] * 16


def test_a_long_wav_goes_up_no_more_than_30_s_ahead(tmp_path: Path) -> None:
    speech = tmp_path / "long.wav"
    speech.write_bytes(write_wav(np.ones(8000 * 70, np.int16), 8000))
    seen: list[int] = []

    async def scene(node: FakeNode, send: Send) -> None:
        await send({"kind": "answered", "rate": 8000, "answerMs": 1})
        for second in range(3):
            for index in range(second * 50, (second + 1) * 50):
                await send(frame(index, bytes(320)))
            await until(lambda so_far=second: len(node.audio) >= (31 + so_far) * 16000, "audio")  # type: ignore[misc]
            await node.settled()
            seen.append(len(node.audio) // 16000)
        await send({**ENDED, "stats": {"durationMs": 3000}})

    with serving(FakeNode(scene)) as node:
        assert main([*TO, "--wav", str(speech), "--node", node.origin]) == 0
    assert seen == [31, 32, 33]


def test_the_default_length_of_a_call() -> None:
    tone, talk = Voice(tone=440.0), Voice(np.zeros(32000, np.int16), 16000)
    assert plan("+1555", "+1556", talk, 0.5, "", None, None).duration == 3.5
    assert plan("+1555", "+1556", talk, 0.5, "9:1", None, None).duration == 10
    assert plan("+1555", "+1556", talk, 0.5, "", 1.25, None).duration == 1.25
    assert plan("+1555", "+1556", tone, 0.5, "", None, None).duration == 6.5
    assert plan("+1555", "+1556", Voice(microphone=True), 0.5, "", None, None).duration is None


@given(st.text(max_size=30))
def test_any_text_is_keys_or_a_clear_error(text: str) -> None:
    try:
        presses = read_dtmf(text)
    except ConfigError as why:
        assert "--dtmf" in str(why)
    else:
        assert all(at >= 0 and tone in "0123456789*#ABCD" for at, tone in presses)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.sampled_from("0123456789*#ABCDabcd")), max_size=8))
def test_keys_come_in_order_of_time(presses: list[tuple[float, str]]) -> None:
    text = ", ".join(f"{at!r}:{tone}" for at, tone in presses)
    assert read_dtmf(text) == tuple(sorted((at, tone.upper()) for at, tone in presses))


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        (None, "http://127.0.0.1:8480"),
        ("http://localhost", "http://localhost"),
        ("https://localhost:443/", "https://localhost"),
        ("http://[::1]:8480/", "http://[::1]:8480"),
        (f"endpoint=https://localhost:8480/;accesskey={LOCAL_KEY}", "https://localhost:8480"),
        (f"AccessKey={LOCAL_KEY};Endpoint=http://localhost:8480", "http://localhost:8480"),
    ],
)
def test_ways_to_name_a_node(text: str | None, origin: str) -> None:
    assert node_address(text).origin == origin


@given(st.text(max_size=40))
def test_any_node_text_is_an_address_or_a_clear_error(text: str) -> None:
    try:
        assert node_address(text).origin.startswith("http")
    except ConfigError as why:
        assert "--node" in str(why)
