"""Checks the bearer token of callbacks and stream handshakes (protocol.md 2.2, 5.4); fails closed.

RS256 only, keys from the issuer's key page, which is fetched when a token names a key not seen yet.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

from offhook.errors import ConfigError
from offhook.wire.tokens import (
    FETCH_TIMEOUT_S,
    MAX_PAGE,
    TokenError,
    TokenVerifier,
    UnknownKeyError,
    is_local,
    keys_may_come_from,
)

__all__ = ["TokenCheck", "TokenError", "UnknownKeyError", "fetch_keys"]

DEFAULT_ISSUER: Final = "https://acscallautomation.communication.azure.com"
DEFAULT_JWKS_URI: Final = f"{DEFAULT_ISSUER}/calling/keys"
ENVIRONMENT: Final = ("ACS_RESOURCE_ID", "ACS_TOKEN_ISSUER", "ACS_JWKS_URI")


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
                "tokens cannot be checked without an audience: run the app as  offhook exec -- python app.py , or set "
                "ACS_RESOURCE_ID to the resource's immutable id (token_check=None lets anybody in)"
            )
        if not keys_may_come_from(self.jwks_uri):
            raise ConfigError(
                f"ACS_JWKS_URI {self.jwks_uri!r}: keys are only taken over https, or over http from this machine"
            )
        self._verifier = TokenVerifier((self.audience,), self.issuer, self.jwks_uri)
        self._fetch = fetch or fetch_keys
        self._fetching = asyncio.Lock()

    async def verify(self, authorization: str | None, now: float) -> dict[str, Any]:
        """The claims of a good token. `authorization`: the header; `now`: unix seconds. TokenError else."""
        if self._verifier.stale(now):
            await self.refresh(now)
        try:
            return self.verify_cached(authorization, now)
        except UnknownKeyError:
            await self.refresh(now)
        return self.verify_cached(authorization, now)

    def verify_cached(self, authorization: str | None, now: float) -> dict[str, Any]:
        """As `verify`, with the keys at hand. UnknownKeyError when `refresh` could change the answer."""
        return self._verifier.verify(authorization, now)

    async def refresh(self, now: float) -> None:
        """Fetch the key page unless that was done within 30 s (1 s while no key is known); wait for one under way.

        A page that cannot be read changes no key; the next UnknownKeyError tells why it could not.
        """
        under_way = self._fetching.locked()
        async with self._fetching:
            if under_way or not self._verifier.fetch_due(now):
                return
            try:
                page = await asyncio.to_thread(self._fetch, self.jwks_uri)
            except (OSError, ValueError, HTTPException) as error:
                self._verifier.page_failed(error)
            else:
                self._verifier.take_page(page)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """A key page that moves elsewhere is not the one that was configured."""
        return None


def fetch_keys(url: str) -> bytes:
    """Download a key page with the process's trust store (SSL_CERT_FILE counts). OSError or ValueError."""
    handlers: list[Any] = [urllib.request.HTTPSHandler(context=ssl.create_default_context()), _NoRedirect]
    if is_local(urlsplit(url).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    with urllib.request.build_opener(*handlers).open(request, timeout=FETCH_TIMEOUT_S) as answer:
        page: bytes = answer.read(MAX_PAGE + 1)
    if len(page) > MAX_PAGE:
        raise ValueError(f"it is larger than {MAX_PAGE} bytes")
    return page
