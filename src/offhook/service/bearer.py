"""Bearer tokens of REST requests (protocol.md §4.2): an identity provider such as Entra ID vouches for the app.

The provider, its key page and the audience are settings; without them no token is taken. The page is fetched by the
node's own rule of whom it may connect to, never by a redirect, and never while the media clock waits for it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from offhook.errors import OutcomeError
from offhook.service.posting import describe
from offhook.service.targets import Targets
from offhook.wire.tokens import FETCH_TIMEOUT_S, MAX_PAGE, TokenError, TokenVerifier, UnknownKeyError

AUDIENCE = "https://communication.azure.com"
HOW = (
    "set issuer and jwks_url in [tokens] of offhook serve (--token-issuer and --token-keys of dev), "
    "or use the connection string with the access key"
)
_NAMES = ("appid", "azp", "oid", "sub")
"""Claims that say who has the token: an application (v1, v2), a user or service principal, a subject."""

Fetch = Callable[[str], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class TokenRule:
    """Whose tokens open the node. `clients`: only of these applications, users or subjects; none: of all."""

    issuer: str
    jwks_url: str
    audience: str = AUDIENCE
    clients: tuple[str, ...] = ()

    @property
    def audiences(self) -> tuple[str, str]:
        """The scope `https://communication.azure.com//.default` gives an audience with or without its last `/`."""
        bare = self.audience.rstrip("/")
        return bare, f"{bare}/"


class BearerCheck:
    """Checks the `Authorization` headers of requests by one rule."""

    def __init__(self, rule: TokenRule, fetch: Fetch) -> None:
        """`fetch` downloads the key page: OSError or ValueError when it cannot."""
        self._rule = rule
        self._fetch = fetch
        self._verifier = TokenVerifier(rule.audiences, rule.issuer, rule.jwks_url)
        self._fetching: asyncio.Task[None] | None = None

    async def check(self, authorization: str, now: float) -> None:
        """Returns for a good token; `now` in Unix seconds. OutcomeError `invalid_token` or `token_not_allowed` else."""
        try:
            claims = await self._claims(authorization, now)
        except TokenError as error:
            raise OutcomeError("invalid_token", f"{error} ([tokens]).") from None
        if self._rule.clients and not any(claims.get(name) in self._rule.clients for name in _NAMES):
            shown = ", ".join(f"{name} {str(claims[name])[:60]!r}" for name in _NAMES if claims.get(name))
            raise OutcomeError("token_not_allowed", f"Add one of {shown or 'its claims'} to clients in [tokens].")

    async def _claims(self, authorization: str, now: float) -> dict[str, Any]:
        if self._verifier.stale(now):
            await self._refresh(now)
        try:
            return self._verifier.verify(authorization, now)
        except UnknownKeyError:
            await self._refresh(now)
        return self._verifier.verify(authorization, now)

    async def _refresh(self, now: float) -> None:
        """Read the key page, or wait for whoever does: requests never queue for fetches of their own."""
        if self._fetching is None:
            if not self._verifier.fetch_due(now):
                return
            self._fetching = asyncio.get_running_loop().create_task(self._read())
        # A client that hangs up must not end the reading that others wait for.
        await asyncio.shield(self._fetching)

    async def _read(self) -> None:
        try:
            page = await self._fetch(self._rule.jwks_url)
        except (OSError, ValueError) as error:
            self._verifier.page_failed(error)
        else:
            self._verifier.take_page(page)
        finally:
            self._fetching = None


class KeyPages:
    """Downloads key pages."""

    def __init__(self, targets: Targets, tls: ssl.SSLContext) -> None:
        self._targets = targets
        self._tls = tls

    async def __call__(self, url: str) -> bytes:
        """The page, at most 1 MiB of it, within 5 s. OSError or ValueError says why not."""
        connector = aiohttp.TCPConnector(force_close=True, socket_factory=self._targets.open_socket)
        timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)
        headers = {"User-Agent": "offhook", "Accept": "application/json"}
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session,
                session.get(url, ssl=self._tls, allow_redirects=False) as response,
            ):
                if response.status != 200:
                    raise ValueError(f"it answers {response.status}")
                return await _limited(response)
        except TimeoutError:
            raise OSError(f"no answer within {FETCH_TIMEOUT_S:g} s") from None
        except aiohttp.ClientError as error:
            no_connection = isinstance(error, aiohttp.ClientConnectorError)
            raise OSError(describe(error, sent=False) if no_connection else str(error)) from None


async def _limited(response: aiohttp.ClientResponse) -> bytes:
    page = bytearray()
    async for chunk in response.content.iter_any():
        page += chunk
        if len(page) > MAX_PAGE:
            raise ValueError(f"it is larger than {MAX_PAGE} bytes")
    return bytes(page)
