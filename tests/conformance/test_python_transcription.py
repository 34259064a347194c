"""The official Python SDK has a call transcribed; each test compares the text with what the callers said."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import jiwer
import pytest
from azure.communication.callautomation import StreamingTransportType, TranscriptionOptions
from tests.conformance.python_sdk import Sdk, sdk
from tests.console_leg import Leg, caller
from tests.live import LiveNode, Stream, TestApp, until
from tests.spoken import plain, spoken

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

SENTENCE = "I would like to change my flight to Boston on Friday."
OTHER = "The weather is very nice today."
SLOW = 40.0
"""Seconds that a recogniser on a busy machine may take."""


def options(app: TestApp, **changed: Any) -> TranscriptionOptions:
    given = {"transport_url": app.socket + "/transcripts", "locale": "en-US", "start_transcription": True, **changed}
    return TranscriptionOptions(transport_type=StreamingTransportType.WEBSOCKET, **given)


@contextlib.asynccontextmanager
async def talking(
    node: LiveNode, app: TestApp, given: TranscriptionOptions | None, kind: str = "async http"
) -> AsyncIterator[tuple[Sdk, Any, Leg]]:
    """An answered call: the SDK, its connection client, and the caller."""
    async with sdk(node, kind) as client, caller(node) as leg:
        context = (await app.invited())["incomingCallContext"]
        more = {} if given is None else {"transcription": given}
        made = await client(client.client.answer_call, context, app.callback, operation_context="call", **more)
        await app.event("CallConnected")
        yield client, client.connection(made.call_connection_id), leg


def said(stream: Stream, status: str = "Final") -> list[dict[str, Any]]:
    """The transcription data of one status so far."""
    data = [m["transcriptionData"] for m in stream.messages if m["kind"] == "TranscriptionData"]
    return [one for one in data if one["resultStatus"] == status]


async def finals(stream: Stream, count: int) -> list[dict[str, Any]]:
    return await until(lambda: len(said(stream)) >= count and said(stream), f"{count} texts", SLOW)  # type: ignore[no-any-return]


async def test_what_a_caller_says(node: LiveNode, app: TestApp) -> None:
    async with talking(node, app, options(app, enable_intermediate_results=True)) as (client, connection, leg):
        started = await until(lambda: app.named("TranscriptionStarted"), "started", SLOW)
        print(started)
        await leg.speak(spoken(SENTENCE).tobytes())
        (final,) = await finals(app.streams[0], 1)
        print(app.streams[0].messages)
        assert jiwer.wer(plain(SENTENCE), plain(final["text"])) < 0.2
