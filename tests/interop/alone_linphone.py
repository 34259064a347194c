"""linphone and an app in a network of their own: test_linphone.py makes it and runs this file inside.

linphone writes an address of the machine into its descriptions as long as there is one beside loopback.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.interop.likeness import windows_alike
from tests.interop.linphone import linphone
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
from tests.sip_phone import BYE, TestPhone

from offhook.audio.resample import resample
from offhook.audio.wav import read_wav
from offhook.legs.leg import Dtmf
from offhook.legs.sip import MediaRules
from offhook.sip.grammar import parse_uri

pytestmark = [pytest.mark.interop, pytest.mark.timeout(90)]


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


def keys(stream: Stream) -> list[str]:
    return [message["dtmfData"]["data"] for message in stream.messages if message["kind"] == "DtmfData"]


CODECS = {"OPUS": 0, "PCMU": 3, "G722": 6}
"""Their numbers in its list; it offers 0 to 4 and 7 when nobody says otherwise."""


@pytest.mark.parametrize(
    ("codec", "transport", "least", "window"),
    [("PCMU", "udp", 0.95, 0.1), ("G722", "tcp", 0.95, 0.1), ("OPUS", "udp", 0.6, 0.2)],
)
async def test_it_calls_and_hears_itself(
    world: tuple[LiveNode, TestApp],
    voice: Path,
    tmp_path: Path,
    codec: str,
    transport: str,
    least: float,
    window: float,
) -> None:
    """What comes back went through the codec twice; Opus keeps how speech sounds, not its wave.

    Within its first second linphone often leaves out 10 ms of what came, once (captured packets had them). A window
    with that in it is like nothing, and so is one with a step of a jitter buffer, so they are short here.
    """
    node, app = world
    async with linphone(tmp_path / "l", voice, (5085, 26200), tcp=transport == "tcp") as phone:
        for number in {0, 1, 2, 3, 4, 7} - {CODECS[codec]}:
            await phone.say(f"codec disable {number}")
        await phone.say(f"codec enable {CODECS[codec]}")
        await phone.say(f"call sip:15550100002@127.0.0.1:{node.info['sip'][transport]};transport={transport}")
        invited = await app.invited()
        assert invited["to"]["rawId"] == "4:+15550100002"
        await answer(node, invited["incomingCallContext"], app.callback, streaming_options(app.socket, 16000))
        await phone.told("connected")
        await app.stream(frames=430)
        await phone.say("terminate")
        await app.event("CallDisconnected")
        said, heard = read_wav(voice.read_bytes()), phone.heard()
    (figures,) = figures_of(node)
    assert figures["codec"] == codec and figures["lost"] == 0
    assert figures["roundTripMs"] < 50, "its reports were understood"
    at_8k = resample(heard.samples, heard.rate, 8000)
    alike, lag = windows_alike(said.samples, at_8k, 8000, least, window)
    assert alike >= 0.95, (alike, lag)
    rms = [np.sqrt((samples.astype(float) ** 2).mean()) for samples in (said.samples, at_8k)]
    assert abs(20 * np.log10(rms[1] / rms[0])) < 1.5


def figures_of(node: LiveNode) -> list[dict[str, Any]]:
    """What the node tells of a leg's audio when it is over."""
    return [event for event in node.named("leg") if event["name"] == "figures"]


async def test_it_holds_and_presses_keys(world: tuple[LiveNode, TestApp], voice: Path, tmp_path: Path) -> None:
    """While it holds it is sent nothing; what it plays meanwhile is heard on."""
    node, app = world
    async with linphone(tmp_path / "l", voice, (5086, 26300)) as phone:
        await phone.say(f"call sip:15550100002@127.0.0.1:{node.info['sip']['udp']}")
        invited = await app.invited()
        await answer(node, invited["incomingCallContext"], app.callback, streaming_options(app.socket, dtmf=True))
        await phone.told("connected")
        stream = await app.stream(frames=50)
        await phone.press("5#")
        await until(lambda: keys(stream) == ["5", "#"], f"its keys; {keys(stream)}")
        await phone.say("pause")
        await phone.told("is now paused")
        held = len(stream.frames)
        await until(lambda: len(stream.frames) > held + 100, "two seconds on hold")
        await phone.say("resume 1")
        await phone.told("streams established", 2)
        await phone.press("9")
        await until(lambda: keys(stream) == ["5", "#", "9"], f"a key after the hold; {keys(stream)}")
        await phone.say("terminate")
        await app.event("CallDisconnected")
    (figures,) = figures_of(node)
    assert 80 < len(stream.frames) - figures["sent"] < 250


async def test_it_registers_and_is_called(world: tuple[LiveNode, TestApp], voice: Path, tmp_path: Path) -> None:
    node, app = world
    async with linphone(tmp_path / "l", voice, (5087, 26400)) as phone:
        here = f"127.0.0.1:{node.info['sip']['udp']}"
        await phone.say("autoanswer enable", f"register sip:15550100006@{here} sip:{here} secret")
        await until(lambda: node.named("phone"), "a registration")
        body = {
            "targets": [{"kind": "phoneNumber", "phoneNumber": {"value": "+15550100006"}}],
            "callbackUri": app.callback,
            "sourceCallerIdNumber": {"value": "+15550100009"},
            "mediaStreamingOptions": streaming_options(app.socket),
        }
        status, made = await rest(node, "POST", CONNECTIONS, body)
        assert status == 201, made
        await app.event("CallConnected")
        stream = await app.stream(frames=100)
        await until(lambda: loudest(stream) > 1000, "it is heard")
        status, _ = await rest(node, "POST", f"{CONNECTIONS}/{made['callConnectionId']}:terminate", {})
        assert status == 204
        await phone.told("ended")


@pytest.mark.parametrize("codec", ["PCMU", "OPUS"])
async def test_our_keys_arrive(voice: Path, tmp_path: Path, codec: str) -> None:
    """A leg of ours without a node: telephone events at 8 and at 48 kHz, both ways."""
    ours = TestPhone()
    ours.trunk.rules = MediaRules((codec,))
    async with ours.running(), linphone(tmp_path / "l", voice, (5088, 26500)) as phone:
        await phone.say("autoanswer enable")
        line = ours.call(5088, "linphone")
        await ours.answered(line)
        await phone.told("connected")
        for key in "15#":
            line.leg.port.press(key)
        await phone.told("tone", 3)
        assert phone.found(r"tone (.) ") == ["1", "5", "#"]
        await phone.press("2*")
        await until(lambda: [e.tone for e in line.events if isinstance(e, Dtmf)] == ["2", "*"], "its keys")
        line.leg.hang_up(BYE)
        await phone.told("ended")


async def test_it_is_sent_to_somebody_else(voice: Path, tmp_path: Path) -> None:
    """Blind transfer as we ask for it: REFER, and the new call reaches the other phone."""
    ours, target = TestPhone(), TestPhone("15550100008")
    async with ours.running(), target.running(), linphone(tmp_path / "l", voice, (5089, 26600)) as phone:
        await phone.say("autoanswer enable")
        line = ours.call(5089, "linphone")
        await ours.answered(line)
        await phone.told("connected")
        assert line.leg.session is not None
        somewhere = parse_uri(f"sip:15550100008@127.0.0.1:{target.trunk.ports['udp']}")
        assert line.leg.session.refer(somewhere, ours.trunk.now())
        ours.trunk.pump()
        await until(lambda: target.lines and target.lines[0].up, f"the call there; {phone.lines[-9:]}", 20)
        await until(lambda: len(target.lines[0].heard) > 50, "and hears it")
        target.lines[0].leg.hang_up(BYE)
