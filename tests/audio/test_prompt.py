"""A prompt on its seat: every sample once and in order, a loop without a seam, a cut without a click."""

from __future__ import annotations

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
