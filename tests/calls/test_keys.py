"""Keys in a call: sent, listened to and collected; what each end is called, and what excludes what (§3.9, §5.8)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.calls.stage import (
    APP,
    CALLBACK,
    CALLER,
    OTHER,
    THIRD,
    answer,
    created,
    hang_up,
    incoming,
    leaves,
    shut_down,
    terminate,
    up,
)

from offhook.calls.actions import DropKeys, LegLeft, Notify, Output, SendKey
from offhook.calls.call import Call
from offhook.calls.media import MOST_ACTIONS
from offhook.calls.sending import KEY_TIMEOUT
from offhook.errors import CallError
from offhook.wire.identifiers import Identifier
from offhook.wire.recognizing import MOST_TO_COLLECT, DtmfOptions, RecognizeRequest
from offhook.wire.tones import SendDtmfTonesRequest, StartContinuousDtmfRequest, StopContinuousDtmfRequest
from offhook.wire.transfer import TransferRequest

ELSEWHERE = "https://app.test/elsewhere"


def one() -> Call:
    """An answered call with its caller."""
    call = incoming()
    for given in (answer(), up("leg0")):
        given(call)
    call.drain()
    return call


def group() -> Call:
    """A call that two people have taken."""
    call = created(OTHER, THIRD)
    for given in (up("leg0"), up("leg1")):
        given(call)
    call.drain()
    return call


def send(call: Call, tones: str, to: Identifier = CALLER, now: float = 10.0, context: str = "send") -> None:
    request = SendDtmfTonesRequest(
        tones=tuple(tones), target_participant=to, operation_context=context, operation_callback_uri=ELSEWHERE
    )
    call.tones(APP, request, now)


def listen(call: Call, to: Identifier = CALLER, context: str = "listen", uri: str | None = None) -> None:
    request = StartContinuousDtmfRequest(target_participant=to, operation_context=context, operation_callback_uri=uri)
    call.tones(APP, request, 10.0)


def stop(call: Call, to: Identifier = CALLER) -> None:
    call.tones(APP, StopContinuousDtmfRequest(target_participant=to, operation_context="stop"), 10.0)


def recognize(call: Call, to: Identifier = CALLER, now: float = 10.0, context: str = "ask", **options: Any) -> None:
    dtmf = {name: options.pop(name) for name in ("inter_tone", "most", "stop_tones") if name in options}
    request = RecognizeRequest(
        **{"input_type": "dtmf", "target_participant": to, "operation_context": context, **options},
        dtmf=DtmfOptions(**dtmf),
    )
    call.recognize(APP, context, request, now)


def told(call: Call) -> list[str]:
    return [line(output) for output in call.drain() if isinstance(output, Notify | SendKey | DropKeys)]


def line(output: Output) -> str:
    if isinstance(output, SendKey):
        return f"send {output.key} to {output.leg_id}"
    if not isinstance(output, Notify):
        return f"{type(output).__name__} {getattr(output, 'leg_id', '')}"
    event, info = output.event, output.event.result_information
    words = [event.name, "" if info is None else f"{info.code}/{info.sub_code}", f"[{event.operation_context}]"]
    if result := getattr(event, "dtmf_result", None):
        words += result.tones
    if sequence := getattr(event, "sequence_id", None):
        words.append(f"#{sequence} {getattr(event, 'tone', '')}")
    if output.callback_uri != CALLBACK:
        words.append(f"-> {output.callback_uri}")
    return " ".join(words)


def refusal(call: Call, ask: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(CallError) as refused:
        ask(call, *arguments, **options)
    assert not call.drain(), "a refused request changed something"
    return refused.value.outcome


# sending ------------------------------------------------------------------------------------------------------------


def test_tones_are_sent_one_after_another_and_then_the_app_is_told() -> None:
    call = one()
    send(call, "1#")
    assert told(call) == ["send 1 to leg0"]
    call.key_sent("leg0", 10.2)
    assert told(call) == ["send # to leg0"]
    call.key_sent("leg0", 10.4)
    assert told(call) == [f"SendDtmfTonesCompleted 200/0 [send] -> {ELSEWHERE}"]
    assert call.next_deadline() is None
    call.key_sent("leg0", 10.6)
    assert told(call) == []


def test_a_phone_that_takes_no_key_fails_them_in_time() -> None:
    call = one()
    send(call, "12")
    assert call.next_deadline() == 10.0 + KEY_TIMEOUT
    call.key_sent("leg0", 12.0)
    assert call.next_deadline() == 12.0 + KEY_TIMEOUT
    call.drain()
    call.advance(12.0 + KEY_TIMEOUT)
    assert told(call) == ["DropKeys leg0", f"SendDtmfTonesFailed 408/9002 [send] -> {ELSEWHERE}"]
    assert call.next_deadline() is None


def test_sending_has_the_sub_leg_to_itself() -> None:
    call = group()
    send(call, "1", OTHER)
    call.drain()
    for someone in (OTHER, THIRD):
        assert refusal(call, send, "2", someone) == "media_busy"
        assert refusal(call, listen, someone) == "media_busy"
        assert refusal(call, recognize, someone) == "media_busy"
    call.key_sent("leg1", 11.0)
    assert told(call) == [], "a key of somebody else"
    call.key_sent("leg0", 11.0)
    listen(call, THIRD)
    recognize(call, OTHER)
    call.drain()
    for someone in (OTHER, THIRD):
        assert refusal(call, send, "1", someone) == "media_busy"
        assert refusal(call, listen, someone) == "media_busy"


def test_tones_that_are_sent_are_no_media_operation_to_be_canceled() -> None:
    call = one()
    send(call, "1")
    call.drain()
    call.cancel_media(APP, 11.0)
    assert told(call) == []
    call.key_sent("leg0", 12.0)
    assert told(call) == [f"SendDtmfTonesCompleted 200/0 [send] -> {ELSEWHERE}"]


def test_an_interrupting_recognition_takes_the_place_of_tones_that_are_sent() -> None:
    call = group()
    send(call, "12", OTHER)
    call.drain()
    recognize(call, OTHER, interrupt=True)
    assert told(call) == ["DropKeys leg0", f"SendDtmfTonesFailed 400/8508 [send] -> {ELSEWHERE}"]
    call.key_sent("leg0", 11.0)
    assert told(call) == []


def test_with_one_other_person_keys_are_sent_while_keys_are_collected() -> None:
    call = one()
    recognize(call)
    send(call, "1")
    assert told(call) == ["send 1 to leg0"]


def test_a_participant_that_leaves_while_tones_are_sent() -> None:
    call = group()
    send(call, "12", OTHER)
    call.drain()
    leaves("leg0")(call)
    assert told(call)[0] == f"SendDtmfTonesFailed 400/8558 [send] -> {ELSEWHERE}"
    assert call.next_deadline() is None


# listening ----------------------------------------------------------------------------------------------------------


def test_every_key_of_one_participant_is_told_in_order_until_it_is_stopped() -> None:
    call = group()
    listen(call, OTHER, uri=ELSEWHERE)
    for key in "5#":
        call.leg_dtmf("leg0", key, 11.0)
    call.leg_dtmf("leg1", "7", 11.0)
    assert told(call) == [
        f"ContinuousDtmfRecognitionToneReceived 200/0 [listen] #1 five -> {ELSEWHERE}",
        f"ContinuousDtmfRecognitionToneReceived 200/0 [listen] #2 pound -> {ELSEWHERE}",
    ]
    listen(call, OTHER, "again")
    call.leg_dtmf("leg0", "*", 12.0)
    assert told(call) == ["ContinuousDtmfRecognitionToneReceived 200/0 [again] #3 asterisk"]
    stop(call, OTHER)
    assert told(call) == ["ContinuousDtmfRecognitionStopped 200/0 [stop]"]
    call.leg_dtmf("leg0", "1", 13.0)
    stop(call, OTHER)
    assert told(call) == [], "nothing is told of, so there is nothing to stop"


def test_who_listens_is_told_when_the_participant_leaves_but_not_when_the_call_ends() -> None:
    call = group()
    listen(call, OTHER)
    listen(call, THIRD)
    leaves("leg0")(call)
    assert told(call)[0] == "ContinuousDtmfRecognitionToneFailed 400/8558 [listen]"
    leaves("leg1")(call)
    assert [word.split()[0] for word in told(call)] == ["CallDisconnected"]


@pytest.mark.parametrize("end", [terminate(), shut_down])
def test_who_listens_is_not_told_of_a_call_that_ends_for_all(end: Any) -> None:
    call = group()
    listen(call, OTHER)
    listen(call, THIRD)
    end(call)
    assert [word.split()[0] for word in told(call)] == ["CallDisconnected"]


def test_who_listens_is_not_told_of_a_transfer_that_ends_the_call() -> None:
    call = one()
    listen(call)
    call.transfer(APP, "target", TransferRequest(target=OTHER), 10.0)
    call.leg_referred("leg0", "", True, "", 10.0)
    call.drain()
    up("target")(call)
    assert [word.split()[0] for word in told(call)] == ["CallTransferAccepted", "CallDisconnected"]


def test_who_listens_is_told_while_somebody_is_still_rung() -> None:
    call = created(OTHER, THIRD)
    up("leg0")(call)
    listen(call, OTHER)
    call.drain()
    leaves("leg0")(call)
    assert told(call)[0] == "ContinuousDtmfRecognitionToneFailed 400/8558 [listen]"


def test_a_key_counts_for_who_listens_and_for_who_collects() -> None:
    call = one()
    listen(call)
    recognize(call, most=1)
    call.leg_dtmf("leg0", "A", 11.0)
    assert told(call) == [
        "ContinuousDtmfRecognitionToneReceived 200/0 [listen] #1 a",
        "RecognizeCompleted 200/8531 [ask] a",
    ]


# collecting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "keys", "seconds", "result"),
    [
        ({"most": 2}, "12", 0, "RecognizeCompleted 200/8531 [ask] one two"),
        ({"most": 4, "stop_tones": frozenset("#*")}, "12*", 0, "RecognizeCompleted 200/8514 [ask] one two"),
        ({"stop_tones": frozenset("#")}, "#", 0, "RecognizeCompleted 200/8514 [ask]"),
        ({"most": 2}, "", 5, "RecognizeFailed 400/8510 [ask]"),
        ({"most": 2, "initial_silence": 0}, "", 0, "RecognizeFailed 400/8510 [ask]"),
        ({"most": 2, "initial_silence": 300}, "", 300, "RecognizeFailed 400/8510 [ask]"),
        ({"most": 2}, "1", 2, "RecognizeFailed 400/8532 [ask]"),
        ({"most": 2, "inter_tone": 60}, "1", 60, "RecognizeFailed 400/8532 [ask]"),
        ({}, "12", 2, "RecognizeCompleted 400/8532 [ask] one two"),
        ({}, "1" * MOST_TO_COLLECT, 0, "RecognizeCompleted 200/8531 [ask]" + " one" * MOST_TO_COLLECT),
    ],
)
def test_how_a_recognition_ends(options: dict[str, Any], keys: str, seconds: float, result: str) -> None:
    call = one()
    recognize(call, **options)
    for key in keys:
        call.leg_dtmf("leg0", key, 11.0)
    since = 11.0 if keys else 10.0
    if seconds:
        call.advance(since + seconds - 0.01)
        assert told(call) == []
        assert call.next_deadline() == since + seconds
    call.advance(since + seconds)
    assert told(call) == [result]
    assert call.next_deadline() is None
    call.leg_dtmf("leg0", "1", 500.0)
    assert told(call) == []


def test_keys_of_others_do_not_count() -> None:
    call = group()
    recognize(call, OTHER, most=1)
    call.leg_dtmf("leg1", "1", 11.0)
    assert told(call) == []
    call.leg_dtmf("leg0", "2", 12.0)
    assert told(call) == ["RecognizeCompleted 200/8531 [ask] two"]


def test_with_one_other_person_recognitions_wait_for_each_other() -> None:
    call = one()
    recognize(call, context="first", most=1)
    recognize(call, context="second", most=1)
    call.leg_dtmf("leg0", "1", 11.0)
    assert told(call) == ["RecognizeCompleted 200/8531 [first] one"]
    assert call.next_deadline() == 16.0, "its silence begins when it does"
    call.leg_dtmf("leg0", "2", 13.0)
    assert told(call) == ["RecognizeCompleted 200/8531 [second] two"]


def test_so_many_may_wait() -> None:
    call = one()
    for number in range(MOST_ACTIONS):
        recognize(call, context=str(number))
    assert refusal(call, recognize) == "media_state"


def test_in_a_group_one_recognition_excludes_another_unless_it_interrupts() -> None:
    call = group()
    recognize(call, OTHER, context="first")
    assert refusal(call, recognize, THIRD) == "media_busy"
    recognize(call, THIRD, context="second", interrupt=True)
    assert told(call) == ["RecognizeCanceled 400/8508 [first]"]
    call.leg_dtmf("leg0", "1", 11.0)
    call.advance(15.0)
    assert told(call) == ["RecognizeFailed 400/8510 [second]"]


def test_all_that_runs_and_waits_can_be_cancelled() -> None:
    call = one()
    recognize(call, context="first")
    recognize(call, context="second")
    call.cancel_media(APP, 11.0)
    assert told(call) == ["RecognizeCanceled 400/8508 [first]", "RecognizeCanceled 400/8508 [second]"]
    assert call.next_deadline() is None


# ends ---------------------------------------------------------------------------------------------------------------


def test_the_participant_leaves_before_the_call_is_over() -> None:
    call = one()
    recognize(call, context="first")
    recognize(call, context="second")
    send(call, "1")
    call.drain()
    leaves("leg0")(call)
    assert told(call) == [
        "RecognizeFailed 400/8558 [first]",
        "RecognizeFailed 400/8558 [second]",
        f"SendDtmfTonesFailed 400/8558 [send] -> {ELSEWHERE}",
        "CallDisconnected 0/560000 [answered]",
    ]


def test_recognitions_of_others_go_on_when_one_leaves() -> None:
    call = created(OTHER, THIRD)
    up("leg0")(call)
    recognize(call, OTHER, context="first")
    recognize(call, OTHER, context="second")
    up("leg1")(call)
    recognize(call, THIRD, context="third")
    call.drain()
    leaves("leg0")(call)
    assert [line for line in told(call) if line.startswith("Recognize")] == [
        "RecognizeFailed 400/8558 [first]", "RecognizeFailed 400/8558 [second]",
    ]  # fmt: skip
    call.leg_dtmf("leg1", "1", 11.0)
    call.advance(13.0)
    assert told(call) == ["RecognizeCompleted 400/8532 [third] one"]


def test_the_next_begins_when_the_first_is_over() -> None:
    call = group()
    leaves("leg1")(call)
    recognize(call, OTHER, context="first")
    recognize(call, OTHER, context="second", initial_silence=7)
    call.drain()
    call.advance(15.0)
    assert told(call) == ["RecognizeFailed 400/8510 [first]"]
    assert call.next_deadline() == 22.0


@pytest.mark.parametrize("end", [hang_up(), shut_down])
@pytest.mark.parametrize("many", [False, True])
def test_the_app_leaves(end: Any, many: bool) -> None:
    call = group() if many else one()
    recognize(call, OTHER if many else CALLER)
    if not many:
        send(call, "1")
    call.drain()
    end(call)
    outputs = call.drain()
    events = [line(output) for output in outputs if isinstance(output, Notify)]
    sent = [] if many else [f"SendDtmfTonesFailed 400/8508 [send] -> {ELSEWHERE}"]
    assert events[:-1] == ["RecognizeCanceled 400/8508 [ask]", *sent]
    assert events[-1].startswith("CallDisconnected")
    assert many or any(isinstance(output, DropKeys) for output in outputs)
    assert call.next_deadline() is None
    call.key_sent("leg1", 20.0)
    assert not [output for output in call.drain() if not isinstance(output, LegLeft)]


# refusals -----------------------------------------------------------------------------------------------------------


def test_who_is_not_there_and_what_is_not_up() -> None:
    for ask in (lambda call, to: send(call, "1", to), listen, stop, recognize):
        assert refusal(one(), ask, OTHER) == "participant_not_found"
        ringing = created(OTHER)
        ringing.drain()
        assert refusal(ringing, ask, OTHER) == "call_not_established"
        over = one()
        hang_up()(over)
        over.drain()
        assert refusal(over, ask, CALLER) == "call_not_found"
