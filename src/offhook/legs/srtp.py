"""Encrypted media with keys from the signalling (RFC 3711, RFC 4568, RFC 7714), by libsrtp."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from pylibsrtp import Error, Policy, Session

from offhook.errors import SipError
from offhook.sip.sdp import SUITES

PROFILES: Final = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AEAD_AES_256_GCM": Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}


class Srtp:
    """One stream each way under two keys, each as its a=crypto line has it (`inline:…`). SipError for a bad key.

    `before`: a direction whose key is as it was goes on where it is: how often its numbers went round, and which packets
    it has seen, is known to nobody else (RFC 3711 §3.3.1).
    """

    def __init__(self, suite: str, ours: str, theirs: str, before: Srtp | None = None) -> None:
        self._keys = (suite, ours), (suite, theirs)
        same = (
            (False, False) if before is None else tuple(a == b for a, b in zip(self._keys, before._keys, strict=True))
        )
        self._out = before._out if before and same[0] else Session(_policy(suite, ours, Policy.SSRC_ANY_OUTBOUND))
        self._in = before._in if before and same[1] else Session(_policy(suite, theirs, Policy.SSRC_ANY_INBOUND))

    def protect(self, packet: bytes) -> bytes:
        """Encrypt and sign an RTP packet."""
        return bytes(self._out.protect(packet))

    def unprotect(self, packet: bytes) -> bytes | None:
        """Check and decrypt one; None for one that is forged, repeated or too old."""
        try:
            return bytes(self._in.unprotect(packet))
        except (Error, TypeError, ValueError):
            return None

    def protect_control(self, packet: bytes) -> bytes:
        """Encrypt and sign an RTCP packet (RFC 3711 §3.4)."""
        return bytes(self._out.protect_rtcp(packet))

    def unprotect_control(self, packet: bytes) -> bytes | None:
        """Check and decrypt one; None for one that is forged or repeated."""
        try:
            return bytes(self._in.unprotect_rtcp(packet))
        except (Error, TypeError, ValueError):
            return None


def _policy(suite: str, inline: str, kind: int) -> Policy:
    """`inline:KEY|lifetime|MKI:length`; with an MKI we could not tell keys apart."""
    parts = inline.removeprefix("inline:").split("|")
    if any(":" in part for part in parts[1:]):
        raise SipError("media keys with an MKI are not taken")
    try:
        key = base64.b64decode(parts[0].split()[0], validate=True)
    except (binascii.Error, ValueError, IndexError):
        raise SipError("a media key that is no base64") from None
    if len(key) != SUITES[suite]:
        raise SipError(f"a media key of {len(key)} bytes; {suite} needs {SUITES[suite]}")
    return Policy(key=key, ssrc_type=kind, srtp_profile=PROFILES[suite])
