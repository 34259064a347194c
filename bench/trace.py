"""What it costs to see a call afterwards: sound of both sides and figures over time, against keeping nothing.

A whole node with calls and their streams, under two loads: a conversation (both sides talk as of ITU-T P.59, on a line
with noise) and both sides talking all the time, the dearest case. CPU us per call and tick with it on and off in turn,
in one process with the same calls; calls that one core holds and memory of a call, on nodes in turn; and the tick
alone, sockets stubbed. Gate: calls per core drop by less than 5 % in a conversation.
Method: docs/benchmarks.md. Needs Linux, two cores and a C compiler.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # also when run as a script

import bench.load
from bench import tick
from bench.sipload import resident_mb
from bench.stream import HERE, LATE_MS, QUIET, Point, canary, echo_app, machine, node

from offhook.service.capturing import Captures

GATE = 1.05
PROGRAM = (str(HERE / "toggled.py"),)
LOADS = {"conversation": ("talk", ("env", "OFFHOOK_CONVERSATION=1")), "talkAlways": ("echo", ())}
"""What the app does, and what the node begins with."""
PAIRS_OF_A_NODE = 8


@dataclass(frozen=True, slots=True)
class Load(Point):
    """A point with the memory that the process grew by, for each call."""

    kb: float = 0.0


async def pairs(load_name: str, calls: int, seconds: float, count: int) -> list[tuple[float, float]]:
    """CPU us per call and tick, on and off, in turn; a pair while the machine was busy is taken again."""
    found: list[tuple[float, float]] = []
    mode, settings = LOADS[load_name]
    for _ in range(3 * count):
        # Callers that read nothing are given up after a while, so a node is good for a few pairs.
        async with echo_app(120, mode) as port, node(port, program=PROGRAM, before=settings) as load:
            await load.place(calls)
            await asyncio.sleep(2)
            on = True
            for _ in range(PAIRS_OF_A_NODE):
                watched = asyncio.create_task(canary(2 * seconds))
                costs = {on: await window(load, calls, seconds)}
                await turn_over(load)
                costs[not on] = await window(load, calls, seconds)
                on = not on  # the next pair begins as this one ends
                lost = await watched
                print(f"  on {costs[True]:6.2f} us  off {costs[False]:6.2f} us  canary {lost:.2%}", file=sys.stderr)
                if lost <= QUIET:
                    found.append((costs[True], costs[False]))
            await load.hang_up()
        if len(found) >= count:
            break
    return found


async def window(load: bench.load.Load, calls: int, seconds: float) -> float:
    """CPU us per call and tick for a while."""
    before, ticks = cpu_ns(load._pid), (await load.figures())["ticks"]
    await asyncio.sleep(seconds)
    spent, done = cpu_ns(load._pid) - before, (await load.figures())["ticks"] - ticks
    return float(spent / 1000 / (done * calls))


async def turn_over(load: bench.load.Load) -> None:
    """Keep nothing from now on, or all again; what is on its way to the disk is written."""
    os.kill(load._pid, signal.SIGUSR1)
    await asyncio.sleep(0.4)


def cpu_ns(pid: int) -> int:
    """CPU of all threads of a process so far (Linux)."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


async def measure(load_name: str, which: str, calls: int, seconds: float) -> Load:
    """One load on a fresh node, `on` or `off`."""
    mode, settings = LOADS[load_name]
    if which == "off":
        settings = (*settings, "env", "OFFHOOK_UNTRACED=1")
    async with echo_app(seconds + 90, mode) as port, node(port, program=PROGRAM, before=settings) as load:
        await load.place(1)
        await asyncio.sleep(0.5)
        before = resident_mb(load._pid)
        await load.place(calls)
        await asyncio.sleep(2.5)
        watched = asyncio.create_task(canary(seconds))
        window = await load.window(seconds)
        lost, grown = await watched, resident_mb(load._pid) - before
        await load.hang_up()
        return Load(
            calls,
            window.cpu / (window.ticks * calls) * 1e6,
            window.cpu / window.seconds,
            window.late_share(LATE_MS),
            window.lost if mode == "echo" else 0.0,  # of somebody who pauses nothing can be told
            lost,
            grown * 1000 / max(calls - 1, 1),
        )


