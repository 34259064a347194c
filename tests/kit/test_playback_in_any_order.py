"""PlayQueue: put, held, resumed and cut in any order and any pieces, nothing is lost, doubled or out of order."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.barge_in.playout import Ear

from offhook.kit.playback import LONGEST_AHEAD_MS, Playback, PlayQueue
from offhook.kit.session import PlayQueueFull, StreamSession

RATE = 16000
FRAME = RATE // 50
REWIND_MS = 100
BLOCK = RATE // 100


class Line:
    """A queue and an ear. Every sample that is put has a number of its own."""

    def __init__(self, rewind_ms: int = 0) -> None:
        session = StreamSession()
        self.ear = Ear(session, RATE)
        self.queue = PlayQueue(session, rewind_ms=rewind_ms)
        self.playbacks: list[Playback] = []
        self._owners: list[npt.NDArray[np.int64]] = [np.zeros(1, np.int64)]
        self._places: list[npt.NDArray[np.int64]] = [np.zeros(1, np.int64)]
        self._next = 1

    def add(self, *, interruptible: bool = True) -> Playback:
        playback = Playback(interruptible=interruptible)
        self.queue.add(playback)
        self.playbacks.append(playback)
        return playback

    def put(self, playback: Playback, samples: int) -> None:
        if playback.done or playback._whole:
            return
        pcm = np.arange(self._next, self._next + samples).astype(np.uint16)
        self._owners.append(np.full(samples, self.playbacks.index(playback)))
        self._places.append(np.arange(playback._length, playback._length + samples))
        self._next += samples
        self.queue.put(playback, pcm.tobytes())
        self.ear.send()

    def play(self, samples: int, *, interruptible: bool = True) -> Playback:
        playback = self.add(interruptible=interruptible)
        self.put(playback, samples)
        self.end(playback)
        return playback

    def end(self, playback: Playback) -> None:
        self.queue.end(playback)
        self.ear.send()

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.ear.tick()
            self.queue.advance()
            self.ear.send()

    def hold(self) -> None:
        self.queue.hold()
        self.ear.send()

    def resume(self) -> None:
        self.queue.resume()
        self.ear.send()

    def cut(self, *, also_protected: bool = True) -> list[Playback]:
        dropped = self.queue.cut(also_protected=also_protected)
        self.ear.send()
        return dropped

    def heard(self) -> npt.NDArray[np.int64]:
        """The numbers of the samples that the ear has heard."""
        return np.frombuffer(bytes(self.ear.said), np.uint16).astype(np.int64)

    def owners(self) -> list[int]:
        """Which playback each of them was of."""
        return [int(owner) for owner in np.concatenate(self._owners)[self.heard()]]

    def heard_of(self, playback: Playback) -> list[int]:
        """Which samples of a playback were heard."""
        heard = self.heard()
        mine = np.concatenate(self._owners)[heard] == self.playbacks.index(playback)
        return [int(place) for place in np.concatenate(self._places)[heard[mine]]]


actions = st.lists(
    st.one_of(
        st.tuples(st.just("play"), st.integers(0, 1500), st.booleans()),
        st.tuples(st.just("add"), st.booleans()),
        st.tuples(st.just("put"), st.integers(0, 5), st.integers(1, 800)),
        st.tuples(st.just("end"), st.integers(0, 5)),
        st.tuples(st.just("tick"), st.integers(1, 6)),
        st.tuples(st.just("alarm"), st.integers(1, 8), st.integers(0, 3)),
        st.sampled_from([("hold",), ("resume",), ("resume",), ("cut", True), ("cut", False)]),
    ),
    max_size=30,
)


def perform(line: Line, action: tuple[Any, ...]) -> None:
    name, *values = action
    open_ones = [one for one in line.playbacks if not one.done and not one._whole]
    if name == "play":
        line.play(values[0], interruptible=values[1])
    elif name == "add":
        line.add(interruptible=values[0])
    elif name in ("put", "end") and open_ones:
        one = open_ones[values[0] % len(open_ones)]
        line.put(one, values[1]) if name == "put" else line.end(one)
    elif name == "tick":
        line.tick(values[0])
    elif name == "alarm":
        line.tick(values[0])
        line.hold()
        line.tick(values[1])
        line.resume()
    elif name == "hold":
        line.hold()
    elif name == "resume":
        line.resume()
    elif name == "cut":
        line.cut(also_protected=values[0])


@given(actions)
@example([("play", 160, True), ("tick", 1), ("play", 320, True), ("hold",)])
def test_what_is_heard_is_in_order_and_doubled_only_by_the_rewind(todo: list[tuple[Any, ...]]) -> None:
    line = Line(REWIND_MS)
    before: dict[Playback, float] = {}
    for action in todo:
        perform(line, action)
        for one in line.playbacks:
            assert one.heard_ms <= one.length_ms
            assert one.heard_ms >= before.get(one, 0) - REWIND_MS
            before[one] = one.heard_ms
        assert line.queue.unheard_ms == pytest.approx(
            sum(one.length_ms - one.heard_ms for one in line.playbacks if not one.cut)
        )
    line.resume()
    for one in line.playbacks:
        line.end(one)
    line.tick(sum(one._length for one in line.playbacks) // FRAME + 10)
    assert all(one.done for one in line.playbacks)
    assert not line.queue.held and not line.queue.speaking and line.queue.unheard_ms == 0
    assert line.owners() == sorted(line.owners())
    for one in line.playbacks:
        places = line.heard_of(one)
        steps = np.diff(places)
        # It goes on by one, or back by the rewind; an underrun just before a hold may cost a frame (session.heard_ms).
        assert all(step == 1 or -REWIND_MS * RATE // 1000 <= step <= FRAME + 1 for step in steps.tolist())
        if not one.cut:
            assert len(set(places)) >= one._length - FRAME * (1 + int((steps > 1).sum()))
            assert one._heard == one._length


@given(st.integers(200, 6000), st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=6))
def test_holds_lose_nothing_and_double_nothing(samples: int, holds: list[tuple[int, int]]) -> None:
    line = Line(0)
    first, second = line.play(samples), line.play(700)
    for sounding, silent in holds:
        line.tick(sounding)
        line.hold()
        line.tick(silent)
        line.resume()
    line.tick((samples + 700) // FRAME + 3)
    assert line.heard_of(first) == list(range(samples))
    assert line.heard_of(second) == list(range(700))
    assert first.done and second.done and not first.cut


@given(st.integers(0, 40), st.integers(0, 12))
def test_heard_is_what_the_ear_has_heard(ticks: int, more: int) -> None:
    line = Line(0)
    playback = line.play(20 * FRAME)
    line.tick(ticks)
    said = playback._heard
    assert said == len(line.heard())
    line.cut()
    line.tick(more + 2)
    assert playback._heard == len(line.heard())


@given(st.lists(st.integers(1, 900), min_size=1, max_size=30))
def test_any_cut_of_bytes_is_the_same_sound(sizes: list[int]) -> None:
    line = Line(0)
    pcm = np.arange(1, 1 + sum(sizes) // 2 + 1).astype(np.uint16).tobytes()[: sum(sizes)]
    playback = line.add()
    at = 0
    for size in sizes:
        line.queue.put(playback, pcm[at : at + size])
        at += size
        line.ear.send()
    line.end(playback)
    line.tick(len(pcm) // 2 // FRAME + 3)
    assert bytes(line.ear.said) == pcm[: len(pcm) & ~1]


def test_what_is_put_while_an_earlier_one_has_not_ended_waits_for_it() -> None:
    line = Line(0)
    first = line.add()
    line.put(first, 2 * FRAME)
    second = line.play(FRAME)
    line.tick(2)
    line.put(first, FRAME)
    line.end(first)
    line.tick(8)
    assert line.heard_of(first) == list(range(3 * FRAME))
    assert second.done
    assert line.owners() == [0] * 3 * FRAME + [1] * FRAME


def test_protected_ones_survive_speech_and_not_a_stop() -> None:
    line = Line(0)
    first, law, last = line.play(FRAME * 5), line.play(FRAME * 3, interruptible=False), line.play(FRAME)
    line.tick(2)
    assert line.cut(also_protected=False) == [first, last]
    line.tick(8)
    assert law.done and not law.cut and line.heard_of(law) == list(range(FRAME * 3))
    again = line.play(FRAME * 5, interruptible=False)
    line.tick(2)
    assert line.cut() == [again]


def test_it_goes_on_from_the_quietest_place() -> None:
    session = StreamSession()
    ear = Ear(session, RATE)
    queue = PlayQueue(session, rewind_ms=200)
    loud = np.full(RATE, 9000, np.int16)
    loud[RATE // 2 : RATE // 2 + 2 * BLOCK] = 3
    playback = Playback()
    queue.add(playback)
    queue.put(playback, loud.tobytes())
    queue.end(playback)
    ear.send()
    for _ in range(30):
        ear.tick()
        queue.advance()
    held = queue.hold()
    assert held == pytest.approx(30 * 20 - 20 + 25)
    assert 500 <= queue.resume() <= 510


def test_every_false_alarm_goes_back_once() -> None:
    line = Line(REWIND_MS)
    playback = line.play(60 * FRAME)
    line.tick(12)
    for _ in range(4):
        line.hold()
        line.tick(3)
        line.resume()
        line.tick(4)
    line.tick(80)
    places = line.heard_of(playback)
    assert (np.diff(places) < 0).sum() == 4
    assert sorted(set(places)) == list(range(60 * FRAME))


def test_more_than_ten_minutes_are_refused_held_or_not() -> None:
    line = Line(0)
    playback = line.add()
    whole = bytes(LONGEST_AHEAD_MS * RATE // 500)
    line.queue.put(playback, whole)
    line.hold()
    with pytest.raises(PlayQueueFull):
        line.queue.put(playback, bytes(2))
    assert line.queue.unheard_ms == LONGEST_AHEAD_MS
    line.cut()
    assert line.queue.unheard_ms == 0
