"""Plays, recognitions, tones and holds amid everything else that happens to a call: each ends once, and no leg is
ever had by two (protocol.md §3.9)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from tests.calls.stage import THIRD
from tests.calls.test_machine import APPS, LEGS, OPTIONS, PEOPLE, AnyCall, AnyCreatedCall, Ledger

from offhook.calls.actions import (
    DropPrompt,
    HoldLeg,
    LegLeft,
    LoadPrompt,
    Output,
    StartHearing,
    StartPrompt,
    StopHearing,
)
from offhook.calls.media import LOADED, MAIN, SUB
from offhook.wire.events import CallEvent, PlayCanceled, PlayCompleted, PlayFailed
from offhook.wire.holding import HoldFailed, HoldRequest, UnholdRequest
from offhook.wire.identifiers import Identifier
from offhook.wire.playing import PlayRequest, PlaySource
from offhook.wire.recognizing import (
    Choice,
    DtmfOptions,
    RecognizeCanceled,
    RecognizeCompleted,
    RecognizeFailed,
    RecognizeRequest,
)
from offhook.wire.tones import (
    ContinuousDtmfRecognitionToneReceived,
    SendDtmfTonesCompleted,
    SendDtmfTonesFailed,
    SendDtmfTonesRequest,
    StartContinuousDtmfRequest,
    StopContinuousDtmfRequest,
    ToneRequest,
)

ENDS = (
    PlayCompleted, PlayFailed, PlayCanceled, RecognizeCompleted, RecognizeFailed, RecognizeCanceled,
    SendDtmfTonesCompleted, SendDtmfTonesFailed,
)  # fmt: skip
SOURCES = (PlaySource(kind="file", uri="https://files.test/a.wav"),)
CHOICES = (Choice(label="yes", phrases=("yes",), tone="1"), Choice(label="no", phrases=("no",), tone="2"))
SPOKEN = (*CHOICES, Choice(label="agent", phrases=("an agent",)))


class Shelf(Ledger):
    """Reads what is asked of sound, too."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: set[str] = set()
        self.plays: set[str] = set()
        self.hearings: set[str] = set()
        self.held: set[str] = set()

    def read(self, outputs: list[Output]) -> None:
        for output in outputs:
            super().read([output])
            match output:
                case LoadPrompt(_, prompt):
                    assert prompt not in self.loads | self.plays
                    self.loads.add(prompt)
                case StartPrompt(_, prompt):
                    self.loads.remove(prompt)
                    self.plays.add(prompt)
                case DropPrompt(prompt):
                    assert prompt in self.loads | self.plays
                    self.over(prompt)
                case StartHearing(hearing, leg_id):
                    assert leg_id in self.bridge and hearing not in self.hearings
                    self.hearings.add(hearing)
                case StopHearing(hearing):
                    self.hearings.remove(hearing)
                case HoldLeg(leg_id, held):
                    assert leg_id in self.bridge and (leg_id in self.held) != held
                    (self.held.add if held else self.held.discard)(leg_id)
                case LegLeft(leg_id):
                    self.held.discard(leg_id)

    def over(self, prompt: str) -> None:
        self.loads.discard(prompt)
        self.plays.discard(prompt)


