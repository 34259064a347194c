"""Events as an app reads them: Event Grid posts and callbacks, those of Azure and our own (protocol.md 5.2, 6)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.errors import WireError
from offhook.wire import events
from offhook.wire.app_events import (
    IncomingCall,
    OtherGridEvent,
    SubscriptionValidation,
    read_callbacks,
    read_grid_events,
)
from offhook.wire.identifiers import phone_number

SAMPLES = Path(__file__).parents[1] / "fixtures/acs/samples"


def test_a_validation_is_read_and_answered() -> None:
    (event,) = read_grid_events((SAMPLES / "eventgrid/subscription-validation.json").read_bytes())
    assert isinstance(event, SubscriptionValidation)
    wanted = json.loads((SAMPLES / "eventgrid/subscription-validation-response.json").read_text())
    assert set(json.loads(event.answer)) == set(wanted)
    assert json.loads(event.answer)["validationResponse"] == event.validation_code


def test_an_incoming_call_is_read() -> None:
    (event,) = read_grid_events((SAMPLES / "eventgrid/incoming-call.json").read_bytes())
    assert isinstance(event, IncomingCall)
    assert event.incoming_call_context.startswith("eyJhbGci")
    assert event.caller.raw_id == "4:+15551234567"
    assert event.callee.raw_id.startswith("8:acs:1234567f")
    assert event.caller_display_name == "VOIP Caller"


def test_another_event_is_named() -> None:
    (event,) = read_grid_events((SAMPLES / "eventgrid/recording-file-status-updated.json").read_bytes())
    assert event == OtherGridEvent("Microsoft.Communication.RecordingFileStatusUpdated")


def test_our_own_event_is_read() -> None:
    body = events.incoming_call(
        event_id="e",
        topic="t",
        time="2024-05-02T11:20:42.9110236Z",
        to=phone_number("+15550100002"),
        from_=phone_number("+15550100001"),
        server_call_id="s",
        display_name="Ann",
        context="context",
        correlation_id="c",
    )
    (event,) = read_grid_events(body)
    assert isinstance(event, IncomingCall)
    assert (event.caller.raw_id, event.callee.raw_id) == ("4:+15550100001", "4:+15550100002")
    assert (event.incoming_call_context, event.server_call_id, event.correlation_id) == ("context", "s", "c")


def test_what_is_null_is_not_given() -> None:
    nothing = '"correlationId":null,"callerDisplayName":null,"customContext":null,"serverCallId":null'
    (event,) = read_grid_events(
        b'[{"eventType":"Microsoft.Communication.IncomingCall","data":{"incomingCallContext":"c",%s}}]'
        % nothing.encode()
    )
    assert isinstance(event, IncomingCall)
    assert (event.incoming_call_context, event.caller_display_name, event.custom_context) == ("c", "", None)
    (callback,) = read_callbacks(b'[{"type":"x","data":{"callConnectionId":null,"correlationId":null}}]')
    assert (callback.call_connection_id, callback.correlation_id) == ("", "")


@pytest.mark.parametrize("path", sorted((SAMPLES / "callbacks").glob("*.json")), ids=lambda path: path.stem)
def test_every_callback_is_read(path: Path) -> None:
    sent = json.loads(path.read_text())[0]
    (event,) = read_callbacks(path.read_bytes())
    assert "Microsoft.Communication." + event.type == sent["type"]
    assert event.call_connection_id == sent["data"].get("callConnectionId", "")
    assert event.operation_context == sent["data"].get("operationContext")
    assert event.data == sent["data"]
    result = sent["data"].get("resultInformation") or {}
    assert (event.code, event.sub_code) == (result.get("code"), result.get("subCode"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"{}",
        b"[5]",
        b"[{}]",
        b'[{"type":"x"}]',
        b'[{"type":"x","data":[]}]',
        b'[{"type":"x","data":{"callConnectionId":5}}]',
        b'[{"eventType":"Microsoft.Communication.IncomingCall","data":{}}]',
        b'[{"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent"}]',
        b"[" * 50_000,
        b'[{"type":"\xff","data":{}}]',
    ],
)
def test_what_is_none_is_a_wire_error(body: bytes) -> None:
    with pytest.raises(WireError):
        read_callbacks(body)
    with pytest.raises(WireError):
        read_grid_events(body)


TREES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["data", "type", "eventType", "callConnectionId", "from"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.binary(max_size=60) | TREES.map(lambda tree: json.dumps([tree]).encode()))
def test_nothing_but_a_wire_error_comes_out(body: bytes) -> None:
    for read in (read_callbacks, read_grid_events):
        try:
            read(body)
        except WireError:
            pass
