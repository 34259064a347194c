"""The official Python SDK's two clients, called in one way, and the pieces of a call that its tests share."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
from aiohttp import ClientSession
from azure.communication.callautomation import (
    AudioFormat,
    CallAutomationClient,
    MediaStreamingAudioChannelType,
    MediaStreamingContentType,
    MediaStreamingOptions,
    PhoneNumberIdentifier,
    StreamingTransportType,
)
from azure.communication.callautomation.aio import CallAutomationClient as AsyncClient
from azure.core.credentials import AzureKeyCredential
from joserfc import jwt
from joserfc.jwk import KeySet
from tests.console_leg import Samples
from tests.live import LiveNode

CLIENTS = ("async http", "async http with slash", "async connection string", "sync http", "sync connection string")


class Sdk:
    """A client, sync or async; sync ones work in a thread, as they would block the loop."""

    def __init__(self, client: Any) -> None:
        self.client = client

    async def __call__(self, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """The result of a client's method; a paged one as a list."""
        if isinstance(self.client, AsyncClient):
            found = method(*args, **options)
            return await found if inspect.isawaitable(found) else [item async for item in found]

        def run() -> Any:
            result = method(*args, **options)
            return list(result) if hasattr(result, "by_page") else result

        return await asyncio.to_thread(run)

    def connection(self, connection_id: str) -> Any:
        """The SDK's connection client."""
        return self.client.get_call_connection(connection_id)

    async def close(self) -> None:
        """Close its sessions."""
        await self(self.client.close)


@contextlib.asynccontextmanager
async def sdk(node: LiveNode, kind: str, key: str | None = None, **options: Any) -> AsyncIterator[Sdk]:
    """A client of one of `CLIENTS`; the two plain http ones take `options`.

    The sync one with a connection string takes its trust from the environment.
    """
    credential = AzureKeyCredential(key or node.key)
    made: Any
    if kind == "async http":
        made = AsyncClient(node.http, credential, **options)
    elif kind == "async http with slash":
        made = AsyncClient(node.http + "/", credential)
    elif kind == "async connection string":
        made = AsyncClient.from_connection_string(node.connection_string, connection_verify=node.info["caBundle"])
    elif kind == "sync http":
        made = CallAutomationClient(node.http, credential, **options)
    else:
        made = CallAutomationClient.from_connection_string(node.connection_string)
    one = Sdk(made)
    try:
        yield one
    finally:
        await one.close()


def media_streaming(url: str, rate: int = 16000, *, mixed: bool = True, start: bool = True) -> MediaStreamingOptions:
    """The SDK's options of a bidirectional stream."""
    return MediaStreamingOptions(
        transport_url=url,
        transport_type=StreamingTransportType.WEBSOCKET,
        content_type=MediaStreamingContentType.AUDIO,
        audio_channel_type=MediaStreamingAudioChannelType.MIXED if mixed else MediaStreamingAudioChannelType.UNMIXED,
        start_media_streaming=start,
        enable_bidirectional=True,
        audio_format=AudioFormat.PCM24_K_MONO if rate == 24000 else AudioFormat.PCM16_K_MONO,
    )


def number(text: str) -> PhoneNumberIdentifier:
    """A phone number, as apps name it."""
    return PhoneNumberIdentifier(text)


async def claims(node: LiveNode, authorization: str) -> dict[str, Any]:
    """The claims of a Bearer token, checked with the node's key page."""
    scheme, token = authorization.split(" ")
    assert scheme == "Bearer"
    async with ClientSession() as session, session.get(node.http + "/calling/keys") as response:
        keys = KeySet.import_key_set(await response.json())
    checked = jwt.decode(token, keys, algorithms=["RS256"])
    jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": node.info["issuer"]},
        aud={"essential": True, "value": node.info["resourceId"]},
        exp={"essential": True},
    ).validate(checked.claims)
    return dict(checked.claims)


def tone(hertz: float, seconds: float, rate: int) -> bytes:
    """PCM16 of a sine at a quarter of full scale."""
    return (8192 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype("<i2").tobytes()


def dominant(samples: Samples, rate: int) -> float:
    """The loudest frequency of at most the last second, in Hz."""
    part = samples[-rate:]
    return float(np.argmax(np.abs(np.fft.rfft(part * np.hanning(part.size)))) * rate / part.size)


def pcm_of(frames: list[dict[str, Any]]) -> Samples:
    """The samples of stream frames."""
    return np.frombuffer(b"".join(base64.b64decode(frame["data"]) for frame in frames), "<i2").astype(np.int16)
