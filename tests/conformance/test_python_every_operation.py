"""What is the same for every operation, through the official Python SDK's own methods: one that is added to the table
of operations must be added here.

Calls that never were, that still ring and that are over; people of Teams; wrong arguments; a wrong key. Each refusal
leaves a call that is under way as it was: its roster, its state, what everybody hears, and nobody is told anything.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from azure.communication.callautomation import (
    ChannelAffinity,
    CommunicationIdentifier,
    FileSource,
    MicrosoftTeamsAppIdentifier,
    MicrosoftTeamsUserIdentifier,
    TeamsExtensionUserIdentifier,
)
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from tests.conformance.python_sdk import Sdk, media_streaming, number, pcm_of, sdk, tone
from tests.conformance.test_python_participants import hears, tones
from tests.console_leg import Leg, caller, phone
from tests.live import CALLEE, CALLER, LiveNode, TestApp

from offhook.service.certificates import State
from offhook.service.operations import OPERATIONS
from offhook.wire.signing import seal_context

pytestmark = pytest.mark.asyncio(loop_scope="module")

NO_ID = "11111111-2222-8333-8444-555555555555"
NEVER = "+15550100888"
KINDS = ("async http", "sync http")


@dataclass(frozen=True)
class Subject:
    """What a request is about, and whom it names."""

    sdk: Sdk
    connection_id: str = NO_ID
    server_call_id: str = "bm9ib2R5"
    recording_id: str = "bm90LW9uZQ"
    context: str = "none"
    person: CommunicationIdentifier = field(default_factory=lambda: number(CALLER))
    callback: str = "http://127.0.0.1:9/callbacks"

    @property
    def call(self) -> Any:
        return self.sdk.connection(self.connection_id)

    @property
    def client(self) -> Any:
        return self.sdk.client

    async def ask(self, name: str, **options: Any) -> Any:
        """Carry an operation out, with further options of the SDK's method."""
        method, *arguments = METHODS[name](self)
        more = OPTIONS[name](self) if name in OPTIONS else {}
        return await self.sdk(method, *arguments, **{**more, **options})


_SOURCE = FileSource("http://127.0.0.1:9/none.wav")
METHODS: dict[str, Callable[[Subject], tuple[Any, ...]]] = {
    "CreateCall": lambda s: (s.client.create_call, s.person, s.callback),
    "AnswerCall": lambda s: (s.client.answer_call, s.context, s.callback),
    "RedirectCall": lambda s: (s.client.redirect_call, s.context, s.person),
    "RejectCall": lambda s: (s.client.reject_call, s.context),
    "Connect": lambda s: (s.client.connect_call, s.callback),
    "GetCall": lambda s: (s.call.get_call_properties,),
    "HangupCall": lambda s: (s.call.hang_up, False),
    "TerminateCall": lambda s: (s.call.hang_up, True),
    "TransferToParticipant": lambda s: (s.call.transfer_call_to_participant, s.person),
    "GetParticipants": lambda s: (s.call.list_participants,),
    "GetParticipant": lambda s: (s.call.get_participant, s.person),
    "AddParticipant": lambda s: (s.call.add_participant, s.person),
    "RemoveParticipant": lambda s: (s.call.remove_participant, s.person),
    "Mute": lambda s: (s.call.mute_participant, s.person),
    "CancelAddParticipant": lambda s: (s.call.cancel_add_participant_operation, "none"),
    "MoveParticipants": lambda s: (s.call.move_participants, [s.person], NO_ID),
    "Play": lambda s: (s.call.play_media, _SOURCE, [s.person]),
    "CancelAllMediaOperations": lambda s: (s.call.cancel_all_media_operations,),
    "Recognize": lambda s: (s.call.start_recognizing_media, "dtmf", s.person),
    "StartContinuousDtmfRecognition": lambda s: (s.call.start_continuous_dtmf_recognition, s.person),
    "StopContinuousDtmfRecognition": lambda s: (s.call.stop_continuous_dtmf_recognition, s.person),
    "SendDtmfTones": lambda s: (s.call.send_dtmf_tones, ["one"], s.person),
    "Hold": lambda s: (s.call.hold, s.person),
    "Unhold": lambda s: (s.call.unhold, s.person),
    "StartMediaStreaming": lambda s: (s.call.start_media_streaming,),
    "StopMediaStreaming": lambda s: (s.call.stop_media_streaming,),
    "StartTranscription": lambda s: (s.call.start_transcription,),
    "StopTranscription": lambda s: (s.call.stop_transcription,),
    "UpdateTranscription": lambda s: (s.call.update_transcription,),
    "StartRecording": lambda s: (s.client.start_recording,),
    "GetRecordingProperties": lambda s: (s.client.get_recording_properties, s.recording_id),
    "StopRecording": lambda s: (s.client.stop_recording, s.recording_id),
    "PauseRecording": lambda s: (s.client.pause_recording, s.recording_id),
    "ResumeRecording": lambda s: (s.client.resume_recording, s.recording_id),
}
"""The SDK's method of each operation, and its arguments."""
OPTIONS: dict[str, Callable[[Subject], dict[str, Any]]] = {
    "Connect": lambda s: {"server_call_id": s.server_call_id},
    "UpdateTranscription": lambda s: {"locale": "en-US"},
    "StartRecording": lambda s: {"call_connection_id": s.connection_id},
}

