"""`offhook` with a stop-watch in its tick: `stages.py FILE dev ...` writes microseconds per tick and stage to FILE.

What is not in a stage is the loop's: reading stream sockets, signalling, callbacks.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

from offhook.cli import main
from offhook.service.node import Node

STAGES = ("RTP in", "stream messages in", "jitter buffers, decoding, resampling", "mixing, playout",
          "resampling, encoding, packets", "RTP out", "stream messages out")  # fmt: skip
SECONDS = 0.5


class Watch:
    """Sums of every stage over the ticks of the newest window."""

    def __init__(self, out: Path) -> None:
        self.spent = [0.0] * len(STAGES)
        self.ticks = 0
        self.calls = 0
        self._out = out
        threading.Thread(target=self._write, daemon=True).start()

    def _write(self) -> None:
        while True:
            began = time.process_time()
            self.spent, self.ticks = [0.0] * len(STAGES), 0
            time.sleep(SECONDS)
            rows: dict[str, Any] = dict(zip(STAGES, self.spent, strict=True))
            frames = max(self.ticks * self.calls, 1)
            rows = {name: round(spent / frames * 1e6, 2) for name, spent in rows.items()}
            whole = (time.process_time() - began) / frames * 1e6
            rows["the loop: sockets of streams, signalling"] = round(whole - sum(rows.values()), 2)
            with self._out.open("a") as sink:
                sink.write(json.dumps({"calls": self.calls, "stages": rows}) + "\n")


def timed(watch: Watch) -> Any:
    """The tick of `Node`, stage by stage."""

    def tick(self: Node) -> None:
        now = time.perf_counter
        marks = [now()]
        self._busy = True
        self.batch.stamp = b"2026-01-01T00:00:00.000Z"
        for network in self.networks:
            network.receive(self.clock.monotonic())
        marks.append(now())
        self.batch.read()
        marks.append(now())
        self.lanes.gather()
        marks.append(now())
        for live in self._bridged:
            live.tick()
        marks.append(now())
        self.lanes.scatter()
        marks.append(now())
        for network in self.networks:
            network.flush()
        marks.append(now())
        self.batch.flush()
        marks.append(now())
        self._busy = False
        for index in range(len(STAGES)):
            watch.spent[index] += marks[index + 1] - marks[index]
        watch.ticks += 1
        watch.calls = len(self._bridged)
        if self._events:
            self._drain_events()

    return tick


if __name__ == "__main__":
    Node._tick = timed(Watch(Path(sys.argv.pop(1))))  # type: ignore[method-assign]
    main()
