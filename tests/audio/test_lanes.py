"""Lanes: ports at other rates than their bridge are converted in one batch, row by row as if alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from offhook.audio.bridge import Bridge, Member, Port
from offhook.audio.codecs import Law, codec
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


def test_a_port_that_fails_never_hears_nor_says_what_the_next_one_in_its_place_does() -> None:
    failed: list[Port] = []
    lanes = Lanes(lambda port, error: failed.append(port))

    class Bad(Player):
        def read(self) -> Frame | None:
            frame = super().read()
            if frame is None:
                raise RuntimeError("a mistake of ours")
            return frame

    bad = lanes.rated(Bad(np.full(160, 5000, np.int16), 8000), 8000, 16000)
    lanes.gather()
    assert bad.read() is not None
    lanes.gather()
    assert failed == [bad] and bad.read() is None
    good_port = Player(np.full(320, 9000, np.int16), 8000)
    good = lanes.rated(good_port, 8000, 16000)
    lanes.gather()
    assert good.read() is not None and bad.read() is None
    good.write(np.full(320, 1000, np.int16), ())
    bad.write(np.full(320, 30000, np.int16), ())
    lanes.scatter()
    heard = good_port.heard[0]
    assert heard is not None and np.abs(heard[-80:].astype(int) - 1000).max() <= 1


class Coded(Player):
    """Gives payloads of a law and takes packets."""

    def __init__(self, law: Law | None, samples: np.ndarray) -> None:
        super().__init__(samples, 8000)
        self.law = law
        self.packets: list[bytes] = []

    def read_payload(self) -> bytes | None:
        frame = self.read()
        assert self.law is not None
        return None if frame is None else self.law.encode(frame)

    def write_packet(self, packet: memoryview, heard: Sequence[Member]) -> None:
        self.packets.append(bytes(packet))


@pytest.mark.parametrize("name", ["PCMU", "PCMA"])
def test_many_are_decoded_and_encoded_as_each_alone(name: str) -> None:
    law = codec(name, 8000)
    assert isinstance(law, Law)
    lanes, ticks = Lanes(fail), 4
    ports = [Coded(law, noise(8000, ticks, n)) for n in range(BLOCK_ROWS + 3)]
    rated = [lanes.rated(port, 8000, 16000) for port in ports]
    ups, downs = ([StreamResampler(*pair) for _ in ports] for pair in ((8000, 16000), (16000, 8000)))
    said = [noise(16000, ticks, 50 + n).reshape(ticks, -1) for n in range(len(ports))]
    for tick in range(ticks):
        lanes.gather()
        for n, port in enumerate(rated):
            alone = ups[n].process(law.decode(law.encode(noise(8000, ticks, n).reshape(ticks, -1)[tick])))
            assert differ(alone, port.read()) <= 1
            port.write(said[n][tick], ())
        lanes.scatter()
        for n, port in enumerate(ports):
            payload = law.decode(port.packets[tick][12:])
            exact = downs[n].process(said[n][tick])
            assert np.abs(payload.astype(int) - law.decode(law.encode(exact))).max() <= 1024


def test_a_port_of_another_law_for_now_goes_round_the_lane() -> None:
    ulaw, alaw = codec("PCMU", 8000), codec("PCMA", 8000)
    assert isinstance(ulaw, Law) and isinstance(alaw, Law)
    lanes, port = Lanes(fail), Coded(ulaw, noise(8000, 2, 1))
    rated = lanes.rated(port, 8000, 16000)
    port.law = alaw
    up = StreamResampler(8000, 16000)
    lanes.gather()
    assert differ(up.process(noise(8000, 2, 1)[:160]), rated.read()) <= 1
    rated.write(noise(16000, 1, 2), ())
    lanes.scatter()
    assert len(port.heard) == 1 and not port.packets


def test_a_row_that_nobody_has_is_silent_for_the_next() -> None:
    law = codec("PCMU", 8000)
    assert isinstance(law, Law)
    lanes = Lanes(fail)
    lanes.rated(Coded(law, noise(8000, 9, 1)), 8000, 16000)
    gone = lanes.rated(Coded(law, noise(8000, 1, 2)), 8000, 16000)
    lanes.gather()
    lanes.release(gone)
    lanes.gather()
    silent = lanes.rated(Coded(law, np.zeros(160, np.int16)), 8000, 16000)
    lanes.gather()
    frame = silent.read()
    assert frame is not None and not frame.any()
