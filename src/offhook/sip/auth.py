"""Digest authentication, from both sides (RFC 3261 §22, RFC 7616, RFC 8760).

The arithmetic for MD5 and SHA-256 is the parser library's; nonces are ours: each carries its own time under a key, so
that none need be kept, and expires by itself.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from aiosipua.auth import SipDigestAuth, build_credentials
from aiosipua.headers import parse_auth, stringify_auth

from offhook.sip.message import Request, Response

NONCE_LIFE = 300.0  # seconds
ALGORITHMS = ("SHA-256", "MD5")
_HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


@dataclass(frozen=True, slots=True)
class Account:
    """A user and the password that proves it."""

    user: str
    password: str


def credentials_for(
    request: Request, answer: Response, account: Account, attempt: int, cnonce: str
) -> tuple[str, str] | None:
    """The header that meets a 401 or 407: of its challenges the first that we can answer.

    None when we know none of its algorithms, or the same credentials were refused: a second try is made for a stale
    nonce only.
    """
    challenge_name, name = (
        ("www-authenticate", "Authorization")
        if answer.status_code == 401
        else ("proxy-authenticate", "Proxy-Authorization")
    )
    for value in answer.headers.get(challenge_name):
        challenge = parse_auth(value)
        params = {key.lower(): text for key, text in challenge.params.items()}
        stale = params.get("stale", "").lower() == "true"
        if attempt > 1 and not (stale and attempt < 4):
            continue
        challenge.params = params
        made = build_credentials(
            SipDigestAuth(account.user, account.password), challenge, request.method, request.uri, cnonce=cnonce
        )
        if made is not None:
            return name, stringify_auth(made)
    return None


class Challenger:
    """Our side as the one who asks: `realm` is shown, `key` signs the nonces, `passwords` are by user."""

    def __init__(self, realm: str, key: bytes, passwords: Mapping[str, str]) -> None:
        self.realm = realm
        self._key = key
        self._passwords = passwords

    def challenge(self, now: float, *, stale: bool = False) -> list[tuple[str, str]]:
        """Headers for a 401, the stronger algorithm first."""
        nonce = self._nonce(now)
        mark = ", stale=true" if stale else ""
        return [
            (
                "WWW-Authenticate",
                f'Digest realm="{self.realm}", nonce="{nonce}", algorithm={algorithm}, qop="auth"{mark}',
            )
            for algorithm in ALGORITHMS
        ]

    def check(self, request: Request, now: float) -> tuple[str, bool]:
        """The user that the credentials prove, empty for none; and whether only their nonce was too old."""
        value = request.headers.get_first("authorization")
        if not value:
            return "", False
        given = {key.lower(): text for key, text in parse_auth(value, credentials=True).params.items()}
        user, algorithm = given.get("username", ""), given.get("algorithm", "MD5").upper()
        password = self._passwords.get(user)
        make = _HASHES.get(algorithm)
        if make is None or given.get("realm") != self.realm or given.get("qop") not in ("auth", None):
            return "", False

        def digest(text: str) -> str:
            return make(text.encode()).hexdigest()

        ha1 = digest(f"{user}:{self.realm}:{password if password is not None else ''}")
        ha2 = digest(f"{request.method}:{given.get('uri', '')}")
        middle = f"{given.get('nonce', '')}"
        if "qop" in given:
            middle += f":{given.get('nc', '')}:{given.get('cnonce', '')}:{given['qop']}"
        expected = digest(f"{ha1}:{middle}:{ha2}")
        right = hmac.compare_digest(expected.encode(), given.get("response", "").encode("utf-8", "replace"))
        if not right or password is None:
            return "", False
        age = self._age(given.get("nonce", ""), now)
        if age is None:
            return "", False
        return (user, False) if age <= NONCE_LIFE else ("", True)

    def _nonce(self, now: float) -> str:
        stamp = f"{int(now):012x}"
        return stamp + hmac.new(self._key, stamp.encode(), hashlib.sha256).hexdigest()[:24]

    def _age(self, nonce: str, now: float) -> float | None:
        """Seconds since we made it; None when we did not."""
        stamp = nonce[:12]
        expected = stamp + hmac.new(self._key, stamp.encode(), hashlib.sha256).hexdigest()[:24]
        if not hmac.compare_digest(expected.encode(), nonce.encode("utf-8", "replace")):
            return None
        try:
            return now - int(stamp, 16)
        except ValueError:
            return None
