"""A call to a user that no phone holds goes to the app that watches it, so that two apps talk to each other."""

from __future__ import annotations

from typing import Any

import pytest
from azure.communication.callautomation import CallRejectReason, CommunicationUserIdentifier
from tests.conformance.python_sdk import Sdk, dominant, media_streaming, pcm_of, sdk, tone
from tests.console_leg import leg
from tests.live import LiveNode, Stream, TestApp, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

USER = "8:acs:c727b82c-e91b-4d4e-9d09-e594a936121e_0e0e0e0e-0000-4000-8000-000000000001"


async def called(client: Sdk, app: TestApp, rate: int = 16000, **options: Any) -> tuple[str, dict[str, Any]]:
    """Call the user; the caller's connection id, and the IncomingCall that came of it."""
    made = await client(
        client.client.create_call,
        CommunicationUserIdentifier(USER),
        f"{app.url}/other",
        source_display_name="First app",
        media_streaming=media_streaming(app.socket, rate),
        **options,
    )
    return made.call_connection_id, await app.invited()


async def stream_of(app: TestApp, connection_id: str) -> Stream:
    """The stream of one connection, running."""
    found = await until(
        lambda: [s for s in app.streams if s.headers["x-ms-call-connection-id"] == connection_id and len(s.frames) > 5],
        "the stream",
    )
    return found[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("rates", [(16000, 16000), (16000, 24000), (24000, 16000)])
async def test_two_apps_hear_each_other(node: LiveNode, app: TestApp, rates: tuple[int, int]) -> None:
    async with sdk(node, "async http") as client:
        first, data = await called(client, app, rates[0])
        assert (data["to"]["rawId"], data["callerDisplayName"]) == (USER, "First app")
        answered = await client(
            client.client.answer_call,
            data["incomingCallContext"],
            app.callback,
            media_streaming=media_streaming(app.socket, rates[1]),
        )
        second = answered.call_connection_id
        await app.event("CallConnected", 2)
        assert {(e["data"]["callConnectionId"], e["path"]) for e in app.named("CallConnected")} == {
            (first, "/other"),
            (second, "/callbacks"),
        }
        streams = [await stream_of(app, first), await stream_of(app, second)]
        for hertz, speaker, listener, rate, heard_at in (
            (700, streams[0], streams[1], rates[0], rates[1]),
            (1100, streams[1], streams[0], rates[1], rates[0]),
        ):
            await speaker.play(tone(hertz, 1.5, rate))

            def heard(listener: Stream = listener, at: int = heard_at, hertz: int = hertz) -> bool:
                loud = pcm_of(listener.frames[-50:])
                return bool(loud.size >= at // 2 and loud.any() and abs(dominant(loud, at) - hertz) < 10)

            await until(heard, f"{hertz} Hz on the other side")
        await client(client.connection(second).hang_up, False)
        gone = await app.event("CallDisconnected", 2)
        assert gone and {e["data"]["callConnectionId"] for e in app.named("CallDisconnected")} == {first, second}
        assert not app.named("CreateCallFailed")


@pytest.mark.parametrize(
    ("reason", "figures"),
    [(CallRejectReason.BUSY, (486, 560486)), (CallRejectReason.FORBIDDEN, (403, 560403)), (None, (200, 5002))],
)
async def test_the_calling_app_hears_why_the_other_refused(
    node: LiveNode, app: TestApp, reason: CallRejectReason | None, figures: tuple[int, int]
) -> None:
    async with sdk(node, "async http") as client:
        first, data = await called(client, app)
        options = {} if reason is None else {"call_reject_reason": reason}
        await client(client.client.reject_call, data["incomingCallContext"], **options)
        failed = await app.event("CreateCallFailed")
        assert failed["callConnectionId"] == first
        assert (failed["resultInformation"]["code"], failed["resultInformation"]["subCode"]) == figures
        assert not app.named("CallConnected")


async def test_the_calling_app_gives_up(node: LiveNode, app: TestApp) -> None:
    async with sdk(node, "async http") as client:
        first, data = await called(client, app)
        await client(client.connection(first).hang_up, True)
        await app.event("CallDisconnected")
        with pytest.raises(Exception) as refused:
            await client(client.client.answer_call, data["incomingCallContext"], app.callback)
        assert refused.value.status_code == 404  # type: ignore[attr-defined]


async def test_a_phone_of_the_user_is_rung_before_any_app(node: LiveNode, app: TestApp) -> None:
    async with sdk(node, "async http") as client, leg(node) as phone:
        await phone.send(kind="register", identity=USER)
        await phone.told("registered")
        await client(client.client.create_call, CommunicationUserIdentifier(USER), app.callback)
        await phone.told("invite")
        await app.event("CallConnected")
        assert not app.incoming
