"""Encrypted media: what one side protects the other takes, once, and nothing else."""

from __future__ import annotations

import base64

import pytest

from offhook.audio import rtp
from offhook.errors import SipError
from offhook.legs.srtp import PROFILES, Srtp, inline_key
from offhook.sip.sdp import SUITES


def line(suite: str, seed: int, more: str = "") -> str:
    return "inline:" + base64.b64encode(bytes([seed]) * SUITES[suite]).decode() + more


def key(suite: str, seed: int, more: str = "") -> bytes:
    return inline_key(suite, line(suite, seed, more))


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_both_ways_with_two_keys(suite: str) -> None:
    one, two = Srtp(suite, key(suite, 1), key(suite, 2, "|2^31")), Srtp(suite, key(suite, 2), key(suite, 1))
    for number in range(100):
        packet = rtp.build(0, 65500 + number, number * 160, 7, bytes([number]) * 160)
        hidden = one.protect(packet)
        assert packet[12:] not in hidden and len(hidden) > len(packet)
        assert two.unprotect(hidden) == packet
        assert two.unprotect(hidden) is None, "not twice"
    assert one.unprotect(two.protect(packet)) == packet


def test_what_is_forged_plain_or_noise_is_nothing() -> None:
    suite = "AES_CM_128_HMAC_SHA1_80"
    one, two = Srtp(suite, key(suite, 1), key(suite, 2)), Srtp(suite, key(suite, 2), key(suite, 1))
    packet = rtp.build(0, 1, 160, 7, bytes(160))
    hidden = bytearray(one.protect(packet))
    hidden[40] ^= 1
    for data in (bytes(hidden), packet, b"", b"x", bytes(3000)):
        assert two.unprotect(data) is None


def test_every_suite_of_a_description_has_a_profile() -> None:
    assert set(PROFILES) == set(SUITES)


@pytest.mark.parametrize("bad", ["inline:", "inline:abc", "inline:" + "A" * 44, "inline:%%%%", "inline:AAAA|1:4"])
def test_keys_that_are_none(bad: str) -> None:
    suite = "AES_CM_128_HMAC_SHA1_80"
    with pytest.raises(SipError):
        inline_key(suite, bad)


def test_a_direction_whose_key_stays_goes_on_where_it_is() -> None:
    """A re-INVITE after the numbers went round: the other side still knows that they did, and what it has sent."""
    suite = "AES_CM_128_HMAC_SHA1_80"
    one, two = Srtp(suite, key(suite, 1), key(suite, 2)), Srtp(suite, key(suite, 2), key(suite, 1))
    for number in range(65000, 66000):
        hidden = one.protect(rtp.build(0, number, number * 160, 7, bytes(160)))
        assert two.unprotect(hidden) is not None
    two = Srtp(suite, key(suite, 3), key(suite, 1), two)
    assert two.unprotect(hidden) is None, "what was heard is not heard again"
    packet = rtp.build(0, 66000, 66000 * 160, 7, bytes(160))
    assert two.unprotect(one.protect(packet)) == packet
    one = Srtp(suite, key(suite, 1), key(suite, 3), one)
    back = rtp.build(0, 1, 160, 8, bytes(160))
    assert one.unprotect(two.protect(back)) == back
