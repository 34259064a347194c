"""One stream's reports: what we tell the other side every few seconds, and what it tells us (RFC 3550 §§6.3, 6.4)."""

from __future__ import annotations

from dataclasses import dataclass

from offhook.audio import rtcp
from offhook.audio.jitter import JitterBuffer
from offhook.audio.pcm import FRAMES_PER_SECOND
from offhook.audio.rtp import later

INTERVAL_FRAMES = 5 * FRAMES_PER_SECOND
"""The least interval of §6.2; with two in a session its share of the bandwidth allows no less."""


@dataclass(slots=True)
class RtcpFigures:
    """What reports say. `lost_there` is the share of ours that the other side lost in its last interval."""

    sent: int = 0
    received: int = 0
    round_trip: float | None = None
    """Seconds, there and back, without what the other side waited."""
    lost_there: float | None = None
    jitter_there: float | None = None
    """Seconds."""
    left: bool = False
    """The other side said good-bye."""


class RtcpReports:
    """Makes and takes reports for a sender with an SSRC. `clock` is the RTP clock in Hz, times are seconds."""

    def __init__(self, ssrc: int, name: str) -> None:
        self.figures = RtcpFigures()
        self._ssrc = ssrc
        self._name = name
        self._source: int | None = None
        self._base = self._highest = 0  # extended sequence numbers: before the first packet, and the newest
        self._before = (0, 0)  # expected and received, at the report before
        self._received_before = 0  # packets of sources before this one
        self._their_last = 0
        self._their_last_at = 0.0

    def report(self, now: float, sent: rtcp.Sent | None, jitter: JitterBuffer, *, bye: bool = False) -> bytes:
        """A compound packet as of now; `sent` is None when nothing was sent since the report before."""
        self.figures.sent += 1
        return rtcp.build(self._ssrc, self._name, now, sent, self._block(now, jitter), bye=bye)

    def take(self, data: bytes, now: float, clock: int) -> bool:
        """Take what came; False for bytes that are no reports."""
        parsed = rtcp.parse(data)
        if parsed is None:
            return False
        reports, bye = parsed
        figures = self.figures
        figures.received += 1
        figures.left = figures.left or bye
        for report in reports:
            if report.sent is not None:
                self._their_last, self._their_last_at = report.sent.middle, now
            for block in report.blocks:
                if block.ssrc != self._ssrc:
                    continue
                figures.lost_there, figures.jitter_there = block.lost, block.jitter / clock
                if block.last:
                    units = (rtcp.middle(now) - block.last - round(block.since * 65536)) & 0xFFFFFFFF
                    if units < 0x80000000:  # one that arrives before it was sent tells of another clock
                        figures.round_trip = units / 65536
        return True

    def _block(self, now: float, jitter: JitterBuffer) -> rtcp.Block | None:
        """What we have heard (appendix A.3)."""
        source = jitter.source
        if source is None:
            return None
        counted = jitter.counters.received
        if source != self._source:
            first, self._received_before = jitter.first
            self._source, self._before = source, (0, 0)
            self._base = self._highest = first - 1
        self._highest += later(jitter.highest_sequence, self._highest & 0xFFFF, 16)
        expected, received = self._highest - self._base, counted - self._received_before
        more, came = expected - self._before[0], received - self._before[1]
        self._before = (expected, received)
        lost = max(more - came, 0) / more if more > 0 else 0.0
        since = now - self._their_last_at if self._their_last else 0.0
        ticks = round(jitter.jitter * jitter.clock)
        return rtcp.Block(source, lost, expected - received, self._highest, ticks, self._their_last, since)
