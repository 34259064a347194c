"""Prompts in whole calls on a manual clock: who hears which sample in which frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.scenarios.meeting import GROUP, connect
from tests.scenarios.shelf import Shelf
from tests.scenarios.stage import CALLEE, CALLER, OTHER, Party, Stage, asked

from offhook.audio.pcm import Frame
from offhook.audio.sound import Sound
from offhook.errors import CallError, PromptError
from offhook.service import media
from offhook.service.clock import PTIME
from offhook.wire.connecting import CallLocator
from offhook.wire.identifiers import Identifier
from offhook.wire.playing import PlayRequest, PlaySource

RATE, FRAME = 16000, 320


class Room(Stage):
    """A stage whose node takes its sounds from a shelf."""

    def __init__(self) -> None:
        super().__init__()
        self.shelf = Shelf(self)
        self.node.sounds = self.shelf

    def answered(self, **options: Any) -> tuple[Party, str]:
        party = self.call()
        connection = self.answer(**options)
        self.run(0.2)
        return party, connection

    def play(self, connection: str, *names: str, to: tuple[Identifier, ...] = (), **options: Any) -> None:
        sources = tuple(PlaySource(kind="file", uri=name) for name in names)
        context = options.pop("context", names[0])
        request = PlayRequest(sources=sources, to=to, operation_context=context, **options)
        media.play(self.node, asked(connection), request)


def sound(length: int, first: int = 1) -> Frame:
    return (first + np.arange(length)).astype(np.int16)


@pytest.fixture
def room() -> Room:
    return Room()


def begins(heard: Frame, first: int) -> int:
    """The sample at which a sound that counts up from `first` begins."""
    return int(np.flatnonzero(heard == first)[0])


def test_the_caller_hears_every_sample_from_the_frame_after_it_was_loaded(room: Room) -> None:
    room.shelf.sounds["a"] = sound(1000)
    party, connection = room.answered()
    before = len(party.heard)
    room.play(connection, "a")
    room.run(0.5)
    heard = party.pcm()
    start = (before + round(room.shelf.delay / PTIME)) * FRAME
    assert begins(heard, 1) == start
    assert np.array_equal(heard[start : start + 1000], sound(1000))
    assert not heard[:start].any() and not heard[start + 1000 :].any()
    assert room.events[-2:] == ["PlayStarted", "PlayCompleted"]
    started, completed = room.callbacks[-2:]
    assert completed["at"] - started["at"] == pytest.approx(4 * PTIME), "told with the last frame"
    assert started["data"]["operationContext"] == completed["data"]["operationContext"] == "a"
    assert room.result("PlayCompleted") == (200, 0)


@pytest.mark.parametrize("stream", [True, False])
def test_a_group_call_with_nobody_in_it_plays_to_its_end(room: Room, stream: bool) -> None:
    """Or a play would hold up the queue until somebody comes, who would hear it from the middle of nowhere."""
    room.shelf.sounds["a"] = sound(1000)
    connection = connect(room, CallLocator("groupCallLocator", GROUP), stream=stream)
    room.play(connection, "a")
    room.run(0.5)
    assert room.events[-2:] == ["PlayStarted", "PlayCompleted"]


def test_the_stream_of_the_app_does_not_hear_it_and_goes_on(room: Room) -> None:
    room.shelf.sounds["a"] = sound(3000)
    party, connection = room.answered()
    room.play(connection, "a")
    room.run(0.6)
    assert party.pcm().any() and not room.streams[0].pcm().any()
    frames = len(room.streams[0].frames)
    room.run(0.2)
    assert len(room.streams[0].frames) == frames + 10


def test_it_is_mixed_with_what_the_app_says(room: Room) -> None:
    room.shelf.sounds["a"] = np.full(4 * FRAME, 1000, np.int16)
    party, connection = room.answered()
    room.play(connection, "a")
    room.run(room.shelf.delay)
    room.streams[0].say(np.full(4 * FRAME, 500, "<i2").tobytes())
    room.run(0.2)
    assert int(party.pcm().max()) == 1500


def test_sources_in_sequence_and_queued_plays_have_no_gap(room: Room) -> None:
    for name, first in (("a", 1), ("b", 5001), ("c", 10001)):
        room.shelf.sounds[name] = sound(1000, first)
    room.shelf.sounds["whole frames"] = sound(2 * FRAME, 20001)
    party, connection = room.answered()
    room.play(connection, "a", "b", "c")
    room.play(connection, "whole frames")
    room.run(0.8)
    heard = party.pcm()
    start = begins(heard, 1)
    whole = np.concatenate([sound(1000), sound(1000, 5001), sound(1000, 10001)])
    assert np.array_equal(heard[start : start + 3000], whole)
    assert begins(heard, 20001) == start + -(-3000 // FRAME) * FRAME, "the next play begins with the next frame"
    assert [name for name in room.events if name.startswith("Play")] == ["PlayStarted", "PlayCompleted"] * 2


def test_a_loop_goes_on_without_a_seam_until_it_is_canceled_within_40_ms(room: Room) -> None:
    room.shelf.sounds["a"] = sound(777, 1000)
    party, connection = room.answered()
    room.play(connection, "a", loop=True)
    room.run(2.0)
    heard = party.pcm()
    start = begins(heard, 1000)
    assert np.array_equal(heard[start:], np.resize(sound(777, 1000), len(heard) - start))
    media.cancel_all(room.node, asked(connection))
    assert room.result("PlayCanceled") == (400, 8508)
    room.run(0.2)
    rest = party.pcm()[len(heard) :]
    assert rest[:70].all() and not rest[79:].any(), "5 ms of ramp, then nothing"
    assert np.max(np.abs(np.diff(rest[:80].astype(int)))) < 800, "no click"
    assert "PlayCompleted" not in room.events


def test_an_interrupting_play_cuts_the_first(room: Room) -> None:
    room.shelf.sounds.update(a=np.full(50 * FRAME, 100, np.int16), b=np.full(FRAME, 200, np.int16))
    party, connection = room.answered()
    room.play(connection, "a")
    room.run(0.3)
    before = len(party.heard)
    room.play(connection, "b", interrupt=True)
    room.run(0.5)
    heard = party.pcm()
    assert not heard[(before + 2) * FRAME :][: 2 * FRAME].any()
    assert np.count_nonzero(heard == 200) == FRAME
    assert [name for name in room.events if name.startswith("Play")] == [
        "PlayStarted", "PlayCanceled", "PlayStarted", "PlayCompleted"
    ]  # fmt: skip


def test_a_prompt_of_24_khz(room: Room) -> None:
    room.shelf.sounds["a"] = sound(960)
    party, connection = room.answered(rate=24000)
    room.play(connection, "a")
    room.run(0.4)
    heard = party.pcm(24000)
    start = begins(heard, 1)
    assert start % 480 == 0 and np.array_equal(heard[start : start + 960], sound(960))


def test_only_those_hear_it_who_are_meant(room: Room) -> None:
    room.shelf.sounds.update(one=np.full(50 * FRAME, 100, np.int16), all=np.full(50 * FRAME, 7, np.int16))
    first, second = room.phone(CALLEE, answers=0.1), room.phone(OTHER, answers=0.1)
    connection = room.create(CALLEE, OTHER)
    room.run(0.5)
    room.play(connection, "one", to=(OTHER,))
    room.play(connection, "all")
    room.run(0.5)
    with pytest.raises(CallError) as refused:
        room.play(connection, "one", to=(CALLEE,))
    assert refused.value.outcome == "media_busy"
    assert set(np.unique(first.parties[0].pcm())) == {0, 7}
    assert int(second.parties[0].pcm().max()) == 107
    second.parties[0].leg.leave()
    room.run(0.1)
    assert room.result("PlayCanceled") == (400, 8508)
    assert room.event("PlayCanceled")["operationContext"] == "one"


def test_who_joins_later_hears_it_too(room: Room) -> None:
    room.shelf.sounds["all"] = np.full(100 * FRAME, 7, np.int16)
    room.phone(CALLEE, answers=0.1)
    late = room.phone(OTHER, answers=1.0)
    connection = room.create(CALLEE, OTHER)
    room.run(0.5)
    room.play(connection, "all")
    room.run(1.0)
    assert late.parties[0].pcm()[: 5 * FRAME].all()


@pytest.mark.parametrize(
    "outcome", ["play_bad_format", "play_not_downloaded", "speech_not_set_up", "play_source_empty"]
)
def test_a_source_that_cannot_be_used(room: Room, outcome: str) -> None:
    room.shelf.sounds.update(a=sound(10), b=PromptError(outcome, "because", 1))
    party, connection = room.answered()
    room.play(connection, "a", "b")
    room.run(0.5)
    assert not party.pcm().any() and room.events[-1] == "PlayFailed"
    failed = room.event("PlayFailed")
    assert failed["failedPlaySourceIndex"] == 1
    assert failed["resultInformation"]["message"].endswith("because")


def test_a_sound_that_grows_is_heard_as_it_comes(room: Room) -> None:
    """The first part at once, nothing while there is no more, then the rest; complete with the last frame."""
    grows = room.shelf.growing["a"] = Sound()
    party, connection = room.answered()
    grows.append(np.full(5 * FRAME, 1000, np.int16))
    room.play(connection, "a")
    room.run(0.5)
    assert room.events[-1] == "PlayStarted" and np.count_nonzero(party.pcm()) == 5 * FRAME - 1
    grows.append(np.full(3 * FRAME, 2000, np.int16))
    grows.finish()
    room.run(0.2)
    heard = party.pcm()
    assert np.count_nonzero(heard == 2000) > 3 * FRAME - 100
    assert room.events[-1] == "PlayCompleted" and room.shelf.let_go == ["a"]


def test_a_sound_that_breaks_off_fails_its_play_and_the_next_one_plays(room: Room) -> None:
    """In the middle of it; what is there already is cut like a canceled play."""
    grows = room.shelf.growing["a"] = Sound()
    room.shelf.sounds["b"] = sound(FRAME)
    party, connection = room.answered()
    grows.append(np.full(50 * FRAME, 1000, np.int16))
    room.play(connection, "a")
    room.play(connection, "b")
    room.run(0.2)
    grows.fail(PromptError("speech_failed", "it broke", 0))
    room.run(0.2)
    assert room.result("PlayFailed") == (400, 8565) and room.event("PlayFailed")["failedPlaySourceIndex"] == 0
    assert room.events[-3:] == ["PlayFailed", "PlayStarted", "PlayCompleted"]
    assert 3 * FRAME < np.count_nonzero(party.pcm() == 1000) < 8 * FRAME
    assert room.shelf.let_go[0] == "a"


def test_a_sound_that_breaks_off_on_its_way_here_fails_its_play(room: Room) -> None:
    grows = room.shelf.growing["a"] = Sound()
    grows.append(np.full(50 * FRAME, 1000, np.int16))
    party, connection = room.answered()
    room.play(connection, "a")
    grows.fail(PromptError("speech_failed", "it broke", 0))
    room.run(0.3)
    assert room.result("PlayFailed") == (400, 8565) and room.shelf.let_go == ["a"]


@pytest.mark.parametrize("way", ["cancel", "leave"])
def test_a_sound_that_nobody_hears_any_more_is_let_go(room: Room, way: str) -> None:
    grows = room.shelf.growing["a"] = Sound()
    party, connection = room.answered()
    grows.append(np.full(50 * FRAME, 1000, np.int16))
    room.play(connection, "a")
    room.run(0.2)
    assert not room.shelf.let_go
    if way == "cancel":
        media.cancel_all(room.node, asked(connection))
    else:
        party.leg.leave()
    room.run(0.2)
    assert room.shelf.let_go == ["a"]


def test_a_port_that_fails_in_a_tick_fails_its_play_and_the_next_one_plays(room: Room) -> None:
    room.shelf.sounds.update(bad=np.zeros(0, np.int16), good=sound(FRAME))
    party, connection = room.answered()
    room.play(connection, "good", context="first")
    room.play(connection, "good", context="second")
    room.run(room.shelf.delay)
    (prompt,) = party.live._prompts._playing.values()
    prompt.port._sound = None  # type: ignore[assignment]
    prompt.member.read = prompt.port.read
    room.run(0.3)
    assert room.result("PlayFailed") == (500, 9999) and room.event("PlayFailed")["operationContext"] == "first"
    assert room.event("PlayCompleted")["operationContext"] == "second"
    assert np.array_equal(party.pcm()[begins(party.pcm(), 1) :][:FRAME], sound(FRAME))


@pytest.mark.parametrize("at", [0.05, 0.2])
@pytest.mark.parametrize("way", ["hang_up", "leave", "shut_down"])
def test_nothing_is_left_of_a_call_that_ends_while_it_loads_or_plays(room: Room, at: float, way: str) -> None:
    room.shelf.sounds["a"] = sound(20000)
    party, connection = room.answered()
    room.play(connection, "a")
    room.play(connection, "a", to=(CALLER,))
    room.run(at)
    {"hang_up": lambda: room.node.hang_up(connection), "leave": party.leg.leave, "shut_down": room.node.shut_down}[
        way
    ]()
    room.run(0.3)
    ends = [name for name in room.events if name in ("PlayCanceled", "PlayFailed", "PlayCompleted")]
    assert len(ends) == 2 and room.events[-1] == "CallDisconnected"
    assert room.shelf.waiting == 0 and not party.live._prompts._playing
    assert room.empty()


def test_without_a_prompt_the_call_is_a_plain_pair_again(room: Room) -> None:
    room.shelf.sounds["a"] = sound(FRAME)
    party, connection = room.answered()
    room.play(connection, "a")
    room.run(0.5)
    assert len(party.live.bridge.members) == 2 and party.live.bridge._pair is not None


@pytest.mark.parametrize("rate", [8000, 48000])
def test_a_leg_of_another_rate_hears_it_resampled(room: Room, rate: int) -> None:
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.int16)
    tone.flags.writeable = False
    room.shelf.sounds["a"] = tone
    party = room.call(rate=rate)
    connection = room.answer()
    room.run(0.2)
    room.play(connection, "a")
    room.run(1.3)
    heard = party.pcm(rate)
    loud = heard[np.flatnonzero(heard)[0] :][:rate].astype(float)
    assert np.argmax(np.abs(np.fft.rfft(loud, rate))) == 440
    assert np.sqrt(np.mean(loud[rate // 10 : -rate // 10] ** 2)) == pytest.approx(8000 / np.sqrt(2), rel=0.01)
