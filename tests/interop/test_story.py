"""The story of the project with a real phone: an app on the official SDK relays a caller's audio and cuts it off."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conformance.python_sdk import media_streaming, sdk, tone
from tests.interop.baresip import baresip
from tests.interop.capture import capture
from tests.interop.likeness import windows_alike
from tests.live import Stream, TestApp, audio_text, dev_node, until

from offhook.audio.codecs import codec

pytestmark = [pytest.mark.interop, pytest.mark.judged, pytest.mark.timeout(90)]
RTP = 27000
PCMU = codec("PCMU", 8000)


async def test_a_phone_speaks_to_an_app_on_the_official_sdk_and_hears_itself(
    voice: Path, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    app = TestApp()

    async def relay(stream: Stream, message: dict[str, Any]) -> None:
        if message["kind"] == "AudioData":
            await stream.socket.send_str(audio_text(base64.b64decode(message["audioData"]["data"])))

    app.on_message = relay
    async with (
        app.running(),
        dev_node(tmp_path, "--sip-port", "0", "--incoming", app.webhook) as node,
        sdk(node, "async connection string") as client,
    ):
        await until(lambda: app.validations, "validation")
        ports = (free_port(), RTP, free_port())
        account, settings = "sip:15550100001@127.0.0.1", "regint=0"
        async with baresip(tmp_path / "b", voice, ports, account, settings) as phone:
            await phone.command("dial", f"sip:15550100002@127.0.0.1:{node.info['sip']['udp']}")
            invited = await app.invited()
            assert invited["from"]["rawId"] == "4:+15550100001"
            await client(
                client.client.answer_call,
                invited["incomingCallContext"],
                app.callback,
                media_streaming=media_streaming(app.socket, 24000),
            )
            await phone.told("CALL_ESTABLISHED")
            stream = await app.stream(frames=390)
            assert stream.metadata["sampleRate"] == 24000
            await phone.command("hangup")
            await app.event("CallDisconnected")
    said, heard = phone.said().samples, phone.heard().samples
    alike, lag = windows_alike(said, heard, 8000)
    assert alike >= 0.95 and lag < 150, (alike, lag)
    rms = [np.sqrt((samples.astype(float) ** 2).mean()) for samples in (said, heard)]
    assert abs(20 * np.log10(rms[1] / rms[0])) < 1


async def test_stop_audio_is_on_the_wire_within_forty_milliseconds(
    voice: Path, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    app = TestApp()
    async with (
        app.running(),
        dev_node(tmp_path, "--sip-port", "0", "--incoming", app.webhook) as node,
        sdk(node, "async connection string") as client,
        capture(RTP + 100, RTP + 140) as taken,
    ):
        if taken.problem:
            pytest.skip(f"packets cannot be captured here: {taken.problem}")
        await until(lambda: app.validations, "validation")
        ports = (free_port(), RTP + 100, free_port())
        async with baresip(tmp_path / "b", voice, ports, "sip:15550100001@127.0.0.1", "regint=0") as phone:
            await phone.command("dial", f"sip:15550100002@127.0.0.1:{node.info['sip']['udp']}")
            invited = await app.invited()
            await client(
                client.client.answer_call,
                invited["incomingCallContext"],
                app.callback,
                media_streaming=media_streaming(app.socket, 24000),
            )
            stream = await app.stream(frames=10)
            late: list[float] = []
            for _ in range(5):
                await stream.play(tone(1000.0, 5.0, 24000))
                await until(lambda: loud(taken.rtp()[-3:]), "the tone on the wire")
                await asyncio.sleep(0.217)  # anywhere within a frame
                sent = time.time()
                await stream.stop()
                await until(lambda: not loud(taken.rtp()[-25:]), "half a second of quiet")
                last = max(at for at, payload in taken.rtp() if loud([(at, payload)]))
                late.append(last - sent)
            print("StopAudio to the last packet with sound, ms:", [round(1000 * seconds, 1) for seconds in late])
            assert max(late) <= 0.040, late
            await phone.command("hangup")
            await app.event("CallDisconnected")


def loud(packets: list[tuple[float, bytes]]) -> bool:
    """Whether any of these packets has audible sound in it."""
    return any(np.abs(PCMU.decode(payload).astype(int)).max(initial=0) > 500 for _, payload in packets)
