"""examples/announcer.py, run as its reader would run it: it stops when the caller speaks, and keys choose."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from tests.ear import coded, taken_apart
from tests.examples.running import running_example
from tests.live import LiveNode, call
from tests.soak.barge_in import committed_clips

from offhook.audio.resample import resample
from offhook.audio.wav import read_wav, write_wav

pytestmark = pytest.mark.asyncio(loop_scope="session")

RATE = 24000
SOUNDS = {"one": coded(1, RATE, 8.0), "two": coded(2, RATE, 8.0)}
SPEAKS_AT_MS, PRESSES_AT, ENDS_AT = 1200, 2.9, 3.6


async def test_it_stops_for_the_caller_and_keys_choose(node: LiveNode, tmp_path: Path) -> None:
    (clip,) = [clip for clip in committed_clips() if clip.name == "phrase_01"]
    words = resample(clip.samples, clip.rate, RATE)
    said, heard, files = tmp_path / "said.wav", tmp_path / "heard.wav", [tmp_path / "one.wav", tmp_path / "two.wav"]
    said.write_bytes(write_wav(np.append(np.zeros(SPEAKS_AT_MS * RATE // 1000, np.int16), words), RATE))
    for file, sound in zip(files, SOUNDS.values(), strict=True):
        file.write_bytes(write_wav(sound, RATE))
    async with running_example(node, "announcer.py", *map(str, files)) as example:
        status, report = await call(
            node, "--wav", str(said), "--lead", "0", "--out", str(heard), "--duration", "9",
            "--dtmf", f"{PRESSES_AT}:2,{ENDS_AT}:#",
        )  # fmt: skip
    assert (status, report["endedBy"]) == (0, "app"), report
    cut, chosen = taken_apart(read_wav(heard.read_bytes()).samples, SOUNDS, RATE, others=True)
    assert (cut.name, cut.start, chosen.name, chosen.start) == ("one", 0, "two", 0)
    spoke_at_ms = SPEAKS_AT_MS + clip.onset_ms
    assert spoke_at_ms < cut.silent_at * 1000 / RATE < spoke_at_ms + 1000 < PRESSES_AT * 1000 < chosen.at * 1000 / RATE
    (told,) = re.findall(r"cut in: ([0-9.]+) s of the announcement were heard", example.text)
    assert float(told) == pytest.approx(cut.end / RATE, abs=0.2), example.text
