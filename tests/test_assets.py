"""The speech in the package is what the demo counts on."""

from __future__ import annotations

import numpy as np

from offhook.assets import speech_wav
from offhook.audio.pcm import level_dbfs
from offhook.audio.wav import read_wav


def test_the_speech_is_eight_seconds_from_start_to_end() -> None:
    samples, rate = read_wav(speech_wav())
    assert (rate, len(samples)) == (24000, 8 * 24000)
    loud = np.flatnonzero(np.abs(samples.astype(int)) > 300) / rate
    assert loud[0] < 0.1
    assert 7.8 < loud[-1] < 8.0
    assert np.diff(loud).max() < 0.5
    assert samples[0] == samples[-1] == 0


def test_the_speech_is_loud_and_not_clipped() -> None:
    samples, _ = read_wav(speech_wav())
    assert 32767 * 0.69 < np.abs(samples.astype(int)).max() < 32767 * 0.73
    assert -30 < level_dbfs(samples) < -15
