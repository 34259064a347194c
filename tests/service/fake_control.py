"""A node for tests of the REST interface: it keeps what it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from offhook.calls.actions import Record
from offhook.calls.call import Call
from offhook.errors import CallError
from offhook.service.exchange import Exchange
from offhook.service.live import LiveCall
from offhook.service.participants import AskCall
from offhook.service.recordings import Recorders
from offhook.wire.connecting import ConnectRequest
from offhook.wire.identifiers import phone_number
from offhook.wire.models import (
    AnswerCallRequest,
    CallConnectionProperties,
    CallParticipant,
    CreateCallRequest,
    RedirectCallRequest,
    RejectCallRequest,
)
from offhook.wire.recording import RecordingStateResponse, StartCallRecordingRequest
from offhook.wire.transfer import MoveParticipantsRequest, MoveParticipantsResponse


class _FakeCall:
    """Hands on what it is asked, without the time."""

    def __init__(self, ask: Callable[..., None]) -> None:
        self._ask = ask

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: self._ask(name, *args[:-1])


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
        self.exchanges: list[Exchange | None] = []
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

    def connect(self, request: ConnectRequest, api_version: str) -> CallConnectionProperties:
        self._ask("connect", request, api_version)
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

    def move(self, connection_id: str, request: MoveParticipantsRequest) -> MoveParticipantsResponse:
        self._ask("move", connection_id, request)
        return MoveParticipantsResponse(participants=(), from_call=request.from_call)

    def mint(self) -> str:
        return "minted"

    def ask(self, connection_id: str, request: AskCall) -> None:
        request(cast(Call, _FakeCall(self._ask)), 0.0)

    def note_request(
        self,
        connection_id: str | None,
        operation: str,
        status: int,
        detail: dict[str, Any],
        exchange: Exchange | None = None,
    ) -> None:
        self.exchanges.append(exchange)
        self.notes.append((connection_id, operation, status, detail))

    @property
    def names(self) -> list[str]:
        return [what[0] for what in self.asked]
