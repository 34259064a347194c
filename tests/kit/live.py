"""A live node whose calls go to apps of the kit in the test's own loop, with the real SDK and checked tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from azure.communication.callautomation.aio import CallAutomationClient
from tests.console_leg import Leg, Samples
from tests.live import LiveNode, until

from offhook.kit import Call, TokenCheck, TurnTaking, VoiceApp
from offhook.kit.web import serve_alone


def voice_app(node: LiveNode, public_url: str = "", **settings: Any) -> VoiceApp:
    """An app for the node's calls."""
    info = node.info
    return VoiceApp(
        client=CallAutomationClient.from_connection_string(
            node.connection_string, connection_verify=info["caBundle"]
        ),
        public_url=public_url,
        token_check=TokenCheck(info["resourceId"], info["issuer"], f"{node.http}/calling/keys"),
        turn_taking=TurnTaking(barge_in=False),
        **settings,
    )


def echoing(app: VoiceApp) -> list[Call]:
    """Its agent says back what the caller says; the calls so far."""
    calls: list[Call] = []

    @app.on_call
    async def echo(call: Call) -> None:
        calls.append(call)
        async for frame in call.audio:
            call.play(frame.pcm)

    return calls


async def validated(node: LiveNode, url: str) -> None:
    """Wait until the node sends its calls to this webhook."""
    await until(
        lambda: any(event["state"] == "validated" and event["url"] == url for event in node.named("subscription")), url
    )


async def hears_tone(leg: Leg, hertz: float) -> None:
    """Wait until the caller hears this tone."""

    rate = (await leg.told("answered"))["rate"]

    def found() -> bool:
        return tone_of(leg.heard, rate) == hertz

    await until(found, f"a tone of {hertz} Hz")


def tone_of(samples: Samples, rate: int) -> float:
    """The strongest frequency of its last 50 ms, to 20 Hz; 0 for what is too short or too quiet."""
    last = samples[-rate // 20 :]
    if len(last) < rate // 20 or np.abs(last).max() < 500:
        return 0.0
    return float(np.argmax(np.abs(np.fft.rfft(last))) * 20)


@asynccontextmanager
async def alone(app: VoiceApp, port: int, stream_port: int | None = None) -> AsyncIterator[None]:
    """It serves by itself."""
    stop = asyncio.Event()
    serving = asyncio.create_task(serve_alone(app, "127.0.0.1", port, stream_port, stop))
    await until(lambda: serving.done() or app._keeper is not None, "the app serves")
    try:
        yield
    finally:
        stop.set()
        await serving
