"""Which call a request is about: by its path, by the context or the serverCallId in its body; and what trusts whom."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.scenarios.stage import Stage

from offhook.service.exchange import Exchange, call_of


def exchange(body: Any, *, trusted: bool = True, **ids: str) -> Exchange:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Exchange("POST", "/calling/callConnections:answer", 1.234, data, b"{}", ids, trusted)


def test_a_context_names_its_call_though_it_is_spent_or_has_expired() -> None:
    stage = Stage()
    stage.call()
    context, trace = stage.context, next(iter(stage.node.calls.values())).trace
    body = {"incomingCallContext": context, "callbackUri": 7}
    assert call_of(stage.node, None, exchange(body)) is trace
    stage.answer()
    stage.run(400)
    assert call_of(stage.node, None, exchange(body)) is trace
    assert call_of(stage.node, None, exchange(body, trusted=False)) is None, "who has no key names nothing"
    assert call_of(stage.node, None, exchange({"incomingCallContext": context[:-3]})) is None


def test_a_server_call_id_names_its_call() -> None:
    stage = Stage()
    stage.call()
    connection = stage.answer()
    live = next(iter(stage.node.calls.values()))
    body = {"callLocator": {"kind": "serverCallLocator", "serverCallId": live.call.server_call_id}}
    assert call_of(stage.node, None, exchange(body)) is live.trace
    assert call_of(stage.node, connection, None) is live.trace
    assert call_of(stage.node, None, exchange({"callLocator": {"serverCallId": "nonsense"}})) is None
    assert call_of(stage.node, None, exchange({}, recordingId="none")) is None


def test_refusals_that_name_a_call_are_in_its_trace() -> None:
    stage = Stage()
    stage.call()
    body = {"incomingCallContext": stage.context}
    stage.node.note_request(None, "RejectCall", 400, {"error": "why"}, exchange(body))
    event = next(iter(stage.node.calls.values())).trace.page()["events"][-1]
    assert (event["kind"], event["name"], event["detail"]["status"], event["detail"]["ms"]) == (
        "rest", "RejectCall", 400, 1.23,
    )  # fmt: skip
    assert event["detail"]["error"] == "why" and event["detail"]["requestBody"] == body


def test_a_request_of_nobody_is_no_sign_of_life() -> None:
    stage = Stage()
    stage.call()
    connection = stage.answer()
    live = next(iter(stage.node.calls.values()))
    live.app_heard.clear()
    stage.node.note_request(connection, "Play", 401, {}, exchange({}, trusted=False))
    assert not live.app_heard and live.trace.events[-1].detail["status"] == 401
    stage.node.note_request(connection, "Play", 202, {}, exchange({}))
    assert connection in live.app_heard


_STAGE = Stage()


@given(st.binary(max_size=100) | st.sampled_from([b'{"incomingCallContext": 5}', b'{"callLocator": []}', b"[" * 9999]))
def test_any_body_may_come(body: bytes) -> None:
    assert call_of(_STAGE.node, None, exchange(body)) is None


@pytest.mark.parametrize("connection", ["", "nobody"])
def test_a_connection_of_nobody_is_no_call(connection: str) -> None:
    assert call_of(_STAGE.node, connection, exchange({})) is None
