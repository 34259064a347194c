"""Every file of examples/ is short, typed, run by a test and named in the documentation."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest
from tests.examples.running import EXAMPLES, ROOT

LONGEST = 80
FILES = sorted(EXAMPLES.glob("*.py"))
TESTS = [path for path in sorted((ROOT / "tests").rglob("*.py")) if path != Path(__file__)]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

every_example = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)


@every_example
def test_an_example_is_run_by_a_test(path: Path) -> None:
    runs = [test for test in TESTS if path.name in test.read_text()]
    assert runs, f"no test runs examples/{path.name}: see tests/examples/running.py"


@every_example
def test_an_example_is_in_the_documentation(path: Path) -> None:
    pages = [page for page in PAGES if f"examples/{path.name}" in page.read_text()]
    assert pages, f"neither README.md nor a page of docs/ names examples/{path.name}"


@every_example
def test_an_example_fits_on_a_screen_or_two_and_says_what_it_does(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= LONGEST
    assert ast.get_docstring(ast.parse(text)), f"examples/{path.name} has no docstring that says what it does"


def test_examples_are_typed() -> None:
    mypy = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert mypy["strict"] and "examples" in mypy["files"]
