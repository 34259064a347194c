"""`make test`: style, types, layers, tests and coverage in one run, with one count as its last line.

Each check step counts as one, each test as one. A part that cannot run on this machine is skipped loudly, and is a
failure when CI=true. `--lint` stops after style, types and layers.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools import js_sdk, sip_peers

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "check"

# Least share of lines and branches that tests must run, per room, in per cent. Rooms not named are shown only.
FLOORS = dict.fromkeys(("wire", "audio", "sip", "calls", "kit"), 90.0) | {"legs": 85.0, "service": 85.0, "cli": 80.0}


@dataclass(frozen=True)
class Beside:
    """Tests that run in a process of their own while the others run: those mostly wait."""

    name: str
    paths: tuple[str, ...]
    nice: bool
    """Whether they give way to all others."""
    covered: bool = True
    """Whether what they run counts as covered. Nodes then run at half their speed, not as those that users run: not for
    tests that are judged by time or sound, or that say no more of coverage than the others."""

    @property
    def coverage(self) -> Path:
        """Where their coverage goes: never among that of the others, who gather theirs when they end."""
        return ROOT / f".coverage-{self.name}"


def _conformance(*, python: bool) -> tuple[str, ...]:
    """Tests of tests/conformance: those through the Python SDK, or all others. They wait more than they compute."""
    files = sorted((ROOT / "tests/conformance").glob("test_*.py"))
    return tuple(str(path.relative_to(ROOT)) for path in files if path.name.startswith("test_python_") is python)


_JUDGED = ("test_baresip.py", "test_kamailio.py", "test_story.py")


def _kind(name: str) -> str:
    """With what a file of tests/interop tests: phones that are judged, linphone (slow, for it sends no faster than
    people talk), browsers, or other programs."""
    if name in _JUDGED:
        return "judged"
    if name == "test_linphone.py":
        return "linphone"
    return "browser" if name.startswith(("test_browser_", "test_console_")) else "other"


def _interop(kind: str) -> tuple[str, ...]:
    """Tests with other programs, of one kind."""
    files = sorted(path.name for path in (ROOT / "tests/interop").glob("test_*.py"))
    return tuple(f"tests/interop/{name}" for name in files if _kind(name) == kind)


_HEARD = "tests/soak/test_barge_in.py"
_SOAK = tuple(str(path.relative_to(ROOT)) for path in sorted((ROOT / "tests/soak").glob("test_*.py")))
_PROCESSOR = ("tests/wire", "tests/audio", "tests/sip", "tests/calls", "tests/scenarios")
BESIDE = (
    Beside("processor", _PROCESSOR, nice=True),
    Beside("python-sdk", _conformance(python=True)[::2], nice=False, covered=False),
    Beside("python-sdk-too", _conformance(python=True)[1::2], nice=False, covered=False),
    Beside("conformance", _conformance(python=False), nice=False),
    Beside("long-runs", tuple(path for path in _SOAK if path != _HEARD), nice=False, covered=False),
    Beside("interop", _interop("other"), nice=False, covered=False),
    Beside("service", ("tests/service",), nice=False),
)
FIRST = (
    (
        Beside("real-time", ("tests/cli/test_demo.py", *_interop("judged"), _HEARD), nice=False, covered=False),
    ),
    (
        Beside("linphone", _interop("linphone"), nice=False, covered=False),
        Beside("examples", ("tests/examples",), nice=False, covered=False),
    ),
    (Beside("browsers", _interop("browser"), nice=False, covered=False),),
)
"""Judge a whole call by its gaps, as users hear it, and pages by their frames: one stage after another, before the
others begin, beside those that give way."""
PYTEST_LIMIT = 20 * 60  # seconds for the whole test run: a hung run is a failed one
STARVED_LIMIT = 10 * 60
"""Seconds for one test that gives way to all others: on a busy machine it gets a small part of the processor, and a
test that is broken off inside of coverage's lock leaves the next one waiting for ever."""
NAMED = 12
"""So many failed tests of a group are named at the end."""
WHY_LIMIT = 160


