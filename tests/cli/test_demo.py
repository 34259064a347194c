"""`offhook demo`: its figures, and one whole run with a short voice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import psutil
import pytest
from tests.live import OFFHOOK, until

from offhook.audio.wav import read_wav, write_wav
from offhook.cli.demo import measure, passed, stop_audio_ms
from offhook.cli.measure import likeness, longest_gap_ms
from offhook.service.call_archive import ArchiveBook

RATE = 16000
NOISE = np.random.default_rng(3).normal(0, 5000, RATE).astype(np.int16)
SPOKEN = np.concatenate([np.zeros(800, np.int16), NOISE])


def heard(delay: int, tail: int = 0) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.concatenate([np.zeros(delay, np.int16), SPOKEN, np.zeros(tail, np.int16)])


@pytest.mark.parametrize("delay", [0, 1, 640, 5000])
def test_a_clean_echo(delay: int) -> None:
    found = measure(SPOKEN, heard(delay, 300), RATE, {})
    assert found == {
        "correlation": 1.0,
        "delayMs": round(delay / 16, 2),
        "longestGapMs": 0.0,
        "stopAudioMs": None,
    }
    assert passed(found)


def test_a_hole_of_a_frame_is_found() -> None:
    echo = heard(640)
    echo[8000:8320] = 0
    found = likeness(SPOKEN, echo, RATE)
    assert found is not None
    assert longest_gap_ms(SPOKEN, echo, found) == 20
    assert not passed(measure(SPOKEN, echo, RATE, {}))


def test_an_echo_that_was_cut_off_is_no_good_echo() -> None:
    assert not passed(measure(SPOKEN, heard(640)[:12000], RATE, {}))


def test_other_sound_and_silence_are_no_echo() -> None:
    other = np.random.default_rng(4).normal(0, 5000, 2 * RATE).astype(np.int16)
    assert not passed(measure(SPOKEN, other, RATE, {}))
    assert measure(SPOKEN, np.zeros(RATE, np.int16), RATE, {})["correlation"] is None
    assert not passed(measure(SPOKEN, np.zeros(RATE, np.int16), RATE, {}))


def test_stop_counts_from_the_nodes_stop_audio_to_the_last_sample() -> None:
    stop = {"kind": "stopAudio", "name": "StopAudio", "atMs": 1000.0, "detail": {"atSample": 16000}}
    assert stop_audio_ms({"rate": 16000, "events": [stop]}, 32000) == 20.0
    assert stop_audio_ms({"rate": 16000, "events": [stop]}, 15840) == 10.0
    assert stop_audio_ms({"rate": 16000, "events": []}, 32000) is None


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    path = tmp_path / "voice.wav"
    path.write_bytes(write_wav(NOISE, RATE))
    return path


async def demo(directory: Path, voice: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *OFFHOOK, "demo", "--json", "--wav", str(voice), cwd=directory,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.judged
@pytest.mark.timeout(120)
async def test_the_whole_demo(tmp_path: Path, voice: Path) -> None:
    process = await demo(tmp_path, voice)
    told, log = await asyncio.wait_for(process.communicate(), 110)
    assert process.returncode == 0, log.decode() + told.decode()
    report = json.loads(told)
    out = tmp_path / "demo-out"
    assert report == json.loads((out / "report.json").read_text())
    assert report["correlation"] >= 0.98 and report["longestGapMs"] < 20
    assert report["answered"] and report["endedBy"] == "app" and report["subCode"] == 7000
    assert 0 <= report["stopAudioMs"] <= 60
    spoken, recorded = (read_wav((out / name).read_bytes()) for name in ("spoken.wav", "heard.wav"))
    assert spoken.rate == recorded.rate == RATE
    assert not spoken.samples[:RATE].any() and (spoken.samples[RATE:] == NOISE).all()
    picture = "".join(ElementTree.parse(out / "timeline.svg").getroot().itertext())
    for event in ("IncomingCall", "AnswerCall 200", "CallConnected", "key #", "CallDisconnected"):
        assert event in picture
    with contextlib.closing(ArchiveBook(out / "call.zip")) as book:
        (leg,) = book.call["legs"]
        names = [event["name"] for event in book.call["events"]]
    assert {track["side"] for track in leg["audio"]} == {"said", "heard"} and "CallDisconnected" in names


@pytest.mark.timeout(90)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupted_demo_leaves_no_process(number: signal.Signals, tmp_path: Path, voice: Path) -> None:
    process = await demo(tmp_path, voice)
    assert process.stderr is not None
    await asyncio.wait_for(process.stderr.readline(), 30)
    await until(lambda: len(psutil.Process(process.pid).children()) == 2, "node and app")
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    await asyncio.wait_for(process.communicate(), 40)
    assert process.returncode == 128 + number
    assert not [child for child in children if child.is_running()]
