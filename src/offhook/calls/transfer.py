"""Transfers of a call: somebody leaves it to talk to somebody else (protocol.md §3.2, §9 row 40).

The endpoint is asked to call the target itself (SIP's REFER). One that does not, stays as it is while the target is
rung from here; who answers and the transferee then talk in a call of their own. A transfer ends in exactly one of
CallTransferAccepted and CallTransferFailed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from offhook.calls.actions import ReferLeg, SplitCall
from offhook.calls.connection import Connection
from offhook.calls.subscription import Operation
from offhook.errors import CallError
from offhook.wire.transfer import CallTransferAccepted, CallTransferFailed, TransferRequest

if TYPE_CHECKING:
    from offhook.calls.conversation import CallLeg, Conversation

RING_TIMEOUT: Final = 60.0
"""Seconds that the target is rung (protocol.md §7)."""


@dataclass(frozen=True, slots=True)
class _Transfer:
    """One under way: `leg_id` is that of the target, should it be rung from here."""

    connection: Connection
    request: TransferRequest
    leg_id: str

    @property
    def operation(self) -> Operation:
        return Operation(self.request.operation_context, self.request.operation_callback_uri)


class Transfers:
    """The transfers under way in one call, by the transferee's leg. Times are monotonic seconds."""

    def __init__(self, call: Conversation) -> None:
        self._call = call
        self._under_way: dict[str, _Transfer] = {}

    def of(self, leg_id: str) -> bool:
        """Whether this leg is being transferred, or rung as the target of a transfer."""
        return leg_id in self._under_way or self._transferee(leg_id) is not None

    def by(self, connection_id: str) -> bool:
        """Whether a transfer of this app is under way."""
        return any(one.connection.connection_id == connection_id for one in self._under_way.values())

    # what apps ask ----------------------------------------------------------------------------------------------

    def ask(self, connection: Connection, leg_id: str, request: TransferRequest) -> None:
        """Begin one. CallError `participant_not_found`, `invalid_argument`, `conflict`, `transfer_conflict`."""
        call, target = self._call, request.target
        leg = self._named(request)
        if target == leg.identifier:
            raise CallError("invalid_argument", f"targetParticipant: {target.raw_id} is the transferee itself.")
        if call.leg_of(target) is not None:
            raise CallError("conflict", f"targetParticipant: {target.raw_id} is in the call, or is being rung for it.")
        if leg.leg_id in self._under_way:
            raise CallError("transfer_conflict")
        self._under_way[leg.leg_id] = _Transfer(connection, request, leg_id)
        shown = request.source_caller_id_number or connection.identity
        call.outbox.append(ReferLeg(leg.leg_id, target, shown, request.sip_headers))

    def _named(self, request: TransferRequest) -> CallLeg:
        """The leg of the transferee."""
        if request.transferee is not None:
            return self._call.participant_leg(request.transferee)
        people = self._call.joined()
        if len(people) > 1:
            raise CallError("invalid_argument", "transferee: name who is transferred; several people are in the call.")
        if not people:
            raise CallError("participant_not_found", "Nobody is in the call who could be transferred.")
        return people[0]

    # what happens -----------------------------------------------------------------------------------------------

    def referred(self, leg: CallLeg, outcome: str, refused: bool, detail: str, now: float) -> None:
        """What became of a REFER: it is talking to the target, or `outcome` says why not; `refused`: it never tried."""
        transfer = self._under_way.get(leg.leg_id)
        if transfer is None or transfer.leg_id in self._call.legs:
            return
        if refused:
            self._ring(leg, transfer, now)
        elif outcome:
            self._fail(leg.leg_id, outcome, detail)
        else:
            del self._under_way[leg.leg_id]
            self._call.release(leg, "ended_normally")
            self._accepted(transfer, leg, now)

    def answered(self, target: CallLeg, now: float) -> bool:
        """The leg of a target is up: it and the transferee leave this call. False for any other leg."""
        call, transferee_id = self._call, self._transferee(target.leg_id)
        if transferee_id is None:
            return False
        transfer, transferee = self._under_way.pop(transferee_id), call.legs[transferee_id]
        call.forget(target)
        call.forget(transferee)
        call.outbox.append(SplitCall(transferee.leg_id, target.leg_id))
        self._accepted(transfer, transferee, now)
        return True

    def lost(self, target: CallLeg, outcome: str, detail: str) -> None:
        """A leg that was rung does not come up; nothing happens for one that is no target."""
        transferee_id = self._transferee(target.leg_id)
        if transferee_id is not None:
            self._fail(transferee_id, outcome, detail)

    def left(self, leg: CallLeg) -> None:
        """A leg is gone: a transferee has no need of its target any more."""
        if leg.leg_id in self._under_way:
            self._give_up(leg.leg_id, "participant_left")

    def dropped(self, connection: Connection) -> None:
        """An app leaves: its transfers are called off, and nobody is rung for them any more."""
        for leg_id in [leg_id for leg_id, one in self._under_way.items() if one.connection is connection]:
            self._give_up(leg_id, "media_canceled")

    # inside -----------------------------------------------------------------------------------------------------

    def _transferee(self, target_id: str) -> str | None:
        return next((leg_id for leg_id, one in self._under_way.items() if one.leg_id == target_id), None)

    def _ring(self, leg: CallLeg, transfer: _Transfer, now: float) -> None:
        """Ring the target from here, as somebody whom the transferee calls."""
        request = transfer.request
        if self._call.leg_of(request.target) is not None:
            # Invited while the endpoint was asked: nobody is rung twice for one call.
            self._fail(leg.leg_id, "conflict", f"{request.target.raw_id} is in the call by now, or is being rung.")
            return
        by_phone = request.target.kind == "phoneNumber"
        source = request.source_caller_id_number if by_phone else None
        rung = self._call.dial(
            transfer.leg_id,
            request.target,
            source or leg.identifier,
            request.sip_headers,
            self._call.display_name if leg.identifier == self._call.caller else "",
            request.voip_headers,
        )
        rung.deadline = now + RING_TIMEOUT

    def _accepted(self, transfer: _Transfer, transferee: CallLeg, now: float) -> None:
        transfer.connection.tell(
            CallTransferAccepted,
            "transferred",
            transfer.operation,
            transfer_target=transfer.request.target,
            transferee=transferee.identifier,
        )
        if not self._call.deserted("ended_normally", now):
            self._call.tell_roster()

    def _give_up(self, transferee_id: str, outcome: str) -> None:
        """Nobody waits for the target any more."""
        target = self._call.legs.get(self._under_way[transferee_id].leg_id)
        self._fail(transferee_id, outcome, "")
        if target is not None:
            self._call.release(target, "ended_by_app")

    def _fail(self, transferee_id: str, outcome: str, detail: str) -> None:
        transfer = self._under_way.pop(transferee_id)
        transfer.connection.tell(CallTransferFailed, outcome, transfer.operation, detail)
