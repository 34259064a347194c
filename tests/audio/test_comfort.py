"""Comfort noise is as loud as it was said to be, and never the same twice in a row."""

from __future__ import annotations

import numpy as np
import pytest

from offhook.audio.comfort import ComfortNoise


@pytest.mark.parametrize("level", [20, 40, 60])
def test_it_is_as_loud_as_told(level: int) -> None:
    noise = ComfortNoise(8000)
    noise.level(bytes([level, 1, 2, 3]))
    frames = [noise.next(160) for _ in range(200)]
    power = np.mean(np.concatenate(frames).astype(float) ** 2)
    assert 10 * np.log10(power / 32768**2) == pytest.approx(-level, abs=0.5)
    assert not np.array_equal(frames[0], frames[50])


def test_an_empty_packet_keeps_the_level_and_the_loudest_does_not_wrap() -> None:
    noise = ComfortNoise(16000)
    assert not noise.next(160).any()
    noise.level(b"\x00")
    assert np.abs(noise.next(320).astype(int)).max() >= 32767
    noise.level(b"")
    assert noise.next(320).any()
