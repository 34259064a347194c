"""Barge-in: when what the app says is held, cut and said on, by a detector that hears what the test wants."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import numpy as np
import pytest
from tests.barge_in.playout import Conversation

from offhook.audio.pcm import Frame
from offhook.errors import ConfigError
from offhook.kit.turns import Doubt, Interrupted, Resume, Resumed, SpeechEnded, SpeechStarted, Turns, TurnTaking

RATE = 16000
FRAME = RATE // 50
LONG = np.full(RATE * 6, 500, np.int16)
LOUD = np.resize(np.array([4000, -4000], np.int16), FRAME)
QUIET = np.zeros(FRAME, np.int16)


class Told:
    """A detector that takes a loud frame for speech."""

    def feed(self, frame: Frame) -> float:
        return 1.0 if np.abs(frame).max() > 1000 else 0.0

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _by_length(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """By its sound, nothing agrees."""
    for module in ("turns", "barge_in"):
        monkeypatch.setattr(f"offhook.kit.{module}.agreement", lambda pcm: 0.0)
    yield


def talk(**settings: object) -> Conversation:
    chosen = TurnTaking(echo=False, **settings)  # type: ignore[arg-type]
    return Conversation(chosen, RATE, lambda given, rate: Turns(given, rate, Told()))


def hear(conversation: Conversation, *, quiet: int = 0, loud: int = 0) -> None:
    for frame in [QUIET] * quiet + [LOUD] * loud:
        conversation.hear(frame)


def names(conversation: Conversation) -> list[str]:
    return [type(event).__name__ for _, event in conversation.events]


def test_speech_that_goes_on_holds_at_once_and_cuts() -> None:
    call = talk()
    playback = call.play(LONG)
    hear(call, quiet=50, loud=1)
    assert call.queue.held
    hear(call, quiet=1)
    assert call.ear.stops == 1 and not call.events and not playback.done
    hear(call, loud=40)
    assert names(call) == ["SpeechStarted", "Interrupted"]
    assert playback.cut
    started, interrupted = (event for _, event in call.events)
    assert isinstance(started, SpeechStarted) and isinstance(interrupted, Interrupted)
    assert abs(started.at_ms - 1000) <= 60
    assert interrupted.heard_ms == pytest.approx(len(call.ear.said) / 2 / 16, abs=1)
    hear(call, quiet=40)
    assert names(call)[2:] == ["SpeechEnded"]


def test_a_click_holds_and_the_app_goes_on_with_nothing_lost() -> None:
    call = talk(rewind_ms=0)
    playback = call.play(LONG)
    hear(call, quiet=50, loud=2)
    hear(call, quiet=20)
    assert names(call) == ["Resumed"]
    hear(call, quiet=300)
    assert playback.done and not playback.cut
    assert bytes(call.ear.said) == LONG.tobytes()


def test_a_short_word_is_decided_when_it_is_over() -> None:
    call = talk()
    playback = call.play(LONG)
    hear(call, quiet=50, loud=15)
    assert not call.events
    hear(call, quiet=12)
    assert names(call) == ["SpeechStarted", "Interrupted"] and playback.cut


def test_a_short_word_that_agrees_lets_the_app_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offhook.kit.turns.agreement", lambda pcm: 0.9)
    call = talk()
    playback = call.play(LONG)
    hear(call, quiet=50, loud=15)
    hear(call, quiet=60)
    assert names(call) == ["Resumed"] and not playback.done
    hear(call, loud=15)
    hear(call, quiet=12)
    assert names(call) == ["Resumed", "Resumed"]


def test_no_barge_in_and_protected_playbacks_are_never_held() -> None:
    for call, protected in ((talk(barge_in=False), False), (talk(), True)):
        call.play(LONG, interruptible=not protected)
        hear(call, quiet=20, loud=40)
        hear(call, quiet=40)
        assert names(call) == ["SpeechStarted", "SpeechEnded"]
        assert call.ear.stops == 0


def test_without_resume_the_first_speech_cuts() -> None:
    call = talk(resume=False)
    playback = call.play(LONG)
    hear(call, quiet=50, loud=4)
    assert not call.events and not call.queue.held
    hear(call, loud=1)
    assert names(call) == ["SpeechStarted", "Interrupted"] and playback.cut


def test_what_is_played_while_held_waits_and_comes_behind() -> None:
    call = talk(rewind_ms=0)
    first = call.play(LONG[: FRAME * 10])
    hear(call, quiet=3, loud=2)
    second = call.play(LONG[: FRAME * 4] * 2)
    hear(call, quiet=5)
    assert call.queue.held and len(call.ear.said) < FRAME * 2 * 10
    hear(call, quiet=40)
    assert first.done and second.done and not first.cut
    assert bytes(call.ear.said) == LONG[: FRAME * 10].tobytes() + (LONG[: FRAME * 4] * 2).tobytes()


def test_stop_while_held_ends_the_hold() -> None:
    call = talk()
    playback = call.play(LONG)
    hear(call, quiet=50, loud=10)
    call.queue.cut()
    call.ear.send()
    hear(call, loud=30)
    hear(call, quiet=40)
    assert playback.cut and not call.queue.held
    assert names(call) == ["SpeechStarted", "SpeechEnded"]
    later = call.play(LONG[: FRAME * 5])
    hear(call, quiet=10)
    assert later.done and not later.cut


def test_the_caller_speaks_again_while_the_app_goes_on() -> None:
    call = talk(rewind_ms=0)
    playback = call.play(LONG)
    hear(call, quiet=50, loud=2)
    hear(call, quiet=12)
    hear(call, quiet=1, loud=1)
    assert names(call) == ["Resumed"] and call.queue.held
    hear(call, loud=40)
    assert names(call) == ["Resumed", "SpeechStarted", "Interrupted"]
    assert playback.cut and playback.heard_ms == pytest.approx(len(call.ear.said) / 2 / 16, abs=1)


def test_an_answer_that_begins_while_the_caller_still_speaks_is_cut() -> None:
    call = talk()
    hear(call, quiet=10, loud=40)
    playback = call.play(LONG)
    hear(call, loud=3)
    assert playback.cut
    assert names(call) == ["SpeechStarted", "Interrupted"]


def test_what_ends_just_when_it_is_held_is_done() -> None:
    call = talk()
    playback = call.play(LONG[: FRAME * 3])
    hear(call, quiet=2, loud=1)
    assert call.held and playback.done
    hear(call, quiet=3)
    assert not call.queue.held
    call.play(LONG[:FRAME])
    hear(call, quiet=20)
    assert not call.queue.speaking


def test_sound_that_is_too_short_for_speech_is_no_turn() -> None:
    call = talk()
    hear(call, quiet=10, loud=4)
    hear(call, quiet=60)
    assert not call.events
    hear(call, loud=5)
    hear(call, quiet=60)
    assert names(call) == ["SpeechStarted", "SpeechEnded"]
    ended = call.events[1][1]
    assert isinstance(ended, SpeechEnded) and np.abs(np.frombuffer(ended.pcm, np.int16)).max() == 4000


async def understood(call: Conversation) -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def says(text: str) -> Callable[[bytes], Awaitable[str]]:
    async def understand(pcm: bytes) -> str:
        assert len(pcm) > FRAME * 2 * 15
        return text

    return understand


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("Yeah.", False),
        ("Okay, right!", False),
        ("", False),
        ("Stop!", True),
        ("yeah but", True),
        ("5.", True),
    ],
)
async def test_words_decide_where_they_are_understood(text: str, cut: bool) -> None:
    call = talk(understand=says(text))
    playback = call.play(LONG)
    hear(call, quiet=50, loud=15)
    hear(call, quiet=12)
    assert call.queue.held
    await understood(call)
    hear(call, quiet=1)
    assert playback.cut == cut
    assert names(call)[-1] == ("Interrupted" if cut else "Resumed")


async def test_words_that_take_too_long_interrupt() -> None:
    async def never(pcm: bytes) -> str:
        await asyncio.Event().wait()
        return ""

    call = talk(understand=never, decide_ms=400)
    playback = call.play(LONG)
    hear(call, quiet=50, loud=15)
    hear(call, quiet=12)
    await understood(call)
    hear(call, quiet=18)
    assert call.queue.held
    hear(call, quiet=3)
    assert playback.cut
    call.barge_in.close()
    await asyncio.sleep(0)


async def test_a_recogniser_that_fails_leaves_it_to_the_sound(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(pcm: bytes) -> str:
        raise RuntimeError("no model")

    call = talk(understand=fails)
    playback = call.play(LONG)
    hear(call, quiet=50, loud=15)
    hear(call, quiet=12)
    await understood(call)
    assert playback.done or not call.queue.held
    assert "could not be understood" in caplog.text


async def test_an_answer_after_the_end_changes_nothing() -> None:
    call = talk(understand=says("stop"))
    call.play(LONG)
    hear(call, quiet=50, loud=15)
    hear(call, quiet=12)
    call.barge_in.close()
    await understood(call)
    assert not call.events
    hear(call, loud=50)
    assert not call.events


async def test_speakers_of_an_unmixed_stream_have_turns_of_their_own_up_to_a_bound() -> None:
    call = talk()
    for speaker in range(12):
        call.barge_in.hear(QUIET.tobytes(), f"8:acs:{speaker}")
    playback = call.play(LONG)
    for tick in range(60):
        call.ear.tick()
        for speaker in range(12):
            loud = speaker == 2 and tick > 10
            call.barge_in.hear((LOUD if loud else QUIET).tobytes(), f"8:acs:{speaker}")
        call.ear.send()
    assert playback.cut and names(call) == ["SpeechStarted", "Interrupted"]
    assert len(call.barge_in._speakers) == 8


@pytest.mark.parametrize(
    "wrong", [{"threshold": 1.5}, {"end_silence_ms": 0}, {"min_speech_ms": -1}, {"detector": "ears"}]
)
def test_settings_that_cannot_be_used_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong)) if "detector" not in wrong else "auto, silero, webrtc"):
        TurnTaking(**wrong)  # type: ignore[arg-type]


def test_resumed_tells_from_where() -> None:
    call = talk(rewind_ms=100)
    call.play(np.resize(np.arange(1, 3000, dtype=np.int16), RATE * 3))
    hear(call, quiet=50, loud=2)
    hear(call, quiet=20)
    (resumed,) = (event for _, event in call.events)
    assert isinstance(resumed, Resumed)
    assert 900 <= resumed.heard_ms <= 1045


def test_what_is_protected_is_said_after_a_cut() -> None:
    call = talk()
    first, law, last = call.play(LONG), call.play(LONG[: FRAME * 5], interruptible=False), call.play(LONG)
    hear(call, quiet=50, loud=40)
    hear(call, quiet=20)
    assert first.cut and last.cut and law.done and not law.cut


def test_a_word_during_which_the_app_is_stopped_is_a_turn_whatever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offhook.kit.turns.agreement", lambda pcm: 1.0)
    call = talk()
    call.play(LONG)
    hear(call, quiet=50, loud=10)
    call.queue.cut()
    hear(call, loud=5)
    hear(call, quiet=40)
    assert names(call) == ["SpeechStarted", "SpeechEnded"]


def test_what_was_no_turn_is_not_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offhook.kit.turns.agreement", lambda pcm: 0.8)
    call = talk()
    call.play(LONG)
    hear(call, quiet=50, loud=15)
    hear(call, quiet=14)
    assert names(call) == ["Resumed"]
    hear(call, quiet=16, loud=40)
    hear(call, quiet=40)
    assert names(call) == ["Resumed", "SpeechStarted", "Interrupted", "SpeechEnded"]
    ended = call.events[-1][1]
    assert isinstance(ended, SpeechEnded)
    assert len(ended.pcm) / 2 / FRAME <= 40 + 20 + 15


def test_an_answer_to_an_older_doubt_decides_nothing() -> None:
    call = talk(understand=says("never asked"))
    turns = call.turns
    doubts = []
    for frame in [QUIET] * 5 + ([LOUD] * 15 + [QUIET] * 12) * 2:
        for step in turns.feed(frame.tobytes(), None, True):
            if isinstance(step, Doubt):
                doubts.append(step)
                if len(doubts) == 1:
                    assert turns.decide(step.number, True) == [Resume()]
    assert len(doubts) == 2
    assert turns.decide(doubts[0].number, True) == []
    assert turns.decide(doubts[1].number, True) == [Resume()]
    assert turns.decide(doubts[1].number, True) == []


class Keen(Told):
    """Takes a soft frame for speech too."""

    def feed(self, frame: Frame) -> float:
        return 1.0 if np.abs(frame).max() > 100 else 0.0


def test_a_caller_who_is_soft_is_heard_and_then_interrupts_but_is_background_to_one_who_is_loud() -> None:
    soft = np.resize(np.array([180, -180], np.int16), FRAME)  # -45 dBFS
    for first, cut in ((soft, True), (LOUD, False), (QUIET, False)):
        call = Conversation(TurnTaking(echo=False), RATE, lambda given, rate: Turns(given, rate, Keen()))
        for frame in [QUIET] * 20 + [first] * 30 + [QUIET] * 60:
            call.hear(frame)
        assert names(call) == ([] if first is QUIET else ["SpeechStarted", "SpeechEnded"])
        playback = call.play(LONG)
        for frame in [QUIET] * 20 + [soft] * 60:
            call.hear(frame)
        assert playback.cut == cut


def test_places_are_those_of_the_stream_also_for_who_is_listened_to_later() -> None:
    call = talk()
    for _ in range(100):
        call.ear.tick()
    hear(call, quiet=10, loud=20)
    hear(call, quiet=40)
    started, ended = (event for _, event in call.events)
    assert isinstance(started, SpeechStarted) and isinstance(ended, SpeechEnded)
    assert started.at_ms == pytest.approx(2200, abs=60)
    assert ended.at_ms == pytest.approx(2600, abs=20)
