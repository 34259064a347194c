"""Lanes: preallocated arrays in which all calls' frames of one conversion pass through one operation a tick.

A tick has three phases: `gather` (ports at another rate than their bridge are pulled, decoded and resampled lane by
lane), the bridges mix, `scatter` (what they were given is resampled, encoded and handed to them). Rows live in blocks
that never move, so a view of a row stays good for its port's life.

G.711 is decoded and encoded in the lane too, by tables over all rows: such a port gives the payload of its packet, and
is given a packet whose payload is there already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from offhook.audio.bridge import Member, Port
from offhook.audio.codecs import Law
from offhook.audio.pcm import Frame
from offhook.audio.resample import BlockResampler
from offhook.audio.rtp import HEAD_SIZE

BLOCK_ROWS = 32


class CodedPort(Port, Protocol):
    """A port whose audio is G.711 for now; which law is asked anew in every tick."""

    law: Law | None

    def read_payload(self) -> bytes | None:
        """A whole frame as it came; None: `read` has what there is instead. Only while there is a `law`."""

    def write_packet(self, packet: memoryview, heard: Sequence[Member]) -> None:
        """As `write`, with the frame encoded: room for the head of an RTP packet, then the payload.

        It may be sent until the tick ends. Only while there is a `law`.
        """


class Row:
    """A place in a lane: `put` a frame at the lane's input rate, read `out` at its output rate after the run."""

    __slots__ = ("_block", "_index", "code", "out", "packet")

    def __init__(self, block: _Block, index: int) -> None:
        self._block = block
        self._index = index
        self.out: Frame = block.resampler.outputs[index]
        self.code = memoryview(block.codes[index])
        """Where the payload is put that is to be decoded, in a lane that decodes."""
        self.packet = memoryview(block.packets[index])
        """What `out` is as a payload, with room for a head before it, in a lane that encodes."""

    def put(self, frame: Frame | None) -> None:
        """Give this tick's frame; None is silence. A frame of another length raises ValueError (numpy)."""
        self._block.put(self._index, frame)

    def release(self) -> None:
        """Give the row back, its history cleared for the next port."""
        self._block.release(self._index)


class _Block:
    """A fixed number of rows with what is between their input and their output."""

    __slots__ = ("_decodes", "_encodes", "_frames", "codes", "free", "packets", "resampler")

    def __init__(self, from_rate: int, to_rate: int, decodes: Law | None, encodes: Law | None) -> None:
        self.resampler = BlockResampler(BLOCK_ROWS, from_rate, to_rate)
        self.free = list(range(BLOCK_ROWS - 1, -1, -1))
        self._decodes, self._encodes = decodes, encodes
        size_in = self.resampler.inputs.shape[1] if decodes is not None else 0
        size_out = HEAD_SIZE + self.resampler.outputs.shape[1] if encodes is not None else 0
        self.codes: npt.NDArray[np.uint8] = np.zeros((BLOCK_ROWS, size_in), np.uint8)
        self.packets: npt.NDArray[np.uint8] = np.zeros((BLOCK_ROWS, size_out), np.uint8)
        self._frames: list[tuple[int, Frame | None]] = []  # given as frames although the lane decodes

    def put(self, index: int, frame: Frame | None) -> None:
        if self._decodes is not None:
            if frame is not None and len(frame) != self.codes.shape[1]:
                raise ValueError(f"a frame of {len(frame)} samples in a lane of {self.codes.shape[1]}")
            self._frames.append((index, frame))
        else:
            self.resampler.inputs[index] = 0 if frame is None else frame

    def run(self) -> None:
        resampler = self.resampler
        if self._decodes is not None:
            resampler.inputs[...] = self._decodes.floats.take(self.codes, mode="clip")
            for index, frame in self._frames:
                resampler.inputs[index] = 0 if frame is None else frame
            self._frames.clear()
        resampler.run()
        if self._encodes is not None:
            self.packets[:, HEAD_SIZE:] = self._encodes.encoded.take(resampler.outputs.view(np.uint16), mode="clip")

    def release(self, index: int) -> None:
        self.codes[index] = 0 if self._decodes is None else self._decodes.quiet
        self._frames = [one for one in self._frames if one[0] != index]
        self.resampler.forget(index)
        self.free.append(index)


