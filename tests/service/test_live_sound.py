"""The sound of a live call, of a real node: the cut of a StopAudio is at one sample wherever it is looked at."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
import pytest
import pytest_asyncio
from aiohttp import ClientSession
from tests.console_leg import Samples, caller
from tests.live import LiveNode, TestApp, answer, call, dev_node, streaming_options, trace, until

from offhook.audio.wav import read_wav, write_wav
from offhook.service.call_sound import CallSound, read_folder
from offhook.wire.signing import http_date, sign_hmac

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE, FRAME, RAMP = 16000, 320, 80


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[LiveNode, TestApp, Path]]:
    app, state = TestApp(), tmp_path_factory.mktemp("state")
    async with app.running(), dev_node(state, "--incoming", app.webhook) as node:
        await until(lambda: node.named("subscription"), "validation")
        yield node, app, state


def noise(seconds: float, seed: int = 7) -> Samples:
    """Audio in which no sample is zero."""
    samples = np.random.default_rng(seed).integers(1000, 8000, round(seconds * RATE)).astype(np.int16)
    return samples * np.where(np.arange(samples.size) % 2, 1, -1).astype(np.int16)


async def get(node: LiveNode, path: str, **query: Any) -> Any:
    """One page of the console API."""
    target = f"/console/api/calls/{path}" + (f"?{urlencode(query)}" if query else "")
    host = urlsplit(node.http).netloc
    signed = sign_hmac("GET", target, host, http_date(time.time()), b"", base64.b64decode(node.key))
    async with ClientSession() as session, session.get(node.http + target, headers=signed) as response:
        body = await response.read()
        assert response.status == 200, body
        return body if response.content_type == "audio/wav" else json.loads(body)


def samples(sound: CallSound, leg: str, side: str, begin: float, end: float) -> Samples:
    """A stretch of a track."""
    found = sound.pcm(leg, side, begin, end)
    assert found is not None and found[0] == RATE
    return np.frombuffer(found[1], np.int16)


async def test_a_barge_in_is_cut_at_one_sample_in_the_track_the_event_and_the_callers_own_wav(
    world: tuple[LiveNode, TestApp, Path], tmp_path: Path
) -> None:
    """The app talks, the caller speaks over it after 1.5 s, the app hears that and sends StopAudio."""
    node, app, state = world
    (tmp_path / "said.wav").write_bytes(write_wav(noise(0.6, seed=3), RATE))
    out = tmp_path / "heard.wav"
    options = ("--wav", str(tmp_path / "said.wav"), "--lead", "1.5", "--duration", "3.5", "--out", str(out))
    placed = asyncio.create_task(call(node, *options))
    data = await app.invited()
    connection = await answer(node, data["incomingCallContext"], app.callback, streaming_options(app.socket))
    stream = await app.stream()
    await stream.play(noise(10).tobytes())

    def loud() -> bool:
        return bool(np.abs(np.frombuffer(base64.b64decode(stream.frames[-1]["data"]), np.int16)).max() > 500)

    await until(loud, "the caller's words")
    await stream.stop()
    status, _ = await placed
    assert status == 0
    page = await trace(node, connection["callConnectionId"])
    stop = next(event for event in page["events"] if event["kind"] == "stopAudio")
    at = stop["detail"]["atSample"]

    own = read_wav(out.read_bytes()).samples
    assert abs(int(np.flatnonzero(own)[-1]) + 1 - at) <= 1  # the last sample of the ramp is zero

    folder = state / "calls" / page["callId"]
    await until(lambda: json.loads((folder / "tracks.json").read_text())["tracks"][0]["samples"], "whole files")
    sound = read_folder(folder)
    assert sound is not None
    track = next(row for row in sound.tracks() if row["side"] == "heard")
    begin = track["beginMs"]
    end = begin + track["samples"] * 1000 / RATE
    heard = samples(sound, track["legId"], "heard", begin, end)
    assert np.array_equal(heard[: len(own)], own[: len(heard)])
    assert abs(len(heard) - len(own)) <= 2 * FRAME
    said = samples(sound, track["legId"], "said", begin, end)
    assert np.array_equal(said[24000 : 24000 + 9600], noise(0.6, seed=3))

    found = await get(node, f"{page['callId']}/figures")
    barge = found["bargeIns"][0]
    assert barge["atSample"] == at
    assert abs(barge["silentMs"] - begin - at * 1000 / RATE) <= 0.1
    assert abs(barge["speechBeganMs"] - begin - 1500) <= 20
    assert barge["toSilenceMs"] == pytest.approx(barge["silentMs"] - barge["speechBeganMs"], abs=0.2)
    assert barge["playedMs"] + barge["cutMs"] == pytest.approx(10_000)
    values = {figure["name"]: figure["value"] for figure in found["figures"]}
    assert values["answerTime"] > 0
    assert values["greetingLatency"] == pytest.approx(begin + int(np.flatnonzero(own)[0]) * 1000 / RATE, abs=20)
    assert values["mos"] is values["loss"] is None


async def test_a_live_call_can_be_looked_at_up_to_now(world: tuple[LiveNode, TestApp, Path]) -> None:
    node, app, _ = world
    await app.clear()
    async with caller(node, live=True) as leg:
        data = await app.invited()
        connection = await answer(node, data["incomingCallContext"], app.callback, streaming_options(app.socket))
        stream = await app.stream()
        await stream.play(noise(3).tobytes())
        await leg.heard_app(30)
        frames = leg.frames
        page = await trace(node, connection["callConnectionId"])
        audio = {row["side"]: row for row in page["legs"][0]["audio"]}
        assert audio["heard"]["samples"] == audio["said"]["samples"] >= (frames - 1) * FRAME
        begin, leg_id = audio["heard"]["beginMs"], page["legs"][0]["legId"]
        assert 0 <= begin <= 20.5
        query = {"leg": leg_id, "side": "heard", "fromMs": begin, "toMs": begin + (frames - 1) * 20}
        wav = await get(node, f"{page['callId']}/sound.wav", **query)
        heard = np.frombuffer(wav[44:], np.int16)
        assert np.array_equal(heard, leg.heard[: len(heard)])
        assert len(heard) == (frames - 1) * FRAME
        peaks = await get(node, f"{page['callId']}/peaks", **query, bins=frames - 1)
        first = int(np.flatnonzero(heard)[0]) // FRAME
        assert np.flatnonzero(peaks["peaks"])[0] // 2 == first
        series = await get(node, f"{page['callId']}/series")
        assert series["stepMs"] == 100
        assert max(series["streams"][connection["callConnectionId"]]["queuedMs"]) > 100
        assert len(series["clock"]["lateMs"]) > 2


async def test_after_a_kill_the_files_are_whole(tmp_path: Path) -> None:
    """Nobody comes back to them: headers say what is there, and what was kept can be read."""
    app = TestApp()
    async with app.running(), dev_node(tmp_path, "--incoming", app.webhook) as node:
        async with caller(node, tone=400) as leg:
            data = await app.invited()
            await answer(node, data["incomingCallContext"], app.callback, streaming_options(app.socket))
            await leg.heard_frames(5)
            files = tmp_path / "calls"
            await until(lambda: [p for p in files.glob("*/*-said.wav") if p.stat().st_size > 30_000], "a block")
            os.kill(node.process.pid, 9)
            await node.process.wait()
            leg.said.append({"kind": "ended"})
    [path] = files.glob("*/*-said.wav")
    assert read_wav(path.read_bytes()).samples.any()
    sound = read_folder(path.parent)
    assert sound is not None
    assert {row["side"] for row in sound.tracks()} == {"said", "heard"}
    assert all(row["samples"] % FRAME == 0 and row["samples"] >= 10 * FRAME for row in sound.tracks())
