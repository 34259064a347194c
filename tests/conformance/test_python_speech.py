"""The official Python SDK plays text and SSML; what the callers hear is recognised, or measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import psutil
import pytest
import pytest_asyncio
from azure.communication.callautomation import FileSource, SsmlSource, TextSource
from azure.core.exceptions import HttpResponseError
from tests.conformance.python_sdk import Sdk, sdk
from tests.conformance.test_python_play import GREETING, figures, places, results, talking
from tests.live import LiveNode, TestApp, dev_node, until
from tests.sip_phone import Line, TestPhone
from tests.speech_service import SPEECH, speech_service
from tests.transcript import PHRASES, plain

from offhook.audio.pcm import Frame
from offhook.audio.resample import resample
from offhook.speech.whisper import WhisperRecogniser

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG = "This is the first of very many sentences. " * 90
"""Four minutes of speech."""


@pytest.fixture(scope="module")
def recogniser() -> WhisperRecogniser:
    return WhisperRecogniser(threads=2)


def understood(recogniser: WhisperRecogniser, heard: Frame, rate: int) -> str:
    """Plain words of what was heard."""
    loud = np.flatnonzero(np.abs(heard) > 100)
    speech = heard[max(loud[0] - rate // 4, 0) : loud[-1] + rate // 4]
    return plain(recogniser.recognise(resample(speech, rate, 16000), "en-US", ()).text)


class Telephone:
    """A SIP phone that speaks G.711, in an answered call of the app's."""

    def __init__(self, line: Line, client: Sdk, connection: Any, app: TestApp) -> None:
        self.line, self.client, self.connection, self.app = line, client, connection, app
        self.plays = 0

    async def hears(self, *sources: Any) -> Frame:
        """What comes of a play, at 8 kHz."""
        begin = len(self.line.heard)
        self.plays += 1
        context = f"{id(self)} {self.plays}"
        await self.client(self.connection.play_media, list(sources), operation_context=context)

        def completed() -> bool:
            return any(event["data"]["operationContext"] == context for event in self.app.named("PlayCompleted"))

        await until(completed, "PlayCompleted", 45)
        end = len(self.line.heard)
        await until(lambda: len(self.line.heard) > end + 10, "the rest")
        return np.concatenate(self.line.heard[begin:])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def telephones(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[Telephone]]:
    """Four of them."""
    app, ours = TestApp(), TestPhone()
    state: Path = tmp_path_factory.mktemp("phone")
    async with (
        app.running(),
        dev_node(state, "--incoming", app.webhook, "--sip-port", "0") as node,
        ours.running(),
        sdk(node, "async http") as client,
    ):
        await until(lambda: node.named("subscription"), "validation")
        made = []
        for number in range(1, 5):
            line = ours.call(node.info["sip"]["udp"])
            line.tone = None
            context = (await app.invited(number))["incomingCallContext"]
            answered = await client(
                client.client.answer_call, context, app.callback, cognitive_services_endpoint="https://ai.example/"
            )
            await ours.answered(line)
            await app.event("CallConnected", number)
            made.append(Telephone(line, client, client.connection(answered.call_connection_id), app))
        yield made


async def test_digits_and_ten_phrases_are_understood_over_g711(
    telephones: list[Telephone], recogniser: WhisperRecogniser
) -> None:
    """Text, spoken by the node, over RTP as 8 kHz mu-law, recognised: nine words of ten at least."""

    async def dictation(telephone: Telephone, phrases: Sequence[str]) -> list[Frame]:
        texts = [TextSource(text=phrase, source_locale="en-US", voice_kind="female") for phrase in phrases]
        return [await telephone.hears(text) for text in texts]

    of_each = [PHRASES[number::4] for number in range(4)]
    heard = await asyncio.gather(*map(dictation, telephones, of_each))
    said = [plain(phrase) for phrases in of_each for phrase in phrases]
    found = [understood(recogniser, sound, 8000) for sounds in heard for sound in sounds]
    error = jiwer.wer(said, found)
    print(f"word error {error:.3f}")
    assert error <= 0.1, found


async def test_a_voice_of_azure_is_spoken_by_ours(telephones: list[Telephone], recogniser: WhisperRecogniser) -> None:
    heard = await telephones[0].hears(TextSource(text="Thank you for calling.", voice_name="en-US-NancyNeural"))
    assert understood(recogniser, heard, 8000) == "thank you for calling"


async def test_ssml_is_spoken_with_its_pauses(telephones: list[Telephone], recogniser: WhisperRecogniser) -> None:
    heard = await telephones[0].hears(
        SsmlSource(
            ssml_text='<speak version="1.0" xmlns="http://www.w3.org/2001/10/synthesis" '
            'xmlns:mstts="https://www.w3.org/2001/mstts" xml:lang="en-US"><voice name="en-US-JennyNeural">'
            '<mstts:express-as style="cheerful">Your code is</mstts:express-as><break time="2s"/>'
            '<say-as interpret-as="digits">4071</say-as></voice></speak>'
        )
    )
    assert understood(recogniser, heard, 8000) == "your code is four zero seven one"
    loud = np.flatnonzero(np.abs(heard) > 200)
    assert 2.0 <= np.diff(loud).max() / 8000 < 3.0, "the pause"


