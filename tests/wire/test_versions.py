"""The api-versions that are taken, and what differs between them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from offhook.wire.versions import API_VERSIONS, DIFFERENCES, known_to

PROTOCOL = (Path(__file__).parents[2] / "docs/protocol.md").read_text()


def test_every_version_of_the_contract_is_taken() -> None:
    section = PROTOCOL[PROTOCOL.index("### 0.2") : PROTOCOL.index("## 1. Who")]
    named = set(re.findall(r"\d{4}-\d\d-\d\d(?:-preview)?", section))
    assert {"2023-10-15", "2026-03-12"} < named <= set(API_VERSIONS)
    assert list(API_VERSIONS) == sorted(set(API_VERSIONS))


@pytest.mark.parametrize(
    ("name", "version", "known"),
    [
        ("Unmute", "2023-06-15-preview", False),
        ("Unmute", "2023-10-03-preview", True),
        ("Unmute", "2023-10-15", False),
        ("Unmute", "2026-03-12", False),
        ("PlayStarted", "2024-04-15", False),
        ("PlayStarted", "2024-06-15-preview", True),
        ("PlayStarted", "2026-03-12", True),
        ("Dialogs", "2023-06-15-preview", True),
        ("Dialogs", "2024-04-15", False),
    ],
)
def test_what_a_version_has(name: str, version: str, known: bool) -> None:
    assert known_to(name, version) is known


def test_every_bound_of_the_table_is_a_version() -> None:
    for row in DIFFERENCES.values():
        assert row.first in API_VERSIONS and (row.last is None or row.last in API_VERSIONS)
