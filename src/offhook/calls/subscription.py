"""One app's stream as its call sees it: planned, dialled, open, being closed (protocol.md §2.1, §2.10).

Every start is answered by Started or Failed, every stop by Stopped. The socket itself is the node's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from offhook.errors import CallError
from offhook.wire.events import CallEvent, MediaStreamingFailed, MediaStreamingStarted, MediaStreamingStopped
from offhook.wire.models import MediaStreamingOptions, MediaStreamingSubscription

Phase = Literal["off", "planned", "opening", "open", "closing"]

# The `state` that apps see: active from the moment it was asked for, as the published examples show (§2.1).
_STATES: Final[dict[Phase, str]] = {
    "off": "inactive",
    "planned": "active",
    "opening": "active",
    "open": "active",
    "closing": "inactive",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """What an app asked for: the context it gets back, and where that one result goes (None: the call's callback)."""

    context: str | None
    callback_uri: str | None = None


@dataclass(frozen=True, slots=True)
class StreamNews:
    """An event about the stream; `outcome` is a stream row of the results table."""

    event: type[CallEvent]
    outcome: str
    operation: Operation
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StreamKind:
    """What tells one kind of stream from another: its name in messages, its events, and how it ends early."""

    what: str
    started: type[CallEvent]
    stopped: type[CallEvent]
    failed: type[CallEvent]
    stopped_early: tuple[str, str]


class StreamLife:
    """The life of one stream. Facts that do not fit the phase are late ones, and change nothing."""

    kind: ClassVar[StreamKind]

    def __init__(self, *, planned: bool) -> None:
        self._phase: Phase = "planned" if planned else "off"
        self._start = Operation(None)
        self._stop = Operation(None)

    @property
    def planned(self) -> bool:
        """True until the stream that was asked for with the call itself is dialled."""
        return self._phase == "planned"

    @property
    def live(self) -> bool:
        """True while there is a socket that nobody asked to close."""
        return self._phase in ("opening", "open")

    @property
    def state(self) -> str:
        """As the app sees it."""
        return _STATES[self._phase]

    # requests ---------------------------------------------------------------------------------------------------

    def start(self, operation: Operation) -> None:
        """The stream is dialled now. CallError `media_state` when it runs or is being closed (§3.7)."""
        if self._phase in ("opening", "open"):
            raise CallError("media_state", f"{self.kind.what} is active already.")
        if self._phase == "closing":
            wait_for = self.kind.stopped.__name__
            raise CallError("media_state", f"{self.kind.what} is being stopped; wait for {wait_for}.")
        self._phase, self._start = "opening", operation

    def stop(self, operation: Operation) -> list[StreamNews]:
        """The stream is closed now. CallError `media_state` when none runs (§3.7)."""
        if not self.live:
            raise CallError("media_state", f"{self.kind.what} is not active.")
        early = self._phase == "opening"
        self._phase, self._stop = "closing", operation
        outcome, detail = self.kind.stopped_early
        return [StreamNews(self.kind.failed, outcome, self._start, detail)] if early else []

    def abandon(self) -> bool:
        """The call is over. True if the socket must be closed."""
        must_close, self._phase = self.live, "off"
        return must_close

    # facts ------------------------------------------------------------------------------------------------------

    def opened(self) -> list[StreamNews]:
        """The socket is up for the first time."""
        if self._phase != "opening":
            return []
        self._phase = "open"
        return [StreamNews(self.kind.started, "stream_started", self._start)]

    def reestablished(self) -> list[StreamNews]:
        """The socket broke and is up again (§9 row 20)."""
        if self._phase != "open":
            return []
        return [StreamNews(self.kind.started, "stream_reestablished", self._later())]

    def failed(self, outcome: str, detail: str) -> list[StreamNews]:
        """The socket never came up, or is lost for good. While being closed that is as good as closed."""
        if self._phase == "closing":
            return self.closed()
        if not self.live:
            return []
        operation = self._start if self._phase == "opening" else self._later()
        self._phase = "off"
        return [StreamNews(self.kind.failed, outcome, operation, detail)]

    def closed_by_app(self) -> list[StreamNews]:
        """The app closed in order: Stopped, and no further dialling (§9 row 20)."""
        if self._phase == "closing":
            return self.closed()
        if not self.live:
            return []
        self._phase = "off"
        return [StreamNews(self.kind.stopped, "stream_stopped", self._later())]

    def closed(self) -> list[StreamNews]:
        """The close that a stop asked for is done."""
        if self._phase != "closing":
            return []
        self._phase = "off"
        return [StreamNews(self.kind.stopped, "stream_stopped", self._stop)]

    def _later(self) -> Operation:
        """News of a stream that already had its Started: the start's context, but no longer its own callback (§3.3)."""
        return Operation(self._start.context)


class Subscription(StreamLife):
    """One app's audio stream."""

    kind = StreamKind(
        "Media streaming",
        MediaStreamingStarted,
        MediaStreamingStopped,
        MediaStreamingFailed,
        ("stream_unsuccessful", "The stream was stopped before it was open."),
    )

    def __init__(self, subscription_id: str, options: MediaStreamingOptions) -> None:
        super().__init__(planned=options.start)
        self.subscription_id = subscription_id
        self.options = options

    def properties(self) -> MediaStreamingSubscription:
        """As the app sees it."""
        return MediaStreamingSubscription(id=self.subscription_id, state=self.state)