@dataclass
class Tally:
    """Counts over the whole run, and the lines that the summary repeats."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    problems: list[str] = field(default_factory=list)
    skips: list[str] = field(default_factory=list)

    def record(self, name: str, ok: bool, detail: str = "") -> None:
        if ok:
            self.passed += 1
        else:
            self.failed += 1
            self.problems.append(f"{name}: {detail}" if detail else name)

    def skip(self, name: str, reason: str, count: int = 1) -> None:
        """A part this machine cannot run, or `count` tests: loud, and on CI a failure."""
        self.skips.append(f"{name}: {reason}")
        if in_ci():
            self.record(name, False, f"skipped, which CI=true does not allow ({reason})")
        else:
            self.skipped += count

    def closing_line(self) -> str:
        tail = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{tail}"


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() == "true"


def heading(name: str) -> None:
    print(f"\n== {name} ==", flush=True)


def run_step(tally: Tally, name: str, command: Sequence[str]) -> None:
    """A tool whose exit status is the verdict; its output is shown as it comes."""
    heading(name)
    started = time.monotonic()
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    print(f"{name}: {'ok' if status == 0 else 'FAILED'} ({time.monotonic() - started:.1f} s)", flush=True)
    tally.record(name, status == 0, f"exit status {status}")


def static_steps(tally: Tally) -> None:
    run_step(tally, "ruff", [sys.executable, "-m", "ruff", "check", "--quiet", "--output-format=concise", "."])
    run_step(tally, "mypy", [sys.executable, "-m", "mypy", "--no-error-summary"])
    lint_imports = str(Path(sys.executable).with_name("lint-imports"))
    run_step(tally, "import-linter", [lint_imports])


def js_step(tally: Tally) -> None:
    heading("JavaScript SDK")
    try:
        print(js_sdk.install())
    except js_sdk.NotAvailable as error:
        print(f"JavaScript SDK: NOT INSTALLED: {error}")
        tally.skip("JavaScript SDK", str(error))
    else:
        tally.record("JavaScript SDK", True)


def peers_step(tally: Tally) -> None:
    heading("SIP peers")
    try:
        print(sip_peers.install())
    except sip_peers.NotAvailable as error:
        print(f"SIP peers: NOT INSTALLED: {error}")
        tally.skip("SIP peers", str(error))
    else:
        tally.record("SIP peers", True)


def count_results(report: Path) -> tuple[int, int, int]:
    """(passed, failed, skipped) of a JUnit report; an error in set-up or collection is a failure."""
    passed = failed = skipped = 0
    for case in ElementTree.parse(report).iter("testcase"):
        outcomes = {child.tag for child in case}
        if outcomes & {"failure", "error"}:
            failed += 1
        elif "skipped" in outcomes:
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def failures(report: Path) -> list[str]:
    """The tests that failed in a JUnit report, a line each: the test, and how its failure begins."""
    lines = []
    for case in ElementTree.parse(report).iter("testcase"):
        for child in case:
            if child.tag in ("failure", "error"):
                why = (child.get("message") or "").strip().partition("\n")[0]
                lines.append(f"{case.get('classname', '')}::{case.get('name', '')}: {why[:WHY_LIMIT]}")
    return lines


def pytest_command(report: Path, arguments: Sequence[str], *, covered: bool = True) -> list[str]:
    options = ["--continue-on-collection-errors", "--durations=8"]
    options += ["--cov=offhook", "--cov-report="] if covered else []
    return [sys.executable, "-m", "pytest", f"--junitxml={report}", *options, *arguments]


def start_beside(group: Beside) -> subprocess.Popen[bytes]:
    """Starts a group; what it prints goes into a file."""
    report = BUILD / f"junit-{group.name}.xml"
    report.unlink(missing_ok=True)
    options = ["-p", "no:cacheprovider", *([f"--timeout={STARVED_LIMIT}"] if group.nice else [])]
    command = pytest_command(report, [*options, *group.paths], covered=group.covered)
    if group.nice and (nice := shutil.which("nice")):
        command = [nice, "-n", "19", *command]
    environment = os.environ | {"COVERAGE_FILE": str(group.coverage)}
    with (BUILD / f"pytest-{group.name}.txt").open("wb") as sink:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=sink, stderr=subprocess.STDOUT)


def end_beside(tally: Tally, group: Beside, process: subprocess.Popen[bytes]) -> None:
    """Waits for a group, shows what it printed, and counts it."""
    try:
        status: int | None = process.wait(PYTEST_LIMIT)
    except subprocess.TimeoutExpired:
        status = None
    heading(f"pytest: {group.name}")
    sys.stdout.write((BUILD / f"pytest-{group.name}.txt").read_text(errors="replace"))
    count_run(tally, f"pytest of {group.name}", status, BUILD / f"junit-{group.name}.xml")
    if group.covered:
        combine = [sys.executable, "-m", "coverage", "combine", "--quiet", "--append", str(group.coverage)]
        subprocess.run(combine, cwd=ROOT, check=False)


def pytest_step(tally: Tally, arguments: Sequence[str]) -> None:
    """Runs the tests under coverage; their own counts go into the tally."""
    heading("pytest")
    report = BUILD / "junit.xml"
    report.unlink(missing_ok=True)
    if arguments:
        count_run(tally, "pytest", run_pytest(report, arguments), report)
        return
    stages = [" and ".join(group.name for group in stage) for stage in FIRST]
    print(f"first: {', then '.join(stages)}; beside: {', '.join(group.name for group in BESIDE)}", flush=True)
    groups = [(group, start_beside(group)) for group in BESIDE if group.nice]
    try:
        for stage in FIRST:
            begun = [(group, start_beside(group)) for group in stage]
            groups += begun
            for _, process in begun:
                with contextlib.suppress(subprocess.TimeoutExpired):  # it is told when it is counted
                    process.wait(PYTEST_LIMIT)
        groups += [(group, start_beside(group)) for group in BESIDE if not group.nice]
        elsewhere = [f"--ignore={path}" for group, _ in groups for path in group.paths]
        count_run(tally, "pytest", run_pytest(report, elsewhere), report)
        for group, process in groups:
            end_beside(tally, group, process)
    finally:
        for _, process in groups:
            process.kill()


def run_pytest(report: Path, arguments: Sequence[str]) -> int | None:
    """The exit status, or None when it did not end in time."""
    try:
        return subprocess.run(pytest_command(report, arguments), cwd=ROOT, check=False,
                              timeout=PYTEST_LIMIT).returncode  # fmt: skip
    except subprocess.TimeoutExpired:
        return None


def count_run(tally: Tally, name: str, status: int | None, report: Path) -> None:
    if status is None:
        tally.record(name, False, f"did not end within {PYTEST_LIMIT} s")
        return
    if not report.exists():
        tally.record(name, False, f"wrote no report (exit status {status})")
        return
    passed, failed, skipped = count_results(report)
    tally.passed += passed
    tally.failed += failed
    if skipped:
        tally.skip(name, f"{skipped} tests; their reasons: python -m pytest -rs", skipped)
    if failed:
        tally.problems.append(f"{name}: {failed} of {passed + failed} tests")
        named = failures(report)
        tally.problems += [f"  {line}" for line in named[:NAMED]]
        if len(named) > NAMED:
            tally.problems.append(f"  and {len(named) - NAMED} more")
    elif status:
        tally.record(name, False, f"exit status {status}")


def coverage_of_rooms(files: dict[str, dict[str, dict[str, float]]]) -> dict[str, tuple[int, int]]:
    """Room -> (what ran, what could have run), lines and branches together, from coverage's JSON report."""
    rooms: dict[str, tuple[int, int]] = {}
    for name, entry in files.items():
        parts = Path(name).parts
        inside = parts[parts.index("offhook") + 1 :]
        room = inside[0] if len(inside) > 1 else "(top)"
        ran, total = rooms.get(room, (0, 0))
        summary = entry["summary"]
        ran += int(summary["covered_lines"] + summary.get("covered_branches", 0))
        total += int(summary["num_statements"] + summary.get("num_branches", 0))
        rooms[room] = (ran, total)
    return rooms


