"""Reports: what is built is read back, and what comes from strangers is refused or read, never an exception."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.audio import rtcp
from offhook.audio.rtcp import Block, Sent


def test_a_sender_report_comes_back() -> None:
    block = Block(9, 0.25, 17, 0x1_0003, 42, 0xABCD1234, 1.5)
    sent = Sent(rtcp.middle(100.25), 160_000, 1000, 160_000)
    parsed = rtcp.parse(rtcp.build(7, "me@here", 100.25, sent, block))
    assert parsed is not None
    (report,), bye = parsed
    assert (report.ssrc, report.sent, report.blocks, bye) == (7, sent, (block,), False)
    assert rtcp.middle(100.25) == 100 << 16 | 0x4000


def test_a_receiver_report_with_a_good_bye() -> None:
    data = rtcp.build(7, "x", 5.0, None, None, bye=True)
    parsed = rtcp.parse(data)
    assert parsed is not None and parsed[1] and parsed[0][0].sent is None
    assert len(data) % 4 == 0 and rtcp.is_rtcp(data)


def test_more_came_than_was_sent() -> None:
    """Repeated packets make the sum of the lost negative (RFC 3550 §6.4.1): read as such, sent as none."""
    data = bytearray(rtcp.build(7, "x", 5.0, None, Block(9, 0.0, 1, 5, 0, 0, 0.0)))
    data[8 + 5 : 8 + 8] = b"\xff\xff\xfe"
    parsed = rtcp.parse(bytes(data))
    assert parsed is not None and parsed[0][0].blocks[0].lost_in_all == -2


@pytest.mark.parametrize("cut", [n for n in range(1, 60, 3) if n != 16])
def test_what_is_cut_is_none(cut: int) -> None:
    """16 bytes are the name: what is left then is whole."""
    data = rtcp.build(7, "me", 1.0, Sent(0, 1, 2, 3), Block(9, 0.0, 0, 5, 0, 0, 0.0))
    assert rtcp.parse(data[:-cut]) is None


@given(st.binary(max_size=200))
def test_noise_is_none_or_is_read(data: bytes) -> None:
    parsed = rtcp.parse(data)
    assert parsed is None or parsed[0]


@given(st.binary(min_size=4, max_size=100).map(lambda body: b"\x81\xc8\x00\x0c" + body))
def test_noise_behind_a_good_head(data: bytes) -> None:
    rtcp.parse(data)
