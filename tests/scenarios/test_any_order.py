"""Callers, apps and phones doing anything in any order: no call is left behind and the node never raises a surprise."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.scenarios.meeting import GROUP, connect, move, server_id, transfer
from tests.scenarios.recogniser import Recogniser
from tests.scenarios.shelf import Shelf
from tests.scenarios.stage import CALLEE, CALLER, OTHER, Party, Stage, asked

from offhook.calls.call import Call
from offhook.errors import CallError, PromptError
from offhook.legs.leg import Ended
from offhook.service import media
from offhook.service.app_phones import AppPhones
from offhook.wire.connecting import CallLocator
from offhook.wire.holding import HoldRequest, UnholdRequest
from offhook.wire.identifiers import Identifier, parse_raw_id
from offhook.wire.models import StartMediaStreamingRequest, StopMediaStreamingRequest
from offhook.wire.participants import (
    AddParticipantRequest,
    CancelAddParticipantRequest,
    MuteParticipantsRequest,
    RemoveParticipantRequest,
)
from offhook.wire.playing import PlayRequest, PlaySource
from offhook.wire.recognizing import Choice, RecognizeRequest

USER = parse_raw_id("8:acs:11111111-0000-0000-0000-000000000001_00000000-0000-0000-0000-000000000001")
TARGETS = st.sampled_from([CALLEE, OTHER, CALLER, USER])


class AnyOrder(RuleBasedStateMachine):
    """CallError is the one error that an app may be told; anything else is a defect."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage()
        self.stage.echo()
        self.stage.node.sounds = self.shelf = Shelf(self.stage)
        self.shelf.sounds.update(good=np.ones(2000, np.int16), bad=PromptError("play_bad_format", "no sound", 0))
        self.stage.node.speech = Recogniser(self.stage.clock)
        self.stage.phone(OTHER, answers=1.0)
        self.stage.node.find_app = AppPhones(self.stage.node, lambda callee, caller: callee == USER.raw_id).find
        self.callers: list[Party] = []
        self.connections: list[str] = []
        self.invitations: list[str] = []

    @initialize(talking=st.booleans(), group=st.booleans())
    def begin(self, talking: bool, group: bool) -> None:
        """Half of all stories begin in a call, or they seldom come to what is done in one."""
        if talking:
            self.call(duration=None, rate=None)
            self.answer(rate=16000, stream=True, start=True)
            self.stage.clock.advance(0.1)
            if group:
                add = AddParticipantRequest(participant_to_add=OTHER)
                app, ids = self.connections[0], (self.stage.node.mint(), self.stage.node.mint())
                self.stage.node.ask(app, lambda call, now: call.add_participant(app, *ids, add, now))
                self.stage.clock.advance(1.1)

    def attempt(self, act: Callable[[], object]) -> None:
        with contextlib.suppress(CallError):
            act()

    @rule(duration=st.sampled_from([None, 0.02, 0.5]), rate=st.sampled_from([None, 8000, 48000]))
    def call(self, duration: float | None, rate: int | None) -> None:
        self.callers.append(self.stage.call(tone=440.0, duration=duration, rate=rate))

    @rule(rate=st.sampled_from([16000, 24000]), stream=st.booleans(), start=st.booleans())
    def answer(self, rate: int, stream: bool, start: bool) -> None:
        if self.stage.posts:
            self.attempt(lambda: self.connections.append(self.stage.answer(rate=rate, stream=stream, start=start)))

    @rule(reason=st.sampled_from(["none", "busy", "forbidden"]))
    def reject(self, reason: str) -> None:
        if self.stage.posts:
            self.attempt(lambda: self.stage.reject(reason))

    @rule(to=TARGETS)
    def redirect(self, to: Identifier) -> None:
        if self.stage.posts:
            self.attempt(lambda: self.stage.redirect(to))

    @rule(to=st.lists(TARGETS, min_size=1, max_size=3, unique=True))
    def create(self, to: list[Identifier]) -> None:
        self.attempt(lambda: self.connections.append(self.stage.create(*to)))

    @rule(data=st.data(), way=st.sampled_from(["hang_up", "terminate", "start", "stop", "participants", "properties"]))
    def request(self, data: st.DataObject, way: str) -> None:
        if not self.connections:
            return
        node, connection = self.stage.node, data.draw(st.sampled_from(self.connections))
        acts: dict[str, Callable[[], object]] = {
            "hang_up": lambda: node.hang_up(connection),
            "terminate": lambda: node.terminate(connection),
            "start": lambda: media.start_streaming(node, asked(connection), StartMediaStreamingRequest()),
            "stop": lambda: media.stop_streaming(node, asked(connection), StopMediaStreamingRequest()),
            "participants": lambda: node.participants(connection),
            "properties": lambda: node.properties(connection),
        }
        self.attempt(acts[way])

    @rule(data=st.data(), who=TARGETS, way=st.sampled_from(["add", "remove", "mute", "cancel"]))
    def participants(self, data: st.DataObject, who: Identifier, way: str) -> None:
        if not self.connections:
            return
        node, app = self.stage.node, data.draw(st.sampled_from(self.connections))
        ids = node.mint(), node.mint()
        self.invitations.append(ids[0])
        add = AddParticipantRequest(participant_to_add=who, invitation_timeout=2)
        remove = RemoveParticipantRequest(participant_to_remove=who)
        mute = MuteParticipantsRequest(target_participants=(who,))
        cancel = CancelAddParticipantRequest(invitation_id=data.draw(st.sampled_from(self.invitations)))
        acts: dict[str, Callable[[Call, float], None]] = {
            "add": lambda call, now: call.add_participant(app, *ids, add, now),
            "remove": lambda call, now: call.remove_participant(app, remove, now),
            "mute": lambda call, now: call.mute_participants(app, mute, now),
            "cancel": lambda call, now: call.cancel_add_participant(app, cancel, now),
        }
        self.attempt(lambda: node.ask(app, acts[way]))

    @rule(data=st.data(), group=st.booleans(), rate=st.sampled_from([0, 16000, 24000]))
    def connect(self, data: st.DataObject, group: bool, rate: int) -> None:
        locator = CallLocator("groupCallLocator", GROUP)
        if not group and self.stage.node.calls:
            locator = server_id(data.draw(st.sampled_from(list(self.stage.node.calls.values()))))
        stage, connections = self.stage, self.connections
        self.attempt(lambda: connections.append(connect(stage, locator, rate=rate or 16000, stream=bool(rate))))

    @rule(data=st.data(), to=TARGETS, who=st.sampled_from([None, CALLEE, OTHER, CALLER, USER]))
    def transfer(self, data: st.DataObject, to: Identifier, who: Identifier | None) -> None:
        if self.connections:
            app = data.draw(st.sampled_from(self.connections))
            self.attempt(lambda: transfer(self.stage, app, to, transferee=who))

    @rule(data=st.data(), people=st.lists(TARGETS, min_size=1, max_size=2, unique=True))
    def move(self, data: st.DataObject, people: list[Identifier]) -> None:
        if self.connections:
            to, of = (data.draw(st.sampled_from(self.connections)) for _ in range(2))
            self.attempt(lambda: move(self.stage, to, of, *people))

    @rule(
        data=st.data(),
        name=st.sampled_from(["good", "bad"]),
        to=st.sampled_from([(), (CALLER,), (OTHER,)]),
        loop=st.booleans(),
        interrupt=st.booleans(),
    )
    def play(self, data: st.DataObject, name: str, to: tuple[Identifier, ...], loop: bool, interrupt: bool) -> None:
        if self.connections:
            sources = (PlaySource(kind="file", uri=name),)
            request = PlayRequest(sources=sources, to=to, loop=loop, interrupt=interrupt)
            connection = data.draw(st.sampled_from(self.connections))
            self.attempt(lambda: media.play(self.stage.node, asked(connection), request))

    @rule(
        data=st.data(),
        who=st.sampled_from([CALLER, OTHER]),
        kind=st.sampled_from(["dtmf", "speech", "choices"]),
        name=st.sampled_from(["", "good", "bad"]),
        flags=st.tuples(st.booleans(), st.booleans()),
    )
    def recognize(self, data: st.DataObject, who: Identifier, kind: str, name: str, flags: tuple[bool, bool]) -> None:
        if self.connections:
            request = RecognizeRequest(
                target_participant=who,
                input_type=kind,
                prompt=(PlaySource(kind="file", uri=name),) if name else (),
                interrupt=flags[0],
                interrupt_prompt=flags[1],
                initial_silence=1,
                choices=(Choice(label="one", phrases=("one",), tone="1"),) if kind == "choices" else (),
            )
            connection = data.draw(st.sampled_from(self.connections))
            self.attempt(lambda: media.recognize(self.stage.node, asked(connection), request))

    @rule(data=st.data(), who=st.sampled_from([CALLER, OTHER]), name=st.sampled_from(["", "good", "bad", "off"]))
    def hold(self, data: st.DataObject, who: Identifier, name: str) -> None:
        if self.connections:
            node, connection = self.stage.node, asked(data.draw(st.sampled_from(self.connections)))
            if name == "off":
                self.attempt(lambda: media.unhold(node, connection, UnholdRequest(target_participant=who)))
                return
            source = PlaySource(kind="file", uri=name) if name else None
            request = HoldRequest(target_participant=who, source=source)
            self.attempt(lambda: media.hold(node, connection, request))

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.connections:
            connection = data.draw(st.sampled_from(self.connections))
            self.attempt(lambda: media.cancel_all(self.stage.node, asked(connection)))

    @rule(data=st.data(), way=st.sampled_from(["leave", "1", "#"]))
    def caller_acts(self, data: st.DataObject, way: str) -> None:
        if self.callers:
            leg = data.draw(st.sampled_from(self.callers)).leg
            if way == "leave":
                leg.leave()
            else:
                leg.press(way)

    @rule(data=st.data(), what=st.sampled_from(["stop", "hang", "garbage"]))
    def app_socket(self, data: st.DataObject, what: str) -> None:
        streams = [stream for stream in self.stage.streams if stream.closed_at is None and stream.port.connected]
        if streams:
            stream = data.draw(st.sampled_from(streams))
            acts: dict[str, Callable[[], None]] = {
                "stop": stream.stop,
                "hang": stream.hang,
                "garbage": lambda: stream.send({"kind": 1}),
            }
            acts[what]()

    @rule(refusal=st.sampled_from(["", "stream_url_invalid", "stream_auth_refused"]), delay=st.sampled_from([0, 0.3]))
    def network(self, refusal: str, delay: float) -> None:
        self.stage.refuse_sockets, self.stage.dial_time = refusal, delay

    @rule(seconds=st.sampled_from([0.02, 0.5, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.stage.clock.advance(seconds)

    @invariant()
    def the_clock_runs_only_for_calls(self) -> None:
        node = self.stage.node
        assert node.media.running == bool(node._bridged)
        assert all(live.call.call_id in node.calls for live in node._bridged)

    @invariant()
    def who_has_moved_is_where_the_node_thinks(self) -> None:
        for leg_id, live in self.stage.node.moved.items():
            assert leg_id in live.legs and live.call.call_id in self.stage.node.calls

    @invariant()
    def each_call_knows_its_legs_and_will_end(self) -> None:
        for live in self.stage.node.calls.values():
            call = live.call
            assert set(call.legs) == set(live.legs)
            assert call.state != "connected" or call.legs or call.deadline is not None, "nobody is there to end it"

    @invariant()
    def each_call_is_told_its_end_once_and_last(self) -> None:
        for connection in self.connections:
            mine = [event for event in self.stage.callbacks if event["data"]["callConnectionId"] == connection]
            names = [event["type"].removeprefix("Microsoft.Communication.") for event in mine]
            assert names.count("CallDisconnected") <= 1
            assert "CallDisconnected" not in names[:-1]
            numbers = [event["data"]["sequenceNumber"] for event in mine if "sequenceNumber" in event["data"]]
            assert numbers == sorted(set(numbers))

    def teardown(self) -> None:
        for caller in self.callers:
            caller.leg.leave()
        for connection in self.connections:
            self.attempt(lambda connection=connection: self.stage.node.terminate(connection))  # type: ignore[misc]
        self.stage.clock.advance(61.0)
        for live in list(self.stage.node.calls.values()):
            for leg_id in list(live.legs):  # people who talk without an app
                self.stage.node.leg_event(live, leg_id, Ended())
        assert self.stage.empty() and not self.shelf.waiting and not self.stage.node.moved
        assert all(caller.end is not None for caller in self.callers)
        assert all(stream.closed_at is not None or not stream.port.connected for stream in self.stage.streams)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)