OF_A_CALL = [one.name for one in OPERATIONS if "{callConnectionId}" in one.path] + ["StartRecording"]
OF_A_CONTEXT = ["AnswerCall", "RedirectCall", "RejectCall"]
OF_A_RECORDING = [one.name for one in OPERATIONS if "{recordingId}" in one.path]
WITHOUT_STATE = ("GetCall", "HangupCall", "TerminateCall")
"""Those that a call takes before it is connected."""

TEAMS: dict[str, CommunicationIdentifier] = {
    "microsoftTeamsUser": MicrosoftTeamsUserIdentifier("45ab2481-1c1c-4005-be24-0ffb879b1130"),
    "microsoftTeamsApp": MicrosoftTeamsAppIdentifier("45ab2481-1c1c-4005-be24-0ffb879b1131"),
    "teamsExtensionUser": TeamsExtensionUserIdentifier(user_id="u", tenant_id="t", resource_id="r"),
}
PERSON = {
    "CreateCall": "targets", "RedirectCall": "target", "TransferToParticipant": "targetParticipant",
    "AddParticipant": "participantToAdd", "RemoveParticipant": "participantToRemove", "Mute": "targetParticipants",
    "MoveParticipants": "targetParticipants", "Play": "playTo", "Recognize": "recognizeOptions.targetParticipant",
    "StartContinuousDtmfRecognition": "targetParticipant", "StopContinuousDtmfRecognition": "targetParticipant",
    "SendDtmfTones": "targetParticipant", "Hold": "targetParticipant", "Unhold": "targetParticipant",
}  # fmt: skip
"""Where the body of each operation that names somebody does so."""

_ELSEWHERE = ({"operation_callback_url": "nowhere"}, "operationCallbackUri")
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "RejectCall": ({"call_reject_reason": "never"}, "callRejectReason"),
    "StartRecording": ({"recording_state_callback_url": "nowhere"}, "recordingStateCallbackUri"),
    **dict.fromkeys(
        ("TransferToParticipant", "AddParticipant", "RemoveParticipant", "CancelAddParticipant", "MoveParticipants",
         "Play", "Recognize", "StopContinuousDtmfRecognition", "SendDtmfTones", "Hold", "Unhold", "StartMediaStreaming",
         "StopMediaStreaming", "StartTranscription", "StopTranscription", "UpdateTranscription"), _ELSEWHERE),
}  # fmt: skip
"""An option that is not valid, and the field that the message names."""
WITHOUT_ARGUMENTS = {"GetCall", "HangupCall", "TerminateCall", "GetParticipants", "GetParticipant",
                     "CancelAllMediaOperations", *OF_A_RECORDING}  # fmt: skip


async def test_every_operation_is_here() -> None:
    assert list(METHODS) == [one.name for one in OPERATIONS]
    assert set(OPTIONS) | set(PERSON) | set(WRONG) | WITHOUT_ARGUMENTS <= set(METHODS)


# what the requests are about ----------------------------------------------------------------------------------------


