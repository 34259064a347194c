"""Transcription on the wire: requests as SDKs send them, and messages and events shaped as the published ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from offhook.errors import WireError
from offhook.wire.events import encode_callback
from offhook.wire.models import decode_request
from offhook.wire.results import RESULTS
from offhook.wire.streaming import TranscriptionData, TranscriptionMetadata, parse_service_message
from offhook.wire.transcription import (
    TRANSCRIPTION_EVENTS,
    StartTranscriptionRequest,
    StopTranscriptionRequest,
    TranscriptionRequest,
    TranscriptionStarted,
    UpdateTranscriptionRequest,
    transcription_data,
    transcription_metadata,
    transcription_update,
)

SAMPLES = Path(__file__).parents[1] / "fixtures/acs/samples"
OPERATION = {"operationContext": "c", "operationCallbackUri": "https://app.test/x"}


def shape(value: Any) -> Any:
    """The keys and types of a JSON value."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(value[0])] if isinstance(value, list) else type(value)


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        (StartTranscriptionRequest, b"", StartTranscriptionRequest()),
        (StartTranscriptionRequest, {"locale": None, **OPERATION}, None),
        (StartTranscriptionRequest, {"locale": "en-US", "speechRecognitionModelEndpointId": "m"}, None),
        (StopTranscriptionRequest, {}, StopTranscriptionRequest()),
        (UpdateTranscriptionRequest, {"locale": "en-GB"}, UpdateTranscriptionRequest(locale="en-GB")),
    ],
)
def test_requests_are_read(kind: type[TranscriptionRequest], body: Any, expected: TranscriptionRequest | None) -> None:
    read = decode_request(kind, body if isinstance(body, bytes) else json.dumps(body).encode())
    if expected is not None:
        assert read == expected
    elif "operationContext" in body:
        assert (read.operation_context, read.operation_callback_uri) == ("c", "https://app.test/x")
    else:
        assert (read.locale, read.speech_model_endpoint_id) == ("en-US", "m")


@pytest.mark.parametrize(
    ("kind", "body", "field"),
    [
        (UpdateTranscriptionRequest, {}, "locale"),
        (UpdateTranscriptionRequest, {"locale": ""}, "locale"),
        (StartTranscriptionRequest, {"locale": 7}, "locale"),
        (StartTranscriptionRequest, {"speechModelEndpointId": []}, "speechModelEndpointId"),
        (StopTranscriptionRequest, {"operationCallbackUri": "x"}, "operationCallbackUri"),
    ],
)
def test_what_cannot_be_used_is_named(kind: type[TranscriptionRequest], body: Any, field: str) -> None:
    with pytest.raises(WireError) as wrong:
        decode_request(kind, json.dumps(body).encode())
    assert wrong.value.field == field


def test_messages_are_shaped_as_the_published_ones_and_read_back() -> None:
    metadata = transcription_metadata("s", "en-US", "c", "r")
    sample = json.loads((SAMPLES / "websocket/in-transcription-metadata.json").read_text())
    assert shape(json.loads(metadata)) == shape(sample)
    assert parse_service_message(metadata) == TranscriptionMetadata("s", "en-US", "c", "r")
    data = transcription_data("Hello.", 0.75, 1.5, 0.25, [("Hello.", 1.6, 0.1)], "4:+1", final=True)
    sample = json.loads((SAMPLES / "websocket/in-transcription-data.json").read_text())
    assert shape(json.loads(data)) == shape(sample)
    read = parse_service_message(data)
    assert isinstance(read, TranscriptionData)
    assert (read.offset, read.duration, read.words[0].offset) == (15_000_000, 2_500_000, 16_000_000)
    assert (read.result_status, read.participant_raw_id) == ("Final", "4:+1")
    partly = parse_service_message(transcription_data("Hel", 0.5, 0.0, 0.5, (), "4:+1", final=False))
    assert isinstance(partly, TranscriptionData) and (partly.result_status, partly.words) == ("Intermediate", ())


def test_an_event_is_shaped_as_the_recorded_one() -> None:
    (sample,) = json.loads((SAMPLES / "callbacks/transcription-started.constructed.json").read_text())
    row = RESULTS["stream_started"]
    event = TranscriptionStarted(
        call_connection_id="c",
        server_call_id="s",
        correlation_id="r",
        operation_context="t1",
        result_information=row.information(),
        transcription_update=transcription_update(TranscriptionStarted, row),
    )
    (made,) = json.loads(encode_callback(event, event_id="e", time="t", api_version="v"))
    assert shape(made) == shape(sample)
    for name in ("transcriptionUpdate", "resultInformation"):
        assert made["data"][name] == sample["data"][name]


def test_details_are_those_that_the_api_knows() -> None:
    definitions = json.loads(
        (SAMPLES.parent / "CallAutomation/stable/2026-03-12/communicationservicescallautomation.json").read_text()
    )["definitions"]
    rows = [row for row in RESULTS.values() if row.name.startswith(("transcription_", "speech_", "stream_"))]
    rows = [row for row in rows if row.name not in ("stream_url_invalid",)]  # it has a row of its own here
    for event in TRANSCRIPTION_EVENTS:
        for row in rows:
            update = transcription_update(event, row)
            assert update.transcription_status in definitions["TranscriptionStatus"]["enum"]
            assert update.transcription_status_details in definitions["TranscriptionStatusDetails"]["enum"], row.name
