"""Encrypted media (RFC 3711, RFC 7714), by libsrtp; keys are of the signalling (RFC 4568) or a handshake."""

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
    """One stream each way under two keys, each with its salt behind it; `SUITES` has their length.

    `before`: a direction whose key is as it was goes on where it is: how often its numbers went round, and which
    packets it has seen, is known to nobody else (RFC 3711 §3.3.1).
    """

    def __init__(self, suite: str, ours: bytes, theirs: bytes, before: Srtp | None = None) -> None:
        self._keys = (suite, ours), (suite, theirs)
        out, into = (None, None) if before is None else before._same(self._keys)
        self._out: Session = out or Session(_policy(suite, ours, Policy.SSRC_ANY_OUTBOUND))
        self._in: Session = into or Session(_policy(suite, theirs, Policy.SSRC_ANY_INBOUND))

    def _same(self, keys: tuple[tuple[str, bytes], tuple[str, bytes]]) -> tuple[Session | None, Session | None]:
        """The sessions of the directions that have these keys already."""
        return self._out if keys[0] == self._keys[0] else None, self._in if keys[1] == self._keys[1] else None

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


def _policy(suite: str, key: bytes, kind: int) -> Policy:
    return Policy(key=key, ssrc_type=kind, srtp_profile=PROFILES[suite])


def inline_key(suite: str, inline: str) -> bytes:
    """The key of an a=crypto line, `inline:KEY|lifetime|MKI:length`. SipError for a bad one, and for one with an MKI,
    with which we could not tell keys apart."""
    parts = inline.removeprefix("inline:").split("|")
    if any(":" in part for part in parts[1:]):
        raise SipError("media keys with an MKI are not taken")
    try:
        key = base64.b64decode(parts[0].split()[0], validate=True)
    except (binascii.Error, ValueError, IndexError):
        raise SipError("a media key that is no base64") from None
    if len(key) != SUITES[suite]:
        raise SipError(f"a media key of {len(key)} bytes; {suite} needs {SUITES[suite]}")
    return key
