"""Services that speak the Realtime protocol, each a small description; the `openai` package's client connects to them.

Where each is reached: OpenAI at `/v1/realtime`; Azure OpenAI at `/openai/v1/realtime` (general availability) and
`/openai/realtime?api-version=&deployment=` (preview); Voice Live at `/voice-live/realtime?api-version=&model=`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from inspect import isawaitable, iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, cast
from urllib.parse import urlsplit

from offhook.errors import ConfigError, OffhookError

if TYPE_CHECKING:
    from openai import AsyncAzureOpenAI, AsyncOpenAI

# The package loads what it needs at first use, for a second: that is for an app's start, not for its first call.
with suppress(ModuleNotFoundError):
    import openai
    import websockets.asyncio.client  # noqa: F401

    openai.AsyncOpenAI(api_key="none").realtime.connect(model="none")  # connects when it is entered, which it is not

TokenProvider: TypeAlias = Callable[[], Awaitable[str]]

OPENAI_URL: Final = "https://api.openai.com/v1"
PREVIEW_VERSION: Final = "2025-04-01-preview"
VOICE_LIVE_VERSION: Final = "2025-10-01"
AZURE_SCOPE: Final = "https://cognitiveservices.azure.com/.default"
VOICE_LIVE_SCOPE: Final = "https://ai.azure.com/.default"
_HEARING_MODELS: Final = ("gpt-realtime", "gpt-4o-realtime", "gpt-4o-mini-realtime")

# The package's own logger writes the handshake at DEBUG, and with it the key.
_log: Final = logging.getLogger("offhook.kit.websocket")
_log.setLevel(logging.INFO)

# Of the `websockets` client: a model that is gone is noticed within 20 s, and holds nothing up when the call ends.
_OPTIONS: Final[Any] = {
    "open_timeout": 10,
    "close_timeout": 2,
    "ping_interval": 10,
    "ping_timeout": 10,
    "max_size": 16 << 20,
    "compression": None,
    "logger": _log,
}


class KeyFailed(OffhookError):
    """The function that gives the key did not."""


class Connection(Protocol):
    """What the relay needs of the package's connection, the same for both vocabularies."""

    async def send(self, event: Any) -> None:
        """Send one client event."""

    async def recv_bytes(self) -> bytes:
        """The next server event as JSON. websockets' ConnectionClosed at the end."""

    async def close(self) -> None:
        """Close it; harmless when closed."""


class Service(Protocol):
    """What the relay needs of a service."""

    @property
    def preview(self) -> bool:
        """Whether it speaks the preview's event names and flat session settings, or those of the general release."""

    @property
    def voice_live(self) -> bool:
        """Whether it has Voice Live's own settings."""

    def transcriber(self, model: str) -> str:
        """The usual model for transcripts of the caller, with this speech model."""

    def connect(self, model: str) -> AbstractAsyncContextManager[Connection]:
        """A connection for one call, to be entered; run in a thread, as it may load much. ConfigError.

        A fresh token is asked for each time it is entered.
        """


@dataclass(slots=True)
class OpenAI:
    """OpenAI, or whatever speaks like it at another base URL."""

    api_key: str | TokenProvider | None = field(default=None, repr=False)
    """A key, or an async function that gives one for each connection; else OPENAI_API_KEY."""
    base_url: str | None = None
    """Such as https://api.openai.com/v1; else OPENAI_BASE_URL."""
    preview: bool = False
    """Speak the preview's protocol (`beta.realtime`)."""
    voice_live: bool = field(default=False, init=False)
    _client: AsyncOpenAI | None = field(default=None, init=False, repr=False, compare=False)

    def transcriber(self, model: str) -> str:
        """As `Service.transcriber`."""
        return "gpt-4o-mini-transcribe"

    def connect(self, model: str) -> AbstractAsyncContextManager[Connection]:
        """As `Service.connect`."""
        if self._client is None:
            key = self.api_key or os.environ.get("OPENAI_API_KEY")
            if not key:
                raise ConfigError("OpenAI: no key: set OPENAI_API_KEY, or give OpenAI(api_key=...)")
            url = self.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL
            self._client = _client(url, key if isinstance(key, str) else _guarded(key))
        if self.preview:
            return self._client.beta.realtime.connect(model=model, websocket_connection_options=_options(self._client))
        return self._client.realtime.connect(model=model, websocket_connection_options=_options(self._client))


