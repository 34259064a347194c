"""The relay between a call and a speech model, in process: a real Call, the `openai` client, the double."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tests.kit.realtime_double import RealtimeDouble, Say, tone
from tests.kit.simulated_call import Line, SimulatedCall, noise
from tests.kit.talking import talking
from tests.live import until

from offhook.assets import speech_wav
from offhook.audio.pcm import find_delay
from offhook.audio.resample import resample
from offhook.audio.wav import read_wav
from offhook.kit import OpenAI, RelayFailed, Said, ServiceError, Truncated, TurnTaking, realtime, relay
from offhook.kit.turns import Interrupted, SpeechEnded, SpeechStarted

CLIPS = Path(__file__).parents[1] / "fixtures/barge_in"
WORDS = "one two three four five six seven eight"
PATIENT = TurnTaking(end_silence_ms=10_000)


@pytest.mark.parametrize("preview", [False, True])
async def test_greeting_is_heard_to_the_sample(preview: bool) -> None:
    """Deltas of odd length, all of them one sound; the words as they come and as a whole."""
    sound = tone(1.3)
    async with talking([[Say(sound, WORDS)]], preview=preview, greeting="Greet the caller.") as talk:
        await talk.said(sound)
        assert talk.caller.played == sound
        assert talk.sent("response.create")[0]["response"] == {"instructions": "Greet the caller."}
        await talk.until(lambda: talk.told and talk.told[-1].final)
        pieces = [event.text for event in talk.told.of(Said) if not event.final]
        assert "".join(pieces) == talk.told[-1].text == WORDS and talk.told[-1].by == "agent"


@pytest.mark.parametrize("preview", [False, True])
async def test_caller_is_answered_and_transcribed(preview: bool) -> None:
    async with talking([[Say(tone(1), "Yes.")]], preview=preview) as talk:
        talk.double.heard = lambda pcm: " is it open? "
        await talk.until(lambda: talk.double.sessions)
        await talk.caller.hears(200 + 700, np.concatenate([np.zeros(4800, np.int16), noise(400)]))
        await talk.said(tone(1))
        await talk.until(lambda: len(talk.told.of(Said)) >= 3)
        finals = [(event.by, event.text) for event in talk.told.of(Said) if event.final]
        assert finals == [("caller", "is it open?"), ("agent", "Yes.")]
        heard = np.frombuffer(bytes(talk.double.session.sound), np.int16)
        assert np.array_equal(heard[4800 : 4800 + 9600], noise(400))  # 24 kHz: not one sample changed
        assert all(960 <= size <= 4800 for size in talk.double.session.chunks)
        assert talk.sent("response.create") == []  # the service answers by itself


async def test_barge_in_truncates_to_what_was_heard() -> None:
    """4 s are sent at once; the caller speaks when they have heard about 1 s."""
    async with talking([[Say(tone(4), WORDS)]], greeting="Hello", turns=PATIENT) as talk:
        await talk.said(tone(4))
        await talk.caller.hears(1000)
        await talk.caller.hears(120, noise(120))
        truncated = await talk.until(lambda: talk.sent("conversation.item.truncate"))
        heard = talk.caller.call.heard or talk.told.of(Truncated)[0].heard_ms
        assert truncated[0]["audio_end_ms"] == int(heard) and 1000 < heard <= 1150
        assert talk.caller.stops == 1 and not talk.caller.call.speaking
        assert [event for event in talk.turns if isinstance(event, Interrupted)] == [Interrupted(heard)]
        assert talk.told.of(Truncated)[0].text == "one two"
        assert talk.sent("response.cancel") == []  # it was done already


async def test_late_sound_of_a_cancelled_response_is_never_heard() -> None:
    async with talking([[Say(tone(8), WORDS)], [Say(tone(1, 880))]], greeting="Hello", turns=PATIENT) as talk:
        talk.double.pace_s, talk.double.late_deltas = 0.005, 40
        await talk.until(lambda: len(talk.caller.played) > 48000)
        await talk.caller.hears(500)
        await talk.caller.hears(120, noise(120))
        await talk.until(lambda: talk.caller.stops)
        before = len(talk.caller.played)
        await talk.caller.hears(600)
        await talk.said(tone(1, 880))
        assert talk.caller.played[before:] == tone(1, 880)
        item = next(iter(talk.double.session.items.values()))
        assert item.truncated_ms is not None and 500 < item.truncated_ms <= 650


async def test_second_item_has_its_own_count() -> None:
    """Two messages in one response: cut in the second, which is truncated at its own time; the first stays."""
    async with talking([[Say(tone(1)), Say(tone(3))]], greeting="Hello", turns=PATIENT) as talk:
        await talk.said(tone(3))
        await talk.caller.hears(1500)
        await talk.caller.hears(120, noise(120))
        (truncated,) = await talk.until(lambda: talk.sent("conversation.item.truncate"))
        first, second = talk.double.session.responses[0].items
        assert truncated["item_id"] == second.id and 480 < truncated["audio_end_ms"] <= 650
        assert first.truncated_ms is None


async def test_items_that_were_not_heard_are_truncated_to_nothing() -> None:
    async with talking([[Say(tone(2)), Say(tone(3))]], greeting="Hello", turns=PATIENT) as talk:
        await talk.said(tone(3))
        await talk.caller.hears(500)
        await talk.caller.hears(120, noise(120))
        await talk.until(lambda: len(talk.sent("conversation.item.truncate")) == 2)
        first, second = talk.double.session.responses[0].items
        assert first.truncated_ms is not None and 480 < first.truncated_ms <= 650
        assert second.truncated_ms == 0


async def test_stream_of_16_khz_is_resampled_both_ways() -> None:
    async with talking([[Say(tone(1))]], rate=16000) as talk:
        await talk.until(lambda: talk.double.sessions)
        await talk.caller.hears(900, noise(400, 16000))
        await talk.until(lambda: len(talk.caller.played) >= 32000)
        played = np.frombuffer(talk.caller.played, np.int16).astype(float)
        expected = 6000 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
        spectrum = np.abs(np.fft.rfft(played[1600:14400]))
        assert abs(np.argmax(spectrum) * 16000 / 12800 - 440) < 2
        assert abs(np.std(played[1600:14400]) / np.std(expected) - 1) < 0.02
        assert abs(len(talk.double.session.sound) - 900 * 48) <= 80 * 48


async def test_stop_by_the_app_truncates_too() -> None:
    async with talking([[Say(tone(4), WORDS)]], greeting="Hello") as talk:
        await talk.said(tone(4))
        await talk.caller.hears(600)
        heard = await talk.caller.call.stop()
        (truncated,) = await talk.until(lambda: talk.sent("conversation.item.truncate"))
        assert truncated["audio_end_ms"] == int(heard)


async def test_without_barge_in_the_answer_is_said_to_its_end() -> None:
    """What the caller says meanwhile is answered after it: never two responses at once."""
    turns = TurnTaking(barge_in=False)
    async with talking([[Say(tone(4))], [Say(tone(1, 880))]], greeting="Hello", turns=turns) as talk:
        talk.double.pace_s = 0.01
        await talk.until(lambda: len(talk.caller.played) > 9600)
        await talk.caller.hears(900, noise(400))
        await talk.said(tone(1, 880))
        assert talk.caller.played == tone(4) + tone(1, 880) and talk.caller.stops == 0
        detection = talk.double.session.detection
        assert detection is not None and not detection["create_response"] and not detection["interrupt_response"]


async def test_local_turns() -> None:
    """The kit decides: only speech goes to the model, with what was just before it; commit, then the response."""
    async with talking([[Say(tone(2), WORDS)], [Say(tone(1, 880))]], vad="local") as talk:
        await talk.until(lambda: talk.double.sessions)
        await talk.caller.hears(2000, noise(2000))
        assert len(talk.double.session.sound) == 0
        talk.caller.turn(SpeechStarted(1600.0))  # the kit was sure 400 ms after it began
        await talk.caller.hears(400, noise(400))
        talk.caller.turn(SpeechEnded(2400.0, b""))
        await talk.said(tone(2))
        heard = np.frombuffer(bytes(talk.double.session.sound), np.int16)
        assert abs(len(heard) - (200 + 400 + 400) * 24) <= 4 * 480
        assert np.array_equal(heard[: 500 * 24], noise(2000)[-len(heard) + 400 * 24 :][: 500 * 24])
        assert talk.double.session.detection is None
        assert [event["type"] for event in talk.double.session.told] == [
            "session.update",
            "input_audio_buffer.commit",
            "response.create",
        ]


async def test_local_turns_caller_goes_on_before_the_answer() -> None:
    """Two sentences before the model has said a word: its first answer is canceled, the second one has both."""
    async with talking([[Say(tone(2))], [Say(tone(1, 880))]], vad="local") as talk:
        talk.double.think_s = 0.3
        await talk.until(lambda: talk.double.sessions)
        for _ in range(2):
            talk.caller.turn(SpeechStarted(0.0))
            await talk.caller.hears(400, noise(400))
            talk.caller.turn(SpeechEnded(400.0, b""))
            await talk.until(lambda: talk.double.session.active)
        await talk.said(tone(1, 880))
        assert talk.caller.played == tone(1, 880)
        assert [response.cancelled for response in talk.double.session.responses] == [True, False]


async def test_keys_are_told() -> None:
    async with talking([[Say(tone(1))]], keys=True) as talk:
        await talk.until(lambda: talk.double.sessions)
        for key in "42#":
            talk.caller.call._keys.put(key)
        await talk.said(tone(1))
        (item,) = talk.sent("conversation.item.create")
        assert "42#" in item["item"]["content"][0]["text"]


async def test_server_errors_are_told_and_harm_nothing() -> None:
    async with talking([[Say(tone(1))]], greeting="Hello") as talk:
        await talk.said(tone(1))
        await talk.double.session._error("server_error", "Something is wrong.")
        await talk.until(lambda: talk.told.of(ServiceError))
        assert talk.told.of(ServiceError)[0] == ServiceError("server_error", "Something is wrong.")
        await talk.caller.hears(900, noise(400))
        await talk.until(lambda: len(talk.double.session.responses) == 2)
        talk.double.session.errors.clear()


async def test_a_response_that_fails_is_told_and_the_next_one_is_heard() -> None:
    async with talking([[], [Say(tone(1))]]) as talk:
        await talk.until(lambda: talk.double.sessions)
        talk.double.fail_with = "rate_limit_exceeded"
        await talk.caller.hears(900, noise(400))
        await talk.until(lambda: talk.told.of(ServiceError))
        text = "the response is failed: no reason is given"
        assert talk.told.of(ServiceError) == [ServiceError("rate_limit_exceeded", text)]
        talk.double.fail_with = None
        await talk.caller.hears(900, noise(400))
        await talk.said(tone(1))


async def test_a_request_that_the_service_ignores_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realtime, "REQUEST_WAIT_S", 0.2)

    async def ignore(event: object) -> None:
        talk.double.session._take["response.create"] = talk.double.session._create_response

    async with talking([[Say(tone(1))]], vad="local") as talk:
        await talk.until(lambda: talk.double.sessions)
        talk.double.session._take["response.create"] = ignore
        talk.caller.turn(SpeechStarted(0.0))
        await talk.caller.hears(400, noise(400))
        talk.caller.turn(SpeechEnded(400.0, b""))
        await talk.said(tone(1))
        assert len(talk.sent("response.create")) == 2


async def test_no_quota_ends_the_relay_and_not_the_call() -> None:
    told = Line()
    async with RealtimeDouble() as double, SimulatedCall() as caller:
        double.fail_with = "insufficient_quota"
        service = OpenAI("sk-test", double.url)
        with pytest.raises(RelayFailed, match="cannot answer: insufficient_quota"):
            await relay(caller.call, service=service, greeting="Hello", on_event=told.append)
        assert told[-1].fatal and not caller.call.ended.is_set()


async def test_events_are_told_to_the_end_and_a_slow_app_holds_up_nothing() -> None:
    """An `on_event` that takes its time: sound goes on, and what is left is told when the call is over."""
    told: list[object] = []

    async def slowly(event: object) -> None:
        await asyncio.sleep(0.01)
        told.append(event)

    async with RealtimeDouble([[Say(tone(2), WORDS)]]) as double, SimulatedCall() as caller:
        service = OpenAI("sk-test", double.url)
        running = asyncio.ensure_future(relay(caller.call, service=service, greeting="Hello", on_event=slowly))
        await until(lambda: caller.played == tone(2))
        await until(lambda: not double.session.active)
        await caller.end()
        await asyncio.wait_for(running, 5)
        assert isinstance(told[-1], Said) and told[-1].final and len(told) == 9


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError, SystemExit])
async def test_raising_on_event_harms_nothing(error: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    async with RealtimeDouble([[Say(tone(1), WORDS)]]) as double, SimulatedCall() as caller:

        def broken(event: object) -> None:
            raise error("mine")

        service = OpenAI("sk-test", double.url)
        running = asyncio.ensure_future(relay(caller.call, service=service, greeting="Hello", on_event=broken))
        await until(lambda: caller.played == tone(1))
        await until(lambda: caplog.text.count("on_event failed") > 1)
        await caller.end()
        await asyncio.wait_for(running, 5)


def clip(name: str) -> npt.NDArray[np.int16]:
    """A labelled clip, at the stream's rate."""
    sound = read_wav((CLIPS / name).read_bytes())
    return resample(sound.samples, sound.rate, 24000)


