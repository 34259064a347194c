"""An RTP port between two ends in memory: audio both ways, keys both ways, and packets that are not for it."""

from __future__ import annotations

import numpy as np
import pytest

from offhook.audio import rtp
from offhook.audio.codecs import codec
from offhook.audio.pcm import Frame
from offhook.audio.tones import sine
from offhook.legs.rtp import RtpFormat, RtpPort

HERE, THERE, NAT = ("192.0.2.1", 4000), ("192.0.2.2", 5000), ("198.51.100.3", 6000)


class Wire:
    """A port, what it sent, and a clock that is a number."""

    def __init__(self, *, latch: bool = False, fmt: RtpFormat | None = None) -> None:
        self.now = 50.0
        self.sent: list[tuple[bytes, tuple[str, int]]] = []
        self.keys: list[str] = []
        self.port = RtpPort(
            lambda data, to: self.sent.append((data, to)),
            lambda: self.now,
            ssrc=7,
            sequence=65530,
            timestamp=2**32 - 800,
            on_key=self.keys.append,
            latch=latch,
        )
        self.port.use(fmt or RtpFormat(codec("PCMU", 8000), 0, 0, 101, frozenset({101})), THERE)
        self.number = 0

    def packet(self, payload: bytes, kind: int = 0, *, timestamp: int | None = None) -> bytes:
        self.number += 1
        at = self.number * 160 if timestamp is None else timestamp
        return rtp.build(kind, self.number, at, 9, payload)

    def tick(self, mix: Frame | None = None) -> Frame:
        self.now += 0.02
        frame = self.port.read()
        assert frame is not None
        self.port.write(mix, ())
        return np.copy(frame)

    def packets(self) -> list[rtp.Packet]:
        found = [rtp.parse(data) for data, _ in self.sent]
        assert all(found)
        return [packet for packet in found if packet is not None]


def test_what_comes_is_heard_after_two_frames() -> None:
    wire, law, tone = Wire(), codec("PCMU", 8000), sine(440, 8000, 2.0)
    heard = []
    for n in range(100):
        wire.port.datagram(wire.packet(law.encode(tone[n * 160 : n * 160 + 160])), THERE, wire.now)
        heard.append(wire.tick())
    line = np.concatenate(heard)
    start = int(np.flatnonzero(line)[0]) // 160
    assert start in (1, 2)
    assert np.array_equal(line[start * 160 :], law.decode(law.encode(tone))[: len(line) - start * 160])


@pytest.mark.parametrize("ms", [10, 30, 40, 60])
def test_packets_of_other_lengths_are_heard_whole(ms: int) -> None:
    wire, law, tone = Wire(), codec("PCMU", 8000), sine(440, 8000, 3.0)
    size, sent, heard = ms * 8, 0, []
    for tick in range(160):
        while sent * ms < (tick + 1) * 20 and (sent + 1) * size <= len(tone):
            part = law.encode(tone[sent * size : sent * size + size])
            wire.port.datagram(wire.packet(part, timestamp=sent * size), THERE, wire.now)
            sent += 1
        heard.append(wire.tick())
    line, expected = np.concatenate(heard), law.decode(law.encode(tone))
    start = int(np.flatnonzero(line)[0]) - 1
    assert start < 8 * (60 + ms)
    assert np.array_equal(line[start : start + len(expected)], expected)
    assert wire.port.jitter.waiting == 0


def test_what_is_said_goes_out_in_order_with_one_marker() -> None:
    wire, law, tone = Wire(), codec("PCMU", 8000), sine(440, 8000, 1.0)
    for n in range(50):
        wire.tick(tone[n * 160 : n * 160 + 160])
    packets = wire.packets()
    assert len(packets) == 50 and {to for _, to in wire.sent} == {THERE}
    assert [p.sequence for p in packets] == [(65530 + n) & 0xFFFF for n in range(50)]
    assert [p.timestamp for p in packets] == [(2**32 - 800 + 160 * n) & 0xFFFFFFFF for n in range(50)]
    assert [p.marker for p in packets] == [True] + [False] * 49
    assert np.array_equal(np.concatenate([law.decode(p.payload) for p in packets]), law.decode(law.encode(tone)))


def test_a_pause_is_sent_as_silence_so_that_nobody_times_out() -> None:
    wire = Wire()
    wire.tick(None)
    (packet,) = wire.packets()
    assert not codec("PCMU", 8000).decode(packet.payload).any()


