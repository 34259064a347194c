"""A valid body for each operation of the REST API, and where each goes; nothing in them leaves this machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from offhook.service.operations import OPERATIONS, Operation
from offhook.wire.identifiers import any_identifier

CALLER, CALLEE, OTHER = ({"phoneNumber": {"value": f"+1555010000{n}"}} for n in (1, 2, 3))
CALLBACK = "http://127.0.0.1:9/callbacks"
TEAMS: dict[str, dict[str, Any]] = {
    "microsoftTeamsUser": {"rawId": "8:orgid:u"},
    "microsoftTeamsApp": {"rawId": "28:orgid:a", "microsoftTeamsApp": {"appId": "a", "cloud": "public"}},
    "teamsExtensionUser": {"teamsExtensionUser": {"userId": "u", "tenantId": "t", "resourceId": "r"}},
}
NOWHERE = {"kind": "file", "file": {"uri": "http://127.0.0.1:9/none.wav"}}

BODIES: dict[str, dict[str, Any]] = {
    "CreateCall": {"targets": [CALLEE], "callbackUri": CALLBACK},
    "AnswerCall": {"incomingCallContext": "any", "callbackUri": CALLBACK},
    "RedirectCall": {"incomingCallContext": "any", "target": OTHER},
    "RejectCall": {"incomingCallContext": "any"},
    "Connect": {"callLocator": {"kind": "serverCallLocator", "serverCallId": "any"}, "callbackUri": CALLBACK},
    "TransferToParticipant": {"targetParticipant": OTHER},
    "AddParticipant": {"participantToAdd": OTHER},
    "RemoveParticipant": {"participantToRemove": CALLER},
    "Mute": {"targetParticipants": [CALLER]},
    "CancelAddParticipant": {"invitationId": "any"},
    "MoveParticipants": {"targetParticipants": [CALLER], "fromCall": "any"},
    "Play": {"playSources": [NOWHERE]},
    "Recognize": {"recognizeInputType": "dtmf", "recognizeOptions": {"targetParticipant": CALLER}},
    "StartContinuousDtmfRecognition": {"targetParticipant": CALLER},
    "StopContinuousDtmfRecognition": {"targetParticipant": CALLER},
    "SendDtmfTones": {"tones": ["one"], "targetParticipant": CALLER},
    "Hold": {"targetParticipant": CALLER},
    "Unhold": {"targetParticipant": CALLER},
    "StartMediaStreaming": {},
    "StopMediaStreaming": {},
    "StartTranscription": {"locale": "en-US"},
    "StopTranscription": {},
    "UpdateTranscription": {"locale": "en-US"},
    "StartRecording": {"callLocator": {"kind": "serverCallLocator", "serverCallId": "any"}},
}
"""By the operation's name; those that are not here have none."""

BUILT = [operation for operation in OPERATIONS if operation.run is not None]
OF_A_CALL = [operation for operation in BUILT if "{callConnectionId}" in operation.path]


def path_of(operation: Operation, connection_id: str = "no-such-call") -> str:
    """Its path, with ids in it."""
    ids = {"callConnectionId": connection_id, "participantRawId": "4:%2B15550100001", "recordingId": "no-such"}
    return re.sub(r"\{(\w+)\}", lambda name: ids[name[1]], operation.path)


def people_in(body: Mapping[str, Any], path: str = "") -> list[tuple[str, Any]]:
    """Where a body names somebody: the keys on the way, joined by dots, and what stands there."""
    found: list[tuple[str, Any]] = []
    for name, value in body.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict) and "phoneNumber" in one:
                assert any_identifier(one, name)
                found.append((f"{path}{name}", one))
            elif isinstance(one, dict):
                found += people_in(one, f"{path}{name}.")
    return found


def with_person(body: Any, person: dict[str, Any]) -> Any:
    """The body with somebody else in each place where it names a person."""
    if isinstance(body, list):
        return [with_person(one, person) for one in body]
    if not isinstance(body, dict):
        return body
    return person if "phoneNumber" in body else {name: with_person(value, person) for name, value in body.items()}
