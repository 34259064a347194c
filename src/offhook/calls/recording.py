"""What a call knows of its recording: whether it runs, and what the app is told of it (protocol.md §5.5).

One at a time, which ends at the latest with the call. Events go to the URL that the request named for them, else to
the call's callback as long as the app that asked is in the call (§5.1: nothing follows CallDisconnected).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from offhook.calls.actions import Notify, Output, Record
from offhook.errors import CallError
from offhook.wire.recording import RecordingStateChanged, StartRecordingFailed
from offhook.wire.results import RESULTS

if TYPE_CHECKING:
    from offhook.calls.connection import CallIds, Connection
    from offhook.calls.conversation import Conversation


@dataclass(frozen=True, slots=True)
class RecordingPlan:
    """What an app asks for. `started`: the time of asking as events write it; `callback_uri` None: the call's."""

    recording_id: str
    started: str
    api_version: str
    paused: bool = False
    callback_uri: str | None = None


class Recording:
    """One recording. It is opened by the node, which reports `opened` or `failed`."""

    def __init__(
        self, plan: RecordingPlan, ids: CallIds, connection_id: str, callback_uri: str, outbox: list[Output]
    ) -> None:
        """`callback_uri`: the call's."""
        self.paused = plan.paused
        self.over = False
        self._open = False
        self._plan = plan
        self._ids = ids
        self._connection_id = connection_id
        self._uri: str | None = plan.callback_uri or callback_uri
        self._outbox = outbox
        self._do("open")

    @property
    def recording_id(self) -> str:
        return self._plan.recording_id

    @property
    def state(self) -> str:
        """`recordingState`."""
        return "inactive" if self.paused or self.over else "active"

    # requests ---------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Record nothing until `resume`. CallError `recording_not_allowed` when it is paused."""
        self._switch(True, "It is paused already.")

    def resume(self) -> None:
        """Record again. CallError `recording_not_allowed` when it is not paused."""
        self._switch(False, "It is not paused.")

    def stop(self) -> None:
        """The app has had enough."""
        self.end("RecordingStopped")

    def _switch(self, paused: bool, problem: str) -> None:
        if self.paused is paused:
            raise CallError("recording_not_allowed", problem)
        self.paused = paused
        self._do("pause" if paused else "resume")
        if self._open:
            self._tell()

    # facts ------------------------------------------------------------------------------------------------------

    def opened(self) -> None:
        """Its file is there."""
        if not self.over:
            self._open = True
            self._tell()

    def failed(self, detail: str) -> None:
        """It cannot be written, or not any more: what there is is kept, and the call goes on."""
        if self.over:
            return
        self.over = True
        self._do("close", "failed")
        if self._open:
            self._tell("recording_failed", detail)
            return
        self._post(
            StartRecordingFailed(
                call_connection_id=self._connection_id,
                server_call_id=self._ids.server_call_id,
                correlation_id=self._ids.correlation_id,
                recording_id=self.recording_id,
                result_information=RESULTS["recording_failed"].information(detail),
            )
        )

    def end(self, reason: str) -> None:
        """It is over, with the call or as somebody asked; twice is once."""
        if not self.over:
            self.over = True
            self._do("close", reason)
            self._tell()

    def app_left(self, connection_id: str) -> None:
        """An app has left the call, which goes on."""
        if connection_id == self._connection_id and self._plan.callback_uri is None:
            self._uri = None

    # inside -----------------------------------------------------------------------------------------------------

    def _do(self, what: str, reason: str = "") -> None:
        self._outbox.append(Record(self.recording_id, what, reason))

    def _tell(self, outcome: str = "", detail: str = "") -> None:
        self._post(
            RecordingStateChanged(
                call_connection_id=self._connection_id,
                server_call_id=self._ids.server_call_id,
                correlation_id=self._ids.correlation_id,
                recording_id=self.recording_id,
                state=self.state,
                start_date_time=self._plan.started,
                result_information=RESULTS[outcome].information(detail) if outcome else None,
            )
        )

    def _post(self, event: RecordingStateChanged | StartRecordingFailed) -> None:
        if self._uri is not None:
            self._outbox.append(Notify(event, self._uri, self._plan.api_version))


def start(call: Conversation, connection: Connection, plan: RecordingPlan, now: float) -> None:
    """Record the call. CallError `recording_running` for a second recording (§3.7: 400/8559)."""
    if call.recording is not None and not call.recording.over:
        raise CallError("recording_running")
    uri = call.properties(connection.connection_id).callback_uri
    call.recording = Recording(plan, call.ids, connection.connection_id, uri, call.outbox)
