"""A valid body for each operation of the REST API, and where each goes; nothing in them leaves this machine."""

from __future__ import annotations

import re
from typing import Any

from offhook.service.operations import OPERATIONS, Operation

CALLER, CALLEE, OTHER = ({"phoneNumber": {"value": f"+1555010000{n}"}} for n in (1, 2, 3))
CALLBACK = "http://127.0.0.1:9/callbacks"
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


def path_of(operation: Operation, connection_id: str = "no-such-call") -> str:
    """Its path, with ids in it."""
    ids = {"callConnectionId": connection_id, "participantRawId": "4:%2B15550100001", "recordingId": "no-such"}
    return re.sub(r"\{(\w+)\}", lambda name: ids[name[1]], operation.path)
