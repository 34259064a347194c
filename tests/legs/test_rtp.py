"""An RTP port between two ends in memory: audio both ways, keys both ways, and packets that are not for it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from offhook.audio import rtp
from offhook.audio.codecs import codec
from offhook.audio.pcm import Frame
from offhook.audio.tones import dtmf_tone, sine
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
    [(16000, "L16", 96), (8000, "PCMA", 8), (8000, "G722", 9), (48000, "OPUS", 111)],
)
def test_other_codecs(rate: int, name: str, kind: int) -> None:
    """Whatever the rates of samples and of time stamps are: two ports hear each other."""
    one, other = (Wire(fmt=RtpFormat(codec(name, rate), kind, kind)) for _ in range(2))
    size = one.port.rate // 50
    tone = sine(440, one.port.rate, 1.0)
    heard = []
    for n in range(50):
        one.tick(tone[n * size : n * size + size])
        other.port.datagram(one.sent[-1][0], THERE, other.now)
        heard.append(other.tick())
    packets = one.packets()
    assert {packet.payload_type for packet in packets} == {kind}
    assert {rtp.later(b.timestamp, a.timestamp, 32) for a, b in pairwise(packets)} == {rate // 50}
    assert {len(frame) for frame in heard} == {size} and other.port.jitter.counters.lost == 0
    line = np.concatenate(heard[10:]).astype(float)
    assert np.sqrt((line**2).mean()) == pytest.approx(7071, rel=0.05)


@pytest.mark.parametrize(("name", "rate", "kind"), [("G722", 8000, 9), ("OPUS", 48000, 111)])
def test_a_hole_in_wideband_is_filled(name: str, rate: int, kind: int) -> None:
    one, other = (Wire(fmt=RtpFormat(codec(name, rate), kind, kind)) for _ in range(2))
    tone, heard = sine(200, 16000, 1.0), []
    for n in range(50):
        one.tick(tone[n * 320 : n * 320 + 320])
        if n % 10 != 5:
            other.port.datagram(one.sent[-1][0], THERE, other.now)
        heard.append(other.tick())
    assert min(float(np.abs(frame).max()) for frame in heard[6:]) > 5000
    assert other.port.jitter.counters.lost == 5


def test_comfort_noise_lasts_until_speech() -> None:
    """RFC 3389: a level, then nothing is sent; then a talk spurt with the time stamp that the silence has earned."""
    law = codec("PCMU", 8000)
    wire, speech, heard = Wire(fmt=RtpFormat(law, 0, 0, comfort=13)), law.encode(sine(440, 8000, 0.02)), []
    for n in range(60):
        if n < 20 or n >= 40:
            wire.port.datagram(wire.packet(speech, timestamp=n * 160), THERE, wire.now)
        elif n in (20, 30):
            wire.port.datagram(wire.packet(bytes([50]), 13, timestamp=n * 160), THERE, wire.now)
        heard.append(wire.tick())
    levels = [float(np.sqrt((frame.astype(float) ** 2).mean())) for frame in heard]
    noise = 32768 * 10 ** (-50 / 20)
    quiet = [n for n, level in enumerate(levels) if level == pytest.approx(noise, rel=0.3)]
    assert len(quiet) in (19, 20, 21) and quiet == list(range(quiet[0], quiet[0] + len(quiet)))
    assert min(levels[3 : quiet[0]]) > 5000 and min(levels[quiet[-1] + 1 :]) > 5000
    assert wire.port.jitter.counters.lost == 0


def test_another_codec_in_the_same_call() -> None:
    """PCMU to G.722: the rate changes, packets of the old codec that still come are left out."""
    wire, law = Wire(), codec("PCMU", 8000)
    for _ in range(5):
        wire.port.datagram(wire.packet(law.encode(sine(440, 8000, 0.02))), THERE, wire.now)
        wire.tick()
    wire.port.use(RtpFormat(codec("G722", 8000), 9, 9), THERE)
    assert wire.port.rate == 16000 and len(wire.tick()) == 320
    strange = wire.port.counters.strange
    wire.port.datagram(wire.packet(law.encode(sine(440, 8000, 0.02))), THERE, wire.now)
    assert wire.port.counters.strange == strange + 1
    other = codec("G722", 8000)
    for n in range(5):
        payload = other.encode(sine(440, 16000, 0.02))
        wire.port.datagram(wire.packet(payload, 9, timestamp=9000 + n * 160), THERE, wire.now)
        frame = wire.tick()
    assert np.abs(frame).max() > 5000


def test_the_same_codec_again_goes_on_with_what_it_remembers() -> None:
    """A hold and its end must not click: the decoder's state stays."""
    wire, coder = Wire(fmt=RtpFormat(codec("G722", 8000), 9, 9)), codec("G722", 8000)
    tone, heard = sine(440, 16000, 1.0), []
    for n in range(50):
        if n == 25:
            wire.port.use(RtpFormat(codec("G722", 8000), 9, 9), THERE)
        wire.port.datagram(wire.packet(coder.encode(tone[n * 320 : n * 320 + 320]), 9), THERE, wire.now)
        heard.append(wire.tick())
    line = np.concatenate(heard[5:]).astype(float)
    assert np.abs(np.diff(line)).max() < 2 * 10000 * 2 * np.pi * 440 / 16000


