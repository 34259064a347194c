"""The stream leg of a whole node against a plain-stack twin and against the kernel alone, all in one run.

The node (`offhook dev`, everything on) runs on core 0; the echo app, the callers and the answering app on core 1.
Figures: CPU us per frame pair (one AudioData out and one in, each call, each 20 ms), calls that one core holds with
p99 tick lateness under 5 ms and no frame lost, cost from 10 to 300 calls, and StopAudio to the last audible sample.
A canary on core 0 says whether the machine was quiet; a measurement during which it lost over 1.5 % is taken again.
Method and rules: docs/benchmarks.md. Needs Linux, two cores and a C compiler.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # also when run as a script

from bench.load import Load, app

HERE = Path(__file__).parent
BIN = HERE / "native" / "build"
QUIET = 0.015
LATE_SHARE = 0.01
LATE_MS = 5.0
GATES = {"calls": 3.0, "floor": 3.0, "flat": 1.25}


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement at one load."""

    calls: int
    us: float
    core: float
    late: float
    lost: float
    canary: float

    @property
    def held(self) -> bool:
        """Whether the load was carried: p99 lateness under 5 ms and no frame lost."""
        return self.late < LATE_SHARE and self.lost < 0.005


def pinned(core: int, *command: str | Path) -> list[str]:
    """A command on one core with the weight of a real-time job, so that other work does not spoil lateness."""
    return [str(HERE / "prio.sh"), "taskset", "-c", str(core), *map(str, command)]


async def canary(seconds: float) -> float:
    """The share of time for which core 0 was taken from a real-time sleeper."""
    process = await asyncio.create_subprocess_exec(BIN / "canary", f"{seconds:g}", "0", stdout=subprocess.PIPE)
    out, _ = await process.communicate()
    return float(json.loads(out)["lost_share"])


