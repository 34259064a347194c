"""The official JavaScript SDK 1.6.0 against a live node: an app in Node.js, steered over its stdin (protocol.md §§2-5).

The app parses every callback and every stream message with the SDK's own parsers; one throw fails the module.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from tests.console_leg import Leg, Samples, caller, phone
from tests.js_app import JsApp, JsError, Report, running_app, unused_port
from tests.live import CALLER, LiveNode, call, dev_node, until

from offhook.audio.tones import sine
from offhook.audio.wav import read_wav

pytestmark = [pytest.mark.js, pytest.mark.asyncio(loop_scope="module")]

APP_CALLS_FROM, NEVER = "+15550100009", "+15550100066"
RING_SECONDS = 30.0
TONE = 440.0


World = tuple[LiveNode, JsApp, Report]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Node, app, and a call to a phone that nobody answers: it rings while the other tests run."""
    port = unused_port()
    async with (
        dev_node(tmp_path_factory.mktemp("state"), "--incoming", f"http://127.0.0.1:{port}/events") as node,
        running_app(node, port, tmp_path_factory.mktemp("app")) as app,
        phone(node, NEVER, never=True),
    ):
        unanswered = await app.ask(
            "createCall", invite=invite(NEVER), callback=app.callback, options={"operationContext": "patience"}
        )
        await app.told("validation")
        await until(lambda: node.named("subscription"), "the subscription's validation")
        yield node, app, unanswered


@pytest.fixture
def node(world: World) -> LiveNode:
    return world[0]


@pytest.fixture
def app(world: World) -> JsApp:
    return world[1]


_numbers = (f"+1555020{index:04d}" for index in itertools.count(1))


@pytest.fixture
def number() -> str:
    """A number that no other test uses."""
    return next(_numbers)


def invite(number: str) -> Report:
    """A CallInvite to a phone number."""
    return {"targetParticipant": {"phoneNumber": number}, "sourceCallIdNumber": {"phoneNumber": APP_CALLS_FROM}}


def streaming(url: str, audio_format: str = "pcm16KMono", channels: str = "mixed", **changes: Any) -> Report:
    """MediaStreamingOptions in the SDK's names, which are the wire's."""
    return {
        "transportUrl": url,
        "transportType": "websocket",
        "contentType": "audio",
        "audioChannelType": channels,
        "startMediaStreaming": True,
        "enableBidirectional": True,
        "audioFormat": audio_format,
        "enableDtmfTones": True,
        **changes,
    }


def transcription(url: str, *, start: bool) -> Report:
    """TranscriptionOptions in the SDK's names, which are the wire's."""
    return {
        "transportUrl": url,
        "transportType": "websocket",
        "locale": "en-US",
        "startTranscription": start,
        "enableIntermediateResults": True,
    }


async def answer(app: JsApp, number: str, options: Report, client: str = "tls") -> Report:
    """Take the call to `number`; the connection's properties as the SDK gives them."""
    data = await app.incoming(number)
    assert data["from"]["kind"] == "phoneNumber" and data["from"]["phoneNumber"]["value"] == CALLER
    context = data["incomingCallContext"]
    properties: Report = await app.ask(
        "answerCall", context=context, callback=app.callback, options=options, client=client
    )
    assert properties["callConnectionId"] and properties["callConnectionState"] in ("connecting", "connected")
    assert properties["serverCallId"] == data["serverCallId"]
    assert properties["correlationId"] == data["correlationId"]
    return properties


@contextlib.asynccontextmanager
async def talking(node: LiveNode, app: JsApp, number: str, options: Report) -> AsyncIterator[tuple[Leg, Report]]:
    """An answered call whose caller is steered by the test."""
    async with caller(node, to=number, tone=TONE) as leg:
        connection = await answer(app, number, options)
        await app.event(connection, "CallConnected")
        yield leg, connection


