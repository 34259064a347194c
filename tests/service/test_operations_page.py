"""docs/operations.md: made from the tables, whole, and naming tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from offhook.service.operation_notes import NOTES
from offhook.service.operations import OPERATIONS
from offhook.service.operations_page import operations_page

TESTS = Path(__file__).parents[1]


def test_the_page_is_that_of_the_tables() -> None:
    assert (TESTS.parent / "docs/operations.md").read_text() == operations_page(), (
        "make it anew: .venv/bin/python -m offhook.service.operations_page > docs/operations.md"
    )


def test_every_operation_that_is_built_has_its_note() -> None:
    built = {operation.name for operation in OPERATIONS if operation.run is not None}
    assert built <= set(NOTES) <= {operation.name for operation in OPERATIONS}


@pytest.mark.parametrize("name", NOTES)
def test_each_success_is_proved(name: str) -> None:
    proofs = NOTES[name].proved_by
    assert any(what.startswith("success") for what, _ in proofs), "no test of success"
    assert len({what for what, _ in proofs}) == len(proofs)


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`([\w/]+\.py)::(\w+)`", operations_page()))
    assert {test for note in NOTES.values() for _, test in note.proved_by} <= {"::".join(one) for one in named}
    for file, function in named:
        assert re.search(rf"^(async )?def {function}\(", (TESTS / file).read_text(), re.MULTILINE), (file, function)
