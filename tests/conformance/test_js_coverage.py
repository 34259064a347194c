"""Every operation that is built is asked for through the official JavaScript SDK by some test of this folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.request_bodies import BUILT

HERE = Path(__file__).parent
ACTIONS = {
    "CreateCall": "createCall",
    "AnswerCall": "answerCall",
    "RedirectCall": "redirectCall",
    "RejectCall": "rejectCall",
    "Connect": "connectCall",
    "GetCall": "getCallConnectionProperties",
    "HangupCall": "hangUp",
    "TerminateCall": "hangUp",
    "TransferToParticipant": "transferCallToParticipant",
    "GetParticipants": "listParticipants",
    "GetParticipant": "getParticipant",
    "AddParticipant": "addParticipant",
    "RemoveParticipant": "removeParticipant",
    "Mute": "muteParticipant",
    "CancelAddParticipant": "cancelAddParticipant",
    "MoveParticipants": "moveParticipants",
    "Play": "playToAll",
    "CancelAllMediaOperations": "cancelAllOperations",
    "Recognize": "startRecognizing",
    "StartContinuousDtmfRecognition": "startContinuousDtmfRecognition",
    "StopContinuousDtmfRecognition": "stopContinuousDtmfRecognition",
    "SendDtmfTones": "sendDtmfTones",
    "Hold": "hold",
    "Unhold": "unhold",
    "StartMediaStreaming": "startMediaStreaming",
    "StopMediaStreaming": "stopMediaStreaming",
    "StartTranscription": "startTranscription",
    "StopTranscription": "stopTranscription",
    "UpdateTranscription": "updateTranscription",
    "StartRecording": "startRecording",
    "GetRecordingProperties": "getRecordingState",
    "StopRecording": "stopRecording",
    "PauseRecording": "pauseRecording",
    "ResumeRecording": "resumeRecording",
}
"""What the app in js/app.mjs calls each; hangUp is both, by `forEveryone`."""


WITH = {"HangupCall": ", forEveryone=False", "TerminateCall": ", forEveryone=True"}


@pytest.mark.parametrize("name", [operation.name for operation in BUILT])
def test_it_is_asked_for(name: str) -> None:
    action = ACTIONS[name]
    app = (HERE / "js/app.mjs").read_text()
    assert re.search(rf"^  {action}: ", app, re.MULTILINE), "no action of the app"
    request = rf'app\.ask\(\s*"{action}"{WITH.get(name, "")}'
    asked = [path for path in HERE.glob("test_js_*.py") if re.search(request, path.read_text())]
    assert asked, f"no test asks for {action}"