def purity(samples: Samples, rate: int, hz: float = TONE, seconds: float = 1.0) -> float:
    """The share of energy that lies in one sine: 1.0 is all of it. The median over windows of the middle second.

    A window of a second finds every seam; shorter ones forgive an echo its late frames.
    """
    assert samples.size > rate, f"only {samples.size} samples"
    size = round(rate * seconds)
    middle = samples[samples.size // 2 - rate // 2 :][: rate // size * size].astype(np.float64).reshape(-1, size)
    turns = np.exp(-2j * np.pi * hz * np.arange(size) / rate)
    return float(np.median(2 * abs(middle @ turns) ** 2 / (size * (middle**2).sum(axis=1) + 1e-9)))


def loud(samples: Samples) -> Samples:
    """From the first to the last sample that is not silence."""
    found = np.flatnonzero(samples)
    return samples[found[0] : found[-1] + 1] if found.size else samples[:0]


def recorded(path: str) -> Samples:
    """What the app heard, as it wrote it."""
    return np.fromfile(path, "<i2").astype(np.int16)


def pieces(hz: float, seconds: float, count: int) -> list[str]:
    """A tone at 16 kHz as base64 texts for createOutboundAudioData."""
    return [b64encode(part.tobytes()).decode() for part in np.array_split(sine(hz, 16000, seconds), count)]


# calls in -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "formats"),
    [
        ("tls", [("pcm16KMono", "mixed"), ("Pcm24KMono", "unmixed")]),
        ("http", [("pcm24KMono", "mixed"), ("pcm16KMono", "unmixed")]),
    ],
)
async def test_callers_hear_their_echo(
    node: LiveNode, app: JsApp, tmp_path: Path, client: str, formats: list[tuple[str, str]]
) -> None:
    """Two calls at once through one client of the SDK."""
    async with asyncio.TaskGroup() as group:
        for audio_format, channels in formats:
            out = tmp_path / f"{audio_format}.wav"
            group.create_task(_echo_call(node, app, next(_numbers), out, client, audio_format, channels))


