"""The report of a turn: written, read, and refused for anything that is none (protocol.md §9 row 67)."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.errors import WireError
from offhook.wire.streaming import parse_app_message
from offhook.wire.turns import MAX_REPORT, MOMENTS, TurnReport, write_turn

WHOLE = TurnReport(3, "answer", "heard", 1000, 1620, 1700, 1702, 1740, 5740, 4000, 2, 1, 23)


def text_of(**changes: Any) -> str:
    message = json.loads(write_turn(WHOLE))
    inner = message["offhookTurn"]
    for name, value in changes.items():
        if value is ...:
            del inner[name]
        else:
            inner[name] = value
    return json.dumps(message)


def test_what_is_written_is_read() -> None:
    assert parse_app_message(write_turn(WHOLE)) == WHOLE
    assert parse_app_message(write_turn(WHOLE).encode()) == WHOLE
    assert len(write_turn(WHOLE)) < MAX_REPORT / 2


@given(st.lists(st.none() | st.integers(0, 10_000), min_size=5, max_size=5), st.integers(0, 10_000))
def test_spans_are_contiguous_and_add_up(lengths: list[int | None], rest: int) -> None:
    at, moments = 0, list[int | None]()
    for length in lengths:
        at += length or 0
        moments.append(None if length is None else at)
    report = msgspec.structs.replace(WHOLE, **dict(zip(MOMENTS, [*moments, at + rest], strict=True)))
    assert parse_app_message(write_turn(report)) == report
    if None not in moments:
        first, last = moments[0], moments[4]
        assert first is not None and last is not None
        assert sum(report.spans.values()) == last - first
    assert all(length >= 0 for length in report.spans.values())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"number": "3"}, "number"),
        ({"number": -1}, "number"),
        ({"number": 10**12}, "number"),
        ({"kind": "song"}, "song"),
        ({"outcome": "\x1b[2J"}, "outcome"),
        ({"outcome": ...}, "outcome"),
        ({"detectedMs": 10}, "detectedMs is 10: out of order"),
        ({"endedMs": 10**15}, "endedMs"),
        ({"stoppedMs": -5}, "stoppedMs"),
        ({"stoppedMs": 1.5}, "stoppedMs"),
        ({"heardMs": True}, "heardMs"),
        ({"errorMs": 1e30}, "offhookTurn"),
        ({"secret": "token"}, "secret"),
        ({"secret": "x" * MAX_REPORT}, f"at most {MAX_REPORT}"),
    ],
)
def test_what_is_no_report_says_why(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(WireError, match="offhookTurn") as caught:
        parse_app_message(text_of(**changes))
    assert words in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize("inner", ["null", "[]", "3", '"x"', "{}", '{"number":1,"number":2}'])
def test_an_object_that_is_none(inner: str) -> None:
    with pytest.raises(WireError):
        parse_app_message(f'{{"kind":"OffhookTurn","offhookTurn":{inner}}}')
    with pytest.raises(WireError, match="needs an object"):
        parse_app_message('{"Kind":"OFFHOOKTURN"}')


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_nothing_but_a_wire_error_comes_out(inner: bytes) -> None:
    try:
        parse_app_message(b'{"kind":"OffhookTurn","offhookTurn":' + inner + b"}")
    except WireError:
        pass


def test_the_names_are_as_documented() -> None:
    assert msgspec.json.decode(write_turn(WHOLE)) == {
        "kind": "OffhookTurn",
        "offhookTurn": {
            "number": 3, "kind": "answer", "outcome": "heard", "stoppedMs": 1000, "detectedMs": 1620, "audioMs": 1700,
            "sentMs": 1702, "firstHeardMs": 1740, "endedMs": 5740, "heardMs": 4000, "playbacks": 2, "resumed": 1,
            "errorMs": 23,
        },
    }  # fmt: skip