def test_a_new_source_and_a_jump_are_heard_on() -> None:
    law, wire, heard = codec("PCMU", 8000), Wire(), []
    speech = law.encode(sine(450, 8000, 0.02))
    for n in range(90):
        ssrc, at = (9, n * 160) if n < 30 else (10, 77_000 + n * 160) if n < 60 else (10, 3_000_000_000 + n * 160)
        wire.port.datagram(rtp.build(0, 1000 + n, at, ssrc, speech), THERE, wire.now)
        heard.append(wire.tick())
    silent = [n for n, frame in enumerate(heard) if not frame.any()]
    assert wire.port.jitter.counters.restarts == 2 and len(silent) <= 6


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


def test_keys_are_heard_in_the_sound_if_asked() -> None:
    law, tone = codec("PCMU", 8000), np.concatenate([dtmf_tone(key, 8000, 100) for key in "18#"])
    for listens, keys in ((True, ["1", "8", "#"]), (False, [])):
        wire = Wire(fmt=RtpFormat(law, 0, 0, listens=listens))
        line = np.concatenate([np.zeros(160, np.int16), tone, np.zeros(1600, np.int16)])
        for at in range(0, len(line) - 159, 160):
            wire.port.datagram(wire.packet(law.encode(line[at : at + 160])), THERE, wire.now)
            wire.tick()
        assert wire.keys == keys


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


def test_late_packets_of_the_place_before_do_not_draw_us_back() -> None:
    """Another phone takes over: what the first one still sends is left out, even where we follow packets."""
    wire = Wire(latch=True)
    wire.port.datagram(wire.packet(bytes(160)), THERE, wire.now)
    wire.port.use(RtpFormat(codec("PCMU", 8000), 0, 0), NAT)
    wire.port.datagram(wire.packet(bytes(160)), THERE, wire.now)
    assert wire.port.remote == NAT and wire.port.counters.strange == 1
    wire.port.datagram(wire.packet(bytes(160)), NAT, wire.now)
    assert wire.port.remote == NAT and wire.port.counters.received == 2
    wire.now += 3.0
    wire.port.datagram(wire.packet(bytes(160)), THERE, wire.now)
    assert wire.port.remote == THERE, "a phone that only said that it moved"


def test_who_was_told_of_comes_before_who_sent_first() -> None:
    wire = Wire(latch=True)
    wire.port.datagram(wire.packet(bytes(160)), NAT, wire.now)
    wire.port.datagram(wire.packet(bytes(160)), THERE, wire.now)
    wire.tick()
    assert wire.sent[-1][1] == THERE


def test_a_phone_behind_a_nat_stays_where_it_is_through_a_hold() -> None:
    wire = Wire(latch=True)
    wire.port.datagram(wire.packet(bytes(160)), NAT, wire.now)
    wire.port.use(RtpFormat(codec("PCMU", 8000), 0, 0), THERE)
    wire.tick()
    assert wire.sent[-1][1] == NAT


def test_a_held_peer_is_sent_nothing() -> None:
    wire = Wire()
    law = codec("PCMU", 8000)
    wire.port.use(RtpFormat(law, 0, 0, speaks=False), THERE)
    wire.tick(sine(440, 8000, 0.02))
    assert wire.sent == []
    wire.port.use(RtpFormat(law, 0, 0), NAT)
    wire.tick()
    assert wire.sent[-1][1] == NAT
