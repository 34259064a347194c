"""Bodies and events of tones: what the SDKs sent, the published samples, and every refusal by its field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from azure.core.messaging import CloudEvent

from offhook.audio.tones import dtmf_tone
from offhook.errors import WireError
from offhook.wire.events import CallEvent, encode_callback
from offhook.wire.models import decode_request
from offhook.wire.results import result
from offhook.wire.tones import (
    MOST_TO_SEND,
    TONE_EVENTS,
    TONE_NAMES,
    SendDtmfTonesRequest,
    StartContinuousDtmfRequest,
    StopContinuousDtmfRequest,
)

ROOT = Path(__file__).parents[1] / "fixtures/acs"
DEFINITIONS = json.loads(
    (ROOT / "CallAutomation/stable/2026-03-12/communicationservicescallautomation.json").read_text()
)["definitions"]
TARGET = {"rawId": "4:+15550001"}
KINDS: dict[str, Any] = {
    "sendDtmfTones": SendDtmfTonesRequest,
    "startContinuousDtmfRecognition": StartContinuousDtmfRequest,
    "stopContinuousDtmfRecognition": StopContinuousDtmfRequest,
}


def sent(sdk: str) -> list[tuple[str, dict[str, Any]]]:
    """Verb and body of each request about tones that an SDK made."""
    requests = json.loads((ROOT / f"samples/sdk-requests/{sdk}.json").read_text())["requests"]
    verbs = [(request["target"].partition("?")[0].rpartition(":")[2], request["body"]) for request in requests]
    return [(verb, body) for verb, body in verbs if verb in KINDS]


@pytest.mark.parametrize("sdk", ["python-1.6.0", "js-1.6.0"])
def test_what_the_sdks_sent_is_understood(sdk: str) -> None:
    seen = set()
    for verb, body in sent(sdk):
        seen.add(verb)
        read = decode_request(KINDS[verb], json.dumps(body).encode())
        assert read.target_participant.raw_id == "4:+15550001"
        assert read.operation_context == body.get("operationContext")
        assert read.operation_callback_uri == body.get("operationCallbackUri")
    assert seen == set(KINDS)


def test_tones_have_the_names_of_the_description() -> None:
    assert set(TONE_NAMES.values()) == set(DEFINITIONS["Tone"]["enum"])
    for key in TONE_NAMES:
        assert dtmf_tone(key, 8000).size
    body = {"targetParticipant": TARGET, "tones": ["Pound", "ASTERISK", "a", "zero"]}
    assert decode_request(SendDtmfTonesRequest, json.dumps(body).encode()).tones == ("#", "*", "A", "0")


@pytest.mark.parametrize(
    ("verb", "body", "field"),
    [
        ("sendDtmfTones", {"tones": ["one"]}, "targetParticipant"),
        ("sendDtmfTones", {"targetParticipant": TARGET}, "tones"),
        ("sendDtmfTones", {"targetParticipant": TARGET, "tones": []}, "tones"),
        ("sendDtmfTones", {"targetParticipant": TARGET, "tones": ["one"] * (MOST_TO_SEND + 1)}, "tones"),
        ("sendDtmfTones", {"targetParticipant": TARGET, "tones": ["one", "eleven"]}, "tones[1]"),
        ("sendDtmfTones", {"targetParticipant": TARGET, "tones": [1]}, "tones[0]"),
        ("sendDtmfTones", {"targetParticipant": TARGET, "tones": "one"}, "tones"),
        ("startContinuousDtmfRecognition", {}, "targetParticipant"),
        ("stopContinuousDtmfRecognition", {"targetParticipant": TARGET, "operationCallbackUri": "x"},
         "operationCallbackUri"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(verb: str, body: dict[str, Any], field: str) -> None:
    with pytest.raises(WireError) as refused:
        decode_request(KINDS[verb], json.dumps(body).encode())
    assert refused.value.field == field
    assert field in str(refused.value)


def every_event() -> list[CallEvent]:
    extras: dict[str, Any] = {
        "sequence_id": 1,
        "tone": "five",
    }
    ids: dict[str, Any] = {
        "call_connection_id": "c",
        "server_call_id": "s",
        "correlation_id": "k",
        "operation_context": "o",
    }
    return [
        event(**ids, **{name: value for name, value in extras.items() if name in event.__struct_fields__})
        for event in TONE_EVENTS
    ]


def test_data_fits_the_description_and_the_python_sdk_reads_it() -> None:
    for event in every_event():
        (envelope,) = json.loads(encode_callback(event, event_id="i", time="2024-05-02T11:20:42Z", api_version="v"))
        assert set(envelope["data"]) - {"eventSource", "version", "publicEventType"} <= set(
            DEFINITIONS[event.name]["properties"]
        )
        parsed: CloudEvent[Any] = CloudEvent.from_dict(envelope)
        assert parsed.type == f"Microsoft.Communication.{event.name}"


@pytest.mark.parametrize(
    ("name", "event", "outcome"),
    [
        ("continuous-dtmf-tone-received", "ContinuousDtmfRecognitionToneReceived", "success"),
        ("send-dtmf-tones-completed", "SendDtmfTonesCompleted", "success"),
    ],
)
def test_callbacks_equal_the_samples(name: str, event: str, outcome: str) -> None:
    (expected,) = json.loads((ROOT / f"samples/callbacks/{name}.constructed.json").read_text())
    (ours,) = [one for one in every_event() if one.name == event]
    data = expected["data"]
    told = msgspec.structs.replace(
        ours,
        call_connection_id=data["callConnectionId"],
        server_call_id=data["serverCallId"],
        correlation_id=data["correlationId"],
        operation_context=data["operationContext"],
        result_information=result(outcome).information(),
    )
    body = encode_callback(told, event_id=expected["id"], time=expected["time"], api_version=data["version"])
    assert json.loads(body) == [expected]
