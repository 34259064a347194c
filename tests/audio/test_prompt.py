"""A prompt on its seat: every sample once and in order, a loop without a seam, a cut without a click."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.audio.pcm import Frame
from offhook.audio.prompt import PromptPort
from offhook.audio.sound import Sound

SIZE = 320


def ramp(length: int) -> Frame:
    return (np.arange(length) % 30000 + 1).astype(np.int16)


class Bench:
    def __init__(self, sound: Frame | Sound, *, loop: bool = False) -> None:
        self.ended = 0
        whole = sound if isinstance(sound, Sound) else Sound.of(sound)
        self.port = PromptPort(whole, 16000, loop=loop, ended=self.count)

    def count(self) -> None:
        self.ended += 1

    def frames(self, count: int) -> Frame:
        read = [self.port.read() for _ in range(count)]
        return np.concatenate([frame for frame in read if frame is not None])


@given(st.integers(1, 2000))
def test_every_sample_once_and_the_end_is_told_with_the_last_frame(length: int) -> None:
    sound, frames = ramp(length), -(-length // SIZE)
    bench = Bench(sound)
    bench.frames(frames - 1) if frames > 1 else None
    assert bench.ended == 0
    last = bench.port.read()
    assert bench.ended == 1 and last is not None and len(last) == SIZE
    rest = length - (frames - 1) * SIZE
    assert np.array_equal(last[:rest], sound[-rest:]) and not last[rest:].any()
    assert bench.port.read() is None and bench.ended == 1


@given(st.integers(1, 1000))
def test_a_loop_has_no_seam(length: int) -> None:
    bench = Bench(ramp(length), loop=True)
    assert np.array_equal(bench.frames(20), np.resize(ramp(length), 20 * SIZE))
    assert bench.ended == 0


def test_a_loop_of_a_few_samples_costs_a_tick_no_more_than_another() -> None:
    """A sound of one sample would be gone round 320 times in each tick of each call that plays it."""

    class Parts(list[Frame]):
        taken = 0

        def __getitem__(self, index: Any) -> Any:
            self.taken += 1
            return super().__getitem__(index)

    bench = Bench(ramp(1), loop=True)
    parts = bench.port._sound.parts = Parts(bench.port._sound.parts)
    assert np.array_equal(bench.frames(5), np.ones(5 * SIZE, np.int16))
    assert parts.taken < 20


@pytest.mark.parametrize("loop", [False, True])
def test_a_cut_is_a_ramp_of_5_ms(loop: bool) -> None:
    bench = Bench(np.full(5 * SIZE, 1000, np.int16), loop=loop)
    bench.frames(2)
    bench.port.stop()
    bench.port.stop()
    tail = bench.frames(1)
    assert tail[0] > 900 and np.all(np.diff(tail[:80]) < 0) and not tail[79:].any()
    assert bench.ended == 1 and bench.port.read() is None and bench.ended == 1


def test_what_was_not_heard_yet_is_cut_without_a_sound() -> None:
    bench = Bench(ramp(SIZE))
    bench.port.stop()
    assert bench.port.read() is None and bench.ended == 1


def test_a_cut_after_the_end_changes_nothing() -> None:
    bench = Bench(ramp(SIZE))
    bench.frames(1)
    bench.port.stop()
    assert bench.port.read() is None and bench.ended == 1


@given(st.lists(st.integers(0, 700), max_size=8), st.integers(1, 4))
def test_parts_are_heard_as_one(sizes: list[int], turns: int) -> None:
    """In a row and in loops, wherever the parts meet."""
    sound, whole, start = Sound(), ramp(sum(sizes)), 0
    for size in sizes:
        sound.append(whole[start : start + size])
        start += size
    sound.finish()
    once = Bench(sound)
    frames = -(-len(whole) // SIZE)
    if frames:
        heard = once.frames(frames)
        assert np.array_equal(heard[: len(whole)], whole) and not heard[len(whole) :].any()
        assert np.array_equal(Bench(sound, loop=True).frames(turns * 7), np.resize(whole, turns * 7 * SIZE))
    else:
        assert once.port.read() is None
    assert once.ended == 1


@given(st.lists(st.one_of(st.just(0), st.integers(1, 900)), max_size=12))
def test_what_grows_while_it_is_heard_is_heard_whole(grows: list[int]) -> None:
    """A piece or none comes before each tick: every sample once and in order, silent while there is not enough."""
    sound, samples = Sound(), (np.arange(sum(grows)) % 90 + 1000).astype(np.int16)
    bench, heard, there = Bench(sound), list[Frame](), 0
    for size in grows:
        sound.append(samples[there : there + size])
        there += size
        frame = bench.port.read()
        assert (frame is not None) == (there - SIZE * len(heard) >= SIZE)
        if frame is not None:
            heard.append(frame)
        assert bench.ended == 0
    sound.finish()
    while (frame := bench.port.read()) is not None:
        heard.append(frame)
    assert bench.ended == 1
    got = np.concatenate(heard)[: len(samples)] if heard else np.zeros(0, np.int16)
    assert len(got) == len(samples)
    changed = np.flatnonzero(got != samples) % SIZE
    assert np.all((changed < 80) | (changed >= SIZE - 80)), "but for ramps of 5 ms at gaps"
    assert np.all(got <= samples)


def test_a_gap_is_between_two_ramps() -> None:
    sound = Sound()
    bench = Bench(sound)
    sound.append(np.full(2 * SIZE, 1000, np.int16))
    first, second = bench.frames(1), bench.frames(1)
    assert np.all(first == 1000)
    assert np.all(second[: SIZE - 80] == 1000) and np.all(np.diff(second[-80:]) < 0) and second[-1] == 0
    assert bench.port.read() is None and bench.port.read() is None
    sound.append(np.full(2 * SIZE, 1000, np.int16))
    sound.finish()
    third, fourth = bench.frames(1), bench.frames(1)
    assert third[0] < 50 and np.all(third[80:] == 1000) and np.all(fourth == 1000)
    assert bench.ended == 1


def test_what_ends_without_more_has_ended() -> None:
    sound = Sound()
    bench = Bench(sound)
    sound.append(ramp(SIZE))
    bench.frames(1)
    assert bench.ended == 0
    sound.finish()
    assert bench.port.read() is None and bench.ended == 1


def test_what_waits_is_cut_without_a_sound() -> None:
    sound = Sound()
    bench = Bench(sound)
    sound.append(ramp(SIZE))
    bench.frames(1)
    bench.port.read()
    bench.port.stop()
    assert bench.port.read() is None and bench.ended == 1


def test_a_loop_that_grows_begins_again_only_when_it_is_whole() -> None:
    sound = Sound()
    bench = Bench(sound, loop=True)
    sound.append(ramp(SIZE + 7))
    bench.frames(1)
    assert bench.port.read() is None
    sound.finish()
    assert np.array_equal(bench.frames(1)[80:], np.resize(ramp(SIZE + 7), 2 * SIZE)[SIZE + 80 :])
