"""What an app on the kit tells an Offhook node of its turns: a message that is ours alone (protocol.md §9 row 67).

It is sent only where the handshake had `VERSION_HEADER`, which the service of Azure never sends.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Raw, Struct

from offhook.errors import WireError
from offhook.wire.folding import UNREADABLE

VERSION_HEADER: Final = "x-offhook-version"
"""Header of the node's WebSocket handshakes: its version."""
KIND: Final = "OffhookTurn"
MAX_REPORT: Final = 1024
"""Bytes of the object in a message; the kit writes at most half of that."""
LONGEST_MS: Final = 7 * 24 * 3600 * 1000
MOST: Final = 1_000_000

TurnKind: TypeAlias = Literal["answer", "greeting", "more"]
Outcome: TypeAlias = Literal["heard", "interrupted", "stopped", "abandoned", "unanswered", "ended"]

MOMENTS: Final = ("stopped_ms", "detected_ms", "audio_ms", "sent_ms", "first_heard_ms", "ended_ms")
"""In this order; one that is not null is never before another."""
SPANS: Final = ("detection", "answer", "sending", "playout")
"""What lies between the first five of them, each from its predecessor."""


class TurnReport(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """One turn. Moments are milliseconds of the stream, by its frames from the first; null for what did not happen."""

    number: int
    kind: TurnKind
    outcome: Outcome
    stopped_ms: int | None
    detected_ms: int | None
    audio_ms: int | None
    sent_ms: int | None
    first_heard_ms: int | None
    ended_ms: int
    heard_ms: int
    """How much of the app's sound was heard."""
    playbacks: int
    resumed: int
    error_ms: int
    """How far moments of the app's own clock may be off those of the stream."""

    @property
    def moments(self) -> tuple[int | None, ...]:
        """From where the caller stopped to where it ended, as `MOMENTS` names them."""
        return (
            self.stopped_ms,
            self.detected_ms,
            self.audio_ms,
            self.sent_ms,
            self.first_heard_ms,
            self.ended_ms,
        )

    @property
    def spans(self) -> dict[str, int]:
        """Milliseconds between what happened, in order: they add up to the time from the first moment to the last."""
        moments = self.moments
        return {
            name: after - before
            for name, before, after in zip(SPANS, moments[:4], moments[1:5], strict=True)
            if before is not None and after is not None
        }

    @property
    def response_ms(self) -> int | None:
        """From where the caller stopped, else from the first sound, to what they heard first; None: heard nothing."""
        return sum(self.spans.values()) if self.first_heard_ms is not None else None


_decode: Final = msgspec.json.Decoder(TurnReport).decode
_encode: Final = msgspec.json.Encoder().encode


def write_turn(report: TurnReport) -> str:
    """The message of one turn."""
    return f'{{"kind":"{KIND}","offhookTurn":{_encode(report).decode()}}}'


def read_turn(raw: Raw | None) -> TurnReport:
    """The object `offhookTurn` of a message; WireError names what is wrong with it."""
    if raw is None:
        raise WireError(f"a message of kind {KIND} needs an object offhookTurn", "offhookTurn")
    data = bytes(raw)
    if len(data) > MAX_REPORT:
        raise WireError(f"offhookTurn has {len(data)} bytes, at most {MAX_REPORT} are read", "offhookTurn")
    try:
        report = _decode(data)
    except UNREADABLE as error:
        raise WireError(f"offhookTurn cannot be read: {error}"[:200], "offhookTurn") from None
    before = 0
    for name, moment in zip(MOMENTS, report.moments, strict=True):
        if moment is None:
            continue
        if not before <= moment <= LONGEST_MS:
            raise WireError(
                f"offhookTurn.{_camel(name)} is {moment}: out of order, or no time of a stream", "offhookTurn"
            )
        before = moment
    for name in ("number", "heard_ms", "playbacks", "resumed", "error_ms"):
        value, most = getattr(report, name), LONGEST_MS if name.endswith("_ms") else MOST
        if not 0 <= value <= most:
            raise WireError(f"offhookTurn.{_camel(name)} is {value}, which is not from 0 to {most}", "offhookTurn")
    return report


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.title() for word in others)
