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
from tests.interop.capture import capture
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

from offhook.audio.codecs import codec
from offhook.audio.pcm import Frame
from offhook.audio.resample import resample
from offhook.audio.tones import ToneSource, sine
from offhook.cli.console_client import fetch, node_address

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


CALLER = """<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="a caller that plays a tone">
<send retrans="500"><![CDATA[

INVITE sip:15550100002@[remote_ip]:[remote_port] SIP/2.0
{head}
CSeq: 1 INVITE
Contact: <sip:15550100001@[local_ip]:[local_port]>
Content-Type: application/sdp
Content-Length: [len]

v=0
o=tone 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [rtpstream_audio_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000

]]></send>
<recv response="100" optional="true"/>
<recv response="180" optional="true"/>
<recv response="200" rrs="true"/>
<send><![CDATA[

ACK [next_url] SIP/2.0
{head}
CSeq: 1 ACK
Content-Length: 0

]]></send>
<nop><action><exec rtp_stream="{sound},-1,0,PCMU/8000"/></action></nop>
<pause milliseconds="4000"/>
<nop><action><exec rtp_stream="pause"/></action></nop>
<send retrans="500"><![CDATA[

BYE [next_url] SIP/2.0
{head}
CSeq: 2 BYE
Content-Length: 0

]]></send>
<recv response="200"/>
</scenario>
"""
HEAD = """Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
Max-Forwards: 70
From: <sip:15550100001@[local_ip]>;tag=[call_number]
To: <sip:15550100002@[remote_ip]>[peer_tag_param]
Call-ID: [call_id]"""
PCMU = codec("PCMU", 8000)


async def test_a_caller_that_plays_a_tone_is_heard_and_hears_another(
    world: tuple[LiveNode, TestApp], tmp_path: Path
) -> None:
    """440 Hz from SIPp to the app, 660 Hz from the app to SIPp: pitch and level of both, by content."""
    node, app = world
    tone, said = ToneSource(660, 16000), list[Frame]()

    async def speak(stream: Stream, message: dict[str, Any]) -> None:
        if message["kind"] == "AudioData":
            said.append(tone.next())
            await stream.socket.send_str(audio_text(said[-1].tobytes()))

    app.on_message = speak
    played = sine(440, 8000, 2.0)
    sound, scenario = tmp_path / "tone.ulaw", tmp_path / "caller.xml"
    sound.write_bytes(PCMU.encode(played))
    text = CALLER.replace("{head}", HEAD, 1).replace("{head}", HEAD + "\n[routes]")
    scenario.write_text(text.replace("{sound}", str(sound)))
    target = f"127.0.0.1:{node.info['sip']['udp']}"
    async with capture(1024, 65535) as taken:  # SIPp chooses its port
        if taken.problem:
            pytest.skip(f"packets cannot be captured here: {taken.problem}")
        async with sipp(tmp_path, "-sf", str(scenario), "-m", "1", "-l", "1", target) as process:
            invited = await app.invited()
            assert invited["from"]["rawId"] == "4:+15550100001"
            await answer(node, invited["incomingCallContext"], app.callback, streaming_options(app.socket))
            stream = await app.stream(frames=150)
            (leg,) = (await fetch(node_address(node.http), "/console/api/status"))["media"]
            taken.packets = [each for each in taken.packets if each[1] == leg["port"]]
            out, _ = await process.communicate()
            assert process.returncode == 0, out.decode("utf-8", "replace")[-2000:]
        await app.event("CallDisconnected")
    heard = np.frombuffer(b"".join(base64.b64decode(f["data"]) for f in stream.frames[90:140]), "<i2")
    (hz, level), (_, sent) = peak(heard, 16000), peak(resample(played[:8000], 8000, 16000), 16000)
    assert abs(hz - 440) < 1 and abs(level - sent) < 1, (hz, level - sent)
    taken.packets = [each for each in taken.packets if each[1] == leg["port"]]
    back = np.concatenate([PCMU.decode(payload) for _, payload in taken.rtp()[50:100]])
    spoken = resample(np.concatenate(said[20:70]), 16000, 8000)
    (hz, level), (_, sent) = peak(back, 8000), peak(spoken, 8000)
    assert abs(hz - 660) < 1 and abs(level - sent) < 1, (hz, level - sent)


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
