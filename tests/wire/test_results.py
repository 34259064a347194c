"""The results table: recorded values, and that every row can be used where it is meant to be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from offhook.wire.results import RESULTS, result

ROOT = Path(__file__).parents[1] / "fixtures/acs"

RECORDED = {
    "success": (200, 0, "Action completed successfully."),
    "call_not_found": (404, 8522, "Call not found."),
    "ended_by_app": (
        200,
        7000,
        "Call was ended by Azure Communication Service Call Automation API or a server bot. DiagCode: 0#7000.@",
    ),
    "stream_url_invalid": (
        400,
        8581,
        "Action failed, Transport url is not valid or web socket server is not operational.",
    ),
    "stream_unsuccessful": (500, 8603, "Action failed, not able to establish websocket connection."),
}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_values(name: str) -> None:
    row = result(name)
    assert (row.code, row.sub_code, row.message) == RECORDED[name]


@pytest.mark.parametrize(
    ("name", "code", "sub_code"),
    [
        ("rejected", 200, 5002),
        ("not_answered", 487, 10004),
        ("declined", 603, 0),
        ("busy", 486, 560486),
        ("gave_up", 487, 0),
        ("far_end_hung_up_pstn", 0, 560000),
        ("context_spent", 409, 8519),
        ("conflict", 409, 8519),
        ("invitation_not_found", 404, 8522),
        ("participant_not_present", 400, 8558),
        ("removed", 0, 5300),
        ("invalid_argument", 400, 8523),
        ("call_not_established", 400, 8501),
        ("call_terminated", 400, 8528),
        ("not_built", 501, 8520),
        ("streaming_not_configured", 405, 8522),
        ("media_state", 400, 8500),
        ("unauthorized", 401, 7509),
        ("stream_auth_refused", 400, 8581),
        ("stream_lost", 500, 8603),
    ],
)
def test_published_codes(name: str, code: int, sub_code: int) -> None:
    row = result(name)
    assert (row.code, row.sub_code) == (code, sub_code)


def test_every_row_is_whole() -> None:
    for name, row in RESULTS.items():
        assert row.name == name
        assert row.message.endswith((".", "@")), name
        assert row.source, name
        assert 200 <= row.http < 600, name
        assert row.http in (200, row.code), name
        assert row.error_code == str(row.sub_code)


def test_stream_rows_use_only_details_that_the_description_lists() -> None:
    path = ROOT / "CallAutomation/stable/2026-03-12/communicationservicescallautomation.json"
    definitions = json.loads(path.read_text())["definitions"]
    allowed = set(definitions["MediaStreamingStatusDetails"]["enum"])
    streams = [row for name, row in RESULTS.items() if name.startswith("stream_")]
    assert len(streams) == 8
    for row in streams:
        assert row.details in allowed


def test_every_row_is_named_by_code_that_can_end_in_it() -> None:
    """A row that nothing leads to would be a promise that nobody keeps."""
    source = Path(__file__).parents[2] / "src/offhook"
    code = "".join(path.read_text() for path in source.rglob("*.py") if path.name != "results.py")
    published_only = {"call_terminated", "media_lost"}  # what a leg or a machine may still report as an outcome
    assert {name for name in RESULTS if f'"{name}"' not in code} <= published_only


def test_detail_goes_behind_the_message() -> None:
    row = result("stream_url_invalid")
    assert row.information().message == row.message
    told = row.information("Connection refused by 127.0.0.1:9.")
    assert told.message == f"{row.message} Connection refused by 127.0.0.1:9."
    assert told.to_wire() == {"code": 400, "subCode": 8581, "message": told.message}


def test_an_unknown_name_is_our_mistake() -> None:
    with pytest.raises(KeyError):
        result("nothing")
