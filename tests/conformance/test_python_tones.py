"""The official Python SDK sends tones, listens to keys and collects them (protocol.md §§3.3, 3.9, 5.8); each effect is
checked in what the other side heard, or in what it pressed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from azure.communication.callautomation import DtmfTone, RecognizeInputType
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from tests.conformance.python_sdk import Sdk, number, sdk
from tests.console_leg import Leg, Samples, caller, phone
from tests.live import CALLEE, CALLER, LiveNode, TestApp, until

from offhook.audio.dtmf import KeyDetector

pytestmark = pytest.mark.asyncio(loop_scope="module")
BOTH = pytest.mark.parametrize("kind", ["async http", "sync http"])
OTHER = "+15550100003"


@contextlib.asynccontextmanager
async def talk(
    node: LiveNode, app: TestApp, kind: str = "async http", **script: Any
) -> AsyncIterator[tuple[Sdk, Any, Leg]]:
    """An answered call: the SDK, its connection client, and the caller."""
    async with sdk(node, kind) as client, caller(node, **script) as leg:
        context = (await app.invited())["incomingCallContext"]
        made = await client(client.client.answer_call, context, app.callback, operation_context="the answer")
        await app.event("CallConnected")
        yield client, client.connection(made.call_connection_id), leg


@contextlib.asynccontextmanager
async def talk_of_three(node: LiveNode, app: TestApp) -> AsyncIterator[tuple[Sdk, Any, Leg, Leg]]:
    """A call of the app to two phones that have both answered."""
    async with sdk(node, "async http") as client, phone(node) as one, phone(node, OTHER) as two:
        made = await client(client.client.create_call, [number(CALLEE), number(OTHER)], app.callback)
        await until(lambda: len(app.named("ParticipantsUpdated")) >= 2, "both")
        connection = client.connection(made.call_connection_id)
        yield client, connection, one, two
        await client(connection.hang_up, True)
        await app.event("CallDisconnected")


def result(data: dict[str, Any]) -> tuple[int, int, str | None]:
    information = data["resultInformation"]
    return information["code"], information["subCode"], data.get("operationContext")


def figures(error: HttpResponseError) -> tuple[int | None, str | None]:
    return error.status_code, error.error.code if error.error is not None else None


def keys_in(samples: Samples, rate: int = 16000) -> str:
    """Keys whose tones are in the sound."""
    detector, size = KeyDetector(rate), rate // 50
    frames = [samples[at : at + size] for at in range(0, len(samples) - size + 1, size)]
    return "".join(detector.hear(frame) for frame in frames)


async def press(leg: Leg, keys: str) -> None:
    for key in keys:
        await leg.send(kind="dtmf", tone=key)


# sending ------------------------------------------------------------------------------------------------------------


@BOTH
async def test_tones_that_are_sent_are_heard_and_then_told_of(node: LiveNode, app: TestApp, kind: str) -> None:
    async with talk(node, app, kind) as (client, connection, leg):
        sent = await client(
            connection.send_dtmf_tones,
            [DtmfTone.ONE, DtmfTone.ONE, DtmfTone.POUND, DtmfTone.D, "asterisk"],
            number(CALLER),
            operation_context="send",
            operation_callback_url=f"{app.url}/other",
        )
        assert sent.operation_context == "send"
        completed = await app.event("SendDtmfTonesCompleted")
        assert result(completed) == (200, 0, "send")
        assert app.named("SendDtmfTonesCompleted")[0]["path"] == "/other"
        assert keys_in(leg.heard) == "11#D*", "all had been played when the app was told"
        assert [said["tone"] for said in leg.said if said["kind"] == "key"] == list("11#D*")
        frames = leg.frames
        heard = (await leg.heard_frames(frames + 20))[-10 * 320 :]
        assert not heard.any(), "nothing goes on"


async def test_tones_go_to_one_participant_alone(node: LiveNode, app: TestApp) -> None:
    async with talk_of_three(node, app) as (client, connection, one, two):
        await client(connection.send_dtmf_tones, [DtmfTone.FIVE], number(OTHER))
        with pytest.raises(HttpResponseError) as refused:
            await client(connection.send_dtmf_tones, [DtmfTone.SIX], number(OTHER))
        assert figures(refused.value) == (412, "8583")
        with pytest.raises(HttpResponseError) as refused:
            await client(connection.start_continuous_dtmf_recognition, number(OTHER))
        assert figures(refused.value) == (412, "8583")
        await app.event("SendDtmfTonesCompleted")
        assert keys_in(two.heard) == "5"
        await one.heard_frames(one.frames + 10)
        assert not one.heard.any()


async def test_who_leaves_before_the_last_tone(node: LiveNode, app: TestApp) -> None:
    async with talk(node, app) as (client, connection, leg):
        await client(connection.send_dtmf_tones, [DtmfTone.ONE] * 18, number(CALLER), operation_context="long")
        await leg.told("key", 2)
        await leg.hang_up()
        assert result(await app.event("SendDtmfTonesFailed")) == (400, 8558, "long")
        await app.event("CallDisconnected")
        assert not app.named("SendDtmfTonesCompleted")


@BOTH
async def test_tones_that_cannot_be_sent(node: LiveNode, app: TestApp, kind: str) -> None:
    async with talk(node, app, kind) as (client, connection, _):
        for tones, target, expected in (
            ([DtmfTone.ONE] * 19, CALLER, (400, "8523")),
            ([], CALLER, (400, "8523")),
            (["eleven"], CALLER, (400, "8523")),
            ([DtmfTone.ONE], OTHER, (404, "8522")),
        ):
            with pytest.raises(HttpResponseError) as refused:
                await client(connection.send_dtmf_tones, tones, number(target))
            assert figures(refused.value) == expected
        await client(connection.hang_up, True)
        await app.event("CallDisconnected")
        with pytest.raises(ResourceNotFoundError):
            await client(connection.send_dtmf_tones, [DtmfTone.ONE], number(CALLER))
        assert not [e for e in app.events if "SendDtmf" in e["type"]]


# listening ----------------------------------------------------------------------------------------------------------


@BOTH
async def test_every_key_is_told_of_until_that_is_stopped(node: LiveNode, app: TestApp, kind: str) -> None:
    async with talk(node, app, kind) as (client, connection, leg):
        await client(connection.start_continuous_dtmf_recognition, number(CALLER), operation_context="listen")
        await press(leg, "55#A*")
        await app.event("ContinuousDtmfRecognitionToneReceived", 5)
        heard = app.named("ContinuousDtmfRecognitionToneReceived")
        assert sorted((e["data"]["sequenceId"], e["data"]["tone"]) for e in heard) == [
            (1, "five"), (2, "five"), (3, "pound"), (4, "a"), (5, "asterisk"),
        ]  # fmt: skip
        assert {(e["path"], *result(e["data"])) for e in heard} == {("/callbacks", 200, 0, "listen")}
        await client(
            connection.stop_continuous_dtmf_recognition,
            number(CALLER),
            operation_context="stop",
            operation_callback_url=f"{app.url}/other",
        )
        assert result(await app.event("ContinuousDtmfRecognitionStopped")) == (200, 0, "stop")
        assert app.named("ContinuousDtmfRecognitionStopped")[0]["path"] == "/other"
        await press(leg, "1")
        await client(connection.stop_continuous_dtmf_recognition, number(CALLER))
        await leg.hang_up()
        await app.event("CallDisconnected")
        assert len(app.named("ContinuousDtmfRecognitionToneReceived")) == 5
        assert len(app.named("ContinuousDtmfRecognitionStopped")) == 1
        assert not app.named("ContinuousDtmfRecognitionToneFailed")


async def test_who_listens_hears_one_participant_until_that_one_leaves(node: LiveNode, app: TestApp) -> None:
    async with talk_of_three(node, app) as (client, connection, one, two):
        await client(connection.start_continuous_dtmf_recognition, number(OTHER), operation_context="listen")
        with pytest.raises(ResourceNotFoundError):
            await client(connection.start_continuous_dtmf_recognition, number("+15559999999"))
        with pytest.raises(ResourceNotFoundError):
            await client(connection.stop_continuous_dtmf_recognition, number("+15559999999"))
        await press(one, "1")
        await press(two, "2")
        assert (await app.event("ContinuousDtmfRecognitionToneReceived"))["tone"] == "two"
        await two.hang_up()
        assert result(await app.event("ContinuousDtmfRecognitionToneFailed")) == (400, 8558, "listen")
        assert len(app.named("ContinuousDtmfRecognitionToneReceived")) == 1


# collecting ---------------------------------------------------------------------------------------------------------


async def collect(client: Sdk, connection: Any, kind: Any = RecognizeInputType.DTMF, **options: Any) -> None:
    await client(connection.start_recognizing_media, kind, number(CALLER), **options)


@BOTH
async def test_as_many_tones_as_were_asked_for(node: LiveNode, app: TestApp, kind: str) -> None:
    async with talk(node, app, kind) as (client, connection, leg):
        await client(connection.start_continuous_dtmf_recognition, number(CALLER))
        await collect(
            client, connection, dtmf_max_tones_to_collect=3, operation_context="pin",
            operation_callback_url=f"{app.url}/other",
        )  # fmt: skip
        await press(leg, "12*4")
        completed = await app.event("RecognizeCompleted")
        assert result(completed) == (200, 8531, "pin")
        assert completed["recognitionType"] == "dtmf"
        assert completed["dtmfResult"] == {"tones": ["one", "two", "asterisk"]}
        assert app.named("RecognizeCompleted")[0]["path"] == "/other"
        await app.event("ContinuousDtmfRecognitionToneReceived", 4)
        await collect(client, connection, dtmf_max_tones_to_collect=9, dtmf_stop_tones=[DtmfTone.POUND, DtmfTone.A])
        await press(leg, "70#9")
        completed = await app.event("RecognizeCompleted", 2)
        assert result(completed)[:2] == (200, 8514)
        assert completed["dtmfResult"] == {"tones": ["seven", "zero"]}
        assert len(app.named("RecognizeCompleted")) == 2 and not app.named("RecognizeFailed")


async def test_the_caller_presses_nothing_or_too_little(node: LiveNode, app: TestApp) -> None:
    async with talk(node, app) as (client, connection, leg):
        await collect(client, connection, initial_silence_timeout=1, operation_context="silent")
        assert result(await app.event("RecognizeFailed")) == (400, 8510, "silent")
        await collect(
            client, connection, dtmf_max_tones_to_collect=4, dtmf_inter_tone_timeout=1, operation_context="slow"
        )
        await press(leg, "12")
        assert result(await app.event("RecognizeFailed", 2)) == (400, 8532, "slow")
        await collect(client, connection, dtmf_inter_tone_timeout=1, operation_context="any length")
        await press(leg, "345")
        completed = await app.event("RecognizeCompleted")
        assert result(completed) == (400, 8532, "any length")
        assert completed["dtmfResult"] == {"tones": ["three", "four", "five"]}


async def test_recognitions_wait_for_each_other_or_interrupt(node: LiveNode, app: TestApp) -> None:
    async with talk(node, app) as (client, connection, leg):
        for context in ("first", "second"):
            await collect(client, connection, dtmf_max_tones_to_collect=1, operation_context=context)
        await press(leg, "1")
        assert result(await app.event("RecognizeCompleted")) == (200, 8531, "first")
        await collect(
            client, connection, dtmf_max_tones_to_collect=1, operation_context="third",
            interrupt_call_media_operation=True,
        )  # fmt: skip
        assert result(await app.event("RecognizeCanceled")) == (400, 8508, "second")
        await press(leg, "2")
        completed = await app.event("RecognizeCompleted", 2)
        assert result(completed) == (200, 8531, "third")
        assert completed["dtmfResult"] == {"tones": ["two"]}


async def test_who_leaves_while_keys_are_awaited(node: LiveNode, app: TestApp) -> None:
    async with talk(node, app) as (client, connection, leg):
        await collect(client, connection, dtmf_max_tones_to_collect=4, operation_context="ask")
        await press(leg, "1")
        await leg.hang_up()
        assert result(await app.event("RecognizeFailed")) == (400, 8558, "ask")
        await app.event("CallDisconnected")


async def test_the_app_leaves_while_it_awaits_keys(node: LiveNode, app: TestApp) -> None:
    async with talk(node, app) as (client, connection, _):
        await collect(client, connection, dtmf_max_tones_to_collect=4, operation_context="ask")
        await client(connection.hang_up, True)
        assert result(await app.event("RecognizeCanceled")) == (400, 8508, "ask")
        await app.event("CallDisconnected")


async def test_what_cannot_be_recognised(node: LiveNode, app: TestApp) -> None:
    async with talk(node, app) as (client, connection, _):
        with pytest.raises(HttpResponseError) as refused:
            await collect(client, connection, initial_silence_timeout=301)
        assert figures(refused.value) == (400, "8523")
        assert "initialSilenceTimeoutInSeconds" in str(refused.value)
        with pytest.raises(ResourceNotFoundError):
            await client(
                connection.start_recognizing_media, RecognizeInputType.DTMF, number(OTHER), dtmf_max_tones_to_collect=1
            )
