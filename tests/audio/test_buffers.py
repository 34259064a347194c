"""PlayoutBuffer: exact pace, restart rule, cutting with a ramp, marks, bounds, exact figures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.audio.buffers import PlayedMark, PlayoutBuffer

RATE = 16000
FRAME = 320


def ramp(samples: int, start: int = 1) -> bytes:
    """Samples that all differ from their neighbours, so that a lost or doubled one shows."""
    return ((np.arange(start, start + samples) % 30000) + 1).astype("<i2").tobytes()


def drain(buffer: PlayoutBuffer, ticks: int) -> list[np.ndarray | None]:
    frames = []
    for _ in range(ticks):
        frame = buffer.read()
        frames.append(None if frame is None else frame.copy())
    return frames


def heard(frames: list[np.ndarray | None]) -> bytes:
    return b"".join(f.tobytes() for f in frames if f is not None)


def test_nothing_queued_is_nothing_to_say() -> None:
    assert drain(PlayoutBuffer(RATE), 3) == [None, None, None]


def test_a_burst_leaves_one_frame_a_tick_and_exactly_as_it_came() -> None:
    buffer = PlayoutBuffer(RATE)
    pcm = ramp(60 * RATE)
    for i in range(0, len(pcm), 3202):
        buffer.write(pcm[i : i + 3202])
    frames = drain(buffer, 60 * 50)
    assert all(frame is not None for frame in frames)
    assert heard(frames) == pcm
    assert buffer.read() is None


def test_one_frame_waits_until_forty_milliseconds_are_queued_or_it_is_that_old() -> None:
    buffer = PlayoutBuffer(RATE)
    buffer.write(ramp(FRAME))
    assert [f is None for f in drain(buffer, 4)] == [True, True, False, True]
    buffer.write(ramp(2 * FRAME))
    assert [f is None for f in drain(buffer, 3)] == [False, False, True]


def test_a_hiccup_of_a_live_source_costs_one_pause_not_a_stutter() -> None:
    buffer = PlayoutBuffer(RATE)
    said: list[bool] = []
    for tick in range(40):
        if not 10 <= tick < 14:
            buffer.write(ramp(FRAME))
        if tick == 14:
            buffer.write(ramp(FRAME))  # one of the four late frames comes after all
        said.append(buffer.read() is not None)
    changes = sum(a != b for a, b in zip(said, said[1:], strict=False))
    assert changes == 3  # silent, playing, one pause, playing
    assert buffer.gaps == 1


def test_an_utterance_that_ends_inside_a_frame_is_played_to_its_last_sample() -> None:
    buffer = PlayoutBuffer(RATE)
    pcm = ramp(2 * FRAME + 17)
    buffer.write(pcm)
    frames = drain(buffer, 4)
    assert heard(frames)[: len(pcm)] == pcm
    assert not any(heard(frames)[len(pcm) :])
    assert buffer.played == 2 * FRAME + 17


def test_clear_gives_one_more_frame_that_fades_within_five_milliseconds() -> None:
    buffer = PlayoutBuffer(RATE)
    buffer.write((np.full(RATE, 10000, "<i2")).tobytes())
    drain(buffer, 10)
    cut = buffer.clear()
    tail, after = drain(buffer, 2)
    assert tail is not None and after is None
    assert tail[0] == 10000 and abs(int(tail[79])) < 200 and not tail[80:].any()
    assert np.abs(np.diff(tail.astype(int))).max() < 200  # no click
    assert cut.played == 10 * FRAME + 80
    assert cut.cut == RATE - cut.played
    assert cut.ramp == 80


def test_clear_before_anything_played_leaves_no_ramp() -> None:
    buffer = PlayoutBuffer(RATE)
    buffer.write(ramp(FRAME))
    cut = buffer.clear()
    assert (cut.played, cut.cut, cut.ramp) == (0, FRAME, 0)
    assert drain(buffer, 3) == [None] * 3


def test_audio_after_clear_plays_after_the_ramp_and_counts_from_zero() -> None:
    buffer = PlayoutBuffer(RATE)
    buffer.write(ramp(RATE))
    drain(buffer, 5)
    buffer.clear()
    pcm = ramp(4 * FRAME, 7000)
    buffer.write(pcm)
    frames = drain(buffer, 6)
    assert heard(frames[1:]) == pcm
    assert buffer.played == 4 * FRAME


def test_a_pause_of_more_than_half_a_second_begins_a_new_utterance() -> None:
    buffer = PlayoutBuffer(RATE)
    buffer.write(ramp(4 * FRAME))
    drain(buffer, 4 + 30)
    buffer.write(ramp(10 * FRAME))
    drain(buffer, 3)
    assert buffer.clear().played == 3 * FRAME + 80
    assert buffer.gaps == 0


def test_the_newest_audio_beyond_the_limit_is_refused_and_counted() -> None:
    buffer = PlayoutBuffer(RATE, limit_seconds=1.0)
    assert buffer.write(ramp(RATE)) == 2 * RATE
    assert buffer.write(ramp(10)) == 0
    assert buffer.refused == 10
    drain(buffer, 1)
    assert buffer.write(ramp(RATE)) == 2 * FRAME
    assert buffer.refused == 10 + RATE - FRAME


def test_marks_come_back_when_reached_and_as_cancelled_when_cut() -> None:
    buffer = PlayoutBuffer(RATE)
    buffer.mark("at once")
    buffer.write(ramp(3 * FRAME))
    buffer.mark("three")
    buffer.write(ramp(3 * FRAME))
    buffer.mark("six")
    drain(buffer, 2)
    assert buffer.take_fired() == [PlayedMark("at once", True)]
    drain(buffer, 1)
    assert buffer.take_fired() == [PlayedMark("three", True)]
    buffer.clear()
    assert buffer.take_fired() == [PlayedMark("six", False)]


@given(
    st.lists(
        st.one_of(st.integers(1, 2000).map(lambda n: ("write", n)), st.integers(1, 30).map(lambda n: ("read", n))),
        max_size=60,
    ),
    st.sampled_from([8000, 16000, 24000]),
)
def test_whatever_the_chunks_every_sample_leaves_once_and_in_order(steps: list[tuple[str, int]], rate: int) -> None:
    buffer = PlayoutBuffer(rate)
    written, out = b"", b""
    for what, size in steps:
        if what == "write":
            pcm = ramp(size, len(written) // 2)
            assert buffer.write(pcm) == len(pcm)
            written += pcm
        else:
            for _ in range(size):
                before = buffer.queued_samples
                frame = buffer.read()
                if frame is not None:
                    out += frame[: before - buffer.queued_samples].tobytes()
                    assert not frame[before - buffer.queued_samples :].any()
    assert out == written[: len(out)]
    assert buffer.queued_samples * 2 == len(written) - len(out)
    cut = buffer.clear()
    assert cut.cut + cut.ramp + len(out) // 2 == len(written) // 2
    assert buffer.queued_samples == 0


@pytest.mark.parametrize("size", [2, 6, 638])
def test_floods_of_tiny_writes_stay_cheap(size: int) -> None:
    buffer = PlayoutBuffer(RATE)
    for _ in range(2000):
        buffer.write(bytes(size))
    assert len(buffer._chunks) <= 2000 * size // 640 + 1
