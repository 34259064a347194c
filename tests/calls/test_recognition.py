"""Recognize in a call's machine: prompts, choices, speech; the two legs of §3.9; every end by its code."""

from __future__ import annotations

from typing import Any

import pytest
from tests.calls.stage import APP, CALLER, OTHER, THIRD, VERSION, answer_request, created, hang_up, leaves, said, up
from tests.calls.test_keys import one
from tests.calls.test_playing import SOURCES, cancel, ended, fails, play, ready, refusal

from offhook.calls.actions import Notify, StartHearing, StartPrompt
from offhook.calls.call import Call
from offhook.calls.connection import Connection
from offhook.calls.media import MOST_ACTIONS
from offhook.calls.recognition import LONGEST_SPEECH
from offhook.wire.identifiers import Identifier
from offhook.wire.playing import PlayRequest
from offhook.wire.recognizing import Choice, DtmfOptions, RecognizeCompleted, RecognizeFailed, RecognizeRequest

KEYED = (Choice(label="Yes", phrases=("yes", "yes please"), tone="1"), Choice(label="No", phrases=("no",), tone="2"))
SPOKEN = (*KEYED, Choice(label="Agent", phrases=("an agent",)))


def ask(
    call: Call, name: str = "ask", to: Identifier = CALLER, now: float = 10.0, app: str = APP, **options: Any
) -> None:
    prompted = options.pop("prompted", False)
    request = RecognizeRequest(
        **{"input_type": "dtmf", "prompt": SOURCES if prompted else (), **options},
        target_participant=to,
        operation_context=name,
    )
    call.recognize(app, name, request, now)


def told(call: Call, step: Any = None) -> list[str]:
    """What a step made it say, without what concerns streams and roster."""
    call.drain()
    if step is not None:
        step(call)
    return [line for line in said(call) if not line.startswith("Participants")]


def completed(call: Call) -> RecognizeCompleted:
    (event,) = [
        output.event
        for output in call.drain()
        if isinstance(output, Notify) and isinstance(output.event, RecognizeCompleted)
    ]
    return event


def group() -> Call:
    call = created(OTHER, THIRD)
    up("leg0")(call)
    up("leg1")(call)
    call.drain()
    return call


def another_app(call: Call, name: str = "second") -> str:
    """A second app on the call."""
    call.connections[name] = Connection(call.ids, name, "s", answer_request(), VERSION, None, call.outbox)
    call.connections[name].established = True
    return name


def press(key: str, leg: str = "leg0", now: float = 20.0) -> Any:
    return lambda call: call.leg_dtmf(leg, key, now)


# prompts ------------------------------------------------------------------------------------------------------------


def test_the_prompt_comes_first_and_the_silence_after_it() -> None:
    call = one()
    ask(call, prompted=True, dtmf=DtmfOptions(most=1))
    assert said(call) == ["LoadPrompt app ask"] and call.next_deadline() is None
    ready("ask")(call)
    (start,) = [output for output in call.drain() if isinstance(output, StartPrompt)]
    assert (start.to, start.loop) == (frozenset({CALLER.raw_id}), False)
    assert call.next_deadline() is None
    assert told(call, press("1")) == [], "keys in the prompt do not count"
    ended("ask")(call)
    assert call.next_deadline() == 10.0
    assert told(call, press("2", now=9.0)) == ["RecognizeCompleted 200/8531 [ask]"]


@pytest.mark.parametrize(("key", "lines"), [("#", ["RecognizeCompleted 200/8514 [ask]"]), ("1", [])])
def test_the_first_key_cuts_a_prompt_that_may_be_interrupted(key: str, lines: list[str]) -> None:
    call = one()
    ask(call, prompted=True, interrupt_prompt=True, dtmf=DtmfOptions(stop_tones=frozenset("#")))
    assert told(call, press("2")) == [], "nothing is heard yet"
    ready("ask")(call)
    assert told(call, press(key)) == ["DropPrompt ask", *lines]
    assert told(call, ended("ask")) == []
    assert call.next_deadline() == (None if lines else 22.0)


