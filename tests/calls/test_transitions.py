"""The tables are whole: every request has a row for every state, and every refusal is a row of the results table."""

from __future__ import annotations

from typing import get_args

import pytest

from offhook.calls.conversation import State
from offhook.calls.transitions import FACTS, REJECT_OUTCOMES, REQUESTS
from offhook.wire.results import RESULTS


@pytest.mark.parametrize("request_name", REQUESTS)
def test_a_request_has_an_answer_in_every_state(request_name: str) -> None:
    rows = REQUESTS[request_name]
    assert set(rows) == set(get_args(State))
    assert all(rule in RESULTS for rule in rows.values() if isinstance(rule, str))


def test_facts_speak_of_states_that_exist_and_never_of_the_end() -> None:
    for rows in FACTS.values():
        assert set(rows) <= set(get_args(State)) - {"ended"}


def test_every_leg_can_be_lost_and_every_wait_can_end() -> None:
    assert set(FACTS["leg_lost"]) == set(get_args(State)) - {"ended"}
    assert set(FACTS["time_out"]) == set(get_args(State)) - {"ended", "bridged"}


def test_reject_reasons_are_rows() -> None:
    assert all(outcome in RESULTS for outcome in REJECT_OUTCOMES.values())
