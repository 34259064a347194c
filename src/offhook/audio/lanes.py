"""Lanes: preallocated arrays in which all calls' frames of one conversion pass through one operation a tick.

A tick has three phases: `gather` (ports at another rate than their bridge are pulled, and resampled lane by
lane), the bridges mix, `scatter` (what they were given is resampled and handed to them). Rows live in blocks
that never move, so a view of a row stays good for its port's life.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from offhook.audio.bridge import Member, Port
from offhook.audio.pcm import Frame, samples_per_frame
from offhook.audio.resample import block_process, history, matrix

BLOCK_ROWS = 32


class Row:
    """A place in a lane: `put` a frame at the lane's input rate, read `out` at its output rate after the run."""

    __slots__ = ("_block", "_index", "_input", "out")

    def __init__(self, block: _Block, index: int) -> None:
        self._block = block
        self._index = index
        self._input = block.inputs[index, block.history :]
        self.out: Frame = block.outputs[index]

    def put(self, frame: Frame | None) -> None:
        """Give this tick's frame; None is silence. A frame of another length raises ValueError (numpy)."""
        if frame is None:
            self._input[:] = 0
        else:
            self._input[:] = frame

    def release(self) -> None:
        """Give the row back, its history cleared for the next port."""
        self._block.inputs[self._index] = 0
        self._block.free.append(self._index)


class _Block:
    """A fixed number of rows: inputs with their filter history in front, and outputs."""

    __slots__ = ("free", "history", "inputs", "outputs")

    def __init__(self, lane_history: int, samples_in: int, samples_out: int) -> None:
        self.history = lane_history
        self.inputs: npt.NDArray[np.float32] = np.zeros((BLOCK_ROWS, lane_history + samples_in), np.float32)
        self.outputs: npt.NDArray[np.int16] = np.zeros((BLOCK_ROWS, samples_out), np.int16)
        self.free = list(range(BLOCK_ROWS - 1, -1, -1))


class ResampleLane:
    """All rows that go from one rate to another; `run` converts every row with one matrix product a block."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        self._matrix = matrix(from_rate, to_rate)
        self._history = history(from_rate, to_rate)
        self._samples_in = samples_per_frame(from_rate)
        self._samples_out = samples_per_frame(to_rate)
        self._blocks: list[_Block] = []

    @property
    def rows(self) -> int:
        """Rows in use."""
        return sum(BLOCK_ROWS - len(block.free) for block in self._blocks)

    def take(self) -> Row:
        """A row for one direction of one port."""
        for block in self._blocks:
            if block.free:
                return Row(block, block.free.pop())
        self._blocks.append(_Block(self._history, self._samples_in, self._samples_out))
        return self.take()

    def run(self) -> None:
        """Convert this tick's frames of every row, and keep each row's tail as its history."""
        for block in self._blocks:
            if len(block.free) == BLOCK_ROWS:
                continue
            block_process(block.inputs, self._matrix, block.outputs)
            if block.history:
                block.inputs[:, : block.history] = block.inputs[:, -block.history :].copy()


class RatedPort:
    """A port at another rate than its bridge: pulled in `gather`, given its frame in `scatter`."""

    __slots__ = ("_down", "_hears", "_mixed", "_port", "_said", "_up")

    def __init__(self, port: Port, up: Row, down: Row) -> None:
        self._port = port
        self._up = up
        self._down = down
        self._said = False
        self._mixed = False
        self._hears: Sequence[Member] = ()

    def gather(self) -> None:
        """Pull the port's frame into its lane."""
        frame = self._port.read()
        self._said = frame is not None
        self._up.put(frame)

    def read(self) -> Frame | None:
        """This tick's frame at the bridge's rate."""
        return self._up.out if self._said else None

    def write(self, mix: Frame | None, heard: Sequence[Member]) -> None:
        """Take what the bridge gives; it reaches the port in `scatter`."""
        self._mixed = mix is not None
        self._hears = heard
        self._down.put(mix)

    def scatter(self) -> None:
        """Hand the converted frame to the port."""
        self._port.write(self._down.out if self._mixed else None, self._hears)

    def release(self) -> None:
        """Give both rows back."""
        self._up.release()
        self._down.release()


class Lanes:
    """The lanes of one node and the ports that need them. A port that raises is reported and left out."""

    def __init__(self, failed: Callable[[Port, Exception], None]) -> None:
        self._failed = failed
        self._up: dict[tuple[int, int], ResampleLane] = {}
        self._down: dict[tuple[int, int], ResampleLane] = {}
        self._ports: list[RatedPort] = []

    def rated(self, port: Port, port_rate: int, bridge_rate: int) -> Port:
        """The port itself when the rates are equal, else a `RatedPort` with a row in each direction."""
        if port_rate == bridge_rate:
            return port
        rated = RatedPort(
            port,
            self._lane(self._up, port_rate, bridge_rate).take(),
            self._lane(self._down, bridge_rate, port_rate).take(),
        )
        self._ports = [*self._ports, rated]
        return rated

    def release(self, port: Port) -> None:
        """Take a port out of the lanes; nothing happens for a port that needed none."""
        if isinstance(port, RatedPort) and port in self._ports:
            self._ports = [p for p in self._ports if p is not port]
            port.release()

    def gather(self) -> None:
        """First phase of a tick: pull every rated port and convert all of them."""
        if not self._ports:
            return
        self._each(RatedPort.gather)
        for lane in self._up.values():
            lane.run()

    def scatter(self) -> None:
        """Last phase of a tick: convert what the bridges gave and hand it over."""
        if not self._ports:
            return
        for lane in self._down.values():
            lane.run()
        self._each(RatedPort.scatter)

    def _each(self, phase: Callable[[RatedPort], None]) -> None:
        for port in self._ports:
            try:
                phase(port)
            except Exception as error:
                self.release(port)
                self._failed(port, error)

    @staticmethod
    def _lane(lanes: dict[tuple[int, int], ResampleLane], from_rate: int, to_rate: int) -> ResampleLane:
        key = (from_rate, to_rate)
        if key not in lanes:
            lanes[key] = ResampleLane(from_rate, to_rate)
        return lanes[key]
