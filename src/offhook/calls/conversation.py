"""What there is of a call: its legs, the apps that hold it, its deadline, what it says to the node (architecture.md).

Here are the state and the small steps that change it; which step follows which input is in `transitions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from msgspec.structs import replace

from offhook.calls.actions import AnswerLeg, CallEnded, DialLeg, HangUpLeg, LegJoined, LegLeft, Output, RejectLeg
from offhook.calls.connection import CallIds, Connection
from offhook.calls.keys import Keys
from offhook.calls.media import Media
from offhook.calls.recording import Recording
from offhook.calls.subscription import Operation
from offhook.calls.transfer import Transfers
from offhook.errors import CallError
from offhook.wire.events import CallParticipant
from offhook.wire.identifiers import PHONE_NUMBER, Identifier
from offhook.wire.models import CallConnectionProperties
from offhook.wire.results import RESULTS

State = Literal[
    "ringing",  # inbound: the app was told and has not decided
    "answering",  # the app took the call, the caller's leg is coming up
    "redirecting",  # the app sent the call to a target, which is ringing
    "bridging",  # the target answered, the caller's leg is coming up
    "dialing",  # outbound: nobody answered yet
    "connected",  # an app and at least one leg (or one still ringing) are in the call
    "bridged",  # legs talk to each other, no app is in the call
    "ended",
]

RING_TIMEOUT: Final = 30.0  # seconds; protocol.md §7, §9 row 13
EMPTY_LIMIT: Final = 3600.0  # seconds that a group call has nobody in it; protocol.md §9 row 39
MAX_HOPS: Final = 10  # how often a call may be announced anew

_FAR_END: Final = frozenset({"", "ended_normally", "far_end_left", "far_end_hung_up_pstn"})


@dataclass(frozen=True, slots=True)
class Invitation:
    """Why a leg of a connected call rings: which app asked for it, and how it is told what became of it."""

    invitation_id: str
    connection_id: str
    operation: Operation


@dataclass(slots=True, eq=False)
class CallLeg:
    """One person's leg. offered: inbound, not taken; dialled: outbound, not answered; answering: taken, not up;
    waiting: up, but its peer is not; joined: on the bridge.

    `deadline`: when it is given up, for one that rings in a connected call, where each has its own.
    """

    leg_id: str
    identifier: Identifier
    phase: Literal["offered", "dialled", "answering", "waiting", "joined"]
    ringing: bool = False
    muted: bool = False
    deadline: float | None = None
    invitation: Invitation | None = None

    @property
    def joined(self) -> bool:
        return self.phase == "joined"

    def invited_by(self, connection: Connection) -> bool:
        """Whether it rings because this app asked for it."""
        return self.invitation is not None and self.invitation.connection_id == connection.connection_id


def far_end(leg: CallLeg, outcome: str) -> str:
    """The outcome of a leg that left the talk: a plain hang-up is told by the kind of far end (protocol.md §5.8)."""
    if outcome not in _FAR_END:
        return known(outcome)
    return "far_end_hung_up_pstn" if leg.identifier.kind == PHONE_NUMBER else "far_end_left"


def known(outcome: str, plain: str = "leg_failed") -> str:
    """The outcome as a row of the results table; `plain` for none given, `leg_failed` for one the table lacks."""
    if not outcome:
        return plain
    return outcome if outcome in RESULTS else "leg_failed"


def shown_to(target: Identifier, number: Identifier | None, identity: Identifier | None) -> Identifier | None:
    """The caller that a target sees: phones a number, users of the resource the app's identity, where it has both."""
    by_phone = target.kind == PHONE_NUMBER or identity is None
    return (number or identity) if by_phone else identity


