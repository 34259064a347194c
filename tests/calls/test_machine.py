"""Any inputs in any order: nothing but CallError is raised, nothing is told twice, and nothing is left behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.calls.stage import (
    CALLEE,
    CALLER,
    FOURTH,
    OTHER,
    THIRD,
    VERSION,
    answer_request,
    create_request,
    streaming,
    transcription,
)

from offhook.calls.actions import (
    AnnounceCall,
    AnswerLeg,
    CallEnded,
    CloseStream,
    DialLeg,
    HangUpLeg,
    LegJoined,
    LegLeft,
    MuteLeg,
    Notify,
    OpenStream,
    Output,
    RejectLeg,
)
from offhook.calls.call import Call
from offhook.errors import CallError
from offhook.wire.connecting import ConnectFailed
from offhook.wire.events import (
    AddParticipantFailed,
    AddParticipantSucceeded,
    AnswerFailed,
    CallConnected,
    CallDisconnected,
    CallEvent,
    CancelAddParticipantFailed,
    CancelAddParticipantSucceeded,
    CreateCallFailed,
    MediaStreamingFailed,
    MediaStreamingStarted,
    MediaStreamingStopped,
    ParticipantsUpdated,
    RemoveParticipantFailed,
    RemoveParticipantSucceeded,
)
from offhook.wire.participants import (
    AddParticipantRequest,
    CancelAddParticipantRequest,
    MuteParticipantsRequest,
    RemoveParticipantRequest,
)
from offhook.wire.results import RESULTS

ONCE = (
    AddParticipantSucceeded,
    AddParticipantFailed,
    CancelAddParticipantSucceeded,
    CancelAddParticipantFailed,
    RemoveParticipantSucceeded,
    RemoveParticipantFailed,
)

LEGS = st.sampled_from(["leg0", "leg1", "leg2", "leg3", "leg4", "leg5", "leg9"])
APPS = st.sampled_from(["app", "app", "app", "late", "stranger"])
PEOPLE = st.sampled_from([CALLER, CALLEE, OTHER, THIRD, FOURTH])
OUTCOMES = st.sampled_from(["", "busy", "declined", "rejected", "unreachable", "media_lost", "far_end_left", "?"])
STREAM_ENDS = st.sampled_from(["stream_url_invalid", "stream_lost", "stream_auth_refused", "?"])
OPTIONS = st.sampled_from([None, streaming(), streaming(), streaming(start=False), streaming(url=None)])
TRANSCRIPTS = st.sampled_from([None, None, transcription()])
ADDRESSES = st.sampled_from([None, "https://app.test/elsewhere"])


class Ledger:
    """Reads what a call says, and holds it to its promises."""

    def __init__(self) -> None:
        self.legs: dict[str, str] = {}
        self.bridge: set[str] = set()
        self.muted: set[str] = set()
        self.invited: set[str] = set()
        self.streams: set[str] = set()
        self.events: dict[str, list[CallEvent]] = {}
        self.results: set[tuple[type[CallEvent], str | None]] = set()
        self.ended = False

    def read(self, outputs: list[Output]) -> None:
        for output in outputs:
            assert not self.ended, f"after the end: {output}"
            match output:
                case Notify(event):
                    self.told(event)
                case DialLeg(leg_id):
                    assert leg_id not in self.legs
                    self.legs[leg_id] = "dialled"
                case AnswerLeg(leg_id):
                    assert self.legs[leg_id] == "offered"
                    self.legs[leg_id] = "taken"
                case LegJoined(leg_id):
                    assert self.legs[leg_id] in ("taken", "dialled") and leg_id not in self.bridge
                    self.bridge.add(leg_id)
                case LegLeft(leg_id):
                    self.bridge.remove(leg_id)
                    self.muted.discard(leg_id)
                case MuteLeg(leg_id, muted):
                    assert leg_id in self.bridge and (leg_id in self.muted) != muted
                    self.muted ^= {leg_id}
                case HangUpLeg(leg_id, outcome):
                    assert outcome in RESULTS and self.legs.pop(leg_id) != "offered" and leg_id not in self.bridge
                case RejectLeg(leg_id, outcome):
                    assert outcome in RESULTS and self.legs.pop(leg_id) == "offered"
                case OpenStream(connection_id):
                    assert connection_id not in self.streams, "opened twice"
                    self.streams.add(connection_id)
                case CloseStream(connection_id):
                    self.streams.remove(connection_id)
                case CallEnded(outcome):
                    assert outcome in RESULTS
                    self.ended = True
                case AnnounceCall():
                    assert set(self.legs.values()) == {"offered"}

    def told(self, event: CallEvent) -> None:
        before = self.events.setdefault(event.call_connection_id, [])
        kinds = Counter(type(earlier) for earlier in before)
        assert not kinds[CallDisconnected], f"after CallDisconnected: {event}"
        if isinstance(event, CallConnected | CreateCallFailed | AnswerFailed | ConnectFailed):
            assert not before, "an attempt ends once, and first"
        elif not isinstance(event, CallDisconnected):
            assert kinds[CallConnected], f"before CallConnected: {event}"
        if isinstance(event, ParticipantsUpdated):
            last = [e.sequence_number for e in before if isinstance(e, ParticipantsUpdated)]
            assert event.sequence_number > max(last, default=0)
            people = [p.identifier for p in event.participants]
            assert len(set(people)) == len(people)
        if isinstance(event, MediaStreamingStarted | MediaStreamingStopped | MediaStreamingFailed):
            # Each request has a context of its own here: no result of it may come twice.
            details = event.media_streaming_update.media_streaming_status_details
            result = (type(event), event.operation_context)
            assert details == "streamConnectionReestablished" or result not in self.results, f"twice: {event}"
            self.results.add(result)
        if isinstance(event, ONCE):
            once: tuple[type[CallEvent], str | None] = (type(event), event.operation_context)
            assert once not in self.results, f"twice: {event}"
            self.results.add(once)
        if isinstance(event, AddParticipantSucceeded | AddParticipantFailed):
            assert event.operation_context is not None
            self.invited.remove(event.operation_context)
        if isinstance(event, CancelAddParticipantSucceeded):
            self.invited.remove(event.invitation_id)
        before.append(event)

    def gone_by_itself(self, leg_id: str) -> None:
        """A leg ended on its own: the call owes it nothing but to leave the bridge."""
        self.legs.pop(leg_id, None)


class AnyCall(RuleBasedStateMachine):
    """Inputs as a node and its apps might give them, sensible or not."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.ledger = Ledger()
        self.asked = 0

    def begin(self, call: Call) -> None:
        self.call = call
        self.ledger.read(call.drain())

    def give(self, request: Callable[[], None]) -> bool:
        """A request: done, or refused with nothing changed."""
        state, legs = self.call.state, dict(self.call.legs)
        try:
            request()
        except CallError as error:
            assert error.outcome in RESULTS
            assert (self.call.state, self.call.legs) == (state, legs)
            assert not self.call.drain()
            return False
        self.ledger.read(self.call.drain())
        return True

    def report(self, fact: Callable[[], None]) -> None:
        fact()
        self.ledger.read(self.call.drain())

    # an app -----------------------------------------------------------------------------------------------------

    @rule(app=st.sampled_from(["app", "late"]), stream=OPTIONS, transcribe=TRANSCRIPTS)
    def answer(self, app: str, stream: Any, transcribe: Any) -> None:
        request = answer_request(stream, transcribe)
        self.give(lambda: self.call.answer(app, "subscription", request, VERSION, self.now))

    @precondition(lambda self: self.call.state != "ringing" or self.now > 20)
    @rule(reason=st.sampled_from(["none", "busy", "forbidden", "nonsense"]))
    def reject(self, reason: str) -> None:
        self.give(lambda: self.call.reject(reason, self.now))

    @rule(person=PEOPLE, leg=LEGS)
    def redirect(self, person: Any, leg: str) -> None:
        self.give(lambda: self.call.redirect(person, leg, self.now))

    @rule(callee=PEOPLE)
    def reannounce(self, callee: Any) -> None:
        self.give(lambda: self.call.reannounce(callee, self.now))

    @precondition(lambda self: self.call.state == "ended" or self.now > 10)
    @rule(app=APPS, everyone=st.booleans())
    def leave(self, app: str, everyone: bool) -> None:
        ask = self.call.terminate if everyone else self.call.hang_up
        self.give(lambda: ask(app, self.now))

    @rule(app=APPS, uri=ADDRESSES, starting=st.booleans())
    def stream(self, app: str, uri: str | None, starting: bool) -> None:
        self.asked += 1
        ask, context = (self.call.start_streaming if starting else self.call.stop_streaming), f"request {self.asked}"
        self.give(lambda: ask(app, context, uri, self.now))

    @rule(
        app=APPS, person=PEOPLE, leg=st.sampled_from(["leg3", "leg4", "leg5"]), seconds=st.sampled_from([None, 3, 180])
    )
    def add(self, app: str, person: Any, leg: str, seconds: int | None) -> None:
        """An invitation is named as its context."""
        if leg in self.ledger.legs:
            return
        self.asked += 1
        name = f"request {self.asked}"
        request = AddParticipantRequest(participant_to_add=person, invitation_timeout=seconds, operation_context=name)
        self.ledger.invited.add(name)
        if not self.give(lambda: self.call.add_participant(app, name, leg, request, self.now)):
            self.ledger.invited.remove(name)

    @rule(app=APPS, data=st.data())
    def cancel(self, app: str, data: st.DataObject) -> None:
        self.asked += 1
        invitation = data.draw(st.sampled_from(["none", *sorted(self.ledger.invited)]))
        request = CancelAddParticipantRequest(invitation_id=invitation, operation_context=f"request {self.asked}")
        self.give(lambda: self.call.cancel_add_participant(app, request, self.now))

    @rule(app=APPS, person=PEOPLE)
    def remove(self, app: str, person: Any) -> None:
        self.asked += 1
        request = RemoveParticipantRequest(participant_to_remove=person, operation_context=f"request {self.asked}")
        self.give(lambda: self.call.remove_participant(app, request, self.now))

    @rule(app=APPS, people=st.lists(PEOPLE, min_size=1, max_size=3))
    def mute(self, app: str, people: list[Any]) -> None:
        request = MuteParticipantsRequest(target_participants=tuple(people))
        self.give(lambda: self.call.mute_participants(app, request, self.now))

    @rule(app=APPS, person=PEOPLE)
    def look(self, app: str, person: Any) -> None:
        for ask in (
            lambda: self.call.properties(app),
            lambda: self.call.participants(app),
            lambda: self.call.participant(app, person.raw_id),
        ):
            try:
                ask()
            except CallError as error:
                assert error.outcome in RESULTS
        assert not self.call.drain()

    # legs -------------------------------------------------------------------------------------------------------

    @rule(leg=LEGS)
    def rings(self, leg: str) -> None:
        self.report(lambda: self.call.leg_ringing(leg, self.now))

    @rule(leg=LEGS)
    def answers(self, leg: str) -> None:
        if self.ledger.legs.get(leg) != "offered":
            self.report(lambda: self.call.leg_answered(leg, self.now))

    @rule(leg=LEGS, outcome=OUTCOMES, never_up=st.booleans())
    def goes(self, leg: str, outcome: str, never_up: bool) -> None:
        self.ledger.gone_by_itself(leg)
        if never_up:
            self.report(lambda: self.call.leg_failed(leg, outcome, self.now, "why"))
        else:
            self.report(lambda: self.call.leg_ended(leg, outcome, self.now))
        assert leg not in self.ledger.bridge

    @rule(leg=LEGS, tone=st.sampled_from("0*#A"))
    def presses(self, leg: str, tone: str) -> None:
        self.give(lambda: self.call.leg_dtmf(leg, tone, self.now))

    # streams ----------------------------------------------------------------------------------------------------

    @rule(app=APPS)
    def stream_opens(self, app: str) -> None:
        self.report(lambda: self.call.stream_opened(app, self.now))

    @rule(app=APPS, outcome=STREAM_ENDS)
    def stream_fails(self, app: str, outcome: str) -> None:
        self.ledger.streams.discard(app)
        self.report(lambda: self.call.stream_failed(app, outcome, "why", self.now))

    @rule(app=APPS)
    def stream_comes_back(self, app: str) -> None:
        self.report(lambda: self.call.stream_reestablished(app, self.now))

    @rule(app=APPS)
    def app_closes_stream(self, app: str) -> None:
        self.ledger.streams.discard(app)
        self.report(lambda: self.call.stream_closed_by_app(app, self.now))

    @rule(app=APPS)
    def stream_is_closed(self, app: str) -> None:
        if app not in self.ledger.streams:
            self.report(lambda: self.call.stream_closed(app, self.now))

    # time and node ----------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.0, 0.5, 5.0, 29.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        due = self.call.next_deadline()
        self.report(lambda: self.call.advance(self.now))
        if due is not None and due <= self.now:
            assert self.call.next_deadline() != due, "a deadline acts once"

    @precondition(lambda self: self.now > 40)
    @rule()
    def node_stops(self) -> None:
        self.report(lambda: self.call.shut_down(self.now))
        assert self.ledger.ended

    # promises ---------------------------------------------------------------------------------------------------

    @invariant()
    def the_bridge_is_as_told(self) -> None:
        assert {leg.leg_id for leg in self.call.joined()} == self.ledger.bridge
        assert set(self.call.legs) == set(self.ledger.legs)
        assert {leg.leg_id for leg in self.call.legs.values() if leg.muted} == self.ledger.muted
        invited = {leg.invitation.invitation_id for leg in self.call.legs.values() if leg.invitation is not None}
        assert invited == (self.ledger.invited if self.call.connections else invited)
        assert not any(leg.joined and leg.deadline is not None for leg in self.call.legs.values())

    @invariant()
    def it_is_alive_or_over(self) -> None:
        assert self.ledger.ended == (self.call.state == "ended")
        if self.ledger.ended:
            self.nothing_is_left()
        else:
            assert self.call.legs, "nobody is left, and the call does not know"
            waiting = any(not leg.joined for leg in self.call.legs.values())
            talking = len(self.call.joined())
            assert self.call.state != "bridged" or (talking >= 2 and not self.call.connections)
            assert bool(talking) <= (self.call.state in ("connected", "bridged"))
            assert waiting == (self.call.ring_deadline() is not None), "somebody waits without an end, or nobody does"

    def nothing_is_left(self) -> None:
        assert not self.ledger.legs and not self.ledger.bridge and not self.ledger.streams
        assert not self.call.connections and self.call.next_deadline() is None
        for events in self.ledger.events.values():
            kinds = Counter(type(event) for event in events)
            attempts = (CallConnected, CreateCallFailed, AnswerFailed, ConnectFailed)
            assert sum(kinds[kind] for kind in attempts) == 1
            assert kinds[CallDisconnected] == 1 or not kinds[CallConnected]

    def teardown(self) -> None:
        """Whatever happened, the node can stop the call, and then nothing is left."""
        if hasattr(self, "call"):
            self.report(lambda: self.call.shut_down(self.now))
            self.it_is_alive_or_over()


class AnyIncomingCall(AnyCall):
    @initialize(caller=PEOPLE, callee=PEOPLE)
    def begin_incoming(self, caller: Any, callee: Any) -> None:
        self.ledger.legs["leg0"] = "offered"
        self.begin(
            Call.incoming(
                call_id="call", server_call_id="s", correlation_id="c", caller=caller, callee=callee, leg_id="leg0",
                display_name="", now=0.0, max_hops=3,
            )
        )  # fmt: skip


class AnyCreatedCall(AnyCall):
    @initialize(people=st.lists(PEOPLE, min_size=1, max_size=3, unique=True), stream=OPTIONS)
    def begin_created(self, people: list[Any], stream: Any) -> None:
        self.begin(
            Call.create(
                call_id="call", server_call_id="s", correlation_id="c", connection_id="app", subscription_id="sub",
                request=create_request(*people, stream=stream), leg_ids=[f"leg{n}" for n in range(len(people))],
                api_version=VERSION, now=0.0,
            )
        )  # fmt: skip


TestAnyIncomingCall = AnyIncomingCall.TestCase
TestAnyCreatedCall = AnyCreatedCall.TestCase
TestAnyIncomingCall.settings = TestAnyCreatedCall.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None
)
