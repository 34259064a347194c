"""Transfer and move: what requests hold, what is refused by name, and the published event (protocol.md §§3.3, 5.5)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from offhook.errors import UnsupportedError, WireError
from offhook.wire.events import encode_callback
from offhook.wire.identifiers import parse_raw_id
from offhook.wire.models import decode_request
from offhook.wire.results import result
from offhook.wire.transfer import (
    CallTransferAccepted,
    MoveParticipantsRequest,
    MoveParticipantsResponse,
    TransferCallResponse,
    TransferRequest,
)

SAMPLE = Path(__file__).parents[1] / "fixtures/acs/samples/callbacks/call-transfer-accepted.constructed.json"
ONE, TWO = {"phoneNumber": {"value": "+15550001"}}, {"rawId": "8:acs:r_u"}


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def test_a_transfer_as_the_sdks_send_it() -> None:
    given = body(
        targetParticipant=ONE,
        transferee=TWO,
        sourceCallerIdNumber={"value": "+15550002", "isAnonymous": False},
        operationContext="c",
        operationCallbackUri="https://x/o",
        customCallingContext={"voipHeaders": {"v": "w"}, "sipHeaders": {"User-To-User": "u", "X-MS-Custom-k": "z"}},
    )
    assert decode_request(TransferRequest, given) == TransferRequest(
        target=parse_raw_id("4:+15550001"),
        transferee=parse_raw_id("8:acs:r_u"),
        source_caller_id_number=parse_raw_id("4:+15550002"),
        operation_context="c",
        operation_callback_uri="https://x/o",
        sip_headers=(("User-To-User", "u"), ("X-MS-Custom-k", "z")),
        voip_headers=(("v", "w"),),
    )
    assert decode_request(TransferRequest, body(targetParticipant=ONE, transferee=None)).transferee is None


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "targetParticipant: is required"),
        ({"targetParticipant": {}}, "targetParticipant"),
        ({"targetParticipant": ONE, "transferee": {}}, "transferee"),
        ({"targetParticipant": ONE, "sourceCallerIdNumber": {}}, "sourceCallerIdNumber"),
        ({"targetParticipant": ONE, "operationCallbackUri": "ftp://x"}, "operationCallbackUri"),
        ({"targetParticipant": ONE, "customCallingContext": []}, "customCallingContext"),
        ({"targetParticipant": ONE, "customCallingContext": {"voipHeaders": {"": "x"}}}, "customCallingContext.voip"),
        ({"targetParticipant": ONE, "customCallingContext": {"voipHeaders": {"a" * 65: "x"}}}, "customCallingContext."),
        ({"targetParticipant": ONE, "customCallingContext": {"voipHeaders": {"a": None}}}, "customCallingContext."),
        (
            {"targetParticipant": ONE, "customCallingContext": {"voipHeaders": {"a": "x" * 1025}}},
            "customCallingContext",
        ),
        (
            {"targetParticipant": ONE, "customCallingContext": {"voipHeaders": {f"a{n}": "x" for n in range(65)}}},
            "customCallingContext.voipHeaders: holds 65",
        ),
    ],
)
def test_a_transfer_that_cannot_be_is_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(WireError) as wrong:
        decode_request(TransferRequest, body(**fields))
    assert wrong.value.message.startswith(named)


@pytest.mark.parametrize(
    "fields",
    [
        {"targetParticipant": {"rawId": "8:orgid:u"}},
        {"targetParticipant": ONE, "transferee": {"rawId": "28:orgid:a"}},
        {"targetParticipant": ONE, "customCallingContext": {"teamsPhoneCallDetails": {"sessionId": "s"}}},
    ],
)
def test_teams_is_left_out_by_name(fields: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError):
        decode_request(TransferRequest, body(**fields))


def test_a_move_names_each_once() -> None:
    request = decode_request(MoveParticipantsRequest, body(targetParticipants=[ONE, TWO, ONE], fromCall="cc"))
    assert [person.raw_id for person in request.people] == ["4:+15550001", "8:acs:r_u"] and request.from_call == "cc"
    answer = MoveParticipantsResponse(participants=(), from_call="cc", operation_context="c")
    assert answer.to_wire() == {"participants": [], "fromCall": "cc", "operationContext": "c"}
    assert TransferCallResponse(operation_context="c").to_wire() == {"operationContext": "c"}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"fromCall": "cc"}, "targetParticipants: is required"),
        ({"fromCall": "cc", "targetParticipants": []}, "targetParticipants: must not be empty"),
        ({"fromCall": "cc", "targetParticipants": [{}]}, "targetParticipants[0]"),
        ({"targetParticipants": [ONE]}, "fromCall: is required"),
        ({"targetParticipants": [ONE], "fromCall": ""}, "fromCall: must not be empty"),
    ],
)
def test_a_move_that_cannot_be_is_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(WireError) as wrong:
        decode_request(MoveParticipantsRequest, body(**fields))
    assert wrong.value.message.startswith(named)


def test_the_event_is_that_of_the_sample() -> None:
    (expected,) = json.loads(SAMPLE.read_text())
    data = expected["data"]
    event = CallTransferAccepted(
        call_connection_id=data["callConnectionId"],
        server_call_id=data["serverCallId"],
        correlation_id=data["correlationId"],
        operation_context="tr1",
        result_information=result("transferred").information(),
        transfer_target=parse_raw_id(data["transferTarget"]["rawId"]),
        transferee=parse_raw_id(data["transferee"]["rawId"]),
    )
    written = encode_callback(event, event_id=expected["id"], time=expected["time"], api_version=data["version"])
    assert json.loads(written) == [expected]
