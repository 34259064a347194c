"""The official JavaScript SDK plays, asks, holds, listens and transcribes: what callers hear, and what its parsers make
of the events and messages (protocol.md §§2.11, 3.2, 5.5)."""

from __future__ import annotations

import jiwer
import numpy as np
import pytest
from tests.conformance.test_js_sdk import answer, number, talking, transcription
from tests.console_leg import caller
from tests.js_app import JsApp, JsError
from tests.live import CALLER, LiveNode, until
from tests.sound_files import TONE as TONE_FILE
from tests.sound_files import sound_files
from tests.spoken import plain, spoken

__all__ = ["number"]

pytestmark = [pytest.mark.js, pytest.mark.asyncio(loop_scope="module")]

FRAME = 320  # samples of 20 ms at 16 kHz


@pytest.fixture
def node(js_pair: tuple[LiveNode, JsApp]) -> LiveNode:
    return js_pair[0]


@pytest.fixture
def app(js_pair: tuple[LiveNode, JsApp]) -> JsApp:
    return js_pair[1]


async def test_keys_are_sent_heard_and_collected(node: LiveNode, app: JsApp, number: str) -> None:
    """In the SDK's own names of options and of what its parser makes of the events."""
    async with talking(node, app, number, {}) as (leg, connection):
        one = {"connectionId": connection["callConnectionId"], "participant": {"phoneNumber": CALLER}}
        await app.ask("startContinuousDtmfRecognition", **one, options={"operationContext": "listen"})
        options = {"kind": "callMediaRecognizeDtmfOptions", "maxTonesToCollect": 3, "stopDtmfTones": ["pound"]}
        await app.ask("startRecognizing", **one, options={**options, "operationContext": "ask"})
        for key in "7*#":
            await leg.send(kind="dtmf", tone=key)
        collected = await app.event(connection, "RecognizeCompleted")
        assert collected["operationContext"] == "ask" and collected["resultInformation"]["subCode"] == 8514
        assert collected["dtmfResult"] == {"tones": ["seven", "asterisk"]}
        heard = await app.event(connection, "ContinuousDtmfRecognitionToneReceived")
        assert (heard["operationContext"], heard["sequenceId"], heard["tone"]) == ("listen", 1, "seven")
        await app.ask("stopContinuousDtmfRecognition", **one, options={"operationContext": "stop"})
        assert (await app.event(connection, "ContinuousDtmfRecognitionStopped"))["operationContext"] == "stop"
        await leg.send(kind="dtmf", tone="5")
        sent = await app.ask("sendDtmfTones", **one, tones=["one", "d"], options={"operationContext": "send"})
        assert sent["operationContext"] == "send"
        assert (await app.event(connection, "SendDtmfTonesCompleted"))["operationContext"] == "send"
        assert [said["tone"] for said in leg.said if said["kind"] == "key"] == ["1", "D"]
        told = app.all("callback", lambda r: r["type"].endswith("ContinuousDtmfRecognitionToneReceived"))
        assert [report["parsed"]["tone"] for report in told] == ["seven", "asterisk", "pound"], "none after the stop"


async def test_playing(node: LiveNode, app: JsApp, number: str) -> None:
    """A file is heard sample by sample, to all and to one; a loop ends when it is canceled; words are spoken."""
    async with sound_files() as files, talking(node, app, number, {}) as (leg, connection):
        one = {"connectionId": connection["callConnectionId"]}
        sources = [{"kind": "fileSource", "url": files.url("/a.wav")}]
        await app.ask("playToAll", **one, sources=sources, options={"operationContext": "all"})
        assert (await app.event(connection, "PlayStarted"))["operationContext"] == "all"
        assert (await app.event(connection, "PlayCompleted"))["resultInformation"]["subCode"] == 0
        heard = await leg.heard_frames(leg.frames + 2)
        start = int(np.flatnonzero(heard == TONE_FILE[1])[0]) - 1
        assert np.array_equal(heard[start : start + len(TONE_FILE)], TONE_FILE)
        targets = [{"phoneNumber": CALLER}]
        await app.ask("play", **one, sources=sources, targets=targets, options={"loop": True})
        await app.event(connection, "PlayStarted", 2)
        await app.ask("cancelAllOperations", **one)
        assert (await app.event(connection, "PlayCanceled"))["resultInformation"]["subCode"] == 8508
        frames = leg.frames
        assert not (await leg.heard_frames(frames + 10))[(frames + 5) * FRAME :].any(), "the loop goes on"
        words, before = {"kind": "textSource", "text": "hello", "voiceName": "any"}, leg.frames
        await app.ask("playToAll", **one, sources=[words])
        await app.event(connection, "PlayCompleted", 2)
        assert leg.heard[before * FRAME :].any(), "the word is heard"
        await app.ask("playToAll", **one, sources=[*sources, {**words, "text": " "}])
        failed = await app.event(connection, "PlayFailed")
        assert (failed["failedPlaySourceIndex"], failed["resultInformation"]["subCode"]) == (1, 8582)


