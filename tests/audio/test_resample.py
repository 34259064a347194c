"""The live resampler's quality, delay and seams, and the offline one. Method: docs/audio.md."""

from __future__ import annotations

import tracemalloc
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from bench.resample import PAIRS, decibels, fit, live, quality, sounding
from hypothesis import given, settings
from hypothesis import strategies as st

from offhook.audio import resample as module
from offhook.audio.pcm import RATES, Frame, samples_per_frame
from offhook.audio.resample import BlockResampler, StreamResampler, delay_seconds, history, matrix, resample
from offhook.errors import AudioError

FILE_PAIRS = [
    (44100, 16000),
    (44100, 24000),
    (11025, 16000),
    (11025, 24000),
    (22050, 16000),
    (32000, 24000),
    (96000, 16000),
    (192000, 24000),
    (44101, 16000),
    (22255, 24000),
    (8000, 44100),
    (16000, 11025),
    (44101, 16000),
    *PAIRS,
]


def noise(size: int, peak: int = 9000) -> Frame:
    return np.random.default_rng(5).integers(-peak, peak, size).astype(np.int16)


def offline(samples: Frame, from_rate: int, to_rate: int) -> Frame:
    return resample(samples, from_rate, to_rate)


@pytest.mark.parametrize("pair", PAIRS)
def test_every_pair_keeps_its_promises(pair: tuple[int, int]) -> None:
    found = quality(*pair)
    assert found.snr_db >= 85
    assert found.images_db is None or found.images_db <= -88
    assert found.aliases_db is None or found.aliases_db <= -88
    assert (found.images_db is None) == (pair[0] > pair[1])
    assert (found.aliases_db is None) == (pair[0] < pair[1])
    assert found.droop_db <= 0.25
    assert found.ripple_db <= 0.3
    assert found.delay_ms <= 1.8


@pytest.mark.parametrize("pair", PAIRS)
def test_the_delay_is_the_same_for_all_tones_and_as_stated(pair: tuple[int, int]) -> None:
    stated = delay_seconds(*pair)
    assert stated <= 0.002
    for share in (0.05, 0.3, 0.6, 0.85):
        hz = round(share * min(pair) / 2)
        out = fit(live(sounding(hz, pair[0]), *pair), hz, pair[1])
        shift = (-out.phase - 2 * np.pi * hz * stated + np.pi) % (2 * np.pi) - np.pi
        assert abs(shift / (2 * np.pi * hz)) < 2e-6


