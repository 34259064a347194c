"""The official Python SDK plays files into a call and cancels them; each test listens to what the callers hear."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from azure.communication.callautomation import FileSource, SsmlSource, TextSource
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from tests.conformance.python_sdk import CLIENTS, Sdk, media_streaming, number, pcm_of, sdk
from tests.console_leg import Leg, Samples, caller, phone
from tests.live import CALLEE, LiveNode, TestApp, dev_node, until
from tests.sip_phone import BYE, TestPhone
from tests.sound_files import Files, sound_files

from offhook.audio.wav import write_wav

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE = 16000
FRAME = RATE // 50
GREETING = np.random.default_rng(1).integers(-8000, 8000, RATE // 2).astype(np.int16)
MENU = np.random.default_rng(2).integers(-8000, 8000, RATE // 4 + 77).astype(np.int16)


def places(heard: Samples, sound: Samples) -> list[int]:
    """The samples at which a whole sound stands in what was heard, unchanged."""
    starts = np.flatnonzero(heard[: len(heard) - len(sound) + 1] == sound[0])
    return [int(at) for at in starts if np.array_equal(heard[at : at + len(sound)], sound)]


@contextlib.asynccontextmanager
async def shelf() -> AsyncIterator[Files]:
    async with sound_files() as files:
        files.files = {
            "/greeting.wav": write_wav(GREETING, RATE),
            "/menu.wav": write_wav(MENU, RATE),
            "/page.wav": b"<html>not here</html>",
        }
        yield files


@contextlib.asynccontextmanager
async def talking(
    node: LiveNode, app: TestApp, kind: str = "async http", stream: bool = False
) -> AsyncIterator[tuple[Sdk, Any, Leg, Files]]:
    """An answered call: the SDK, its connection client, the caller, and files to play."""
    async with shelf() as files, sdk(node, kind) as client, caller(node) as leg:
        context = (await app.invited())["incomingCallContext"]
        options = {"media_streaming": media_streaming(app.socket)} if stream else {}
        made = await client(client.client.answer_call, context, app.callback, **options)
        await app.event("CallConnected")
        yield client, client.connection(made.call_connection_id), leg, files


def figures(error: HttpResponseError) -> tuple[int | None, str | None]:
    """Status and code of a refusal."""
    return error.status_code, None if error.error is None else error.error.code


def results(app: TestApp) -> list[tuple[str, int, int]]:
    """Name, code and sub-code of the play events so far."""
    plays = [event for event in app.events if event["type"].startswith("Microsoft.Communication.Play")]
    told = [(event["type"].rpartition(".")[2], event["data"]["resultInformation"]) for event in plays]
    return [(name, info["code"], info["subCode"]) for name, info in told]


@pytest.mark.parametrize("kind", CLIENTS)
async def test_sources_in_sequence(node: LiveNode, app: TestApp, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sample by sample, on a frame, the second right behind the first; the app's stream hears nothing of it."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(node.info["caBundle"]))
    async with talking(node, app, kind, stream=True) as (client, connection, leg, files):
        sources = [FileSource(files.url("/greeting.wav")), FileSource(files.url("/menu.wav"), play_source_cache_id="m")]
        await client(
            connection.play_media, sources, operation_context="both", operation_callback_url=f"{app.url}/other"
        )
        completed = await app.event("PlayCompleted")
        assert completed["operationContext"] == "both"
        assert results(app) == [("PlayStarted", 200, 0), ("PlayCompleted", 200, 0)]
        assert {event["path"] for event in app.named("PlayStarted") + app.named("PlayCompleted")} == {"/other"}
        heard = await leg.heard_frames(leg.frames + 3)
        (start,) = places(heard, np.concatenate([GREETING, MENU]))
        assert start % FRAME == 0
        assert not heard[:start].any() and not heard[start + len(GREETING) + len(MENU) :].any()
        stream = await app.stream(frames=5)
        assert not pcm_of(stream.frames).any()


async def test_plays_queue_and_a_loop_ends_when_it_is_canceled(node: LiveNode, app: TestApp) -> None:
    async with talking(node, app) as (client, connection, leg, files):
        menu = FileSource(files.url("/menu.wav"))
        await client(connection.play_media, FileSource(files.url("/greeting.wav")), operation_context="first")
        await client(connection.play_media, menu, loop=True, operation_context="second")
        await client(connection.play_media, menu, operation_context="third")
        await app.event("PlayStarted", 2)
        await leg.heard_app(80)
        await client(connection.cancel_all_media_operations)
        await app.event("PlayCanceled", 2)
        heard = await leg.heard_frames(leg.frames + 5)
        (first,) = places(heard, GREETING)
        second = places(heard, MENU)
        assert second[0] == first + len(GREETING), "the greeting fills its last frame"
        assert len(second) > 2 and set(np.diff(second)) == {len(MENU)}
        assert results(app) == [
            ("PlayStarted", 200, 0),
            ("PlayCompleted", 200, 0),
            ("PlayStarted", 200, 0),
            ("PlayCanceled", 400, 8508),
            ("PlayCanceled", 400, 8508),
        ]
        assert [event["data"]["operationContext"] for event in app.named("PlayCanceled")] == ["second", "third"]
        assert not any(leg.of_app[-3:])


async def test_an_interrupting_play_is_heard_instead(node: LiveNode, app: TestApp) -> None:
    async with talking(node, app) as (client, connection, leg, files):
        await client(connection.play_media, FileSource(files.url("/greeting.wav")), loop=True)
        await app.event("PlayStarted")
        await leg.heard_app(10)
        await client(connection.play_media, FileSource(files.url("/menu.wav")), interrupt_call_media_operation=True)
        await app.event("PlayCompleted")
        heard = await leg.heard_frames(leg.frames + 3)
        rest = MENU[FRAME // 4 :]  # the first 5 ms may lie over the ramp of what was cut
        (start,) = places(heard, rest)
        assert not heard[start + len(rest) :].any()
        assert [name for name, *_ in results(app)] == ["PlayStarted", "PlayCanceled", "PlayStarted", "PlayCompleted"]


async def test_a_play_to_one_of_two(node: LiveNode, app: TestApp) -> None:
    async with (
        shelf() as files,
        sdk(node, "async http") as client,
        phone(node, CALLEE, answerAfter=0.1) as one,
        phone(node, "+15550100007", answerAfter=0.1) as two,
    ):
        targets = [number(CALLEE), number("+15550100007")]
        made = await client(
            client.client.create_call, targets, app.callback, source_caller_id_number=number("+15550100009")
        )
        for leg in (one, two):
            await leg.told("answered")
        await app.event("ParticipantsUpdated", 2)
        connection = client.connection(made.call_connection_id)
        greeting = FileSource(files.url("/greeting.wav"))
        await client(connection.play_media, greeting, play_to=[targets[1]], loop=True)
        await two.heard_app(10)
        with pytest.raises(HttpResponseError) as refused:
            await client(connection.play_media, greeting, play_to=[targets[0]])
        assert figures(refused.value) == (412, "8583")
        assert not (await one.heard_frames(20)).any()
        with pytest.raises(ResourceNotFoundError) as absent:
            await client(connection.play_media, greeting, play_to=[number("+15559999999")])
        assert figures(absent.value) == (404, "8522")
        await client(connection.hang_up, True)
        await app.event("CallDisconnected")
        assert results(app)[-1] == ("PlayCanceled", 400, 8508)


@pytest.mark.parametrize(
    ("path", "code", "sub_code", "words"),
    [
        ("/page.wav", 400, 8535, "no WAV file"),
        ("/missing.wav", 400, 8536, "HTTP 404"),
        ("locale", 400, 8565, "knows English only, not de-DE"),
        ("voice", 400, 8565, "knows English only, not fr-FR"),
        ("custom", 400, 8565, "no custom voices"),
        ("ssml", 400, 8565, "line 1, column 19: mismatched tag"),
        ("doctype", 400, 8565, "line 1, column 17: a document type cannot be used"),
        ("empty", 400, 8582, "is empty"),
        ("nothing", 400, 8582, "is empty"),
    ],
)
async def test_a_source_that_cannot_be_played(
    node: LiveNode, app: TestApp, path: str, code: int, sub_code: int, words: str
) -> None:
    async with talking(node, app) as (client, connection, leg, files):
        spoken = {
            "locale": TextSource(text="Guten Tag", source_locale="de-DE", voice_kind="female"),
            "voice": TextSource(text="Bonjour", voice_name="fr-FR-DeniseNeural"),
            "custom": TextSource(text="Hello", voice_name="mine", custom_voice_endpoint_id="an-id"),
            "ssml": SsmlSource(ssml_text="<speak>Hello <p></speak>"),
            "doctype": SsmlSource(ssml_text="<!DOCTYPE speak [<!ENTITY a 'a'>]><speak>&a;</speak>"),
            "empty": TextSource(text="", voice_name="any"),
            "nothing": SsmlSource(ssml_text="<speak/>"),
        }
        bad = spoken.get(path) or FileSource(files.url(path))
        await client(connection.play_media, [FileSource(files.url("/menu.wav")), bad], operation_context="both")
        failed = await app.event("PlayFailed")
        assert failed["failedPlaySourceIndex"] == 1 and failed["operationContext"] == "both"
        assert results(app) == [("PlayFailed", code, sub_code)]
        assert words in failed["resultInformation"]["message"]
        await client(connection.play_media, FileSource(files.url("/menu.wav")))
        await app.event("PlayCompleted")
        heard = await leg.heard_frames(leg.frames + 2)
        assert len(places(heard, MENU)) == 1


async def test_requests_that_are_refused(node: LiveNode, app: TestApp) -> None:
    async with talking(node, app) as (client, connection, _, _):
        for url in ("", "ftp://x/greeting.wav", "data:audio/wav,"):
            with pytest.raises(HttpResponseError) as refused:
                await client(connection.play_media, FileSource(url=url))
            assert figures(refused.value) == (400, "8523")
            assert "playSources[0].file.uri" in str(refused.value)
        assert await client(connection.cancel_all_media_operations) is None, "nothing runs: nothing to cancel"
    await app.event("CallDisconnected")
    assert results(app) == []


async def test_more_than_may_wait(node: LiveNode, app: TestApp) -> None:
    """What waits already is not harmed, and there is room again when it is canceled."""
    async with talking(node, app) as (client, connection, leg, files):
        greeting = FileSource(files.url("/greeting.wav"))
        for _ in range(20):
            await client(connection.play_media, greeting, loop=True)
        with pytest.raises(HttpResponseError) as refused:
            await client(connection.play_media, greeting, operation_context="too many")
        assert figures(refused.value) == (400, "8500")
        await until(lambda: places(leg.heard, GREETING), "the first")
        await client(connection.cancel_all_media_operations)
        await app.event("PlayCanceled", 20)
        await client(connection.play_media, FileSource(files.url("/menu.wav")))
        await app.event("PlayCompleted")
        assert places(await leg.heard_frames(leg.frames + 2), MENU)
        assert [event["data"].get("operationContext") for event in app.named("PlayFailed")] == []


async def test_a_sip_phone_hears_it(tmp_path: Path) -> None:
    """Over RTP with G.711: the tone of the file at its level; after the cancel, nothing."""
    app, ours = TestApp(), TestPhone()
    async with (
        app.running(),
        dev_node(tmp_path / "state", "--incoming", app.webhook, "--sip-port", "0") as node,
        ours.running(),
        sound_files() as files,
        sdk(node, "async http") as client,
    ):
        await until(lambda: node.named("subscription"), "validation")
        line = ours.call(node.info["sip"]["udp"])
        context = (await app.invited())["incomingCallContext"]
        made = await client(client.client.answer_call, context, app.callback)
        await ours.answered(line)
        await app.event("CallConnected")
        connection = client.connection(made.call_connection_id)
        await client(connection.play_media, FileSource(files.url("/a.wav")), loop=True)
        await app.event("PlayStarted")
        frames = len(line.heard)
        await until(lambda: len(line.heard) > frames + 80, "a second and a half of it")
        hertz, amplitude = line.peak()
        assert hertz == pytest.approx(440, abs=1)
        assert 20 * np.log10(amplitude / 8000) == pytest.approx(0, abs=1), "within 1 dB"
        await client(connection.cancel_all_media_operations)
        await app.event("PlayCanceled")
        await until(lambda: not np.concatenate(line.heard[-20:]).any(), "silence")
        line.leg.hang_up(BYE)
        await app.event("CallDisconnected")
