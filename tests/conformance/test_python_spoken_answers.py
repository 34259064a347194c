"""The official Python SDK asks callers who speak: choices, free speech, and keys beside it (protocol.md §5.8)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jiwer
import pytest
from azure.communication.callautomation import (
    DtmfTone,
    PhoneNumberIdentifier,
    RecognitionChoice,
    RecognizeInputType,
)
from tests.conformance.python_sdk import sdk
from tests.conformance.test_python_play import RATE
from tests.conformance.test_python_recognize import menu, sounds
from tests.conformance.test_python_tones import press, result
from tests.live import LiveNode, TestApp, dev_node, until
from tests.sip_phone import BYE, TestPhone
from tests.speech_service import speech_service
from tests.spoken import plain, spoken

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

SPEECH, BOTH, CHOICES = RecognizeInputType.SPEECH, RecognizeInputType.SPEECH_OR_DTMF, RecognizeInputType.CHOICES
YES_NO = [
    RecognitionChoice(label="Agreed", phrases=["yes", "yes please"], tone=DtmfTone.ONE),
    RecognitionChoice(label="Refused", phrases=["no", "no thanks"], tone=DtmfTone.TWO),
]
SLOW = 40.0
SENTENCE = "My order number is seven three nine."


async def told(app: TestApp, name: str, count: int = 1) -> dict[str, Any]:
    """The data of an event that may wait for a busy recogniser."""
    await until(lambda: len(app.named(name)) >= count, name, SLOW)
    return await app.event(name, count)


@pytest.mark.parametrize(
    ("words", "label", "phrase"), [("Yes.", "Agreed", "yes"), ("No thanks.", "Refused", "no thanks")]
)
async def test_yes_or_no(node: LiveNode, app: TestApp, words: str, label: str, phrase: str) -> None:
    """After a prompt, through a telephone of 8 kHz."""
    async with menu(node, app) as call:
        await call.ask(
            CHOICES, play_prompt=call.file("menu"), choices=YES_NO, end_silence_timeout=1, operation_context="sure?",
            initial_silence_timeout=20,
        )  # fmt: skip
        await sounds(call.leg)
        await call.leg.heard_frames(call.leg.frames + 25)
        await call.leg.speak(spoken(words).tobytes())
        completed = await told(app, "RecognizeCompleted")
        assert result(completed) == (200, 8545, "sure?")
        assert completed["recognitionType"] == "choices"
        assert completed["choiceResult"]["label"] == label
        assert completed["choiceResult"]["recognizedPhrase"] == phrase


async def test_another_answer_than_the_choices(node: LiveNode, app: TestApp) -> None:
    async with menu(node, app) as call:
        await call.ask(CHOICES, choices=YES_NO, end_silence_timeout=1, initial_silence_timeout=20)
        await call.leg.speak(spoken("The weather is very nice today.").tobytes())
        assert result(await told(app, "RecognizeFailed"))[:2] == (400, 8547)


async def test_a_key_instead_of_a_word(node: LiveNode, app: TestApp) -> None:
    async with menu(node, app) as call:
        await call.ask(CHOICES, choices=YES_NO, initial_silence_timeout=20)
        await press(call.leg, "2")
        completed = await told(app, "RecognizeCompleted")
        assert result(completed)[:2] == (200, 8533)
        assert completed["choiceResult"]["label"] == "Refused"


async def test_free_speech(node: LiveNode, app: TestApp) -> None:
    async with menu(node, app) as call:
        await call.ask(SPEECH, end_silence_timeout=1, operation_context="free", initial_silence_timeout=20)
        await call.leg.speak(spoken(SENTENCE).tobytes())
        completed = await told(app, "RecognizeCompleted")
        assert result(completed) == (200, 8569, "free") and completed["recognitionType"] == "speech"
        assert jiwer.wer(plain(SENTENCE), plain(completed["speechResult"]["speech"])) < 0.2
        assert 0.3 < completed["speechResult"]["confidence"] <= 1


async def test_speech_cuts_a_prompt_that_may_be_interrupted(node: LiveNode, app: TestApp) -> None:
    """The prompt of 5 s stops while the caller still speaks, and what was said over it is understood."""
    async with menu(node, app) as call:
        await call.ask(SPEECH, play_prompt=call.file("long"), interrupt_prompt=True, end_silence_timeout=1)
        await sounds(call.leg)
        frames = call.leg.frames
        await call.leg.speak(spoken(SENTENCE).tobytes())
        await until(lambda: not call.leg.heard[-5 * RATE // 50 :].any(), "silence")
        assert call.leg.frames - frames < 75, "barge-in within a second and a half"
        completed = await told(app, "RecognizeCompleted")
        assert jiwer.wer(plain(SENTENCE), plain(completed["speechResult"]["speech"])) < 0.2


async def test_a_prompt_that_may_not_be_interrupted_is_heard_whole(node: LiveNode, app: TestApp) -> None:
    """What is said over it does not count."""
    async with menu(node, app) as call:
        await call.ask(CHOICES, play_prompt=call.file("long"), choices=YES_NO, end_silence_timeout=1,
                       initial_silence_timeout=20)  # fmt: skip
        await sounds(call.leg)
        await call.leg.speak(spoken("Yes.", 0.0).tobytes())
        frames = call.leg.frames
        await call.leg.heard_frames(frames + 270)
        assert call.leg.heard[(frames + 100) * RATE // 50 :][:RATE].any() and not app.named("RecognizeCompleted")
        await call.leg.speak(spoken("No.").tobytes())
        assert (await told(app, "RecognizeCompleted"))["choiceResult"]["label"] == "Refused"


@pytest.mark.parametrize("first", ["speech", "dtmf"])
async def test_speech_or_keys_whichever_comes_first(node: LiveNode, app: TestApp, first: str) -> None:
    async with menu(node, app) as call:
        await call.ask(BOTH, end_silence_timeout=1, dtmf_max_tones_to_collect=2, initial_silence_timeout=20)
        if first == "speech":
            await call.leg.speak(spoken(SENTENCE).tobytes())
        else:
            await press(call.leg, "12")
        completed = await told(app, "RecognizeCompleted")
        assert completed["recognitionType"] == first
        if first == "speech":
            assert jiwer.wer(plain(SENTENCE), plain(completed["speechResult"]["speech"])) < 0.2
        else:
            assert completed["dtmfResult"]["tones"] == ["one", "two"]


async def test_nobody_says_anything_and_nobody_understands(node: LiveNode, app: TestApp) -> None:
    async with menu(node, app) as call:
        await call.ask(SPEECH, initial_silence_timeout=1, operation_context="silence")
        assert result(await told(app, "RecognizeFailed")) == (400, 8510, "silence")
        await call.ask(SPEECH, speech_language="fr-FR", operation_context="french")
        failed = await told(app, "RecognizeFailed", 2)
        assert result(failed) == (400, 8565, "french") and "fr-FR" in failed["resultInformation"]["message"]


async def test_a_service_that_understands_nothing_and_one_that_fails(tmp_path: Path) -> None:
    """Each is told apart, and keys still count afterwards."""
    app = TestApp()
    async with (
        app.running(),
        speech_service() as service,
        dev_node(tmp_path, "--incoming", app.webhook, "--speech-url", service.url) as node,
    ):
        await until(lambda: node.named("subscription"), "validation")
        async with menu(node, app) as call:
            service.answer = {"text": " ", "segments": [], "words": []}
            await call.ask(SPEECH, end_silence_timeout=1, initial_silence_timeout=20, operation_context="nothing")
            await call.leg.speak(spoken("Yes.").tobytes())
            assert result(await told(app, "RecognizeFailed")) == (400, 8563, "nothing")
            service.status, service.error = 400, {"error": {"code": "broken"}}
            await call.ask(SPEECH, end_silence_timeout=1, initial_silence_timeout=20, operation_context="broken")
            await call.leg.speak(spoken("Yes.").tobytes())
            failed = await told(app, "RecognizeFailed", 2)
            assert result(failed) == (400, 8565, "broken") and "broken" in failed["resultInformation"]["message"]
            await call.ask(dtmf_max_tones_to_collect=1, operation_context="keys")
            await press(call.leg, "1")
            assert result(await told(app, "RecognizeCompleted")) == (200, 8531, "keys")


async def test_canceled_while_the_caller_speaks(node: LiveNode, app: TestApp) -> None:
    async with menu(node, app) as call:
        await call.ask(SPEECH, operation_context="gone", initial_silence_timeout=20)
        await call.leg.speak(spoken(SENTENCE, 0.0).tobytes())
        await call.leg.heard_frames(call.leg.frames + 60)
        await call.client(call.connection.cancel_all_media_operations)
        assert result(await told(app, "RecognizeCanceled")) == (400, 8508, "gone")
        await call.leg.heard_frames(call.leg.frames + 150)
        await call.ask(CHOICES, choices=YES_NO, end_silence_timeout=1, initial_silence_timeout=20)
        await call.leg.speak(spoken("Yes.").tobytes())
        assert (await told(app, "RecognizeCompleted"))["choiceResult"]["label"] == "Agreed"


async def test_a_sip_phone_says_yes(tmp_path: Path) -> None:
    """Over RTP with G.711 µ-law."""
    app, ours = TestApp(), TestPhone()
    async with (
        app.running(),
        dev_node(tmp_path / "state", "--incoming", app.webhook, "--sip-port", "0") as node,
        ours.running(),
        sdk(node, "async http") as client,
    ):
        await until(lambda: node.named("subscription"), "validation")
        line = ours.call(node.info["sip"]["udp"])
        invited = await app.invited()
        made = await client(client.client.answer_call, invited["incomingCallContext"], app.callback)
        await ours.answered(line)
        await app.event("CallConnected")
        connection = client.connection(made.call_connection_id)
        who = PhoneNumberIdentifier(invited["from"]["phoneNumber"]["value"])
        await client(
            connection.start_recognizing_media, CHOICES, who, choices=YES_NO, end_silence_timeout=1,
            initial_silence_timeout=30,
        )  # fmt: skip
        line.speech = spoken("Yes, please.", rate=8000)
        completed = await told(app, "RecognizeCompleted")
        assert result(completed)[:2] == (200, 8545)
        assert completed["choiceResult"]["label"] == "Agreed"
        assert completed["choiceResult"]["recognizedPhrase"] == "yes please"
        line.leg.hang_up(BYE)
        await app.event("CallDisconnected")
