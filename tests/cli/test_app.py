"""The table of verbs: help, lazy imports, usage errors in one line, and docs/cli.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from offhook import __version__
from offhook.cli import main
from offhook.cli.app import VERBS
from offhook.cli.reference import help_text, page

ROOT = Path(__file__).resolve().parents[2]


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, verb in VERBS.items():
        assert f"  {name}" in shown and verb.summary in shown


def test_help_imports_nothing_heavy() -> None:
    check = (
        "import sys; from offhook.cli import main; main(['--help']); "
        "print([m for m in ('numpy', 'aiohttp', 'rich', 'azure') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_numpy_is_held_to_one_thread() -> None:
    check = "import os; from offhook.cli import main; main(['--version']); print(os.environ['OPENBLAS_NUM_THREADS'])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"offhook {__version__}", "1"]


@pytest.mark.parametrize("name", list(VERBS))
def test_every_verb_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Example:" in shown and "offhook " in shown
    assert shown.split()[:3] == ["Usage:", "offhook", name]


@pytest.mark.parametrize(
    "argv",
    [
        ["bogus"],
        ["--bogus"],
        ["call"],
        ["call", "--to"],
        ["call", "--to", "+15550100002", "--tone", "loud"],
        ["call", "--to", "+15550100002", "--tone", "440", "--node", "nonsense"],
        ["call", "--to", "+15550100002", "--tone", "440", "--node", "endpoint=http://127.0.0.1:1/;accesskey=!"],
        ["call", "--to", "+15550100002", "--tone", "440", "--node", "http://127.0.0.1:99999"],
        ["call", "--to", "+15550100002", "--tone", "440", "--node", "http://[x"],
        ["dev", "--port", "70000"],
        ["exec"],
        ["phone"],
        ["phone", "--number", "+15550100003", "--reject", "busy", "--never"],
        ["phone", "--number", "+15550100003", "--reject", "later"],
        ["phone", "--number", "+15550100003", "--answer-after", "-1"],
        ["demo", "--wav", "/nowhere/at/all.wav"],
        ["doctor", "--webhook", "ftp://host/x"],
        ["doctor", "--websocket", "http://host/x"],
        ["doctor", "--websocket", "ws://[x"],
    ],
)
def test_usage_and_configuration_errors_are_one_line_and_exit_2(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.strip().splitlines()) == 1, told.err
    assert told.err.startswith("offhook")


def test_no_command_shows_the_help_and_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Commands:" in "".join(capsys.readouterr())


def test_the_page_of_the_command_line_is_current() -> None:
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == page(), (
        "run  python -m offhook.cli.reference > docs/cli.md"
    )


def test_help_text_has_a_fixed_width(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = help_text("call")
    monkeypatch.setenv("COLUMNS", "40")
    assert help_text("call") == wide
