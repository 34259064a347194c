"""A node for tests of the REST interface: it keeps what it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from offhook.calls.actions import Record
from offhook.errors import CallError
from offhook.service.live import LiveCall
from offhook.service.participants import AskCall
from offhook.service.recordings import Recorders
from offhook.wire.identifiers import phone_number
from offhook.wire.models import (
    AnswerCallRequest,
    CallConnectionProperties,
    CallParticipant,
    CreateCallRequest,
    RedirectCallRequest,
    RejectCallRequest,
    StartMediaStreamingRequest,
    StopMediaStreamingRequest,
)
from offhook.wire.playing import PlayRequest
from offhook.wire.recording import RecordingStateResponse, StartCallRecordingRequest
from offhook.wire.tones import ToneRequest


class FakeRecordings:
    """Keeps what it was asked for, in the node's list."""

    def __init__(self, ask: Callable[..., None]) -> None:
        self._ask = ask

    def start(self, request: StartCallRecordingRequest, api_version: str) -> RecordingStateResponse:
        self._ask("start_recording", request, api_version)
        return RecordingStateResponse(recording_id="r1", recording_state="active")

    def state(self, id: str) -> RecordingStateResponse:
        self._ask("recording_state", id)
        return RecordingStateResponse(recording_id=id, recording_state="active")

    def stop(self, id: str) -> None:
        self._ask("stop_recording", id)

    def pause(self, id: str) -> None:
        self._ask("pause_recording", id)

    def resume(self, id: str) -> None:
        self._ask("resume_recording", id)

    def perform(self, live: LiveCall, action: Record) -> None:
        raise AssertionError("there are no calls here")


class FakeNode:
    """Keeps what it was asked for. Calls begin as connecting; a test may change `state`, or let `fail` be raised."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.notes: list[tuple[str | None, str, int, dict[str, Any]]] = []
        self.calls: dict[str, CallConnectionProperties] = {}
        self.fail: Exception | None = None
        self.recordings: Recorders | None = FakeRecordings(self._ask)

    def _ask(self, *what: Any) -> None:
        self.asked.append(what)
        if self.fail is not None:
            raise self.fail

    def _new(self, callback_uri: str) -> CallConnectionProperties:
        number = len(self.calls) + 1
        properties = CallConnectionProperties(
            call_connection_id=f"cc-{number}",
            call_connection_state="connecting",
            callback_uri=callback_uri,
            correlation_id=f"chain-{number}",
            targets=(),
        )
        self.calls[properties.call_connection_id] = properties
        return properties

    def create(self, request: CreateCallRequest, api_version: str) -> CallConnectionProperties:
        self._ask("create", request, api_version)
        return self._new(request.callback_uri)

    def answer(self, request: AnswerCallRequest, api_version: str) -> CallConnectionProperties:
        self._ask("answer", request, api_version)
        return self._new(request.callback_uri)

    def redirect(self, request: RedirectCallRequest) -> None:
        self._ask("redirect", request)

    def reject(self, request: RejectCallRequest) -> None:
        self._ask("reject", request)

    def properties(self, connection_id: str) -> CallConnectionProperties:
        self._ask("properties", connection_id)
        if connection_id not in self.calls:
            raise CallError("call_not_found")
        return self.calls[connection_id]

    def hang_up(self, connection_id: str) -> None:
        self._ask("hang_up", connection_id)

    def terminate(self, connection_id: str) -> None:
        self._ask("terminate", connection_id)

    def participants(self, connection_id: str) -> list[CallParticipant]:
        self._ask("participants", connection_id)
        return [CallParticipant(identifier=phone_number("+1"))]

    def participant(self, connection_id: str, raw_id: str) -> CallParticipant:
        self._ask("participant", connection_id, raw_id)
        return CallParticipant(identifier=phone_number("+1"), is_muted=True)

    def mint(self) -> str:
        return "minted"

    def ask(self, connection_id: str, request: AskCall) -> None:
        self._ask("ask", connection_id, request)

    def play(self, connection_id: str, request: PlayRequest) -> None:
        self._ask("play", connection_id, request)

    def cancel_media(self, connection_id: str) -> None:
        self._ask("cancel_media", connection_id)

    def start_streaming(self, connection_id: str, request: StartMediaStreamingRequest) -> None:
        self._ask("start_streaming", connection_id, request)

    def stop_streaming(self, connection_id: str, request: StopMediaStreamingRequest) -> None:
        self._ask("stop_streaming", connection_id, request)

    def tones(self, connection_id: str, request: ToneRequest) -> None:
        self._ask("tones", connection_id, request)

    def note_request(self, connection_id: str | None, operation: str, status: int, detail: dict[str, Any]) -> None:
        self.notes.append((connection_id, operation, status, detail))

    @property
    def names(self) -> list[str]:
        return [what[0] for what in self.asked]
