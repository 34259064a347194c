"""Whole calls: SIP and RTP with G.711 both ways on one side, the 16 kHz stream both ways on the other.

The node (`offhook dev`, everything on but the sound of calls, which `offhook serve` does not keep unless told to) runs
on core 0; callers, echo app and answering app on core 1. Figures: CPU us
per call and 20 ms against the kernel's own cost of the same packets and messages (floor), calls that one core holds
clean, memory of a call, cost from 10 to 300 calls. Method: docs/benchmarks.md. Needs Linux, two cores, a C compiler.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # also when run as a script

from bench.stream import BIN, HERE, QUIET, canary, echo_app, floor, machine, node, pinned, stop_tree

GATES = {"floor": 4.0, "calls": 200, "kbPerCall": 100.0, "flat": 1.25}
SERVED = (str(HERE / "toggled.py"),)
Row = dict[str, Any]


def clean(row: Row) -> bool:
    """Whether a load was carried: the quality rule of the benchmarks' page."""
    return bool(
        row["up"] == row["asked"]
        and row["in_ratio"] >= 0.995
        and row["worst_call"] >= 0.985
        and row["gap_over40"] <= 0.002
        and row["delay_p99_ms"] <= 100
        and not row["dropped"]
    )


async def calls(count: int, seconds: float, program: tuple[str, ...] = SERVED) -> Row:
    """One load on a fresh node."""
    options = ("--sip-port", "0", "--restart-ms", "0")
    async with (
        echo_app(seconds + 90) as port,
        node(port, *options, program=program, before=("env", "OFFHOOK_SOUNDLESS=1")) as load,
    ):
        command = [sys.executable, str(HERE / "sipload.py"), str(count), "15550100002", str(load.info["sip"]["udp"])]
        command += [f"{seconds:g}", str(load._pid), str(BIN / "rtpload")]
        process = await asyncio.create_subprocess_exec(*pinned(1, *command), stdout=subprocess.PIPE)
        await asyncio.sleep(count / 25 + 2.5)
        lost = await canary(seconds - 1)
        out, _ = await process.communicate()
        row = json.loads(out)
        row["canary"] = lost
        return dict(row)


async def stages(count: int, seconds: float) -> dict[str, float]:
    """Median cost of each stage in us per call and 20 ms, of a load with the stop-watch in the tick."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "stages"
        await calls(count, seconds, (str(HERE / "stages.py"), str(out)))
        rows = [json.loads(line) for line in out.read_text().splitlines()]
    full = [row["stages"] for row in rows if row["calls"] == count][2:-2]
    return {name: round(statistics.median(row[name] for row in full), 2) for name in full[0]}


async def rtp_floor(count: int, seconds: float) -> float:
    """CPU us of the kernel for one packet in and one out."""
    peer = await asyncio.create_subprocess_exec(
        *pinned(1, BIN / "rtpfloor", "peer", "21000", str(count), f"{seconds + 5:g}"), stdout=subprocess.DEVNULL
    )
    await asyncio.sleep(0.5)
    process = await asyncio.create_subprocess_exec(
        *pinned(0, BIN / "rtpfloor", "sock", "21000", str(count), f"{seconds:g}"), stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    stop_tree(peer.pid)
    await peer.wait()
    return float(json.loads(out)["us_per_pair"])


async def quiet(count: int, seconds: float) -> Row:
    """A load, taken again while the machine was not quiet."""
    row = await calls(count, seconds)
    for _ in range(2):
        if row["canary"] <= QUIET:
            break
        row = await calls(count, seconds)
    return row


def say(name: str, row: Row) -> None:
    """One line of progress."""
    print(f"  {name:9s} N={row['asked']:4d} up={row['up']:4d} us={row.get('us')} core={row.get('core')}"
          f" back={row.get('in_ratio')} worst={row.get('worst_call')} gaps40={row.get('gap_over40')}"
          f" p99={row.get('delay_p99_ms')} kb={row.get('kbPerCall')} canary={row['canary']:.2%}",
          file=sys.stderr, flush=True)  # fmt: skip


async def run(options: argparse.Namespace) -> Row:
    """Floor and calls in turn, then rising loads."""
    seconds, floors, costs, memory = options.seconds, [], [], []
    for _ in range(options.rounds):
        bound = (await floor(100, seconds)).us + await rtp_floor(100, seconds)
        row = await quiet(100, seconds)
        say("whole", row)
        floors.append(bound)
        costs.append(row["us"])
        memory.append(row["kbPerCall"])
    by_load = {}
    for count in options.loads:
        row = await quiet(count, seconds)
        say("by load", row)
        by_load[count] = row["us"]
    best = 0
    for count in range(150, 451, 25):
        tries = [await quiet(count, seconds)]
        if not clean(tries[0]):
            tries.append(await quiet(count, seconds))
        say("capacity", tries[-1])
        if not clean(tries[-1]):
            break
        best = count
    return {
        "taken": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "usPerCallAt100": {"floor": round(statistics.median(floors), 2), "ours": round(statistics.median(costs), 2)},
        "usByStageAt100": await stages(100, seconds),
        "usByCalls": by_load,
        "cleanCalls": best,
        "kbPerCall": statistics.median(memory),
        "overFloor": round(statistics.median(c / f for c, f in zip(costs, floors, strict=True)), 2),
    }


def main() -> int:
    """Print the result; exit 1 when a gate is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loads", type=int, nargs="*", default=[10, 30, 100, 200, 300])
    parser.add_argument("--out", type=Path, default=HERE / "results" / "sip.json")
    options = parser.parse_args()
    subprocess.run(["make", "-s", "-C", str(HERE / "native")], check=True)
    result = asyncio.run(run(options))
    print(json.dumps(result, indent=2))
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    missed = []
    if result["overFloor"] > GATES["floor"]:
        missed.append(f"{result['overFloor']} times the floor, gate {GATES['floor']}")
    if result["cleanCalls"] < GATES["calls"]:
        missed.append(f"{result['cleanCalls']} clean calls, gate {GATES['calls']}")
    if result["kbPerCall"] > GATES["kbPerCall"]:
        missed.append(f"{result['kbPerCall']} kB a call, gate {GATES['kbPerCall']}")
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
