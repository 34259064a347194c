"""Transcription as its call sees it: what one app asked for, and what it is told of it (protocol.md §2.11, §5.6).

The socket and the recogniser are the node's. A transcription lives as a stream does, but its language can change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal

from offhook.calls.actions import CloseTranscription, OpenTranscription, Output, UpdateTranscription
from offhook.calls.subscription import Operation, StreamKind, StreamLife, StreamNews
from offhook.errors import CallError
from offhook.wire.models import TranscriptionOptions, TranscriptionSubscription
from offhook.wire.results import RESULTS
from offhook.wire.transcription import (
    StartTranscriptionRequest,
    StopTranscriptionRequest,
    TranscriptionFailed,
    TranscriptionRequest,
    TranscriptionStarted,
    TranscriptionStopped,
    TranscriptionUpdated,
    transcription_update,
)

Fact = Literal["opened", "reestablished", "failed", "closed_by_app", "closed", "updated", "update_failed"]
"""What the node reports; `failed` and `update_failed` with an outcome and its detail."""

# The rows of a socket that fails mean other codes here (§5.8), and other details (§5.6).
_OUTCOMES: Final[Mapping[str, str]] = {
    "stream_url_invalid": "transcription_url_invalid",
    "stream_lost": "transcription_lost",
    "stream_unsuccessful": "transcription_lost",
}


class _Life(StreamLife):
    kind = StreamKind(
        "Transcription", TranscriptionStarted, TranscriptionStopped, TranscriptionFailed, ("transcription_canceled", "")
    )


class Transcribing:
    """The transcription of one app. `tell` posts an event: class, outcome, operation, detail, fields."""

    def __init__(
        self,
        connection_id: str,
        subscription_id: str,
        options: TranscriptionOptions | None,
        outbox: list[Output],
        tell: Callable[..., None],
    ) -> None:
        self._connection_id = connection_id
        self._subscription_id = subscription_id
        self._options = options
        self._locale = "" if options is None else options.locale
        self._life = _Life(planned=options is not None and options.start)
        self._updates: list[tuple[str, Operation]] = []
        self._outbox = outbox
        self._tell = tell

    def properties(self) -> TranscriptionSubscription | None:
        """As the app sees it; None when it gave no options."""
        if self._options is None:
            return None
        results = ("final", "intermediate") if self._options.intermediate_results else ("final",)
        return TranscriptionSubscription(
            id=self._subscription_id, state=self._life.state, subscribed_result_types=results, locale=self._locale
        )

    # requests ---------------------------------------------------------------------------------------------------

    def open_planned(self, context: str | None) -> None:
        """Begin what was asked for with the call itself; what is wrong with it is told as an event."""
        if not self._life.planned:
            return
        operation = Operation(context)
        try:
            self._start(StartTranscriptionRequest(), operation, "stream_url_missing")
        except CallError as error:
            self._life.abandon()
            self._say([StreamNews(TranscriptionFailed, error.outcome, operation, error.detail)])

    def ask(self, request: TranscriptionRequest) -> None:
        """Start, stop or update, as the request's type says; the result follows as an event.

        CallError `transcription_not_configured` without options or URL, `media_state` where the state does not fit,
        `speech_model_not_supported`.
        """
        operation = Operation(request.operation_context, request.operation_callback_uri)
        if self._options is None:
            raise CallError("transcription_not_configured")
        if isinstance(request, StartTranscriptionRequest):
            self._start(request, operation, "transcription_not_configured")
        elif isinstance(request, StopTranscriptionRequest):
            news = self._life.stop(operation)
            self._updates.clear()
            self._outbox.append(CloseTranscription(self._connection_id))
            self._say(news)
        else:
            self._update(request, operation)

    def _start(self, request: TranscriptionRequest, operation: Operation, no_url: str) -> None:
        options = self._options
        assert options is not None
        if request.speech_model_endpoint_id or options.speech_model_endpoint_id:
            raise CallError("speech_model_not_supported")
        if not options.transport_url:
            raise CallError(no_url, "transcriptionOptions had no transportUrl.")
        self._life.start(operation)
        self._updates.clear()
        self._locale = request.locale or self._locale
        self._outbox.append(OpenTranscription(self._connection_id, options, self._subscription_id, self._locale))

    def _update(self, request: TranscriptionRequest, operation: Operation) -> None:
        if request.speech_model_endpoint_id:
            raise CallError("speech_model_not_supported")
        if not self._life.live:
            raise CallError("media_state", "Transcription is not active.")
        assert request.locale is not None
        self._updates.append((request.locale, operation))
        self._outbox.append(UpdateTranscription(self._connection_id, request.locale))

    def end(self, outcome: str) -> None:
        """The app's hold on the call is over (§5.1: before it is told so)."""
        if not self._life.abandon():
            return
        if outcome == "service_stopping":
            self._say([StreamNews(TranscriptionFailed, "transcription_shut_down", Operation(None))])
        self._outbox.append(CloseTranscription(self._connection_id))

    # facts ------------------------------------------------------------------------------------------------------

    def observe(self, fact: Fact, outcome: str, detail: str) -> None:
        """What became of the socket, of the recogniser or of an update; too late: nothing."""
        if fact in ("updated", "update_failed"):
            self._updated(fact == "updated", outcome, detail)
        elif fact == "failed":
            self._say(self._life.failed(_OUTCOMES.get(outcome, outcome), detail))
        else:
            self._say(_FACTS[fact](self._life))

    def _updated(self, done: bool, outcome: str, detail: str) -> None:
        if not self._updates:
            return
        locale, operation = self._updates.pop(0)
        if done:
            self._locale = locale
            self._say([StreamNews(TranscriptionUpdated, "transcription_updated", operation)])
        else:
            self._say([StreamNews(TranscriptionFailed, outcome, operation, detail)])

    def _say(self, news: list[StreamNews]) -> None:
        for item in news:
            update = transcription_update(item.event, RESULTS.get(item.outcome) or RESULTS["leg_failed"])
            self._tell(item.event, item.outcome, item.operation, item.detail, transcription_update=update)


_FACTS: Final[Mapping[str, Callable[[StreamLife], list[StreamNews]]]] = {
    "opened": StreamLife.opened,
    "reestablished": StreamLife.reestablished,
    "closed_by_app": StreamLife.closed_by_app,
    "closed": StreamLife.closed,
}
