"""Frames, mixing, levels and the comparison of recordings."""

from __future__ import annotations

from array import array

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offhook.audio import pcm
from offhook.errors import AudioError

LIMITS = st.integers(-32768, 32767)


def frame(*values: int) -> pcm.Frame:
    return np.array(values, np.int16)


def noise(size: int, seed: int, peak: int = 8000) -> pcm.Frame:
    return np.random.default_rng(seed).integers(-peak, peak, size).astype(np.int16)


@st.composite
def parties(draw: st.DrawFn) -> list[pcm.Frame]:
    size = draw(st.integers(1, 8))
    rows = draw(st.lists(st.lists(LIMITS, min_size=size, max_size=size), min_size=1, max_size=6))
    return [frame(*row) for row in rows]


def held(wide: npt.NDArray[np.int64]) -> list[int]:
    return [min(max(int(value), -32768), 32767) for value in wide]


@pytest.mark.parametrize(("rate", "size"), [(8000, 160), (16000, 320), (24000, 480), (48000, 960)])
def test_a_frame_is_twenty_milliseconds(rate: int, size: int) -> None:
    assert pcm.samples_per_frame(rate) == size
    assert size * 1000 == rate * pcm.PTIME_MS
    assert pcm.FRAMES_PER_SECOND * pcm.PTIME_MS == 1000


@pytest.mark.parametrize("rate", [0, -8000, 44100, 11025, 16001])
def test_another_rate_is_refused_by_name(rate: int) -> None:
    with pytest.raises(AudioError, match=f"{rate} Hz is not supported; use one of 8000, 16000, 24000, 48000"):
        pcm.samples_per_frame(rate)


def test_silence_is_shared_and_read_only() -> None:
    quiet = pcm.silence(16000)
    assert quiet is pcm.silence(16000)
    assert len(quiet) == 320
    assert not quiet.any()
    with pytest.raises(ValueError, match="read-only"):
        quiet[0] = 1
    with pytest.raises(AudioError):
        pcm.silence(44100)


def test_bytes_are_little_endian_both_ways() -> None:
    samples = pcm.from_bytes(b"\x01\x00\xff\x7f\x00\x80")
    assert samples.tolist() == [1, 32767, -32768]
    assert pcm.to_bytes(samples) == b"\x01\x00\xff\x7f\x00\x80"
    assert pcm.to_bytes(samples[::2]) == b"\x01\x00\x00\x80"


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_every_kind_are_read(kind: type) -> None:
    assert pcm.from_bytes(kind(b"\x02\x00")).tolist() == [2]
    assert len(pcm.from_bytes(kind(b""))) == 0
    with pytest.raises(AudioError, match="3 bytes are no 16-bit samples"):
        pcm.from_bytes(kind(b"abc"))


def test_an_odd_view_of_wider_items_is_counted_in_bytes() -> None:
    view = memoryview(array("h", [1, 2]))
    assert pcm.from_bytes(view).tolist() == [1, 2]


@settings(deadline=None)
@given(parties())
def test_mix_is_the_saturating_sum(frames: list[pcm.Frame]) -> None:
    wide = np.sum([f.astype(np.int64) for f in frames], axis=0)
    assert pcm.mix(frames).tolist() == held(wide)
    assert pcm.mix(frames).dtype == np.int16


@settings(deadline=None)
@given(parties())
def test_a_total_is_the_plain_sum(frames: list[pcm.Frame]) -> None:
    before = [f.copy() for f in frames]
    assert pcm.total(frames).tolist() == np.sum([f.astype(np.int64) for f in frames], axis=0).tolist()
    assert all((f == b).all() for f, b in zip(frames, before, strict=True))


def test_nothing_to_mix_and_unequal_lengths_are_errors() -> None:
    with pytest.raises(AudioError, match="no frame"):
        pcm.mix([])
    with pytest.raises(AudioError, match="320 and 160 samples cannot be mixed"):
        pcm.total([pcm.silence(16000), pcm.silence(8000)])


def test_gain_scales_rounds_and_saturates() -> None:
    assert pcm.gain(frame(1000, -1000, 3), 20).tolist() == [10000, -10000, 30]
    assert pcm.gain(frame(1000, -999), -6.0205999).tolist() == [500, -500]
    assert pcm.gain(frame(20000, -20000), 6).tolist() == [32767, -32768]
    assert pcm.gain(frame(1, 2), 0).tolist() == [1, 2]


def test_level_is_rms_below_full_scale() -> None:
    at = np.arange(16000) * (2 * np.pi * 440 / 16000)
    sine = np.rint(32767 * np.sin(at)).astype(np.int16)
    assert pcm.level_dbfs(sine) == pytest.approx(-3.01, abs=0.01)
    assert pcm.level_dbfs(np.full(320, -32768, np.int16)) == 0.0
    assert pcm.level_dbfs(pcm.gain(sine, -20)) == pytest.approx(-23.01, abs=0.01)
    assert pcm.level_dbfs(pcm.silence(8000)) == -120.0
    assert pcm.level_dbfs(frame()) == -120.0


