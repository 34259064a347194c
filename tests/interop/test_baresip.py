"""A real phone (baresip) and an app: it calls, it is called, and hears itself come back."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.interop.baresip import baresip
from tests.interop.capture import Capture, capture
from tests.interop.likeness import delays, windows_alike
from tests.live import (
    CONNECTIONS,
    LiveNode,
    Stream,
    TestApp,
    answer,
    audio_text,
    dev_node,
    rest,
    streaming_options,
    until,
)

pytestmark = [pytest.mark.interop, pytest.mark.judged, pytest.mark.timeout(90)]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[tuple[LiveNode, TestApp]]:
    app = TestApp()

    async def echo(stream: Stream, message: dict[str, Any]) -> None:
        if message["kind"] == "AudioData":
            await stream.socket.send_str(audio_text(base64.b64decode(message["audioData"]["data"])))

    app.on_message = echo
    async with app.running(), dev_node(tmp_path, "--sip-port", "0", "--incoming", app.webhook) as node:
        await until(lambda: app.validations, "validation")
        yield node, app


def loudest(stream: Stream) -> int:
    """The greatest amplitude in the last half second that the app was sent."""
    samples = np.frombuffer(b"".join(base64.b64decode(frame["data"]) for frame in stream.frames[-25:]), "<i2")
    return int(np.abs(samples.astype(int)).max())


def waits(taken: Capture) -> list[tuple[float, float]]:
    """The five longest between two packets of sound to the phone: (s after the first of all, ms)."""
    times = [at for at, _, data in taken.packets if len(data) > 150]
    found = [(round(at - times[0], 2), round(1000 * (then - at), 1)) for at, then in pairwise(times)]
    return sorted(found, key=lambda each: -each[1])[:5]


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_it_calls_and_hears_itself(
    world: tuple[LiveNode, TestApp], voice: Path, tmp_path: Path, free_port: Callable[[], int], transport: str
) -> None:
    node, app = world
    sip = node.info["sip"][transport]
    account = "sip:15550100001@127.0.0.1"
    settings = "regint=0;mediaenc=srtp-mand" if transport == "tls" else "regint=0"
    ports, ca = (free_port(), 26000, free_port()), Path(node.info["caFile"])
    async with (
        capture(ports[1], ports[1] + 40) as taken,
        baresip(tmp_path / "b", voice, ports, account, settings, ca) as phone,
    ):
        await phone.command("dial", f"sip:15550100002@127.0.0.1:{sip};transport={transport}")
        invited = await app.invited()
        assert invited["from"]["rawId"] == "4:+15550100001" and invited["to"]["rawId"] == "4:+15550100002"
        await answer(node, invited["incomingCallContext"], app.callback, streaming_options(app.socket, 24000))
        await phone.told("CALL_ESTABLISHED")
        await app.stream(frames=390)
        await phone.command("hangup")
        await app.event("CallDisconnected")
    said, heard = phone.said().samples, phone.heard().samples
    alike, lag = windows_alike(said, heard, 8000)
    assert alike >= 0.95, f"delays {delays(said, heard, 8000)}, longest waits for a packet {waits(taken)}"
    assert lag < 150
    rms = [np.sqrt((samples.astype(float) ** 2).mean()) for samples in (said, heard)]
    assert abs(20 * np.log10(rms[1] / rms[0])) < 1


async def test_it_registers_and_is_called_by_number(
    world: tuple[LiveNode, TestApp], voice: Path, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    node, app = world
    account = f"sip:15550100005@127.0.0.1:{node.info['sip']['udp']}"
    ports, settings = (free_port(), 26100, free_port()), "regint=60;answermode=auto"
    async with baresip(tmp_path / "b", voice, ports, account, settings) as phone:
        await until(lambda: node.named("phone"), "a registration")
        body = {
            "targets": [{"kind": "phoneNumber", "phoneNumber": {"value": "+15550100005"}}],
            "callbackUri": app.callback,
            "sourceCallerIdNumber": {"value": "+15550100009"},
            "mediaStreamingOptions": streaming_options(app.socket, dtmf=True),
        }
        status, made = await rest(node, "POST", CONNECTIONS, body)
        assert status == 201, made
        await app.event("CallConnected")
        stream = await app.stream(frames=100)
        for key in "5#":
            await phone.command("sndcode", key)
        await until(
            lambda: [m["dtmfData"]["data"] for m in stream.messages if m["kind"] == "DtmfData"] == ["5", "#"],
            "two keys",
        )
        await phone.command("hold")
        await until(lambda: loudest(stream) == 0, "nothing is heard of a phone that holds, and frames go on")
        await phone.command("resume")
        await until(lambda: loudest(stream) > 1000, "it is heard again")
        status, _ = await rest(node, "POST", f"{CONNECTIONS}/{made['callConnectionId']}:terminate", {})
        assert status == 204
        await phone.told("CALL_CLOSED")
