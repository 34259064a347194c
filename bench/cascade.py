"""How long a caller waits for a spoken agent: from the end of their question to the first sound of the answer.

A whole node, examples/cascade.py as its reader runs it (local recogniser and voice), and callers with a sound file of
questions; both ends of the wait are read off the caller's own two tracks, which share one axis. No gate.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # also when run as a script

from tests.examples.running import example_node, running_example
from tests.live import LiveNode, call
from tests.spoken import spoken

from offhook.audio.resample import resample
from offhook.audio.wav import read_wav, write_wav

RESULTS = Path(__file__).resolve().parent / "results/cascade.json"
QUESTIONS = (
    "When do you open?", "What are your opening hours on Monday?", "Where can I find you?", "What is the price?",
    "Could you tell me the address please?", "What time is it?", "Thank you very much.",
    "I would like to know how much it costs to have my old bicycle repaired.",
)  # fmt: skip
RATE = 16000
GREETING_S, TURN_S = 4.0, 7.0
LOUD = 300  # of 32768
PAUSE = RATE // 2  # samples of silence before an answer


def questions(offset: float) -> tuple[npt.NDArray[np.int16], list[int]]:
    """The sound of all questions, `offset` seconds later, and the sample where each ends."""
    line = np.zeros(round((GREETING_S + offset + TURN_S * (len(QUESTIONS) + 1)) * RATE), np.int16)
    ends = []
    for index, text in enumerate(QUESTIONS):
        sound = spoken(text, 0.0)
        start = round((GREETING_S + offset + TURN_S * index) * RATE)
        line[start : start + len(sound)] = sound
        ends.append(start + int(np.flatnonzero(np.abs(sound) > LOUD)[-1]))
    return line, ends


async def waits(node: LiveNode, folder: Path, offset: float) -> list[float]:
    """Of one caller: ms from the end of each question to the answer; nan where none came before the next."""
    said, ends = questions(offset)
    wav, out = folder / f"said{offset}.wav", folder / f"heard{offset}.wav"
    wav.write_bytes(write_wav(said, RATE))
    status, report = await call(node, "--wav", str(wav), "--lead", "0", "--out", str(out))
    assert status == 0, report
    recording = read_wav(out.read_bytes())
    heard = resample(recording.samples, recording.rate, RATE)
    found = []
    for end in ends:
        loud = np.flatnonzero(np.abs(heard[end - PAUSE : end + round(5 * RATE)]) > LOUD) - PAUSE
        begins = loud[np.diff(loud, prepend=-PAUSE) >= PAUSE]  # the end of the answer before is none
        found.append(float(begins[0]) * 1000 / RATE if len(begins) else float("nan"))
    return found


async def measure(calls: int) -> list[float]:
    """Of so many callers at once."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with example_node(folder / "state", port) as node, running_example(node, "cascade.py"):
            of_each = await asyncio.gather(*(waits(node, folder, 0.4 * number) for number in range(calls)))
    return [wait for of_one in of_each for wait in of_one]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, nargs="*", default=[1, 4], help="callers at once")
    rows = {}
    for calls in parser.parse_args().calls:
        found = np.array(asyncio.run(measure(calls)))
        answered = found[~np.isnan(found)]
        p50, p95 = (round(float(np.percentile(answered, part))) for part in (50, 95))
        rows[calls] = {"questions": len(found), "unanswered": len(found) - len(answered), "p50Ms": p50, "p95Ms": p95}
        rows[calls] |= {"leastMs": round(float(answered.min())), "mostMs": round(float(answered.max()))}
        print(f"{calls} at once: {rows[calls]}")
    machine = {"cores": os.cpu_count(), "loadAverage": os.getloadavg()[0]}
    RESULTS.write_text(json.dumps({**machine, "callers": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
