"""Digest authentication, from both sides (RFC 3261 §22, RFC 7616, RFC 8760).

The arithmetic for MD5 and SHA-256 is the parser library's; nonces are ours: each carries its time and number under a
key, so that none need be kept until it has been used, and expires by itself. It is good for one source, for the
Request-URI that its response names, and once for each count; without a count (RFC 2617 §3.2.2: no qop) for one request.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from aiosipua.auth import SipDigestAuth, build_credentials
from aiosipua.headers import parse_auth, stringify_auth

from offhook.errors import SipError
from offhook.sip.grammar import parse_uri
from offhook.sip.message import Request, Response

NONCE_LIFE = 300.0  # seconds
USED_NONCES = 4096
"""How many used nonces are remembered; all that are older than the last forgotten one are stale."""
ALGORITHMS = ("SHA-256", "MD5")
_NC = re.compile("[0-9A-Fa-f]{8}")
_ONCE = 2**32
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
    """Our side as the one who asks: `realm` is shown, `key` signs the nonces, `passwords` are by user.

    `source` is the host that a request comes from.
    """

    def __init__(self, realm: str, key: bytes, passwords: Mapping[str, str]) -> None:
        self.realm = realm
        self._key = key
        self._passwords = passwords
        self._made = 0
        self._used: dict[int, int] = {}  # highest count by number of the nonce, as they were first used
        self._forgotten = 0  # all nonces up to this number

    def challenge(self, now: float, *, stale: bool = False, source: str = "") -> list[tuple[str, str]]:
        """Headers for a 401, the stronger algorithm first."""
        self._made += 1
        nonce = self._nonce(f"{int(now):012x}{self._made:012x}", source)
        mark = ", stale=true" if stale else ""
        return [
            (
                "WWW-Authenticate",
                f'Digest realm="{self.realm}", nonce="{nonce}", algorithm={algorithm}, qop="auth"{mark}',
            )
            for algorithm in ALGORITHMS
        ]

    def check(self, request: Request, now: float, source: str = "") -> tuple[str, bool]:
        """The user that the credentials prove, empty for none; and whether only their nonce was not good any more."""
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
        if not right or password is None or not _same_target(given.get("uri", ""), request.uri):
            return "", False
        return (user, False) if self._good(given, now, source) else ("", True)

    def _nonce(self, stamp: str, source: str) -> str:
        return stamp + hmac.new(self._key, f"{stamp} {source}".encode(), hashlib.sha256).hexdigest()[:24]

    def _good(self, given: Mapping[str, str], now: float, source: str) -> bool:
        """Whether a nonce is one that we gave to that source, young, and not used with this count or a later one."""
        nonce = given.get("nonce", "")
        expected = self._nonce(nonce[:24], source)
        if not hmac.compare_digest(expected.encode("utf-8", "replace"), nonce.encode("utf-8", "replace")):
            return False
        number, count = int(nonce[12:24], 16), _count(given)
        old = now - int(nonce[:12], 16) > NONCE_LIFE or number <= self._forgotten
        if old or count <= self._used.get(number, 0):
            return False
        self._used[number] = count
        if len(self._used) > USED_NONCES:
            oldest = next(iter(self._used))
            self._forgotten = max(self._forgotten, oldest)
            del self._used[oldest]
        return True


def _count(given: Mapping[str, str]) -> int:
    """The nonce count; without one there is no second use."""
    text = given.get("nc", "")
    if "qop" not in given:
        return _ONCE
    return int(text, 16) if _NC.fullmatch(text) else 0


def _same_target(said: str, uri: str) -> bool:
    """Whether the `uri` of the credentials is the Request-URI (RFC 7616 §3.4.6), however it is spelt."""
    if said == uri:
        return True
    try:
        return _target(said) == _target(uri)
    except SipError:
        return False


def _target(text: str) -> tuple[str, str, int | None]:
    uri = parse_uri(text)
    secure = uri.scheme == "sips" or uri.transport == "tls"
    port = uri.port or (None if uri.scheme == "tel" else 5061 if secure else 5060)
    return uri.user or "", uri.host.lower(), port
