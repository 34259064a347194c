"""Lanes: ports at other rates than their bridge are converted in one batch, row by row as if alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from offhook.audio.bridge import Bridge, Member, Port
from offhook.audio.lanes import BLOCK_ROWS, Lanes
from offhook.audio.pcm import Frame, samples_per_frame
from offhook.audio.resample import StreamResampler


class Player:
    """Says given samples frame by frame, keeps what it hears."""

    def __init__(self, samples: np.ndarray, rate: int) -> None:
        self.frames = iter(samples.reshape(-1, samples_per_frame(rate)))
        self.heard: list[Frame | None] = []

    def read(self) -> Frame | None:
        return next(self.frames, None)

    def write(self, mix: Frame | None, heard: Sequence[Member]) -> None:
        self.heard.append(None if mix is None else mix.copy())


def differ(one: Frame, other: Frame | None) -> int:
    assert other is not None
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def fail(port: Port, error: Exception) -> None:
    raise error


def noise(rate: int, frames: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-8000, 8000, samples_per_frame(rate) * frames).astype(np.int16)


def test_a_port_at_the_bridge_rate_needs_no_lane() -> None:
    port = Player(noise(16000, 1, 1), 16000)
    assert Lanes(fail).rated(port, 16000, 16000) is port


@pytest.mark.parametrize(("leg_rate", "bridge_rate"), [(8000, 16000), (8000, 24000), (48000, 16000), (24000, 16000)])
def test_many_calls_in_one_lane_sound_as_each_alone(leg_rate: int, bridge_rate: int) -> None:
    lanes, ticks, calls = Lanes(fail), 4, BLOCK_ROWS + 3
    legs, apps, bridges = [], [], []
    for i in range(calls):
        leg, app = Player(noise(leg_rate, ticks, i), leg_rate), Player(noise(bridge_rate, ticks, 100 + i), bridge_rate)
        call = Bridge(bridge_rate, fail)
        call.add(lanes.rated(leg, leg_rate, bridge_rate), "leg")
        call.add(app)
        legs.append(leg)
        apps.append(app)
        bridges.append(call)
    for _ in range(ticks):
        lanes.gather()
        for call in bridges:
            call.tick()
        lanes.scatter()
    for i in (0, 1, calls - 1):
        up, down = StreamResampler(leg_rate, bridge_rate), StreamResampler(bridge_rate, leg_rate)
        said = noise(leg_rate, ticks, i).reshape(ticks, -1)
        played = noise(bridge_rate, ticks, 100 + i).reshape(ticks, -1)
        for tick in range(ticks):
            # Batched and single products may round one step apart.
            assert differ(up.process(said[tick]), apps[i].heard[tick]) <= 1
            assert differ(down.process(played[tick]), legs[i].heard[tick]) <= 1


def test_a_released_row_starts_the_next_port_without_the_last_ones_tail() -> None:
    lanes = Lanes(fail)
    loud = Player(np.full(160 * 3, 20000, np.int16), 8000)
    first = lanes.rated(loud, 8000, 16000)
    lanes.gather()
    assert first.read() is not None
    lanes.release(first)
    quiet = lanes.rated(Player(np.zeros(160 * 3, np.int16), 8000), 8000, 16000)
    lanes.gather()
    frame = quiet.read()
    assert frame is not None and not frame.any()


def test_a_port_that_gives_a_frame_of_the_wrong_length_cannot_fail_the_batch() -> None:
    failed: list[Port] = []
    lanes = Lanes(lambda port, error: failed.append(port))
    bad = lanes.rated(Player(np.zeros(320, np.int16), 16000), 8000, 16000)
    good = lanes.rated(Player(np.full(160, 1000, np.int16), 8000), 8000, 16000)
    lanes.gather()
    frame = good.read()
    assert failed == [bad]
    assert frame is not None and frame.any()
