"""The echo of the app's own sound is known as such, at any delay and level, and speech over it is not."""

from __future__ import annotations

import numpy as np
import pytest
from tests.barge_in.clips import labels, sound_of
from tests.barge_in.playout import silence

from offhook.audio.pcm import Frame
from offhook.audio.resample import resample
from offhook.kit.echo import EchoReference


def shares(caller: Frame, own: Frame, rate: int) -> list[float]:
    """How much of each frame of the caller is the app's own, which was heard from the first on."""
    size = rate // 50
    echo = EchoReference(rate)
    whole = np.concatenate([own, np.zeros(max(0, len(caller) - len(own)), np.int16)])
    return [
        echo.feed(caller[at : at + size], whole[at : at + size] if at < len(own) else None)
        for at in range(0, len(caller) - size + 1, size)
    ]


def late(own: Frame, ms: int, db: float, rate: int) -> Frame:
    """An echo on a quiet line."""
    echo = np.concatenate([np.zeros(ms * rate // 1000), own * 10 ** (db / 20)])
    line: Frame = (silence(len(echo) * 1000 // rate + 20, rate)[: len(echo)] + echo).astype(np.int16)
    return line


@pytest.mark.parametrize("rate", [16000, 24000])
@pytest.mark.parametrize(("ms", "db"), [(20, -8), (90, -12), (333, -20), (440, -15)])
def test_an_echo_is_the_apps_own(rate: int, ms: int, db: float) -> None:
    own = sound_of("app_woman.wav", rate)
    found = shares(late(own, ms, db, rate), own, rate)
    first = ms // 20
    assert np.mean(found[first:]) > 0.9
    assert sum(share < 0.5 for share in found[first : first + 50]) <= 2


@pytest.mark.parametrize("rate", [16000, 24000])
def test_speech_over_an_echo_is_the_callers(rate: int) -> None:
    for label in labels():
        if label.kind != "double talk" or label.level < -24:
            continue
        clip = resample(sound_of(label.file, 16000), 16000, rate)
        found = shares(clip, sound_of(label.app, rate), rate)
        onset = label.onset_ms // 20
        assert np.mean(found[10 : onset - 1]) > 0.7, label
        assert sum(share < 0.5 for share in found[onset : onset + 25]) >= 5, label


def test_speech_without_any_echo_is_the_callers_from_its_first_frames() -> None:
    own = np.tile(sound_of("app_man.wav", 16000), 3)
    for label in labels():
        if label.kind not in ("word", "phrase"):
            continue
        caller = np.concatenate([silence(1500), sound_of(label.file, 16000)])
        found = shares(caller, own, 16000)[(1500 + label.onset_ms) // 20 :]
        assert sum(share > 0.5 for share in found[3:20]) <= 8, label


def test_without_sound_of_the_app_nothing_is_its_own() -> None:
    echo = EchoReference(16000)
    loud = np.resize(np.array([3000, -3000], np.int16), 320)
    assert [echo.feed(loud, None) for _ in range(100)] == [0.0] * 100
