"""Apps that join, transfers, and people who go to another call, amid everything else that happens to a call: each
transfer that was taken ends in exactly one event, and nobody is rung for one that is over."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from tests.calls.stage import CALLBACK, VERSION
from tests.calls.test_machine import APPS, OPTIONS, OUTCOMES, PEOPLE, AnyCall, AnyCreatedCall, Ledger

from offhook.calls import moving
from offhook.calls.actions import MoveLeg, Output, ReferLeg, SplitCall
from offhook.wire.connecting import CallLocator, ConnectRequest
from offhook.wire.events import CallEvent
from offhook.wire.transfer import CallTransferAccepted, CallTransferFailed, TransferRequest

TARGETS = st.sampled_from(["leg6", "leg7"])
LOCATOR = CallLocator("serverCallLocator", "s")


class MovingLedger(Ledger):
    """Legs that go on in another call are gone for this one."""

    def read(self, outputs: list[Output]) -> None:
        for output in outputs:
            super().read([output])
            match output:
                case SplitCall(caller_id, callee_id):
                    assert {self.legs.pop(caller_id), self.legs.pop(callee_id)} <= {"dialled", "taken"}
                    assert not {caller_id, callee_id} & self.bridge
                case MoveLeg(leg_id):
                    assert self.legs.pop(leg_id) != "offered" and leg_id not in self.bridge
                case ReferLeg(leg_id):
                    assert leg_id in self.bridge


class WithTransfers(AnyCall):
    def __init__(self) -> None:
        super().__init__()
        self.ledger = MovingLedger()
        self.taken: set[str] = set()

    def gone(self) -> None:
        """Invitations of an app that leaves the others have no event of their own."""
        there = (leg.invitation.invitation_id for leg in self.call.legs.values() if leg.invitation is not None)
        self.ledger.invited &= set(there)

    @rule(app=APPS, everyone=st.booleans())
    def leave(self, app: str, everyone: bool) -> None:
        ask = self.call.terminate if everyone else self.call.hang_up
        if self.now > 10:
            self.give(lambda: ask(app, self.now))
            self.gone()

    @rule(app=st.sampled_from(["late", "stranger"]), stream=OPTIONS)
    def connect(self, app: str, stream: Any) -> None:
        if app in self.call.connections or app in self.ledger.events:
            return
        request = ConnectRequest(
            locator=LOCATOR, callback_uri=CALLBACK, operation_context=app, media_streaming_options=stream
        )
        self.give(lambda: self.call.connect(app, "subscription", request, VERSION, self.now))

    @rule(app=APPS, to=PEOPLE, leg=TARGETS, person=st.integers(0, 8))
    def transfer(self, app: str, to: Any, leg: str, person: int) -> None:
        """Of one who is in the call, or of nobody by name; rarely to one who is there."""
        if leg in self.ledger.legs:
            return
        there = [leg.identifier for leg in self.call.joined()]
        who = there[person % len(there)] if there and person < 7 else None
        self.asked += 1
        context = f"request {self.asked}"
        request = TransferRequest(target=to, transferee=who, operation_context=context)
        if self.give(lambda: self.call.transfer(app, leg, request, self.now)):
            self.taken.add(context)

    @rule(leg=st.integers(0, 3), outcome=st.sampled_from(["", "busy", "?"]), refused=st.booleans())
    def referred(self, leg: int, outcome: str, refused: bool) -> None:
        legs = list(self.call.legs)
        if legs:
            leg_id = legs[leg % len(legs)]
            self.report(lambda: self.call.leg_referred(leg_id, outcome, refused, "why", self.now))

    @rule(leg=TARGETS, outcome=OUTCOMES, answers=st.booleans())
    def target(self, leg: str, outcome: str, answers: bool) -> None:
        if answers:
            self.report(lambda: self.call.leg_answered(leg, self.now))
            return
        self.ledger.gone_by_itself(leg)
        self.report(lambda: self.call.leg_failed(leg, outcome, self.now, "why"))

    @rule(leg=st.integers(0, 3))
    def moves_away(self, leg: int) -> None:
        legs = [leg for leg in self.call.joined() if not self.call.transfers.of(leg.leg_id)]
        if legs and self.call.state == "connected":
            self.report(lambda: moving.move_out(self.call, [legs[leg % len(legs)]], "other", self.now))

    def ends(self) -> list[CallEvent]:
        kinds = (CallTransferAccepted, CallTransferFailed)
        return [event for events in self.ledger.events.values() for event in events if isinstance(event, kinds)]

    @invariant()
    def each_transfer_ends_once(self) -> None:
        ends = Counter(event.operation_context for event in self.ends())
        assert not ends or max(ends.values()) == 1, ends
        assert set(ends) <= self.taken
        if self.ledger.ended or not self.call.connections:
            assert set(ends) == self.taken

    @invariant()
    def who_is_transferred_is_there(self) -> None:
        under_way = self.call.transfers._under_way
        assert set(under_way) <= self.ledger.bridge
        rung = {one.leg_id for one in under_way.values()} & set(self.call.legs)
        assert {leg for leg in self.call.legs if leg in ("leg6", "leg7")} == rung, "rung for nobody"

    @invariant()
    def apps_are_not_left_alone(self) -> None:
        assert self.call.state != "connected" or self.call.legs, "nobody will ever end it"

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "call"):
            self.each_transfer_ends_once()


class TransfersOfACall(WithTransfers, AnyCreatedCall):
    """The app has called some people, and all of them have answered."""

    @initialize(people=st.lists(PEOPLE, min_size=1, max_size=3, unique=True), stream=OPTIONS)
    def begin_created(self, people: list[Any], stream: Any) -> None:
        super().begin_created(people, stream)
        for leg in list(self.call.legs):
            self.report(lambda leg=leg: self.call.leg_answered(leg, self.now))  # type: ignore[misc]


TestTransfersOfACall = TransfersOfACall.TestCase
TestTransfersOfACall.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
