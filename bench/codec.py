"""Cost of one AudioData message, built and parsed: offhook.wire against json + base64.

Method: both sides in one process, in interleaved rounds; each figure is the median of the rounds' ratios, because
absolute times drift on a shared machine. Times are CPU time of this process.

usage: python bench/codec.py [--rounds 21] [--json]      exit 1 below the gates at 640 bytes
"""

from __future__ import annotations

import argparse
import base64
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from offhook.wire.app_side import app_audio
from offhook.wire.streaming import AppAudio, AudioData, FrameWriter, parse_app_message, parse_service_message

GATES = {"build": 10.0, "parse": 4.5}
AIMS = {"build": 12.0, "parse": 6.0}
SPEAKER = "8:acs:3d20e1de-0f28-41c5-a7d5-0d2c1f0f0aa1_00000024-0000-0000"
WHEN = "2024-11-15T19:16:12.925Z"
Pair: TypeAlias = tuple[Callable[[], Any], Callable[[], Any]]
SLICE_NS = 2_000_000


@dataclass(frozen=True)
class Row:
    """One comparison: medians in ns a message, and how many times faster ours is."""

    what: str
    bytes: int
    plain_ns: float
    ours_ns: float
    ratio: float


def plain_build(pcm: bytes) -> str:
    """What an engineer with the standard library writes."""
    data = base64.b64encode(pcm).decode()
    inner = {"timestamp": WHEN, "participantRawID": SPEAKER, "data": data, "silent": False}
    return json.dumps({"kind": "AudioData", "audioData": inner})


def plain_parse(text: str | bytes, kind: str, audio: str, data: str) -> bytes | None:
    """The same for reading, in the one spelling that it knows."""
    message = json.loads(text)
    return base64.b64decode(message[audio][data]) if message[kind] == "AudioData" else None


def pairs(pcm: bytes) -> dict[str, Pair]:
    """Name -> (plain, ours). `build` and `parse` are gated; the others are the kit's and other senders' shapes."""
    writer, when = FrameWriter(SPEAKER), WHEN.encode()
    ours = writer.build(pcm, when, False)
    data = base64.b64encode(pcm).decode()
    docs = json.dumps({"Kind": "AudioData", "AudioData": {"Data": data}, "StopAudio": None}).encode()
    dotnet = app_audio(pcm).encode()
    camel = json.dumps({"kind": "AudioData", "audioData": {"data": data}}, separators=(",", ":")).encode()

    def plain(text: bytes, kind: str = "Kind", audio: str = "AudioData", name: str = "Data") -> Callable[[], Any]:
        return lambda: plain_parse(text, kind, audio, name)

    def app(text: bytes) -> Callable[[], Any]:
        return lambda: parse_app_message(text)

    lower = ("kind", "audioData", "data")
    found: dict[str, Pair] = {
        "build": (lambda: plain_build(pcm), lambda: writer.build(pcm, when, False)),
        "parse": (plain(docs), app(docs)),
        "parse, .NET shape": (plain(dotnet), app(dotnet)),
        "parse, camelCase": (plain(camel, *lower), app(camel)),
        "parse in the kit": (plain(ours, *lower), lambda: parse_service_message(ours)),
        "build in the kit": (lambda: json.dumps({"Kind": "AudioData", "AudioData": {
            "Data": base64.b64encode(pcm).decode(), "Timestamp": "0001-01-01T00:00:00+00:00",
            "Participant": None, "IsSilent": False}, "StopAudio": None}), lambda: app_audio(pcm)),
    }  # fmt: skip
    assert json.loads(ours) == json.loads(plain_build(pcm))
    for name, (old, new) in found.items():
        result = new()
        if isinstance(result, AppAudio):
            assert result.pcm == old() == pcm, name
        elif isinstance(result, AudioData):
            assert result.data == old() == pcm, name
        else:
            assert json.loads(result) == json.loads(old()), name
    return found


def cost(work: Callable[[], Any], times: int) -> float:
    """CPU ns of one call."""
    start = time.process_time_ns()
    for _ in range(times):
        work()
    return (time.process_time_ns() - start) / times


def measure(size: int, rounds: int) -> list[Row]:
    """All comparisons for frames of `size` bytes."""
    cases = pairs(os.urandom(size))
    times = {}
    for name, both in cases.items():
        times[name] = [max(50, int(SLICE_NS / max(1.0, cost(work, 300)))) for work in both]
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    gc.collect()
    gc.disable()
    for _ in range(rounds):
        for name, (plain, ours) in cases.items():
            taken[name].append((cost(plain, times[name][0]), cost(ours, times[name][1])))
    gc.enable()
    return [
        Row(
            name,
            size,
            round(statistics.median(plain for plain, _ in got), 1),
            round(statistics.median(ours for _, ours in got), 1),
            round(statistics.median(plain / ours for plain, ours in got), 2),
        )
        for name, got in taken.items()
    ]


def main() -> int:
    """Measures, prints, and returns the exit status."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=21)
    options.add_argument("--json", action="store_true", help="one object on stdout instead of the table")
    chosen = options.parse_args()
    rows = [row for size in (640, 960) for row in measure(size, chosen.rounds)]
    gated = {row.what: row.ratio for row in rows if row.bytes == 640 and row.what in GATES}
    missed = [what for what, ratio in gated.items() if ratio < GATES[what]]
    if chosen.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "gates": GATES, "aims": AIMS, "missed": missed}))
    else:
        print(f"{'':20}{'bytes':>6}{'json+base64':>14}{'offhook.wire':>14}{'ratio':>9}   gate  aim")
        for row in rows:
            goal = f"{GATES[row.what]:7}{AIMS[row.what]:5}" if row.what in gated and row.bytes == 640 else ""
            print(f"{row.what:20}{row.bytes:6}{row.plain_ns:11.0f} ns{row.ours_ns:11.0f} ns{row.ratio:8.2f}x{goal}")
        print("MISSED: " + ", ".join(missed) if missed else "gates hold")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