async def test_a_text_behind_a_file(node: LiveNode, app: TestApp, recogniser: WhisperRecogniser) -> None:
    """Sample by sample the file, then the words, with a caller at 16 kHz; a second time from the cache."""
    async with talking(node, app) as (client, connection, leg, files):
        sources = [
            FileSource(files.url("/greeting.wav")),
            TextSource(text="Please hold the line.", voice_name="any", play_source_cache_id="hold"),
        ]
        lengths = []
        for turn in (1, 2):
            await client(connection.play_media, sources)
            await app.event("PlayCompleted", turn)
            heard = await leg.heard_frames(leg.frames + 3)
            start = places(heard, GREETING)[-1]
            words = heard[start + len(GREETING) :]
            assert understood(recogniser, words, 16000) == "please hold the line"
            lengths.append(words[: np.flatnonzero(words)[-1] + 1])
        assert np.array_equal(lengths[0], lengths[1])


async def test_it_begins_before_all_of_it_is_made_and_can_be_cut(node: LiveNode, app: TestApp) -> None:
    """Four minutes of text: heard, looped and cut as a file is."""
    async with talking(node, app) as (client, connection, leg, _):
        began = time.monotonic()
        await client(connection.play_media, TextSource(text=LONG[:4000], voice_name="any"), operation_context="long")
        await client(connection.play_media, TextSource(text="Next.", voice_name="any"), loop=True)
        await app.event("PlayStarted")
        print(f"first sound after {time.monotonic() - began:.2f} s")
        await until(lambda: np.abs(leg.heard).max(initial=0) > 2000, "speech")
        await client(
            connection.play_media, TextSource(text="Instead.", voice_name="any"), interrupt_call_media_operation=True
        )
        await app.event("PlayCompleted")
        assert [name for name, *_ in results(app)] == [
            "PlayStarted", "PlayCanceled", "PlayCanceled", "PlayStarted", "PlayCompleted"
        ]  # fmt: skip


async def test_the_speech_process_dies_in_mid_play(node: LiveNode, app: TestApp, recogniser: WhisperRecogniser) -> None:
    """That play fails, the call lives, and the next text is spoken."""
    async with talking(node, app) as (client, connection, leg, _):
        several = [TextSource(text=f"{number}. {LONG}", voice_name="any") for number in range(10)]
        await client(connection.play_media, several)
        await app.event("PlayStarted")
        children = psutil.Process(node.process.pid).children(recursive=True)
        (process,) = [child for child in children if "offhook.speech" in child.cmdline()]
        process.kill()
        failed = await app.event("PlayFailed")
        assert results(app)[-1] == ("PlayFailed", 400, 8565)
        assert "speech process ended" in failed["resultInformation"]["message"]
        before = leg.frames
        await client(connection.play_media, TextSource(text="Please hold the line.", voice_name="any"))
        await app.event("PlayCompleted")
        heard = await leg.heard_frames(leg.frames + 3)
        assert understood(recogniser, heard[(before + 2) * 320 :], 16000) == "please hold the line"


async def test_a_speech_service_speaks_instead(tmp_path: Path) -> None:
    """Its sound is what the caller hears; when it refuses, the play fails with the reason."""
    app = TestApp()
    async with (
        app.running(),
        speech_service() as service,
        dev_node(tmp_path / "state", "--incoming", app.webhook, "--speech-url", service.url) as its,
    ):
        await until(lambda: its.named("subscription"), "validation")
        async with talking(its, app) as (client, connection, leg, _):
            words = TextSource(text="Guten Tag", source_locale="de-DE", voice_kind="female")
            await client(connection.play_media, words)
            await app.event("PlayCompleted")
            heard = (await leg.heard_frames(leg.frames + 3)).astype(float)
            loud = np.flatnonzero(np.abs(heard) > 2000)
            assert (loud[-1] - loud[0]) / 16000 == pytest.approx(len(SPEECH) / 24000, abs=0.05)
            spectrum = np.abs(np.fft.rfft(heard[loud[0] : loud[0] + 8000]))
            assert int(spectrum.argmax()) * 2 == pytest.approx(440, abs=4)
            assert service.spoken[0]["input"] == "Guten Tag"
            service.status, service.error = 429, {"error": {"code": "insufficient_quota"}}
            await client(connection.play_media, TextSource(text="Once more", voice_name="any"))
            failed = await app.event("PlayFailed")
            assert results(app)[-1] == ("PlayFailed", 400, 8565)
            assert "HTTP 429 (insufficient_quota)" in failed["resultInformation"]["message"]


async def test_a_text_that_is_too_long_is_refused(node: LiveNode, app: TestApp) -> None:
    async with talking(node, app) as (client, connection, _, _):
        for source, field in (
            (TextSource(text="a" * 4001, voice_name="any"), "playSources[0].text.text"),
            (SsmlSource(ssml_text="<speak>" + "a" * 4000 + "</speak>"), "playSources[0].ssml.ssmlText"),
        ):
            with pytest.raises(HttpResponseError) as refused:
                await client(connection.play_media, source)
            assert figures(refused.value) == (400, "8523")
            assert field in str(refused.value) and "4000" in str(refused.value)
    await app.event("CallDisconnected")
    assert results(app) == []
