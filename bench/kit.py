"""The kit's stream path against what apps are written on today, all in one run: an app that echoes AudioData.

CPU us of the serving process per frame pair (one AudioData in, one out, each call, each 20 ms), at 20 calls that send
evenly spread and at 100 calls that send in bursts (as a node does), and the calls that one core holds. Bound: the
same messages read and built in picows' own callback, with no stream, task or handler in between. Floor: picows alone,
which answers whatever comes with the same bytes. Servers (bench/kit_servers.py) take turns on core 0; a native program
on core 1 sends and counts what comes back. Medians of the rounds' ratios. Method: docs/benchmarks.md. Needs Linux, two
cores, a C compiler and the extras [pipecat] and fastapi.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # also when run as a script

from bench.kit_servers import HOST, NAMES
from bench.stream import BIN, HERE, leaf, machine, pinned, stop_tree

GATES = {"pipecatOverEach": 6.0, "fastapiOverEach": 4.0, "callsOverPipecat": 12.0, "fastapiOverAsgi": 1.3}
BACK, GAPS = 0.995, 0.005
WARM = {"call": "15"}
"""Seconds before a load counts, where it takes longer to begin: a Call loads its model of speech."""
SPEAKER = "8:acs:3d20e1de-0f28-41c5-a7d5-0d2c1f0f0aa1_00000024-0000-0000"


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement: CPU us a frame pair, the share of a core, of frames that came back, of gaps over 60 ms."""

    name: str
    calls: int
    burst: bool
    us: float
    core: float
    back: float
    gaps: float

    @property
    def held(self) -> bool:
        """Whether the load was carried."""
        return self.back >= BACK and self.gaps <= GAPS


def messages(folder: Path) -> tuple[Path, Path]:
    """What the sender sends: the metadata, then the same frame of noise."""
    opening, frame = folder / "opening", folder / "frame"
    metadata = {"subscriptionId": "s", "encoding": "PCM", "sampleRate": 16000, "channels": 1, "length": 640}
    opening.write_text(json.dumps({"kind": "AudioMetadata", "audioMetadata": metadata}) + "\n")
    data = base64.b64encode(os.urandom(640)).decode()
    audio = {"timestamp": "2024-11-15T19:16:12.925Z", "participantRawID": SPEAKER, "data": data, "silent": False}
    frame.write_text(json.dumps({"kind": "AudioData", "audioData": audio}))
    return opening, frame


