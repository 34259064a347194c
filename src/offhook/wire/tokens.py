"""Checking signed tokens against the key page of their issuer (RFC 7515, 7517, 7519; protocol.md §4.2, §5.4).

RS256 only. Nothing here fetches: whoever has a `TokenVerifier` asks it when the page is due, and hands the page in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from offhook.errors import OffhookError

REFETCH_S: Final = 30.0
KEYS_LIVE_S: Final = 86_400.0
FIRST_FETCH_RETRY_S: Final = 1.0
FETCH_TIMEOUT_S: Final = 5.0
LEEWAY_S: Final = 60.0
MAX_PAGE: Final = 1 << 20
_MAX_TOKEN: Final = 16_384
_MAX_KEYS: Final = 100


class TokenError(OffhookError):
    """A token is missing or not to be trusted; the text says why, and is safe to log."""


class UnknownKeyError(TokenError):
    """The token names a key that the key page, as it was last fetched, does not have."""


class TokenVerifier:
    """Verifies `Authorization` headers against audiences, one issuer and its key page as it was last handed in.

    `audiences`: one of them must be in the token; none: any, or no audience. Times are Unix seconds. The page is read
    anew when a token names an unknown key, at most every 30 s (1 s while no key is known), and after a day.
    """

    def __init__(self, audiences: Sequence[str], issuer: str, jwks_uri: str) -> None:
        self.audiences = tuple(audiences)
        self.issuer = issuer
        self.jwks_uri = jwks_uri
        self._keys: dict[str, RSAKey] = {}
        self._fetched_at = -math.inf
        self._fault = "not fetched yet"

    def verify(self, authorization: str | None, now: float) -> dict[str, Any]:
        """The claims of a good token; TokenError else, UnknownKeyError when the page as it is now could change that."""
        token = _bearer(authorization)
        try:
            header = jws.extract_compact(token.encode()).headers()
        except (JoseError, ValueError, TypeError, KeyError, RecursionError):
            raise TokenError("the token is no signed JWT") from None
        if header.get("alg") != "RS256":
            raise TokenError(f"the token is signed with {str(header.get('alg'))[:20]!r}, only RS256 is taken")
        kid = header.get("kid")
        if not isinstance(kid, str) or not kid:
            raise TokenError("the token names no key (kid)")
        key = self._keys.get(kid)
        if key is None:
            raise UnknownKeyError(f"no key {kid[:60]!r} at {self.jwks_uri} ({self._fault})")
        try:
            payload = jws.deserialize_compact(token, key, algorithms=["RS256"]).payload
        except (JoseError, ValueError, TypeError, KeyError, RecursionError):
            raise TokenError("the token's signature does not verify") from None
        return self._check_claims(payload, now)

    def stale(self, now: float) -> bool:
        """Whether the keys at hand are so old that the page should be read before they are used."""
        return bool(self._keys) and now - self._fetched_at > KEYS_LIVE_S

    def fetch_due(self, now: float) -> bool:
        """Whether the page may be read now. A yes counts as a reading: answer it by `take_page` or `page_failed`."""
        if 0 <= now - self._fetched_at < (REFETCH_S if self._keys else FIRST_FETCH_RETRY_S):
            return False
        self._fetched_at = now
        return True

    def take_page(self, page: bytes) -> None:
        """The keys are those of this page. One that cannot be read changes no key; UnknownKeyError then tells why."""
        try:
            self._keys = _read_keys(page)
        except ValueError as error:
            self.page_failed(error)
        else:
            self._fault = f"the page has {len(self._keys)} keys"

    def page_failed(self, error: Exception) -> None:
        """The page could not be had; the keys stay as they are."""
        self._fault = f"the key page could not be read: {error}"

    def _check_claims(self, payload: bytes, now: float) -> dict[str, Any]:
        try:
            claims = msgspec.json.decode(payload, type=dict[str, Any])
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise TokenError("the token holds no claims") from None
        if claims.get("iss") != self.issuer:
            raise TokenError(f"the token was issued by {str(claims.get('iss'))[:80]!r}, not {self.issuer!r}")
        audience = claims.get("aud")
        meant = audience if isinstance(audience, list) else [audience]
        if self.audiences and not any(one in self.audiences for one in meant):
            raise TokenError(f"the token is for {str(audience)[:80]!r}, not {self.audiences[0]!r}")
        expires = _seconds(claims, "exp")
        if expires is None:
            raise TokenError("the token never expires (no exp)")
        if now >= expires + LEEWAY_S:
            raise TokenError(f"the token expired {now - expires:.0f} s ago")
        for name in ("nbf", "iat"):
            starts = _seconds(claims, name)
            if starts is not None and now < starts - LEEWAY_S:
                raise TokenError(f"the token is not valid for another {starts - now:.0f} s ({name}); check the clocks")
        return claims


def keys_may_come_from(uri: str) -> bool:
    """Whether keys may be taken from a URL: over https, or over http from this machine."""
    try:
        parts = urlsplit(uri)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_local(host)))


def is_local(host: str) -> bool:
    """Whether a host of a URL is this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _bearer(authorization: str | None) -> str:
    if not authorization:
        raise TokenError("there is no Authorization header")
    scheme, _, token = authorization.strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise TokenError("the Authorization header is not 'Bearer <token>'")
    if len(token) > _MAX_TOKEN:
        raise TokenError(f"the token is longer than {_MAX_TOKEN} characters")
    if not token.isascii():
        raise TokenError("the token is no signed JWT")
    return token


def _seconds(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise TokenError(f"the token's {name} is no time")
    return float(value)


def _read_keys(page: bytes) -> dict[str, RSAKey]:
    """The signing keys of a key page by kid. ValueError when it is none or has no usable key."""
    try:
        rows = msgspec.json.decode(page, type=dict[str, Any]).get("keys")
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"no JSON key set: {error}") from None
    keys: dict[str, RSAKey] = {}
    for row in rows[:_MAX_KEYS] if isinstance(rows, list) else []:
        if not isinstance(row, dict) or row.get("kty") != "RSA" or row.get("use", "sig") != "sig":
            continue
        kid = row.get("kid")
        if isinstance(kid, str) and kid:
            try:
                keys[kid] = RSAKey.import_key({name: row[name] for name in ("kty", "kid", "n", "e")})
            except (JoseError, ValueError, TypeError, KeyError):
                continue
    if not keys:
        raise ValueError("it has no RSA signing key with a kid")
    return keys
