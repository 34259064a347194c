"""RTP packets: what is built is read, and noise is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.audio.rtp import KEYS, Packet, build, build_event, later, parse, parse_event

U16, U32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)


@given(st.integers(0, 63), U16, U32, U32, st.binary(max_size=500), st.booleans())
def test_built_is_read(kind: int, sequence: int, timestamp: int, ssrc: int, payload: bytes, marker: bool) -> None:
    data = build(kind, sequence, timestamp, ssrc, payload, marker=marker)
    assert parse(data) == Packet(kind, marker, sequence, timestamp, ssrc, payload)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_packet_or_none(data: bytes) -> None:
    packet = parse(data)
    assert packet is None or len(packet.payload) <= len(data) - 12


@pytest.mark.parametrize(
    ("data", "payload"),
    [
        (bytes([0xA0, 0]) + bytes(10) + b"abc\x00\x00\x03", b"abc"),  # padding
        (bytes([0x82, 0]) + bytes(10) + bytes(8) + b"abc", b"abc"),  # contributing sources
        (bytes([0x90, 0]) + bytes(10) + b"\xbe\xde\x00\x01" + bytes(4) + b"abc", b"abc"),  # header extension
    ],
)
def test_optional_parts_are_left_out(data: bytes, payload: bytes) -> None:
    packet = parse(data)
    assert packet is not None and packet.payload == payload


@pytest.mark.parametrize(
    "data",
    [
        bytes(11),
        bytes(12),  # version 0
        bytes([0x80, 200]) + bytes(26),  # a sender report
        bytes([0xA0, 0]) + bytes(10) + b"abc\xff",  # more padding than there is
        bytes([0x8F, 0]) + bytes(20),  # fewer sources than said
        bytes([0x90, 0]) + bytes(10) + b"\xbe\xde\x00\xff",  # an extension without an end
        b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12),  # STUN
        bytes([0x80, 0]) + bytes(3000),
    ],
)
def test_noise_is_no_packet(data: bytes) -> None:
    assert parse(data) is None


@given(U16, st.integers(-30000, 30000))
def test_serial_numbers_go_round(old: int, step: int) -> None:
    assert later((old + step) & 0xFFFF, old, 16) == step


@pytest.mark.parametrize("key", KEYS)
def test_keys_both_ways(key: str) -> None:
    event = parse_event(build_event(key, 1280, end=True))
    assert event is not None and (event.key, event.end, event.duration) == (key, True, 1280)


def test_other_events_are_none() -> None:
    assert parse_event(b"\x10\x0a\x00\xa0") is None  # flash
    assert parse_event(b"\x01\x0a") is None
