"""The official Python SDK puts people on hold and takes them off it: who hears what meanwhile, sample by sample."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from azure.communication.callautomation import FileSource, TextSource
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from tests.conformance.python_sdk import media_streaming, number, pcm_of, sdk
from tests.conformance.test_python_participants import hears
from tests.conformance.test_python_play import GREETING, places, shelf
from tests.conformance.test_python_recognize import shown_on_hold
from tests.conformance.test_python_tones import OTHER, figures, press, result
from tests.console_leg import caller, phone
from tests.live import CALLEE, CALLER, LiveNode, Stream, TestApp, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
BOTH = pytest.mark.parametrize("kind", ["async http", "sync http"])
SAID = np.full(16000, 5000, "<i2")


async def silent(stream: Stream, expected: bool) -> None:
    """Wait until ten frames in a row say so; they have sound exactly when they do not."""

    def alike() -> bool:
        frames = stream.frames[-10:]
        loud = [bool(pcm_of([frame]).any()) for frame in frames]
        return [frame["silent"] for frame in frames] == [expected] * 10 and loud == [not expected] * 10

    await until(alike, f"frames with silent {expected}")


@BOTH
async def test_on_hold_with_a_prompt_and_off_it(node: LiveNode, app: TestApp, kind: str) -> None:
    async with shelf() as files, sdk(node, kind) as client, caller(node, tone=440) as leg:
        context = (await app.invited())["incomingCallContext"]
        made = await client(
            client.client.answer_call, context, app.callback, media_streaming=media_streaming(app.socket)
        )
        connection = client.connection(made.call_connection_id)
        stream = await app.stream(frames=5)
        await silent(stream, False)
        await client(connection.start_continuous_dtmf_recognition, number(CALLER))
        await client(connection.hold, number(CALLER), play_source=FileSource(files.url("/greeting.wav")))
        await silent(stream, True)
        await until(lambda: len(places(leg.heard, np.concatenate([GREETING, GREETING]))) > 0, "the prompt in a loop")
        participant = await client(connection.get_participant, number(CALLER))
        assert participant.is_on_hold
        await stream.play(SAID.tobytes())
        await press(leg, "5")
        assert (await app.event("ContinuousDtmfRecognitionToneReceived"))["tone"] == "five"
        frames = leg.frames
        heard = await leg.heard_frames(frames + 60)
        assert not np.count_nonzero(heard[frames * 320 :] == 5000) > 320, "the app's sound"
        starts = places(heard, GREETING)
        assert set(np.diff(starts)) == {len(GREETING)}, "nothing but the prompt, without a seam"
        await client(connection.unhold, number(CALLER))
        await silent(stream, False)
        frames = leg.frames
        assert not (await leg.heard_frames(frames + 10))[(frames + 5) * 320 :].any(), "the prompt goes on"
        await stream.play(SAID.tobytes())
        await until(lambda: np.count_nonzero(leg.heard == 5000) >= 16000, "the app's sound")
        assert not (await client(connection.get_participant, number(CALLER))).is_on_hold
        assert shown_on_hold(app) == [set(), {f"4:{CALLER}"}, set()]
        assert not app.named("HoldFailed")


async def test_in_a_group_who_is_on_hold_neither_hears_nor_is_heard(node: LiveNode, app: TestApp) -> None:
    async with (
        sdk(node, "async http") as client,
        phone(node, CALLEE, tone=440) as one,
        phone(node, OTHER, tone=700) as two,
    ):
        made = await client(client.client.create_call, [number(CALLEE), number(OTHER)], app.callback)
        connection = client.connection(made.call_connection_id)
        await until(lambda: one.frames and two.frames, "both have answered")
        await asyncio.gather(hears(one, 700), hears(two, 440))
        await client(connection.hold, number(OTHER), operation_context="hold")
        await asyncio.gather(hears(one), hears(two))
        await client(connection.unhold, number(OTHER))
        await asyncio.gather(hears(one, 700), hears(two, 440))
        await until(lambda: len(shown_on_hold(app)) == 3, "the roster")
        assert shown_on_hold(app) == [set(), {f"4:{OTHER}"}, set()]
        await client(connection.hang_up, True)
        await app.event("CallDisconnected")


@BOTH
async def test_what_cannot_be_done_and_a_prompt_that_cannot_be_played(node: LiveNode, app: TestApp, kind: str) -> None:
    async with shelf() as files, sdk(node, kind) as client, caller(node, tone=440) as leg:
        context = (await app.invited())["incomingCallContext"]
        made = await client(
            client.client.answer_call, context, app.callback, media_streaming=media_streaming(app.socket)
        )
        connection = client.connection(made.call_connection_id)
        stream = await app.stream(frames=5)
        for method in (connection.hold, connection.unhold):
            with pytest.raises(ResourceNotFoundError) as stranger:
                await client(method, number("+15559999999"))
            assert figures(stranger.value) == (404, "8522")
        with pytest.raises(HttpResponseError) as refused:
            await client(connection.unhold, number(CALLER))
        assert figures(refused.value) == (400, "8500") and "not on hold" in str(refused.value)
        await client(connection.hold, number(CALLER))
        await silent(stream, True)
        with pytest.raises(HttpResponseError) as refused:
            await client(connection.hold, number(CALLER))
        assert figures(refused.value) == (400, "8500") and "already" in str(refused.value)
        await client(connection.unhold, number(CALLER))
        sources = (
            (FileSource(files.url("/none.wav")), (400, 8536)),
            (FileSource(files.url("/page.wav")), (400, 8535)),
            (TextSource(text=" ", voice_name="any"), (400, 8582)),
            (TextSource(text="Bonjour", source_locale="fr-FR", voice_kind="female"), (400, 8565)),
        )
        for count, (source, outcome) in enumerate(sources, 1):
            await client(
                connection.hold, number(CALLER), play_source=source, operation_context=f"{count}",
                operation_callback_url=f"{app.url}/other",
            )  # fmt: skip
            assert result(await app.event("HoldFailed", count)) == (*outcome, f"{count}")
        assert {event["path"] for event in app.named("HoldFailed")} == {"/other"}
        await silent(stream, False)
        assert not (await client(connection.get_participant, number(CALLER))).is_on_hold
        assert not leg.heard.any()