class WithMedia(AnyCall):
    """Apps that play, send, listen, ask and hold beside all else; late reports too. Requests are named as contexts."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger: Shelf = Shelf()
        self.taken: set[str] = set()
        self.holds: set[str] = set()

    def one(self, person: int) -> Identifier:
        """Of one who is in the call, or, rarely, somebody else."""
        there = [leg.identifier for leg in self.call.joined()]
        return there[person % len(there)] if there and person < 6 else THIRD

    def named(self) -> str:
        self.asked += 1
        return f"request {self.asked}"

    @rule(app=APPS, people=st.lists(st.integers(0, 6), max_size=2), interrupt=st.booleans())
    def play(self, app: str, people: list[int], interrupt: bool) -> None:
        name, to = self.named(), tuple(self.one(person) for person in people)
        request = PlayRequest(sources=SOURCES, to=to, interrupt=interrupt, operation_context=name)
        if self.give(lambda: self.call.play(app, name, request, self.now)):
            self.taken.add(name)

    @rule(app=APPS)
    def cancel_media(self, app: str) -> None:
        self.give(lambda: self.call.cancel_media(app, self.now))

    @rule(app=APPS, person=st.integers(0, 6), tones=st.text("09#*AD", min_size=1, max_size=3))
    def send(self, app: str, person: int, tones: str) -> None:
        name = self.named()
        request = SendDtmfTonesRequest(
            tones=tuple(tones), target_participant=self.one(person), operation_context=name
        )
        if self.give(lambda: self.call.tones(app, request, self.now)):
            self.taken.add(name)

    @rule(
        app=APPS,
        person=st.integers(0, 6),
        kind=st.sampled_from([StartContinuousDtmfRequest, StopContinuousDtmfRequest]),
    )
    def hear(self, app: str, person: int, kind: type[ToneRequest]) -> None:
        request = kind(target_participant=self.one(person), operation_context=self.named())
        self.give(lambda: self.call.tones(app, request, self.now))

    @rule(
        app=APPS,
        person=st.integers(0, 6),
        most=st.sampled_from([None, 1, 2]),
        flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
        initial=st.sampled_from([0, 5]),
        kind=st.sampled_from(["dtmf", "dtmf", "speech", "speechOrDtmf", "choices"]),
        choices=st.sampled_from([CHOICES, SPOKEN]),
    )
    def ask(
        self, app: str, person: int, most: int | None, flags: tuple[bool, bool, bool], initial: int, kind: str,
        choices: tuple[Choice, ...],
    ) -> None:  # fmt: skip
        name, (prompted, interrupt, barge_in) = self.named(), flags
        request = RecognizeRequest(
            target_participant=self.one(person), operation_context=name, input_type=kind, initial_silence=initial,
            interrupt=interrupt, interrupt_prompt=barge_in, prompt=SOURCES if prompted else (),
            dtmf=DtmfOptions(most=most, stop_tones=frozenset("#")), choices=choices if kind == "choices" else (),
        )  # fmt: skip
        if self.give(lambda: self.call.recognize(app, name, request, self.now)):
            self.taken.add(name)

    @rule(app=APPS, person=st.integers(0, 6), prompted=st.booleans(), held=st.booleans())
    def hold(self, app: str, person: int, prompted: bool, held: bool) -> None:
        name, who = self.named(), self.one(person)
        if held:
            request = HoldRequest(
                target_participant=who, operation_context=name, source=SOURCES[0] if prompted else None
            )
            self.give(lambda: self.call.hold(app, name, request, self.now))
        else:
            self.give(lambda: self.call.unhold(app, UnholdRequest(target_participant=who), self.now))

    # reports ----------------------------------------------------------------------------------------------------

    @rule(leg=LEGS)
    def has_played(self, leg: str) -> None:
        self.report(lambda: self.call.key_sent(leg, self.now))

    @rule(data=st.data(), way=st.sampled_from(["ready", "ready", "ended", "failed", "late"]))
    def sound(self, data: st.DataObject, way: str) -> None:
        known = {"ready": self.ledger.loads, "ended": self.ledger.plays}.get(way, self.ledger.loads | self.ledger.plays)
        if not known:
            return
        name = data.draw(st.sampled_from(sorted(known)))
        if way in ("ended", "failed"):
            self.ledger.over(name)
        if way == "ready":
            self.report(lambda: self.call.prompt_ready("app", name, self.now))
        elif way == "ended":
            self.report(lambda: self.call.prompt_ended("app", name, self.now))
            self.report(lambda: self.call.prompt_ended("app", name, self.now))
        elif way == "failed":
            self.report(lambda: self.call.prompt_failed("app", name, "play_bad_format", "why", 0, self.now))
        else:
            self.report(lambda: self.call.prompt_ready("app", "nobody's", self.now))

    @rule(
        data=st.data(),
        way=st.sampled_from(["began", "heard", "failed", "late"]),
        text=st.sampled_from(["", "Yes!", "maybe"]),
    )
    def speech(self, data: st.DataObject, way: str, text: str) -> None:
        if not self.ledger.hearings:
            return
        name = data.draw(st.sampled_from(sorted(self.ledger.hearings)))
        if way == "failed":
            self.ledger.hearings.discard(name)
            self.report(lambda: self.call.speech_failed(name, "speech_not_set_up", "", self.now))
        elif way == "began":
            self.report(lambda: self.call.speech_began(name, self.now))
        elif way == "heard":
            self.report(lambda: self.call.speech_heard(name, text, 0.5, self.now))
        self.report(lambda: self.call.speech_heard(f"late {name}", text, 0.5, self.now))

    # promises ---------------------------------------------------------------------------------------------------

    def ends(self) -> list[CallEvent]:
        return [event for events in self.ledger.events.values() for event in events if isinstance(event, ENDS)]

    @invariant()
    def each_request_ends_once(self) -> None:
        ends = Counter(event.operation_context for event in self.ends())
        assert not ends or max(ends.values()) == 1, ends
        assert set(ends) <= self.taken
        if self.ledger.ended:
            assert set(ends) == self.taken
            assert not (self.ledger.loads or self.ledger.plays or self.ledger.hearings or self.ledger.held)

    @invariant()
    def a_leg_is_had_by_one(self) -> None:
        if not hasattr(self, "call"):
            return
        media = self.call.media
        assert len(media.of(SUB)) <= 1
        main = media.of(MAIN)
        assert sum(action.phase in ("prompting", "running") for action in main) <= 1
        assert sum(action.phase != "asked" and bool(action.sources) for action in main) <= LOADED
        playing = {action.action_id for action in media._actions if action.phase == "prompting"}
        assert playing == self.ledger.plays

    @invariant()
    def nothing_waits_for_who_is_gone(self) -> None:
        if not hasattr(self, "call"):
            return
        legs = {leg for _, leg in self.call.keys._listening}
        legs |= {action.leg_id for action in self.call.media._actions if hasattr(action, "leg_id")}
        assert legs <= self.ledger.bridge

    @invariant()
    def who_is_shown_on_hold_is_on_hold_or_hears_alone(self) -> None:
        if not hasattr(self, "call") or self.call.state != "connected":
            return
        alone = {raw for a in self.call.media.of(SUB) if a.phase == "prompting" and a.to for raw in a.to}
        held = {self.call.legs[leg].identifier.raw_id for leg in self.ledger.held}
        shown = {person.identifier.raw_id for person in self.call.roster() if person.is_on_hold}
        assert held <= shown <= held | alone

    @invariant()
    def only_holds_that_fail_are_told(self) -> None:
        told = [e for events in self.ledger.events.values() for e in events if isinstance(e, HoldFailed)]
        assert len({event.operation_context for event in told}) == len(told)

    @invariant()
    def tones_are_numbered(self) -> None:
        for events in self.ledger.events.values():
            heard = [event for event in events if isinstance(event, ContinuousDtmfRecognitionToneReceived)]
            assert all(event.sequence_id >= 1 for event in heard)

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "call"):
            self.each_request_ends_once()


class MediaOfACall(WithMedia, AnyCreatedCall):
    """The app has called some people, and all of them have answered."""

    @initialize(people=st.lists(PEOPLE, min_size=1, max_size=3, unique=True), stream=OPTIONS)
    def begin_created(self, people: list[Any], stream: Any) -> None:
        super().begin_created(people, stream)
        for leg in list(self.call.legs):
            self.report(lambda leg=leg: self.call.leg_answered(leg, self.now))  # type: ignore[misc]


TestMediaOfACall = MediaOfACall.TestCase
TestMediaOfACall.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
