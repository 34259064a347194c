"""What an app reads of its call: properties, participants, the words and fields of events, who is shown as caller."""

from __future__ import annotations

import pytest
from tests.calls.stage import (
    APP,
    CALLBACK,
    CALLEE,
    CALLER,
    OTHER,
    THIRD,
    VERSION,
    answer,
    answer_request,
    create_request,
    created,
    hang_up,
    incoming,
    leaves,
    start,
    stop,
    stream_closed,
    stream_fails,
    stream_opened,
    streaming,
    up,
)

from offhook.calls.actions import AnnounceCall, DialLeg, Notify, OpenStream
from offhook.calls.call import Call
from offhook.errors import CallError
from offhook.wire.events import CallEvent, encode_callback, event_time
from offhook.wire.identifiers import phone_number

DESK = phone_number("+15559999")


def events(call: Call) -> dict[str, CallEvent]:
    return {output.event.name: output.event for output in call.drain() if isinstance(output, Notify)}


def test_properties_of_an_answered_call() -> None:
    call = incoming()
    answer(streaming())(call)
    before = call.properties(APP)
    assert (before.call_connection_state, before.server_call_id) == ("connecting", "c2VydmVy")
    assert (before.source, before.source_caller_id_number, before.source_display_name) == (CALLER, CALLER, "Ann")
    assert (before.targets, before.answered_by, before.answered_for) == ((CALLEE,), None, None)
    assert (before.callback_uri, before.correlation_id) == (CALLBACK, "chain")
    up("leg0")(call)
    assert call.properties(APP).call_connection_state == "connected"


def test_a_dialled_number_is_what_was_answered_for_and_the_answering_identity_is_in_the_roster() -> None:
    call = Call.incoming(
        call_id="call", server_call_id="s", correlation_id="c", caller=THIRD, callee=OTHER, leg_id="leg0",
        display_name="", now=0.0,
    )  # fmt: skip
    call.answer(APP, "subscription", answer_request(answered_by=CALLEE), VERSION, 1.0)
    up("leg0")(call)
    shown = call.properties(APP)
    assert (shown.answered_by, shown.answered_for, shown.source_display_name) == (CALLEE, OTHER, None)
    assert (shown.source, shown.source_caller_id_number) == (THIRD, None)
    assert [p.identifier for p in call.participants(APP)] == [THIRD, CALLEE]


def test_properties_of_a_created_call_name_the_server_call_once_connected() -> None:
    call = created(OTHER, THIRD)
    before = call.properties(APP)
    assert (before.call_connection_state, before.server_call_id) == ("connecting", None)
    assert (before.targets, before.source) == ((OTHER, THIRD), CALLEE)
    assert (before.source_caller_id_number, before.source_display_name) == (DESK, "Desk")
    up("leg1")(call)
    after = call.properties(APP)
    assert (after.call_connection_state, after.server_call_id) == ("connected", "c2VydmVy")


def test_the_subscription_is_absent_inactive_or_active() -> None:
    call = incoming()
    answer()(call)
    assert call.properties(APP).media_streaming_subscription is None

    def state() -> tuple[str, str]:
        subscription = call.properties(APP).media_streaming_subscription
        assert subscription is not None
        return subscription.id, subscription.state

    call = incoming()
    answer(streaming(start=False))(call)
    up("leg0")(call)
    assert state() == ("subscription", "inactive")
    for given, expected in (
        (start(), "active"),
        (stream_opened, "active"),
        (stop(), "inactive"),
        (stream_closed, "inactive"),
        (start(), "active"),
        (stream_fails(), "inactive"),
    ):
        given(call)
        assert state() == ("subscription", expected)


def test_a_stream_that_was_asked_for_with_the_call_is_active_from_the_start() -> None:
    call = created(OTHER, stream=streaming())
    subscription = call.properties(APP).media_streaming_subscription
    assert subscription is not None and subscription.state == "active"


def test_participants_need_a_connected_call_and_a_known_person() -> None:
    call = incoming()
    answer()(call)
    for ask in (call.participants, lambda app: call.participant(app, CALLER.raw_id)):
        with pytest.raises(CallError) as refused:
            ask(APP)
        assert refused.value.outcome == "call_not_established"
    up("leg0")(call)
    assert call.participant(APP, CALLER.raw_id).identifier == CALLER
    with pytest.raises(CallError) as refused:
        call.participant(APP, OTHER.raw_id)
    assert refused.value.outcome == "participant_not_found" and OTHER.raw_id in refused.value.detail


