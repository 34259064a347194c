"""How much of what was said comes back."""

from __future__ import annotations

import numpy as np

from offhook.audio.pcm import Frame


def windows_alike(
    said: Frame, heard: Frame, rate: int, least: float = 0.95, seconds: float = 1.0
) -> tuple[float, float]:
    """The share of windows of so many seconds that come back with a correlation of `least`, each at its best lag near
    the median one; and that lag in ms."""
    span = round(seconds * rate)
    size = 1 << int(np.ceil(np.log2(len(said) + len(heard))))
    a, b = said.astype(float), heard.astype(float)
    cross = np.fft.irfft(np.fft.rfft(b, size) * np.conj(np.fft.rfft(a, size)), size)
    lag = int(np.argmax(cross[: size // 2]))
    good = total = 0
    for at in range(0, len(a) - span, span // 2):
        window = a[at : at + span]
        if np.sqrt((window**2).mean()) < 100 or at + lag + span + rate // 10 > len(b):
            continue
        best = 0.0
        for near in range(max(lag - rate // 10, -at), lag + rate // 10 + 1):
            other = b[at + near : at + near + span]
            best = max(best, float(window @ other / np.sqrt((window @ window) * (other @ other) + 1)))
        total += 1
        good += best >= least
    assert total >= 8, "there was too little to compare"
    return good / total, lag * 1000 / rate


def delays(said: Frame, heard: Frame, rate: int, seconds: float = 0.2) -> list[tuple[float, float, float]]:
    """Where the delay changes, or the sound is another: (s into what was said, delay in ms, correlation there)."""
    span, reach = round(seconds * rate), rate // 5
    size = 1 << int(np.ceil(np.log2(len(said) + len(heard))))
    a, b = said.astype(float), heard.astype(float)
    cross = np.fft.irfft(np.fft.rfft(b, size) * np.conj(np.fft.rfft(a, size)), size)
    lag = int(np.argmax(cross[: size // 2]))
    told: list[tuple[float, float, float]] = []
    for at in range(0, min(len(a), len(b) - lag - reach) - span, span):
        window = a[at : at + span]
        if np.sqrt((window**2).mean()) < 100:
            continue
        places = range(max(lag - reach, -at), lag + reach + 1)
        others = np.stack([b[at + near : at + near + span] for near in places])
        likeness = others @ window / np.sqrt((window @ window) * (others**2).sum(axis=1) + 1)
        best = int(np.argmax(likeness))
        delay = round(places[best] * 1000 / rate, 1)
        if not told or abs(delay - told[-1][1]) > 1 or likeness[best] < 0.95:
            told.append((round(at / rate, 2), delay, round(float(likeness[best]), 2)))
    return told
