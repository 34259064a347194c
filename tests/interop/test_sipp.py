"""SIPp against a node: many calls in, and a phone that plays back whatever it hears."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
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

from offhook.audio.pcm import Frame
from offhook.audio.tones import ToneSource

pytestmark = [pytest.mark.interop, pytest.mark.timeout(90)]


@contextlib.asynccontextmanager
async def sipp(folder: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A running SIPp; ended at the end if it is still there."""
    process = await asyncio.create_subprocess_exec(
        "sipp", *arguments, "-i", "127.0.0.1", "-mi", "127.0.0.1", "-nostdin", "-timeout", "60",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[tuple[LiveNode, TestApp]]:
    app = TestApp()
    async with app.running(), dev_node(tmp_path, "--sip-port", "0", "--incoming", app.webhook) as node:
        await until(lambda: app.validations, "validation")
        yield node, app


def peak(samples: Frame, rate: int) -> tuple[float, float]:
    """Frequency in Hz and level in dB of the strongest tone, between the lines of the spectrum too."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 8 * len(samples)))
    at = int(np.argmax(spectrum))
    return at * rate / (8 * len(samples)), 20 * float(np.log10(spectrum[at]))


@pytest.mark.parametrize("transport", ["u1", "t1"])
async def test_calls_at_fifty_a_second_are_all_answered_and_leave_nothing(
    world: tuple[LiveNode, TestApp], tmp_path: Path, free_port: Callable[[], int], transport: str
) -> None:
    node, app = world

    async def take(data: dict[str, Any]) -> None:
        await answer(node, data["incomingCallContext"], app.callback)

    app.on_incoming = take
    descriptors = len(list(Path(f"/proc/{node.process.pid}/fd").iterdir()))
    target = f"127.0.0.1:{node.info['sip']['udp']}"
    arguments = ("-sn", "uac", "-s", "15550100002", "-p", str(free_port()), "-t", transport)
    async with sipp(tmp_path, *arguments, "-r", "50", "-m", "150", "-d", "300", target) as process:
        out, _ = await process.communicate()
        assert process.returncode == 0, out.decode("utf-8", "replace")[-2000:]
    await until(lambda: len(app.named("CallDisconnected")) == 150, "every call's end")
    ends = {e["data"]["resultInformation"]["subCode"] for e in app.named("CallDisconnected")}
    assert ends == {5003}  # its From is no number: an ACS user has left
    await until(
        lambda: len(list(Path(f"/proc/{node.process.pid}/fd").iterdir())) <= descriptors + 2, "no socket is left"
    )


def enrol(node: LiveNode, user: str, contact: str) -> None:
    """Register a contact on behalf of a phone that cannot."""
    sip = node.info["sip"]["udp"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.bind(("127.0.0.1", 0))
        phone.settimeout(5)
        port = phone.getsockname()[1]
        phone.sendto(
            (
                f"REGISTER sip:127.0.0.1:{sip} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bKreg;rport\r\n"
                f"From: <sip:{user}@127.0.0.1>;tag=1\r\nTo: <sip:{user}@127.0.0.1>\r\nCall-ID: reg\r\n"
                f"CSeq: 1 REGISTER\r\nContact: <{contact}>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
            ).encode(),
            ("127.0.0.1", sip),
        )
        assert phone.recv(4096).startswith(b"SIP/2.0 200")


async def test_a_tone_comes_back_from_a_phone_that_echoes_with_its_pitch_and_level(
    world: tuple[LiveNode, TestApp], tmp_path: Path, free_port: Callable[[], int]
) -> None:
    node, app = world
    tone = ToneSource(440, 16000)
    said: list[Frame] = []

    async def speak(stream: Stream, message: dict[str, Any]) -> None:
        if message["kind"] == "AudioData":
            said.append(tone.next())
            await stream.socket.send_str(audio_text(said[-1].tobytes()))

    app.on_message = speak
    port, media = free_port(), free_port()
    async with sipp(tmp_path, "-sn", "uas", "-p", str(port), "-mp", str(media), "-rtp_echo", "-m", "1"):
        await asyncio.to_thread(enrol, node, "15550100006", f"sip:sipp@127.0.0.1:{port}")
        body = {
            "targets": [{"kind": "phoneNumber", "phoneNumber": {"value": "+15550100006"}}],
            "callbackUri": app.callback,
            "sourceCallerIdNumber": {"value": "+15550100009"},
            "mediaStreamingOptions": streaming_options(app.socket),
        }
        status, made = await rest(node, "POST", CONNECTIONS, body)
        assert status == 201, made
        stream = await app.stream(frames=150)
        heard = np.frombuffer(b"".join(base64.b64decode(f["data"]) for f in stream.frames[90:140]), "<i2")
        spoken = np.concatenate(said[20:70])
        (hz, level), (_, sent) = peak(heard, 16000), peak(spoken, 16000)
        assert abs(hz - 440) < 1
        assert abs(level - sent) < 1
        status, _ = await rest(node, "POST", f"{CONNECTIONS}/{made['callConnectionId']}:terminate", {})
        assert status == 204
        await app.event("CallDisconnected")
