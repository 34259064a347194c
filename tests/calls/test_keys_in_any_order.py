"""Requests about keys amid everything else that happens to a call: each that was taken ends in exactly one event."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from tests.calls.stage import THIRD
from tests.calls.test_machine import APPS, LEGS, OPTIONS, PEOPLE, AnyCall, AnyCreatedCall

from offhook.wire.events import CallEvent
from offhook.wire.tones import (
    ContinuousDtmfRecognitionToneReceived,
    DtmfOptions,
    RecognizeCanceled,
    RecognizeCompleted,
    RecognizeFailed,
    RecognizeRequest,
    SendDtmfTonesCompleted,
    SendDtmfTonesFailed,
    SendDtmfTonesRequest,
    StartContinuousDtmfRequest,
    StopContinuousDtmfRequest,
    ToneRequest,
)

ENDS = (SendDtmfTonesCompleted, SendDtmfTonesFailed, RecognizeCompleted, RecognizeFailed, RecognizeCanceled)


class WithKeys(AnyCall):
    """Apps that send, listen and collect beside all else; late reports of keys too."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: set[str] = set()

    def ask(self, app: str, make: type[ToneRequest], person: int, **fields: Any) -> None:
        """Of one who is in the call, or, rarely, of somebody else."""
        there = [leg.identifier for leg in self.call.joined()]
        target = there[person % len(there)] if there and person < 6 else THIRD
        self.asked += 1
        context = f"request {self.asked}"
        request = make(target_participant=target, operation_context=context, **fields)
        if self.give(lambda: self.call.tones(app, request, self.now)) and make in (
            SendDtmfTonesRequest,
            RecognizeRequest,
        ):
            self.taken.add(context)

    @rule(app=APPS, person=st.integers(0, 6), tones=st.text("09#*AD", min_size=1, max_size=3))
    def send(self, app: str, person: int, tones: str) -> None:
        self.ask(app, SendDtmfTonesRequest, person, tones=tuple(tones))

    @rule(
        app=APPS,
        person=st.integers(0, 6),
        kind=st.sampled_from([StartContinuousDtmfRequest, StopContinuousDtmfRequest]),
    )
    def hear(self, app: str, person: int, kind: type[ToneRequest]) -> None:
        self.ask(app, kind, person)

    @rule(
        app=APPS,
        person=st.integers(0, 6),
        most=st.sampled_from([None, 1, 2]),
        stops=st.sampled_from(["", "#"]),
        initial=st.sampled_from([0, 5]),
        interrupt=st.booleans(),
        kind=st.sampled_from(["dtmf", "dtmf", "dtmf", "speech"]),
    )
    def collect(
        self, app: str, person: int, most: int | None, stops: str, initial: int, interrupt: bool, kind: str
    ) -> None:
        self.ask(
            app, RecognizeRequest, person, input_type=kind, initial_silence=initial, interrupt=interrupt,
            dtmf=DtmfOptions(most=most, stop_tones=frozenset(stops)),
        )  # fmt: skip

    @rule(leg=LEGS)
    def has_played(self, leg: str) -> None:
        self.report(lambda: self.call.key_sent(leg, self.now))

    def ends(self) -> list[CallEvent]:
        return [event for events in self.ledger.events.values() for event in events if isinstance(event, ENDS)]

    @invariant()
    def each_request_ends_once(self) -> None:
        ends = Counter(event.operation_context for event in self.ends())
        assert not ends or max(ends.values()) == 1, ends
        assert set(ends) <= self.taken
        if self.ledger.ended:
            assert set(ends) == self.taken

    @invariant()
    def nothing_waits_for_who_is_gone(self) -> None:
        keys = self.call.keys
        asked = {leg for queue in keys._recognitions.values() for leg in (each.leg_id for each in queue)}
        assert {*keys._sending, *(leg for _, leg in keys._listening), *asked} <= self.ledger.bridge
        assert all(keys._recognitions.values()), "an empty queue is left"

    @invariant()
    def tones_are_numbered(self) -> None:
        for events in self.ledger.events.values():
            heard = [event for event in events if isinstance(event, ContinuousDtmfRecognitionToneReceived)]
            assert all(event.sequence_id >= 1 for event in heard)

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "call"):
            self.each_request_ends_once()


class KeysOfACall(WithKeys, AnyCreatedCall):
    """The app has called some people, and all of them have answered."""

    @initialize(people=st.lists(PEOPLE, min_size=1, max_size=3, unique=True), stream=OPTIONS)
    def begin_created(self, people: list[Any], stream: Any) -> None:
        super().begin_created(people, stream)
        for leg in list(self.call.legs):
            self.report(lambda leg=leg: self.call.leg_answered(leg, self.now))  # type: ignore[misc]


TestKeysOfACall = KeysOfACall.TestCase
TestKeysOfACall.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
