"""A call that failed while the machine stood still is placed again; any other failure stands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tests import stillness

CONFTEST = """
from contextlib import contextmanager
import pytest
from tests import stillness

@contextmanager
def watched():
    yield [{still}]

stillness.watched = watched

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    return stillness.judge(item, nextitem)
"""
FAILS = """
from pathlib import Path

def test_it():
    runs = Path(__file__).with_name("runs")
    runs.write_text(runs.read_text() + "." if runs.exists() else ".")
    assert len(runs.read_text()) > {times}
"""


@pytest.mark.parametrize(
    ("still", "times", "status", "runs"), [(50.0, 0, 0, 1), (50.0, 2, 0, 3), (50.0, 9, 1, 3), (20.0, 2, 1, 1)]
)
def test_only_what_failed_in_a_machine_that_stood_still_is_run_again(
    tmp_path: Path, still: float, times: int, status: int, runs: int
) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST.format(still=still))
    (tmp_path / "test_it.py").write_text(FAILS.format(times=times))
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(root)}, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, len((tmp_path / "runs").read_text())) == (status, runs), done.stdout
    assert done.stdout.count("stood still for 50 ms: run again") == runs - 1


def test_a_processor_that_stands_still_is_noticed() -> None:
    with stillness.watched() as late:
        sleeper = psutil.Process().children()[-1]
        deadline = time.monotonic() + 10
        while sleeper.num_ctx_switches().voluntary < 20:  # it has begun to sleep
            assert time.monotonic() < deadline
        sleeper.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        while time.monotonic() < stopped + 0.08:
            pass
        sleeper.send_signal(signal.SIGCONT)
        while time.monotonic() < stopped + 0.16:
            pass
    assert max(late) >= 60
