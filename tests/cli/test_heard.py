"""What the caller hears, put on one line: no message breaks it, holes become silence and are counted."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.fake_node import frame

from offhook.cli.heard import Heard

RATE = 16000
SIZE = RATE // 50 * 2


def pcm(value: int) -> bytes:
    return np.full(RATE // 50, value, "<i2").tobytes()


def test_frames_stand_where_their_index_says() -> None:
    heard = Heard(RATE)
    for index in (0, 1, 4):
        heard.add(frame(index, pcm(index + 1), of_app=index > 0))
    line = heard.samples().reshape(-1, RATE // 50)[:, 0]
    assert line.tolist() == [1, 2, 0, 0, 5]
    assert (heard.missing, heard.frames_of_app, heard.first_audio_ms, heard.gaps) == (2, 2, 20, 1)


def test_a_short_end_is_padded_to_the_length_of_the_call() -> None:
    heard = Heard(RATE)
    heard.add(frame(0, pcm(7)))
    assert len(heard.samples(60)) == 3 * RATE // 50
    assert len(heard.samples(20)) == RATE // 50


def test_a_window_is_there_only_when_all_of_it_is() -> None:
    heard = Heard(RATE)
    heard.add(frame(0, pcm(7)))
    assert heard.window(10, 5) == np.full(5, 7, "<i2").tobytes()
    assert heard.window(RATE // 50 - 1, 2) is None


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=SIZE + 6),
            st.builds(frame, st.integers(0, 2**32 - 1), st.just(pcm(3)), st.booleans()),
            st.builds(frame, st.integers(0, 12), st.just(pcm(3)), st.booleans()),
        ),
        max_size=20,
    )
)
def test_any_messages_keep_the_line_whole(messages: list[bytes]) -> None:
    heard = Heard(RATE)
    taken = [heard.add(message) for message in messages]
    good = [each for each in taken if each is not None]
    assert len(heard) == len(good) + heard.missing
    assert heard.broken == len(messages) - len(good)
    assert [each.index for each in good] == sorted({each.index for each in good})
    line = heard.samples()
    for each in good:
        start = each.index * RATE // 50
        assert (line[start : start + RATE // 50] == each.samples).all()
