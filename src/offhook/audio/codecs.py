"""Telephone codecs: bytes of a packet to samples and back (ITU-T G.711; RFC 3551 §4.5), and which there are.

Codecs without a memory are shared by all calls, their tables made once. Input of any length is taken; a payload that
cannot be of the codec raises AudioError.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from offhook.audio.pcm import Frame
from offhook.audio.wideband import G722, Opus
from offhook.errors import AudioError

_CLIP = 32635
_BIAS = 0x84


class Codec(Protocol):
    """The codec of one call. `rate` is of the samples, `clock` of RTP time stamps (G.722: 16 and 8 kHz)."""

    name: str
    rate: int
    clock: int
    remembers: bool
    """Whether a packet depends on those before it."""

    def decode(self, payload: bytes) -> Frame:
        """Samples of a packet. AudioError for one that is none of the codec's."""

    def encode(self, frame: Frame) -> bytes:
        """A packet's payload."""

    @property
    def conceal(self) -> Callable[[int, bytes | None], Frame] | None:
        """Makes so many samples for a lost packet, from the next if that has come; None: it has no such means."""


def _mulaw_decode() -> Frame:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = (((code & 0x0F) << 3) + _BIAS) << ((code & 0x70) >> 4)
    return np.where(code & 0x80, _BIAS - magnitude, magnitude - _BIAS).astype(np.int16)


def _mulaw_encode() -> npt.NDArray[np.uint8]:
    """By the sample's bits as an index, negative ones in the upper half."""
    samples = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    magnitude = np.minimum(np.abs(samples), _CLIP) + _BIAS
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    sign = np.where(samples < 0, 0x80, 0)
    code: npt.NDArray[np.uint8] = (~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8)
    return code


def _alaw_decode() -> Frame:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    segment = (code & 0x70) >> 4
    low = ((code & 0x0F) << 4) + np.where(segment == 0, 8, 0x108)
    magnitude = low << np.maximum(segment - 1, 0)
    decoded: Frame = np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)
    return decoded


def _alaw_encode() -> npt.NDArray[np.uint8]:
    samples = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32) >> 3
    mask = np.where(samples >= 0, 0xD5, 0x55)
    magnitude = np.where(samples >= 0, samples, -samples - 1)
    ends = np.array([0x1F, 0x3F, 0x7F, 0xFF, 0x1FF, 0x3FF, 0x7FF, 0xFFF])
    segment = np.searchsorted(ends, magnitude)
    code = (segment << 4) | ((magnitude >> np.maximum(segment, 1)) & 0x0F)
    return (np.where(segment >= 8, 0x7F, code) ^ mask).astype(np.uint8)


class _Memoryless:
    """A codec whose packets know nothing of each other."""

    conceal = None
    remembers = False


class Law(_Memoryless):
    """G.711 in one of its two laws: tables, by which the frames of many calls can be coded in one go (lanes.py)."""

    rate = clock = 8000

    def __init__(self, name: str, decoded: Frame, encoded: npt.NDArray[np.uint8]) -> None:
        self.name = name
        self.decoded = decoded
        """Samples by code."""
        self.encoded = encoded
        """Codes by sample, as 16 bits without a sign."""
        self.floats: npt.NDArray[np.float32] = decoded.astype(np.float32)
        self.quiet = int(encoded[0])
        """The code of silence."""

    def decode(self, payload: bytes) -> Frame:
        """See `Codec`."""
        return self.decoded[np.frombuffer(payload, np.uint8)]

    def encode(self, frame: Frame) -> bytes:
        """See `Codec`."""
        return self.encoded[frame.view(np.uint16)].tobytes()


class _Linear(_Memoryless):
    """L16: samples with the high byte first (RFC 3551 §4.5.11)."""

    name = "L16"

    def __init__(self, rate: int) -> None:
        self.rate = self.clock = rate

    def decode(self, payload: bytes) -> Frame:
        """See `Codec`."""
        if len(payload) % 2:
            raise AudioError(f"{len(payload)} bytes are no whole samples of L16")
        return np.frombuffer(payload, ">i2").astype(np.int16)

    def encode(self, frame: Frame) -> bytes:
        """See `Codec`."""
        return frame.astype(">i2").tobytes()


@lru_cache(maxsize=2)
def _law(name: str) -> Law:
    if name == "PCMU":
        return Law(name, _mulaw_decode(), _mulaw_encode())
    return Law(name, _alaw_decode(), _alaw_encode())


NAMES: Final = ("PCMU", "PCMA", "G722", "OPUS", "L16")


def codec(name: str, clock: int) -> Codec:
    """A codec for one call by its name in an SDP; AudioError for one that we do not speak or whose library lacks."""
    if name in ("PCMU", "PCMA") and clock == 8000:
        return _law(name)
    if name == "L16" and clock in (8000, 16000, 24000, 48000):
        return _Linear(clock)
    if (name, clock) == ("G722", 8000):
        return G722()
    if (name, clock) == ("OPUS", 48000):
        return Opus()
    raise AudioError(f"no codec {name}/{clock}; there are {', '.join(NAMES)}")


@lru_cache(maxsize=16)
def is_there(name: str, clock: int) -> bool:
    """Whether a codec can be had here: Opus and G.722 stand on libraries."""
    try:
        codec(name, clock)
    except AudioError:
        return False
    return True