@contextmanager
def server(name: str) -> Iterator[tuple[int, int]]:
    """A server on core 0: its port, and the process whose CPU counts."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    command = pinned(0, sys.executable, HERE / "kit_servers.py", name, str(port))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex((HOST, port)) == 0:
                    break
            if process.poll() is not None:
                raise SystemExit(f"bench/kit_servers.py {name} ended with {process.returncode}")
            time.sleep(0.1)
        time.sleep(0.5)
        yield port, leaf(process.pid)
    finally:
        stop_tree(process.pid, signal.SIGKILL)  # pipecat waits for its callers to go
        process.wait()


def measure(name: str, calls: int, burst: bool, seconds: float) -> Point:
    """One server under one load."""
    with tempfile.TemporaryDirectory() as folder, server(name) as (port, pid):
        opening, frame = messages(Path(folder))
        environment = {**os.environ, "SPIN": "1", "WARM": WARM.get(name, "2"), **({"BURST": "1"} if burst else {})}
        words = (str(port), str(calls), f"{seconds:g}", opening, frame, "AudioData", str(pid))
        sender = subprocess.Popen(pinned(1, BIN / "wspace", *words), env=environment, stdout=subprocess.PIPE)
        try:
            out, _ = sender.communicate(timeout=seconds + 60)
        finally:
            stop_tree(sender.pid)
            sender.wait()
    row = json.loads(out)
    point = Point(name, calls, burst, row["us_per_call_frame"], row["server_core"], row["ratio"], row["gap_over60"])
    print(f"  {name:8s} N={calls:4d} {'burst ' if burst else 'spread'} {point.us:7.1f} us  core {point.core:.2f}"
          f"  back {point.back:.4f}  gaps {point.gaps:.4f}", file=sys.stderr, flush=True)  # fmt: skip
    return point


def capacity(name: str, first: int, step: int, seconds: float) -> int:
    """The largest load that is held; one that fails gets one more try. Callers send in bursts, as a node does."""
    best, calls = 0, first
    while calls <= 1400 and (measure(name, calls, True, seconds).held or measure(name, calls, True, seconds).held):
        best, calls = calls, calls + step
    return best


def ratio(points: list[Point], over: str, under: str, calls: int, burst: bool) -> float:
    """Median of the rounds' quotients of two servers' CPU."""
    above, below = ([p.us for p in points if (p.name, p.calls, p.burst) == (n, calls, burst)] for n in (over, under))
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def run(options: argparse.Namespace) -> dict[str, Any]:
    names = ("floor", "bound", "each", "plain", "pipecat", "acs", "call", "asgi", "fastapi")
    spread = [(name, 20, False) for name in names]
    loads = spread + [(name, 100, True) for name in ("floor", "bound", "each", "plain", "fastapi", "asgi", "call")]
    points = [
        measure(name, calls, burst, options.seconds) for _ in range(options.rounds) for name, calls, burst in loads
    ]
    pipecat = capacity("pipecat", 10, 10, options.seconds)
    each = capacity("each", max(200, 12 * pipecat), 60, options.seconds)
    medians = {}
    for name, calls, burst in loads:
        taken = [p.us for p in points if (p.name, p.calls, p.burst) == (name, calls, burst)]
        medians[f"{name} {calls} {'burst' if burst else 'spread'}"] = round(statistics.median(taken), 1)
    ratios = {
        "pipecatOverEach": ratio(points, "pipecat", "each", 20, False),
        "fastapiOverEach": ratio(points, "fastapi", "each", 100, True),
        "pipecatOverPlain": ratio(points, "pipecat", "plain", 20, False),
        "fastapiOverPlain": ratio(points, "fastapi", "plain", 100, True),
        "callsOverPipecat": each / max(pipecat, 1),
        "fastapiOverAsgi": ratio(points, "fastapi", "asgi", 100, True),
        "fastapiOverAsgiSpread": ratio(points, "fastapi", "asgi", 20, False),
        "pipecatOverBound": ratio(points, "pipecat", "bound", 20, False),
        "fastapiOverBound": ratio(points, "fastapi", "bound", 100, True),
        "fastapiOverFloor": ratio(points, "fastapi", "floor", 100, True),
        "pipecatOverAcs": ratio(points, "pipecat", "acs", 20, False),
        "pipecatOverCall": ratio(points, "pipecat", "call", 20, False),
        "fastapiOverCall": ratio(points, "fastapi", "call", 100, True),
    }
    return {
        "taken": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "usPerPair": medians,
        "callsPerCore": {"pipecat": pipecat, "each": each},
        "ratios": {name: round(value, 2) for name, value in ratios.items()},
        "rounds": [asdict(point) for point in points],
    }


def table(result: dict[str, Any]) -> str:
    """The figures for people."""
    lines = ["CPU us per frame pair (median)          20 calls, spread   100 calls, burst"]
    for name, what in NAMES.items():
        spread, burst = (result["usPerPair"].get(f"{name} {load}", "") for load in ("20 spread", "100 burst"))
        lines.append(f"{what:46s} {spread!s:>8s} {burst!s:>18s}")
    lines.append(f"calls per core: {result['callsPerCore']}")
    for name, value in result["ratios"].items():
        lines.append(f"{name:24s} {value:6.2f}" + (f"   gate {GATES[name]:g}" if name in GATES else ""))
    return "\n".join(lines)


def main() -> int:
    """Print the result; exit 1 when a gate is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "kit.json", help="where the result goes too")
    options = parser.parse_args()
    subprocess.run(["make", "-s", "-C", str(HERE / "native")], check=True)
    result = run(options)
    print(json.dumps(result) if options.json else table(result))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    missed = [name for name, gate in GATES.items() if result["ratios"][name] < gate]
    for name in missed:
        print(f"missed: {name} {result['ratios'][name]}, gate {GATES[name]:g}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