async def test_a_choice_after_a_prompt_and_a_hold(node: LiveNode, app: JsApp, number: str) -> None:
    async with sound_files() as files, talking(node, app, number, {}) as (leg, connection):
        one = {"connectionId": connection["callConnectionId"], "participant": {"phoneNumber": CALLER}}
        source = {"kind": "fileSource", "url": files.url("/a.wav")}
        choices = [{"label": "Yes", "phrases": ["yes"], "tone": "one"}]
        options = {"kind": "callMediaRecognizeChoiceOptions", "choices": choices, "playPrompts": [source, source]}
        await app.ask("startRecognizing", **one, options={**options, "operationContext": "menu"})
        twice = np.concatenate([TONE_FILE, TONE_FILE])
        await until(lambda: twice.tobytes() in leg.heard.tobytes(), "the prompt")
        await until(lambda: leg.frames > 2 and not leg.heard[-640:].any(), "its end")
        await leg.send(kind="dtmf", tone="1")
        chosen = await app.event(connection, "RecognizeCompleted")
        assert (chosen["operationContext"], chosen["resultInformation"]["subCode"]) == ("menu", 8533)
        assert chosen["choiceResult"] == {"label": "Yes"}
        frames = leg.frames
        await app.ask("hold", **one, options={"playSource": source})
        await until(lambda: leg.heard[frames * 320 :].tobytes().count(TONE_FILE.tobytes()) > 1, "the hold's prompt")
        updated = await app.event(connection, "ParticipantsUpdated", 2)
        assert updated["participants"][0]["isOnHold"] is True
        await app.ask("unhold", **one)
        updated = await app.event(connection, "ParticipantsUpdated", 3)
        assert updated["participants"][0]["isOnHold"] is False
        missing = {"kind": "fileSource", "url": files.url("/none.wav")}
        await app.ask("hold", **one, options={"playSource": missing, "operationContext": "hold"})
        failed = await app.event(connection, "HoldFailed")
        assert (failed["operationContext"], failed["resultInformation"]["subCode"]) == ("hold", 8536)


@pytest.mark.timeout(120)
async def test_transcription(node: LiveNode, app: JsApp, number: str) -> None:
    """Started, changed and stopped; the SDK's parser reads what the caller said."""
    words = "I would like to change my flight to Boston on Friday."
    async with caller(node, to=number) as leg:
        connection = await answer(
            app, number, {"transcriptionOptions": transcription(f"{app.socket}?words", start=False)}
        )
        one = {"connectionId": connection["callConnectionId"]}
        await app.event(connection, "CallConnected")
        await app.ask("startTranscription", **one, options={"operationContext": "go", "locale": "en-GB"})
        started = await app.event(connection, "TranscriptionStarted", deadline=40)
        assert started["operationContext"] == "go"
        assert started["transcriptionUpdate"]["transcriptionStatusDetails"] == "subscriptionStarted"
        metadata = await app.stream(connection, "transcription")
        assert metadata["kind"] == "TranscriptionMetadata" and metadata["parsed"]["locale"] == "en-GB"
        subscription = (await app.ask("getCallConnectionProperties", **one))["transcriptionSubscription"]
        assert (subscription["id"], subscription["state"]) == (metadata["parsed"]["subscriptionId"], "active")
        await app.ask("updateTranscription", **one, locale="en-US", options={"operationContext": "us"})
        assert (await app.event(connection, "TranscriptionUpdated", deadline=40))["operationContext"] == "us"
        subscription = (await app.ask("getCallConnectionProperties", **one))["transcriptionSubscription"]
        assert subscription["locale"] == "en-US"
        await leg.speak(spoken(words).tobytes())
        final = await app.told(
            "transcription", lambda r: r["kind"] == "TranscriptionData" and r["parsed"]["resultState"] == "Final", 1, 40
        )
        assert jiwer.wer(plain(words), plain(final["parsed"]["text"])) < 0.2
        assert final["parsed"]["participant"]["phoneNumber"] == CALLER and final["parsed"]["words"]
        assert app.all("transcription", lambda r: r["parsed"].get("resultState") == "Intermediate")
        await app.ask("stopTranscription", **one, options={"operationContext": "no"})
        assert (await app.event(connection, "TranscriptionStopped"))["operationContext"] == "no"
        with pytest.raises(JsError) as again:
            await app.ask("stopTranscription", **one)
        assert again.value.seen == ("RestError", 400, "8500")