async def capacities(load_name: str, first: int, seconds: float, say: Callable[[str, Point], None]) -> dict[str, int]:
    """The largest of rising loads that is held, on and off in turn; a load that fails gets two more tries."""
    held, going = {"on": 0, "off": 0}, ["off", "on"]
    for calls in range(first, 1601, 25):
        for which in [*going]:
            for _ in range(3):
                point = await measure(load_name, which, calls, seconds)
                say(which, point)
                if point.held:
                    held[which] = calls
                    break
            else:
                going.remove(which)
        if not going:
            break
    return held


def tick_alone(calls: int, ticks: int, *, kept: bool) -> float:
    """CPU us per call and tick of the process with sockets stubbed, until all sound is written."""
    host, clock = tick.empty()
    with tempfile.TemporaryDirectory(dir=HERE / "results") as folder:
        captures = host.captures = Captures(clock, host.media, Path(folder)) if kept else None
        tick.fill(host, calls)
        if captures is not None:
            captures.start()
        clock.advance(0.2)
        gc.collect()
        gc.freeze()
        time.sleep(0.5)
        began = time.process_time()
        for _ in range(ticks):
            clock.advance(0.02)
            if captures is not None and captures.writer.behind > 16_000_000:
                time.sleep(0.2)
        if captures is not None:
            captures.capture.hand_on()
            captures.stop(30)
        spent = time.process_time() - began
        host.shut_down()
    return spent / (ticks * calls) * 1e6


async def run(options: argparse.Namespace) -> dict[str, Any]:
    def say(name: str, point: Point) -> None:
        print(f"  {name:8s} N={point.calls:4d}  {point.us:6.2f} us  core {point.core:.2f}  late>5ms {point.late:6.2%}"
              f"  lost {point.lost:.3%}  canary {point.canary:.2%}", file=sys.stderr, flush=True)  # fmt: skip

    result: dict[str, Any] = {"taken": time.strftime("%Y-%m-%d"), "machine": machine(), "calls": options.calls}
    for name in LOADS:
        taken = await pairs(name, options.calls, 1.0, options.rounds)
        memory: dict[str, list[float]] = {"on": [], "off": []}
        for _ in range(2):
            for which, kept in memory.items():
                point = await measure(name, which, options.calls, options.seconds)
                say(which, point)
                kept.append(point.kb)
        ratios = sorted(on / off for on, off in taken)
        result[name] = {
            "usPerCallAndTick": {
                which: round(statistics.median(pair[at] for pair in taken), 2) for at, which in enumerate(memory)
            },
            "ratio": round(statistics.median(ratios), 3),
            "ratios": [round(ratio, 3) for ratio in ratios],
            "callsPerCore": {} if options.brief else await capacities(name, options.first, options.seconds, say),
            "kbPerCall": {which: round(statistics.median(kept), 1) for which, kept in memory.items()},
        }
    alone = {which: min(tick_alone(300, 200, kept=which == "on") for _ in range(3)) for which in ("on", "off")}
    return {**result, "tickAloneUs": {which: round(value, 2) for which, value in alone.items()}}


def main() -> int:
    """Print the result; exit 1 when the gate is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of one load")
    parser.add_argument("--rounds", type=int, default=32, help="pairs")
    parser.add_argument("--first", type=int, default=400, help="where the search for calls per core begins")
    parser.add_argument("--brief", action="store_true", help="no calls per core")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "trace.json", help="where the result goes too")
    options = parser.parse_args()
    subprocess.run(["make", "-s", "-C", str(HERE / "native")], check=True)
    result = asyncio.run(run(options))
    print(json.dumps(result, indent=2))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    held = result["conversation"]["callsPerCore"]
    if held and held["on"] * GATE < held["off"]:
        print(f"missed: a core holds {held['on']} calls that are kept, {held['off']} that are not", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