@dataclass(slots=True)
class AzureOpenAI:
    """Azure OpenAI; the relay's `model` is the name of your deployment."""

    endpoint: str | None = None
    """Such as https://name.openai.azure.com; else AZURE_OPENAI_ENDPOINT."""
    api_key: str | None = field(default=None, repr=False)
    """Else AZURE_OPENAI_API_KEY; with neither, `credential` is used."""
    credential: Any = None
    """Any object with `get_token(scope)`, sync or async, such as azure-identity's; else DefaultAzureCredential."""
    preview: bool = False
    """Speak the preview's protocol, with an `api_version`."""
    api_version: str = PREVIEW_VERSION
    scope: str = AZURE_SCOPE
    voice_live: bool = field(default=False, init=False)
    _client: AsyncOpenAI | None = field(default=None, init=False, repr=False, compare=False)

    def transcriber(self, model: str) -> str:
        """As `Service.transcriber`. Others than this one must have been deployed."""
        return "whisper-1"

    def connect(self, model: str) -> AbstractAsyncContextManager[Connection]:
        """As `Service.connect`."""
        key = self.api_key or os.environ.get("AZURE_OPENAI_API_KEY")
        if self._client is None:
            endpoint = _endpoint(self.endpoint, "AZURE_OPENAI_ENDPOINT", "AzureOpenAI(endpoint=...)")
            token = None if key else token_provider(self.credential, self.scope)
            if self.preview:
                self._client = _azure_client(endpoint, key, token, self.api_version)
            else:
                self._client = _client(f"{endpoint}/openai/v1", key or cast(TokenProvider, token))
        options = _options(self._client)
        if self.preview:
            return self._client.beta.realtime.connect(model=model, websocket_connection_options=options)
        return self._client.realtime.connect(
            model=model, extra_headers=_key_headers(key), websocket_connection_options=options
        )


@dataclass(slots=True)
class VoiceLive:
    """Azure AI Voice Live; it has the preview's event names, and turn detection and voices of its own."""

    endpoint: str | None = None
    """Such as https://name.services.ai.azure.com; else AZURE_VOICELIVE_ENDPOINT."""
    api_key: str | None = field(default=None, repr=False)
    """Else AZURE_VOICELIVE_API_KEY; with neither, `credential` is used."""
    credential: Any = None
    """As in `AzureOpenAI`."""
    api_version: str = VOICE_LIVE_VERSION
    scope: str = VOICE_LIVE_SCOPE
    preview: bool = field(default=True, init=False)
    voice_live: bool = field(default=True, init=False)
    _client: AsyncOpenAI | None = field(default=None, init=False, repr=False, compare=False)

    def transcriber(self, model: str) -> str:
        """As `Service.transcriber`: models of OpenAI that hear speech themselves have no Azure Speech beside them."""
        return "whisper-1" if model.startswith(_HEARING_MODELS) else "azure-speech"

    def connect(self, model: str) -> AbstractAsyncContextManager[Connection]:
        """As `Service.connect`."""
        key = self.api_key or os.environ.get("AZURE_VOICELIVE_API_KEY")
        if self._client is None:
            endpoint = _endpoint(self.endpoint, "AZURE_VOICELIVE_ENDPOINT", "VoiceLive(endpoint=...)")
            self._client = _client(f"{endpoint}/voice-live", key or token_provider(self.credential, self.scope))
        return self._client.beta.realtime.connect(
            model=model,
            extra_query={"api-version": self.api_version},
            extra_headers=_key_headers(key),
            websocket_connection_options=_options(self._client),
        )


def service_from_environment() -> Service:
    """The service whose variables are set, in this order. ConfigError when there is none."""
    for kind, names in _ENVIRONMENT.items():
        values = [os.environ.get(name) for name in names]
        if values[0]:
            return _made(kind, *values)
    raise ConfigError(
        "no speech model is configured: set OPENAI_API_KEY (and OPENAI_BASE_URL for another server), "
        "AZURE_OPENAI_ENDPOINT with AZURE_OPENAI_API_KEY, or AZURE_VOICELIVE_ENDPOINT with AZURE_VOICELIVE_API_KEY "
        "(without a key, Entra ID is asked for a token); or give relay(service=...)"
    )


