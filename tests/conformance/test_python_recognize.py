"""The official Python SDK asks callers for keys and choices after a prompt (protocol.md §§3.9, 5.8); each effect is
checked in what the callers heard, sample by sample."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from azure.communication.callautomation import DtmfTone, FileSource, RecognitionChoice, RecognizeInputType, TextSource
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from tests.conformance.python_sdk import Sdk, number
from tests.conformance.test_python_play import GREETING, MENU, RATE, places, talking
from tests.conformance.test_python_tones import OTHER, figures, keys_in, press, result, talk_of_three
from tests.console_leg import Leg
from tests.live import CALLEE, CALLER, LiveNode, TestApp, until
from tests.sound_files import Files, sound_files

from offhook.audio.wav import write_wav

pytestmark = pytest.mark.asyncio(loop_scope="module")
BOTH = pytest.mark.parametrize("kind", ["async http", "sync http"])
LONG = np.random.default_rng(3).integers(-8000, 8000, 5 * RATE).astype(np.int16)
CHOICES = [
    RecognitionChoice(label="Sales", phrases=["sales", "buy"], tone=DtmfTone.ONE),
    RecognitionChoice(label="Help", phrases=["help me"], tone=DtmfTone.TWO),
]


@dataclass
class Menu:
    """A call that can be asked for something."""

    client: Sdk
    connection: Any
    leg: Leg
    files: Files

    def file(self, name: str) -> FileSource:
        return FileSource(self.files.url(f"/{name}.wav"))

    async def ask(self, kind: Any = RecognizeInputType.DTMF, of: str = CALLER, **options: Any) -> None:
        await self.client(self.connection.start_recognizing_media, kind, number(of), **options)


@contextlib.asynccontextmanager
async def menu(node: LiveNode, app: TestApp, kind: str = "async http") -> AsyncIterator[Menu]:
    async with talking(node, app, kind) as (client, connection, leg, files):
        files.files["/long.wav"] = write_wav(LONG, RATE)
        yield Menu(client, connection, leg, files)


async def sounds(leg: Leg, frames: int = 0) -> None:
    """Wait until a prompt is heard."""
    await until(lambda: leg.frames > frames and leg.heard[frames * RATE // 50 :].any(), "the prompt")


@BOTH
async def test_a_prompt_is_heard_and_then_keys_count(node: LiveNode, app: TestApp, kind: str) -> None:
    async with menu(node, app, kind) as call:
        await call.ask(
            play_prompt=[call.file("long"), call.file("menu")], dtmf_max_tones_to_collect=2, operation_context="pin",
            operation_callback_url=f"{app.url}/other",
        )  # fmt: skip
        await sounds(call.leg)
        await press(call.leg, "99")
        both = np.concatenate([LONG, MENU])
        await until(lambda: places(call.leg.heard, both), "the whole prompt", 15)
        await press(call.leg, "45")
        completed = await app.event("RecognizeCompleted")
        assert result(completed) == (200, 8531, "pin")
        assert completed["dtmfResult"] == {"tones": ["four", "five"]}, "what came during the prompt does not count"
        assert app.named("RecognizeCompleted")[0]["path"] == "/other"
        assert not any(event["type"].rpartition(".")[2].startswith("Play") for event in app.events)


async def test_the_first_key_cuts_a_prompt_that_may_be_interrupted(node: LiveNode, app: TestApp) -> None:
    async with menu(node, app) as call:
        await call.ask(play_prompt=call.file("long"), interrupt_prompt=True, dtmf_max_tones_to_collect=2)
        await sounds(call.leg)
        await press(call.leg, "1")
        frames = call.leg.frames
        heard = (await call.leg.heard_frames(frames + 25))[(frames + 15) * RATE // 50 :]
        assert not heard.any(), "the prompt goes on"
        await press(call.leg, "2")
        assert (await app.event("RecognizeCompleted"))["dtmfResult"] == {"tones": ["one", "two"]}


async def test_nobody_answers_the_prompt(node: LiveNode, app: TestApp) -> None:
    async with menu(node, app) as call:
        await call.ask(
            play_prompt=call.file("greeting"), initial_silence_timeout=0, dtmf_max_tones_to_collect=1,
            operation_context="silent",
        )  # fmt: skip
        assert result(await app.event("RecognizeFailed")) == (400, 8510, "silent")
        heard = await call.leg.heard_frames(call.leg.frames + 3)
        assert len(places(heard, GREETING)) == 1, "the silence begins behind the prompt"


async def test_a_prompt_that_cannot_be_played(node: LiveNode, app: TestApp) -> None:
    async with menu(node, app) as call:
        for name, why in (("none", "downloaded"), ("page", "format")):
            await call.ask(
                play_prompt=[call.file("greeting"), call.file(name)], dtmf_max_tones_to_collect=1,
                operation_context=name,
            )  # fmt: skip
            failed = await app.event("RecognizeFailed", 1 if name == "none" else 2)
            assert result(failed) == (500, 8511, name)
            assert failed["failedPlaySourceIndex"] == 1
            assert why in failed["resultInformation"]["message"]
        assert not call.leg.heard.any()


@BOTH
async def test_a_choice_by_its_key(node: LiveNode, app: TestApp, kind: str) -> None:
    async with menu(node, app, kind) as call:
        await call.ask(
            RecognizeInputType.CHOICES, choices=CHOICES, interrupt_prompt=True, play_prompt=call.file("long"),
            operation_context="menu",
        )  # fmt: skip
        await sounds(call.leg)
        await press(call.leg, "2")
        completed = await app.event("RecognizeCompleted")
        assert result(completed) == (200, 8533, "menu")
        assert (completed["recognitionType"], completed["choiceResult"]) == ("choices", {"label": "Help"})
        await call.ask(RecognizeInputType.CHOICES, choices=CHOICES, operation_context="wrong")
        await press(call.leg, "3")
        assert result(await app.event("RecognizeFailed")) == (400, 8534, "wrong")


async def test_plays_and_recognitions_of_a_call_of_two_queue_together(node: LiveNode, app: TestApp) -> None:
    async with menu(node, app) as call:
        await call.client(call.connection.play_media, call.file("greeting"), operation_context="play")
        await call.ask(play_prompt=call.file("menu"), dtmf_max_tones_to_collect=1, operation_context="ask")
        await call.client(call.connection.play_media, call.file("greeting"), operation_context="again")
        await until(lambda: places(call.leg.heard, MENU), "the menu")
        (first,), (second,) = places(call.leg.heard, GREETING), places(call.leg.heard, MENU)
        assert second == first + len(GREETING), "right behind the greeting"
        await press(call.leg, "1")
        assert result(await app.event("RecognizeCompleted")) == (200, 8531, "ask")
        await app.event("PlayCompleted", 2)
        heard = await call.leg.heard_frames(call.leg.frames + 3)
        assert len(places(heard, GREETING)) == 2
        for context in ("one", "two"):
            await call.ask(play_prompt=call.file("long"), dtmf_max_tones_to_collect=1, operation_context=context)
            await call.client(call.connection.play_media, call.file("long"), operation_context=context)
        await sounds(call.leg, call.leg.frames)
        await call.client(call.connection.cancel_all_media_operations)
        await app.event("RecognizeCanceled", 2)
        await app.event("PlayCanceled", 2)
        canceled = app.named("RecognizeCanceled") + app.named("PlayCanceled")
        assert {result(event["data"])[:2] for event in canceled} == {(400, 8508)}
        frames = call.leg.frames
        assert not (await call.leg.heard_frames(frames + 10))[(frames + 5) * RATE // 50 :].any()


async def test_an_interrupting_recognition_takes_the_place_of_a_play(node: LiveNode, app: TestApp) -> None:
    async with menu(node, app) as call:
        await call.client(call.connection.play_media, call.file("greeting"), loop=True, operation_context="loop")
        await app.event("PlayStarted")
        await call.ask(play_prompt=call.file("menu"), dtmf_max_tones_to_collect=1, interrupt_call_media_operation=True)
        assert result(await app.event("PlayCanceled")) == (400, 8508, "loop")
        await until(lambda: places(call.leg.heard, MENU[RATE // 50 :]), "the menu alone")
        await press(call.leg, "1")
        assert result(await app.event("RecognizeCompleted"))[:2] == (200, 8531)


def shown_on_hold(app: TestApp) -> list[set[str]]:
    """Who is shown on hold, each time that it changed."""
    shown: list[set[str]] = [set()]
    for event in app.named("ParticipantsUpdated"):
        held = {p["identifier"]["rawId"] for p in event["data"]["participants"] if p["isOnHold"]}
        if held != shown[-1]:
            shown.append(held)
    return shown


async def test_in_a_group_one_alone_is_asked_on_the_sub_leg(node: LiveNode, app: TestApp) -> None:
    async with sound_files() as files, talk_of_three(node, app) as (client, connection, one, two):
        files.files = {"/long.wav": write_wav(LONG, RATE), "/menu.wav": write_wav(MENU, RATE)}
        call = Menu(client, connection, two, files)
        await call.ask(
            of=OTHER, play_prompt=call.file("long"), interrupt_prompt=True, dtmf_max_tones_to_collect=1,
            operation_context="first",
        )  # fmt: skip
        await sounds(two)
        refused_ones = [
            (connection.play_media, (call.file("menu"), [number(CALLEE)])),
            (connection.start_recognizing_media, (RecognizeInputType.DTMF, number(CALLEE))),
            (connection.send_dtmf_tones, ([DtmfTone.ONE], number(CALLEE))),
            (connection.start_continuous_dtmf_recognition, (number(CALLEE),)),
        ]
        for method, arguments in refused_ones:
            with pytest.raises(HttpResponseError) as refused:
                await client(method, *arguments)
            assert figures(refused.value) == (412, "8583"), method
        assert not one.heard.any(), "the other one hears nothing of it"
        await press(one, "7")
        await client(connection.play_media, call.file("menu"), operation_context="all")
        await app.event("PlayCompleted")
        assert places(one.heard, MENU), "a play to all goes on beside it"
        await press(two, "8")
        completed = await app.event("RecognizeCompleted")
        assert (result(completed), completed["dtmfResult"]) == ((200, 8531, "first"), {"tones": ["eight"]})
        await until(lambda: shown_on_hold(app)[-1] == set(), "nobody on hold")
        assert shown_on_hold(app) == [set(), {f"4:{OTHER}"}, set()]
        await client(connection.send_dtmf_tones, [DtmfTone.FOUR] * 18, number(OTHER), operation_context="tones")
        await call.ask(of=OTHER, interrupt_call_media_operation=True, operation_context="second")
        assert result(await app.event("SendDtmfTonesFailed")) == (400, 8508, "tones")
        await press(two, "1")
        assert result(await app.event("RecognizeCompleted", 2)) == (400, 8532, "second")
        assert len(keys_in(two.heard)) < 18


@BOTH
async def test_what_cannot_be_asked_for(node: LiveNode, app: TestApp, kind: str) -> None:
    async with menu(node, app, kind) as call:
        for options, field in (
            ({"choices": []}, "choices"),
            ({"choices": [*CHOICES, CHOICES[0]]}, "label"),
            ({"choices": CHOICES, "initial_silence_timeout": 301}, "initialSilenceTimeoutInSeconds"),
            ({"choices": CHOICES, "play_prompt": [call.file("menu")] * 21}, "playPrompts"),
        ):
            with pytest.raises(HttpResponseError) as refused:
                await call.ask(RecognizeInputType.CHOICES, **options)
            assert figures(refused.value) == (400, "8523")
            assert field in str(refused.value)
        with pytest.raises(ResourceNotFoundError):
            await call.ask(of="+15559999999")
        for _ in range(20):
            await call.ask(play_prompt=call.file("long"))
        with pytest.raises(HttpResponseError) as refused:
            await call.ask(play_prompt=call.file("long"))
        assert figures(refused.value) == (400, "8500")


@pytest.mark.timeout(120)
async def test_a_spoken_prompt_is_cut_by_a_key_and_plays_on_hold(node: LiveNode, app: TestApp) -> None:
    words = TextSource(text="Please press one to go on, or wait for somebody to help you. " * 5, voice_name="any")
    async with menu(node, app) as call:
        await call.ask(play_prompt=words, interrupt_prompt=True, dtmf_max_tones_to_collect=1)
        await until(lambda: np.abs(call.leg.heard).max(initial=0) > 1000, "the voice", 60)
        await press(call.leg, "1")
        assert result(await app.event("RecognizeCompleted"))[:2] == (200, 8531)
        frames = call.leg.frames
        assert not (await call.leg.heard_frames(frames + 25))[(frames + 15) * RATE // 50 :].any(), "it speaks on"
        await call.client(call.connection.hold, number(CALLER), play_source=words)
        await until(lambda: np.abs(call.leg.heard[(frames + 25) * RATE // 50 :]).max(initial=0) > 1000, "the voice", 60)
        await call.client(call.connection.unhold, number(CALLER))
        frames = call.leg.frames
        assert not (await call.leg.heard_frames(frames + 25))[(frames + 15) * RATE // 50 :].any(), "it speaks on"
        assert not app.named("HoldFailed")