class Conversation:
    """The state of a call. Times are monotonic seconds."""

    def __init__(self, ids: CallIds, state: State, ring_timeout: float, max_hops: int = MAX_HOPS) -> None:
        self.ids = ids
        self.state: State = state
        self.ring_timeout = ring_timeout
        self.max_hops = max_hops
        self.hops = 0
        self.caller: Identifier | None = None
        self.callee: Identifier | None = None
        self.display_name = ""
        self.legs: dict[str, CallLeg] = {}
        self.connections: dict[str, Connection] = {}
        self.deadline: float | None = None
        self.outbox: list[Output] = []
        self.keys = Keys()
        self.media = Media(self.outbox, self.tell_roster)
        self.transfers = Transfers(self)
        self.is_group = False
        self.recording: Recording | None = None

    # what can be read -------------------------------------------------------------------------------------------

    @property
    def call_id(self) -> str:
        return self.ids.call_id

    @property
    def server_call_id(self) -> str:
        return self.ids.server_call_id

    @property
    def correlation_id(self) -> str:
        return self.ids.correlation_id

    @property
    def ringing(self) -> bool:
        """True while an app may still answer, redirect or reject."""
        return self.state == "ringing"

    def drain(self) -> list[Output]:
        """What was said since the last drain, in order."""
        said = self.outbox[:]
        self.outbox.clear()  # in place: connections write into the same list
        return said

    def next_deadline(self) -> float | None:
        """When `advance` is due, in monotonic seconds; None when nothing waits for time."""
        return min((at for at in (self.ring_deadline(), self.media.next_deadline()) if at is not None), default=None)

    def ring_deadline(self) -> float | None:
        """When the ringing of the call or of somebody who is invited has lasted long enough."""
        waits = [self.deadline, *(leg.deadline for leg in self.legs.values())]
        return min((at for at in waits if at is not None), default=None)

    def connection(self, connection_id: str) -> Connection:
        """The app's hold. CallError `call_not_found` when it is over or never was (recorded: 404/8522)."""
        connection = self.connections.get(connection_id)
        if connection is None:
            raise CallError("call_not_found")
        return connection

    def properties(self, connection_id: str) -> CallConnectionProperties:
        """The connection as of now (protocol.md §3.4). CallError `call_not_found`."""
        properties = self.connection(connection_id).properties(self.caller, self.callee, self.display_name)
        if self.transfers.by(connection_id):
            return replace(properties, call_connection_state="transferring")
        return properties

    def participants(self, connection_id: str) -> tuple[CallParticipant, ...]:
        """Who is in the call. CallError `call_not_found`; `call_not_established` before it is connected (§3.7)."""
        connection = self.connection(connection_id)
        if not connection.established:
            raise CallError("call_not_established")
        return self.roster()

    def participant(self, connection_id: str, raw_id: str) -> CallParticipant:
        """One of them. CallError as for `participants`, and `participant_not_found`."""
        for participant in self.participants(connection_id):
            if participant.identifier.raw_id == raw_id:
                return participant
        raise CallError("participant_not_found", f"Nobody with the raw id {raw_id} is in the call.")

    def leg_of(self, person: Identifier) -> CallLeg | None:
        """The leg of somebody, whatever its phase; one on the bridge, where there are two."""
        legs = [leg for leg in self.legs.values() if leg.identifier == person]
        return max(legs, key=lambda leg: leg.joined, default=None)

    def participant_leg(self, person: Identifier) -> CallLeg:
        """The leg on the bridge of somebody whom an app names. CallError `participant_not_found`."""
        leg = self.leg_of(person)
        if leg is None or not leg.joined:
            raise CallError("participant_not_found", f"Nobody with the raw id {person.raw_id} is in the call.")
        return leg

    # steps of the roster ----------------------------------------------------------------------------------------

    def roster(self) -> tuple[CallParticipant, ...]:
        """People first, then the apps that have an identity, each once (recorded sample: caller, then callee)."""
        on_hold = self.media.on_hold
        people = {
            leg.identifier: CallParticipant(
                identifier=leg.identifier, is_muted=leg.muted, is_on_hold=leg.identifier.raw_id in on_hold
            )
            for leg in self.joined()
        }
        for app in self.connections.values():
            if app.identity is not None:
                people.setdefault(app.identity, CallParticipant(identifier=app.identity))
        return tuple(people.values())

    def joined(self) -> list[CallLeg]:
        """Legs on the bridge."""
        return [leg for leg in self.legs.values() if leg.joined]

    def present(self) -> frozenset[str]:
        """Raw ids of who is on the bridge."""
        return frozenset(leg.identifier.raw_id for leg in self.joined())

    def dial(
        self,
        leg_id: str,
        target: Identifier,
        source: Identifier | None,
        sip_headers: tuple[tuple[str, str], ...] = (),
        display_name: str | None = None,
        voip_headers: tuple[tuple[str, str], ...] = (),
    ) -> CallLeg:
        """Ring somebody; without a `display_name` they see that of the call."""
        shown = self.display_name if display_name is None else display_name
        leg = self.legs[leg_id] = CallLeg(leg_id, target, "dialled")
        self.outbox.append(DialLeg(leg_id, target, source, shown, sip_headers, voip_headers))
        return leg

    def take(self, leg: CallLeg) -> None:
        """Answer the inbound leg."""
        leg.phase = "answering"
        self.outbox.append(AnswerLeg(leg.leg_id))

    def join(self, leg: CallLeg) -> None:
        """Put a leg that is up on the bridge."""
        leg.phase, leg.deadline = "joined", None
        self.outbox.append(LegJoined(leg.leg_id))

    def forget(self, leg: CallLeg) -> None:
        """The leg is gone by itself."""
        del self.legs[leg.leg_id]
        self.transfers.left(leg)
        if leg.joined:
            over = self.state == "ended" or not (self.legs or self.is_group)
            self.media.left(leg.leg_id, self.present(), over=over)
            self.keys.left(leg.leg_id, over=over)
            self.outbox.append(LegLeft(leg.leg_id))

    def release(self, leg: CallLeg, outcome: str) -> None:
        """End a leg from our side."""
        self.forget(leg)
        refused = leg.phase == "offered"
        self.outbox.append(RejectLeg(leg.leg_id, outcome) if refused else HangUpLeg(leg.leg_id, outcome))

    def release_pending(self, outcome: str) -> None:
        """End every leg that is not on the bridge; nothing waits for time any more."""
        for leg in [leg for leg in self.legs.values() if not leg.joined]:
            self.release(leg, outcome)
        self.deadline = None

    def tell_roster(self) -> None:
        """ParticipantsUpdated to every app; they are all told the same roster."""
        roster = self.roster()
        for connection in self.connections.values():
            connection.roster_changed(roster)

    # steps of the life ------------------------------------------------------------------------------------------

    def drop(self, connection: Connection, outcome: str, detail: str = "") -> None:
        """One app's hold is over."""
        self.transfers.dropped(connection)
        del self.connections[connection.connection_id]
        self.media.dropped(connection)
        self.keys.dropped(connection)
        if self.recording is not None:
            self.recording.app_left(connection.connection_id)
        connection.end(outcome, detail)

    def deserted(self, outcome: str, now: float, detail: str = "") -> bool:
        """End the call if nobody but apps is left; a group call waits for others `EMPTY_LIMIT` (§9 row 39).

        Whether it has ended.
        """
        if self.legs:
            return False
        if self.is_group:
            self.deadline = now + EMPTY_LIMIT
        else:
            self.finish(outcome, detail)
        return not self.is_group

    def finish(self, outcome: str, detail: str = "") -> None:
        """Everything ends: legs, streams, apps, in this order."""
        self.state, self.deadline = "ended", None
        if self.recording is not None:
            self.recording.end("CallEnded")
        self.media.close(outcome)
        for connection in self.connections.values():
            self.transfers.dropped(connection)
        for leg in list(self.legs.values()):
            self.release(leg, outcome)
        for connection in list(self.connections.values()):
            self.drop(connection, outcome, detail)
        self.outbox.append(CallEnded(outcome))
