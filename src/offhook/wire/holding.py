"""Holding: bodies of `:hold` and `:unhold`, and the event of a hold that failed (protocol.md §3.3, §5.5)."""

from __future__ import annotations

from typing import Final, Self

from offhook.wire.events import CallEvent
from offhook.wire.fields import Fields
from offhook.wire.playing import PlaySource
from offhook.wire.tones import ToneRequest, targeted


class HoldRequest(ToneRequest, frozen=True, kw_only=True):
    """POST :hold. `source`: what the participant hears meanwhile, None for nothing."""

    source: PlaySource | None = None

    @classmethod
    def read(cls, fields: Fields) -> Self:
        source = fields.raw("playSourceInfo")
        return cls(
            source=None if source is None else PlaySource.read(source, fields.at("playSourceInfo")),
            **targeted(fields, fields),
        )


class UnholdRequest(ToneRequest, frozen=True, kw_only=True):
    """POST :unhold."""


class HoldFailed(CallEvent, frozen=True, kw_only=True):
    """What the participant was to hear cannot be played; they are not on hold."""


HOLD_EVENTS: Final[tuple[type[CallEvent], ...]] = (HoldFailed,)
