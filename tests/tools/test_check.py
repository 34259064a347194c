"""The runner behind `make test`: counts, the closing line, and loud skips."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tools import check, js_sdk, sip_peers

JUNIT = """<testsuites><testsuite>
<testcase name="a"/><testcase name="b"><system-out>x</system-out></testcase>
<testcase classname="tests.m" name="c"><failure message="assert 1 == 2&#10; and so on"/></testcase>
<testcase name="d"><error/></testcase>
<testcase name="e"><skipped/></testcase><testcase name="f"><failure/><error/></testcase>
</testsuite></testsuites>"""


def test_closing_line() -> None:
    assert check.Tally(passed=3).closing_line() == "3 passed, 0 failed"
    assert check.Tally(passed=3, failed=1, skipped=2).closing_line() == "3 passed, 1 failed, 2 skipped"


def test_results_are_counted_by_case(tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"
    report.write_text(JUNIT)
    assert check.count_results(report) == (2, 3, 1)


def test_what_failed_is_named_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    report = tmp_path / "junit.xml"
    report.write_text(JUNIT)
    tally = check.Tally()
    check.count_run(tally, "pytest", 1, report)
    assert tally.problems[:2] == ["pytest: 3 of 5 tests", "  tests.m::c: assert 1 == 2"]
    monkeypatch.setattr(check, "NAMED", 1)
    tally = check.Tally()
    check.count_run(tally, "pytest", 1, report)
    assert tally.problems[1:3] == ["  tests.m::c: assert 1 == 2", "  and 3 more"]


@pytest.mark.parametrize(("ci", "failed", "skipped"), [("true", 4, 0), ("", 3, 1)])
def test_a_test_that_is_skipped_fails_on_ci(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ci: str, failed: int, skipped: int
) -> None:
    monkeypatch.setenv("CI", ci)
    report = tmp_path / "junit.xml"
    report.write_text(JUNIT)
    tally = check.Tally()
    check.count_run(tally, "pytest", 1, report)
    assert (tally.failed, tally.skipped) == (failed, skipped)
    assert tally.skips == ["pytest: 1 tests; their reasons: python -m pytest -rs"]


@pytest.mark.parametrize(("ci", "failed", "skipped"), [("true", 1, 0), ("", 0, 1)])
def test_missing_part_is_loud_and_fails_on_ci(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ci: str, failed: int, skipped: int
) -> None:
    def unavailable() -> str:
        raise js_sdk.NotAvailable("node not found")

    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(js_sdk, "install", unavailable)
    tally = check.Tally()
    check.js_step(tally)
    assert (tally.failed, tally.skipped) == (failed, skipped)
    assert tally.skips == ["JavaScript SDK: node not found"]
    assert "NOT INSTALLED" in capsys.readouterr().out


def test_coverage_is_summed_by_room() -> None:
    def entry(ran: int, total: int) -> dict[str, dict[str, float]]:
        return {"summary": {"covered_lines": ran, "num_statements": total, "covered_branches": 1, "num_branches": 2}}

    files = {
        "src/offhook/wire/ids.py": entry(4, 8),
        "src/offhook/wire/events.py": entry(6, 8),
        "src/offhook/errors.py": entry(1, 1),
    }
    assert check.coverage_of_rooms(files) == {"wire": (12, 20), "(top)": (2, 3)}


def test_who_gives_way_is_given_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(check, "BUILD", tmp_path)
    monkeypatch.setattr("tools.check.subprocess.Popen", lambda command, **_: commands.append(command))
    for nice in (True, False):
        check.start_beside(check.Beside("some", ("tests/some",), nice=nice))
    limits = [[word for word in command if word.startswith("--timeout")] for command in commands]
    assert limits == [[f"--timeout={check.STARVED_LIMIT}"], []]


def test_every_part_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that is written and never called would leave its tests without what they need."""
    called: list[str] = []

    def install(name: str) -> Callable[[], str]:
        return lambda: called.append(name) or name  # type: ignore[func-returns-value]

    for module in (js_sdk, sip_peers):
        monkeypatch.setattr(module, "install", install(module.__name__))
    for step in ("static_steps", "coverage_step"):
        monkeypatch.setattr(check, step, lambda tally: None)
    monkeypatch.setattr(check, "pytest_step", lambda tally, arguments: called.append("pytest"))
    assert check.main([]) == 0
    assert called[:-1] == ["tools.js_sdk", "tools.sip_peers"]
    assert called[-1] == "pytest"
