"""Reports of two ports to each other, over a network whose delay and loss are known."""

from __future__ import annotations

import numpy as np
import pytest

from offhook.audio import rtcp, rtp
from offhook.audio.codecs import codec
from offhook.audio.pcm import Frame
from offhook.legs.rtp import RtpFormat, RtpPort
from offhook.legs.srtp import Srtp

HERE, THERE, NAT = ("192.0.2.1", 4000), ("192.0.2.2", 5000), ("198.51.100.3", 6000)
QUIET: Frame = np.zeros(160, np.int16)


class Ends:
    """Two ports on one manual clock. `delay` in ticks each way; `lose(n)` says which media packet is lost."""

    def __init__(self, delay: int = 0, lose: range = range(0), *, latch: bool = False) -> None:
        self.now, self.delay, self.lose = 1000.0, delay, lose
        self.flying: list[tuple[float, int, bytes, bool]] = []
        self.control: list[bytes] = []
        self.media = 0
        self.ports = [self._port(number, latch) for number in range(2)]
        law = codec("PCMU", 8000)
        for number, port in enumerate(self.ports):
            other = THERE if number == 0 else HERE
            port.use(RtpFormat(law, 0, 0), other, (other[0], other[1] + 1))

    def _port(self, number: int, latch: bool) -> RtpPort:
        def media(data: bytes | memoryview, to: tuple[str, int]) -> None:
            self.media += 1
            if self.media not in self.lose:
                self.flying.append((self.now + 0.02 * self.delay, 1 - number, bytes(data), False))

        def control(data: bytes, to: tuple[str, int]) -> None:
            self.control.append(data)
            self.flying.append((self.now + 0.02 * self.delay, 1 - number, data, True))

        return RtpPort(media, lambda: self.now, ssrc=100 + number, sequence=65000, timestamp=5, on_key=lambda key: None,
                       latch=latch, transmit_control=control)  # fmt: skip

    def run(self, ticks: int) -> None:
        for _ in range(ticks):
            self.now += 0.02
            self.step(QUIET)

    def step(self, frame: Frame) -> None:
        due = [one for one in self.flying if one[0] <= self.now + 1e-9]
        self.flying = [one for one in self.flying if one[0] > self.now + 1e-9]
        for _, to, data, control in due:
            source = HERE if to == 1 else THERE
            if control:
                self.ports[to].control(data, (source[0], source[1] + 1), self.now)
            else:
                self.ports[to].datagram(data, source, self.now)
        for port in self.ports:
            port.read()
            port.write(frame, ())


@pytest.mark.parametrize("delay", [1, 5, 20])
def test_the_round_trip_is_what_the_network_takes(delay: int) -> None:
    ends = Ends(delay)
    ends.run(1000)
    for port in ends.ports:
        figures = port.reports.figures
        assert figures.round_trip == pytest.approx(2 * delay * 0.02, abs=0.001)
        assert figures.lost_there == 0 and 3 <= figures.received <= 5 and figures.sent in (4, 5)


def test_what_the_other_side_lost_is_told() -> None:
    """One in ten from the first is lost: of both, since they send in turn every fifth of each."""
    ends = Ends(2, range(1, 10**6, 10))
    ends.run(1500)
    losses = [port.reports.figures.lost_there for port in ends.ports]
    assert losses[0] == pytest.approx(0.2, abs=0.03) and losses[1] == 0


def test_numbers_that_go_round_are_counted_on() -> None:
    """The sequence begins at 65000 and goes round: the highest is extended (appendix A.1)."""
    ends = Ends(1)
    ends.run(1000)
    parsed = [rtcp.parse(data) for data in ends.control]
    assert all(parsed)
    last = parsed[-1]
    assert last is not None
    block = last[0][0].blocks[0]
    assert 65536 < block.highest < 67000 and block.lost_in_all == 0
    assert last[0][0].sent is not None and last[0][0].sent.octets == last[0][0].sent.packets * 160