@dataclass
class Shared:
    """Calls under way, with a stream and bare, one that rings, one that is over; and a client of each kind."""

    clients: dict[str, Sdk]
    app: TestApp
    leg: Leg
    connected: Subject
    rings: Subject
    ringing: Leg
    over: Subject
    bare: Subject
    rang_at: float

    async def ring_again(self) -> None:
        """A call rings for half a minute; on a busy machine these tests take longer."""
        await self.rings.ask("TerminateCall")
        await self.ringing.told("ended")
        await self.app.event("CallDisconnected")
        over = self.rings.connection_id
        self.app.events[:] = [one for one in self.app.events if one["data"]["callConnectionId"] != over]
        del self.ringing.said[1:]
        client = self.rings.sdk
        made = await client(client.client.create_call, number(NEVER), self.app.callback)
        await self.ringing.told("invite")
        self.rings, self.rang_at = replace(self.rings, connection_id=made.call_connection_id), time.monotonic()

    async def as_before(self) -> None:
        """Nothing has become of a request: nobody is told, rung, muted, held, or gone."""
        assert (await self.connected.ask("GetCall")).call_connection_state == "connected"
        listed = await self.connected.ask("GetParticipants")
        people = {one.identifier.raw_id: (one.is_muted, one.is_on_hold) for one in listed}
        assert people == {f"4:{CALLER}": (False, False), f"4:{CALLEE}": (False, False)}
        assert (await self.rings.ask("GetCall")).call_connection_state == "connecting"
        assert [said["kind"] for said in self.ringing.said] == ["registered", "invite"]
        assert [event["type"].rpartition(".")[2] for event in self.app.events] == TOLD
        assert len(self.app.incoming) == 1


TOLD = ["CallConnected", "ParticipantsUpdated", "MediaStreamingStarted"]
"""All that the app is ever told of the call that is under way."""


async def answered(app: TestApp, client: Sdk, **options: Any) -> Subject:
    """The call that the app was told of, connected."""
    context = (await app.invited())["incomingCallContext"]
    made = await client(client.client.answer_call, context, app.callback, **options)
    await app.event("ParticipantsUpdated")
    return Subject(client, made.call_connection_id, made.server_call_id, context=context, callback=app.callback)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(world: tuple[LiveNode, TestApp]) -> AsyncIterator[Shared]:
    node, app = world
    async with contextlib.AsyncExitStack() as stack:
        clients = {kind: await stack.enter_async_context(sdk(node, kind)) for kind in KINDS}
        client = clients["async http"]
        async with caller(node, to="+15550100021"):
            over = await answered(app, client)
            over = replace(over, recording_id=(await over.ask("StartRecording")).recording_id)
        await app.event("CallDisconnected")
        await app.clear()
        await stack.enter_async_context(caller(node, to="+15550100022"))
        bare = await answered(app, client)
        await app.clear()
        ringing = await stack.enter_async_context(phone(node, NEVER, never=True))
        made = await client(client.client.create_call, number(NEVER), app.callback)
        await ringing.told("invite")
        rings = Subject(client, made.call_connection_id, callback=app.callback)
        leg = await stack.enter_async_context(caller(node, tone=440))
        connected = await answered(app, client, media_streaming=media_streaming(app.socket))
        await app.event("MediaStreamingStarted")
        yield (calls := Shared(clients, app, leg, connected, rings, ringing, over, bare, time.monotonic()))
        rings = calls.rings
        await rings.ask("TerminateCall")


@pytest_asyncio.fixture(loop_scope="module")
async def calls(shared: Shared) -> AsyncIterator[Shared]:
    """After each test, too, the calls are as they were before."""
    if time.monotonic() - shared.rang_at > 15:
        await shared.ring_again()
    await shared.as_before()
    yield shared
    await shared.as_before()


async def refused(request: Any, status: int, code: str, kind: type[HttpResponseError] = HttpResponseError) -> str:
    """The message of a refusal, which the SDK raises as `kind`."""
    with pytest.raises(kind) as raised:
        await request
    error = raised.value.error
    assert (raised.value.status_code, error and error.code) == (status, code), raised.value
    assert error is not None and error.message
    return str(error.message)


# calls, contexts and recordings that are not there, or not yet ------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*OF_A_CALL, "Connect", *OF_A_RECORDING])
async def test_it_never_was(calls: Shared, name: str, kind: str) -> None:
    await refused(Subject(calls.clients[kind]).ask(name), 404, "8522", ResourceNotFoundError)


@pytest.mark.parametrize("name", [*OF_A_CALL, "Connect", *OF_A_CONTEXT, *OF_A_RECORDING])
async def test_it_is_over(calls: Shared, name: str) -> None:
    """Of an app's own call; a context of one whose caller has hung up; a recording that ended with it."""
    await refused(calls.over.ask(name), 404, "8522", ResourceNotFoundError)


@pytest.mark.parametrize("name", [name for name in OF_A_CALL if name not in WITHOUT_STATE])
async def test_the_call_still_rings(calls: Shared, name: str) -> None:
    await refused(calls.rings.ask(name), 400, "8501")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OF_A_CONTEXT)
async def test_another_was_quicker(calls: Shared, name: str, kind: str) -> None:
    await refused(replace(calls.connected, sdk=calls.clients[kind]).ask(name), 409, "8519", ResourceExistsError)


