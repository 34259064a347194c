"""RTCP packets: reports of what was sent and what came (RFC 3550 §6). Bytes in and out; nothing here knows a clock.

Times are seconds of any one clock: NTP's form is only their notation, and nobody sets a watch by them (§4).
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

SENDER, RECEIVER, DESCRIPTION, BYE = 200, 201, 202, 203
_HEAD = struct.Struct(">BBH")
_SENDER = struct.Struct(">IIIII")  # NTP seconds and fraction, RTP time stamp, packets, octets
_BLOCK = struct.Struct(">IIIIII")
_CNAME: Final = 1
MAX_LOST = 0x7FFFFF


class Block(NamedTuple):
    """What a side says of one stream that it hears (§6.4.1). `lost` is the share since its report before, 0 to 1."""

    ssrc: int
    lost: float
    lost_in_all: int
    highest: int
    jitter: int
    """In units of the RTP clock."""
    last: int
    """The middle 32 bits of the NTP time of the last sender report that it has; 0: none."""
    since: float
    """Seconds since that came."""


class Sent(NamedTuple):
    """What a sender says of itself; `middle` is what receivers repeat as `last`."""

    middle: int
    timestamp: int
    packets: int
    octets: int


class Report(NamedTuple):
    """One sender or receiver report of a compound packet."""

    ssrc: int
    sent: Sent | None
    blocks: tuple[Block, ...]


def middle(seconds: float) -> int:
    """The middle 32 bits of a time as NTP has it: units of 1/65536 s."""
    return round(seconds * 65536) & 0xFFFFFFFF


def is_rtcp(data: bytes) -> bool:
    """Whether a datagram on a port for both is RTCP (RFC 5761 §4)."""
    return len(data) >= 8 and data[0] & 0xC0 == 0x80 and 192 <= data[1] <= 223


def build(ssrc: int, name: str, now: float, sent: Sent | None, block: Block | None, *, bye: bool = False) -> bytes:
    """A compound packet: a sender or a receiver report, our name, and good-bye if asked (§6.1)."""
    body = struct.pack(">I", ssrc)
    if sent is not None:
        fraction = round(now * 4294967296) & 0xFFFFFFFFFFFFFFFF
        body += _SENDER.pack(fraction >> 32, fraction & 0xFFFFFFFF, sent.timestamp & 0xFFFFFFFF,
                             sent.packets & 0xFFFFFFFF, sent.octets & 0xFFFFFFFF)  # fmt: skip
    if block is not None:
        lost = max(0, min(block.lost_in_all, MAX_LOST)) | min(int(block.lost * 256), 255) << 24
        body += _BLOCK.pack(block.ssrc, lost, block.highest & 0xFFFFFFFF, block.jitter & 0xFFFFFFFF, block.last,
                            min(round(block.since * 65536), 0xFFFFFFFF))  # fmt: skip
    packet = _packet(RECEIVER if sent is None else SENDER, int(block is not None), body)
    text = name.encode()[:255]
    packet += _packet(DESCRIPTION, 1, struct.pack(">IBB", ssrc, _CNAME, len(text)) + text + b"\0")
    return packet + _packet(BYE, 1, struct.pack(">I", ssrc)) if bye else packet


def parse(data: bytes) -> tuple[list[Report], bool] | None:
    """The reports of a compound packet and whether it says good-bye; None for bytes that are none (§6.1, A.2)."""
    reports: list[Report] = []
    bye, at, first = False, 0, True
    while at + 4 <= len(data):
        flags, kind, words = _HEAD.unpack_from(data, at)
        end = at + 4 + 4 * words
        if flags & 0xC0 != 0x80 or end > len(data) or (first and kind not in (SENDER, RECEIVER)):
            return None
        if kind in (SENDER, RECEIVER):
            report = _report(kind, flags & 0x1F, data[at + 4 : end])
            if report is None:
                return None
            reports.append(report)
        bye = bye or kind == BYE
        at, first = end, False
    return (reports, bye) if reports and at == len(data) else None


def _packet(kind: int, count: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return _HEAD.pack(0x80 | count, kind, len(body) // 4) + body


def _report(kind: int, count: int, body: bytes) -> Report | None:
    at = 4 + (_SENDER.size if kind == SENDER else 0)
    if len(body) < at + count * _BLOCK.size:
        return None
    (ssrc,) = struct.unpack_from(">I", body)
    sent = None
    if kind == SENDER:
        seconds, fraction, timestamp, packets, octets = _SENDER.unpack_from(body, 4)
        sent = Sent((seconds & 0xFFFF) << 16 | fraction >> 16, timestamp, packets, octets)
    blocks = []
    for index in range(count):
        about, lost, highest, jitter, last, since = _BLOCK.unpack_from(body, at + index * _BLOCK.size)
        in_all = lost & 0xFFFFFF
        in_all -= (in_all & 0x800000) << 1  # signed: a repeated packet counts against the lost (§6.4.1)
        blocks.append(Block(about, (lost >> 24) / 256, in_all, highest, jitter, last, since / 65536))
    return Report(ssrc, sent, tuple(blocks))
