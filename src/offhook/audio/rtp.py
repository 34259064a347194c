"""RTP packets and telephone events (RFC 3550 §5.1, RFC 4733 §2.3). Bytes in and out; nothing here knows a clock."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

_HEAD = struct.Struct(">BBHII")
_EVENT = struct.Struct(">BBH")
HEAD_SIZE = _HEAD.size
MAX_PACKET = 2048

KEYS: Final = "0123456789*#ABCD"
"""Keys by event code (RFC 4733 §3.2)."""


class Packet(NamedTuple):
    """One RTP packet. `payload` is without header extension and padding."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


def parse(data: bytes) -> Packet | None:
    """A packet, or None for bytes that are none (STUN, RTCP, noise)."""
    size = len(data)
    if size < 12 or size > MAX_PACKET:
        return None
    first, second, sequence, timestamp, ssrc = _HEAD.unpack_from(data)
    if first == 0x80 and not 192 <= second <= 223:  # what nearly all are: nothing but a payload
        return Packet(second & 0x7F, second > 127, sequence, timestamp, ssrc, data[12:])
    if first & 0xC0 != 0x80 or 192 <= second <= 223:
        return None  # another version, or RTCP on the same port (RFC 5761 §4)
    start, end = 12 + 4 * (first & 0x0F), size
    if first & 0x10:
        if start + 4 > size:
            return None
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4])
    if first & 0x20:
        padding = data[-1]
        if not 0 < padding <= size - 12:
            return None
        end -= padding
    if start > end:
        return None
    return Packet(second & 0x7F, second > 127, sequence, timestamp, ssrc, data[start:end])


def build(kind: int, sequence: int, timestamp: int, ssrc: int, payload: bytes, *, marker: bool = False) -> bytes:
    """A packet of a payload type, without extension and padding; numbers are cut to their width."""
    second = kind | (0x80 if marker else 0)
    return _HEAD.pack(0x80, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + payload


def put_head(packet: memoryview, kind: int, sequence: int, timestamp: int, ssrc: int, *, marker: bool = False) -> None:
    """Write the head into a packet whose payload is there already, behind `HEAD_SIZE` bytes; numbers as in `build`."""
    second = kind | (0x80 if marker else 0)
    _HEAD.pack_into(packet, 0, 0x80, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)


def later(new: int, old: int, bits: int) -> int:
    """How far `new` is after `old` in serial arithmetic; negative when before (RFC 1982)."""
    half = 1 << (bits - 1)
    return ((new - old + half) & ((1 << bits) - 1)) - half


class KeyEvent(NamedTuple):
    """One telephone-event packet: `duration` in units of its clock."""

    key: str
    end: bool
    duration: int


def parse_event(payload: bytes) -> KeyEvent | None:
    """A key press; None for other events (flash, modem tones) and for broken ones."""
    if len(payload) < 4:
        return None
    code, flags, duration = _EVENT.unpack_from(payload)
    return KeyEvent(KEYS[code], bool(flags & 0x80), duration) if code < len(KEYS) else None


def build_event(key: str, duration: int, *, end: bool, volume: int = 10) -> bytes:
    """The payload for a key; `volume` in -dBm0 (RFC 4733 §2.3.3)."""
    return _EVENT.pack(KEYS.index(key), (0x80 if end else 0) | volume, min(duration, 0xFFFF))
