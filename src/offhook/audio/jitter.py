"""The jitter buffer: packets in when they arrive, payloads out when the clock asks (architecture.md).

Every packet has a place on one time line: its extended RTP time stamp. The playing position moves with what is played;
how long packets wait for it is the delay. It adapts in whole frames. Up: when the buffer runs dry the position waits
instead of moving on, so that what comes late is heard late and not lost; and when packets come behind their turn twice
in a short while. Down: when for some seconds even the latest packet came with more than a frame to spare, frames are
left out, in a pause if there is one.

A new source, a jump of the time stamps, or packets that go on coming behind the position begin another time line; one
stray packet does not (RFC 3550 appendix A.1).

Overflow rule: what waits longer than `HARD_MS` is thrown away, oldest first, and counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from offhook.audio.pcm import FRAMES_PER_SECOND
from offhook.audio.rtp import Packet, later

START_MS = 40
TARGET_MS = 200
HARD_MS = 500
SPARE_MS = 10
QUIET_WINDOW = 100  # packets: two seconds of 20 ms
CONCEAL_FRAMES = 3
JUMP_SECONDS = 2
"""A time stamp further off than this begins a new time line."""
LATE_AGAIN_SECONDS = 1.3
"""Two late packets within this: wait longer."""
BEHIND_PACKETS, BEHIND_SECONDS = 5, 0.1
"""So many new packets in turn that are late, over so long, and it is the position that is wrong."""
FORMER_SECONDS = 2.0
"""How long what a former source still sends is left out."""
MOST_NUMBERS = 256  # of sequence numbers that are remembered


class Due(Enum):
    """What the clock gets beside payloads."""

    LOST = "lost"
    """A packet is missing: conceal it."""
    NOTHING = "nothing"
    """Nothing has been sent for this time, or nothing came yet."""


@dataclass(slots=True)
class JitterCounters:
    """What passed through; `lost` counts gaps that were played as such, `late` packets that came after their time,
    `grown` and `shrunk` frames by which the delay was made longer and shorter."""

    received: int = 0
    played: int = 0
    lost: int = 0
    late: int = 0
    duplicate: int = 0
    dropped: int = 0
    grown: int = 0
    shrunk: int = 0
    restarts: int = 0


class JitterBuffer:
    """Orders one stream. `clock` is its RTP clock in Hz; times are monotonic seconds, lengths samples of the clock."""

    def __init__(self, clock: int) -> None:
        self.counters = JitterCounters()
        self.jitter = 0.0  # seconds, RFC 3550 §6.4.1
        self.first = (0, 0)
        """Sequence number of the source's first packet, and how many packets other sources had sent before."""
        self.highest_sequence = 0
        """The newest sequence number, 16 bits."""
        self.source: int | None = None
        """The SSRC that is played, once something came."""
        self.gap = 0
        """How long the LOST or NOTHING that was given last is."""
        self.waited_before = 0.0
        """Seconds that packets wait on average before they are `put`."""
        self._former: tuple[int, float] | None = None  # the SSRC before, and until when it is left out
        self._begin(clock)

    def change(self, clock: int) -> None:
        """Another clock: a new time line; nothing that waits can be used."""
        self.counters.dropped += len(self._packets)
        self._begin(clock)

    def _begin(self, clock: int) -> None:
        self.clock = clock
        self._frame = clock // FRAMES_PER_SECOND
        self._jump = JUMP_SECONDS * clock
        self._packets: dict[int, Packet] = {}  # by extended time stamp
        self._newest: int | None = None  # the newest extended time stamp
        self._newcomer: Packet | None = None  # the first packet of what may be another line
        self._position = 0
        self._last_sequence: int | None = None  # of what was played last
        self._missing: set[int] = set()  # sequence numbers that were played as lost
        self._other: set[int] = set()  # sequence numbers that carried something else than sound
        self._ticked_at = 0.0
        self._started = False
        self._wait = 0
        self._transit: float | None = None
        self._spare = 0  # least time to spare of the packets in this window
        self._window = 0
        self._spares = 0.0
        self._late_at = -LATE_AGAIN_SECONDS
        self._behind = 0  # new packets in turn that were late
        self._behind_since = 0.0
        self._dry = 0  # concealed since the buffer ran dry
        self._hold = 0  # to be concealed before the position moves on
        self._rest = 0  # taken, and still to be played
        self._delay = START_MS / 1000

    @property
    def delay(self) -> float:
        """Seconds from a packet's arrival to its sound, on average over the present window of at most some seconds."""
        buffered = self._spares / self._window / self.clock if self._window >= 25 else self._delay
        return buffered + self.waited_before

    @property
    def waiting(self) -> int:
        """Packets that wait."""
        return len(self._packets)

    def following(self) -> bytes | None:
        """After a LOST: the payload that comes next, if it has come."""
        packet = self._packets.get(self._position)
        return None if packet is None else packet.payload

    def put(self, packet: Packet, now: float) -> bool:
        """Take a packet; False when it is of no use (late, twice, thrown away)."""
        self.counters.received += 1
        place = self._place(packet, now)
        if place is None:
            return False
        transit = now - place / self.clock
        if self._transit is not None:  # interarrival jitter (RFC 3550 appendix A.8)
            self.jitter += (abs(transit - self._transit) - self.jitter) / 16
        self._transit = transit
        packets = self._packets
        if not self._started and not packets:
            self._position, self._ticked_at = place, now
            self._wait, self._dry, self._hold = START_MS * self.clock // 1000, 0, 0
        if place < self._position and self._started:
            return self._came_late(packet, place, now)
        if place in packets:
            self.counters.duplicate += 1
            return False
        if self._dry:
            self._end_dry(place)
        self._behind = 0
        packets[place] = packet
        ahead = place - self._position
        spare = ahead + self._wait + self._hold + self._rest + self._frame - round((now - self._ticked_at) * self.clock)
        if not self._window or spare < self._spare:
            self._spare = spare
        self._window += 1
        self._spares += spare
        if ahead * 1000 > HARD_MS * self.clock:
            self._skip_to(place - HARD_MS * self.clock // 1000)
        return True

    def other(self, sequence: int) -> None:
        """A packet of the stream that carries no sound (RFC 4733 keys): it came, and its number is not missing."""
        self.counters.received += 1
        if self.source is not None and later(sequence, self.highest_sequence, 16) > 0:
            self.highest_sequence = sequence
        if len(self._other) >= MOST_NUMBERS:
            self._other.clear()
        self._other.add(sequence)

    def take(self, now: float, advance: int) -> Packet | Due:
        """What is due at the position; a LOST or NOTHING is `gap` long, `advance` (one frame) at most.

        The caller keeps asking until it has a frame, and says with `played` how long each payload was.
        """
        self._ticked_at = now
        if self._started and not self._hold:
            packet = self._packets.pop(self._position, None)
            if packet is not None:
                self._last_sequence = packet.sequence
                self.counters.played += 1
                return packet
        return self._absent(advance)

    def played(self, samples: int) -> None:
        """The payload given last lasts this long."""
        self._position += samples

    def left(self, samples: int, now: float) -> None:
        """So much of what was taken is still to be played after this frame."""
        self._rest, self._ticked_at = samples, now

    @property
    def unsettled(self) -> bool:
        """Whether it would be of use to ask it to `settle`."""
        window = self._window
        return window >= QUIET_WINDOW and (window >= 4 * QUIET_WINDOW or self._to_spare() > 0)

    def settle(self, *, silent: bool) -> bool:
        """Let the delay shrink if it can: in a pause by all that is to spare, in speech by a frame. Whether it did."""
        patience = QUIET_WINDOW if silent else 4 * QUIET_WINDOW
        if self._window < patience:
            return False
        frames = self._to_spare()
        if frames > 0:
            frames = frames if silent else 1
            self._skip_to(self._position + frames * self._frame)
            self.counters.shrunk += frames
        self._new_window()
        return frames > 0

    # inside -----------------------------------------------------------------------------------------------------

    def _to_spare(self) -> int:
        """Frames that even the latest packet of the window would not have missed."""
        return (self._spare - SPARE_MS * self.clock // 1000) // self._frame

    def _place(self, packet: Packet, now: float) -> int | None:
        """The packet's place on the time line; None for one that has none (yet)."""
        newest = self._newest
        if newest is None:
            self._begin_line(packet)
            return packet.timestamp
        if packet.ssrc == self.source:
            step = later(packet.timestamp, newest & 0xFFFFFFFF, 32)
            if 0 < step <= self._jump:  # the next one, as it should be
                self._newest = place = newest + step
                self.highest_sequence = packet.sequence
                self._newcomer = None
                return place
            if abs(step) <= self._jump:
                return newest + step
        former = self._former
        if former is not None and packet.ssrc == former[0] and packet.ssrc != self.source and now < former[1]:
            self.counters.dropped += 1
            return None
        first, self._newcomer = self._newcomer, packet
        if first is None or not self._goes_on(first, packet):
            return None
        if packet.ssrc != self.source and self.source is not None:
            self._former = (self.source, now + FORMER_SECONDS)
        self._restart(first)
        self._position, self._ticked_at, self._wait = first.timestamp, now, START_MS * self.clock // 1000
        self._packets[first.timestamp] = first
        return self._place(packet, now)

    def _goes_on(self, first: Packet, packet: Packet) -> bool:
        """Whether a packet follows another of the same line."""
        if packet.ssrc != first.ssrc or not 0 < later(packet.sequence, first.sequence, 16) <= 3:
            return False
        return 0 < later(packet.timestamp, first.timestamp, 32) <= self._jump

    def _restart(self, packet: Packet) -> None:
        """Another time line, from this packet on."""
        self.counters.restarts += 1
        self.counters.dropped += len(self._packets)
        self._packets.clear()
        self._begin_line(packet)

    def _begin_line(self, packet: Packet) -> None:
        if packet.ssrc != self.source:
            self.first = (packet.sequence, self.counters.received - 1)
        self.source, self.highest_sequence, self._newest = packet.ssrc, packet.sequence, packet.timestamp
        self._started, self._last_sequence, self._transit, self._newcomer = False, None, None, None
        self._dry = self._hold = self._behind = 0
        self._missing.clear()
        self._other.clear()
        self._new_window()

    def _absent(self, advance: int) -> Packet | Due:
        """What is given where no packet is due or the one that is due is missing."""
        self.gap = advance
        if not self._started:
            if not self._packets:
                return Due.NOTHING
            self._wait -= advance
            if self._wait > 0:
                return Due.NOTHING
            self._start()
            return self.take(self._ticked_at, advance)
        if self._hold > 0:
            self.gap = min(advance, self._hold)
            self._hold -= self.gap
            return Due.LOST
        if not self._packets:
            return self._run_dry(advance)
        following = min(self._packets)
        self.gap = min(advance, following - self._position)
        self._position += self.gap
        if self._last_sequence is not None and not self._lost_before(self._packets[following].sequence):
            return Due.NOTHING  # nothing is missing: the sender was silent (RFC 3551 §4.1)
        self.counters.lost += 1
        return Due.LOST

    def _start(self) -> None:
        """Play, from what came last but for the delay to begin with: what waits longer is of a time before."""
        self._started, self._wait = True, 0
        oldest, newest = min(self._packets), max(self._packets)
        self._position = oldest
        if newest - oldest > START_MS * self.clock // 1000:
            self._skip_to(newest - START_MS * self.clock // 1000)
            self._position = min(self._packets)

    def _lost_before(self, sequence: int) -> bool:
        """Whether packets with sound are missing between what was played last and this one."""
        assert self._last_sequence is not None
        between = later(sequence, self._last_sequence, 16) - 1
        if not 0 < between < MOST_NUMBERS:
            return between != 0
        first = self._last_sequence + 1
        gone = {number & 0xFFFF for number in range(first, first + between)} - self._other
        if len(self._missing) >= MOST_NUMBERS:
            self._missing.clear()
        self._missing |= gone
        return bool(gone)

    def _run_dry(self, advance: int) -> Due:
        """Nothing is there: wait where we are, which makes the delay longer, as long as it may."""
        self._dry += advance
        if self._dry > CONCEAL_FRAMES * advance:
            return Due.NOTHING
        if self.delay >= TARGET_MS / 1000:
            self._position += advance
        return Due.LOST

    def _end_dry(self, place: int) -> None:
        """What has been concealed meanwhile stood for what is missing before this packet; the rest is delay."""
        stood = min(place - self._position, self._dry)
        self._position += stood
        self.counters.grown += min(self._dry - stood, CONCEAL_FRAMES * self._frame) // self._frame
        self._dry = 0

    def _new_window(self) -> None:
        if self._window >= 25:
            self._delay = self._spares / self._window / self.clock
        self._window, self._spares, self._spare = 0, 0.0, 0

    def _came_late(self, packet: Packet, place: int, now: float) -> bool:
        """Behind the position. The second within about a second: wait longer, so that the next like it is in time."""
        sequence = packet.sequence
        if (
            self._last_sequence is not None
            and later(sequence, self._last_sequence, 16) <= 0
            and sequence not in self._missing
        ):
            self.counters.duplicate += 1
            return False
        self.counters.late += 1
        self._missing.discard(sequence)
        if self._goes_on_behind(sequence, place, now):
            self._restart(packet)
            self._position, self._ticked_at, self._wait = packet.timestamp, now, START_MS * self.clock // 1000
            self._packets[packet.timestamp] = packet
            return True
        again, self._late_at = now - self._late_at <= LATE_AGAIN_SECONDS, now
        room = TARGET_MS * self.clock // 1000 - round(self.delay * self.clock) - self._hold
        step = min(-(-(self._position - place) // self._frame), max(room // self._frame, 0))
        if again and step:
            self._hold += step * self._frame
            self.counters.grown += step
            self._late_at = now - 2 * LATE_AGAIN_SECONDS
            self._new_window()
        return False

    def _goes_on_behind(self, sequence: int, place: int, now: float) -> bool:
        """Whether all that comes, though new, has come behind the position for a while."""
        if place != self._newest and later(sequence, self.highest_sequence, 16) <= 0:
            return False
        self.highest_sequence = sequence
        if not self._behind:
            self._behind_since = now
        self._behind += 1
        return self._behind >= BEHIND_PACKETS and now - self._behind_since >= BEHIND_SECONDS

    def _skip_to(self, position: int) -> None:
        """Throw away what is before a position."""
        for place in [place for place in self._packets if place < position]:
            del self._packets[place]
            self.counters.dropped += 1
        self._position = position