def test_who_only_listens_sends_receiver_reports() -> None:
    ends = Ends(1)
    ends.ports[1].use(RtpFormat(codec("PCMU", 8000), 0, 0, speaks=False), HERE, (HERE[0], HERE[1] + 1))
    ends.run(1000)
    reports = [parsed[0][0] for data in ends.control if (parsed := rtcp.parse(data)) is not None]
    assert {report.ssrc: report.sent is None for report in reports} == {100: False, 101: True}


def test_leaving_says_so() -> None:
    ends = Ends(1)
    ends.run(100)
    ends.ports[0].farewell()
    ends.run(5)
    assert ends.ports[1].reports.figures.left


def test_encrypted_reports() -> None:
    ends = Ends(1)
    keys = [b"A" * 30, b"B" * 30]
    for number, port in enumerate(ends.ports):
        port.secure(Srtp("AES_CM_128_HMAC_SHA1_80", keys[number], keys[1 - number]))
    ends.run(800)
    assert all(port.reports.figures.round_trip is not None for port in ends.ports)
    assert all(port.counters.strange == 0 for port in ends.ports)
    ends.ports[0].control(rtcp.build(101, "x", 1.0, None, None), (THERE[0], 1), ends.now)
    assert ends.ports[0].counters.strange == 1


def test_strangers_and_noise_are_counted_and_change_nothing() -> None:
    ends = Ends(1)
    port = ends.ports[0]
    good = rtcp.build(101, "x", 1.0, None, rtcp.Block(100, 1.0, 5, 5, 5, 0, 0.0))
    for data, source in ((good, NAT), (b"noise", THERE), (good[:-1], THERE), (b"", THERE)):
        port.control(data, source, ends.now)
    assert port.counters.strange == 4 and port.reports.figures.lost_there is None


def test_both_on_one_port() -> None:
    """RFC 5761: told apart by the second byte."""
    ends = Ends(1)
    port = ends.ports[0]
    port.datagram(rtcp.build(101, "x", 1.0, None, rtcp.Block(100, 0.5, 5, 5, 80, 0, 0.0)), THERE, ends.now)
    assert (port.reports.figures.lost_there, port.reports.figures.jitter_there) == (0.5, 0.01)
    assert port.heard_at == ends.now
    port.datagram(rtp.build(0, 1, 160, 101, bytes(160)), THERE, ends.now)
    assert port.counters.received == 1


def test_behind_a_nat_reports_go_where_they_come_from() -> None:
    ends = Ends(1, latch=True)
    port = ends.ports[0]
    to: list[tuple[str, int]] = []
    port._transmit_control = lambda data, where: to.append(where)
    port.control(rtcp.build(101, "x", 1.0, None, None), (THERE[0], 7777), ends.now)
    port.write(QUIET, ())
    port.farewell()
    assert to == [(THERE[0], 7777)]


def test_keys_and_another_codec_are_no_loss() -> None:
    """Events take numbers of the stream; a stream that changes its codec goes on counting (appendix A.3)."""
    ends = Ends(1)
    events = frozenset({101})
    for number, port in enumerate(ends.ports):
        other = THERE if number == 0 else HERE
        port.use(RtpFormat(codec("PCMU", 8000), 0, 0, 101, events), other, (other[0], other[1] + 1))
    ends.run(100)
    for key in "123456789":
        ends.ports[1].press(key)
    ends.run(500)
    assert ends.ports[1].reports.figures.lost_there == 0
    for number, port in enumerate(ends.ports):
        other = THERE if number == 0 else HERE
        port.use(RtpFormat(codec("L16", 16000), 96, 96, 101, events), other, (other[0], other[1] + 1))
    for _ in range(600):
        ends.now += 0.02
        ends.step(np.zeros(320, np.int16))
    blocks = [b for data in ends.control[-4:] for r in (rtcp.parse(data) or ([], False))[0] for b in r.blocks]
    assert blocks and all(block.lost == 0 and block.lost_in_all <= 5 for block in blocks)
