"""Changing the sample rate: on the 20 ms grid of the tick (one frame in, one out), and whole recordings offline.

The filter is linear-phase FIR; every output sample is a weighted sum of near inputs, so a frame, or the frames
of many calls, is one matrix product. Method and figures: docs/audio.md.
"""

from __future__ import annotations

from functools import cache, lru_cache
from math import ceil, gcd

import numpy as np
import numpy.typing as npt

from offhook.audio.pcm import Frame, samples_per_frame
from offhook.errors import AudioError

Matrix = npt.NDArray[np.float32]

LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000

# The live filter reaches 14 periods of the narrower rate to each side: 1.75 ms of delay at 8 kHz, less above.
# Pass band and stop band are fractions of the narrower half rate; between them the filter is free.
_HALF_PERIODS = 14
_PASS_EDGE, _STOP_EDGE = 0.85, 1.15
_STOP_WEIGHT = 1e6

# A frame is worked through in pieces of 2 ms, the shortest at which all rates have whole patterns of weights.
_PIECES = 10
_LOWEST, _HIGHEST = np.float32(-32768), np.float32(32767)

# Recordings can wait: a filter nine times as sharp, flat to 0.9 of the narrower half rate and closed from 1.0 on.
_OFFLINE_PERIODS = 64
_OFFLINE_CUT = 0.95
_OFFLINE_BETA = 10.0
_MATRIX_LIMIT = 1 << 20
_TABLE_ROWS = 1024  # of weights in a period of the narrower rate
_CHUNK = 1 << 18


def delay_seconds(from_rate: int, to_rate: int) -> float:
    """What `StreamResampler` adds to the delay of the sound, the same at every frequency."""
    return 0.0 if from_rate == to_rate else _HALF_PERIODS / min(from_rate, to_rate)


@cache
def history(from_rate: int, to_rate: int) -> int:
    """How many input samples before the frame its first output sample can depend on. AudioError as for `matrix`."""
    samples_per_frame(from_rate)
    samples_per_frame(to_rate)
    return 0 if from_rate == to_rate else ceil(2 * _HALF_PERIODS * from_rate / min(from_rate, to_rate))


