"""Bodies and events of recordings: what is read, what is refused and by what name, ids, the file's event."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.errors import UnsupportedError, WireError
from offhook.wire.connecting import CallLocator
from offhook.wire.events import encode_callback
from offhook.wire.models import decode_request
from offhook.wire.recording import (
    ExternalStorage,
    RecordingChunk,
    RecordingStateChanged,
    StartCallRecordingRequest,
    StartRecordingFailed,
    recording_file_status,
    recording_id,
)

ROOT = Path(__file__).parents[1] / "fixtures/acs"
LOCATOR = {"callLocator": {"kind": "serverCallLocator", "serverCallId": "s1"}}
GUIDS = ("8b9dbad1-18ab-4f86-ad4c-c75f8098076e", "7b9dbad1-18ab-4f86-ad4c-c75f8098076f")


def read(**fields: Any) -> StartCallRecordingRequest:
    return decode_request(StartCallRecordingRequest, json.dumps({**LOCATOR, **fields}).encode())


def who(number: int) -> dict[str, Any]:
    return {"rawId": f"4:+1555000{number}", "phoneNumber": {"value": f"+1555000{number}"}}


def test_the_example_of_the_description() -> None:
    example = json.loads(
        (ROOT / "CallAutomation/stable/2026-03-12/examples/CallRecording_StartRecording.json").read_text()
    )
    body = example["parameters"]["startCallRecording"]
    made = decode_request(StartCallRecordingRequest, json.dumps(body).encode())
    assert (made.channel, made.form, made.pause_on_start) == ("mixed", "wav", True), "null is as if it were not there"
    assert made.locator == CallLocator("serverCallLocator", body["callLocator"]["serverCallId"])
    assert made.external == ExternalStorage(container_url="https://contoso.blob.core.windows.net/recordings")


def test_what_the_call_is_named_by() -> None:
    assert decode_request(StartCallRecordingRequest, b'{"callConnectionId":"c"}').call_connection_id == "c"
    group = {"callLocator": {"kind": "GROUPCALLLOCATOR", "groupCallId": "g"}}
    assert read(**group).locator == CallLocator("groupCallLocator", "g")
    for body in ("{}", '{"callConnectionId":"c","callLocator":{"kind":"serverCallLocator","serverCallId":"s"}}'):
        with pytest.raises(WireError, match="callLocator: give either"):
            decode_request(StartCallRecordingRequest, body.encode())


def test_channels_are_those_of_the_affinity_then_free_ones_in_order() -> None:
    made = read(
        recordingChannelType="Unmixed",
        channelAffinity=[{"channel": 1, "participant": who(1)}],
        audioChannelParticipantOrdering=[who(2), who(1), who(3)],
    )
    assert made.channels == ((0, "4:+15550002"), (1, "4:+15550001"), (2, "4:+15550003"))


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"recordingContentType": "audioVideo"}, "recordingContentType: audioVideo"),
        ({"recordingFormatType": "mp4"}, "recordingFormatType: mp4"),
        ({"callLocator": {"kind": "roomCallLocator", "roomId": "r"}}, "callLocator.kind: roomCallLocator"),
    ],
)
def test_what_is_left_out_is_named(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(UnsupportedError, match=word):
        read(**fields)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"recordingFormatType": "ogg"}, "recordingFormatType"),
        ({"recordingChannelType": "unmixed", "recordingFormatType": "mp3"}, "wav only"),
        ({"channelAffinity": [{"channel": 0, "participant": who(1)}]}, "unmixed"),
        ({"recordingChannelType": "unmixed", "channelAffinity": [{"channel": 5, "participant": who(1)}]}, "0 to 4"),
        ({"recordingChannelType": "unmixed", "channelAffinity": [{"channel": True, "participant": who(1)}]}, "0 to 4"),
        ({"recordingChannelType": "unmixed", "channelAffinity": [{"channel": 1}]}, "participant"),
        (
            {
                "recordingChannelType": "unmixed",
                "channelAffinity": [{"channel": 1, "participant": who(1)}, {"channel": 1, "participant": who(2)}],
            },
            "twice",
        ),
        (
            {"recordingChannelType": "unmixed", "audioChannelParticipantOrdering": [who(n) for n in range(6)]},
            "channels",
        ),
        ({"externalStorage": {"recordingStorageKind": "azureBlobStorage"}}, "recordingDestinationContainerUrl"),
        ({"externalStorage": {"recordingStorageKind": "disk"}}, "recordingStorageKind"),
        ({"recordingStateCallbackUri": "ftp://x"}, "recordingStateCallbackUri"),
    ],
)
def test_what_cannot_be_used_is_named(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(WireError, match=word):
        read(**fields)


@given(st.uuids(), st.uuids())
def test_ids_need_no_encoding_in_a_path(one: Any, other: Any) -> None:
    made = recording_id(str(one), str(other))
    assert quote(made, safe="") == made


def test_events_stand_under_the_recording() -> None:
    (sample,) = json.loads((ROOT / "samples/callbacks/recording-state-changed.constructed.json").read_text())
    data = sample["data"]
    event = RecordingStateChanged(
        call_connection_id=data["callConnectionId"],
        server_call_id=data["serverCallId"],
        correlation_id=data["correlationId"],
        recording_id=data["recordingId"],
        state="active",
        start_date_time=data["startDateTime"],
    )
    made = json.loads(encode_callback(event, event_id=sample["id"], time=sample["time"], api_version=data["version"]))
    assert made == [sample]
    failed = StartRecordingFailed(call_connection_id="c", server_call_id="s", correlation_id="x", recording_id="r")
    assert failed.source == "calling/recordings/s/recordingId/r" and failed.type.endswith(".StartRecordingFailed")


def test_the_event_of_a_file_has_the_keys_of_the_sample() -> None:
    (sample,) = json.loads((ROOT / "samples/eventgrid/recording-file-status-updated.json").read_text())
    chunk = sample["data"]["recordingStorageInfo"]["recordingChunks"][0]
    made = json.loads(
        recording_file_status(
            event_id=sample["id"],
            topic=sample["topic"],
            time=sample["eventTime"],
            call_id="{call-id}",
            server_call_id="{serverCallId}",
            recording_id="{recordingId}",
            chunks=[
                RecordingChunk(
                    document_id=chunk["documentId"],
                    index=0,
                    end_reason="SessionEnded",
                    content_location=chunk["contentLocation"],
                    metadata_location=chunk["metadataLocation"],
                    delete_location=chunk["deleteLocation"],
                )
            ],
            started=sample["data"]["recordingStartTime"],
            duration_ms=6620,
            channel="mixed",
            form="wav",
            session_end_reason="CallEnded",
        )
    )
    assert made == [sample]
