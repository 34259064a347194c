"""Plays in a call's machine: turns, the two legs of §3.9, interrupt, cancel, and every end told once."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.calls.stage import (
    APP,
    CALLEE,
    CALLER,
    OTHER,
    THIRD,
    Input,
    answer,
    answer_request,
    created,
    hang_up,
    incoming,
    leaves,
    said,
    shut_down,
    terminate,
    up,
)

from offhook.calls.actions import DropPrompt, LoadPrompt, Notify, StartPrompt
from offhook.calls.call import Call
from offhook.calls.media import LOADED, MOST_ACTIONS
from offhook.errors import CallError
from offhook.wire.events import PlayCanceled, PlayCompleted, PlayFailed
from offhook.wire.identifiers import Identifier
from offhook.wire.playing import PlayRequest, PlaySource

SOURCES = (PlaySource(kind="file", uri="https://files.test/a.wav"),)


def play(prompt: str, *to: Identifier, interrupt: bool = False, uri: str | None = None) -> Input:
    request = PlayRequest(
        sources=SOURCES, to=to, interrupt=interrupt, operation_context=prompt, operation_callback_uri=uri
    )
    return lambda call: call.play(APP, prompt, request, 5.0)


def ready(prompt: str) -> Input:
    return lambda call: call.prompt_ready(APP, prompt, 5.0)


def ended(prompt: str) -> Input:
    return lambda call: call.prompt_ended(APP, prompt, 5.0)


def fails(prompt: str, outcome: str = "play_bad_format", index: int | None = 0) -> Input:
    return lambda call: call.prompt_failed(APP, prompt, outcome, "why", index, 5.0)


def cancel(call: Call) -> None:
    call.cancel_media(APP, 5.0)


def connected() -> Call:
    call = incoming()
    answer()(call)
    up("leg0")(call)
    call.drain()
    return call


def group() -> Call:
    call = created(OTHER, THIRD)
    up("leg0")(call)
    up("leg1")(call)
    call.drain()
    return call


def refusal(call: Call, given: Input) -> str:
    with pytest.raises(CallError) as refused:
        given(call)
    assert not call.drain(), "a refused request changed something"
    return refused.value.outcome


def told(call: Call, *inputs: Input) -> list[str]:
    """What all inputs together made the call say."""
    for given in inputs:
        given(call)
    return said(call)


def test_one_play() -> None:
    call = connected()
    assert told(call, play("a")) == ["LoadPrompt app a"]
    assert told(call, ready("a")) == ["StartPrompt app a", "PlayStarted [a]"]
    assert told(call, ended("a")) == ["PlayCompleted [a]"]
    assert told(call, ended("a"), ready("a"), fails("a"), cancel) == []


def test_the_result_goes_where_the_request_says() -> None:
    call = connected()
    elsewhere = "https://app.test/elsewhere"
    lines = told(call, play("a", uri=elsewhere), ready("a"), ended("a"))
    assert [line for line in lines if line.startswith("Play")] == [
        f"PlayStarted [a] -> {elsewhere}",
        f"PlayCompleted [a] -> {elsewhere}",
    ]


def test_plays_to_everybody_queue_in_the_order_of_asking() -> None:
    call = connected()
    assert told(call, play("a"), play("b"), play("c")) == ["LoadPrompt app a", "LoadPrompt app b"]
    assert told(call, ready("b")) == []
    assert told(call, ready("a")) == ["StartPrompt app a", "PlayStarted [a]"]
    assert told(call, ended("a")) == [
        "PlayCompleted [a]", "StartPrompt app b", "PlayStarted [b]", "LoadPrompt app c",
    ]  # fmt: skip
    assert told(call, ended("b")) == ["PlayCompleted [b]"]
    assert told(call, ready("c")) == ["StartPrompt app c", "PlayStarted [c]"]


def test_one_that_fails_holds_up_nobody() -> None:
    call = connected()
    told(call, play("a"), play("b"), play("c"))
    assert told(call, fails("b")) == ["PlayFailed 400/8535 [b]", "LoadPrompt app c"]
    told(call, ready("c"))
    assert told(call, fails("a", "play_not_downloaded")) == [
        "PlayFailed 400/8536 [a]", "StartPrompt app c", "PlayStarted [c]",
    ]  # fmt: skip


def test_the_failed_source_is_named() -> None:
    call = connected()
    fails_at_1 = fails("a", index=1)
    play("a")(call)
    fails_at_1(call)
    (event,) = [output.event for output in call.drain() if isinstance(output, Notify)]
    assert isinstance(event, PlayFailed) and event.failed_play_source_index == 1
    assert event.result_information is not None and event.result_information.message.endswith("why")


def test_interrupt_cancels_what_runs_and_what_waits() -> None:
    call = connected()
    told(call, play("a"), play("b"), ready("a"))
    assert told(call, play("c", interrupt=True)) == [
        "DropPrompt a", "PlayCanceled 400/8508 [a]", "DropPrompt b", "PlayCanceled 400/8508 [b]", "LoadPrompt app c",
    ]  # fmt: skip
    assert told(call, ended("a"), ready("b")) == []
    assert told(call, ready("c")) == ["StartPrompt app c", "PlayStarted [c]"]


def test_cancel_ends_all() -> None:
    call = group()
    told(call, play("a"), play("b"), play("c"), play("one", OTHER), ready("a"), ready("one"))
    assert told(call, cancel) == [
        "DropPrompt a", "PlayCanceled 400/8508 [a]", "DropPrompt b", "PlayCanceled 400/8508 [b]",
        "PlayCanceled 400/8508 [c]", "DropPrompt one", "PlayCanceled 400/8508 [one]",
        "ParticipantsUpdated #4 other third callee",
    ]  # fmt: skip


def test_a_play_to_some_runs_beside_one_to_everybody_and_a_second_one_is_refused() -> None:
    call = group()
    told(call, play("a"), ready("a"))
    play("one", OTHER)(call)
    ready("one")(call)
    started = [output for output in call.drain() if isinstance(output, StartPrompt)]
    assert [(start.prompt_id, start.to) for start in started] == [("one", frozenset({OTHER.raw_id}))]
    assert refusal(call, play("two", THIRD)) == "media_busy"
    assert told(call, play("two", THIRD, interrupt=True)) == [
        "DropPrompt one", "PlayCanceled 400/8508 [one]", "LoadPrompt app two",
        "ParticipantsUpdated #4 other third callee",
    ]  # fmt: skip
    assert told(call, ready("two"), ended("a")) == [
        "StartPrompt app two", "PlayStarted [two]", "ParticipantsUpdated #5 other third(held) callee",
        "PlayCompleted [a]",
    ]  # fmt: skip


def test_nobody_can_be_played_to_who_is_not_there() -> None:
    call = connected()
    assert refusal(call, play("a", OTHER)) == "participant_not_found"
    assert refusal(call, play("a", CALLER, OTHER, interrupt=True)) == "participant_not_found"


def test_a_play_whose_hearers_have_left_is_canceled() -> None:
    call = group()
    told(call, play("one", OTHER), play("all"), ready("one"), ready("all"))
    assert told(call, leaves("leg0")) == [
        "DropPrompt one", "PlayCanceled 400/8508 [one]", "LegLeft leg0", "ParticipantsUpdated #4 third callee",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("end", "event"),
    [
        (hang_up(), "PlayCanceled 400/8508"),
        (terminate(), "PlayCanceled 400/8508"),
        (leaves("leg0"), "PlayCanceled 400/8508"),
        (shut_down, "PlayFailed 500/8572"),
    ],
)
@pytest.mark.parametrize("to", [(), (CALLER,)])
def test_the_end_of_the_call_ends_its_plays_before_the_app_hears_of_it(
    end: Input, event: str, to: tuple[Identifier, ...]
) -> None:
    call = connected()
    told(call, play("a", *to), ready("a"))
    names = [line.rpartition(" [")[0] for line in told(call, end) if line.startswith(("Play", "CallDis"))]
    assert names[0] == event and len(names) == 2 and names[1].startswith("CallDisconnected")


def test_before_and_after_the_call_it_is_refused() -> None:
    call = incoming()
    answer()(call)
    call.drain()
    assert refusal(call, play("a")) == refusal(call, cancel) == "call_not_established"
    told(call, up("leg0"), hang_up())
    assert refusal(call, play("a")) == refusal(call, cancel) == "call_not_found"


def test_not_more_than_so_many_wait() -> None:
    call = connected()
    told(call, *(play(f"p{n}") for n in range(MOST_ACTIONS)))
    assert refusal(call, play("one more")) == "media_state"
    told(call, play("instead", interrupt=True), play("another"))


def test_apps_on_an_older_api_are_not_told_of_the_start() -> None:
    call = incoming()
    call.answer(APP, "s", answer_request(), "2024-04-15", 1.0)
    told(call, up("leg0"))
    assert told(call, play("a"), ready("a"), ended("a")) == [
        "LoadPrompt app a", "StartPrompt app a", "PlayCompleted [a]"
    ]  # fmt: skip


PROMPTS = st.sampled_from([f"p{n}" for n in range(6)])


class AnyPlays(RuleBasedStateMachine):
    """Whatever comes in whatever order: one prompt plays on a leg, and each ends once."""

    @initialize()
    def begin(self) -> None:
        self.call = group()
        self.asked: set[str] = set()
        self.open: set[str] = set()
        self.loaded: set[str] = set()
        self.playing: dict[str, bool] = {}
        self.ends: Counter[str] = Counter()

    def read(self) -> None:
        for output in self.call.drain():
            match output:
                case LoadPrompt(_, prompt):
                    assert prompt not in self.loaded
                    self.loaded.add(prompt)
                    assert len(self.loaded & self.open) <= 2 * LOADED
                case StartPrompt(_, prompt, _, to):
                    main = to is None
                    assert prompt in self.loaded & self.open and main not in self.playing.values()
                    self.playing[prompt] = main
                case DropPrompt(prompt):
                    self.gone(prompt)
                case Notify(event) if isinstance(event, PlayCompleted | PlayFailed | PlayCanceled):
                    self.ends[event.operation_context or ""] += 1
                    self.gone(event.operation_context or "")

    def gone(self, prompt: str) -> None:
        self.open.discard(prompt)
        self.playing.pop(prompt, None)

    @rule(prompt=PROMPTS, to=st.sampled_from([(), (OTHER,), (THIRD, OTHER), (CALLEE,)]), interrupt=st.booleans())
    def ask(self, prompt: str, to: tuple[Identifier, ...], interrupt: bool) -> None:
        name = f"{prompt}.{len(self.asked)}"
        try:
            play(name, *to, interrupt=interrupt)(self.call)
        except CallError:
            assert not self.call.outbox
            return
        self.asked.add(name)
        self.open.add(name)
        self.read()

    @rule(data=st.data(), way=st.sampled_from(["ready", "failed", "ended"]))
    def report(self, data: st.DataObject, way: str) -> None:
        if not self.asked:
            return
        prompt = data.draw(st.sampled_from(sorted(self.asked)))
        if prompt not in self.loaded or (way == "ended" and prompt not in self.playing):
            return
        if way != "ready":
            self.gone(prompt)
        {"ready": ready, "failed": fails, "ended": ended}[way](prompt)(self.call)
        self.read()

    @rule(way=st.sampled_from([cancel, leaves("leg0"), terminate()]))
    def end(self, way: Input) -> None:
        try:
            way(self.call)
        except CallError:
            assert not self.call.outbox
        self.read()

    @invariant()
    def each_ends_once(self) -> None:
        if hasattr(self, "call"):
            assert all(self.ends[prompt] == (prompt not in self.open) for prompt in self.asked)
            assert self.call.state != "ended" or not self.open


TestAnyPlays = AnyPlays.TestCase
