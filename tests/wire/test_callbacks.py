"""Callbacks as classes: every type, what each has more, and what is not as it should be (protocol.md 5.5)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.wire import callbacks
from offhook.wire.app_events import read_callbacks
from offhook.wire.callbacks import EVENTS, CallbackEvent
from offhook.wire.events import EVENT_TYPES

SAMPLES = sorted((Path(__file__).parents[1] / "fixtures/acs/samples/callbacks").glob("*.json"))


def read(name: str, **data: Any) -> Any:
    (event,) = read_callbacks(json.dumps([{"type": f"Microsoft.Communication.{name}", "data": data}]).encode())
    return event


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_has_its_class(path: Path) -> None:
    (event,) = read_callbacks(path.read_bytes())
    assert type(event).__name__ == event.type and type(event) in EVENTS.values()


def test_every_type_that_the_service_sends_has_its_class() -> None:
    assert {name.removeprefix("Microsoft.Communication.") for name in EVENT_TYPES} <= set(EVENTS)
    for name, kind in EVENTS.items():
        assert type(read(name)) is kind, name


def test_what_a_type_has_more() -> None:
    by_name = {path.stem: read_callbacks(path.read_bytes())[0] for path in SAMPLES}
    digits = by_name["recognize-completed-dtmf.constructed"]
    assert isinstance(digits, callbacks.RecognizeCompleted) and digits.dtmf_result is not None
    assert (digits.dtmf_result.tones, digits.dtmf_result.keys) == (["five", "six", "pound"], "56#")
    assert digits.choice_result is None and digits.sub_code == 8531
    said = by_name["recognize-completed-speech.constructed"]
    assert isinstance(said, callbacks.RecognizeCompleted) and said.speech_result is not None
    assert said.speech_result.speech == "I would like to pay my bill."
    tone = by_name["continuous-dtmf-tone-received.constructed"]
    assert isinstance(tone, callbacks.ContinuousDtmfRecognitionToneReceived)
    assert (tone.sequence_id, tone.tone, tone.key) == (1, "five", "5")
    accepted = by_name["call-transfer-accepted.constructed"]
    assert isinstance(accepted, callbacks.CallTransferAccepted)
    assert accepted.transferee.raw_id == "4:+15551234567" and accepted.transfer_target.raw_id.startswith("8:acs:")
    failed = by_name["media-streaming-failed-8581.constructed"]
    assert isinstance(failed, callbacks.MediaStreamingFailed)
    assert failed.media_streaming_update.media_streaming_status_details == "initialWebSocketConnectionFailed"


def test_what_is_of_another_shape_keeps_its_default() -> None:
    event = read("ParticipantsUpdated", sequenceNumber="x", participants=[{"identifier": {"rawId": "4:+1555"}}])
    assert event.sequence_number == 0 and event.participants[0].identifier.raw_id == "4:+1555"
    assert read("AddParticipantFailed", participant=None).participant.raw_id == ""
    assert read("ContinuousDtmfRecognitionToneReceived", tone="new").key == ""


def test_an_unknown_type_is_a_plain_event() -> None:
    event = read("SomethingNew", callConnectionId="c", more=1)
    assert type(event) is CallbackEvent and (event.type, event.data["more"]) == ("SomethingNew", 1)


@given(st.sampled_from(sorted(EVENTS)), st.dictionaries(st.text(max_size=4), st.none() | st.integers(), max_size=2))
def test_nothing_in_data_stops_an_event(name: str, data: dict[str, Any]) -> None:
    fields = {on_wire: data for _, on_wire, _ in callbacks._EXTRA[EVENTS[name]]}
    assert type(read(name, **fields)) is EVENTS[name]
