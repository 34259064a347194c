"""Spoken words for clips: the local voice, flite, espeak-ng, and recordings of people, all as float at 16 kHz.

A voice is written `engine:which:speed:pitch`; pitch moves the formants too, as another size of person would.
"""

from __future__ import annotations

import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from tests.barge_in.noises import RATE, Sound

from offhook.audio.pcm import Frame
from offhook.audio.resample import resample
from offhook.audio.wav import read_wav
from offhook.speech.hibari import HibariVoice
from offhook.speech.provider import Words

LICENCES: Final = {
    "hibari": "Apache-2.0 (output of hibari-tts)",
    "flite": "CMU, BSD-like (output of flite)",
    "espeak": "output of espeak-ng; formants, no recorded voice",
    "people": "BSD-2-Clause (pocketsphinx-testdata), LibriVox readings public domain",
    "synthesis": "Apache-2.0 (tests/barge_in/noises.py)",
}


class VoiceMissing(Exception):
    """A program or package that speaks is not installed."""


@cache
def _hibari() -> HibariVoice:
    return HibariVoice()


def _tool(command: list[str]) -> tuple[Frame, int]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.wav"
        try:
            subprocess.run([part.replace("OUT", str(out)) for part in command], check=True, capture_output=True)
        except FileNotFoundError as missing:
            raise VoiceMissing(f"{command[0]} is not installed: apt-get install {command[0]}") from missing
        sound = read_wav(out.read_bytes())
    return sound.samples, sound.rate


@cache
def say(text: str, voice: str) -> Sound:
    """The words without silence around them. VoiceMissing."""
    pcm, rate = spoken(text, voice)
    played_at = round(rate * float(voice.split(":")[3]))
    return trim(resample(pcm, played_at, RATE).astype(np.float64) / 32768)


def spoken(text: str, voice: str) -> tuple[Frame, int]:
    """The words as the engine speaks them, so fast that they are right at the voice's pitch, and the rate."""
    engine, which, speed_text, pitch_text = voice.split(":")
    speed, pitch = float(speed_text), float(pitch_text)
    if engine == "hibari":
        space = 'xmlns="http://www.w3.org/2001/10/synthesis" version="1.0" xml:lang="en-US"'
        marked = f'<speak {space}><prosody rate="{speed / pitch:.2f}">{text}</prosody></speak>'
        return np.concatenate(list(_hibari().speak(Words(text=marked, ssml=True), RATE))), RATE
    if engine == "flite":
        stretch = f"duration_stretch={pitch / speed:.3f}"
        return _tool(["flite", "-voice", which, "--setf", stretch, "-t", text, "-o", "OUT"])
    if engine == "espeak":
        rate_wpm = str(round(165 * speed / pitch))
        return _tool(["espeak-ng", "-v", which, "-s", rate_wpm, "-w", "OUT", text])
    raise ValueError(f"no voice {voice}")


def recording(path: Path, start_ms: int, end_ms: int) -> Sound:
    """Part of a recording of a person: .raw (16 kHz) or WAV. VoiceMissing."""
    if not path.exists():
        raise VoiceMissing(f"{path} is missing: apt-get install pocketsphinx-testdata")
    raw = path.read_bytes()
    pcm = np.frombuffer(raw, "<i2") if path.suffix == ".raw" else read_wav(raw).samples
    return trim(pcm[start_ms * 16 : end_ms * 16].astype(np.float64) / 32768, under_db=27)


def trim(sound: Sound, under_db: float = 40.0) -> Sound:
    """From the first to the last 5 ms that are not so much under the loudest."""
    size = RATE // 200
    power = (sound[: len(sound) // size * size].reshape(-1, size) ** 2).mean(axis=1)
    loud = np.flatnonzero(power > power.max() / 10 ** (under_db / 10))
    return sound[loud[0] * size : (loud[-1] + 1) * size]