@asynccontextmanager
async def echo_app(seconds: float, mode: str = "echo") -> AsyncIterator[int]:
    """The cheap far end: echoes every message, or what its mode says; bounded in time."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(*pinned(1, BIN / "echo", str(port), f"{seconds:g}", mode))
    try:
        await asyncio.sleep(0.3)
        yield port
    finally:
        stop_tree(process.pid)
        await process.wait()


def stop_tree(pid: int, number: int = signal.SIGTERM) -> None:
    """Signal the program under `prio.sh`: setsid and the shell keep it as their only descendant."""
    for child in children(pid):
        stop_tree(child, number)
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def children(pid: int) -> list[int]:
    """Processes whose parent is `pid`."""
    text = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in text.read_text().split()] if text.exists() else []


def leaf(pid: int) -> int:
    """The program itself under `prio.sh`."""
    below = children(pid)
    return leaf(below[0]) if below else pid


@asynccontextmanager
async def node(
    echo_port: int, *options: str, program: tuple[str, ...] = ("-m", "offhook.cli"), before: tuple[str, ...] = ()
) -> AsyncIterator[Load]:
    """A running node on core 0 with its answering app; `Load.info` is what it told of itself.

    `before`: words that the command begins with.
    """
    load = Load("", b"", 0, f"ws://127.0.0.1:{echo_port}/")
    runner = web.AppRunner(app(load), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hook = f"http://127.0.0.1:{runner.addresses[0][1]}/events"
    with tempfile.TemporaryDirectory() as state:
        command = (*program, "dev", "--port", "0", "--json", "--state", state, "--incoming", hook, *options)
        process = await asyncio.create_subprocess_exec(
            *pinned(0, *before, sys.executable, *command),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            limit=2**20,
        )
        assert process.stdout is not None
        info = json.loads(await process.stdout.readline())
        drain = asyncio.create_task(_drain(process.stdout))
        load.info = info
        load.point(info["httpEndpoint"], base64.b64decode(info["accessKey"]), leaf(process.pid))
        try:
            async with load:
                yield load
        finally:
            stop_tree(process.pid)
            await process.wait()
            drain.cancel()
            await runner.cleanup()


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(2**16):
        pass


async def quiet(measure: Callable[[], Awaitable[Point]], tries: int = 4) -> Point:
    """Take a measurement again while the canary says that the machine was not quiet."""
    point = await measure()
    for _ in range(tries - 1):
        if point.canary <= QUIET:
            break
        await asyncio.sleep(3)
        point = await measure()
    return point


async def ours(calls: int, seconds: float) -> Point:
    async with echo_app(seconds + 60) as port, node(port) as load:
        await load.place(calls)
        await asyncio.sleep(1.5)
        watched = asyncio.create_task(canary(seconds))
        window = await load.window(seconds)
        lost_share = await watched
        await load.hang_up()
        return Point(
            calls,
            window.cpu / (window.ticks * calls) * 1e6,
            window.cpu / window.seconds,
            window.late_share(LATE_MS),
            window.lost,
            lost_share,
        )


async def program(calls: int, seconds: float, *command: str) -> Point:
    """A far end and one of the peers on core 0; the peer prints a JSON line."""
    async with echo_app(seconds + 60) as port:
        words = [word.replace("PORT", str(port)) for word in command]
        process = await asyncio.create_subprocess_exec(*pinned(0, *words), stdout=subprocess.PIPE)
        await asyncio.sleep(1.5)
        lost_share = await canary(seconds - 0.5)
        out, _ = await process.communicate()
        row = json.loads(out)
        late = 0.0 if row["late_p99_ms"] < LATE_MS else 1.0
        return Point(calls, row["us_per_pair"], row["core"], late, row.get("lost", 0.0), lost_share)


async def plain(calls: int, seconds: float) -> Point:
    script = str(HERE / "plain_gateway.py")
    return await program(calls, seconds, sys.executable, script, "PORT", str(calls), f"{seconds:g}")


async def floor(calls: int, seconds: float) -> Point:
    return await program(calls, seconds, str(BIN / "gateway"), "PORT", str(calls), f"{seconds:g}", "floor", "640")


async def capacity(
    measure: Callable[[int, float], Awaitable[Point]],
    steps: list[int],
    seconds: float,
    say: Callable[[str, Point], None],
) -> int:
    """The largest of rising loads that is held; a load that fails gets one more try."""
    best = 0
    for calls in steps:
        for _ in range(2):
            point = await quiet(lambda calls=calls: measure(calls, seconds))  # type: ignore[misc]
            say("capacity", point)
            if point.held:
                break
        if not point.held:
            break
        best = calls
    return best


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "?")  # fmt: skip
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}


async def run(options: argparse.Namespace) -> dict[str, Any]:
    seconds = options.seconds
    points: dict[str, list[Point]] = {"floor": [], "plain": [], "ours": []}

    def say(name: str, point: Point) -> None:
        print(f"  {name:10s} N={point.calls:4d}  {point.us:7.2f} us  core {point.core:.2f}  late>5ms {point.late:6.2%}"
              f"  lost {point.lost:.3%}  canary {point.canary:.2%}", file=sys.stderr, flush=True)  # fmt: skip

    for _ in range(options.rounds):
        for name, measure in (("floor", floor), ("plain", plain), ("ours", ours)):
            point = await quiet(lambda measure=measure: measure(100, seconds))  # type: ignore[misc]
            points[name].append(point)
            say(name, point)
    by_load = {}
    for calls in (10, 30, 100, 200, 300):
        taken = [await quiet(lambda calls=calls: ours(calls, seconds)) for _ in range(2)]  # type: ignore[misc]
        by_load[calls] = min(taken, key=lambda point: point.us)
        say("ours", by_load[calls])
    plain_calls = await capacity(plain, list(range(100, 301, 25)), seconds, lambda n, p: say("plain max", p))
    first = max(100, plain_calls * 2 // 50 * 50)
    our_calls = await capacity(ours, list(range(first, 1101, 50)), seconds, lambda n, p: say("ours max", p))
    medians = {name: statistics.median(p.us for p in taken) for name, taken in points.items()}
    ratios = {
        "callsOverPlain": our_calls / max(plain_calls, 1),
        "legOverFloor": statistics.median(o.us / f.us for o, f in zip(points["ours"], points["floor"], strict=True)),
        "plainOverOurs": statistics.median(p.us / o.us for o, p in zip(points["ours"], points["plain"], strict=True)),
        "flatness": max(by_load[c].us for c in by_load if c > 10) / by_load[10].us,
    }
    return {
        "taken": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "usPerPairAt100": {name: round(value, 2) for name, value in medians.items()},
        "usPerPairByCalls": {str(calls): round(point.us, 2) for calls, point in by_load.items()},
        "callsPerCore": {"plain": plain_calls, "ours": our_calls},
        "ratios": {name: round(value, 2) for name, value in ratios.items()},
        "canaryWorst": max(p.canary for taken in points.values() for p in taken),
    }


def verdict(result: dict[str, Any]) -> list[str]:
    """Which gates are missed."""
    ratios = result["ratios"]
    missed = []
    if ratios["callsOverPlain"] < GATES["calls"]:
        missed.append(f"calls per core {ratios['callsOverPlain']} times the plain twin, gate {GATES['calls']}")
    if ratios["legOverFloor"] > GATES["floor"]:
        missed.append(f"stream leg {ratios['legOverFloor']} times the kernel floor, gate {GATES['floor']}")
    if ratios["flatness"] > GATES["flat"]:
        missed.append(f"cost per call rises {ratios['flatness']} times from 10 to 300 calls, gate {GATES['flat']}")
    return missed


def main() -> int:
    """Print the result; exit 1 when a gate is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "stream.json", help="where the result goes too")
    options = parser.parse_args()
    subprocess.run(["make", "-s", "-C", str(HERE / "native")], check=True)
    result = asyncio.run(run(options))
    text = json.dumps(result, indent=None if options.json else 2)
    print(text)
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    for line in verdict(result):
        print(f"missed: {line}", file=sys.stderr)
    return 1 if verdict(result) else 0


if __name__ == "__main__":
    sys.exit(main())
