"""AcsTransport in a real pipeline: what it is told is what the caller hears."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.kit.pipecat_stage import AcsParams, AcsTransport, Service, settle, stage
from tests.live import until

from offhook.errors import ConfigError
from offhook.kit import Interrupted, Resumed, SpeechEnded, SpeechStarted, Stream

# isort: split
from pipecat.frames.frames import (
    InputAudioRawFrame,
    InputDTMFFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    VolumeFrame,
)

BOT = ("BotStartedSpeakingFrame", "BotStoppedSpeakingFrame")


def sound(ms: int, rate: int = 16000) -> bytes:
    return (np.arange(rate * ms // 1000) % 20000).astype("<i2").tobytes()


def voice(ms: int, rate: int = 16000) -> TTSAudioRawFrame:
    frame = TTSAudioRawFrame(sound(ms, rate), rate, 1)
    frame.context_id = "c"
    return frame


async def test_speaking_is_what_is_heard() -> None:
    """Ten seconds are sent at once; the bot speaks until they have been heard."""
    async with stage() as here:
        await here.say(TTSStartedFrame(context_id="c"), voice(1000), TTSStoppedFrame(context_id="c"))
        assert len(here.service.played) == 32000
        assert here.after.named(*BOT) == []
        await here.service.frames(3)
        assert here.after.named(*BOT) == ["BotStartedSpeakingFrame"]
        await here.service.frames(46)
        assert here.after.named(*BOT) == ["BotStartedSpeakingFrame"]
        await here.service.frames(4)
        assert here.after.named(*BOT) == list(BOT)
        assert b"".join(f.audio for f in here.after.down if isinstance(f, TTSAudioRawFrame)) == sound(1000)


async def test_an_interruption_is_stop_audio_and_drops_what_was_not_heard() -> None:
    """StopAudio goes out, the bot has stopped speaking, what waited is gone; what comes after is heard."""
    async with stage() as here:
        await here.say(TTSStartedFrame(context_id="c"), voice(1000))
        await here.service.frames(21)
        await here.say(InterruptionFrame())
        assert here.service.kinds == ["AudioData", "StopAudio"]
        assert here.after.named(*BOT) == list(BOT)
        await here.service.frames(50)
        heard = b"".join(f.audio for f in here.after.down if isinstance(f, TTSAudioRawFrame))
        assert 12000 <= len(heard) <= 14080  # 400 ms were heard; passed on in pieces of 40 ms as they begin
        await here.say(TTSStartedFrame(context_id="d"), voice(100), TTSStoppedFrame(context_id="d"))
        await here.service.frames(8)
        assert here.service.kinds == ["AudioData", "StopAudio", "AudioData"]
        assert here.after.named(*BOT) == [*BOT, *BOT]


async def test_the_text_that_goes_on_is_what_was_heard_of_it() -> None:
    """A voice without times of words: its text follows the sound by shares of letters, also of two texts in a row."""
    async with stage() as here:
        first, second = TTSTextFrame("Hello there, Ann.", "sentence"), TTSTextFrame("Never heard.", "sentence")
        await here.say(TTSStartedFrame(context_id="c"), voice(800), first, voice(800), second)
        await here.service.frames(10)
        assert here.texts == []
        await here.service.frames(22)
        assert here.texts == ["Hello", "there,"]
        await here.service.frames(10)
        assert here.texts == ["Hello", "there,", "Ann."]
        await here.say(InterruptionFrame())
        await here.service.frames(60)
        assert here.texts == ["Hello", "there,", "Ann."]


async def test_words_with_times_come_when_they_are_heard() -> None:
    """Times are counted from the first sound of the voice as the caller hears it, not as it was sent."""
    async with stage() as here:
        await here.say(voice(1000))  # something that is said before
        await here.say(TTSStoppedFrame(context_id="c"), TTSStartedFrame(context_id="d"), voice(1000))
        now = here.before.get_clock().get_time()
        for text, at in (("one", 0.0), ("two", 0.5), ("three", 5.0)):
            word = TTSTextFrame(text, "word")
            word.pts = now + int(at * 1e9)
            await here.say(word)
        await here.service.frames(49)
        assert here.texts == []
        await here.service.frames(7)
        assert here.texts == ["one"]
        await here.service.frames(25)
        assert here.texts == ["one", "two"]
        await here.say(TTSStoppedFrame(context_id="d"))
        await here.service.frames(22)
        assert here.texts == ["one", "two", "three"]  # beyond its sound: at its end


async def test_what_no_interruption_may_cut_is_said_to_its_end() -> None:
    """Heard in part, it is said again from there behind StopAudio; alone, it just goes on."""
    async with stage() as here:
        kept = voice(200)
        kept.interruptible = False
        await here.say(kept, voice(1000))
        await here.service.frames(6)
        await here.say(InterruptionFrame())
        assert here.service.kinds == ["AudioData", "StopAudio", "AudioData"]
        assert here.service.played[38400:] == sound(200)[4000:]  # 125 ms of it were heard with what had left
        again = voice(200)
        again.interruptible = False
        await here.service.frames(20)
        await here.say(again)
        await here.service.frames(4)
        await here.say(InterruptionFrame())
        assert here.service.kinds == ["AudioData", "StopAudio", "AudioData"]
        await here.service.frames(10)
        passed = b"".join(f.audio for f in here.after.down if isinstance(f, TTSAudioRawFrame))
        assert passed[-6400:] == sound(200)


async def test_the_caller_and_their_keys_come_in() -> None:
    """Frames of 20 ms at the pipeline's rate, keys, and nothing for a key that pipecat does not know."""
    async with stage(24000, pipeline_rate=16000) as here:
        await here.service.frames(3, sound(20, 24000))
        await here.service.key("5")
        await here.service.key("A")
        heard = [f for f in here.before.down if isinstance(f, InputAudioRawFrame)]
        assert [(len(f.audio), f.sample_rate) for f in heard] == [(640, 16000)] * 3
        assert [f.button for f in here.before.down if isinstance(f, InputDTMFFrame)] == ["5"]
        await here.service.frames(1, sound(20, 24000), speaker="4:+1555")
        assert here.before.down[-1].user_id == "4:+1555"  # type: ignore[attr-defined]


