"""Speech by a service of the OpenAI shape, against a double of it on a real socket."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from tests.live import until
from tests.speech_service import SPEECH, Service, speech_service

from offhook.audio.pcm import Frame
from offhook.audio.wav import read_wav, write_wav
from offhook.errors import SpeechError
from offhook.service.remote_speech import RemoteSpeech
from offhook.service.speech import Speech, SpeechPlan
from offhook.service.targets import Targets
from offhook.speech.provider import Recognised, Words
from offhook.speech.requests import MOST_WAITING


@pytest_asyncio.fixture
async def service() -> AsyncIterator[Service]:
    async with speech_service() as double:
        yield double


def remote(url: str, *, private: bool = True, timeout: float = 5, key: str = "sk-secret") -> Speech:
    plan = SpeechPlan("openai", url, key, "nova", "tts-x", "hear-x", timeout)
    return Speech(RemoteSpeech(plan, Targets(private=private), ssl.create_default_context()))


@pytest_asyncio.fixture
async def speech(service: Service) -> AsyncIterator[Speech]:
    made = remote(service.url)
    yield made
    await made.close()


async def said(speech: Speech, text: str, rate: int = 24000, ssml: bool = False) -> list[Frame] | SpeechError:
    pieces: list[Frame] = []
    done: asyncio.Future[SpeechError | None] = asyncio.get_running_loop().create_future()
    speech.speak(Words(text=text, ssml=ssml), rate, pieces.append, done.set_result)
    error = await asyncio.wait_for(done, 20)
    return error or pieces


async def samples(speech: Speech, text: str, rate: int = 24000, ssml: bool = False) -> Frame:
    found = await said(speech, text, rate, ssml)
    assert isinstance(found, list), found
    return np.concatenate(found)


async def failure(speech: Speech, text: str = "Hello") -> str:
    found = await said(speech, text)
    assert isinstance(found, SpeechError) and found.outcome == "speech_failed"
    assert "secret" not in found.detail
    return found.detail


async def understood(speech: Speech, pcm: Frame, language: str = "de-DE", phrases: tuple[str, ...] = ()) -> Any:
    done: asyncio.Future[Recognised | SpeechError] = asyncio.get_running_loop().create_future()
    speech.recognise(pcm, language, phrases, done.set_result)
    return await asyncio.wait_for(done, 20)


async def test_it_speaks_what_comes(service: Service, speech: Speech) -> None:
    """Every sample, whatever the pieces; zeros fill the last 20 ms."""
    heard = await samples(speech, "Hello")
    assert np.array_equal(heard[: len(SPEECH)], SPEECH) and not heard[len(SPEECH) :].any()
    assert len(heard) % 480 == 0
    assert service.spoken == [{"model": "tts-x", "voice": "nova", "input": "Hello", "response_format": "pcm"}]
    assert service.keys == ["Bearer sk-secret"]


async def test_at_another_rate_it_is_the_same_tone(speech: Speech) -> None:
    heard = (await samples(speech, "Hello", 16000)).astype(float)[800:15200]
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    assert int(spectrum.argmax()) * 16000 / len(heard) == pytest.approx(440, abs=2)
    assert np.abs(heard).max() == pytest.approx(3000, rel=0.02)


async def test_it_is_heard_while_it_comes(service: Service, speech: Speech) -> None:
    service.stalls_after = 20000
    pieces: list[Frame] = []
    ends: list[SpeechError | None] = []
    speech.speak(Words(text="Hello"), 24000, pieces.append, ends.append)
    await until(lambda: sum(map(len, pieces)) > 9000, "what has come")
    assert not ends
    service.go_on.set()
    await until(lambda: ends, "the end")
    assert sum(map(len, pieces)) >= len(SPEECH)


async def test_a_wav_file_instead(service: Service, speech: Speech) -> None:
    service.body = write_wav(SPEECH, 24000)
    assert np.array_equal(await samples(speech, "Hello"), SPEECH)


async def test_ssml_is_one_request_for_each_segment(service: Service, speech: Speech) -> None:
    ssml = "<speak>One<break time='500ms'/><prosody rate='+50%' volume='50'>two</prosody></speak>"
    heard = await samples(speech, ssml, ssml=True)
    assert [(one["input"], one.get("speed")) for one in service.spoken] == [("One", None), ("two", 1.5)]
    first = -(-len(SPEECH) // 480) * 480
    assert not heard[first : first + 12000].any()
    second = heard[first + 12000 :][: len(SPEECH)]
    assert np.array_equal(second, (SPEECH * 0.5).astype(np.int16))


async def test_bad_ssml_asks_nobody(service: Service, speech: Speech) -> None:
    found = await said(speech, "<speak>", ssml=True)
    assert isinstance(found, SpeechError) and found.outcome == "speech_bad_ssml" and not service.spoken


async def test_it_understands(service: Service, speech: Speech) -> None:
    pcm = np.arange(1600, dtype=np.int16)
    found = await understood(speech, pcm, phrases=("yes", "no"))
    assert found.text == "Hello there." and found.confidence == pytest.approx(np.exp(-0.1))
    assert [(word.text, word.start_ms, word.duration_ms) for word in found.words] == [
        ("Hello", 100, 300), ("there", 400, 350)
    ]  # fmt: skip
    (asked,) = service.heard
    sound = read_wav(asked.pop("file"))
    assert sound.rate == 16000 and np.array_equal(sound.samples, pcm)
    assert asked["model"] == "hear-x" and asked["language"] == "de" and asked["prompt"] == "yes, no"
    assert service.keys == ["Bearer sk-secret"]


async def test_a_model_that_tells_the_text_alone(service: Service, speech: Speech) -> None:
    service.plain_only, service.answer = True, {"text": "Hallo"}
    for _ in range(2):
        assert await understood(speech, np.zeros(1600, np.int16), "") == Recognised(text="Hallo", confidence=1.0)
    assert [asked["response_format"] for asked in service.heard] == ["verbose_json", "json", "json"]
    assert "language" not in service.heard[0] and "prompt" not in service.heard[0]
    service.answer = {"text": " "}
    assert await understood(speech, np.zeros(1600, np.int16)) == Recognised(text="")


@pytest.mark.parametrize(
    "answer",
    ["no JSON", "[]", "{}", '{"text": 5}', {"text": "a", "words": [{"word": "a"}]}, {"text": "a", "segments": [1]}],
)
async def test_an_answer_that_cannot_be_read(service: Service, speech: Speech, answer: Any) -> None:
    service.answer = answer
    found = await understood(speech, np.zeros(1600, np.int16))
    assert isinstance(found, SpeechError) and "cannot be read" in found.detail


async def test_refusals_name_status_and_code_alone(service: Service, speech: Speech) -> None:
    service.status, service.error = 401, {"error": {"message": "bad key sk-secret", "code": "invalid_api_key"}}
    assert "HTTP 401 (invalid_api_key)" in await failure(speech)
    found = await understood(speech, np.zeros(1600, np.int16))
    assert isinstance(found, SpeechError) and "HTTP 401 (invalid_api_key)" in found.detail
    service.error = {"error": {"code": "sk-secret"}}
    assert (await failure(speech)).endswith("HTTP 401.")
    service.error = ["odd"]
    assert (await failure(speech)).endswith("HTTP 401.")


async def test_a_redirect_is_not_followed(service: Service, speech: Speech) -> None:
    """It would take the text and the key elsewhere."""
    async with speech_service() as other:
        service.status, service.location = 307, f"{other.url}/audio/speech"
        assert "HTTP 307" in await failure(speech)
        assert not other.spoken


async def test_what_is_no_sound(service: Service, speech: Speech) -> None:
    for body in (b"", b"RIFF nothing of the kind"):
        service.body = body
        assert "no sound" in await failure(speech)


async def test_it_does_not_answer_in_time(service: Service) -> None:
    speech = remote(service.url, timeout=0.1)
    service.stalls_after = 0
    assert "in time" in await failure(speech)
    service.stalls_after = 30000
    found = await said(speech, "Hello")
    assert isinstance(found, SpeechError)
    await speech.close()


async def test_nobody_is_there_and_who_may_not_be_asked(service: Service) -> None:
    speech = remote("http://127.0.0.1:1/v1")
    assert "cannot connect" in await failure(speech)
    await speech.close()
    guarded = remote(service.url, private=False)
    assert "allow_targets" in await failure(guarded)
    await guarded.close()
    assert not service.spoken


async def test_without_a_key_none_is_sent(service: Service) -> None:
    speech = remote(service.url, key="")
    await samples(speech, "Hello")
    assert service.keys == [None]
    await speech.close()


async def test_cancels_and_the_end(service: Service, speech: Speech) -> None:
    service.stalls_after = 0
    told: list[Any] = []
    cancels = [speech.speak(Words(text="Hello"), 24000, told.append, told.append) for _ in range(MOST_WAITING)]
    found = await said(speech, "Hello")
    assert isinstance(found, SpeechError) and "64 texts" in found.detail
    await until(lambda: len(service.spoken) == MOST_WAITING, "all of them")
    for cancel in cancels[:-1]:
        cancel()
    await speech.close()
    assert not told


async def test_more_than_a_text_may_be_is_given_up(
    service: Service, speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offhook.service.remote_speech.MOST_BYTES", 20000)
    assert "more than 600 s" in await failure(speech)


def test_the_key_is_in_no_text_of_the_plan() -> None:
    out = io.StringIO()
    print(SpeechPlan("openai", "https://ai/v1", "sk-secret"), file=out)
    assert "secret" not in out.getvalue()


async def test_a_refusal_for_another_reason_does_not_cost_the_words(service: Service, speech: Speech) -> None:
    """A language that the service does not know is no sign of a model that tells the text alone."""
    service.status, service.error = 400, {"error": {"code": "unsupported_language"}}
    found = await understood(speech, np.zeros(1600, np.int16), "xx")
    assert isinstance(found, SpeechError) and "unsupported_language" in found.detail
    service.status = 200
    assert (await understood(speech, np.zeros(1600, np.int16))).words
    assert [asked["response_format"] for asked in service.heard] == ["verbose_json", "json", "verbose_json"]


async def test_what_is_too_short_for_a_word_is_not_sent(service: Service, speech: Speech) -> None:
    """What is left behind a cut, for one; services refuse it."""
    for size in (0, 1599):
        assert await understood(speech, np.zeros(size, np.int16)) == Recognised(text="")
    assert not service.heard


@pytest.mark.parametrize(
    ("content_type", "refused"),
    [
        ("text/html; charset=utf-8", True), ("application/json", True), ("application/problem+json", True),
        ("audio/mpeg", True), ("audio/pcm", False), ("audio/L16; rate=24000", False),
    ],
)  # fmt: skip
async def test_what_would_be_heard_as_noise_is_refused_by_name(
    service: Service, speech: Speech, content_type: str, refused: bool
) -> None:
    service.content_type = content_type
    if refused:
        assert content_type.partition(";")[0] in await failure(speech)
    else:
        assert len(await samples(speech, "Hello")) >= len(SPEECH)
