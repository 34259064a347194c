"""Events: envelope and data against the sample payloads, key by key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from azure.core.messaging import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from offhook.wire.events import (
    EVENT_TYPES,
    AddParticipantFailed,
    AddParticipantSucceeded,
    AnswerFailed,
    CallConnected,
    CallDisconnected,
    CallEvent,
    CallParticipant,
    CancelAddParticipantFailed,
    CancelAddParticipantSucceeded,
    CreateCallFailed,
    MediaStreamingFailed,
    MediaStreamingStarted,
    MediaStreamingStopped,
    ParticipantsUpdated,
    PlayCanceled,
    PlayCompleted,
    PlayFailed,
    PlayStarted,
    RemoveParticipantFailed,
    RemoveParticipantSucceeded,
    ResultInformation,
    encode_callback,
    event_time,
    grid_time,
    incoming_call,
    media_streaming_update,
    subscription_validation,
)
from offhook.wire.identifiers import communication_user, phone_number
from offhook.wire.results import result

ROOT = Path(__file__).parents[1] / "fixtures/acs"
SAMPLES = ROOT / "samples"
USER = "8:acs:3d20e1de-0f28-41c5-84a0-4960fde5f411_0000000b-faeb-c708-99bf-a43a0d0036b0"


def sample(name: str) -> dict[str, Any]:
    loaded = json.loads((SAMPLES / "callbacks" / name).read_text())
    assert isinstance(loaded, list) and len(loaded) == 1
    event: dict[str, Any] = loaded[0]
    return event


def ids_of(event: dict[str, Any]) -> dict[str, str]:
    data = event["data"]
    return {
        "call_connection_id": data["callConnectionId"],
        "server_call_id": data["serverCallId"],
        "correlation_id": data["correlationId"],
    }


def rebuilt(name: str) -> CallEvent:
    """The event of a sample, made with our own classes and result rows."""
    ids: dict[str, Any] = ids_of(sample(name))
    if name.startswith("call-connected"):
        return CallConnected(**ids, operation_context="incomingCall")
    if name.startswith("call-disconnected"):
        return CallDisconnected(**ids, result_information=ResultInformation(code=0, sub_code=0, message=""))
    if name.startswith("create-call-failed"):
        return CreateCallFailed(**ids, result_information=result("not_answered").information())
    if name.startswith("participants"):
        people = (phone_number("+15551234567"), communication_user(USER))
        roster = tuple(CallParticipant(identifier=who) for who in people)
        return ParticipantsUpdated(**ids, sequence_number=1, participants=roster)
    changes: dict[str, tuple[type[Any], str]] = {
        "add-participant-succeeded.constructed.json": (AddParticipantSucceeded, "add1"),
        "remove-participant-succeeded.constructed.json": (RemoveParticipantSucceeded, "rm1"),
    }
    if name in changes:
        change, asked = changes[name]
        done = ResultInformation(code=200, sub_code=0, message="")
        told: CallEvent = change(
            **ids, operation_context=asked, result_information=done, participant=phone_number("+15551234567")
        )
        return told
    plays: dict[str, tuple[type[Any], str, dict[str, int]]] = {
        "play-completed.constructed.json": (PlayCompleted, "success", {}),
        "play-canceled.constructed.json": (PlayCanceled, "media_canceled", {}),
        "play-failed.constructed.json": (PlayFailed, "play_not_downloaded", {"failed_play_source_index": 0}),
    }
    if name in plays:
        made, outcome, more = plays[name]
        played: CallEvent = made(
            **ids, operation_context="play1", result_information=result(outcome).information(), **more
        )
        return played
    streams: dict[str, tuple[type[Any], str, str | None]] = {
        "media-streaming-started.json": (MediaStreamingStarted, "stream_started", "startMediaStreamingContext"),
        "media-streaming-stopped.json": (MediaStreamingStopped, "stream_stopped", "stopMediaStreamingContext"),
        "media-streaming-failed-8603.json": (MediaStreamingFailed, "stream_unsuccessful", "startMediaStreamingContext"),
        "media-streaming-failed-8581.constructed.json": (MediaStreamingFailed, "stream_url_invalid", None),
    }
    kind, row, context = streams[name]
    event: CallEvent = kind(
        **ids,
        operation_context=context,
        result_information=result(row).information(),
        media_streaming_update=media_streaming_update(kind, result(row)),
    )
    return event


@pytest.mark.parametrize(
    "name",
    [
        "call-connected.constructed.json",
        "call-disconnected.constructed.json",
        "create-call-failed.constructed.json",
        "participants-updated.constructed.json",
        "play-completed.constructed.json",
        "play-canceled.constructed.json",
        "play-failed.constructed.json",
        "media-streaming-started.json",
        "media-streaming-stopped.json",
        "media-streaming-failed-8603.json",
        "media-streaming-failed-8581.constructed.json",
        "add-participant-succeeded.constructed.json",
        "remove-participant-succeeded.constructed.json",
    ],
)
def test_callbacks_equal_the_samples(name: str) -> None:
    expected = sample(name)
    body = encode_callback(
        rebuilt(name), event_id=expected["id"], time=expected["time"], api_version=expected["data"]["version"]
    )
    assert json.loads(body) == [expected]


def every_event() -> list[CallEvent]:
    ids: dict[str, Any] = {"call_connection_id": "c", "server_call_id": "s==", "correlation_id": "k"}
    failed = result("stream_lost")
    return [
        CallConnected(**ids),
        CallDisconnected(**ids, result_information=result("ended_by_app").information()),
        CreateCallFailed(**ids, result_information=result("busy").information()),
        AnswerFailed(**ids, result_information=result("leg_failed").information("why")),
        ParticipantsUpdated(**ids, sequence_number=3, participants=()),
        *(kind(**ids) for kind in (PlayStarted, PlayCompleted, PlayCanceled)),
        PlayFailed(**ids, failed_play_source_index=1, result_information=result("play_bad_format").information()),
        *(
            kind(**ids, media_streaming_update=media_streaming_update(kind, failed))
            for kind in (MediaStreamingStarted, MediaStreamingStopped, MediaStreamingFailed)
        ),
        *(
            kind(**ids, result_information=result("success").information(), participant=phone_number("+1"))
            for kind in (
                AddParticipantSucceeded,
                AddParticipantFailed,
                RemoveParticipantSucceeded,
                RemoveParticipantFailed,
            )
        ),
        CancelAddParticipantSucceeded(**ids, invitation_id="i"),
        CancelAddParticipantFailed(**ids, invitation_id="i"),
    ]


def test_every_event_has_the_recorded_envelope_and_no_other_key() -> None:
    events = every_event()
    assert {event.type for event in events} == set(EVENT_TYPES)
    for event in events:
        (envelope,) = json.loads(encode_callback(event, event_id="i", time=event_time(0), api_version="2026-03-12"))
        assert set(envelope) == {
            "id", "source", "type", "data", "time", "specversion", "datacontenttype", "subject"
        }  # fmt: skip
        assert (
            envelope["source"] == envelope["subject"] == "calling/callConnections/c" == envelope["data"]["eventSource"]
        )
        assert envelope["type"] == event.type == envelope["data"]["publicEventType"]
        assert envelope["data"]["version"] == "2026-03-12"
        assert None not in envelope["data"].values()


def test_the_python_sdk_reads_every_event() -> None:
    for event in every_event():
        for item in json.loads(encode_callback(event, event_id="i", time=event_time(1.25), api_version="v")):
            parsed: CloudEvent[Any] = CloudEvent.from_dict(item)
            assert parsed.type == event.type
            assert parsed.time is not None and parsed.time.timestamp() == 1.25


def test_data_fits_the_description() -> None:
    path = ROOT / "CallAutomation/stable/2026-03-12/communicationservicescallautomation.json"
    definitions = json.loads(path.read_text())["definitions"]
    ours = {"eventSource", "version", "publicEventType"}
    for event in every_event():
        (envelope,) = json.loads(encode_callback(event, event_id="i", time=event_time(0), api_version="v"))
        assert set(envelope["data"]) - ours <= set(definitions[event.name]["properties"]), event.name
        for key in ("mediaStreamingUpdate", "resultInformation", "transcriptionUpdate"):
            if key in envelope["data"]:
                reference = definitions[event.name]["properties"][key]["$ref"].rpartition("/")[2]
                assert set(envelope["data"][key]) <= set(definitions[reference]["properties"])


def test_times() -> None:
    assert event_time(1714648842.9110236) == "2024-05-02T11:20:42.9110236+00:00"
    assert grid_time(1661455644.25) == "2022-08-25T19:27:24.2500000Z"
    assert event_time(0) == "1970-01-01T00:00:00.0000000+00:00"
    assert event_time(0.99999999) == "1970-01-01T00:00:01.0000000+00:00"


@given(st.floats(0, 4e9))
def test_times_have_seven_digits_and_say_the_same_moment(unix: float) -> None:
    text = event_time(unix)
    assert len(text) == len("2024-05-02T11:20:42.9110236+00:00")
    parsed = CloudEvent.from_dict({"id": "i", "source": "s", "type": "t", "specversion": "1.0", "time": text}).time
    assert parsed is not None and abs(parsed.timestamp() - unix) < 1e-5


def test_incoming_call_equals_the_sample() -> None:
    (expected,) = json.loads((SAMPLES / "eventgrid/incoming-call.json").read_text())
    data = expected["data"]
    body = incoming_call(
        event_id=expected["id"],
        topic=expected["topic"],
        time=expected["eventTime"],
        to=communication_user(data["to"]["rawId"]),
        from_=phone_number("+15551234567"),
        server_call_id=data["serverCallId"],
        display_name=data["callerDisplayName"],
        context=data["incomingCallContext"],
        correlation_id=data["correlationId"],
        custom_context=data["customContext"],
    )
    assert json.loads(body) == [expected]


def test_incoming_call_without_headers_has_no_custom_context() -> None:
    body = incoming_call(
        event_id="e",
        topic="t",
        time=grid_time(0),
        to=phone_number("+1"),
        from_=phone_number("+2"),
        server_call_id="s",
        display_name="",
        context="c",
        correlation_id="k",
    )
    (event,) = json.loads(body)
    assert "customContext" not in event["data"]
    assert event["data"]["callerDisplayName"] == ""
    assert event["subject"] == "/caller/4:+2/recipient/4:+1"


def test_subscription_validation_equals_the_sample() -> None:
    (expected,) = json.loads((SAMPLES / "eventgrid/subscription-validation.json").read_text())
    body = subscription_validation(
        event_id=expected["id"],
        topic=expected["topic"],
        time=expected["eventTime"],
        code=expected["data"]["validationCode"],
        url=expected["data"]["validationUrl"],
    )
    assert json.loads(body) == [expected]


@given(st.text())
def test_any_context_text_comes_back_from_the_json(text: str) -> None:
    event = CallConnected(call_connection_id="c", server_call_id="s", correlation_id="k", operation_context=text)
    (envelope,) = json.loads(encode_callback(event, event_id="i", time=event_time(0), api_version="v"))
    assert envelope["data"]["operationContext"] == text
