"""The official Python SDK changes who is in a call: add, cancel, remove, mute; what each does to the sound and to the
roster, and every way to fail (protocol.md §§3.2, 5.5, 5.7, 5.8)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from tests.conformance.python_sdk import Sdk, dominant, media_streaming, number, pcm_of, sdk
from tests.console_leg import Leg, caller, phone
from tests.live import CALLEE, CALLER, CONNECTIONS, LiveNode, TestApp, rest, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOTH = pytest.mark.parametrize("kind", ["async http", "sync http"])
OTHER, THIRD = "+15550100009", "+15550100010"


class Talk:
    """A caller with a tone of 440 Hz whom the app has answered, unmixed."""

    def __init__(self, client: Sdk, app: TestApp, leg: Leg, connection_id: str) -> None:
        self.client, self.app, self.leg = client, app, leg
        self.connection = client.connection(connection_id)

    async def add(self, to: str = OTHER, **options: Any) -> Any:
        return await self.client(
            self.connection.add_participant,
            number(to),
            source_caller_id_number=number("+15550100077"),
            operation_context="add",
            **options,
        )

    async def joined(self, to: str = OTHER) -> dict[str, Any]:
        """Add somebody who answers."""
        before = len(self.app.named("AddParticipantSucceeded"))
        await self.add(to)
        return await self.app.event("AddParticipantSucceeded", before + 1)

    async def roster(self) -> dict[str, bool]:
        """Raw ids, and who is muted."""
        listed = await self.client(self.connection.list_participants)
        return {one.identifier.raw_id: one.is_muted for one in listed}

    def frames(self, of: str) -> list[dict[str, Any]]:
        """What the app was sent of somebody."""
        return [frame for frame in self.app.streams[0].frames if frame["participantRawID"] == f"4:{of}"]

    async def newest(self, of: str, count: int = 25) -> list[dict[str, Any]]:
        """As many new frames of somebody."""
        before = len(self.frames(of))
        await until(lambda: len(self.frames(of)) >= before + count, f"{count} more frames of {of}")
        return self.frames(of)[before:]


@contextlib.asynccontextmanager
async def talk(node: LiveNode, app: TestApp, kind: str = "async http") -> AsyncIterator[Talk]:
    async with sdk(node, kind) as client, caller(node, tone=440) as leg:
        data = await app.invited()
        answered = await client(
            client.client.answer_call,
            data["incomingCallContext"],
            app.callback,
            operation_context="answer",
            media_streaming=media_streaming(app.socket, mixed=False),
        )
        await app.stream(frames=5)
        await app.event("ParticipantsUpdated")
        yield Talk(client, app, leg, answered.call_connection_id)


def tones(samples: Any, rate: int = 16000) -> set[int]:
    """The tones, in tens of Hz, that are in the last half second."""
    part = samples[-rate // 2 :].astype(float)
    if not part.size:
        return set()
    spectrum = np.abs(np.fft.rfft(part * np.hanning(part.size)))
    found: set[int] = set()
    while spectrum.max() > 100_000:
        at = int(np.argmax(spectrum))
        found.add(round(at * rate / part.size / 10) * 10)
        spectrum[max(at - 20, 0) : at + 20] = 0
    return found


async def hears(leg: Leg, *expected: int) -> None:
    """Wait until a leg hears these tones, and nothing else."""
    await until(lambda: tones(leg.heard) == set(expected), f"{expected}; it hears {tones(leg.heard)}")


@BOTH
async def test_somebody_is_added_and_everybody_hears_everybody(node: LiveNode, app: TestApp, kind: str) -> None:
    async with (
        talk(node, app, kind) as one,
        phone(node, OTHER, tone=700) as second,
        phone(node, THIRD, tone=1100) as third,
    ):
        result = await one.add(source_display_name="Desk", sip_headers={"X-MS-Custom-order": "7"})
        assert (result.participant.identifier.raw_id, result.operation_context) == (f"4:{OTHER}", "add")
        invite = await second.told("invite")
        assert (invite["from"], invite["displayName"]) == ("4:+15550100077", "Desk")
        assert invite["sipHeaders"] == {"X-MS-Custom-order": "7"}
        added = await app.event("AddParticipantSucceeded")
        assert added["participant"]["rawId"] == f"4:{OTHER}"
        assert (added["operationContext"], added["resultInformation"]["code"]) == ("add", 200)
        told = await app.event("ParticipantsUpdated", 2)
        assert [p["identifier"]["rawId"] for p in told["participants"]][:2] == [f"4:{CALLER}", f"4:{OTHER}"]
        assert told.get("operationContext") is None
        await one.joined(THIRD)
        await hears(one.leg, 700, 1100)
        await hears(second, 440, 1100)
        await hears(third, 440, 700)
        for who, hertz in ((CALLER, 440), (OTHER, 700), (THIRD, 1100)):
            frames = await one.newest(who)
            assert not any(frame["silent"] for frame in frames)
            assert dominant(pcm_of(frames), 16000) == pytest.approx(hertz, abs=3), "each speaker alone"
        await third.hang_up()
        await app.event("ParticipantsUpdated", 4)
        assert set(await one.roster()) >= {f"4:{CALLER}", f"4:{OTHER}"}
        assert f"4:{THIRD}" not in await one.roster()
        await hears(one.leg, 700)
        assert not app.named("CallDisconnected")


@pytest.mark.parametrize(
    "script, figures",
    [({"reject": "busy"}, (486, 560486)), ({"reject": "declined"}, (603, 0)), (None, (404, 8544))],
)
async def test_who_is_added_does_not_come(
    node: LiveNode, app: TestApp, script: dict[str, str] | None, figures: tuple[int, int]
) -> None:
    """The failure goes where this request wants it; the talk goes on."""
    async with talk(node, app) as one, contextlib.AsyncExitStack() as stack:
        if script is not None:
            await stack.enter_async_context(phone(node, OTHER, **script))
        await one.add(operation_callback_url=f"{app.url}/other")
        failed = await app.event("AddParticipantFailed")
        assert failed["participant"]["rawId"] == f"4:{OTHER}"
        assert (failed["resultInformation"]["code"], failed["resultInformation"]["subCode"]) == figures
        assert failed["operationContext"] == "add"
        assert [event["path"] for event in app.named("AddParticipantFailed")] == ["/other"]
        assert script is not None or f"offhook phone --number {OTHER}" in failed["resultInformation"]["message"]
        assert f"4:{OTHER}" not in await one.roster()
        assert dominant(pcm_of(await one.newest(CALLER)), 16000) == pytest.approx(440, abs=3)


async def test_an_invitation_runs_out(node: LiveNode, app: TestApp) -> None:
    async with talk(node, app) as one, phone(node, OTHER, never=True) as other:
        await one.add(invitation_timeout=1)
        await other.told("invite")
        failed = await app.event("AddParticipantFailed")
        assert (failed["resultInformation"]["code"], failed["resultInformation"]["subCode"]) == (487, 10004)
        assert (await other.told("ended"))["endedBy"] == "timeout"


@BOTH
async def test_an_invitation_is_called_off(node: LiveNode, app: TestApp, kind: str) -> None:
    async with talk(node, app, kind) as one, phone(node, OTHER, never=True) as other:
        invitation = (await one.add()).invitation_id
        await other.told("invite")
        cancel = one.connection.cancel_add_participant_operation
        result = await one.client(cancel, invitation, operation_context="cancel")
        assert (result.invitation_id, result.operation_context) == (invitation, "cancel")
        done = await app.event("CancelAddParticipantSucceeded")
        assert (done["invitationId"], done["operationContext"]) == (invitation, "cancel")
        assert (await other.told("ended"))["endedBy"] == "app"
        elsewhere = f"{app.url}/other"
        await one.client(cancel, invitation, operation_context="again", operation_callback_url=elsewhere)
        failed = await app.event("CancelAddParticipantFailed")
        assert (failed["invitationId"], failed["operationContext"]) == (invitation, "again")
        assert (failed["resultInformation"]["code"], failed["resultInformation"]["subCode"]) == (404, 8522)
        assert [event["path"] for event in app.named("CancelAddParticipantFailed")] == ["/other"]
        assert not app.named("AddParticipantFailed")


async def test_an_invitation_that_was_taken_cannot_be_called_off(node: LiveNode, app: TestApp) -> None:
    async with talk(node, app) as one, phone(node, OTHER, tone=700):
        invitation = (await one.add()).invitation_id
        await app.event("AddParticipantSucceeded")
        await one.client(one.connection.cancel_add_participant_operation, invitation)
        await app.event("CancelAddParticipantFailed")
        await hears(one.leg, 700)


@BOTH
async def test_somebody_is_removed(node: LiveNode, app: TestApp, kind: str) -> None:
    async with talk(node, app, kind) as one, phone(node, OTHER, tone=700) as other:
        await one.joined()
        await hears(one.leg, 700)
        remove, elsewhere = one.connection.remove_participant, f"{app.url}/other"
        result = await one.client(remove, number(OTHER), operation_context="remove", operation_callback_url=elsewhere)
        assert result.operation_context == "remove"
        removed = await app.event("RemoveParticipantSucceeded")
        assert (removed["participant"]["rawId"], removed["operationContext"]) == (f"4:{OTHER}", "remove")
        assert [event["path"] for event in app.named("RemoveParticipantSucceeded")] == ["/other"]
        told = await app.event("ParticipantsUpdated", 3)
        assert f"4:{OTHER}" not in [p["identifier"]["rawId"] for p in told["participants"]]
        ended = await other.told("ended")
        assert (ended["code"], ended["subCode"], ended["endedBy"]) == (0, 5300, "app")
        await hears(one.leg)
        with pytest.raises(ResourceNotFoundError) as refused:
            await one.client(remove, number(OTHER))
        assert refused.value.error is not None and refused.value.error.code == "8522"
        await one.client(remove, number(CALLER))
        await app.event("RemoveParticipantSucceeded", 2)
        gone = await app.event("CallDisconnected")
        assert (gone["resultInformation"]["code"], gone["resultInformation"]["subCode"]) == (0, 5003)
        assert (await one.leg.told("ended"))["endedBy"] == "app"


async def test_who_only_rings_cannot_be_removed_and_nobody_is_added_twice(node: LiveNode, app: TestApp) -> None:
    async with talk(node, app) as one, phone(node, OTHER, never=True) as other:
        await one.add()
        await other.told("invite")
        await one.client(one.connection.remove_participant, number(OTHER), operation_context="remove")
        failed = await app.event("RemoveParticipantFailed")
        assert (failed["participant"]["rawId"], failed["operationContext"]) == (f"4:{OTHER}", "remove")
        assert (failed["resultInformation"]["code"], failed["resultInformation"]["subCode"]) == (400, 8558)
        for who in (OTHER, CALLER):
            with pytest.raises(ResourceExistsError) as refused:
                await one.add(who)
            assert refused.value.error is not None and refused.value.error.code == "8519"


@BOTH
async def test_somebody_is_muted(node: LiveNode, app: TestApp, kind: str) -> None:
    """Nobody hears the muted, the app's stream says so, and the muted go on hearing."""
    async with (
        talk(node, app, kind) as one,
        phone(node, OTHER, tone=700) as other,
        phone(node, THIRD, tone=1100) as third,
    ):
        await one.joined()
        await one.joined(THIRD)
        await hears(one.leg, 700, 1100)
        result = await one.client(one.connection.mute_participant, number(OTHER), operation_context="mute")
        assert result.operation_context == "mute"
        told = await app.event("ParticipantsUpdated", 4)
        muted = {p["identifier"]["rawId"]: p["isMuted"] for p in told["participants"]}
        assert {raw for raw, is_muted in muted.items() if is_muted} == {f"4:{OTHER}"}
        await hears(one.leg, 1100)
        await hears(third, 440)
        await hears(other, 440, 1100)
        frames = await one.newest(OTHER)
        assert all(frame["silent"] for frame in frames[2:]) and not pcm_of(frames[2:]).any()
        assert {len(pcm_of([frame])) for frame in frames} == {320}, "silence of full length"
        assert not any(frame["silent"] for frame in await one.newest(CALLER))
        assert (await one.roster())[f"4:{OTHER}"]
        assert (await one.client(one.connection.get_participant, number(OTHER))).is_muted
        with pytest.raises(ResourceNotFoundError):
            await one.client(one.connection.mute_participant, number("+15559999999"))
        await unmute(node, one, app)


