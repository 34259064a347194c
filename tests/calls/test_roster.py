"""Participants come, go and fall silent: each story line by line (protocol.md §§3.2, 5.5, 5.7, 5.8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
from tests.calls.stage import (
    APP,
    CALLEE,
    CALLER,
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
    rings,
    terminate,
    up,
)

from offhook.calls.actions import DialLeg, Notify
from offhook.calls.call import Call
from offhook.calls.roster import MOST_PARTICIPANTS
from offhook.errors import CallError
from offhook.wire.events import AddParticipantFailed
from offhook.wire.identifiers import Identifier, phone_number
from offhook.wire.participants import (
    AddParticipantRequest,
    CancelAddParticipantRequest,
    MuteParticipantsRequest,
    RemoveParticipantRequest,
    UnmuteParticipantsRequest,
)

ELSEWHERE = "https://app.test/elsewhere"


class Story(NamedTuple):
    name: str
    opening: Callable[[], Call]
    steps: list[tuple[Input, list[str]]]


def add(person: Identifier, leg: str = "leg1", seconds: int | None = None, uri: str | None = None) -> Input:
    """Invite somebody; the invitation is named after the leg."""
    request = AddParticipantRequest(
        participant_to_add=person, invitation_timeout=seconds, operation_context="add", operation_callback_uri=uri
    )
    return lambda call: call.add_participant(APP, f"invitation {leg}", leg, request, 10.0)


def cancel(leg: str = "leg1", uri: str | None = None) -> Input:
    request = CancelAddParticipantRequest(
        invitation_id=f"invitation {leg}", operation_context="cancel", operation_callback_uri=uri
    )
    return lambda call: call.cancel_add_participant(APP, request, 11.0)


def remove(person: Identifier, uri: str | None = None) -> Input:
    request = RemoveParticipantRequest(
        participant_to_remove=person, operation_context="remove", operation_callback_uri=uri
    )
    return lambda call: call.remove_participant(APP, request, 12.0)


def mute(*people: Identifier) -> Input:
    request = MuteParticipantsRequest(target_participants=people, operation_context="mute")
    return lambda call: call.mute_participants(APP, request, 13.0)


def unmute(*people: Identifier) -> Input:
    return lambda call: call.mute_participants(APP, UnmuteParticipantsRequest(target_participants=people), 13.5)


def talking() -> Call:
    """The caller and the app."""
    call = incoming()
    answer()(call)
    up("leg0")(call)
    return call


def three() -> Call:
    """The caller, somebody who was added, and the app."""
    call = talking()
    add(OTHER)(call)
    up("leg1")(call)
    return call


STORIES = [
    Story("somebody is added, and leaves (5.7)", talking, [
        (add(OTHER), ["DialLeg leg1"]),
        (rings("leg1"), []),
        (up("leg1"), ["LegJoined leg1", "AddParticipantSucceeded [add]", "ParticipantsUpdated #2 caller other callee"]),
        (at(999.0), []),
        (leaves("leg1"), ["LegLeft leg1", "ParticipantsUpdated #3 caller callee"]),
    ]),
    Story("the result goes where that one request wants it; the roster does not (3.3)", talking, [
        (add(OTHER, uri=ELSEWHERE), ["DialLeg leg1"]),
        (up("leg1"), ["LegJoined leg1", f"AddParticipantSucceeded [add] -> {ELSEWHERE}",
                      "ParticipantsUpdated #2 caller other callee"]),
        (remove(OTHER, ELSEWHERE), ["LegLeft leg1", "HangUpLeg leg1 removed",
                                    f"RemoveParticipantSucceeded [remove] -> {ELSEWHERE}",
                                    "ParticipantsUpdated #3 caller callee"]),
        (cancel(uri=ELSEWHERE), [f"CancelAddParticipantFailed 404/8522 [cancel] -> {ELSEWHERE}"]),
    ]),
    *(
        Story(f"who is added {how} (5.8)", talking, [
            (add(OTHER), ["DialLeg leg1"]),
            (fails("leg1", outcome), [f"AddParticipantFailed {codes} [add]"]),
            (fails("leg1", outcome), []),
            (add(OTHER), ["DialLeg leg1"]),
        ])
        for how, outcome, codes in (
            ("is busy", "busy", "486/560486"),
            ("declines", "declined", "603/0"),
            ("cannot be reached", "unreachable", "404/8544"),
            ("goes without a word", "", "404/8544"),
            ("fails in a way that the table lacks", "?", "500/9999"),
        )
    ),
    Story("who is added does not answer in the time that was given (5.8)", talking, [
        (add(OTHER, seconds=5), ["DialLeg leg1"]),
        (at(14.9), []),
        (at(15.0), ["HangUpLeg leg1 not_answered", "AddParticipantFailed 487/10004 [add]"]),
        (up("leg1"), []),
        (at(99.0), []),
    ]),
    Story("or in a minute, where none was given (9 row 13)", talking, [
        (add(OTHER), ["DialLeg leg1"]),
        (at(69.9), []),
        (at(70.0), ["HangUpLeg leg1 not_answered", "AddParticipantFailed 487/10004 [add]"]),
    ]),
    Story("each invitation has its own time", talking, [
        (add(OTHER, seconds=9), ["DialLeg leg1"]),
        (add(THIRD, "leg2", seconds=4), ["DialLeg leg2"]),
        (at(14.0), ["HangUpLeg leg2 not_answered", "AddParticipantFailed 487/10004 [add]"]),
        (at(18.9), []),
        (at(19.0), ["HangUpLeg leg1 not_answered", "AddParticipantFailed 487/10004 [add]"]),
    ]),
    Story("an invitation does not lengthen the ringing of a group call, nor end by it", lambda: created(OTHER, THIRD), [
        (up("leg0"), ["LegJoined leg0", "CallConnected [created]", "ParticipantsUpdated #1 other callee"]),
        (add(FOURTH, "leg2"), ["DialLeg leg2"]),
        (at(30.0), ["HangUpLeg leg1 not_answered"]),
        (up("leg2"), ["LegJoined leg2", "AddParticipantSucceeded [add]",
                      "ParticipantsUpdated #2 other 4:+15550004 callee"]),
    ]),
    Story("nobody is added twice at once", talking, [
        (add(CALLER), ["refused: conflict"]),
        (add(OTHER), ["DialLeg leg1"]),
        (add(OTHER, "leg2"), ["refused: conflict"]),
    ]),
    Story("an invitation is called off (3.2)", talking, [
        (add(OTHER), ["DialLeg leg1"]),
        (cancel("leg9"), ["CancelAddParticipantFailed 404/8522 [cancel]"]),
        (cancel(), ["HangUpLeg leg1 ended_by_app", "CancelAddParticipantSucceeded [cancel]"]),
        (up("leg1"), []),
        (cancel(), ["CancelAddParticipantFailed 404/8522 [cancel]"]),
        (at(99.0), []),
    ]),
    Story("an invitation that was taken cannot be called off", three, [
        (cancel(), ["CancelAddParticipantFailed 404/8522 [cancel]"]),
    ]),
    Story("the caller leaves while somebody is rung: the app talks to whoever answers", talking, [
        (add(OTHER), ["DialLeg leg1"]),
        (leaves("leg0"), ["LegLeft leg0", "ParticipantsUpdated #2 callee"]),
        (up("leg1"), ["LegJoined leg1", "AddParticipantSucceeded [add]", "ParticipantsUpdated #3 other callee"]),
    ]),
    Story("the last invitation fails after everybody left", talking, [
        (add(OTHER), ["DialLeg leg1"]),
        (leaves("leg0"), ["LegLeft leg0", "ParticipantsUpdated #2 callee"]),
        (fails("leg1", "busy"), ["AddParticipantFailed 486/560486 [add]", "CallDisconnected 486/560486 [answered]",
                                 "CallEnded busy"]),
    ]),
    Story("the last invitation is called off after everybody left", talking, [
        (add(OTHER), ["DialLeg leg1"]),
        (leaves("leg0"), ["LegLeft leg0", "ParticipantsUpdated #2 callee"]),
        (cancel(), ["HangUpLeg leg1 ended_by_app", "CancelAddParticipantSucceeded [cancel]",
                    "CallDisconnected 0/5003 [answered]", "CallEnded far_end_left"]),
    ]),
    Story("the call ends while somebody is rung: CallDisconnected says it all", talking, [
        (add(OTHER), ["DialLeg leg1"]),
        (terminate(), ["LegLeft leg0", "HangUpLeg leg0 ended_by_app", "HangUpLeg leg1 ended_by_app",
                       "CallDisconnected 200/7000 [answered]", "CallEnded ended_by_app"]),
    ]),
    Story("the app leaves a talk of others: nobody is rung any more", three, [
        (add(FOURTH, "leg2"), ["DialLeg leg2"]),
        (hang_up(), ["HangUpLeg leg2 ended_by_app", "CallDisconnected 200/7000 [answered]"]),
        (leaves("leg1"), ["LegLeft leg1", "LegLeft leg0", "HangUpLeg leg0 far_end_hung_up_pstn",
                          "CallEnded far_end_hung_up_pstn"]),
    ]),
    Story("somebody is removed (5.7, 5.8)", three, [
        (remove(CALLER), ["LegLeft leg0", "HangUpLeg leg0 removed", "RemoveParticipantSucceeded [remove]",
                          "ParticipantsUpdated #3 other callee"]),
        (remove(CALLER), ["refused: participant_not_found"]),
        (leaves("leg0"), []),
    ]),
    Story("the last one is removed: the app is alone", talking, [
        (remove(CALLER), ["LegLeft leg0", "HangUpLeg leg0 removed", "RemoveParticipantSucceeded [remove]",
                          "CallDisconnected 0/5003 [answered]", "CallEnded far_end_left"]),
        (remove(CALLER), ["refused: call_not_found"]),
    ]),
    Story("who is not in the call yet cannot be removed", talking, [
        (add(OTHER), ["DialLeg leg1"]),
        (remove(OTHER), ["RemoveParticipantFailed 400/8558 [remove]"]),
        (up("leg1"), ["LegJoined leg1", "AddParticipantSucceeded [add]", "ParticipantsUpdated #2 caller other callee"]),
    ]),
    Story("nor the app itself, nor a stranger", talking, [
        (remove(CALLEE), ["refused: invalid_argument"]),
        (remove(THIRD), ["refused: participant_not_found"]),
        (mute(CALLEE), ["refused: invalid_argument"]),
        (mute(THIRD), ["refused: participant_not_found"]),
    ]),
    Story("somebody is muted (5.5), and only once", three, [
        (mute(OTHER, OTHER), ["MuteLeg leg1", "ParticipantsUpdated #3 caller other callee"]),
        (mute(OTHER), []),
        (mute(OTHER, CALLER), ["MuteLeg leg0", "ParticipantsUpdated #4 caller other callee"]),
        (unmute(OTHER, CALLER), ["MuteLeg leg1", "MuteLeg leg0", "ParticipantsUpdated #5 caller other callee"]),
        (unmute(OTHER), []),
        (unmute(THIRD), ["refused: participant_not_found"]),
    ]),
    Story("all are muted, or none", three, [
        (add(FOURTH, "leg2"), ["DialLeg leg2"]),
        (mute(OTHER, FOURTH), ["refused: participant_not_found"]),
    ]),
    Story("before the call is connected (3.7: 8501), and after it", incoming, [
        (answer(), ["AnswerLeg leg0"]),
        (add(OTHER), ["refused: call_not_established"]),
        (remove(CALLER), ["refused: call_not_established"]),
        (mute(CALLER), ["refused: call_not_established"]),
        (cancel(), ["refused: call_not_established"]),
        (terminate(), ["HangUpLeg leg0 ended_by_app", "AnswerFailed 200/7000 [answered]",
                       "CallDisconnected 200/7000 [answered]", "CallEnded ended_by_app"]),
        (add(OTHER), ["refused: call_not_found"]),
        (remove(CALLER), ["refused: call_not_found"]),
        (mute(CALLER), ["refused: call_not_found"]),
        (cancel(), ["refused: call_not_found"]),
    ]),
]  # fmt: skip


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_a_story_is_told_line_by_line(story: Story) -> None:
    call = story.opening()
    for number, (given, expected) in enumerate(story.steps):
        assert played(call, given) == expected, f"step {number + 1}"


def test_the_roster_shows_who_is_muted() -> None:
    call = three()
    mute(OTHER)(call)
    assert [(p.identifier, p.is_muted) for p in call.participants(APP)] == [
        (CALLER, False),
        (OTHER, True),
        (CALLEE, False),
    ]
    assert call.participant(APP, OTHER.raw_id).is_muted


def test_who_is_rung_sees_the_number_or_the_app_and_the_name_of_this_request() -> None:
    call, desk = talking(), phone_number("+15559999")
    call.drain()
    headers = (("User-To-User", "x"),)
    for leg, person in (("leg1", OTHER), ("leg2", THIRD)):
        request = AddParticipantRequest(
            participant_to_add=person, source_caller_id_number=desk, source_display_name="Desk", sip_headers=headers
        )
        call.add_participant(APP, leg, leg, request, 10.0)
    add(FOURTH, "leg3")(call)
    assert call.drain() == [
        DialLeg("leg1", OTHER, desk, "Desk", headers),
        DialLeg("leg2", THIRD, CALLEE, "Desk", headers),
        DialLeg("leg3", FOURTH, CALLEE, ""),
    ]


def test_what_is_known_of_a_failure_and_who_it_was_are_told() -> None:
    call = talking()
    add(OTHER)(call)
    call.drain()
    call.leg_failed("leg1", "unreachable", 11.0, "register a phone")
    (told,) = [output.event for output in call.drain() if isinstance(output, Notify)]
    assert isinstance(told, AddParticipantFailed) and told.participant == OTHER
    assert told.result_information is not None and told.result_information.message.endswith("register a phone")


def test_a_call_has_a_bound() -> None:
    call = talking()
    for n in range(1, MOST_PARTICIPANTS):
        add(phone_number(f"+1{n:06}"), f"leg{n}")(call)
    with pytest.raises(CallError) as refused:
        add(OTHER, "one more")(call)
    assert refused.value.outcome == "invalid_argument" and str(MOST_PARTICIPANTS) in refused.value.detail