async def _echo_call(
    node: LiveNode, app: JsApp, number: str, out: Path, client: str, audio_format: str, channels: str
) -> None:
    rate = 24000 if "24" in audio_format else 16000
    options = ("--tone", f"{TONE:g}", "--lead", "0.2", "--dtmf", "0.6:7", "--duration", "2.2", "--out", str(out))
    asked: Report = {
        "operationContext": f"ctx {audio_format} äß",
        "mediaStreamingOptions": streaming(app.socket + "?echo=1", audio_format, channels),
    }
    async with asyncio.TaskGroup() as group:
        calling = group.create_task(call(node, *options, to=number))
        connection = await answer(app, number, asked, client)
    status, figures = calling.result()
    await _assert_events(app, connection, asked["operationContext"], number, figures)

    opened = await app.stream(connection, "streamOpened")
    assert opened["bearer"] and opened["correlationId"] == connection["correlationId"]
    metadata = (await app.stream(connection, "audioMetadata"))["parsed"]
    assert metadata.pop("subscriptionId")
    assert metadata == {"encoding": "PCM", "sampleRate": rate, "channels": 1}
    assert (await app.stream(connection, "dtmf"))["parsed"] == {"data": "7"}
    closed = await app.stream(connection, "streamClosed")
    assert closed["order"][:2] == ["AudioMetadata", "AudioData"] and closed["kinds"]["AudioMetadata"] == 1
    assert closed["frameSizes"] == [rate // 25] and closed["largest"] < 2048
    assert closed["speakers"] == ([f"4:{CALLER}"] if channels == "unmixed" else [""])
    (pcm,) = closed["pcm"].values()
    assert purity(loud(recorded(pcm)), rate) > 0.99

    assert status == 0 and figures["endedBy"] == "caller" and figures["gaps"] == 0
    heard = read_wav(out.read_bytes())
    assert heard.rate == rate and purity(loud(heard.samples), rate, seconds=0.1) > 0.99


async def _assert_events(app: JsApp, connection: Report, context: str, number: str, figures: Report) -> None:
    for kind in ("CallConnected", "MediaStreamingStarted"):
        event = await app.event(connection, kind)
        assert event["operationContext"] == context
        assert (event["resultInformation"]["code"], event["resultInformation"]["subCode"]) == (200, 0)
    update = (await app.event(connection, "MediaStreamingStarted"))["mediaStreamingUpdate"]
    assert update["mediaStreamingStatus"] == "mediaStreamingStarted" and update["contentType"] == "Audio"
    roster = await app.event(connection, "ParticipantsUpdated")
    assert [row["identifier"]["phoneNumber"] for row in roster["participants"]] == [CALLER, number]
    over = (await app.event(connection, "CallDisconnected"))["resultInformation"]
    assert (over["code"], over["subCode"]) == (figures["code"], figures["subCode"])


async def test_the_app_looks_at_the_call_and_restarts_its_stream(node: LiveNode, app: JsApp, number: str) -> None:
    url = app.socket + "?echo=1"
    asked = {"operationContext": "set-up", "mediaStreamingOptions": streaming(url, startMediaStreaming=False)}
    async with talking(node, app, number, asked) as (leg, connection):
        one = {"connectionId": connection["callConnectionId"]}
        properties = await app.ask("getCallConnectionProperties", **one)
        assert properties["callConnectionState"] == "connected"
        assert properties["mediaStreamingSubscription"]["state"] == "inactive"
        assert properties["source"]["phoneNumber"] == CALLER and properties["answeredFor"]["phoneNumber"] == number
        participants = (await app.ask("listParticipants", **one))["values"]
        assert [row["identifier"]["phoneNumber"] for row in participants] == [CALLER, number]
        assert await app.ask("getParticipant", participant={"phoneNumber": CALLER}, **one) == participants[0]

        for turn in (1, 2):
            await app.ask("startMediaStreaming", options={"operationContext": f"start {turn}"}, **one)
            started = await app.event(connection, "MediaStreamingStarted", turn)
            assert started["operationContext"] == f"start {turn}"
            before = sum(leg.of_app)
            await leg.heard_app(before + 10)
            state = (await app.ask("getCallConnectionProperties", **one))["mediaStreamingSubscription"]
            assert state["state"] == "active" and state["subscribedContentTypes"] == ["audio"]
            with pytest.raises(JsError) as refused:
                await app.ask("startMediaStreaming", options={}, **one)
            assert refused.value.seen == ("RestError", 400, "8500")
            elsewhere = {"operationContext": f"stop {turn}", "operationCallbackUrl": f"{app.callback}?stop={turn}"}
            await app.ask("stopMediaStreaming", options=elsewhere, **one)
            stopped = await app.event(connection, "MediaStreamingStopped", turn)
            assert stopped["operationContext"] == f"stop {turn}"
            assert stopped["mediaStreamingUpdate"]["mediaStreamingStatusDetails"] == "subscriptionStopped"
            assert f"/callbacks?stop={turn}" in [report["path"] for report in app.all("callback")]
            closed = await app.stream(connection, "streamClosed", turn)
            assert closed["order"][0] == "AudioMetadata" and closed["code"] == 1000

        await app.ask("hangUp", forEveryone=False, **one)
        over = await app.event(connection, "CallDisconnected")
        assert (over["resultInformation"]["code"], over["resultInformation"]["subCode"]) == (200, 7000)
        ended = await leg.told("ended")
        assert (ended["endedBy"], ended["subCode"]) == ("app", 7000)


async def test_bursts_play_whole_and_stop_audio_cuts(node: LiveNode, app: JsApp, number: str) -> None:
    """Each audio message of the SDK carries an empty stopAudio: it must not cut what came before."""
    async with talking(node, app, number, {"mediaStreamingOptions": streaming(app.socket)}) as (leg, connection):
        one = {"connectionId": connection["callConnectionId"]}
        await app.stream(connection, "streamProgress")
        await app.ask("speak", pieces=pieces(1000, 1.2, 5), **one)
        await leg.heard_app(60)
        assert sum(leg.of_app) == 60 and purity(loud(leg.heard), 16000, 1000) > 0.999

        await app.ask("speak", pieces=pieces(1000, 60, 4), **one)
        await leg.heard_app(60 + 20)
        await app.ask("stopAudio", **one)
        await until(lambda: node.named("stopAudio"), "stopAudio")
        event = node.named("stopAudio")[-1]
        await leg.heard_frames(leg.frames + 10)
        assert event["callConnectionId"] == connection["callConnectionId"] and event["cutMs"] > 50_000
        assert not leg.of_app[-5:].count(True) and not leg.heard[event["atSample"] :].any()
        assert loud(leg.heard).size <= event["atSample"]
        await app.ask("hangUp", forEveryone=True, **one)
        assert (await leg.told("ended"))["endedBy"] == "app"
        await app.event(connection, "CallDisconnected")


async def test_what_cannot_be_streamed_is_told_and_the_call_lives(node: LiveNode, app: JsApp, number: str) -> None:
    nowhere = {
        "operationContext": "nowhere",
        "mediaStreamingOptions": streaming(f"ws://127.0.0.1:{unused_port()}/"),
        "transcriptionOptions": transcription(f"ws://127.0.0.1:{unused_port()}/", start=True),
    }
    async with talking(node, app, number, nowhere) as (leg, connection):
        failed = await app.event(connection, "MediaStreamingFailed")
        assert failed["operationContext"] == "nowhere"
        assert (failed["resultInformation"]["code"], failed["resultInformation"]["subCode"]) == (400, 8581)
        assert failed["mediaStreamingUpdate"]["mediaStreamingStatus"] == "mediaStreamingFailed"
        untold = await app.event(connection, "TranscriptionFailed")
        assert (untold["resultInformation"]["code"], untold["resultInformation"]["subCode"]) == (400, 8581)
        assert untold["transcriptionUpdate"]["transcriptionStatus"] == "transcriptionFailed"
        properties = await app.ask("getCallConnectionProperties", connectionId=connection["callConnectionId"])
        assert properties["callConnectionState"] == "connected"
        await leg.hang_up()
        await app.event(connection, "CallDisconnected")


@pytest.mark.parametrize(("reason", "code", "sub_code"), [("busy", 486, 560486), (None, 200, 5002)])
async def test_a_rejected_call(
    node: LiveNode, app: JsApp, number: str, reason: str | None, code: int, sub_code: int
) -> None:
    async with asyncio.TaskGroup() as group:
        calling = group.create_task(call(node, "--tone", "440", to=number))
        context = (await app.incoming(number))["incomingCallContext"]
        await app.ask("rejectCall", context=context, options={} if reason is None else {"callRejectReason": reason})
    status, figures = calling.result()
    assert status == 3 and not figures["answered"]
    assert (figures["code"], figures["subCode"]) == (code, sub_code)


async def test_a_redirected_call(node: LiveNode, app: JsApp, number: str) -> None:
    other = next(_numbers)
    async with phone(node, other, answerAfter=0.1, tone=700, lead=0) as called, caller(node, to=number) as leg:
        context = (await app.incoming(number))["incomingCallContext"]
        await app.ask("redirectCall", context=context, invite={"targetParticipant": {"phoneNumber": other}})
        await called.told("answered")
        await leg.told("answered")
        await leg.heard_frames(60)
        assert purity(loud(leg.heard), 16000, 700) > 0.99


# calls out ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", ["tls", "http"])
async def test_a_created_call_is_answered(node: LiveNode, app: JsApp, number: str, client: str) -> None:
    asked = {"operationContext": "out", "mediaStreamingOptions": streaming(app.socket + "?echo=1", "Pcm24KMono")}
    async with phone(node, number, answerAfter=0.2, tone=TONE, lead=0) as called:
        created = await app.ask(
            "createCall", invite=invite(number), callback=app.callback, options=asked, client=client
        )
        assert created["callConnectionState"] == "connecting"
        assert created["targetParticipants"][0]["phoneNumber"] == number
        connected = await app.event(created, "CallConnected")
        assert connected["operationContext"] == "out"
        assert (await called.told("invite"))["from"] == f"4:{APP_CALLS_FROM}"
        await called.heard_app(60)
        assert purity(loud(called.heard), 24000, seconds=0.1) > 0.99
        properties = await app.ask("getCallConnectionProperties", connectionId=created["callConnectionId"])
        assert properties["callConnectionState"] == "connected" and properties["serverCallId"]
        assert properties["sourceCallerIdNumber"]["phoneNumber"] == APP_CALLS_FROM
        await app.ask("hangUp", forEveryone=True, connectionId=created["callConnectionId"])
        await app.event(created, "CallDisconnected")
        assert (await called.told("ended"))["subCode"] == 7000


async def test_a_group_call_streams_each_participant(node: LiveNode, app: JsApp, number: str) -> None:
    tones = {number: 500.0, next(_numbers): 900.0}
    asked = {
        "sourceCallIdNumber": {"phoneNumber": APP_CALLS_FROM},
        "mediaStreamingOptions": streaming(app.socket, channels="unmixed"),
    }
    async with contextlib.AsyncExitStack() as stack:
        for each, tone in tones.items():
            await stack.enter_async_context(phone(node, each, answerAfter=0.1, tone=tone, lead=0))
        targets = [{"phoneNumber": each} for each in tones]
        group = await app.ask("createGroupCall", targets=targets, callback=app.callback, options=asked)
        one = {"connectionId": group["callConnectionId"]}
        await app.event(group, "ParticipantsUpdated", 2)
        listed = (await app.ask("listParticipants", **one))["values"]
        assert {row["identifier"]["phoneNumber"] for row in listed} == set(tones)
        await app.stream(group, "streamProgress", 5)
        await app.ask("hangUp", forEveryone=True, **one)
        await app.event(group, "CallDisconnected")
        closed = await app.stream(group, "streamClosed")
    for each, tone in tones.items():
        assert purity(loud(recorded(closed["pcm"][f"4:{each}"])), 16000, tone) > 0.99


async def test_people_come_and_go(node: LiveNode, app: JsApp, number: str) -> None:
    """Add, mute, remove, and an invitation that is called off: answers, events as parsed, and the sound."""
    other, absent = next(_numbers), next(_numbers)
    asked = {"mediaStreamingOptions": streaming(app.socket, channels="unmixed")}
    async with (
        phone(node, other, answerAfter=0.1, tone=900, lead=0) as added,
        phone(node, absent, never=True) as ringing,
        talking(node, app, number, asked) as (leg, connection),
    ):
        one = {"connectionId": connection["callConnectionId"]}
        who = {"participant": {"phoneNumber": other}}
        options = {"operationContext": "add", "invitationTimeoutInSeconds": 20}
        answered = await app.ask("addParticipant", invite=invite(other), options=options, **one)
        assert answered["operationContext"] == "add" and answered["invitationId"]
        succeeded = await app.event(connection, "AddParticipantSucceeded")
        assert succeeded["participant"]["phoneNumber"] == other and succeeded["operationContext"] == "add"
        await until(lambda: leg.heard[-8000:].any(), "the added one is heard")
        await until(lambda: added.heard[-8000:].any(), "and hears the caller")
        await app.ask("muteParticipant", **who, **one)
        told = await app.event(connection, "ParticipantsUpdated", 3)
        assert [p["isMuted"] for p in told["participants"] if p["identifier"].get("phoneNumber") == other] == [True]
        frames = leg.frames + 30
        assert not (await leg.heard_frames(frames))[-1600:].any(), "silence"
        invitation = (await app.ask("addParticipant", invite=invite(absent), **one))["invitationId"]
        await ringing.told("invite")
        await app.ask("cancelAddParticipant", invitation=invitation, **one)
        canceled = await app.event(connection, "CancelAddParticipantSucceeded")
        assert canceled["invitationId"] == invitation
        await app.ask("cancelAddParticipant", invitation=invitation, **one)
        await app.event(connection, "CancelAddParticipantFailed")
        await app.ask("removeParticipant", **who, options={"operationContext": "out"}, **one)
        removed = await app.event(connection, "RemoveParticipantSucceeded")
        assert (removed["participant"]["phoneNumber"], removed["operationContext"]) == (other, "out")
        assert (await added.told("ended"))["subCode"] == 5300
        nobody = await app.ask("addParticipant", invite=invite("+15550100404"), **one)
        failed = await app.event(connection, "AddParticipantFailed")
        assert nobody["invitationId"] and failed["resultInformation"]["subCode"] == 8544


@pytest.mark.parametrize(
    ("registration", "code", "sub_code", "disconnected"),
    [({"reject": "busy"}, 486, 560486, False), ({"reject": "declined"}, 200, 5002, True), (None, 404, 8544, False)],
)
async def test_a_created_call_that_fails(
    node: LiveNode, app: JsApp, number: str, registration: Report | None, code: int, sub_code: int, disconnected: bool
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        if registration is not None:
            await stack.enter_async_context(phone(node, number, **registration))
        options = {"operationContext": "no luck"}
        created = await app.ask("createCall", invite=invite(number), callback=app.callback, options=options)
        failed = await app.event(created, "CreateCallFailed")
        assert failed["operationContext"] == "no luck"
        assert (failed["resultInformation"]["code"], failed["resultInformation"]["subCode"]) == (code, sub_code)
        if registration is None:
            assert "offhook phone" in failed["resultInformation"]["message"]
        if disconnected:
            assert (await app.event(created, "CallDisconnected"))["resultInformation"]["subCode"] == sub_code
        with pytest.raises(JsError) as gone:
            await app.ask("getCallConnectionProperties", connectionId=created["callConnectionId"])
        assert gone.value.seen == ("RestError", 404, "8522")


# errors -------------------------------------------------------------------------------------------------------------


async def test_errors_are_typed(node: LiveNode, app: JsApp, number: str) -> None:
    async with talking(node, app, number, {}) as (_, connection):
        one = {"connectionId": connection["callConnectionId"]}
        again = {"context": (await app.incoming(number))["incomingCallContext"], "callback": app.callback}
        mangled = {**again, "context": again["context"][:-9] + "AAAAAAAAA"}
        nobody = {"connectionId": "00000000-0000-8000-8000-000000000000"}
        cases: list[tuple[str, Report, tuple[int, str]]] = [
            ("getCallConnectionProperties", nobody, (404, "8522")),
            ("hangUp", {**nobody, "forEveryone": True}, (404, "8522")),
            ("getParticipant", {**one, "participant": {"phoneNumber": "+15550999999"}}, (404, "8522")),
            ("answerCall", again, (409, "8519")),
            ("rejectCall", again, (409, "8519")),
            ("redirectCall", {**again, "invite": {"targetParticipant": {"phoneNumber": CALLER}}}, (409, "8519")),
            ("answerCall", mangled, (400, "8523")),
            ("startMediaStreaming", one, (405, "8522")),
            ("addParticipant", {**one, "invite": invite(CALLER)}, (409, "8519")),
            ("removeParticipant", {**one, "participant": {"phoneNumber": "+15550999999"}}, (404, "8522")),
            ("muteParticipant", {**one, "participant": {"phoneNumber": "+15550999999"}}, (404, "8522")),
            (
                "connectCall",
                {"locator": {"kind": "roomCallLocator", "id": "r"}, "callback": "http://x/"},
                (405, "8520"),
            ),
            ("getCallConnectionProperties", {**one, "client": "stranger"}, (401, "7509")),
        ]
        for action, fields, (status, code) in cases:
            with pytest.raises(JsError) as raised:
                await app.ask(action, **fields)
            assert raised.value.seen == ("RestError", status, code), (action, raised.value)
            assert raised.value.message, action
        await app.ask("hangUp", forEveryone=True, **one)
        await app.event(connection, "CallDisconnected")
        with pytest.raises(JsError) as over:
            await app.ask("listParticipants", **one)
        assert over.value.seen == ("RestError", 404, "8522")


async def test_a_created_call_that_nobody_answers(world: World) -> None:
    """The last test, because it waits for the ring time-out of the call that the module began with."""
    _, app, unanswered = world
    failed = await app.event(unanswered, "CreateCallFailed", deadline=RING_SECONDS + 10)
    assert failed["operationContext"] == "patience"
    assert (failed["resultInformation"]["code"], failed["resultInformation"]["subCode"]) == (487, 10004)
