"""tests/ear.py finds to the sample what it is told was heard."""

from __future__ import annotations

import numpy as np
import pytest
from tests.ear import Run, coded, taken_apart

from offhook.audio.buffers import PlayoutBuffer

RATE = 24000
FRAME = RATE // 50
SOUNDS = {"one": coded(1, RATE, 2.0), "two": coded(2, RATE, 2.0)}


def heard(*steps: str | int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """What comes of a playout buffer that is given sounds, cut, and read so many frames."""
    buffer, frames = PlayoutBuffer(RATE), []
    for step in steps:
        if step == "cut":
            buffer.clear()
        elif isinstance(step, str):
            buffer.write(SOUNDS[step].tobytes())
        else:
            frames += [buffer.read() for _ in range(step)]
    return np.concatenate([np.zeros(FRAME, np.int16) if frame is None else frame for frame in frames])


def test_a_sound_that_was_heard_whole() -> None:
    assert taken_apart(heard(3, "one", 110), SOUNDS, RATE) == [Run("one", 0, 3 * FRAME, 100 * FRAME)]


@pytest.mark.parametrize("frames", range(1, 90, 11))
def test_a_sound_that_was_cut_and_another(frames: int) -> None:
    cut = Run("one", 0, 0, frames * FRAME, FRAME // 4)
    found = taken_apart(heard("one", frames, "cut", 7, "two", 120), SOUNDS, RATE)
    assert found == [cut, Run("two", 0, (frames + 7) * FRAME, 100 * FRAME)]
    assert (cut.end, cut.silent_at) == (frames * FRAME + FRAME // 4,) * 2


def test_another_right_behind_the_cut_has_its_beginning_in_the_frame_after_the_ramp() -> None:
    found = taken_apart(heard("one", 9, "cut", "two", 120), SOUNDS, RATE)
    assert [(run.name, run.start, run.at) for run in found] == [("one", 0, 0), ("two", 0, 10 * FRAME)]


def test_old_sound_behind_the_cut_is_seen() -> None:
    line = heard("one", 9, "cut", 5)
    line[12 * FRAME : 13 * FRAME] = SOUNDS["one"][9 * FRAME : 10 * FRAME]
    assert [run.start // FRAME for run in taken_apart(line, SOUNDS, RATE)] == [0, 9]


def test_what_is_none_of_the_sounds_is_an_error() -> None:
    with pytest.raises(AssertionError, match=r"at 20\.0 ms"):
        taken_apart(np.concatenate([np.zeros(FRAME), np.full(FRAME, 99)]).astype(np.int16), SOUNDS, RATE)
