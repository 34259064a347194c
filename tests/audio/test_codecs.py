"""Telephone codecs, against the standard library's old implementation where it is still there."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.audio.codecs import codec
from offhook.audio.tones import sine
from offhook.errors import AudioError

EVERY = np.arange(65536, dtype=np.uint16).view(np.int16)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="audioop is gone; 3.11 and 3.12 compare")
@pytest.mark.parametrize("name", ["PCMU", "PCMA"])
def test_every_sample_and_every_code_as_in_audioop(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import audioop
    encode, decode = (audioop.lin2ulaw, audioop.ulaw2lin) if name == "PCMU" else (audioop.lin2alaw, audioop.alaw2lin)
    law = codec(name, 8000)
    codes = bytes(range(256))
    assert law.decode(codes).tobytes() == decode(codes, 2)
    ours, theirs = law.encode(EVERY), encode(EVERY.tobytes(), 2)
    # The two may differ where a sample lies just between two codes; never by more than one step.
    same = np.frombuffer(ours, np.uint8) == np.frombuffer(theirs, np.uint8)
    assert same.mean() > 0.95
    away = np.abs(law.decode(ours).astype(int) - EVERY)
    assert np.all(away <= np.abs(law.decode(theirs).astype(int) - EVERY) + 16)


@pytest.mark.parametrize("name", ["PCMU", "PCMA"])
def test_a_code_survives_decoding_and_encoding(name: str) -> None:
    law = codec(name, 8000)
    samples = law.decode(bytes(range(256)))
    assert np.array_equal(law.decode(law.encode(samples)), samples)
    assert np.array_equal(np.abs(law.decode(law.encode(EVERY)).astype(int) - EVERY) <= 1100, np.ones(65536, bool))


@pytest.mark.parametrize("name", ["PCMU", "PCMA"])
def test_a_tone_keeps_its_shape(name: str) -> None:
    law, tone = codec(name, 8000), sine(1000, 8000, 0.5)
    noise = law.decode(law.encode(tone)).astype(float) - tone
    assert 10 * np.log10((tone.astype(float) ** 2).mean() / (noise**2).mean()) > 36


@given(st.lists(st.integers(-32768, 32767), max_size=200), st.sampled_from([8000, 16000, 48000]))
def test_linear_is_exact(samples: list[int], rate: int) -> None:
    linear, frame = codec("L16", rate), np.array(samples, np.int16)
    assert np.array_equal(linear.decode(linear.encode(frame)), frame)


def test_half_a_sample_and_an_unknown_codec() -> None:
    with pytest.raises(AudioError, match="3 bytes"):
        codec("L16", 16000).decode(b"abc")
    for name, clock in (("G729", 8000), ("PCMU", 16000), ("L16", 44100)):
        with pytest.raises(AudioError, match=name):
            codec(name, clock)