class ResampleLane:
    """All rows that go from one rate to another, decoded before or encoded after; a block is one operation a step."""

    def __init__(self, from_rate: int, to_rate: int, *, decodes: Law | None = None, encodes: Law | None = None) -> None:
        self._conversion = (from_rate, to_rate, decodes, encodes)
        self._blocks: list[_Block] = []

    @property
    def rows(self) -> int:
        """Rows in use."""
        return sum(BLOCK_ROWS - len(block.free) for block in self._blocks)

    def take(self) -> Row:
        """A row for one direction of one port."""
        block = next((block for block in self._blocks if block.free), None)
        if block is None:
            block = _Block(*self._conversion)
            self._blocks.append(block)
        index = block.free.pop()
        block.resampler.forget(index)
        return Row(block, index)

    def run(self) -> None:
        """Convert this tick's frames of every row, and keep each row's tail as its history."""
        for block in self._blocks:
            if len(block.free) < BLOCK_ROWS:
                block.run()


class RatedPort:
    """A port at another rate than its bridge: pulled in `gather`, given its frame in `scatter`.

    `law`: what its lanes decode and encode; a port that speaks something else for now goes round that. Once released it
    has nothing to say and hears nothing.
    """

    __slots__ = ("_coded", "_down", "_hears", "_law", "_mixed", "_port", "_said", "_up")

    def __init__(self, port: Port, up: Row, down: Row, law: Law | None = None) -> None:
        self._port = port
        self._coded = cast(CodedPort, port)
        self._law = law
        self._up: Row | None = up
        self._down: Row | None = down
        self._said = False
        self._mixed = False
        self._hears: Sequence[Member] = ()

    def gather(self) -> None:
        """Pull the port's frame into its lane."""
        up = self._up
        if up is None:
            return
        if self._law is not None and self._law is self._coded.law and (payload := self._coded.read_payload()):
            up.code[:] = payload
            self._said = True
            return
        frame = self._port.read()
        self._said = frame is not None
        up.put(frame)

    def read(self) -> Frame | None:
        """This tick's frame at the bridge's rate."""
        return self._up.out if self._said and self._up is not None else None

    def write(self, mix: Frame | None, heard: Sequence[Member]) -> None:
        """Take what the bridge gives; it reaches the port in `scatter`."""
        self._mixed = mix is not None
        self._hears = heard
        if self._down is not None:
            self._down.put(mix)

    def scatter(self) -> None:
        """Hand the converted frame to the port."""
        down = self._down
        if down is None:
            return
        if not self._mixed:
            self._port.write(None, self._hears)
        elif self._law is not None and self._law is self._coded.law:
            self._coded.write_packet(down.packet, self._hears)
        else:
            self._port.write(down.out, self._hears)

    def release(self) -> None:
        """Give both rows back: from now on they are another port's."""
        up, down = self._up, self._down
        self._up = self._down = None
        self._hears = ()
        if up is not None and down is not None:
            up.release()
            down.release()


class Lanes:
    """The lanes of one node and the ports that need them. A port that raises is taken out and reported."""

    def __init__(self, failed: Callable[[Port, Exception], None]) -> None:
        self._failed = failed
        self._up: dict[tuple[int, int, Law | None], ResampleLane] = {}
        self._down: dict[tuple[int, int, Law | None], ResampleLane] = {}
        self._ports: list[RatedPort] = []

    @staticmethod
    def prepare(port_rate: int, bridge_rate: int) -> None:
        """Work out now what the first port of these rates would wait for."""
        for pair in ((port_rate, bridge_rate), (bridge_rate, port_rate)):
            BlockResampler(BLOCK_ROWS, *pair).run()

    def rated(self, port: Port, port_rate: int, bridge_rate: int) -> Port:
        """The port itself when the rates are equal, else a `RatedPort` with a row in each direction."""
        if port_rate == bridge_rate:
            return port
        law: Law | None = getattr(port, "law", None)
        into, outof = (port_rate, bridge_rate, law), (bridge_rate, port_rate, law)
        if into not in self._up:
            self._up[into] = ResampleLane(port_rate, bridge_rate, decodes=law)
            self._down[outof] = ResampleLane(bridge_rate, port_rate, encodes=law)
        rated = RatedPort(port, self._up[into].take(), self._down[outof].take(), law)
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
