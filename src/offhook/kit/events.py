"""The callbacks' classes, for `@app.on(PlayCompleted)` and `call.wait_for(PlayCompleted)` (protocol.md 5.5)."""

from __future__ import annotations

from offhook.wire.app_events import IncomingCall
from offhook.wire.callbacks import *  # noqa: F403
from offhook.wire.callbacks import EVENTS, CallbackEvent, Participant, Party

__all__ = ["CallbackEvent", "IncomingCall", "Participant", "Party", *EVENTS]