def coverage_step(tally: Tally) -> None:
    """Coverage of each module as a table, and of each room against its floor."""
    heading("coverage")
    report = BUILD / "coverage.json"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "coverage", "json", "--quiet", "-o", str(report)]
    if subprocess.run(command, cwd=ROOT, check=False).returncode or not report.exists():
        tally.record("coverage", False, "no coverage data")
        return
    files = json.loads(report.read_text())["files"]
    for name in sorted(files):
        summary = files[name]["summary"]
        missing = ", ".join(map(str, files[name]["missing_lines"][:12]))
        more = " ..." if len(files[name]["missing_lines"]) > 12 else ""
        print(f"{name.removeprefix('src/'):44} {summary['percent_covered']:6.1f} %  {missing}{more}")
    print()
    for room, (ran, total) in sorted(coverage_of_rooms(files).items()):
        share = 100.0 * ran / total if total else 100.0
        floor = FLOORS.get(room)
        if floor is None:
            print(f"room {room:10} {share:6.1f} %")
        else:
            low = share < floor
            print(f"room {room:10} {share:6.1f} %  floor {floor:.0f} %{'  TOO LOW' if low else ''}")
            tally.record(f"coverage of {room}", not low, f"{share:.1f} % is below the floor of {floor:.0f} %")


def banner(title: str, lines: Sequence[str]) -> None:
    print(f"\n{'!' * 100}\n{title}")
    for line in lines:
        print(f"  {line}")
    print("!" * 100)


def timed(step: Callable[[], None]) -> None:
    started = time.monotonic()
    step()
    print(f"({time.monotonic() - started:.1f} s)", flush=True)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lint", action="store_true", help="style, types and layers only")
    parser.add_argument("pytest", nargs="*", help="arguments for pytest, after --")
    options = parser.parse_args(arguments)
    BUILD.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    tally = Tally()
    static_steps(tally)
    if not options.lint:
        timed(lambda: js_step(tally))
        timed(lambda: peers_step(tally))
    if not options.lint:
        timed(lambda: pytest_step(tally, options.pytest))
        if not options.pytest:
            timed(lambda: coverage_step(tally))
    if tally.skips:
        banner("SKIPPED: these parts did not run on this machine", tally.skips)
    if tally.problems:
        banner("FAILED", tally.problems)
    print(f"\nwhole run: {time.monotonic() - started:.0f} s")
    print(tally.closing_line(), flush=True)
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
