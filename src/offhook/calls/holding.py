"""Hold: somebody hears a prompt or nothing, and is heard by nobody, until they are taken off hold (protocol.md §3.3).

It ends as an app asks, with the hold on the call of the app that asked for it, or when its prompt cannot be played:
then HoldFailed tells so, and the participant is back in the talk rather than in silence.
"""

from __future__ import annotations

from offhook.calls.actions import HoldLeg
from offhook.calls.connection import Connection
from offhook.calls.conversation import CallLeg, Conversation
from offhook.calls.media import MediaAction
from offhook.calls.subscription import Operation
from offhook.errors import CallError
from offhook.wire.holding import HoldFailed, HoldRequest, UnholdRequest


class Hold(MediaAction):
    """One participant on hold; the prompt is played again and again."""

    cancelable = False

    def __init__(self, prompt_id: str, connection: Connection, leg: CallLeg, request: HoldRequest) -> None:
        super().__init__(
            prompt_id,
            place_of(leg),
            connection,
            Operation(request.operation_context, request.operation_callback_uri),
            sources=() if request.source is None else (request.source,),
            to=frozenset((leg.identifier.raw_id,)),
            loop=True,
        )
        self._leg_id = leg.leg_id
        self._there = True

    @property
    def on_hold(self) -> frozenset[str]:
        """See `MediaAction`."""
        return self.to or frozenset()

    def accept(self) -> None:
        """See `MediaAction`: they are on hold while the prompt is still loading, too."""
        self.outbox.append(HoldLeg(self._leg_id, True))

    def left(self, leg_id: str, present: frozenset[str]) -> str:
        """See `MediaAction`."""
        self._there = leg_id != self._leg_id
        return "" if self._there else "participant_left"

    def stop(self) -> None:
        """See `MediaAction`."""
        if self._there:
            self.outbox.append(HoldLeg(self._leg_id, False))

    def tell(self, outcome: str, detail: str = "") -> None:
        """See `MediaAction`; there is no event for this."""

    def tell_unplayable(self, outcome: str, detail: str, index: int | None) -> None:
        """See `MediaAction`."""
        self.connection.tell(HoldFailed, outcome, self.operation, detail)


def place_of(leg: CallLeg) -> str:
    """Each participant has a place of their own: being on hold excludes nothing (§3.9)."""
    return f"hold {leg.leg_id}"


def hold(call: Conversation, connection: Connection, prompt_id: str, request: HoldRequest, now: float) -> None:
    """Put somebody on hold. CallError `participant_not_found`; `media_state` for who is on hold already."""
    leg = call.participant_leg(request.target_participant)
    if call.media.of(place_of(leg)):
        raise CallError("media_state", f"{leg.identifier.raw_id} is on hold already.")
    call.media.ask(Hold(prompt_id, connection, leg, request), now)


def unhold(call: Conversation, connection: Connection, request: UnholdRequest, now: float) -> None:
    """Take somebody off hold. CallError `participant_not_found`; `media_state` for who is not on hold."""
    leg = call.participant_leg(request.target_participant)
    held = call.media.of(place_of(leg))
    if not held:
        raise CallError("media_state", f"{leg.identifier.raw_id} is not on hold.")
    call.media.end(held[0], "success", now)