@pytest.mark.parametrize("at", ["loading", "waiting", "playing"])
def test_a_prompt_that_cannot_be_played_fails_it(at: str) -> None:
    call = one()
    if at == "waiting":
        play("first")(call)
    ask(call, prompted=True)
    if at == "playing":
        ready("ask")(call)
    call.drain()
    fails("ask", "play_bad_format", 1)(call)
    (event,) = [output.event for output in call.drain() if isinstance(output, Notify)]
    assert isinstance(event, RecognizeFailed) and event.failed_play_source_index == 1
    info = event.result_information
    assert info is not None and (info.code, info.sub_code) == (500, 8511)
    assert "file format is invalid" in info.message and info.message.endswith("why")


def test_a_prompt_is_dropped_with_what_it_is_for() -> None:
    for end in (cancel, hang_up(), leaves("leg0")):
        for load in (False, True):
            call = one()
            ask(call, prompted=True)
            if load:
                ready("ask")(call)
            lines = told(call, end)
            assert lines[0] == "DropPrompt ask" and lines[1].startswith("Recognize"), lines
            assert told(call, ready("ask")) == told(call, ended("ask")) == []


# one main leg, one sub leg ------------------------------------------------------------------------------------------


def test_plays_and_recognitions_of_all_apps_queue_on_the_main_leg() -> None:
    call = one()
    app = another_app(call)
    play("a")(call)
    ask(call, "b", app=app)
    ask(call, "c", prompted=True)
    assert said(call) == ["LoadPrompt app a"], "two are looked at: the second has nothing to load"
    assert told(call, ready("a")) == ["StartPrompt app a", "PlayStarted [a]"]
    assert told(call, press("1")) == [], "it is not its turn"
    assert told(call, ended("a")) == ["PlayCompleted [a]", "LoadPrompt app c"]
    assert call.next_deadline() == 10.0, "its silence begins with its turn"
    assert told(call, press("1")) == []
    assert told(call, lambda call: call.advance(22.0)) == ["RecognizeCompleted 400/8532 [b]"]
    assert told(call, ready("c")) == ["StartPrompt app c"]


def test_an_interrupting_one_takes_the_place_of_everything_on_its_leg() -> None:
    call = one()
    app = another_app(call)
    play("a")(call)
    ready("a")(call)
    ask(call, "b", app=app)
    play("one", CALLER)(call)
    ready("one")(call)
    call.drain()
    ask(call, "c", app=app, interrupt=True)
    assert said(call) == ["DropPrompt a", "PlayCanceled 400/8508 [a]", "RecognizeCanceled 400/8508 [b]"]
    assert call.next_deadline() == 15.0
    assert told(call, ended("one"))[0] == "PlayCompleted [one]"


def test_cancel_ends_what_the_app_has_asked_for_and_no_more() -> None:
    call = one()
    app = another_app(call)
    ask(call, "other app's", app=app)
    play("a")(call)
    ask(call, "b")
    assert told(call, cancel) == ["DropPrompt a", "PlayCanceled 400/8508 [a]", "RecognizeCanceled 400/8508 [b]"]
    assert told(call, lambda call: call.advance(15.0)) == ["RecognizeFailed 400/8510 [other app's]"]


def test_an_app_that_leaves_gives_its_turn_to_the_others() -> None:
    call = group()
    app = another_app(call)
    play("a")(call)
    call.play(app, "b", PlayRequest(sources=SOURCES, operation_context="b"), 5.0)
    call.drain()
    lines = told(call, lambda call: call.media.dropped(call.connection(APP)))
    assert lines == ["DropPrompt a", "PlayCanceled 400/8508 [a]"]
    assert told(call, ready("b")) == ["StartPrompt second b", "PlayStarted [b]"]


def test_nothing_has_its_turn_when_the_last_one_leaves() -> None:
    call = one()
    ask(call, "first")
    play("second")(call)
    ready("second")(call)
    assert told(call, leaves("leg0")) == [
        "RecognizeFailed 400/8558 [first]", "LegLeft leg0", "DropPrompt second", "PlayCanceled 400/8508 [second]",
        "CallDisconnected 0/560000 [answered]", "CallEnded far_end_hung_up_pstn",
    ]  # fmt: skip