def test_fades_are_straight_and_leave_the_rest_alone() -> None:
    flat = np.full(10, 1000, np.int16)
    assert pcm.fade_out(flat, 4).tolist() == [1000] * 6 + [750, 500, 250, 0]
    assert pcm.fade_in(flat, 4).tolist() == [0, 250, 500, 750] + [1000] * 6
    assert flat.tolist() == [1000] * 10


@pytest.mark.parametrize("length", [-1, 0, 1, 3, 99])
def test_fades_take_any_length(length: int) -> None:
    short = np.full(3, 900, np.int16)
    for faded in (pcm.fade_out(short, length), pcm.fade_in(short, length)[::-1]):
        assert len(faded) == 3
        assert faded[-1] == (0 if length > 0 else 900)


@pytest.mark.parametrize("delay", [0, 1, 320, 4001])
def test_find_delay_is_exact_to_the_sample(delay: int) -> None:
    said = noise(16000, 1)
    heard = np.concatenate((np.zeros(delay, np.int16), said // 2, noise(3000, 2, 50)))
    assert pcm.find_delay(said, heard, 8000) == delay


def test_find_delay_is_not_drawn_to_a_louder_passage() -> None:
    hum = np.sin(np.arange(8000) * (2 * np.pi * 400 / 16000))
    said = noise(4000, 3, 3000) + np.rint(2000 * hum[:4000]).astype(np.int16)
    heard = np.concatenate((np.zeros(500, np.int16), said, np.rint(32000 * hum).astype(np.int16)))
    assert pcm.find_delay(said, heard, 9000) == 500


def test_find_delay_works_when_the_recording_ends_early() -> None:
    said = noise(16000, 5)
    assert pcm.find_delay(said, np.concatenate((np.zeros(700, np.int16), said))[:9000], 16000) == 700


def test_find_delay_keeps_to_its_limit_and_to_zero_for_silence() -> None:
    said = noise(2000, 6)
    late = np.concatenate((np.zeros(900, np.int16), said))
    assert 0 <= pcm.find_delay(said, late, 500) <= 500
    assert pcm.find_delay(said, pcm.silence(16000), 500) == 0
    assert pcm.find_delay(pcm.silence(16000), said, 500) == 0
    assert pcm.find_delay(said, frame(), 500) == 0


@settings(deadline=None)
@given(st.lists(LIMITS, max_size=40), st.lists(LIMITS, max_size=40), st.integers(-3, 60))
def test_comparing_takes_any_two_recordings(a: list[int], b: list[int], lag: int) -> None:
    said, heard = frame(*a), frame(*b)
    delay = pcm.find_delay(said, heard, lag)
    assert 0 <= delay <= max(0, lag)
    assert -1.000001 <= pcm.correlation(said, heard) <= 1.000001
    assert 0 <= pcm.longest_gap(said, heard, delay, 8000) <= len(said)


def test_correlation_knows_same_opposite_and_unrelated() -> None:
    said = noise(16000, 7)
    assert pcm.correlation(said, said // 4) == pytest.approx(1.0, abs=1e-4)
    assert pcm.correlation(said, -said) == pytest.approx(-1.0)
    assert abs(pcm.correlation(said, noise(16000, 8))) < 0.05
    assert pcm.correlation(said, said[:100]) == pytest.approx(1.0)
    assert pcm.correlation(said, pcm.silence(16000)) == 0.0
    assert pcm.correlation(frame(), said) == 0.0


def spoken(rate: int = 16000) -> pcm.Frame:
    """A second of sound with a pause from 0.4 s to 0.6 s."""
    said = noise(rate, 9)
    said[rate * 4 // 10 : rate * 6 // 10] = 0
    return said


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_a_lost_frame_is_a_gap_of_its_length(frames: int) -> None:
    said = spoken()
    heard = np.concatenate((np.zeros(480, np.int16), said))
    heard[480 + 1600 : 480 + 1600 + 320 * frames] = 0
    assert pcm.longest_gap(said, heard, 480, 16000) == pytest.approx(320 * frames, abs=2)


def test_a_pause_in_speech_and_lone_zeros_are_no_gap() -> None:
    said = spoken()
    assert pcm.longest_gap(said, said, 0, 16000) == 0
    crossing = said.copy()
    crossing[::7] = 0
    assert pcm.longest_gap(said, crossing, 0, 16000) == 0


def test_a_recording_that_ends_early_lacks_the_rest() -> None:
    said = noise(16000, 10)
    assert pcm.longest_gap(said, said[:12000], 0, 16000) == pytest.approx(4000, abs=1)
    assert pcm.longest_gap(said, frame(), 0, 16000) == 16000


def test_sound_below_fifty_decibels_counts_as_a_pause() -> None:
    faint = noise(16000, 11, peak=60)
    assert pcm.longest_gap(faint, np.zeros(16000, np.int16), 0, 16000) == 0
