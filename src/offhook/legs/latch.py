"""Whose packets are heard, and where ours go: symmetric RTP (RFC 4961) that cannot be taken over by a stranger.

The signalled address is heard at once. Another port of its host, and an address of the host that the signalling comes
from (a phone behind a NAT), are heard after some packets in turn; any other only where that is allowed. Whoever is
heard keeps the place: nobody else is listened to until it has been silent for a while, as when a NAT has moved it.
"""

from __future__ import annotations

from offhook.audio.rtp import Packet, later

Address = tuple[str, int]

PROBATION = 3
"""Packets in turn until an address that was not signalled is believed."""
SILENT_SECONDS = 1.0
"""How long whoever is heard must have been silent before another may be."""
FORMER_SECONDS = 2.0
"""How long packets from the place before are left out when the other side has moved."""


class Latch:
    """One stream's other end. `anywhere`: packets may come from elsewhere than from a host that was told of."""

    __slots__ = ("_former", "_former_until", "_near", "_probation", "_signalled", "anywhere", "remote", "source")

    def __init__(self, *, anywhere: bool) -> None:
        self.anywhere = anywhere
        self.remote: Address | None = None
        """Where our packets go."""
        self.source: Address | None = None
        """Where theirs come from, once some came."""
        self._signalled: Address | None = None
        self._near = ""
        self._former: Address | None = None
        self._former_until = 0.0
        self._probation: tuple[Address, int, int] | None = None  # address, newest sequence number, packets so far

    def signal(self, remote: Address, near: str, now: float) -> None:
        """Where their media is to be, by their description; `near`: the host that their signalling comes from."""
        self._near = near
        if remote == self._signalled:
            return
        # What comes from where they were before is late; it must not draw us back.
        self._former, self._former_until = self.source or self.remote, now + FORMER_SECONDS
        self.remote = self._signalled = remote
        self.source = self._probation = None

    def admits(self, source: Address, packet: Packet, now: float, heard_at: float | None) -> bool:
        """Whether a packet is of the other end; `heard_at`: when the last one was."""
        if source == self.source:
            return True
        signalled = self._signalled
        if signalled is None or (source == self._former and now < self._former_until):
            return False
        if source == signalled:  # who was told of is right before any other
            self.remote, self.source, self._probation = source, source, None
            return True
        silent = heard_at is None or now - heard_at >= SILENT_SECONDS
        if (self.source is not None and not silent) or not self._may_be(source[0]):
            return False
        if not self._tried(source, packet):
            return False
        self.source, self._probation = source, None
        if self.anywhere or source[0] != signalled[0]:
            self.remote = source
        return True

    def knows(self, host: str) -> bool:
        """Whether a host is that of the other end."""
        return host in (ours[0] for ours in (self.source, self._signalled) if ours is not None)

    def _may_be(self, host: str) -> bool:
        assert self._signalled is not None
        return self.anywhere or host == self._signalled[0] or host == self._near

    def _tried(self, source: Address, packet: Packet) -> bool:
        """Whether enough packets have come from an address, each newer than the one before."""
        before = self._probation
        count = 1
        if before is not None and before[0] == source and later(packet.sequence, before[1], 16) > 0:
            count = before[2] + 1
        self._probation = (source, packet.sequence, count)
        return count >= PROBATION