def test_in_a_group_the_sub_leg_is_had_by_one() -> None:
    call = group()
    ask(call, "first", OTHER, prompted=True)
    assert told(call, ready("first")) == ["StartPrompt app first"]
    for given in (play("p", THIRD), lambda call: ask(call, "second", THIRD)):
        assert refusal(call, given) == "media_busy"
    assert told(call, play("all")) == ["LoadPrompt app all"]
    ask(call, "second", THIRD, interrupt=True)
    assert [line for line in said(call) if not line.startswith("Part")] == [
        "DropPrompt first", "RecognizeCanceled 400/8508 [first]",
    ]  # fmt: skip


def test_who_alone_hears_the_sub_leg_is_shown_on_hold() -> None:
    call = group()
    shown = []
    for given in (
        lambda call: ask(call, "first", OTHER, prompted=True), ready("first"), ended("first"),
        cancel, play("both", OTHER, THIRD), ready("both"), ended("both"),
        play("main"), ready("main"), ended("main"),
    ):  # fmt: skip
        given(call)
        shown += [line for line in said(call) if line.startswith("ParticipantsUpdated")]
    assert shown == ["ParticipantsUpdated #3 other(held) third callee", "ParticipantsUpdated #4 other third callee"]


def test_so_many_actions_of_one_app() -> None:
    call = one()
    app = another_app(call)
    for number in range(MOST_ACTIONS // 2):
        ask(call, str(number))
        play(f"p{number}")(call)
    call.drain()
    assert refusal(call, lambda call: ask(call, "more")) == "media_state"
    assert refusal(call, play("more")) == "media_state"
    ask(call, "another app's", app=app)


# choices ------------------------------------------------------------------------------------------------------------


def test_a_choice_by_its_key() -> None:
    call = one()
    ask(call, input_type="choices", choices=KEYED)
    call.drain()
    press("2")(call)
    event = completed(call)
    assert (event.recognition_type, event.dtmf_result) == ("choices", None)
    assert event.choice_result is not None and event.choice_result.to_wire() == {"label": "No"}
    assert event.result_information is not None and event.result_information.sub_code == 8533


def test_a_key_that_no_choice_has() -> None:
    call = one()
    ask(call, input_type="choices", choices=SPOKEN)
    assert told(call, press("9")) == ["StopHearing", "RecognizeFailed 400/8534 [ask]"]


@pytest.mark.parametrize(
    ("text", "label", "phrase"),
    [("Yes, please.", "Yes", "yes please"), ("uh, NO", "No", "no"), ("AN agent", "Agent", "an agent")],
)
def test_a_choice_by_its_phrase(text: str, label: str, phrase: str) -> None:
    call = one()
    ask(call, input_type="choices", choices=SPOKEN)
    (hearing,) = [output for output in call.drain() if isinstance(output, StartHearing)]
    assert hearing == StartHearing("ask", "leg0", "en-US", 2.0, ("yes", "yes please", "no", "an agent"))
    call.speech_began("ask", 12.0)
    call.speech_heard("ask", text, 0.9, 14.0)
    event = completed(call)
    assert event.choice_result is not None
    assert event.choice_result.to_wire() == {"label": label, "recognizedPhrase": phrase, "confidence": 0.9}
    assert event.result_information is not None and event.result_information.sub_code == 8545


def test_without_a_recogniser_keys_will_do_where_each_choice_has_one() -> None:
    call = one()
    ask(call, input_type="choices", choices=KEYED)
    call.drain()
    call.speech_began("ask", 11.0)
    call.speech_failed("ask", "speech_not_set_up", "Install one.", 12.0)
    assert said(call) == [] and call.next_deadline() == 17.0
    call.advance(17.0)
    (event,) = [output.event for output in call.drain() if isinstance(output, Notify)]
    assert event.result_information is not None
    assert event.result_information.sub_code == 8510 and "Install one." in event.result_information.message
    ask(call, input_type="choices", choices=SPOKEN)
    failed = told(call, lambda call: call.speech_failed("ask", "speech_not_set_up", "", 12.0))
    assert failed == ["RecognizeFailed 400/8565 [ask]"]


# speech -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["speech", "speechOrDtmf"])
def test_speech_is_told(kind: str) -> None:
    call = one()
    ask(call, input_type=kind, language="en-GB", end_silence=0.7)
    assert [output for output in call.drain() if isinstance(output, StartHearing)] == [
        StartHearing("ask", "leg0", "en-GB", 0.7, ())
    ]
    call.speech_began("ask", 14.9)
    assert told(call, lambda call: call.advance(20.0)) == [], "they speak: no silence"
    call.speech_heard("ask", "I would like to pay.", 0.88, 21.0)
    event = completed(call)
    assert event.recognition_type == "speech" and event.speech_result is not None
    assert event.speech_result.to_wire() == {"speech": "I would like to pay.", "confidence": 0.88}
    assert event.result_information is not None
    assert (event.result_information.code, event.result_information.sub_code) == (200, 8569)
    assert told(call, lambda call: call.speech_heard("ask", "late", 0.5, 22.0)) == []


@pytest.mark.parametrize(
    ("options", "facts", "result"),
    [
        ({}, [], "400/8510"),
        ({}, [("speech_began", 12.0)], "400/8563"),
        ({}, [("speech_heard", " ", None, 12.0)], "400/8563"),
        ({"choices": SPOKEN, "input_type": "choices"}, [("speech_heard", "perhaps", 0.9, 12.0)], "400/8547"),
        ({}, [("speech_failed", "speech_not_set_up", "Install it.", 12.0)], "400/8565"),
        ({}, [("speech_failed", "speech_language", "", 12.0)], "400/8565"),
        ({}, [("speech_failed", "?", "", 12.0)], "400/8565"),
    ],
)
def test_speech_that_is_not_understood(options: dict[str, Any], facts: list[Any], result: str) -> None:
    call = one()
    ask(call, **{"input_type": "speech", **options})
    call.drain()
    for name, *arguments in facts:
        getattr(call, name)("ask", *arguments)
    due = call.next_deadline()
    if due is not None:
        assert due == (12.0 + LONGEST_SPEECH if facts else 15.0)
        call.advance(due)
    heard_failed = any(name == "speech_failed" for name, *_ in facts)
    assert said(call) == [*([] if heard_failed else ["StopHearing"]), f"RecognizeFailed {result} [ask]"]


def test_speech_cuts_a_prompt_that_may_be_interrupted() -> None:
    call = one()
    ask(call, input_type="speech", prompted=True, interrupt_prompt=True)
    call.drain()
    assert told(call, ready("ask")) == ["StartPrompt app ask", "StartHearing leg0"]
    assert told(call, lambda call: call.speech_began("ask", 12.0)) == ["DropPrompt ask"]
    assert told(call, lambda call: call.speech_heard("ask", "hello", 0.5, 13.0)) == [
        "StopHearing", "RecognizeCompleted 200/8569 [ask]"
    ]  # fmt: skip


def test_speech_in_a_prompt_that_may_not_be_interrupted_is_not_listened_to() -> None:
    call = one()
    ask(call, input_type="speech", prompted=True)
    assert told(call, ready("ask")) == ["StartPrompt app ask"]
    assert told(call, ended("ask")) == ["StartHearing leg0"]


def test_keys_do_not_count_for_speech_alone() -> None:
    call = one()
    ask(call, input_type="speech", prompted=True, interrupt_prompt=True)
    ready("ask")(call)
    assert told(call, press("1")) == []


def test_the_first_key_decides_for_keys() -> None:
    call = one()
    ask(call, input_type="speechOrDtmf", dtmf=DtmfOptions(most=2))
    call.speech_began("ask", 11.0)
    assert told(call, press("1", now=12.0)) == ["StopHearing"]
    assert told(call, lambda call: call.speech_heard("ask", "late", 0.5, 12.5)) == []
    press("2", now=13.0)(call)
    event = completed(call)
    assert event.recognition_type == "dtmf" and event.dtmf_result is not None
    assert event.dtmf_result.tones == ("one", "two")


@pytest.mark.parametrize("end", [cancel, hang_up(), leaves("leg0")])
def test_nobody_is_listened_to_any_more_when_it_is_over(end: Any) -> None:
    call = one()
    ask(call, input_type="speech")
    lines = told(call, end)
    assert lines[0] == "StopHearing" and lines[1].startswith("Recognize")
