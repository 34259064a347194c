"""Barge-in at the caller's ear: speech to silence, StopAudio to silence, and how much the app knows was heard.

A live node, an app on the kit in a process of its own, simulated callers who say all clips of tests/fixtures/barge_in
over it, at both rates (tests/soak/barge_in.py). Some six minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # also when run as a script

from bench.stream import machine
from tests.soak.barge_in import Heard, all_clips, figures, table

RATES = (24000, 16000)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def run() -> list[Heard]:
    rows = []
    for rate in RATES:
        with tempfile.TemporaryDirectory() as folder:
            rows += await all_clips(Path(folder), free_port(), rate)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="no table, the figures as JSON")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = asyncio.run(run())
    found = {"taken": time.strftime("%Y-%m-%d"), "machine": machine(), **figures(rows)}
    if not options.json:
        print(table(rows))
    print(json.dumps(found, indent=None if options.json else 2))
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