def test_a_hole_is_filled_and_an_absent_peer_is_silence() -> None:
    wire, law, tone = Wire(), codec("PCMU", 8000), sine(200, 8000, 1.0)
    heard = []
    for n in range(50):
        data = wire.packet(law.encode(tone[n * 160 : n * 160 + 160]))
        if n != 20:
            wire.port.datagram(data, THERE, wire.now)
        heard.append(wire.tick())
    levels = [float(np.abs(frame).max()) for frame in heard[3:]]
    assert min(levels) > 5000
    for _ in range(20):
        frame = wire.tick()
    assert not frame.any()


@pytest.mark.parametrize(
    ("rate", "name", "kind"),
    [(16000, "L16", 96), (8000, "PCMA", 8)],
)
def test_other_codecs(rate: int, name: str, kind: int) -> None:
    wire = Wire(fmt=RtpFormat(codec(name, rate), kind, kind))
    assert wire.port.rate == rate
    tone = sine(440, rate, 0.02)
    wire.tick(tone)
    (packet,) = wire.packets()
    assert packet.payload_type == kind
    for _ in range(4):
        wire.port.datagram(wire.packet(packet.payload, kind, timestamp=wire.number * rate // 50), THERE, wire.now)
        heard = wire.tick()
    assert len(heard) == rate // 50 and np.abs(heard).max() > 5000


# keys ---------------------------------------------------------------------------------------------------------------


def press(wire: Wire, key: str, timestamp: int, *, packets: int = 6, ends: int = 3) -> None:
    for n in range(packets):
        event = rtp.build_event(key, 160 * (n + 1), end=n >= packets - ends)
        wire.port.datagram(wire.packet(event, 101, timestamp=timestamp), THERE, wire.now)


def test_each_key_is_told_once_however_often_it_is_sent() -> None:
    wire = Wire()
    press(wire, "5", 1600)
    press(wire, "5", 4800)
    press(wire, "#", 8000, packets=4, ends=0)  # its end is lost
    press(wire, "1", 11200)
    assert wire.keys == ["5", "5", "#", "1"]


def test_a_key_of_ours_is_heard_once_at_the_other_end() -> None:
    wire, other = Wire(), Wire()
    wire.port.press("7")
    wire.port.press("#")
    for _ in range(40):
        wire.tick(sine(440, 8000, 0.02))
    for data, _ in wire.sent:
        other.port.datagram(data, THERE, other.now)
    assert other.keys == ["7", "#"]
    events = [p for p in wire.packets() if p.payload_type == 101]
    ends = [e for p in events if (e := rtp.parse_event(p.payload)) is not None and e.end]
    assert len(ends) == 6 and {e.duration for e in ends} == {8 * 160}
    assert len({p.timestamp for p in events}) == 2
    assert len(wire.packets()) == 40  # a packet a tick, whatever it carries


def test_keys_at_another_clock_are_heard_too() -> None:
    wire = Wire(fmt=RtpFormat(codec("PCMU", 8000), 0, 0, 101, frozenset({101, 97})))
    wire.port.datagram(wire.packet(rtp.build_event("9", 960, end=False), 97, timestamp=5), THERE, wire.now)
    assert wire.keys == ["9"]


# who is heard -------------------------------------------------------------------------------------------------------


def test_strangers_are_not_heard() -> None:
    wire = Wire()
    wire.port.datagram(wire.packet(bytes(160)), NAT, wire.now)
    wire.port.datagram(b"noise", THERE, wire.now)
    wire.port.datagram(wire.packet(bytes(160), 77), THERE, wire.now)
    assert (wire.port.counters.received, wire.port.counters.strange) == (0, 3)
    assert wire.port.heard_at is None


def test_another_port_of_the_same_host_is_heard() -> None:
    wire = Wire()
    wire.port.datagram(wire.packet(bytes(160)), (THERE[0], 5999), wire.now)
    assert wire.port.counters.received == 1 and wire.port.remote == THERE


def test_behind_a_nat_we_answer_where_it_came_from_and_stay_there() -> None:
    wire = Wire(latch=True)
    wire.port.datagram(wire.packet(bytes(160)), NAT, wire.now)
    wire.tick()
    assert wire.sent[-1][1] == NAT
    wire.port.datagram(wire.packet(bytes(160)), ("203.0.113.9", 9), wire.now)
    wire.tick()
    assert wire.sent[-1][1] == NAT and wire.port.counters.strange == 1


def test_a_held_peer_is_sent_nothing() -> None:
    wire = Wire()
    law = codec("PCMU", 8000)
    wire.port.use(RtpFormat(law, 0, 0, speaks=False), THERE)
    wire.tick(sine(440, 8000, 0.02))
    assert wire.sent == []
    wire.port.use(RtpFormat(law, 0, 0), NAT)
    wire.tick()
    assert wire.sent[-1][1] == NAT