async def test_another_rate_is_converted_to_its_last_sample() -> None:
    """22 pieces of 13 ms at 24 kHz become as much at 16 kHz once the voice has ended."""
    async with stage(16000, pipeline_rate=24000) as here:
        for _ in range(22):
            await here.say(voice(13, 24000))
        await here.say(TTSStoppedFrame(context_id="c"))
        assert 9152 <= len(here.service.played) <= 9152 + 640
        await here.service.frames(20)
        assert here.after.named(*BOT) == list(BOT)


async def test_the_end_waits_until_all_was_heard_and_hangs_up() -> None:
    """EndFrame: the goodbye is heard, then `hang_up` is awaited and the stream closed."""
    hung_up = []

    async def hang_up() -> None:
        hung_up.append(True)

    async with stage(hang_up=hang_up) as here:
        await here.say(voice(400))
        await here.worker.stop_when_done()  # type: ignore[no-untyped-call]
        await here.service.frames(15)
        assert not hung_up and not here.service.closed
        await here.service.frames(8)
        assert hung_up and here.service.closed
    assert here.events == ["connected"]


async def test_a_call_that_cannot_be_hung_up_loses_its_stream_all_the_same() -> None:
    async def hang_up() -> None:
        raise RuntimeError("the service does not answer")

    async with stage(hang_up=hang_up) as here:
        await here.worker.cancel()
        await until(lambda: here.service.closed, "the end of the stream")


async def test_a_caller_who_goes_is_told_once_and_nothing_waits_for_them() -> None:
    """on_client_disconnected; what is said after that is dropped, and the pipeline can end."""
    async with stage() as here:
        await here.say(voice(10_000))
        await here.service.frames(5)
        await here.service.gone()
        await settle()
        assert here.events == ["connected", "disconnected"]
        assert here.after.named(*BOT) == list(BOT)
        await here.say(OutputAudioRawFrame(sound(100), 16000, 1), TTSStoppedFrame(context_id="x"))
        assert here.after.named("TTSStoppedFrame") == ["TTSStoppedFrame"]
    assert here.events == ["connected", "disconnected"]


async def test_the_calls_turn_taking_tells_when_the_caller_speaks() -> None:
    """At once while the bot is quiet; while it speaks, when the speech is sure; never of a cough."""
    told = ("VADUserStartedSpeakingFrame", "VADUserStoppedSpeakingFrame")
    async with stage(params=AcsParams(turns=True)) as here:
        assert here.call is not None
        tell = here.call._take_turn
        for change in (SpeechStarted(0.0), SpeechEnded(500.0, b"")):
            tell(change)
            await settle()
        assert here.before.named(*told) == list(told)
        await here.say(voice(1000))
        await here.service.frames(5)
        for cough in (SpeechStarted(700.0), Resumed(60.0), SpeechEnded(900.0, b"")):
            tell(cough)
            await settle()
        assert here.before.named(*told) == list(told)
        tell(SpeechStarted(1000.0))
        await settle()
        assert here.before.named(*told) == list(told)
        await here.call.stop()
        tell(Interrupted(80.0))
        await here.service.frames(1)
        assert here.before.named(*told) == [*told, told[0]]
        assert here.after.named(*BOT) == list(BOT)  # the call has cut it; pipecat need not interrupt
        tell(SpeechEnded(1500.0, b""))
        await settle()
        assert here.before.named(*told) == [*told, *told]


async def test_volume_is_applied_in_the_order_of_the_sound() -> None:
    """A VolumeFrame counts for what is said after it."""
    async with stage() as here:
        await here.say(OutputAudioRawFrame(b"\0\x10" * 320, 16000, 1))
        await here.service.frames(3)
        await here.say(VolumeFrame(volume=0.5), OutputAudioRawFrame(b"\0\x10" * 320, 16000, 1))
        assert set(here.service.played[:640]) == {0, 0x10} and set(here.service.played[640:]) == {0, 0x08}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"video_out_enabled": True}, "no picture"),
        ({"audio_out_channels": 2}, "audio_out_channels"),
        ({"audio_out_destinations": ["a"]}, "one destination"),
        ({"turns": True}, "Call of a VoiceApp"),
    ],
)
def test_settings_that_a_call_cannot_have_are_refused(settings: dict[str, Any], named: str) -> None:
    """Nothing is accepted and then ignored."""
    with pytest.raises(ConfigError, match=named):
        AcsTransport(Stream(Service(), {}), AcsParams(**settings))
