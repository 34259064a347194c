"""What the tests with real phones share."""

from __future__ import annotations

from pathlib import Path

import pytest

from offhook.audio.resample import resample
from offhook.audio.wav import read_wav, write_wav

SPEECH = Path(__file__).parents[2] / "src/offhook/assets/speech.wav"


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's speech at the rate of a telephone."""
    speech = read_wav(SPEECH.read_bytes())
    samples = resample(speech.samples, speech.rate, 8000)
    path = tmp_path_factory.mktemp("voice") / "voice.wav"
    path.write_bytes(write_wav(samples, 8000))
    return path