@pytest.mark.parametrize("name", OF_A_CONTEXT)
async def test_a_context_that_is_too_old_or_none(calls: Shared, world: tuple[LiveNode, TestApp], name: str) -> None:
    """The old one is sealed with the node's own key, so that only its age is wrong."""
    state = State.open(Path(world[0].info["caFile"]).parent)
    key = hashlib.sha256(b"context" + state.token_key_pem).digest()
    old = seal_context({"call": "x", "hop": 1, "exp": time.time() - 1}, key, b"n" * 12)
    assert "expired" in await refused(replace(calls.connected, context=old).ask(name), 400, "8587")
    torn = calls.connected.context[:-2] + "AA"
    for context in (torn, "none", "a.b.c"):
        subject = replace(calls.connected, context=context)
        assert "incomingCallContext" in await refused(subject.ask(name), 400, "8523")


# people of Teams, wrong arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TEAMS)
@pytest.mark.parametrize("name", PERSON)
async def test_somebody_of_teams(calls: Shared, name: str, kind: str) -> None:
    message = await refused(replace(calls.connected, person=TEAMS[kind]).ask(name), 405, "8520")
    assert kind in message and PERSON[name] in message


@pytest.mark.parametrize(
    ("name", "option", "field"),
    [
        ("CreateCall", "teams_app_source", "teamsAppSource"),
        ("TransferToParticipant", "transferee", "transferee"),
        ("StartRecording", "audio_channel_participant_ordering", "audioChannelParticipantOrdering"),
        ("StartRecording", "channel_affinity", "channelAffinity"),
    ],
)
async def test_somebody_of_teams_in_an_option(calls: Shared, name: str, option: str, field: str) -> None:
    somebody = TEAMS["microsoftTeamsApp"]
    more = {"recording_channel_type": "unmixed"} if name == "StartRecording" else {}
    values = {"channel_affinity": [ChannelAffinity(somebody, 0)], "audio_channel_participant_ordering": [somebody]}
    request = calls.connected.ask(name, **more, **{option: values.get(option, somebody)})
    assert field in await refused(request, 405, "8520")


@pytest.mark.parametrize("name", WRONG)
async def test_an_option_that_is_not_valid(calls: Shared, name: str) -> None:
    options, field = WRONG[name]
    assert field in await refused(calls.connected.ask(name, **options), 400, "8523")


@pytest.mark.parametrize("name", ["CreateCall", "AnswerCall", "Connect"])
@pytest.mark.parametrize("url", ["", "nowhere", "ftp://127.0.0.1/callbacks"])
async def test_a_callback_that_is_no_url(calls: Shared, name: str, url: str) -> None:
    assert "callbackUri" in await refused(replace(calls.connected, callback=url).ask(name), 400, "8523")


@pytest.mark.parametrize("name", PERSON)
async def test_a_number_that_is_empty(calls: Shared, name: str) -> None:
    message = await refused(replace(calls.connected, person=number("")).ask(name), 400, "8523")
    assert PERSON[name] in message and "phoneNumber.value" in message


@pytest.mark.parametrize("name", [name for name in OF_A_CALL if "Stream" in name or "Transcription" in name])
async def test_it_was_not_configured_with_the_call(calls: Shared, name: str) -> None:
    what = "mediaStreamingOptions" if "Stream" in name else "transcriptionOptions"
    assert what in await refused(calls.bare.ask(name), 405, "8522")


# who asks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
async def test_a_wrong_key(calls: Shared, world: tuple[LiveNode, TestApp], name: str) -> None:
    async with sdk(world[0], "async http", key="bm90IHRoZSBrZXk=") as stranger:
        await refused(replace(calls.connected, sdk=stranger).ask(name), 401, "7509", ClientAuthenticationError)


@pytest.mark.parametrize("name", METHODS)
async def test_a_version_that_is_not_known(calls: Shared, world: tuple[LiveNode, TestApp], name: str) -> None:
    async with sdk(world[0], "async http", api_version="2020-01-01") as older:
        assert "2020-01-01" in await refused(replace(calls.connected, sdk=older).ask(name), 400, "8523")


async def test_what_was_heard_meanwhile(calls: Shared) -> None:
    """The last test: in all this time the app has heard the caller without a gap, and the caller nothing."""
    (stream,) = calls.app.streams
    assert not calls.leg.heard.any()
    frames = list(stream.frames)
    assert not any(frame["silent"] for frame in frames) and tones(pcm_of(frames[-30:])) == {440}
    await stream.play(tone(1000, 1, 16000))
    await hears(calls.leg, 1000)