@pytest.mark.parametrize("pair", PAIRS)
def test_an_impulse_comes_out_at_once_and_whole(pair: tuple[int, int]) -> None:
    """Nothing is held back in lumps: one frame in, the same 20 ms out, the peak after the stated delay."""
    samples = np.zeros(pair[0] // 10, np.int16)
    at = samples_per_frame(pair[0])
    samples[at] = 30000
    out = live(samples, *pair)
    assert len(out) == pair[1] // 10
    peak = int(np.argmax(np.abs(out.astype(int)))) / pair[1] - at / pair[0]
    assert peak == pytest.approx(delay_seconds(*pair), abs=1 / pair[1])
    assert not out[: samples_per_frame(pair[1])].any()


def prototype(pair: tuple[int, int]) -> tuple[npt.NDArray[np.float64], int, int]:
    """The filter at the common rate, read back from the matrix, with the steps up and down."""
    common = int(np.gcd(*pair))
    up, down = pair[1] // common, pair[0] // common
    weights, past = matrix(*pair), history(*pair)
    taps = np.zeros(past * up + 1)
    for (i, m), weight in np.ndenumerate(weights):
        place = m * down - (i - past) * up
        if 0 <= place < len(taps):
            taps[place] = weight
    return taps, up, down


@pytest.mark.parametrize("pair", PAIRS)
def test_frame_by_frame_is_the_same_as_the_whole_at_once(pair: tuple[int, int]) -> None:
    samples = noise(pair[0] // 2)
    taps, up, down = prototype(pair)
    stuffed = np.zeros(len(samples) * up)
    stuffed[::up] = samples
    whole = np.convolve(stuffed, taps)[::down][: pair[1] // 2]
    assert np.abs(live(samples, *pair) - whole).max() < 0.51


@pytest.mark.parametrize("pair", PAIRS)
def test_rows_of_a_block_are_what_each_call_alone_would_get(pair: tuple[int, int]) -> None:
    size, frames = samples_per_frame(pair[0]), 4
    calls = [np.roll(noise(size * frames, 32000), shift) for shift in (0, 77, 400)]
    alone = [live(samples, *pair) for samples in calls]
    block, got = BlockResampler(3, *pair), []
    for number in range(frames):
        for row, samples in enumerate(calls):
            block.inputs[row] = samples[number * size : (number + 1) * size]
        block.run()
        got.append(block.outputs.copy())
    together = np.concatenate(got, axis=1)
    # The product may sum in another order, by processor and number of rows; each is within a hundredth of a step, so
    # that of a hundred results one, which lies at the half of a step, may fall to the other side.
    assert np.abs(together.astype(int) - np.array(alone)).max() <= 1
    assert np.mean(together == np.array(alone)) > 0.99


def test_a_row_that_forgets_starts_after_silence() -> None:
    block = BlockResampler(2, 8000, 16000)
    for _ in range(2):
        block.inputs[:] = noise(160, 32000)
        block.run()
    block.forget(0)
    block.inputs[:] = noise(160)
    block.run()
    assert np.abs(block.outputs[0].astype(int) - StreamResampler(8000, 16000).process(noise(160))).max() <= 1
    assert np.abs(block.outputs[1].astype(int) - block.outputs[0]).max() > 1


def test_full_scale_saturates_and_never_wraps() -> None:
    square = np.where(np.arange(8000) // 40 % 2, 32767, -32768).astype(np.int16)
    for to_rate in (16000, 48000):
        out = live(square, 8000, to_rate).astype(int)
        assert out.max() == 32767
        assert out.min() == -32768
        # Away from the edges, where the filter rings, no sample has the other sign.
        level = np.repeat(square, to_rate // 8000)
        late = round(delay_seconds(8000, to_rate) * to_rate)
        middle = np.tile(np.arange(40 * to_rate // 8000) % (40 * to_rate // 8000), 200)[: len(level) - late]
        inside = (middle > 8 * to_rate // 8000) & (middle < 32 * to_rate // 8000)
        assert (np.sign(out[late:]) == np.sign(level[: len(level) - late]))[inside].all()


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("value", [1, 20000, -32768, 32767])
def test_a_constant_stays_exactly_what_it_is(pair: tuple[int, int], value: int) -> None:
    out = live(np.full(pair[0] // 5, value, np.int16), *pair)
    assert (out[len(out) // 4 :] == value).all()


@pytest.mark.parametrize("rate", RATES)
def test_equal_rates_change_nothing(rate: int) -> None:
    frame = noise(samples_per_frame(rate))
    assert (StreamResampler(rate, rate).process(frame) == frame).all()
    assert history(rate, rate) == 0
    assert delay_seconds(rate, rate) == 0
    block = BlockResampler(2, rate, rate)
    block.inputs[:] = np.array((frame, -frame))
    block.run()
    assert (block.outputs == np.array((frame, -frame))).all()


def test_frames_of_another_length_and_other_rates_are_refused() -> None:
    resampler = StreamResampler(16000, 8000)
    with pytest.raises(AudioError, match="160 samples are no 20 ms at 16000 Hz; give 320"):
        resampler.process(np.zeros(160, np.int16))
    for pair in ((44100, 16000), (16000, 44100), (0, 0)):
        for make in (StreamResampler, matrix, history):
            with pytest.raises(AudioError, match="is not supported"):
                make(*pair)


def test_two_streams_do_not_share_their_past_and_reset_forgets_it() -> None:
    one, two = StreamResampler(16000, 8000), StreamResampler(16000, 8000)
    quiet = np.zeros(320, np.int16)
    one.process(noise(320))
    assert not two.process(quiet).any()
    one.reset()
    assert not one.process(quiet).any()
    first = one.process(noise(320))
    kept = first.copy()
    one.process(quiet)
    assert (first == kept).all()


def test_weights_cannot_be_changed_by_one_user_for_all() -> None:
    with pytest.raises(ValueError, match="read-only"):
        matrix(8000, 16000)[0, 0] = 1


@pytest.mark.parametrize("pair", FILE_PAIRS)
def test_a_recording_keeps_its_sound_and_place(pair: tuple[int, int]) -> None:
    for share in (0.1, 0.5, 0.85):
        hz = share * min(pair) / 2
        found = fit(resample(sounding(hz, pair[0]), *pair), hz, pair[1])
        assert decibels(found.amplitude / np.sqrt(2) / found.rest) >= 85
        assert abs(decibels(found.amplitude / 20000)) < 0.01
        assert abs(found.phase) < 1e-4


@pytest.mark.parametrize("pair", [pair for pair in FILE_PAIRS if pair[0] > 1.25 * pair[1]])
def test_a_recording_does_not_fold(pair: tuple[int, int]) -> None:
    for share in (1.02, 1.2, 0.98 * pair[0] / pair[1]):
        out = resample(sounding(share * pair[1] / 2, pair[0]), *pair).astype(np.float64)
        assert decibels(float(np.sqrt(np.mean(out[len(out) // 4 : -len(out) // 4] ** 2))) / 14142) <= -80


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 400), st.integers(1000, 768000), st.integers(1000, 768000))
def test_any_ratio_gives_the_exact_length(size: int, from_rate: int, to_rate: int) -> None:
    size = min(size, 40_000 * from_rate // to_rate + 1)
    out = resample(np.full(size, 1000, np.int16), from_rate, to_rate)
    assert abs(len(out) - size * to_rate / from_rate) <= 0.5
    assert out.dtype == np.int16


@pytest.mark.parametrize("rate", [0, -16000, 999, 768_001, 2**32 - 1])
def test_absurd_rates_are_refused(rate: int) -> None:
    for pair in ((rate, 16000), (16000, rate)):
        with pytest.raises(AudioError, match="no usable sample rate"):
            resample(noise(10), *pair)


@pytest.mark.parametrize("pair", [(44100, 16000), (16000, 24000), (16000, 44101), (11025, 8000)])
def test_pieces_of_a_recording_meet_without_a_seam(pair: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    samples = noise(6000)
    whole = resample(samples, *pair)
    monkeypatch.setattr(module, "_CHUNK", 4096)
    pieces = resample(samples, *pair)
    monkeypatch.setattr(module, "_MATRIX_LIMIT", 0)
    kernel = resample(samples, *pair)
    assert np.abs(whole.astype(int) - pieces).max() <= 1
    assert np.abs(whole.astype(int) - kernel).max() <= 1


def test_the_weights_of_an_odd_ratio_are_worked_out_once_however_long_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each sample anew they would take longer than the sound lasts, and other prompts of a node wait behind it."""
    worked_out: list[int] = []
    weigh = module._offline_weights

    def counted(distance: Any, rates: tuple[int, int]) -> Any:
        worked_out.append(distance.size)
        return weigh(distance, rates)

    monkeypatch.setattr(module, "_offline_weights", counted)
    costs = []
    for seconds in (1, 4):
        worked_out.clear()
        resample(noise(seconds * 44101), 44101, 16000)
        costs.append(sum(worked_out))
    assert costs[0] == costs[1]


def test_same_rate_gives_a_copy() -> None:
    samples = noise(100)
    out = resample(samples, 16000, 16000)
    assert (out == samples).all()
    assert out is not samples


def test_a_long_recording_takes_little_more_room_than_its_result() -> None:
    samples = noise(44100 * 60)
    resample(samples[:44100], 44100, 16000)
    tracemalloc.start()
    try:
        out = resample(samples, 44100, 16000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(out) == 16000 * 60
    assert peak < out.nbytes + 8_000_000


def test_going_up_and_back_loses_next_to_nothing() -> None:
    for low, high in permutations((8000, 16000, 24000), 2):
        if low < high:
            tone = sounding(1000, low)
            back = fit(offline(offline(tone, low, high), high, low), 1000, low)
            assert decibels(back.amplitude / np.sqrt(2) / back.rest) > 80