@pytest.mark.parametrize("ask", ["properties", "participants"])
def test_a_call_that_is_over_is_not_found(ask: str) -> None:
    call = incoming()
    answer()(call)
    up("leg0")(call)
    hang_up()(call)
    for connection_id in (APP, "stranger"):
        with pytest.raises(CallError) as refused:
            getattr(call, ask)(connection_id)
        assert refused.value.outcome == "call_not_found"


def test_a_person_who_is_there_twice_is_listed_once() -> None:
    call = incoming(caller=CALLEE)
    answer()(call)
    up("leg0")(call)
    assert [p.identifier for p in call.participants(APP)] == [CALLEE]


def test_events_carry_the_ids_and_the_version_that_was_asked_for() -> None:
    call = incoming()
    answer(streaming())(call)
    up("leg0")(call)
    stream_opened(call)
    leaves("leg0")(call)
    told = [output for output in call.drain() if isinstance(output, Notify)]
    assert len(told) == 4
    for notify in told:
        event = notify.event
        assert (event.call_connection_id, event.server_call_id, event.correlation_id) == (APP, "c2VydmVy", "chain")
        assert (notify.callback_uri, notify.api_version) == (CALLBACK, VERSION)
        assert encode_callback(event, event_id="id", time=event_time(0.0), api_version=notify.api_version)


def test_what_is_known_of_a_failure_joins_the_message() -> None:
    call = created(OTHER)
    call.leg_failed("leg0", "unreachable", 1.0, "run `offhook phone --number +15550002`")
    failed = events(call)["CreateCallFailed"].result_information
    assert failed is not None and failed.message.endswith("run `offhook phone --number +15550002`")

    call = incoming()
    answer(streaming())(call)
    up("leg0")(call)
    stream_fails(detail="connection refused")(call)
    lost = events(call)["MediaStreamingFailed"].result_information
    assert lost is not None and (lost.code, lost.sub_code) == (400, 8581)
    assert lost.message.endswith("connection refused")


def test_the_stream_is_opened_with_the_apps_options() -> None:
    call, options = incoming(), streaming()
    answer(options)(call)
    assert OpenStream(APP, options, "subscription") in call.drain()


def test_a_number_is_shown_to_phones_and_the_identity_to_users() -> None:
    dialled = {output.target: output for output in created(OTHER, THIRD).drain() if isinstance(output, DialLeg)}
    assert (dialled[OTHER].source, dialled[THIRD].source) == (DESK, CALLEE)
    assert dialled[OTHER].display_name == "Desk"


def test_the_target_of_a_redirect_sees_the_caller_and_the_announcement_names_the_new_callee() -> None:
    call = incoming()
    assert call.drain() == [AnnounceCall(CALLER, CALLEE, "Ann")]
    call.reannounce(THIRD, 1.0)
    assert call.drain() == [AnnounceCall(CALLER, THIRD, "Ann")]
    call.redirect(OTHER, "leg1", 1.0)
    assert call.drain() == [DialLeg("leg1", OTHER, CALLER, "Ann")]


@pytest.mark.parametrize("targets, legs", [((), []), ((OTHER, OTHER), ["a", "b"]), ((OTHER, THIRD), ["a"])])
def test_a_created_call_needs_each_target_once(targets: tuple[object, ...], legs: list[str]) -> None:
    with pytest.raises(CallError) as refused:
        Call.create(
            call_id="call", server_call_id="s", correlation_id="c", connection_id=APP, subscription_id="sub",
            request=create_request(*targets), leg_ids=legs, api_version=VERSION, now=0.0,  # type: ignore[arg-type]
        )  # fmt: skip
    assert refused.value.outcome == "invalid_argument"


def test_keys_count_only_on_the_bridge() -> None:
    call = incoming()
    with pytest.raises(CallError):
        call.leg_dtmf("leg0", "1", 0.0)
    answer()(call)
    up("leg0")(call)
    call.drain()
    call.leg_dtmf("leg0", "1", 1.0)
    assert call.drain() == []


def test_deadlines_are_told() -> None:
    call = incoming(ring_timeout=20.0)
    assert (call.next_deadline(), call.ringing) == (20.0, True)
    answer()(call)
    assert (call.next_deadline(), call.ringing) == (21.0, False)
    up("leg0")(call)
    assert call.next_deadline() is None
    group = created(OTHER, THIRD)
    assert group.next_deadline() == 30.0
    up("leg0")(group)
    assert group.next_deadline() == 30.0
    leaves("leg1")(group)
    assert group.next_deadline() is None
