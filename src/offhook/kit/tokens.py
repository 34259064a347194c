"""Checks the bearer token of callbacks and stream handshakes (protocol.md 2.2, 5.4); fails closed.

RS256 only, keys from the issuer's key page, which is fetched when a token names a key not seen yet.
"""

from __future__ import annotations

import asyncio
import math
import os
import ssl
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from offhook.errors import ConfigError, OffhookError

DEFAULT_ISSUER: Final = "https://acscallautomation.communication.azure.com"
DEFAULT_JWKS_URI: Final = f"{DEFAULT_ISSUER}/calling/keys"
ENVIRONMENT: Final = ("ACS_RESOURCE_ID", "ACS_TOKEN_ISSUER", "ACS_JWKS_URI")
REFETCH_S: Final = 30.0
KEYS_LIVE_S: Final = 86_400.0
FIRST_FETCH_RETRY_S: Final = 1.0
FETCH_TIMEOUT_S: Final = 5.0
LEEWAY_S: Final = 60.0
_MAX_TOKEN: Final = 16_384
_MAX_PAGE: Final = 1 << 20
_MAX_KEYS: Final = 100


class TokenError(OffhookError):
    """A token is missing or not to be trusted; the text says why, and is safe to log."""


class UnknownKeyError(TokenError):
    """The token names a key that the key page, as it was last fetched, does not have."""


class TokenCheck:
    """Verifies `Authorization` headers against one audience, issuer and key page.

    What is not given is taken from ACS_RESOURCE_ID, ACS_TOKEN_ISSUER and ACS_JWKS_URI, the last two
    with the defaults of the real service. ConfigError without an audience, or for a key page that is
    neither https nor on this machine. `fetch` replaces the download (url -> body); it runs in a thread.
    """

    def __init__(
        self,
        audience: str | None = None,
        issuer: str | None = None,
        jwks_uri: str | None = None,
        *,
        fetch: Callable[[str], bytes] | None = None,
    ) -> None:
        resource, default_issuer, default_uri = (os.environ.get(name) for name in ENVIRONMENT)
        self.audience = audience or resource or ""
        self.issuer = issuer or default_issuer or DEFAULT_ISSUER
        self.jwks_uri = jwks_uri or default_uri or DEFAULT_JWKS_URI
        if not self.audience:
            raise ConfigError(
                "tokens cannot be checked without an audience: set ACS_RESOURCE_ID to the resource's id, "
                "or pass token_check=None to let anybody in"
            )
        _check_uri(self.jwks_uri)
        self._fetch = fetch or fetch_keys
        self._keys: dict[str, RSAKey] = {}
        self._fetched_at = -math.inf
        self._fetching = asyncio.Lock()
        self._fault = "not fetched yet"

    async def verify(self, authorization: str | None, now: float) -> dict[str, Any]:
        """The claims of a good token. `authorization`: the header; `now`: unix seconds. TokenError else."""
        if self._keys and now - self._fetched_at > KEYS_LIVE_S:
            await self.refresh(now)
        try:
            return self.verify_cached(authorization, now)
        except UnknownKeyError:
            await self.refresh(now)
        return self.verify_cached(authorization, now)

    def verify_cached(self, authorization: str | None, now: float) -> dict[str, Any]:
        """As `verify`, with the keys at hand. UnknownKeyError when `refresh` could change the answer."""
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

    async def refresh(self, now: float) -> None:
        """Fetch the key page unless that was done within 30 s (1 s while no key is known).

        A page that cannot be read changes no key; the next UnknownKeyError tells why it could not.
        """
        async with self._fetching:
            wait = REFETCH_S if self._keys else FIRST_FETCH_RETRY_S
            if 0 <= now - self._fetched_at < wait:
                return
            self._fetched_at = now
            try:
                self._keys = _read_keys(await asyncio.to_thread(self._fetch, self.jwks_uri))
            except (OSError, ValueError, HTTPException) as error:
                self._fault = f"the key page could not be read: {error}"
            else:
                self._fault = f"the page has {len(self._keys)} keys"

    def _check_claims(self, payload: bytes, now: float) -> dict[str, Any]:
        try:
            claims = msgspec.json.decode(payload, type=dict[str, Any])
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise TokenError("the token holds no claims") from None
        if claims.get("iss") != self.issuer:
            raise TokenError(f"the token was issued by {str(claims.get('iss'))[:80]!r}, not {self.issuer!r}")
        audience = claims.get("aud")
        if self.audience not in (audience if isinstance(audience, list) else [audience]):
            raise TokenError(f"the token is for {str(audience)[:80]!r}, not {self.audience!r}")
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


def _check_uri(uri: str) -> None:
    parts = urlsplit(uri)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and parts.hostname and _is_local(parts.hostname):
        return
    raise ConfigError(f"ACS_JWKS_URI {uri!r}: keys are only taken over https, or over http from this machine")


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """A key page that moves elsewhere is not the one that was configured."""
        return None


def fetch_keys(url: str) -> bytes:
    """Download a key page with the process's trust store (SSL_CERT_FILE counts). OSError or ValueError."""
    handlers: list[Any] = [urllib.request.HTTPSHandler(context=ssl.create_default_context()), _NoRedirect]
    if _is_local(urlsplit(url).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    with urllib.request.build_opener(*handlers).open(request, timeout=FETCH_TIMEOUT_S) as answer:
        page: bytes = answer.read(_MAX_PAGE + 1)
    if len(page) > _MAX_PAGE:
        raise ValueError(f"it is larger than {_MAX_PAGE} bytes")
    return page