async def test_local_turns_with_a_voice() -> None:
    """The kit's own detector: a cough holds the answer and lets it go on, words end it, and are answered."""
    first, second = Say(tone(6), WORDS), Say(tone(1, 880))
    async with talking([[first], [second]], vad="local", greeting="Hello") as talk:
        await talk.said(tone(6))
        await talk.caller.hears(1000)
        await talk.caller.hears(1500, clip("cough_01.wav"))
        assert talk.sent("conversation.item.truncate") == [] and len(talk.double.session.sound) == 0
        words = read_wav(speech_wav()).samples[: 24000 * 7 // 10]
        await talk.caller.hears(1600, words)
        (truncated,) = await talk.until(lambda: talk.sent("conversation.item.truncate"))
        await talk.said(tone(1, 880))
        (told,) = talk.told.of(Truncated)
        assert truncated["audio_end_ms"] == int(told.heard_ms) and 2000 < told.heard_ms < 3200
        heard = np.frombuffer(bytes(talk.double.session.sound), np.int16)
        assert 700 * 24 < len(heard) < 1900 * 24
        assert find_delay(words, heard, 600 * 24) > 0  # all of it, with a little before
        kinds = [event["type"] for event in talk.double.session.told][2:]
        assert kinds == ["conversation.item.truncate", "input_audio_buffer.commit", "response.create"]
