"""Sound cut anywhere, at another rate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.audio.pcm import from_bytes, to_bytes
from offhook.audio.resample import StreamResampler
from offhook.errors import AudioError
from offhook.kit.converter import RateConverter

SOUND = (9000 * np.sin(2 * np.pi * 300 * np.arange(4800) / 24000)).astype("<i2").tobytes()


@given(st.lists(st.integers(0, 3000), max_size=8))
def test_pieces_cut_anywhere_make_the_same_sound(cuts: list[int]) -> None:
    """What comes out does not depend on the cuts, and nothing is lost."""
    converter, out, at = RateConverter(24000, 16000), b"", 0
    for size in [*cuts, len(SOUND)]:
        out += converter.process(SOUND[at : at + size])
        at += size
    frames = StreamResampler(24000, 16000)
    whole = b"".join(to_bytes(frames.process(from_bytes(SOUND[i : i + 960]))) for i in range(0, len(SOUND), 960))
    assert out == whole
    assert converter.held_ms == 0


def test_the_end_is_filled_up_and_the_next_sound_starts_after_silence() -> None:
    """Less than a frame waits, and comes with `flush`."""
    converter = RateConverter(8000, 16000)
    assert converter.process(b"\1\1" * 100) == b""
    assert converter.held_ms == pytest.approx(12.5)
    assert len(converter.flush()) == 640
    assert converter.flush() == b""
    first = converter.process(b"\1\1" * 160)
    assert first == RateConverter(8000, 16000).process(b"\1\1" * 160)


def test_equal_rates_hold_nothing_back() -> None:
    """Each piece comes back as it is."""
    assert RateConverter(16000, 16000).process(b"\1\2\3\4") == b"\1\2\3\4"


def test_a_rate_off_the_grid_is_named() -> None:
    """22050 Hz has no whole frames of 20 ms."""
    with pytest.raises(AudioError, match="22050"):
        RateConverter(22050, 16000)