async def unmute(node: LiveNode, one: Talk, app: TestApp) -> None:
    """As api-version 2023-10-03-preview has it, and no later one; no SDK of today sends it."""
    path = f"{CONNECTIONS}/{one.connection._call_connection_id}/participants:unmute"
    body = {"targetParticipants": [{"rawId": f"4:{OTHER}"}], "operationContext": "unmute"}
    assert (await rest(node, "POST", path, body))[0] == 404
    assert not any(not muted for raw, muted in (await one.roster()).items() if raw == f"4:{OTHER}")
    status, answered = await rest(node, "POST", path, body, api_version="2023-10-03-preview")
    assert (status, answered) == (200, {"operationContext": "unmute"})
    told = await app.event("ParticipantsUpdated", 5)
    assert not any(p["isMuted"] for p in told["participants"])
    await hears(one.leg, 700, 1100)
    assert not any(frame["silent"] for frame in (await one.newest(OTHER))[2:])


async def test_requests_that_are_not_valid(node: LiveNode, app: TestApp) -> None:
    async with talk(node, app) as one:
        with pytest.raises(HttpResponseError) as refused:
            await one.add(invitation_timeout=181)
        assert (refused.value.status_code, refused.value.error.code) == (400, "8523")  # type: ignore[union-attr]
        assert "invitationTimeoutInSeconds" in refused.value.message
        with pytest.raises(HttpResponseError) as refused:
            await one.add(sip_headers={"From": "x"})
        assert "customCallingContext.sipHeaders.From" in refused.value.message
        for ask in (one.connection.remove_participant, one.connection.mute_participant):
            with pytest.raises(HttpResponseError) as refused:
                await one.client(ask, number(CALLEE))
            assert (refused.value.status_code, refused.value.error.code) == (400, "8523")  # type: ignore[union-attr]
            assert "the app itself" in refused.value.message
        assert await one.roster() == {f"4:{CALLER}": False, f"4:{CALLEE}": False}
        assert dominant(pcm_of(await one.newest(CALLER)), 16000) == pytest.approx(440, abs=3)