@cache
def matrix(from_rate: int, to_rate: int) -> Matrix:
    """The read-only weights of one piece of 2 ms, shape (history + piece in, piece out): `(tail + piece) @ matrix`.

    All pieces of a frame weigh alike, and the small matrix has few of the zeros that one for the frame would have.
    float32: its rounding stays under a hundredth of a 16-bit step. AudioError for a rate that is not in `RATES`.
    """
    past = history(from_rate, to_rate)
    size_in, size_out = samples_per_frame(from_rate) // _PIECES, samples_per_frame(to_rate) // _PIECES
    if from_rate == to_rate:
        weights = np.eye(size_in, dtype=np.float32)
    else:
        up, down = _ratio(from_rate, to_rate)
        taps = _live_filter(up * from_rate // min(from_rate, to_rate), up)
        # In steps of the common rate, input i is at (i - past) * up, output m hears taps[0] at m * down.
        at = np.arange(size_out) * down - (np.arange(past + size_in)[:, None] - past) * up
        inside = (at >= 0) & (at < len(taps))
        weights = np.where(inside, taps[np.clip(at, 0, len(taps) - 1)], 0).astype(np.float32)
    weights.flags.writeable = False
    return weights


class BlockResampler:
    """Many calls at once, a row each: put frames into `inputs`, `run`, and read `outputs`. Rows start after silence.

    What is between is allocated once for all blocks alike, which run one after another.
    """

    __slots__ = (
        "_all", "_gathered", "_heads", "_past", "_pieces", "_product", "_tails", "_weights", "inputs", "outputs"
    )  # fmt: skip

    def __init__(self, rows: int, from_rate: int, to_rate: int) -> None:
        self._weights = matrix(from_rate, to_rate)
        self._past = past = history(from_rate, to_rate)
        self._all: npt.NDArray[np.float32] = np.zeros((rows, past + samples_per_frame(from_rate)), np.float32)
        self._heads, self._tails = self._all[:, :past], self._all[:, self._all.shape[1] - past :]
        self.inputs = self._all[:, past:]
        """(rows, samples in), float32."""
        self.outputs: npt.NDArray[np.int16] = np.zeros((rows, samples_per_frame(to_rate)), np.int16)
        """(rows, samples out), rounded and held within 16 bits."""
        self._pieces = _pieces(self._all, self._weights)
        self._gathered, self._product = _scratch(rows, from_rate, to_rate)

    def run(self) -> None:
        """Convert every row's frame and keep its tail for the next."""
        np.copyto(self._gathered.reshape(self._pieces.shape), self._pieces)
        np.matmul(self._gathered, self._weights, out=self._product)
        self.outputs[...] = _limited(self._product).reshape(self.outputs.shape)
        if self._past:
            self._heads[...] = self._tails

    def forget(self, row: int) -> None:
        """A row starts after silence again."""
        self._all[row] = 0


@cache
def _scratch(rows: int, from_rate: int, to_rate: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The pieces of a block side by side, and what the weights make of them."""
    inputs, outputs = matrix(from_rate, to_rate).shape
    return np.empty((rows * _PIECES, inputs), np.float32), np.empty((rows * _PIECES, outputs), np.float32)


class StreamResampler:
    """One frame in, one frame out; remembers the end of what it was given. Starts after silence.

    The sound comes out `delay_seconds(from_rate, to_rate)` late; equal rates give each frame back as it is.
    """

    __slots__ = ("_gathered", "_input", "_past", "_pieces", "_product", "_size", "_weights", "from_rate", "to_rate")

    def __init__(self, from_rate: int, to_rate: int) -> None:
        self.from_rate, self.to_rate = from_rate, to_rate
        self._weights = matrix(from_rate, to_rate)
        self._past = history(from_rate, to_rate)
        self._size = samples_per_frame(from_rate)
        self._input = np.zeros(self._past + self._size, np.float32)
        self._pieces = _pieces(self._input[None, :], self._weights)[0]
        self._gathered = np.empty(self._pieces.shape, np.float32)
        self._product = np.empty((_PIECES, self._weights.shape[1]), np.float32)

    def process(self, frame: Frame) -> Frame:
        """The next 20 ms at the new rate. AudioError for a frame of another length than 20 ms."""
        if len(frame) != self._size:
            raise AudioError(f"{len(frame)} samples are no 20 ms at {self.from_rate} Hz; give {self._size}")
        past = self._past
        if not past:
            return frame
        self._input[:past] = self._input[-past:]
        self._input[past:] = frame
        self._gathered[...] = self._pieces
        np.matmul(self._gathered, self._weights, out=self._product)
        return _limited(self._product).astype(np.int16).reshape(-1)

    def reset(self) -> None:
        """Forget everything heard so far, as if new."""
        self._input[:] = 0


def resample(samples: Frame, from_rate: int, to_rate: int) -> Frame:
    """A whole recording at another rate, any ratio: no net delay, round(len * to / from) samples, saturating.

    Works through the recording in pieces of bounded size. AudioError for rates outside 1 to 768 kHz.
    """
    for rate in (from_rate, to_rate):
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise AudioError(f"{rate} Hz is no usable sample rate; it must be {LOWEST_RATE} to {HIGHEST_RATE}")
    if from_rate == to_rate:
        return samples.copy()
    up, down = _ratio(from_rate, to_rate)
    out = np.empty((2 * len(samples) * up + down) // (2 * down), np.int16)
    reach = ceil(_OFFLINE_PERIODS * from_rate / min(from_rate, to_rate))
    # Every `up` outputs the pattern of weights repeats, `down` inputs later; small patterns are laid side by side.
    repeat = max(1, 64 // up)
    if (repeat * down + 2 * reach + 1) * repeat * up <= _MATRIX_LIMIT:
        _by_matrix(samples, out, (repeat * up, repeat * down), reach, (from_rate, to_rate))
    else:
        _by_kernel(samples, out, reach, (from_rate, to_rate))
    return out


def _ratio(from_rate: int, to_rate: int) -> tuple[int, int]:
    """up and down in lowest terms: `up` outputs span as long as `down` inputs."""
    common = gcd(from_rate, to_rate)
    return to_rate // common, from_rate // common


def _live_filter(steps: int, up: int) -> npt.NDArray[np.float64]:
    """The live low pass at the common rate, which has `steps` steps in a period of the narrower rate.

    Weighted least squares in closed form: it minimises the error power against 1 in the pass band plus a million
    times the power in the stop band. Each of the `up` phases then sums to exactly 1, so a constant stays constant.
    """
    half = _HALF_PERIODS * steps
    n = np.arange(half + 1)
    pass_edge, stop_edge = 0.5 * _PASS_EDGE / steps, 0.5 * _STOP_EDGE / steps
    apart, together = n[:, None] - n, n[:, None] + n

    def power(edge: float) -> npt.NDArray[np.float64]:
        """Integral of 2 cos(2 pi f n) cos(2 pi f m) over f from 0 to `edge`, for all pairs of n and m."""
        product: npt.NDArray[np.float64] = edge * (np.sinc(2 * edge * apart) + np.sinc(2 * edge * together))
        return product

    cost = power(pass_edge) + _STOP_WEIGHT * (power(0.5) - power(stop_edge))
    cosines = np.linalg.solve(cost, 2 * pass_edge * np.sinc(2 * pass_edge * n))
    taps = np.concatenate((cosines[:0:-1] / 2, cosines[:1], cosines[1:] / 2))
    for phase in range(up):
        taps[phase::up] /= taps[phase::up].sum()
    return taps


def _offline_weights(distance: npt.NDArray[np.float64], rates: tuple[int, int]) -> npt.NDArray[np.float32]:
    """The weight of an input sample at `distance` input periods from the output: a Kaiser-windowed sinc."""
    scale = min(1.0, rates[1] / rates[0])
    place = distance * (scale / _OFFLINE_PERIODS)
    window = np.i0(_OFFLINE_BETA * np.sqrt(np.maximum(0.0, 1 - place**2))) / np.i0(_OFFLINE_BETA)
    weights = np.where(np.abs(place) <= 1, np.sinc(distance * scale * _OFFLINE_CUT) * window, 0.0)
    return (weights * (scale * _OFFLINE_CUT)).astype(np.float32)


@lru_cache(maxsize=4)
def _offline_matrix(block: tuple[int, int], reach: int, rates: tuple[int, int]) -> Matrix:
    size_out, size_in = block
    inputs = np.arange(size_in + 2 * reach + 1) - reach
    weights = _offline_weights(inputs[:, None] - np.arange(size_out) * (rates[0] / rates[1]), rates)
    weights /= weights.sum(axis=0)
    return weights


def _by_matrix(samples: Frame, out: Frame, block: tuple[int, int], reach: int, rates: tuple[int, int]) -> None:
    """Blocks of the recording, as rows, times the weights of one block."""
    weights = _offline_matrix(block, reach, rates)
    size_out, size_in = block
    span = len(weights)
    rows = max(1, _CHUNK // span)
    for first in range(0, -(-len(out) // size_out), rows):
        count = min(rows, -(-len(out) // size_out) - first)
        piece = _stretch(samples, first * size_in - reach, (count - 1) * size_in + span)
        views = np.lib.stride_tricks.sliding_window_view(piece, span)[::size_in]
        product = np.ascontiguousarray(views) @ weights
        target = out[first * size_out : (first + count) * size_out]
        target[:] = _limited(product.reshape(-1)[: len(target)])


def _by_kernel(samples: Frame, out: Frame, reach: int, rates: tuple[int, int]) -> None:
    """Each output between two rows of a table: for ratios so odd that no pattern of useful size repeats."""
    up, down = _ratio(*rates)
    table = _offline_table(reach, rates)
    rows, span = table.shape
    count = max(1, _CHUNK // span)
    for first in range(0, len(out), count):
        numbers = np.arange(first, min(first + count, len(out)), dtype=np.int64)
        nearest, rest = np.divmod(numbers * down, up)
        row, between = np.divmod(rest * (rows - 1), up)
        base = int(nearest[0])
        piece = _stretch(samples, base - reach, int(nearest[-1]) - base + span)
        near = np.lib.stride_tricks.sliding_window_view(piece, span)[nearest - base]
        lower, upper = (np.einsum("ij,ij->i", near, table[at]) for at in (row, row + 1))
        share = (between / up).astype(np.float32)
        out[numbers[0] : numbers[-1] + 1] = _limited(lower + share * (upper - lower))


def _offline_table(reach: int, rates: tuple[int, int]) -> Matrix:
    """Weights of outputs that lie from no to one input period behind the input `reach`, in even steps, a row each.

    Straight lines between the rows are within -115 dB of the true weights.
    """
    offsets = np.arange(-reach, reach + 2, dtype=np.float64)
    steps = ceil(_TABLE_ROWS * min(1.0, rates[1] / rates[0]))
    table = np.empty((steps + 1, len(offsets)), np.float32)
    for row in range(steps + 1):
        weights = _offline_weights(offsets - row / steps, rates)
        table[row] = weights / weights.sum()
    return table


def _stretch(samples: Frame, start: int, size: int) -> npt.NDArray[np.float32]:
    """`size` samples from `start`, zeros where the recording has none."""
    piece = np.zeros(size, np.float32)
    begin, end = max(start, 0), min(start + size, len(samples))
    if end > begin:
        piece[begin - start : end - start] = samples[begin:end]
    return piece


def _pieces(inputs: npt.NDArray[np.float32], weights: Matrix) -> npt.NDArray[np.float32]:
    """A view (rows, pieces, history + piece in) of contiguous rows; pieces overlap by the history."""
    rows, size = inputs.shape
    span = len(weights)
    step = (size - span) // (_PIECES - 1) * inputs.itemsize
    strides = (inputs.strides[0], step, inputs.itemsize)
    return np.ndarray((rows, _PIECES, span), np.float32, inputs, strides=strides)


def _limited(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The same array, rounded and held within 16 bits."""
    np.rint(values, out=values)
    return np.clip(values, _LOWEST, _HIGHEST, out=values)
