"""Identifiers: every kind of protocol.md §3.6, in every form in which the SDKs send it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.errors import UnsupportedError, WireError
from offhook.wire.exclusions import EXCLUSIONS
from offhook.wire.identifiers import (
    Identifier,
    any_identifier,
    communication_user,
    parse_raw_id,
    phone_number,
    read_identifier,
    read_phone,
    read_user,
    resolve_target,
    write_identifier,
    write_phone,
    write_user,
)

SDK_REQUESTS = Path(__file__).parents[1] / "fixtures/acs/samples/sdk-requests"

KINDS: dict[str, dict[str, Any]] = {
    "8:acs:res_user": {"kind": "communicationUser", "communicationUser": {"id": "8:acs:res_user"}},
    "8:dod-acs:res_user": {"kind": "communicationUser", "communicationUser": {"id": "8:dod-acs:res_user"}},
    "8:gcch-acs:res_user": {"kind": "communicationUser", "communicationUser": {"id": "8:gcch-acs:res_user"}},
    "8:spool:abc": {"kind": "communicationUser", "communicationUser": {"id": "8:spool:abc"}},
    "8:acs:r_t_u": {
        "kind": "teamsExtensionUser",
        "teamsExtensionUser": {"userId": "u", "tenantId": "t", "resourceId": "r", "cloud": "public"},
    },
    "8:gcch-acs:r_t_u": {
        "kind": "teamsExtensionUser",
        "teamsExtensionUser": {"userId": "u", "tenantId": "t", "resourceId": "r", "cloud": "gcch"},
    },
    "4:+15550001": {"kind": "phoneNumber", "phoneNumber": {"value": "+15550001"}},
    "4:anonymous": {"kind": "phoneNumber", "phoneNumber": {"value": "anonymous", "isAnonymous": True}},
    "4:+15550001_a1": {"kind": "phoneNumber", "phoneNumber": {"value": "+15550001", "assertedId": "a1"}},
    "8:orgid:u": {"kind": "microsoftTeamsUser", "microsoftTeamsUser": {"userId": "u", "cloud": "public"}},
    "8:dod:u": {"kind": "microsoftTeamsUser", "microsoftTeamsUser": {"userId": "u", "cloud": "dod"}},
    "8:gcch:u": {"kind": "microsoftTeamsUser", "microsoftTeamsUser": {"userId": "u", "cloud": "gcch"}},
    "8:teamsvisitor:v": {
        "kind": "microsoftTeamsUser",
        "microsoftTeamsUser": {"userId": "v", "cloud": "public", "isAnonymous": True},
    },
    "28:orgid:a": {"kind": "microsoftTeamsApp", "microsoftTeamsApp": {"appId": "a", "cloud": "public"}},
    "28:dod:a": {"kind": "microsoftTeamsApp", "microsoftTeamsApp": {"appId": "a", "cloud": "dod"}},
    "28:gcch:a": {"kind": "microsoftTeamsApp", "microsoftTeamsApp": {"appId": "a", "cloud": "gcch"}},
    "28:acs:bot": {"kind": "unknown"},
    "8:acs:": {"kind": "unknown"},
    "4:": {"kind": "unknown"},
    "sip:bob": {"kind": "unknown"},
}


@pytest.mark.parametrize("raw", KINDS)
def test_every_kind_is_written_with_kind_raw_id_and_its_sub_object(raw: str) -> None:
    wire = write_identifier(parse_raw_id(raw))
    assert wire == {"rawId": raw, **KINDS[raw]}


@pytest.mark.parametrize("raw", KINDS)
def test_every_part_of_an_identifier_is_enough(raw: str) -> None:
    whole = {"rawId": raw, **KINDS[raw]}
    forms: list[dict[str, Any]] = [{"rawId": raw}, {k: v for k, v in whole.items() if k != "kind"}, whole]
    if len(KINDS[raw]) == 2:
        forms.append({k: v for k, v in whole.items() if k != "rawId"})
        forms.append({k: v for k, v in whole.items() if k not in ("rawId", "kind")})
    for form in forms:
        read = any_identifier(form, "x")
        assert (read, read.kind) == (parse_raw_id(raw), KINDS[raw]["kind"]), form


def test_spelling_differences_of_the_sdks_are_accepted() -> None:
    python = {"rawId": "8:orgid:u", "microsoftTeamsUser": {"userId": "u", "isAnonymous": False, "cloud": "PUBLIC"}}
    assert any_identifier(python, "x") == parse_raw_id("8:orgid:u")
    assert any_identifier({"microsoftTeamsApp": {"appId": "a", "cloud": "DOD"}}, "x").raw_id == "28:dod:a"
    js = {"kind": "phoneNumber", "rawId": "4:+1", "phoneNumber": {"value": "+1", "isAnonymous": False}}
    assert read_identifier(js, "x") == phone_number("+1")
    nulls = {"kind": None, "rawId": None, "phoneNumber": {"value": "+1", "assertedId": None}, "communicationUser": None}
    assert read_identifier(nulls, "x") == phone_number("+1")
    asserted = {"phoneNumber": {"value": "+1", "assertedId": "z"}}
    assert read_identifier(asserted, "x").raw_id == "4:+1_z"
    assert read_identifier({"phoneNumber": {"value": "hidden", "isAnonymous": True}}, "x").raw_id == "4:anonymous"


def test_a_sub_object_says_more_than_a_raw_id_of_no_known_form() -> None:
    assert read_identifier({"rawId": "+1555", "phoneNumber": {"value": "+1555"}}, "x") == phone_number("+1555")
    user = read_identifier({"rawId": "bob", "communicationUser": {"id": "bob"}}, "x")
    assert write_identifier(user) == {"kind": "communicationUser", "rawId": "bob", "communicationUser": {"id": "bob"}}


def captured_identifiers() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if "rawId" in value:
                found.append(value)
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    for file in sorted(SDK_REQUESTS.glob("*.json")):
        for request in json.loads(file.read_text())["requests"]:
            walk(request.get("body"))
    return found


def test_every_identifier_that_the_sdks_sent_is_read() -> None:
    captured = captured_identifiers()
    assert len(captured) > 40
    for obj in captured:
        assert read_identifier(obj, "x").raw_id == obj["rawId"]


@pytest.mark.parametrize(
    ("obj", "field"),
    [
        ("4:+1", "targets[0]"),
        ({}, "targets[0]"),
        ({"rawId": ""}, "targets[0]"),
        ({"rawId": 5}, "targets[0].rawId"),
        ({"phoneNumber": {}}, "targets[0].phoneNumber.value"),
        ({"phoneNumber": {"value": 5}}, "targets[0].phoneNumber.value"),
        ({"phoneNumber": "+1"}, "targets[0].phoneNumber"),
        ({"phoneNumber": {"value": "+1", "isAnonymous": "no"}}, "targets[0].phoneNumber.isAnonymous"),
        ({"communicationUser": {"id": ""}}, "targets[0].communicationUser.id"),
        ({"microsoftTeamsUser": {"userId": "u", "cloud": "moon"}}, "targets[0].microsoftTeamsUser.cloud"),
        ({"teamsExtensionUser": {"userId": "u", "tenantId": "t"}}, "targets[0].teamsExtensionUser.resourceId"),
        ({"phoneNumber": {"value": "+1"}, "communicationUser": {"id": "u"}}, "targets[0]"),
    ],
)
def test_errors_name_the_field(obj: Any, field: str) -> None:
    with pytest.raises(WireError) as caught:
        read_identifier(obj, "targets[0]")
    assert caught.value.field == field
    assert str(caught.value).startswith(field)


TEAMS = [raw for raw, wire in KINDS.items() if wire["kind"] in EXCLUSIONS]


@pytest.mark.parametrize("raw", TEAMS)
def test_whom_we_cannot_reach_is_refused_by_name(raw: str) -> None:
    kind = KINDS[raw]["kind"]
    for form in ({"rawId": raw}, {"rawId": raw, **KINDS[raw]}, KINDS[raw]):
        with pytest.raises(UnsupportedError, match=f"^targets: {kind} is not supported: .*; name a phone number"):
            read_identifier(form, "targets")
    with pytest.raises(UnsupportedError, match="answeredBy"):
        read_user({"id": raw}, "answeredBy")


def test_small_forms() -> None:
    assert read_user({"id": "+11234567890"}, "answeredBy").raw_id == "+11234567890"
    assert read_phone({"value": "+1555"}, "sourceCallerIdNumber") == phone_number("+1555")
    assert write_phone(phone_number("+1555")) == {"value": "+1555"}
    assert write_user(communication_user("8:acs:r_u")) == {"id": "8:acs:r_u"}


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("+1555", "4:+1555"),
        ("1555", "4:+1555"),
        (" +1 (555) 01-00 ", "4:+15550100"),
        ("4:+1555", "4:+1555"),
        ("8:acs:r_u", "8:acs:r_u"),
        ("28:orgid:a", "28:orgid:a"),
    ],
)
def test_targets_as_people_type_them(text: str, raw: str) -> None:
    assert resolve_target(text).raw_id == raw


@pytest.mark.parametrize("text", ["", "   ", "bob", "+", "+1555x"])
def test_a_target_that_is_nothing_says_what_to_write(text: str) -> None:
    with pytest.raises(WireError, match="phone number such as"):
        resolve_target(text)


def test_value_equality_and_hash() -> None:
    assert phone_number("+1").value == "+1"
    assert communication_user("8:acs:r_u").value == "8:acs:r_u"
    assert len({phone_number("+1"), parse_raw_id("4:+1"), Identifier("unknown", "4:+1", "4:+1")}) == 1
    assert phone_number("+1") != "4:+1"
    with pytest.raises(WireError):
        phone_number("")
    for nothing in ("", None, 5):
        with pytest.raises(WireError):
            parse_raw_id(nothing)  # type: ignore[arg-type]


PREFIXES = st.sampled_from(
    ["", "4:", "8:acs:", "8:dod-acs:", "8:orgid:", "8:teamsvisitor:", "28:orgid:", "8:spool:", "8:"]
)


@given(PREFIXES, st.text(max_size=30))
def test_any_raw_id_survives_writing_and_reading(prefix: str, rest: str) -> None:
    raw = prefix + rest
    if not raw:
        return
    identifier = parse_raw_id(raw)
    wire = write_identifier(identifier)
    again = any_identifier(wire, "x")
    assert identifier.raw_id == raw
    assert (again, again.kind) == (identifier, identifier.kind)
    del wire["rawId"]
    if len(wire) == 2:
        assert any_identifier(wire, "x") == identifier


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["kind", "rawId", "phoneNumber", "communicationUser", "microsoftTeamsUser", "teamsExtensionUser"]
                + ["microsoftTeamsApp", "value", "id", "cloud", "userId", "appId", "isAnonymous", "assertedId"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_an_identifier_or_the_one_error(value: Any) -> None:
    for read in (any_identifier, read_identifier, read_user, read_phone):
        try:
            assert read(value, "x").raw_id
        except WireError as error:
            assert error.field
