"""Lines about who was turned away: the first of each source, and never a flood."""

from __future__ import annotations

import pytest

from offhook.service.refusals import LINES, SOURCES, Refusals


def test_one_source_is_named_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals(0.0)
    assert refusals.note("failed password, request", "192.0.2.1", 0.0)
    assert not refusals.note("failed password, request", "192.0.2.1", 30.0)
    assert refusals.note("something else", "192.0.2.1", 30.0)
    assert refusals.note("failed password, request", "192.0.2.1", 61.0)
    assert [record.getMessage() for record in caplog.records][0] == "failed password, request from 192.0.2.1"


def test_many_sources_cost_few_lines_and_bounded_memory(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals(0.0)
    for n in range(10_000):
        refusals.note("x", f"192.0.{n >> 8}.{n & 255}", 0.0)
    assert len(caplog.records) == LINES
    for n in range(SOURCES + 100):
        refusals.note("x", f"198.51.{n >> 8}.{n & 255}", 1.0 + n)
    assert len(refusals) == SOURCES
