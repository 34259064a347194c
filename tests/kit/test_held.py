"""Nothing that a caller's line sounds like, and nothing that an app does meanwhile, holds the app for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.barge_in.playout import Conversation
from tests.kit.simulated_call import SimulatedCall

from offhook.audio.pcm import Frame
from offhook.kit.barge_in import SPEAKERS_MOST
from offhook.kit.turns import Interrupted, SpeechEnded, SpeechStarted, Turns, TurnTaking

RATE = 16000
FRAME = RATE // 50
SECONDS = np.full(RATE * 4, 500, np.int16)
LONGEST_HOLD = (2 * 540 + 400) // 20 + 1


class Asked:
    """A detector that finds a frame as likely as its first sample says, in thousandths of 20."""

    def feed(self, frame: Frame) -> float:
        return abs(int(frame[0])) / 20_000

    def close(self) -> None:
        pass


def frame(likely: float) -> Frame:
    """Loud where it is likely, else as good as silent."""
    return np.resize(np.array([1, -1]) * round(likely * 20_000), FRAME).astype(np.int16)


def talk(**settings: Any) -> Conversation:
    return Conversation(TurnTaking(echo=False, **settings), RATE, lambda given, rate: Turns(given, rate, Asked()))


def hear(call: Conversation, likely: float, count: int) -> None:
    for _ in range(count):
        call.hear(frame(likely))


@pytest.fixture(autouse=True)
def agreed(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """By its sound, what is said agrees so much; not at all unless told."""

    def agree(likely: float) -> None:
        for module in ("turns", "barge_in"):
            monkeypatch.setattr(f"offhook.kit.{module}.agreement", lambda pcm: likely)

    agree(0.0)
    return agree


@pytest.mark.parametrize(
    "pattern",
    [
        [0.3],
        [0.9] + [0.0] * 6,
        [0.9] + [0.0] * 3,
        [0.9, 0.9] + [0.0] * 7,
        [0.3] * 2 + [0.0] * 9,
        [0.9] * 3 + [0.0] * 12,
    ],
    ids=str,
)
def test_what_comes_and_goes_and_is_no_speech_does_not_keep_the_app_from_its_end(pattern: list[float]) -> None:
    call = talk()
    playback = call.play(SECONDS)
    for index in range(50 * 20):
        hear(call, pattern[index % len(pattern)], 1)
        if playback.done:
            break
    assert playback.done and not playback.cut
    assert len(call.held) <= 20


def test_speech_after_many_false_alarms_still_interrupts() -> None:
    call = talk()
    playback = call.play(np.resize(SECONDS, RATE * 20))
    for _ in range(12):
        hear(call, 0.9, 2)
        hear(call, 0.0, 30)
    alarms = len(call.held)
    hear(call, 0.9, 40)
    assert playback.cut and len(call.held) == alarms + 1
    later = call.play(np.resize(SECONDS, RATE * 60))
    hear(call, 0.0, 2100)
    hear(call, 0.3, 1)
    assert call.queue.held and not later.done


@pytest.mark.parametrize("confirm_ms", [0, 20, 540])
def test_what_always_sounds_like_agreement_cuts_when_it_goes_on(
    confirm_ms: int, agreed: Callable[[float], None]
) -> None:
    agreed(1.0)
    call = talk(confirm_ms=confirm_ms)
    playback = call.play(SECONDS)
    hear(call, 0.0, 20)
    hear(call, 0.9, 10 + 2 * confirm_ms // 20)
    hear(call, 0.0, 60)
    assert playback.cut and not call.queue.held
    kinds = [type(event) for _, event in call.events]
    assert kinds == [SpeechStarted, Interrupted, SpeechEnded]


async def known(call: Conversation, *speakers: str) -> None:
    """They are there, and their turns are followed."""
    for speaker in speakers:
        call.barge_in.hear(frame(0.0).tobytes(), speaker)


async def test_who_leaves_while_the_app_is_held_for_them_does_not_keep_it_held() -> None:
    call = talk()
    await known(call, "8:acs:stays", "8:acs:leaves")
    playback = call.play(SECONDS)
    for tick in range(300):
        call.ear.tick()
        call.barge_in.hear(frame(0.0).tobytes(), "8:acs:stays")
        if tick < 30:
            call.barge_in.hear(frame(0.9 if tick == 29 else 0.0).tobytes(), "8:acs:leaves")
        call.ear.send()
        assert call.queue.held or tick != 29
    assert playback.done and not playback.cut


async def test_who_comes_after_many_have_left_interrupts_too() -> None:
    call = talk()
    await known(call, *(f"8:acs:{number}" for number in range(SPEAKERS_MOST)))
    for tick in range(600):
        call.ear.tick()
        for number in range(1 if tick >= 60 else SPEAKERS_MOST):
            call.barge_in.hear(frame(0.0).tobytes(), f"8:acs:{number}")
    await known(call, "8:acs:0", "8:acs:new")
    playback = call.play(SECONDS)
    for _ in range(60):
        call.ear.tick()
        call.barge_in.hear(frame(0.0).tobytes(), "8:acs:0")
        call.barge_in.hear(frame(0.9).tobytes(), "8:acs:new")
        call.ear.send()
    assert playback.cut
    assert len(call.barge_in._speakers) == SPEAKERS_MOST


async def test_of_a_recogniser_that_never_answers_at_most_one_runs() -> None:
    running = 0

    async def never(pcm: bytes) -> str:
        nonlocal running
        running += 1
        try:
            await asyncio.Event().wait()
        finally:
            running -= 1
        return ""

    call = talk(understand=never, decide_ms=100)
    for _ in range(5):
        playback = call.play(SECONDS)
        hear(call, 0.0, 20)
        hear(call, 0.9, 10)
        hear(call, 0.0, 40)
        for _ in range(3):
            await asyncio.sleep(0)
        assert playback.cut and running == 1
    call.barge_in.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert running == 0


async def test_a_detector_that_fails_while_the_app_is_held_lets_it_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Asked):
        def feed(self, frame: Frame) -> float:
            if frame[0] < 0:
                raise RuntimeError("no model any more")
            return super().feed(frame)

    monkeypatch.setattr("offhook.kit.turns.voice_detector", lambda name: Failing())
    async with SimulatedCall(RATE, TurnTaking(echo=False)) as it:
        playback = it.call.play(SECONDS.tobytes())
        await it.hears(200)
        await it.hears(20, frame(0.9))
        assert not it.call.speaking and not playback.done
        await it.hears(20, -frame(0.9))
        assert it.call.speaking
        await it.hears(5000)
        assert playback.done and not playback.cut
    assert caplog.text.count("turns cannot be told any more") == 1


acts = st.lists(
    st.one_of(
        st.tuples(st.just("hear"), st.sampled_from([0.0, 0.0, 0.3, 0.6, 0.9]), st.integers(1, 40)),
        st.tuples(st.just("mix"), st.lists(st.sampled_from([0.0, 0.3, 0.9]), min_size=1, max_size=9), st.just(90)),
        st.tuples(st.just("play"), st.integers(0, 20), st.booleans()),
        st.sampled_from([("stop",), ("interrupt",), ("answer",)]),
    ),
    max_size=25,
)


@hypothesis_settings(max_examples=30)
@given(acts, st.sampled_from([{}, {"confirm_ms": 0}, {"resume": False}, {"end_silence_ms": 100}, {"rewind_ms": 0}]))
def test_in_any_order_of_events_the_app_is_heard_again_and_can_be_interrupted(
    todo: list[tuple[Any, ...]], settings: dict[str, Any]
) -> None:
    async def story() -> None:
        answers: list[asyncio.Future[str]] = []

        def understand(pcm: bytes) -> Awaitable[str]:
            answers.append(asyncio.get_running_loop().create_future())
            return answers[-1]

        call = talk(understand=understand, **settings)
        playbacks, held = [], 0

        def once(likely: float) -> None:
            nonlocal held
            hear(call, likely, 1)
            held = held + 1 if call.queue.held else 0
            assert held <= LONGEST_HOLD + 900 // 20

        for name, *values in todo:
            if name == "hear":
                for _ in range(values[1]):
                    once(values[0])
            elif name == "mix":
                for index in range(values[1]):
                    once(values[0][index % len(values[0])])
            elif name == "play":
                playbacks.append(call.play(SECONDS[: values[0] * FRAME], interruptible=values[1]))
            elif name == "stop":
                call.queue.cut()
            elif name == "interrupt":
                call.barge_in.cut()
            elif name == "answer" and answers and not answers[-1].done():
                answers[-1].set_result("yeah")
            await asyncio.sleep(0)
        for _ in range(100 + 20 * len(playbacks)):
            once(0.0)
        assert not call.queue.held and all(one.done for one in playbacks)
        last = call.play(SECONDS)
        for _ in range(10):
            once(0.0)
        for _ in range(60):
            once(0.9)
        assert last.cut
        call.barge_in.close()
        await asyncio.sleep(0)

    asyncio.run(story())
