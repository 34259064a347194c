"""One app's hold on a call: callback address, contexts, the events it is told, its stream (protocol.md §5).

A connection ends its attempt in exactly one of CallConnected, CreateCallFailed, AnswerFailed and ConnectFailed
(§5.5), and says nothing after CallDisconnected (§5.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from offhook.calls.actions import CloseStream, Notify, OpenStream, Output
from offhook.calls.subscription import Operation, StreamNews, Subscription
from offhook.calls.transcribing import Transcribing
from offhook.errors import CallError
from offhook.wire.connecting import ConnectFailed, ConnectRequest
from offhook.wire.events import (
    AnswerFailed,
    CallConnected,
    CallDisconnected,
    CallEvent,
    CallParticipant,
    CreateCallFailed,
    MediaStreamingFailed,
    ParticipantsUpdated,
    media_streaming_update,
)
from offhook.wire.identifiers import Identifier
from offhook.wire.ids import sibling_id
from offhook.wire.models import AnswerCallRequest, CallConnectionProperties, CreateCallRequest
from offhook.wire.results import RESULTS, Result

# How an attempt that does not end in CallConnected ends (§5.5).
_FAILED: Final[dict[type, type[CallEvent]]] = {
    CreateCallRequest: CreateCallFailed,
    AnswerCallRequest: AnswerFailed,
    ConnectRequest: ConnectFailed,
}

# Attempts that end with CallDisconnected too. A rejected call was recorded from the real service with both events
# (200/5002, §9 row 21); an app that hangs up, and a node that stops, owe CallDisconnected to every connection. Busy,
# not answered and unreachable callees have CreateCallFailed alone (§5.7). It comes first: nothing follows
# CallDisconnected (§5.1).
_ALSO_DISCONNECTED: Final = frozenset({"rejected", "ended_by_app", "service_stopping"})


def row_of(outcome: str) -> Result:
    """The results row of an outcome that a leg or a socket named; `leg_failed` for one that the table lacks."""
    return RESULTS.get(outcome) or RESULTS["leg_failed"]


@dataclass(frozen=True, slots=True)
class CallIds:
    """The ids that every event of a call carries (protocol.md §3.5)."""

    call_id: str
    server_call_id: str
    correlation_id: str


class Connection:
    """The app's side of one call. `identity` is who the app is in the roster, if it has an identity there."""

    def __init__(
        self,
        ids: CallIds,
        connection_id: str,
        subscription_id: str,
        request: CreateCallRequest | AnswerCallRequest | ConnectRequest,
        api_version: str,
        identity: Identifier | None,
        outbox: list[Output],
    ) -> None:
        self.connection_id = connection_id
        self.identity = identity
        self.established = False
        options = request.media_streaming_options
        self.stream = None if options is None else Subscription(subscription_id, options)
        self._ids = ids
        self._request = request
        self.api_version = api_version
        self._sequence = 0
        self._held: list[Notify] = []
        self._outbox = outbox
        self.transcribing = Transcribing(
            connection_id,
            sibling_id(subscription_id, "transcription"),
            request.transcription_options,
            outbox,
            self.tell,
        )

    # life -------------------------------------------------------------------------------------------------------

    def establish(self, participants: tuple[CallParticipant, ...]) -> None:
        """The app is in the call: CallConnected, the roster, then what waited for them (§5.7)."""
        self.established = True
        self._tell(CallConnected, RESULTS["success"])
        self.roster_changed(participants)
        self._outbox += self._held
        self._held.clear()

    def roster_changed(self, participants: tuple[CallParticipant, ...]) -> None:
        """ParticipantsUpdated; it has no operation context (§5.5)."""
        self._sequence += 1
        self._post(
            ParticipantsUpdated(
                call_connection_id=self.connection_id,
                server_call_id=self._ids.server_call_id,
                correlation_id=self._ids.correlation_id,
                sequence_number=self._sequence,
                participants=participants,
            )
        )

    def tell(self, event: type[CallEvent], outcome: str, operation: Operation, detail: str = "", **fields: Any) -> None:
        """The result of something that this app asked for, with that request's context, to where it wants it (§3.3)."""
        self._tell(event, row_of(outcome), detail, operation, **fields)

    def end(self, outcome: str, detail: str = "") -> None:
        """The app's hold is over: its streams close, and it is told why (§5.5, §5.8)."""
        self.transcribing.end(outcome)
        if self.stream is not None and self.stream.abandon():
            self._outbox.append(CloseStream(self.connection_id))
        if not self.established:
            self._tell(_FAILED[type(self._request)], row_of(outcome), detail)
        if self.established or outcome in _ALSO_DISCONNECTED:
            self._tell(CallDisconnected, row_of(outcome), detail)

    # stream -----------------------------------------------------------------------------------------------------

    def open_planned_stream(self) -> None:
        """Dial the streams that were asked for with the call itself; their events carry its context (§2.1)."""
        self.transcribing.open_planned(self._request.operation_context)
        if self.stream is None or not self.stream.planned:
            return
        operation = Operation(self._request.operation_context)
        if self.stream.options.transport_url:
            self._open(self.stream, operation)
        else:
            self.stream.abandon()
            self.tell_stream([StreamNews(MediaStreamingFailed, "stream_url_missing", operation)])

    def start_stream(self, operation: Operation) -> None:
        """CallError `streaming_not_configured` without options or URL, `media_state` when it runs."""
        if self.stream is None:
            raise CallError("streaming_not_configured")
        if not self.stream.options.transport_url:
            raise CallError("streaming_not_configured", "mediaStreamingOptions had no transportUrl.")
        self._open(self.stream, operation)

    def stop_stream(self, operation: Operation) -> None:
        """CallError `streaming_not_configured` without options, `media_state` when none runs."""
        if self.stream is None:
            raise CallError("streaming_not_configured")
        news = self.stream.stop(operation)
        self._outbox.append(CloseStream(self.connection_id))
        self.tell_stream(news)

    def tell_stream(self, news: list[StreamNews]) -> None:
        """Events of the stream; they wait until the app has its CallConnected (order seen in §2.1)."""
        for item in news:
            row = row_of(item.outcome)
            self._tell(
                item.event,
                row,
                item.detail,
                item.operation,
                media_streaming_update=media_streaming_update(item.event, row),
            )

    def _open(self, stream: Subscription, operation: Operation) -> None:
        stream.start(operation)
        self._outbox.append(OpenStream(self.connection_id, stream.options, stream.subscription_id))

    # what the app sees ------------------------------------------------------------------------------------------

    def properties(
        self, caller: Identifier | None, callee: Identifier | None, display_name: str
    ) -> CallConnectionProperties:
        """As of now (§3.4). A created call has its serverCallId once it is connected, as was recorded."""
        request = self._request
        created = isinstance(request, CreateCallRequest)
        return CallConnectionProperties(
            call_connection_id=self.connection_id,
            call_connection_state="connected" if self.established else "connecting",
            callback_uri=request.callback_uri,
            correlation_id=self._ids.correlation_id,
            server_call_id=self._ids.server_call_id if self.established or not created else None,
            media_streaming_subscription=None if self.stream is None else self.stream.properties(),
            transcription_subscription=self.transcribing.properties(),
            **self._sides(caller, callee, display_name),
        )

    def _sides(self, caller: Identifier | None, callee: Identifier | None, display_name: str) -> dict[str, Any]:
        request = self._request
        if isinstance(request, CreateCallRequest):
            return {
                "targets": request.targets,
                "source": self.identity,
                "source_caller_id_number": request.source_caller_id_number,
                "source_display_name": request.source_display_name,
            }
        sides = {
            "targets": () if callee is None else (callee,),
            "source": caller,
            "source_caller_id_number": _number(caller),
            "source_display_name": display_name or None,
        }
        if isinstance(request, AnswerCallRequest):
            sides |= {"answered_by": request.answered_by, "answered_for": _number(callee)}
        return sides

    # events -----------------------------------------------------------------------------------------------------

    def _tell(
        self,
        event: type[CallEvent],
        row: Result,
        detail: str = "",
        operation: Operation | None = None,
        **fields: Any,
    ) -> None:
        told = event(
            call_connection_id=self.connection_id,
            server_call_id=self._ids.server_call_id,
            correlation_id=self._ids.correlation_id,
            operation_context=(self._request.operation_context if operation is None else operation.context),
            result_information=row.information(detail),
            **fields,
        )
        uri = None if operation is None else operation.callback_uri
        # Only events of an operation may come up before the app has its CallConnected: those of the stream.
        self._post(told, uri, held=operation is not None and not self.established)

    def _post(self, event: CallEvent, callback_uri: str | None = None, held: bool = False) -> None:
        notify = Notify(event, callback_uri or self._request.callback_uri, self.api_version)
        (self._held if held else self._outbox).append(notify)


def _number(identifier: Identifier | None) -> Identifier | None:
    return identifier if identifier is not None and identifier.kind == "phoneNumber" else None
