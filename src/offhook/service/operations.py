"""The 34 operations of the REST API as one table of rows (protocol.md §3.2), and what a node does for each.

A row without `run` is not built: the API answers 501 for it, by name. `operations_page` makes the page of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import unquote

from offhook.service import media, participants, recordings, transcription
from offhook.service.exchange import Exchange
from offhook.service.participants import AskCall
from offhook.service.recordings import Recorders
from offhook.wire.connecting import ConnectRequest
from offhook.wire.fields import WireStruct
from offhook.wire.holding import HoldRequest, UnholdRequest
from offhook.wire.models import (
    AnswerCallRequest,
    CallConnectionProperties,
    CallParticipant,
    CreateCallRequest,
    RedirectCallRequest,
    RejectCallRequest,
    Request,
    StartMediaStreamingRequest,
    StopMediaStreamingRequest,
    decode_request,
)
from offhook.wire.participants import (
    AddParticipantRequest,
    CancelAddParticipantRequest,
    MuteParticipantsRequest,
    RemoveParticipantRequest,
)
from offhook.wire.playing import PlayRequest
from offhook.wire.recognizing import RecognizeRequest
from offhook.wire.recording import StartCallRecordingRequest
from offhook.wire.tones import (
    SendDtmfTonesRequest,
    StartContinuousDtmfRequest,
    StopContinuousDtmfRequest,
)
from offhook.wire.transcription import (
    StartTranscriptionRequest,
    StopTranscriptionRequest,
    UpdateTranscriptionRequest,
)
from offhook.wire.transfer import (
    MoveParticipantsRequest,
    MoveParticipantsResponse,
    TransferCallResponse,
    TransferRequest,
)

R = TypeVar("R", bound=Request)


class CallControl(Protocol):
    """What the API needs of a node. All methods return at once; CallError names a row of the results table."""

    recordings: Recorders | None

    def create(self, request: CreateCallRequest, api_version: str) -> CallConnectionProperties: ...
    def answer(self, request: AnswerCallRequest, api_version: str) -> CallConnectionProperties: ...
    def connect(self, request: ConnectRequest, api_version: str) -> CallConnectionProperties: ...
    def redirect(self, request: RedirectCallRequest) -> None: ...
    def reject(self, request: RejectCallRequest) -> None: ...
    def properties(self, connection_id: str) -> CallConnectionProperties: ...
    def hang_up(self, connection_id: str) -> None: ...
    def terminate(self, connection_id: str) -> None: ...
    def participants(self, connection_id: str) -> list[CallParticipant]: ...
    def participant(self, connection_id: str, raw_id: str) -> CallParticipant: ...
    def move(self, connection_id: str, request: MoveParticipantsRequest) -> MoveParticipantsResponse: ...
    def mint(self) -> str:
        """A fresh id."""
        ...

    def ask(self, connection_id: str, request: AskCall) -> None:
        """Give a request to the call of a connection, and carry out what follows from it."""
        ...

    def note_request(
        self,
        connection_id: str | None,
        operation: str,
        status: int,
        detail: dict[str, Any],
        exchange: Exchange | None = None,
    ) -> None:
        """Told of every signed request to a known operation, and of others that name a connection, for the trace."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to an operation: ids of the path (decoded), the api-version asked for, the raw body, the page of a
    list (from 1), and our base URL as the asker reaches it."""

    ids: Mapping[str, str]
    api_version: str
    body: bytes
    page: int = 1
    endpoint: str = ""

    @property
    def connection(self) -> str:
        return self.ids["callConnectionId"]

    @property
    def identity(self) -> str:
        return self.ids["identityId"]


Run = Callable[[CallControl, Asked], WireStruct | None]
Paths = tuple[tuple[re.Pattern[str], "Operation"], ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """One row. `success` is exact: the SDKs raise for any other 2xx. `run` may raise CallError and WireError."""

    group: str
    name: str
    method: str
    path: str
    success: int
    repeatable: bool = False
    events: str = ""
    request: type[Request] | None = None
    run: Run | None = None


def _with(request: type[R], act: Callable[[CallControl, Asked, R], WireStruct | None]) -> Run:
    """Decode the body, then act."""

    def run(control: CallControl, asked: Asked) -> WireStruct | None:
        return act(control, asked, decode_request(request, asked.body))

    return run


def _transfer(control: CallControl, asked: Asked, body: TransferRequest) -> TransferCallResponse:
    leg_id = control.mint()
    control.ask(asked.connection, lambda call, now: call.transfer(asked.connection, leg_id, body, now))
    return TransferCallResponse(operation_context=body.operation_context)


_C: Final = "/calling/callConnections"
_I: Final = "/calling/callConnections/{callConnectionId}"
_P: Final = _I + "/participants"
_R: Final = "/calling/recordings"

OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        "Calls", "CreateCall", "POST", _C, 201, True, "CallConnected, ParticipantsUpdated; CreateCallFailed",
        CreateCallRequest, _with(CreateCallRequest, lambda c, asked, body: c.create(body, asked.api_version)),
    ),
    Operation(
        "Calls", "AnswerCall", "POST", _C + ":answer", 200, True, "CallConnected, ParticipantsUpdated; AnswerFailed",
        AnswerCallRequest, _with(AnswerCallRequest, lambda c, asked, body: c.answer(body, asked.api_version)),
    ),
    Operation(
        "Calls", "RedirectCall", "POST", _C + ":redirect", 204, True, "",
        RedirectCallRequest, _with(RedirectCallRequest, lambda c, asked, body: c.redirect(body)),
    ),
    Operation(
        "Calls", "RejectCall", "POST", _C + ":reject", 204, True, "",
        RejectCallRequest, _with(RejectCallRequest, lambda c, asked, body: c.reject(body)),
    ),
    Operation(
        "Calls", "Connect", "POST", _C + ":connect", 200, True, "CallConnected, ParticipantsUpdated; ConnectFailed",
        ConnectRequest, _with(ConnectRequest, lambda c, asked, body: c.connect(body, asked.api_version)),
    ),
    Operation("Calls", "GetCall", "GET", _I, 200, run=lambda c, asked: c.properties(asked.connection)),
    Operation("Calls", "HangupCall", "DELETE", _I, 204, events="CallDisconnected",
              run=lambda c, asked: c.hang_up(asked.connection)),
    Operation("Calls", "TerminateCall", "POST", _I + ":terminate", 204, True, "CallDisconnected",
              run=lambda c, asked: c.terminate(asked.connection)),
    Operation("Calls", "TransferToParticipant", "POST", _I + ":transferToParticipant", 202, True,
              "CallTransferAccepted, CallTransferFailed", TransferRequest, _with(TransferRequest, _transfer)),
    Operation("Participants", "GetParticipants", "GET", _P, 200, run=participants.page),
    Operation("Participants", "GetParticipant", "GET", _P + "/{participantRawId}", 200,
              run=lambda c, asked: c.participant(asked.connection, asked.ids["participantRawId"])),
    Operation("Participants", "AddParticipant", "POST", _P + ":add", 202, True,
              "AddParticipantSucceeded, ParticipantsUpdated; AddParticipantFailed",
              AddParticipantRequest, _with(AddParticipantRequest, participants.add)),
    Operation("Participants", "RemoveParticipant", "POST", _P + ":remove", 202, True,
              "RemoveParticipantSucceeded, ParticipantsUpdated; RemoveParticipantFailed",
              RemoveParticipantRequest, _with(RemoveParticipantRequest, participants.remove)),
    Operation("Participants", "Mute", "POST", _P + ":mute", 200, True, "ParticipantsUpdated",
              MuteParticipantsRequest, _with(MuteParticipantsRequest, participants.mute)),
    Operation("Participants", "CancelAddParticipant", "POST", _P + ":cancelAddParticipant", 202, True,
              "CancelAddParticipantSucceeded, CancelAddParticipantFailed",
              CancelAddParticipantRequest, _with(CancelAddParticipantRequest, participants.cancel_add)),
    Operation("Participants", "MoveParticipants", "POST", _P + ":moveHere", 202, True,
              "MoveParticipantSucceeded, MoveParticipantFailed; ParticipantsUpdated", MoveParticipantsRequest,
              _with(MoveParticipantsRequest, lambda c, asked, body: c.move(asked.connection, body))),
    Operation(
        "Media", "Play", "POST", _I + ":play", 202, False, "PlayStarted; PlayCompleted, PlayFailed, PlayCanceled",
        PlayRequest, _with(PlayRequest, media.play),
    ),
    Operation("Media", "CancelAllMediaOperations", "POST", _I + ":cancelAllMediaOperations", 202,
              events="PlayCanceled, RecognizeCanceled", run=media.cancel_all),
    Operation(
        "Media", "Recognize", "POST", _I + ":recognize", 202, False,
        "RecognizeCompleted, RecognizeFailed, RecognizeCanceled", RecognizeRequest,
        _with(RecognizeRequest, media.recognize),
    ),
    Operation(
        "Media", "StartContinuousDtmfRecognition", "POST", _I + ":startContinuousDtmfRecognition", 200, False,
        "ContinuousDtmfRecognitionToneReceived, ContinuousDtmfRecognitionToneFailed", StartContinuousDtmfRequest,
        _with(StartContinuousDtmfRequest, media.tones),
    ),
    Operation(
        "Media", "StopContinuousDtmfRecognition", "POST", _I + ":stopContinuousDtmfRecognition", 200, False,
        "ContinuousDtmfRecognitionStopped", StopContinuousDtmfRequest,
        _with(StopContinuousDtmfRequest, media.tones),
    ),
    Operation(
        "Media", "SendDtmfTones", "POST", _I + ":sendDtmfTones", 202, True,
        "SendDtmfTonesCompleted, SendDtmfTonesFailed", SendDtmfTonesRequest,
        _with(SendDtmfTonesRequest, media.send_tones),
    ),
    Operation("Media", "Hold", "POST", _I + ":hold", 200, False, "ParticipantsUpdated; HoldFailed",
              HoldRequest, _with(HoldRequest, media.hold)),
    Operation("Media", "Unhold", "POST", _I + ":unhold", 200, False, "ParticipantsUpdated",
              UnholdRequest, _with(UnholdRequest, media.unhold)),
    Operation(
        "Media", "StartMediaStreaming", "POST", _I + ":startMediaStreaming", 202, False,
        "MediaStreamingStarted, MediaStreamingFailed", StartMediaStreamingRequest,
        _with(StartMediaStreamingRequest, media.start_streaming),
    ),
    Operation(
        "Media", "StopMediaStreaming", "POST", _I + ":stopMediaStreaming", 202, False,
        "MediaStreamingStopped, MediaStreamingFailed", StopMediaStreamingRequest,
        _with(StopMediaStreamingRequest, media.stop_streaming),
    ),
    Operation("Media", "StartTranscription", "POST", _I + ":startTranscription", 202, False,
              "TranscriptionStarted, TranscriptionFailed", StartTranscriptionRequest,
              _with(StartTranscriptionRequest, transcription.transcribe)),
    Operation("Media", "StopTranscription", "POST", _I + ":stopTranscription", 202, False, "TranscriptionStopped",
              StopTranscriptionRequest, _with(StopTranscriptionRequest, transcription.transcribe)),
    Operation("Media", "UpdateTranscription", "POST", _I + ":updateTranscription", 202, False,
              "TranscriptionUpdated, TranscriptionFailed", UpdateTranscriptionRequest,
              _with(UpdateTranscriptionRequest, transcription.transcribe)),
    Operation("Recording", "StartRecording", "POST", _R, 200, True, "RecordingStateChanged, StartRecordingFailed",
              StartCallRecordingRequest, _with(StartCallRecordingRequest, recordings.start)),
    Operation("Recording", "GetRecordingProperties", "GET", _R + "/{recordingId}", 200, run=recordings.state),
    Operation("Recording", "StopRecording", "DELETE", _R + "/{recordingId}", 204, events="RecordingStateChanged",
              run=recordings.stop),
    Operation("Recording", "PauseRecording", "POST", _R + "/{recordingId}:pause", 202, events="RecordingStateChanged",
              run=recordings.pause),
    Operation("Recording", "ResumeRecording", "POST", _R + "/{recordingId}:resume", 202,
              events="RecordingStateChanged", run=recordings.resume),
)  # fmt: skip

# A raw id may stand undecoded in the path (8:acs:...); in the other ids ':' begins the verb.
_ID_PATTERNS: Final = {"participantRawId": "[^/]+", "identityId": "[^/]+"}


def _compile(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", path)
    regex = "".join(
        re.escape(part) if index % 2 == 0 else f"(?P<{part}>{_ID_PATTERNS.get(part, '[^/:]+')})"
        for index, part in enumerate(parts)
    )
    return re.compile(regex)


def paths_of(operations: Iterable[Operation]) -> Paths:
    """What `find` looks through."""
    return tuple((_compile(operation.path), operation) for operation in operations)


_PATHS: Final = paths_of(OPERATIONS)


def find(method: str, raw_path: str, paths: Paths = _PATHS) -> tuple[Operation | None, dict[str, str], list[str]]:
    """The operation of a method and raw (still encoded) path, its decoded ids, and the methods that the path takes.

    No operation and no methods: there is no such path. No operation but methods: the method is wrong.
    """
    methods: list[str] = []
    for pattern, operation in paths:
        match = pattern.fullmatch(raw_path)
        if match is None:
            continue
        if operation.method == method:
            return operation, {name: unquote(value) for name, value in match.groupdict().items()}, []
        methods.append(operation.method)
    return None, {}, methods