_ENVIRONMENT: Final[dict[Callable[[], Service], tuple[str, ...]]] = {
    OpenAI: ("OPENAI_API_KEY", "OPENAI_BASE_URL"),
    AzureOpenAI: ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY"),
    VoiceLive: ("AZURE_VOICELIVE_ENDPOINT", "AZURE_VOICELIVE_API_KEY"),
}


@lru_cache(maxsize=1)
def _made(kind: Callable[[], Service], *values: str | None) -> Service:
    # One for all calls: its client takes a while to make.
    return kind()


def token_provider(credential: Any, scope: str) -> TokenProvider:
    """Tokens of a credential, sync or async; it keeps them and renews them itself. ConfigError for none at all."""
    if credential is None:
        credential = _default_credential()
    if not callable(getattr(credential, "get_token", None)):
        raise ConfigError(f"credential has no get_token(scope): {type(credential).__name__}")

    async def token() -> str:
        if iscoroutinefunction(credential.get_token):
            got = await credential.get_token(scope)
        else:
            got = await asyncio.to_thread(credential.get_token, scope)
            if isawaitable(got):
                got = await got
        return str(got.token)

    return _guarded(token)


@lru_cache(maxsize=1)
def _default_credential() -> Any:
    # One for all calls, which keeps its tokens; the sync one, as the other leaves sessions open.
    try:
        from azure.identity import DefaultAzureCredential
    except ModuleNotFoundError:
        raise ConfigError("no key, and azure-identity is missing: pip install 'offhook[realtime]'") from None
    return DefaultAzureCredential()


def _endpoint(given: str | None, variable: str, argument: str) -> str:
    endpoint = given or os.environ.get(variable)
    if not endpoint:
        raise ConfigError(f"no endpoint: set {variable}, or give {argument}")
    return endpoint.rstrip("/")


def _websocket_url(url: str) -> str:
    schemes = {"https": "wss", "http": "ws", "wss": "wss", "ws": "ws"}
    with suppress(ValueError):  # of a port that is none
        parts = urlsplit(url)
        if parts.hostname and parts.port != 0 and parts.scheme in schemes:
            return parts._replace(scheme=schemes[parts.scheme]).geturl().rstrip("/")
    raise ConfigError(f"not the URL of a speech model: {url!r}; give one such as {OPENAI_URL}")


def _client(url: str, key: str | TokenProvider) -> AsyncOpenAI:
    client: AsyncOpenAI = _package().AsyncOpenAI(api_key=key, base_url=url, websocket_base_url=_websocket_url(url))
    return client


def _guarded(provider: TokenProvider) -> TokenProvider:
    async def token() -> str:
        try:
            return await provider()
        except Exception as error:
            if type(error).__module__.startswith("azure."):
                raise
            raise KeyFailed(f"the function that gives the key failed: {type(error).__name__}: {error}") from error

    return token


def _azure_client(endpoint: str, key: str | None, token: TokenProvider | None, version: str) -> AsyncAzureOpenAI:
    client: AsyncAzureOpenAI = _package().AsyncAzureOpenAI(
        azure_endpoint=endpoint,
        api_key=key,
        azure_ad_token_provider=token,
        api_version=version,
        websocket_base_url=_websocket_url(f"{endpoint}/openai"),
    )
    return client


def _key_headers(key: str | None) -> dict[str, Any]:
    """A key goes to Azure as `api-key`, and not as a bearer token too."""
    return {"api-key": key, "Authorization": _package().omit} if key else {}


def _options(client: AsyncOpenAI) -> Any:
    secure = str(client.websocket_base_url).startswith("wss:")
    return {**_OPTIONS, "ssl": _trust()} if secure else _OPTIONS


@lru_cache(maxsize=1)
def _trust() -> ssl.SSLContext:
    # Made once: it takes longer than the event loop should wait.
    return ssl.create_default_context()


def _package() -> Any:
    try:
        import openai
        import websockets  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error.name} is missing: pip install 'offhook[realtime]'") from None
    return openai
