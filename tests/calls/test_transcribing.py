"""Transcription in a call, as stories: what is asked and reported, and all that the call says, line by line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.calls.stage import (
    APP,
    Input,
    answer,
    at,
    hang_up,
    incoming,
    leaves,
    line,
    played,
    said,
    shut_down,
    streaming,
    transcription,
    up,
)

from offhook.calls.actions import CloseTranscription, Notify, OpenTranscription
from offhook.calls.call import Call
from offhook.calls.transcribing import Fact
from offhook.errors import CallError
from offhook.wire.transcription import (
    StartTranscriptionRequest,
    StopTranscriptionRequest,
    UpdateTranscriptionRequest,
)

ELSEWHERE = "https://app.test/elsewhere"
CONNECTED = ["LegJoined leg0", "CallConnected [answered]", "ParticipantsUpdated #1 caller callee"]
ENDED = ["LegLeft leg0", "HangUpLeg leg0 ended_by_app"]


def start(context: str = "start", locale: str | None = None, model: str | None = None, uri: str | None = None) -> Input:
    request = StartTranscriptionRequest(
        locale=locale, speech_model_endpoint_id=model, operation_context=context, operation_callback_uri=uri
    )
    return lambda call: call.transcribe(APP, request, 4.0)


def stop(context: str = "stop") -> Input:
    return lambda call: call.transcribe(APP, StopTranscriptionRequest(operation_context=context), 4.0)


def update(locale: str, context: str = "update", model: str | None = None) -> Input:
    request = UpdateTranscriptionRequest(
        locale=locale, speech_model_endpoint_id=model, operation_context=context, operation_callback_uri=None
    )
    return lambda call: call.transcribe(APP, request, 4.0)


def told(fact: Fact, outcome: str = "", detail: str = "") -> Input:
    return lambda call: call.transcription(APP, fact, 4.0, outcome, detail)


def transcribed(**options: object) -> Input:
    return answer(transcribe=transcription(**options))  # type: ignore[arg-type]


LATER: list[tuple[Input, list[str]]] = [(transcribed(start=False), ["AnswerLeg leg0"]), (up("leg0"), CONNECTED)]
RUNNING: list[tuple[Input, list[str]]] = [
    (transcribed(), ["AnswerLeg leg0", "OpenTranscription app en-US"]),
    (up("leg0"), CONNECTED),
    (told("opened"), ["TranscriptionStarted subscriptionStarted [answered]"]),
]

STORIES: dict[str, list[tuple[Input, list[str]]]] = {
    "with the call: its news waits for CallConnected": [
        (transcribed(), ["AnswerLeg leg0", "OpenTranscription app en-US"]),
        (told("opened"), []),
        (up("leg0"), [*CONNECTED, "TranscriptionStarted subscriptionStarted [answered]"]),
    ],
    "beside a stream of audio": [
        (
            answer(streaming(), transcription()),
            ["AnswerLeg leg0", "OpenTranscription app en-US", "OpenStream app"],
        ),
        (up("leg0"), CONNECTED),
        (hang_up(), [*ENDED, "CloseTranscription app", "CloseStream app", "CallDisconnected 200/7000 [answered]",
                     "CallEnded ended_by_app"]),
        (told("closed"), []),
    ],
    "started, stopped and started again, each with its own context and callback": [
        *LATER,
        (stop(), ["refused: media_state"]),
        (update("en-GB"), ["refused: media_state"]),
        (start("a", uri=ELSEWHERE), ["OpenTranscription app en-US"]),
        (start("b"), ["refused: media_state"]),
        (told("opened"), [f"TranscriptionStarted subscriptionStarted [a] -> {ELSEWHERE}"]),
        (told("reestablished"), ["TranscriptionStarted streamConnectionReestablished [a]"]),
        (stop("c"), ["CloseTranscription app"]),
        (start("d"), ["refused: media_state"]),
        (told("closed"), ["TranscriptionStopped subscriptionStopped [c]"]),
        (start("e", "en-AU"), ["OpenTranscription app en-AU"]),
        (told("opened"), ["TranscriptionStarted subscriptionStarted [e]"]),
    ],
    "another language, and one that the recogniser does not know: it goes on": [
        *RUNNING,
        (update("en-GB", "a"), ["UpdateTranscription app en-GB"]),
        (told("updated"), ["TranscriptionUpdated transcriptionLocaleUpdated [a]"]),
        (update("xx", "b"), ["UpdateTranscription app xx"]),
        (told("update_failed", "speech_language"),
         ["TranscriptionFailed 400/8565 speechServicesConnectionError [b]"]),
        (told("updated"), []),
        (stop("c"), ["CloseTranscription app"]),
    ],
    "a change that the stop overtakes has no result": [
        *RUNNING,
        (update("en-GB", "a"), ["UpdateTranscription app en-GB"]),
        (stop("b"), ["CloseTranscription app"]),
        (told("updated"), []),
        (told("closed"), ["TranscriptionStopped subscriptionStopped [b]"]),
    ],
    "a change that a failure overtakes does not answer a later one": [
        *RUNNING,
        (update("en-GB", "a"), ["UpdateTranscription app en-GB"]),
        (told("failed", "stream_lost"), ["TranscriptionFailed 500/8578 streamConnectionInterrupted [answered]"]),
        (start("b"), ["OpenTranscription app en-US"]),
        (told("opened"), ["TranscriptionStarted subscriptionStarted [b]"]),
        (update("en-AU", "c"), ["UpdateTranscription app en-AU"]),
        (told("updated"), ["TranscriptionUpdated transcriptionLocaleUpdated [c]"]),
        (told("updated"), []),
    ],
    "stopped before it was open": [
        *LATER,
        (start("a"), ["OpenTranscription app en-US"]),
        (stop("b"), ["CloseTranscription app", "TranscriptionFailed 500/8579 subscriptionStopped [a]"]),
        (told("opened"), []),
        (told("closed"), ["TranscriptionStopped subscriptionStopped [b]"]),
    ],
    "not configured, or without a URL": [
        (answer(), ["AnswerLeg leg0"]),
        (start(), ["refused: call_not_established"]),
        (up("leg0"), CONNECTED),
        (start(), ["refused: transcription_not_configured"]),
        (stop(), ["refused: transcription_not_configured"]),
        (update("en-US"), ["refused: transcription_not_configured"]),
    ],
    "options without a URL": [
        (transcribed(url=None), ["AnswerLeg leg0"]),
        (up("leg0"), [*CONNECTED, "TranscriptionFailed 400/8581 streamUrlMissing [answered]"]),
        (start(), ["refused: transcription_not_configured"]),
    ],
    "a model of the app's own, with the call": [
        (transcribed(model="m"), ["AnswerLeg leg0"]),
        (up("leg0"), [*CONNECTED, "TranscriptionFailed 400/8605 badRequest [answered]"]),
        (start(), ["refused: speech_model_not_supported"]),
    ],
    "a model of the app's own, later": [
        *LATER,
        (start(model="m"), ["refused: speech_model_not_supported"]),
        (start(), ["OpenTranscription app en-US"]),
        (told("opened"), ["TranscriptionStarted subscriptionStarted [start]"]),
        (update("en-GB", model="m"), ["refused: speech_model_not_supported"]),
    ],
    "no recogniser": [
        *LATER,
        (start(), ["OpenTranscription app en-US"]),
        (told("failed", "speech_not_set_up"),
         ["TranscriptionFailed 400/8565 speechServicesConnectionError [start]"]),
        (told("failed", "stream_lost"), []),
        (start("again"), ["OpenTranscription app en-US"]),
    ],
    "nobody there, not let in, lost in mid-call": [
        *LATER,
        (start("a"), ["OpenTranscription app en-US"]),
        (told("failed", "stream_url_invalid"), ["TranscriptionFailed 400/8581 streamConnectionUnsuccessful [a]"]),
        (start("b"), ["OpenTranscription app en-US"]),
        (told("failed", "stream_auth_refused"), ["TranscriptionFailed 400/8581 authenticationFailure [b]"]),
        (start("c"), ["OpenTranscription app en-US"]),
        (told("opened"), ["TranscriptionStarted subscriptionStarted [c]"]),
        (told("failed", "stream_lost"), ["TranscriptionFailed 500/8578 streamConnectionInterrupted [c]"]),
        (stop(), ["refused: media_state"]),
    ],
    "the app closes in order": [
        *RUNNING,
        (told("closed_by_app"), ["TranscriptionStopped subscriptionStopped [answered]"]),
        (told("closed_by_app"), []),
        (start(), ["OpenTranscription app en-US"]),
    ],
    "the caller leaves": [
        *RUNNING,
        (leaves("leg0"), ["LegLeft leg0", "CloseTranscription app", "CallDisconnected 0/560000 [answered]",
                          "CallEnded far_end_hung_up_pstn"]),
    ],
    "the node stops": [
        *RUNNING,
        (shut_down, ["LegLeft leg0", "HangUpLeg leg0 service_stopping",
                     "TranscriptionFailed 500/8580 serviceShutdown", "CloseTranscription app",
                     "CallDisconnected 0/7000 [answered]", "CallEnded service_stopping"]),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", STORIES)
def test_a_story_is_told_line_by_line(name: str) -> None:
    call = incoming()
    for number, (step, expected) in enumerate(STORIES[name]):
        assert played(call, step) == expected, f"step {number + 1}"


FACTS: list[Fact] = ["opened", "reestablished", "failed", "closed_by_app", "closed", "updated", "update_failed"]


@given(st.lists(st.one_of(st.sampled_from(FACTS), st.sampled_from(["start", "stop", "update"])), max_size=40))
def test_in_any_order_each_request_has_one_result(steps: list[str]) -> None:
    """Sockets are opened and closed in turn; late and untimely facts change nothing."""
    call = incoming()
    transcribed(start=False)(call)
    up("leg0")(call)
    call.drain()
    there, results, accepted = False, list[tuple[str, str | None]](), list[str]()
    for number, step in enumerate(steps):
        context = f"{step} {number}"
        if step == "closed" and there:
            continue  # the node says so only of what it was asked to close
        if step in ("failed", "closed_by_app"):
            there = False
        try:
            {"start": start(context), "stop": stop(context), "update": update("en-GB", context)}.get(
                step,
                told(step, "speech_failed"),  # type: ignore[arg-type]
            )(call)
            accepted.append(context)
        except CallError as refused:
            assert refused.outcome == "media_state" and not call.drain()
        for output in call.drain():
            if isinstance(output, OpenTranscription):
                assert not there, "opened twice"
                there = True
            elif isinstance(output, CloseTranscription):
                there = False
            elif isinstance(output, Notify) and "Reestablished" not in line(output):
                results.append((output.event.name, output.event.operation_context))
    assert len(set(results)) == len(results), "a result came twice"
    started = [context for name, context in results if name == "TranscriptionStarted"]
    assert {context for _, context in results} <= set(accepted)
    assert all(context is not None and context.startswith("start") for context in started)
    stops = [context for context in accepted if context.startswith("stop")]
    stopped = [context for name, context in results if name == "TranscriptionStopped"]
    assert len([context for context in stops if context not in stopped]) <= 1, "only the last may still be under way"
    shut_down(call)
    assert sum(isinstance(output, CloseTranscription) for output in call.drain()) == there


def test_what_the_app_sees() -> None:
    call = incoming()
    answer(streaming(), transcription(start=False))(call)

    def seen(call: Call) -> tuple[str, str | None]:
        subscription = call.properties(APP).transcription_subscription
        assert subscription is not None and subscription.subscribed_result_types == ("final", "intermediate")
        return subscription.state, subscription.locale

    assert seen(call) == ("inactive", "en-US")
    for step, expected in (
        (up("leg0"), ("inactive", "en-US")),
        (start("a", "en-GB"), ("active", "en-GB")),
        (told("opened"), ("active", "en-GB")),
        (update("en-AU"), ("active", "en-GB")),
        (told("updated"), ("active", "en-AU")),
        (stop(), ("inactive", "en-AU")),
        (told("closed"), ("inactive", "en-AU")),
        (at(9.0), ("inactive", "en-AU")),
    ):
        step(call)
        assert seen(call) == expected
    audio = call.properties(APP).media_streaming_subscription
    words = call.properties(APP).transcription_subscription
    assert audio is not None and words is not None and audio.id != words.id
    plain = incoming()
    answer()(plain)
    assert plain.properties(APP).transcription_subscription is None


def test_the_node_is_told_where_to_dial() -> None:
    call = incoming()
    said(call)
    answer(transcribe=transcription())(call)
    (opened,) = [output for output in call.drain() if isinstance(output, OpenTranscription)]
    assert opened.options.transport_url == "wss://app.test/transcripts" and opened.locale == "en-US"
    words = call.properties(APP).transcription_subscription
    assert words is not None and opened.subscription_id == words.id
