"""Each flow of a call as a story: what is done to it, and all that it says, line by line and in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
from tests.calls.stage import (
    FOURTH,
    OTHER,
    THIRD,
    Input,
    answer,
    at,
    created,
    fails,
    hang_up,
    incoming,
    leaves,
    played,
    reannounce,
    redirect,
    reject,
    rings,
    said,
    shut_down,
    start,
    stop,
    stream_closed,
    stream_closed_by_app,
    stream_fails,
    stream_opened,
    stream_reestablished,
    streaming,
    terminate,
    transcription,
    up,
)

from offhook.calls.call import Call


class Story(NamedTuple):
    name: str
    opening: Callable[[], Call]
    steps: list[tuple[Input, list[str]]]


def one(target_stream: bool = False) -> Callable[[], Call]:
    return lambda: created(OTHER, stream=streaming() if target_stream else None)


def two() -> Call:
    return created(OTHER, THIRD)


ELSEWHERE = "https://app.test/elsewhere"
ANSWERED = (answer(), ["AnswerLeg leg0"])
CONNECTED = (up("leg0"), ["LegJoined leg0", "CallConnected [answered]", "ParticipantsUpdated #1 caller callee"])
STREAMING = (answer(streaming()), ["AnswerLeg leg0", "OpenStream app"])
OPENED = (stream_opened, ["MediaStreamingStarted subscriptionStarted [answered]"])
LATER = (answer(streaming(start=False)), ["AnswerLeg leg0"])
GROUP: list[tuple[Input, list[str]]] = [
    (up("leg0"), ["LegJoined leg0", "CallConnected [created]", "ParticipantsUpdated #1 other callee"]),
    (up("leg1"), ["LegJoined leg1", "ParticipantsUpdated #2 other third callee"]),
]

INBOUND = [
    Story("answered, then the app hangs up (5.7, recorded 200/7000)", incoming, [
        ANSWERED,
        CONNECTED,
        (hang_up(), ["LegLeft leg0", "HangUpLeg leg0 ended_by_app", "CallDisconnected 200/7000 [answered]",
                     "CallEnded ended_by_app"]),
    ]),
    Story("the phone hangs up (5.8: 0/560000)", incoming, [
        ANSWERED,
        CONNECTED,
        (leaves("leg0"), ["LegLeft leg0", "CallDisconnected 0/560000 [answered]", "CallEnded far_end_hung_up_pstn"]),
    ]),
    Story("a user of the resource hangs up", lambda: incoming(THIRD), [
        ANSWERED,
        (up("leg0"), ["LegJoined leg0", "CallConnected [answered]", "ParticipantsUpdated #1 third callee"]),
        (leaves("leg0"), ["LegLeft leg0", "CallDisconnected 0/5003 [answered]", "CallEnded far_end_left"]),
    ]),
    Story("media lost says so", incoming, [
        ANSWERED,
        CONNECTED,
        (leaves("leg0", "media_lost"), ["LegLeft leg0", "CallDisconnected 410/301005 [answered]",
                                        "CallEnded media_lost"]),
    ]),
    Story("an outcome that the table lacks is a plain failure", incoming, [
        ANSWERED,
        CONNECTED,
        (leaves("leg0", "no such row"), ["LegLeft leg0", "CallDisconnected 500/9999 [answered]",
                                         "CallEnded leg_failed"]),
    ]),
    Story("terminated", incoming, [
        ANSWERED,
        CONNECTED,
        (terminate(), ["LegLeft leg0", "HangUpLeg leg0 ended_by_app", "CallDisconnected 200/7000 [answered]",
                       "CallEnded ended_by_app"]),
        (terminate(), ["refused: call_not_found"]),
        (hang_up(), ["refused: call_not_found"]),
        (start(), ["refused: call_not_found"]),
    ]),
    Story("rejected: the app hears nothing (5.1)", incoming, [
        (reject(), ["RejectLeg leg0 rejected", "CallEnded rejected"]),
        (answer(), ["refused: call_not_found"]),
    ]),
    Story("rejected as busy", incoming, [(reject("busy"), ["RejectLeg leg0 busy", "CallEnded busy"])]),
    Story("rejected as forbidden", incoming, [(reject("forbidden"), ["RejectLeg leg0 refused", "CallEnded refused"])]),
    Story("a reject reason nobody knows", incoming, [
        (reject("bored"), ["refused: invalid_argument"]),
        ANSWERED,
    ]),
    Story("nobody decides in 30 s (7; 5.8: 487/10004)", incoming, [
        (at(29.999), []),
        (at(30.0), ["RejectLeg leg0 not_answered", "CallEnded not_answered"]),
        (at(31.0), []),
        (answer(), ["refused: call_not_found"]),
    ]),
    Story("the caller gives up while ringing", incoming, [
        (leaves("leg0"), ["CallEnded gave_up"]),
        (answer(), ["refused: call_not_found"]),
        (up("leg0"), []),
    ]),
    Story("the caller gives up while being answered (5.8: 487/0)", incoming, [
        STREAMING,
        (leaves("leg0"), ["CloseStream app", "AnswerFailed 487/0 [answered]", "CallEnded gave_up"]),
        (stream_opened, []),
        (stream_closed, []),
    ]),
    Story("the caller's leg cannot be brought up", incoming, [
        ANSWERED,
        (fails("leg0", "media_lost"), ["AnswerFailed 410/301005 [answered]", "CallEnded media_lost"]),
    ]),
    Story("the caller's leg hangs half-way (5.8: 408/10057)", incoming, [
        ANSWERED,
        (at(30.9), []),
        (at(31.0), ["HangUpLeg leg0 set_up_timeout", "AnswerFailed 408/10057 [answered]", "CallEnded set_up_timeout"]),
    ]),
    Story("the app hangs up while the leg comes up", incoming, [
        ANSWERED,
        (hang_up(), ["HangUpLeg leg0 ended_by_app", "AnswerFailed 200/7000 [answered]",
                     "CallDisconnected 200/7000 [answered]", "CallEnded ended_by_app"]),
    ]),
    Story("two answers for one context (9 row 14)", incoming, [
        ANSWERED,
        (answer(), ["refused: context_spent"]),
        (reject(), ["refused: context_spent"]),
        (redirect(), ["refused: context_spent"]),
        (reannounce(), ["refused: context_spent"]),
        CONNECTED,
        (answer(), ["refused: context_spent"]),
    ]),
    Story("transcription that is not started says nothing", incoming, [
        (answer(transcribe=transcription(start=False)), ["AnswerLeg leg0"]),
        CONNECTED,
    ]),
    Story("reports that come twice or about nobody", incoming, [
        (up("leg0"), []),
        ANSWERED,
        CONNECTED,
        (up("leg0"), []),
        (up("nobody"), []),
        (leaves("nobody"), []),
        (rings("leg0"), []),
    ]),
    Story("the node stops while it rings", incoming, [
        (shut_down, ["RejectLeg leg0 service_stopping", "CallEnded service_stopping"]),
        (shut_down, []),
    ]),
    Story("the node stops while answering", incoming, [
        ANSWERED,
        (shut_down, ["HangUpLeg leg0 service_stopping", "AnswerFailed 0/7000 [answered]",
                     "CallDisconnected 0/7000 [answered]", "CallEnded service_stopping"]),
    ]),
    Story("the node stops in mid-call", incoming, [
        STREAMING,
        CONNECTED,
        OPENED,
        (shut_down, ["LegLeft leg0", "HangUpLeg leg0 service_stopping", "CloseStream app",
                     "CallDisconnected 0/7000 [answered]", "CallEnded service_stopping"]),
    ]),
]

REDIRECTS = [
    Story("to a phone that answers", incoming, [
        (redirect(), ["DialLeg leg1"]),
        (rings("leg1"), []),
        (up("leg0"), []),
        (up("leg1"), ["AnswerLeg leg0"]),
        (up("leg1"), []),
        (up("leg0"), ["LegJoined leg0", "LegJoined leg1"]),
        (answer(), ["refused: context_spent"]),
        (hang_up(), ["refused: call_not_found"]),
        (leaves("leg1"), ["LegLeft leg1", "LegLeft leg0", "HangUpLeg leg0 far_end_hung_up_pstn",
                          "CallEnded far_end_hung_up_pstn"]),
    ]),
    Story("to a phone that is busy: so is the caller told", incoming, [
        (redirect(), ["DialLeg leg1"]),
        (fails("leg1", "busy"), ["RejectLeg leg0 busy", "CallEnded busy"]),
    ]),
    Story("to a phone that vanishes while it rings", incoming, [
        (redirect(), ["DialLeg leg1"]),
        (leaves("leg1"), ["RejectLeg leg0 unreachable", "CallEnded unreachable"]),
    ]),
    Story("to a phone that never answers", incoming, [
        (redirect(), ["DialLeg leg1"]),
        (at(31.0), ["RejectLeg leg0 not_answered", "HangUpLeg leg1 not_answered", "CallEnded not_answered"]),
    ]),
    Story("and the caller gives up", incoming, [
        (redirect(), ["DialLeg leg1"]),
        (leaves("leg0"), ["HangUpLeg leg1 gave_up", "CallEnded gave_up"]),
    ]),
    Story("and the caller gives up at the last moment", incoming, [
        (redirect(), ["DialLeg leg1"]),
        (up("leg1"), ["AnswerLeg leg0"]),
        (leaves("leg0"), ["HangUpLeg leg1 gave_up", "CallEnded gave_up"]),
    ]),
    Story("and the caller's leg hangs half-way", incoming, [
        (redirect(), ["DialLeg leg1"]),
        (up("leg1"), ["AnswerLeg leg0"]),
        (at(32.0), ["HangUpLeg leg0 set_up_timeout", "HangUpLeg leg1 set_up_timeout", "CallEnded set_up_timeout"]),
    ]),
    Story("onto a leg that is in the call", incoming, [
        (redirect(leg="leg0"), ["refused: conflict"]),
        ANSWERED,
    ]),
    Story("to somebody whom an app watches: it rings anew, with a new deadline", incoming, [
        (reannounce(), ["AnnounceCall"]),
        (at(30.0), []),
        (at(31.0), ["RejectLeg leg0 not_answered", "CallEnded not_answered"]),
    ]),
    Story("to somebody whom an app watches, who answers", incoming, [
        (reannounce(), ["AnnounceCall"]),
        (answer(), ["AnswerLeg leg0"]),
        (up("leg0"), ["LegJoined leg0", "CallConnected [answered]", "ParticipantsUpdated #1 caller third"]),
    ]),
    Story("in a circle", lambda: incoming(max_hops=2), [
        (reannounce(), ["AnnounceCall"]),
        (reannounce(), ["AnnounceCall"]),
        (reannounce(), ["refused: conflict"]),
        (reject(), ["RejectLeg leg0 rejected", "CallEnded rejected"]),
    ]),
    Story("and the node stops", incoming, [
        (redirect(), ["DialLeg leg1"]),
        (shut_down, ["RejectLeg leg0 service_stopping", "HangUpLeg leg1 service_stopping",
                     "CallEnded service_stopping"]),
    ]),
]

OUTBOUND = [
    Story("answered, the callee hangs up", one(), [
        (rings("leg0"), []),
        (up("leg0"), ["LegJoined leg0", "CallConnected [created]", "ParticipantsUpdated #1 other callee"]),
        (answer(), ["refused: context_spent"]),
        (at(100.0), []),
        (leaves("leg0"), ["LegLeft leg0", "CallDisconnected 0/560000 [created]", "CallEnded far_end_hung_up_pstn"]),
    ]),
    Story("with streaming: dialled once somebody is there", one(target_stream=True), [
        (up("leg0"), ["LegJoined leg0", "OpenStream app", "CallConnected [created]",
                      "ParticipantsUpdated #1 other callee"]),
        (stream_opened, ["MediaStreamingStarted subscriptionStarted [created]"]),
    ]),
    Story("rejected: both events, as recorded (200/5002)", one(), [
        (fails("leg0", "rejected"), ["CreateCallFailed 200/5002 [created]", "CallDisconnected 200/5002 [created]",
                                     "CallEnded rejected"]),
    ]),
    Story("declined is rejected, as recorded", one(), [
        (fails("leg0", "declined"), ["CreateCallFailed 200/5002 [created]", "CallDisconnected 200/5002 [created]",
                                     "CallEnded rejected"]),
    ]),
    Story("busy", one(), [(fails("leg0", "busy"), ["CreateCallFailed 486/560486 [created]", "CallEnded busy"])]),
    Story("nobody there", one(), [
        (fails("leg0", "unreachable", "run this"), ["CreateCallFailed 404/8544 [created]", "CallEnded unreachable"]),
    ]),
    Story("not answered in 30 s", one(), [
        (at(29.9), []),
        (at(30.0), ["HangUpLeg leg0 not_answered", "CreateCallFailed 487/10004 [created]", "CallEnded not_answered"]),
        (up("leg0"), []),
    ]),
    Story("the app gives up", one(), [
        (start(), ["refused: call_not_established"]),
        (stop(), ["refused: call_not_established"]),
        (hang_up(), ["HangUpLeg leg0 ended_by_app", "CreateCallFailed 200/7000 [created]",
                     "CallDisconnected 200/7000 [created]", "CallEnded ended_by_app"]),
    ]),
    Story("nobody can answer a call that was never announced", one(), [(answer(), ["refused: call_not_found"])]),
    Story("the node stops", one(), [
        (shut_down, ["HangUpLeg leg0 service_stopping", "CreateCallFailed 0/7000 [created]",
                     "CallDisconnected 0/7000 [created]", "CallEnded service_stopping"]),
    ]),
]

GROUPS = [
    Story("one answers, one does not", two, [
        GROUP[0],
        (fails("leg1", "busy"), []),
        (at(31.0), []),
    ]),
    Story("one answers, one rings too long", two, [
        GROUP[0],
        (at(30.0), ["HangUpLeg leg1 not_answered"]),
        (leaves("leg0"), ["LegLeft leg0", "CallDisconnected 0/560000 [created]", "CallEnded far_end_hung_up_pstn"]),
    ]),
    Story("one answers and leaves while the other still rings", two, [
        GROUP[0],
        (leaves("leg0"), ["LegLeft leg0", "ParticipantsUpdated #2 callee"]),
        (up("leg1"), ["LegJoined leg1", "ParticipantsUpdated #3 third callee"]),
    ]),
    Story("one answers and leaves, the other never answers", two, [
        GROUP[0],
        (leaves("leg0"), ["LegLeft leg0", "ParticipantsUpdated #2 callee"]),
        (at(30.0), ["HangUpLeg leg1 not_answered", "CallDisconnected 487/10004 [created]", "CallEnded not_answered"]),
    ]),
    Story("all fail: the last one's outcome", two, [
        (fails("leg0", "busy"), []),
        (fails("leg1", "unreachable"), ["CreateCallFailed 404/8544 [created]", "CallEnded unreachable"]),
    ]),
    Story("people leave one by one", two, [
        *GROUP,
        (leaves("leg0"), ["LegLeft leg0", "ParticipantsUpdated #3 third callee"]),
        (leaves("leg1"), ["LegLeft leg1", "CallDisconnected 0/5003 [created]", "CallEnded far_end_left"]),
    ]),
    Story("the app leaves, the others talk on (5.7)", two, [
        *GROUP,
        (hang_up(), ["CallDisconnected 200/7000 [created]"]),
        (hang_up(), ["refused: call_not_found"]),
        (leaves("leg1"), ["LegLeft leg1", "LegLeft leg0", "HangUpLeg leg0 far_end_left", "CallEnded far_end_left"]),
    ]),
    Story("the app leaves while a third one rings", lambda: created(OTHER, THIRD, FOURTH), [
        (up("leg0"), ["LegJoined leg0", "CallConnected [created]", "ParticipantsUpdated #1 other callee"]),
        (up("leg1"), ["LegJoined leg1", "ParticipantsUpdated #2 other third callee"]),
        (hang_up(), ["HangUpLeg leg2 ended_by_app", "CallDisconnected 200/7000 [created]"]),
        (at(100.0), []),
    ]),
    Story("the app ends it for all", two, [
        *GROUP,
        (terminate(), ["LegLeft leg0", "HangUpLeg leg0 ended_by_app", "LegLeft leg1", "HangUpLeg leg1 ended_by_app",
                       "CallDisconnected 200/7000 [created]", "CallEnded ended_by_app"]),
    ]),
]

STREAMS = [
    Story("open before the leg: its news waits for CallConnected (2.1)", incoming, [
        STREAMING,
        (stream_opened, []),
        (up("leg0"), ["LegJoined leg0", "CallConnected [answered]", "ParticipantsUpdated #1 caller callee",
                      "MediaStreamingStarted subscriptionStarted [answered]"]),
    ]),
    Story("failed before the leg: the call lives on (2.10)", incoming, [
        STREAMING,
        (stream_fails(), []),
        (up("leg0"), ["LegJoined leg0", "CallConnected [answered]", "ParticipantsUpdated #1 caller callee",
                      "MediaStreamingFailed 400/8581 initialWebSocketConnectionFailed [answered]"]),
        (start(), ["OpenStream app"]),
        (stream_opened, ["MediaStreamingStarted subscriptionStarted [start]"]),
    ]),
    Story("started, stopped and started again, each with its own context", incoming, [
        LATER,
        CONNECTED,
        (stop(), ["refused: media_state"]),
        (start("a"), ["OpenStream app"]),
        (start("b"), ["refused: media_state"]),
        (stream_opened, ["MediaStreamingStarted subscriptionStarted [a]"]),
        (start("b"), ["refused: media_state"]),
        (stop("c"), ["CloseStream app"]),
        (stop("d"), ["refused: media_state"]),
        (start("d"), ["refused: media_state"]),
        (stream_closed, ["MediaStreamingStopped subscriptionStopped [c]"]),
        (stream_closed, []),
        (start(None), ["OpenStream app"]),
        (stream_opened, ["MediaStreamingStarted subscriptionStarted"]),
        (hang_up(), ["LegLeft leg0", "HangUpLeg leg0 ended_by_app", "CloseStream app",
                     "CallDisconnected 200/7000 [answered]", "CallEnded ended_by_app"]),
        (stream_closed, []),
    ]),
    Story("an operation's own callback gets that one result, nothing else (3.3)", incoming, [
        LATER,
        CONNECTED,
        (start("a", ELSEWHERE), ["OpenStream app"]),
        (stream_opened, [f"MediaStreamingStarted subscriptionStarted [a] -> {ELSEWHERE}"]),
        (stream_reestablished, ["MediaStreamingStarted streamConnectionReestablished [a]"]),
        (stop("b", ELSEWHERE), ["CloseStream app"]),
        (stream_closed, [f"MediaStreamingStopped subscriptionStopped [b] -> {ELSEWHERE}"]),
        (start("c", ELSEWHERE), ["OpenStream app"]),
        (stream_fails("stream_auth_refused"),
         [f"MediaStreamingFailed 400/8581 authenticationFailure [c] -> {ELSEWHERE}"]),
        (hang_up(), ["LegLeft leg0", "HangUpLeg leg0 ended_by_app", "CallDisconnected 200/7000 [answered]",
                     "CallEnded ended_by_app"]),
    ]),
    Story("no options at set-up (2.1)", incoming, [
        ANSWERED,
        CONNECTED,
        (start(), ["refused: streaming_not_configured"]),
        (stop(), ["refused: streaming_not_configured"]),
    ]),
    Story("options without a URL", incoming, [
        (answer(streaming(url=None)), ["AnswerLeg leg0"]),
        (up("leg0"), ["LegJoined leg0", "CallConnected [answered]", "ParticipantsUpdated #1 caller callee",
                      "MediaStreamingFailed 400/8581 streamUrlMissing [answered]"]),
        (start(), ["refused: streaming_not_configured"]),
    ]),
    Story("before the call is connected (3.7: 8501)", incoming, [
        STREAMING,
        (start(), ["refused: call_not_established"]),
        (stop(), ["refused: call_not_established"]),
    ]),
    Story("the app closes in order: Stopped, and it may start again (9 row 20)", incoming, [
        STREAMING,
        CONNECTED,
        OPENED,
        (stream_closed_by_app, ["MediaStreamingStopped subscriptionStopped [answered]"]),
        (stream_closed_by_app, []),
        (stop(), ["refused: media_state"]),
        (start(), ["OpenStream app"]),
    ]),
    Story("lost for good in mid-call", incoming, [
        STREAMING,
        CONNECTED,
        OPENED,
        (stream_fails("stream_lost"), ["MediaStreamingFailed 500/8603 streamConnectionInterrupted [answered]"]),
        (stream_fails("stream_lost"), []),
        (stream_opened, []),
        (stream_reestablished, []),
    ]),
    Story("stopped before it was open: both requests get their result", incoming, [
        LATER,
        CONNECTED,
        (start("a"), ["OpenStream app"]),
        (stop("b"), ["CloseStream app", "MediaStreamingFailed 500/8603 streamConnectionUnsuccessful [a]"]),
        (stream_opened, []),
        (stream_closed, ["MediaStreamingStopped subscriptionStopped [b]"]),
    ]),
    Story("the socket breaks, or the app closes, while we close it: stopped, as asked", incoming, [
        LATER,
        CONNECTED,
        (start("a"), ["OpenStream app"]),
        (stream_opened, ["MediaStreamingStarted subscriptionStarted [a]"]),
        (stop("b"), ["CloseStream app"]),
        (stream_fails("stream_lost"), ["MediaStreamingStopped subscriptionStopped [b]"]),
        (start("c"), ["OpenStream app"]),
        (stream_opened, ["MediaStreamingStarted subscriptionStarted [c]"]),
        (stop("d"), ["CloseStream app"]),
        (stream_closed_by_app, ["MediaStreamingStopped subscriptionStopped [d]"]),
    ]),
    Story("the call ends while the stream is being closed", incoming, [
        STREAMING,
        CONNECTED,
        OPENED,
        (stop("b"), ["CloseStream app"]),
        (leaves("leg0"), ["LegLeft leg0", "CallDisconnected 0/560000 [answered]", "CallEnded far_end_hung_up_pstn"]),
        (stream_closed, []),
    ]),
]

@pytest.mark.parametrize("story", [*INBOUND, *REDIRECTS, *OUTBOUND, *GROUPS, *STREAMS], ids=lambda story: story.name)
def test_a_story_is_told_line_by_line(story: Story) -> None:
    call = story.opening()
    for number, (given, expected) in enumerate(story.steps):
        assert played(call, given) == expected, f"step {number + 1}"


def test_an_incoming_call_announces_itself_and_an_outgoing_one_dials() -> None:
    assert said(incoming()) == ["AnnounceCall"]
    assert said(two()) == ["DialLeg leg0", "DialLeg leg1"]

