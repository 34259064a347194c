"""An RTP port between two ends in memory: audio both ways, keys both ways, and packets that are not for it."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from offhook.audio import rtp
from offhook.audio.codecs import codec
from offhook.audio.lanes import Lanes
from offhook.audio.pcm import Frame
from offhook.audio.resample import StreamResampler
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
            lambda data, to: self.sent.append((bytes(data), to)),
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


@pytest.mark.parametrize("lost", range(12, 28))
@pytest.mark.parametrize("count", [1, 2, 3])
def test_lost_packets_in_a_tone_make_no_second_key(lost: int, count: int) -> None:
    law, tone = codec("PCMU", 8000), np.concatenate([dtmf_tone(key, 8000, 400) for key in "5"])
    wire = Wire(fmt=RtpFormat(law, 0, 0, listens=True))
    line = np.concatenate([np.zeros(1600, np.int16), tone, np.zeros(3200, np.int16)])
    for n, at in enumerate(range(0, len(line) - 159, 160)):
        data = wire.packet(law.encode(line[at : at + 160]))
        if not lost <= n < lost + count:
            wire.port.datagram(data, THERE, wire.now)
        wire.tick()
    assert wire.keys == ["5"]


# who is heard -------------------------------------------------------------------------------------------------------


def test_strangers_are_not_heard() -> None:
    wire = Wire()
    wire.port.datagram(wire.packet(bytes(160)), NAT, wire.now)
    wire.port.datagram(b"noise", THERE, wire.now)
    wire.port.datagram(wire.packet(bytes(160), 77), THERE, wire.now)
    assert (wire.port.counters.received, wire.port.counters.strange) == (0, 3)
    assert wire.port.heard_at is None


def send(wire: Wire, source: tuple[str, int], count: int = 1) -> None:
    for _ in range(count):
        wire.port.datagram(wire.packet(bytes(160)), source, wire.now)


def test_another_port_of_the_same_host_is_heard() -> None:
    wire = Wire()
    send(wire, (THERE[0], 5999), 5)
    assert wire.port.counters.received == 3 and wire.port.remote == THERE


def test_behind_a_nat_we_answer_where_it_came_from_and_stay_there() -> None:
    wire = Wire(latch=True)
    send(wire, NAT, 3)
    wire.tick()
    assert wire.sent[-1][1] == NAT
    send(wire, ("203.0.113.9", 9), 9)
    wire.tick()
    assert wire.sent[-1][1] == NAT and wire.port.counters.strange == 2 + 9


def test_late_packets_of_the_place_before_do_not_draw_us_back() -> None:
    """Another phone takes over: what the first one still sends is left out, even where we follow packets."""
    wire = Wire(latch=True)
    send(wire, THERE)
    wire.port.use(RtpFormat(codec("PCMU", 8000), 0, 0), NAT)
    send(wire, THERE, 9)
    assert wire.port.remote == NAT and wire.port.counters.strange == 9
    send(wire, NAT)
    assert wire.port.remote == NAT and wire.port.counters.received == 2
    wire.now += 3.0
    send(wire, THERE, 3)
    assert wire.port.remote == THERE, "a phone that only said that it moved"


def test_who_was_told_of_comes_before_who_sent_first() -> None:
    wire = Wire(latch=True)
    send(wire, NAT, 3)
    send(wire, THERE)
    wire.tick()
    assert wire.sent[-1][1] == THERE


def test_a_phone_behind_a_nat_stays_where_it_is_through_a_hold() -> None:
    wire = Wire(latch=True)
    send(wire, NAT, 3)
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


def test_time_goes_on_in_a_hold_and_a_new_spurt_begins_after_it() -> None:
    """RFC 3550 §5.1: the listener can tell that nothing was lost, and how long it was."""
    wire, law = Wire(), codec("PCMU", 8000)
    wire.tick(sine(440, 8000, 0.02))
    wire.port.use(RtpFormat(law, 0, 0, speaks=False), THERE)
    for _ in range(500):
        wire.tick()
    wire.port.use(RtpFormat(law, 0, 0), THERE)
    wire.tick(sine(440, 8000, 0.02))
    before, after = wire.packets()
    assert rtp.later(after.timestamp, before.timestamp, 32) == 501 * 160
    assert after.marker and after.sequence == (before.sequence + 1) & 0xFFFF


@pytest.mark.parametrize("ms", [10, 20, 30, 40, 60])
def test_loss_does_not_make_the_delay_grow_whatever_the_length_of_packets(ms: int) -> None:
    """A gap is as long as the packet that is missing."""
    wire, law, size = Wire(), codec("PCMU", 8000), ms * 8
    speech = law.encode(sine(200, 8000, ms / 1000))
    sent = 0
    for _ in range(3000):
        while sent * ms < (wire.now - 50.0) * 1000 + 20:
            data = wire.packet(speech, timestamp=sent * size)
            sent += 1
            if sent % 20:
                wire.port.datagram(data, THERE, wire.now)
        wire.tick()
    assert wire.port.jitter.delay < 0.05 and wire.port.jitter.counters.dropped <= 10


def test_what_opus_cannot_use_after_a_gap_is_not_the_end_of_the_port() -> None:
    one, other = (Wire(fmt=RtpFormat(codec("OPUS", 48000), 111, 111)) for _ in range(2))
    tone, heard = sine(200, 16000, 1.0), []
    for n in range(50):
        one.tick(tone[n * 320 : n * 320 + 320])
        data = one.sent[-1][0]
        if n % 10 != 5:
            other.port.datagram(data[:12] + b"\xff\xff\xff" if n % 10 == 6 else data, THERE, other.now)
        heard.append(other.tick())
    assert {len(frame) for frame in heard} == {320}
    assert float(np.abs(heard[-1]).max()) > 5000


def test_keys_are_tones_where_the_other_side_knows_no_events() -> None:
    wire, law = Wire(fmt=RtpFormat(codec("PCMU", 8000), 0, 0)), codec("PCMU", 8000)
    other = Wire(fmt=RtpFormat(law, 0, 0, listens=True))
    for key in "1#":
        assert wire.port.press(key)
    for _ in range(40):
        wire.tick(None)
        other.port.datagram(wire.sent[-1][0], THERE, other.now)
        other.tick()
    assert other.keys == ["1", "#"]
    assert {p.payload_type for p in wire.packets()} == {0}


def test_a_key_that_is_being_pressed_when_the_session_changes_is_left() -> None:
    wire, law = Wire(), codec("PCMU", 8000)
    wire.port.press("1")
    wire.port.press("2")
    wire.tick()
    wire.port.use(RtpFormat(law, 0, 0), THERE)
    for _ in range(30):
        wire.tick()
    wire.port.press("3")
    wire.tick()
    wire.port.use(RtpFormat(law, 0, 0, 101, frozenset({101})), THERE)
    for _ in range(30):
        wire.tick()
    assert len(wire.sent) == 62


# in the lanes -------------------------------------------------------------------------------------------------------


class Batched(Wire):
    """The same port in the lanes of a node: decoded and encoded there."""

    def __init__(self, fmt: RtpFormat | None = None) -> None:
        super().__init__(fmt=fmt)
        self.failed: list[Exception] = []
        self.lanes = Lanes(lambda port, error: self.failed.append(error))
        self.rated = self.lanes.rated(self.port, 8000, 16000)

    def tick(self, mix: Frame | None = None) -> Frame:
        self.now += 0.02
        self.lanes.gather()
        frame = self.rated.read()
        assert frame is not None
        frame = np.copy(frame)
        self.rated.write(None if mix is None else np.repeat(mix, 2), ())
        self.lanes.scatter()
        return frame


def test_a_port_in_the_lanes_does_as_one_alone() -> None:
    """Loss, noise, keys, other lengths, a hold and another law, at any time: the same packets and the same sound."""
    law = codec("PCMU", 8000)
    fmt = RtpFormat(law, 0, 0, 101, frozenset({101}), comfort=13)
    alone, batched = Wire(fmt=fmt), Batched(fmt)
    up, down = StreamResampler(8000, 16000), StreamResampler(16000, 8000)
    speech, chance = sine(200, 8000, 0.02), random.Random(5)
    laws = [RtpFormat(codec("PCMA", 8000), 8, 8, 101, frozenset({101})), fmt, replace(fmt, speaks=False), fmt]
    for n in range(600):
        kind, payload = 0, law.encode(speech)
        if n % 50 == 30:
            kind, payload = 13, bytes([50])
        elif n % 90 == 45:
            kind, payload = 101, rtp.build_event("5", 160, end=True)
        elif n % 70 == 60:
            payload = payload[:80]
        data = alone.packet(payload, kind, timestamp=n * 160)
        if chance.random() > 0.1:
            for wire in (alone, batched):
                wire.port.datagram(data, THERE, wire.now)
        if n % 120 == 100:
            for wire in (alone, batched):
                wire.port.press("7")
        if n % 140 == 139:
            for wire in (alone, batched):
                wire.port.use(laws[n // 140 % 4], THERE)
        mix = None if n % 13 == 0 else speech
        heard = up.process(alone.tick(None if mix is None else down.process(np.repeat(mix, 2))))
        if mix is None:
            down.process(np.zeros(320, np.int16))
        assert np.abs(heard.astype(int) - batched.tick(mix)).max() <= 1
    assert not batched.failed
    assert len(alone.sent) == len(batched.sent)
    for one, other in zip(alone.packets(), batched.packets(), strict=True):
        assert one[:5] == other[:5]
        if one.payload_type in (0, 8):
            a, b = (codec("PCMA" if one.payload_type else "PCMU", 8000).decode(p.payload) for p in (one, other))
            assert np.abs(a.astype(int) - b).max() <= 1024, "a step of the law where the sum fell to the other side"
    assert alone.keys == batched.keys and alone.port.jitter.counters == batched.port.jitter.counters
