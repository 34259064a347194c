"""The kit against the traffic of the real service: what ACS is known to send, played by a `websockets` client.

The shapes are the published and captured messages of tests/fixtures/acs, in every casing, with every field missing that
may be, in odd orders (protocol.md 2.2 - 2.11). Whatever comes, the app goes on, and all that it sends back is what the
.NET SDK sends: AudioData and StopAudio, nothing that real ACS does not know.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession, web
from tests.kit.issued import AUDIENCE, KEY, Page, token
from tests.live import until
from websockets.asyncio.client import ClientConnection, connect

from offhook.kit import Call, TokenCheck, TurnTaking, VoiceApp

SAMPLES = Path(__file__).parents[1] / "fixtures/acs/samples"
CONNECTION = "401f2b00-7c1e-4d55-9a52-d5f0c7b1a7e4"
CORRELATION = "b4f7b8c1-6a7e-4f4e-9c1d-2b3f1f2a9c55"
SPEAKERS = ("8:acs:3d20e1de-0f28-41c5-84a0-4960fde5f411_0000000b-faeb-c708-99bf-a43a0d0036b0", "4:+15551234567")

pytestmark = pytest.mark.asyncio(loop_scope="module")


def sample(name: str) -> dict[str, Any]:
    """A message of the service, as it was published or captured."""
    return dict(json.loads((SAMPLES / "websocket" / f"in-{name}.json").read_text()))


METADATA = sample("audio-metadata-16k")
METADATA_24 = sample("audio-metadata-24k.constructed")
AUDIO = sample("audio-data")
SILENT = sample("audio-data-mixed-silent.constructed")
TONE = sample("dtmf-data")
WORDS = [sample("transcription-metadata"), sample("transcription-data")]
NET = {
    row["emitter"]: json.loads(row["text"])
    for name in ("out-audio-variants", "out-stop-variants")
    for row in json.loads((SAMPLES / "websocket" / f"{name}.json").read_text())
}
NET_AUDIO = NET[".NET SDK OutStreamingData.GetAudioDataForOutbound"]
NET_STOP = NET["docs and Python samples, .NET SDK"]


# what the service may send ------------------------------------------------------------------------------------------


def frame(pcm: bytes = b"\x10\x00" * 320, **changes: Any) -> dict[str, Any]:
    """AudioData; `...` leaves a field out."""
    audio = {**AUDIO["audioData"], "data": base64.b64encode(pcm).decode(), **changes}
    return {"kind": "AudioData", "audioData": {name: value for name, value in audio.items() if value is not ...}}


def key(tone: str, **more: Any) -> dict[str, Any]:
    return {"kind": "DtmfData", "dtmfData": {"data": tone, **more}}


CASINGS: dict[str, Callable[[str], str]] = {
    "upper first": lambda name: name[:1].upper() + name[1:],
    "lower first": lambda name: name[:1].lower() + name[1:],
    "lower": str.lower,
    "upper": str.upper,
}


def cased(message: Any, how: str) -> Any:
    """The same with its names and its kind in another case; values stay."""
    if not isinstance(message, dict):
        return message
    made = {CASINGS[how](name): cased(value, how) for name, value in message.items()}
    for name in made:
        if name.lower() == "kind":
            made[name] = CASINGS[how](made[name])
    return made


PLAIN = [METADATA, AUDIO, frame(), SILENT, key("3"), frame(), TONE, key("#"), frame()]
CASES: dict[str, list[Any]] = {
    "as documented": PLAIN,
    "24 kHz": [METADATA_24, frame(b"\x10\x00" * 480), key("3"), frame(b"\x10\x00" * 480), key("#")],
    "24 kHz with the length of 16": [
        {**METADATA_24, "audioMetadata": {**METADATA_24["audioMetadata"], "length": 640}},
        frame(b"\x10\x00" * 480), key("3"), *[frame(b"\x10\x00" * 320)] * 5, key("#"),
    ],
    "unmixed": [METADATA, *[frame(participantRawID=who) for _ in range(5) for who in SPEAKERS], key("3"), key("#")],
    "unmixed, of whom one is silent": [
        METADATA, *[frame(participantRawID=who, silent=who == SPEAKERS[0]) for _ in range(5) for who in SPEAKERS],
        key("3", participantRawID=SPEAKERS[1], timestamp="2024-11-15T19:16:12.925Z"), key("#"),
    ],
    "without optional fields": [
        METADATA, frame(participantRawID=..., timestamp=..., silent=...), key("3"), key("#"),
        frame(participantRawID=..., timestamp=..., silent=...),
    ],
    "null for what is not there": [
        METADATA, frame(participantRawID=None, timestamp=None), frame(participantRawID=""),
        key("3", timestamp=None, participantRawID=None), key("#"),
    ],
    "fields nobody knows": [
        {**METADATA, "version": 3}, {**frame(), "sequence": {"number": 1}}, frame(confidence=[1, {"a": None}]),
        key("3", durationMs=90), key("#"),
    ],
    "kinds nobody knows": [
        METADATA, {"kind": "VideoData", "videoData": {"data": "AAAA"}}, {"kind": "DtmfMetadata", "dtmfMetadata": {}},
        {"kind": "MarkData", "markData": {"id": "1", "status": "Completed"}}, *WORDS, frame(), key("3"), key("#"),
    ],
    "before the metadata": [frame(), key("1"), METADATA, frame(), key("3"), key("#")],
    "the metadata twice": [METADATA, frame(), METADATA, frame(), key("3"), key("#")],
    "no text, and not JSON": [
        METADATA, "hello", "", "[]", "null", "{", '{"kind":3}', json.dumps(frame()).encode(), b"\xff\xfe", frame(),
        key("3"), key("#"),
    ],
    "sound that is none": [
        METADATA, frame(b""), frame(b"\x01"), frame(data="%%%"), frame(data=None), frame(data=...),
        {"kind": "AudioData"}, {"kind": "AudioData", "audioData": []}, frame(b"\x01\x00"), frame(), key("3"), key("#"),
    ],
    "frames of other lengths": [METADATA, frame(bytes(320)), frame(bytes(3200)), frame(), key("3"), key("#")],
    "all keys": [METADATA, *[key(tone) for tone in "0123456789*ABCD#"], frame()],
    "silence alone": [METADATA, *[SILENT] * 20, key("3"), key("#")],
}  # fmt: skip
CASES |= {f"in other letters: {how}": [cased(one, how) for one in PLAIN] for how in CASINGS}


# the service's part -------------------------------------------------------------------------------------------------


class Sdk:
    """The official client as far as an app uses it: answers, and says under which address the sockets are wanted."""

    def __init__(self) -> None:
        self.sockets: dict[str, str] = {}

    async def answer_call(self, context: str, callback: str, *, media_streaming: Any) -> Any:
        self.sockets[context] = media_streaming.transport_url
        return type("Answered", (), {"call_connection_id": f"{CONNECTION}-{context}"})()

    def get_call_connection(self, connection_id: str) -> Any:
        return Connection()

    async def close(self) -> None:
        pass


class Connection:
    async def hang_up(self, *, is_for_everyone: bool) -> None:
        pass


@dataclass
class Agent:
    """Says back what it hears, says something of its own on 3, stops it on #; what it was told by the stream."""

    app: VoiceApp
    url: str
    sdk: Sdk
    session: ClientSession
    frames: dict[str, list[Any]] = field(default_factory=dict)
    keys: dict[str, list[str]] = field(default_factory=dict)

    async def talk(self, call: Call) -> None:
        frames, keys = self.frames.setdefault(call.id, []), self.keys.setdefault(call.id, [])
        pressed = call.dtmf

        async def echo() -> None:
            async for one in call.audio:
                frames.append(one)
                call.play(one.pcm)

        echoing = asyncio.create_task(echo())
        try:
            async for tone in pressed:
                keys.append(tone)
                if tone == "3":
                    call.play(bytes(call.rate))
                elif tone == "#":
                    await call.stop()
        finally:
            echoing.cancel()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def agent(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Agent]:
    sdk: Any = Sdk()
    app = VoiceApp(
        rate=16000,
        client=sdk,
        token_check=TokenCheck(AUDIENCE, fetch=Page(KEY)),
        turn_taking=TurnTaking(barge_in=False),
        telemetry=True,  # which a service that is not Offhook is never told anything by
    )
    server, session = web.Application(), ClientSession()
    one = Agent(app, "", sdk, session)
    app.on_call(one.talk)
    app.public_url = "http://127.0.0.1"  # the port comes with the server
    app.add_to(server)
    runner = web.AppRunner(server, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    one.url = app.public_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with session:
        yield one
    await runner.cleanup()


def bearer() -> str:
    now = int(time.time())
    return f"Bearer {token(exp=now + 86400, nbf=now - 5, iat=now - 5)}"


async def dialled(agent: Agent, context: str) -> ClientConnection:
    """An announced call that the app has answered, and its socket: the handshake has what ACS sends, and no more."""
    (incoming,) = json.loads((SAMPLES / "eventgrid/incoming-call.json").read_text())
    incoming["data"]["incomingCallContext"] = context
    headers = {"aeg-event-type": "Notification"}
    async with agent.session.post(f"{agent.url}/api/incomingCall", json=[incoming], headers=headers) as answer:
        assert answer.status == 200
    await until(lambda: context in agent.sdk.sockets, "the call is answered")
    return await connect(
        agent.sdk.sockets[context],
        compression=None,
        user_agent_header=None,
        additional_headers={
            "Authorization": bearer(),
            "x-ms-call-connection-id": f"{CONNECTION}-{context}",
            "x-ms-call-correlation-id": CORRELATION,
        },
    )


def read_as_acs(text: str | bytes) -> bytes | None:
    """The sound of a message, None for StopAudio; anything but these two, exactly as .NET writes them, fails."""
    assert isinstance(text, str), "the official senders send text"
    message = json.loads(text)
    assert list(message) == ["Kind", "AudioData", "StopAudio"]
    if message["Kind"] == "StopAudio":
        assert message == NET_STOP
        return None
    data = message["AudioData"].get("Data")
    pcm = base64.b64decode(data, validate=True)
    assert pcm and not len(pcm) & 1
    assert message == {**NET_AUDIO, "AudioData": {**NET_AUDIO["AudioData"], "Data": data}}
    assert list(message["AudioData"]) == list(NET_AUDIO["AudioData"])
    return pcm


@pytest.mark.parametrize("case", CASES)
async def test_what_the_service_may_send(agent: Agent, case: str, caplog: pytest.LogCaptureFixture) -> None:
    context = f"context-{list(CASES).index(case)}"
    call_id = f"{CONNECTION}-{context}"
    sent: list[bytes | None] = []
    async with await dialled(agent, context) as service:
        opened = False
        for message in CASES[case]:
            text = message if isinstance(message, str | bytes) else json.dumps(message)
            while '"#"' in str(text) and not any(sent):  # or nothing would have been said yet
                sent.append(read_as_acs(await asyncio.wait_for(service.recv(), 5)))
            await service.send(text)
            if not opened and "metadata" in str(text).lower():
                opened = True
                await until(lambda: call_id in agent.keys, "the agent has begun")
        while None not in sent:
            sent.append(read_as_acs(await asyncio.wait_for(service.recv(), 5)))
        assert agent.keys[call_id][-1] == "#"
    sent += [read_as_acs(text) async for text in service]
    assert sum(len(pcm or b"") for pcm in sent) > 0
    assert "3" in agent.keys[call_id]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_what_the_agent_gets_of_it(agent: Agent) -> None:
    """After all the cases: the frames and keys of each, as they were sent."""
    got = {case: f"{CONNECTION}-context-{n}" for n, case in enumerate(CASES)}
    plain = [base64.b64decode(one["audioData"]["data"]) for one in PLAIN if one["kind"] == "AudioData"]
    for case in ("as documented", *(name for name in CASES if name.startswith("in other letters"))):
        frames = agent.frames[got[case]]
        assert [one.pcm for one in frames][: len(plain)] == plain, case
        assert [one.silent for one in frames][:3] == [False, False, True]
        assert agent.keys[got[case]] == ["3", "3", "#"]
    unmixed = agent.frames[got["unmixed"]]
    assert [one.speaker for one in unmixed] == [*SPEAKERS] * 5
    assert agent.keys[got["all keys"]] == list("0123456789*ABCD#")
    assert {one.rate for one in agent.frames[got["24 kHz"]]} == {24000}
    assert all(one.silent for one in agent.frames[got["silence alone"]])


async def test_a_socket_without_the_services_token_is_refused(agent: Agent) -> None:
    await (await dialled(agent, "context-refused")).close()
    with pytest.raises(Exception, match="401"):
        await connect(agent.sdk.sockets["context-refused"], additional_headers={"x-ms-call-connection-id": "x"})
