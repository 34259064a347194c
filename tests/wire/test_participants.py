"""Bodies about participants: what is read, what is refused by name, what goes back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from offhook.errors import WireError
from offhook.wire.events import CallParticipant
from offhook.wire.fields import encode
from offhook.wire.identifiers import communication_user, phone_number
from offhook.wire.models import Request, decode_request
from offhook.wire.participants import (
    AddParticipantRequest,
    AddParticipantResponse,
    CancelAddParticipantRequest,
    CancelAddParticipantResponse,
    MuteParticipantsRequest,
    ParticipantsResponse,
    RemoveParticipantRequest,
    UnmuteParticipantsRequest,
)

USER = "8:acs:3d20e1de-0f28-41c5-84a0-4960fde5f411_0000000b-faeb-c708-99bf-a43a0d0036b0"
ANN = {"rawId": "4:+1555"}


def test_an_invitation_with_everything() -> None:
    body = {
        "participantToAdd": {"phoneNumber": {"value": "+1555"}, "rawId": "4:+1555"},
        "sourceCallerIdNumber": {"value": "+1777"},
        "sourceDisplayName": "Desk",
        "invitationTimeoutInSeconds": 12,
        "operationContext": "add",
        "operationCallbackUri": "https://app.test/Other?A=b",
        "customCallingContext": {"voipHeaders": {}, "sipHeaders": {"User-To-User": "x", "X-MS-Custom-a": "b"}},
    }
    assert decode_request(AddParticipantRequest, json.dumps(body).encode()) == AddParticipantRequest(
        participant_to_add=phone_number("+1555"),
        source_caller_id_number=phone_number("+1777"),
        source_display_name="Desk",
        invitation_timeout=12,
        operation_context="add",
        operation_callback_uri="https://app.test/Other?A=b",
        sip_headers=(("User-To-User", "x"), ("X-MS-Custom-a", "b")),
    )


@pytest.mark.parametrize(("given", "read"), [(None, None), (0, None), (1, 1), (180, 180)])
def test_how_long_it_rings(given: Any, read: int | None) -> None:
    body = json.dumps({"participantToAdd": ANN, "invitationTimeoutInSeconds": given}).encode()
    assert decode_request(AddParticipantRequest, body).invitation_timeout == read


@pytest.mark.parametrize(
    ("kind", "body", "field"),
    [
        (AddParticipantRequest, {}, "participantToAdd"),
        (AddParticipantRequest, {"participantToAdd": {}}, "participantToAdd"),
        *(
            (AddParticipantRequest, {"participantToAdd": ANN, "invitationTimeoutInSeconds": bad}, "invitationTimeout")
            for bad in (-1, 181, 1.5, True, "10")
        ),
        (AddParticipantRequest, {"participantToAdd": ANN, "operationCallbackUri": "ftp://x"}, "operationCallbackUri"),
        (AddParticipantRequest, {"participantToAdd": ANN, "sourceCallerIdNumber": {}}, "sourceCallerIdNumber.value"),
        (
            AddParticipantRequest,
            {"participantToAdd": ANN, "customCallingContext": {"sipHeaders": {"From": "x"}}},
            "customCallingContext.sipHeaders.From",
        ),
        (RemoveParticipantRequest, {}, "participantToRemove"),
        (RemoveParticipantRequest, {"participantToRemove": ANN, "operationCallbackUri": 1}, "operationCallbackUri"),
        (UnmuteParticipantsRequest, {}, "targetParticipants"),
        (MuteParticipantsRequest, {}, "targetParticipants"),
        (MuteParticipantsRequest, {"targetParticipants": []}, "targetParticipants"),
        (MuteParticipantsRequest, {"targetParticipants": [{}]}, "targetParticipants[0]"),
        (CancelAddParticipantRequest, {}, "invitationId"),
        (CancelAddParticipantRequest, {"invitationId": ""}, "invitationId"),
    ],
)
def test_what_is_wrong_is_named(kind: type[Request], body: dict[str, Any], field: str) -> None:
    with pytest.raises(WireError) as refused:
        decode_request(kind, json.dumps(body).encode())
    assert refused.value.message.startswith(field)


def test_the_other_requests() -> None:
    body = json.dumps({"targetParticipants": [ANN, {"rawId": USER}], "operationContext": "m"}).encode()
    muted = decode_request(MuteParticipantsRequest, body)
    assert muted.target_participants == (phone_number("+1555"), communication_user(USER))
    removed = decode_request(RemoveParticipantRequest, json.dumps({"participantToRemove": ANN}).encode())
    assert (removed.participant_to_remove, removed.operation_context) == (phone_number("+1555"), None)
    canceled = decode_request(CancelAddParticipantRequest, b'{"invitationId": "i", "operationContext": "c"}')
    assert (canceled.invitation_id, canceled.operation_context) == ("i", "c")


def test_answers() -> None:
    added = AddParticipantResponse(
        participant=CallParticipant(identifier=phone_number("+1")), invitation_id="i", operation_context="c"
    )
    assert json.loads(encode(added)) == {
        "participant": {
            "identifier": {"kind": "phoneNumber", "rawId": "4:+1", "phoneNumber": {"value": "+1"}},
            "isMuted": False,
            "isOnHold": False,
        },
        "invitationId": "i",
        "operationContext": "c",
    }
    assert json.loads(encode(CancelAddParticipantResponse(invitation_id="i"))) == {"invitationId": "i"}
    assert json.loads(encode(ParticipantsResponse())) == {}
