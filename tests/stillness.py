"""Whether the machine stood still: a shared host takes processors away for stretches, and no call sounds well then.

A process on each processor sleeps 5 ms at a time and tells how late it woke. It shares nothing with what is tested but
the machine, so a fault of the node, the kit or an app does not excuse itself by it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from _pytest.runner import runtestprotocol

TRIES = 3
STILL_MS = 30.0
"""A phone's jitter buffer hides less."""

_SLEEPER = """
import os, sys, time
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {int(sys.argv[1])})
while True:
    began = time.monotonic()
    time.sleep(0.005)
    late = 1000 * (time.monotonic() - began) - 5
    if late > 5:
        print(round(late, 1), flush=True)
"""


@contextmanager
def watched() -> Iterator[list[float]]:
    """The times in ms, at the end, for which a processor did not run what wanted to."""
    late: list[float] = []
    places = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    sleepers = [
        subprocess.Popen([sys.executable, "-S", "-c", _SLEEPER, str(place)], stdout=subprocess.PIPE, text=True)
        for place in places
    ]
    try:
        yield late
    finally:
        for sleeper in sleepers:
            sleeper.terminate()
            late += map(float, sleeper.communicate()[0].split())


def judge(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Run a test, again where it failed and the machine stood still in it, and report the last run."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for left in reversed(range(TRIES)):
        with watched() as late:
            reports = runtestprotocol(item, nextitem=nextitem, log=False)
        still = max(late, default=0.0)
        if not left or still < STILL_MS or not any(report.failed for report in reports):
            break
        if (terminal := item.config.pluginmanager.get_plugin("terminalreporter")) is not None:
            terminal.write_line(f"\n{item.nodeid} FAILED, and the machine stood still for {still:.0f} ms: run again")
        item._initrequest()  # type: ignore[attr-defined]
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
