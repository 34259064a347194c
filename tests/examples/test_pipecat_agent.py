"""examples/pipecat_agent.py: a real pipecat pipeline answers a call on a live node, and is heard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.examples.running import running_example
from tests.live import LiveNode, call

from offhook.assets import speech_wav
from offhook.audio.pcm import Frame
from offhook.audio.resample import resample
from offhook.audio.wav import read_wav, write_wav

pytestmark = pytest.mark.asyncio(loop_scope="session")

RATE = 16000


def said(sound: Frame, at: float, total: float) -> Frame:
    """`sound` from `at` on in silence, seconds."""
    out = np.zeros(int(total * RATE), np.int16)
    first = int(at * RATE)
    out[first : first + len(sound)] = sound[: len(out) - first]
    return out


def best_place(heard: Frame, sound: Frame) -> tuple[float, float]:
    """Where in `heard` (seconds) `sound` is, and how alike it is there, 0 to 1."""
    size = 1 << (len(heard) + len(sound)).bit_length()
    a, b = heard.astype(np.float64), sound.astype(np.float64)
    cross = np.fft.irfft(np.fft.rfft(a, size) * np.conj(np.fft.rfft(b, size)), size)[: len(heard)]
    energy = np.convolve(a * a, np.ones(len(b)), "full")[len(b) - 1 :]
    alike = cross / np.sqrt(np.maximum(energy[: len(cross)], 1.0) * (b @ b))
    place = int(np.argmax(alike))
    return place / RATE, float(alike[place])


async def test_a_pipeline_greets_says_back_and_is_interrupted(node: LiveNode, tmp_path: Path) -> None:
    """The chime, then what the caller said; spoken to while it says that, it stops and says nothing of it again."""
    file = read_wav(speech_wav())
    speech = resample(file.samples, file.rate, RATE)[: int(1.6 * RATE)]
    words, out = tmp_path / "words.wav", tmp_path / "heard.wav"
    once, again, total = 1.0, 4.0, 5.5
    words.write_bytes(write_wav(np.maximum(said(speech, once, total), said(speech, again, total)), RATE))
    async with running_example(node, "pipecat_agent.py"):
        status, report = await call(node, "--wav", str(words), "--duration", f"{total}", "--out", str(out))
        assert (status, report["endedBy"]) == (0, "caller"), report
    track = read_wav(out.read_bytes())
    heard = resample(track.samples, track.rate, RATE)
    chime_end = int((once - 0.1) * RATE)
    assert np.abs(heard[:chime_end]).max() > 4000, "the greeting was not heard"
    place, alike = best_place(heard[chime_end:], speech[: int(0.8 * RATE)])
    assert alike > 0.7, f"what was said back is not what was said: {alike:.2f}"
    assert once + 1.6 < chime_end / RATE + place < again, "it was not said back while the caller was quiet"
    after = heard[int((again + 0.7) * RATE) : int(total * RATE)]
    assert np.abs(after).max() < 100, "it went on after it was interrupted"
