"""The jitter buffer: packets in when they arrive, payloads out when the clock asks (architecture.md).

Every packet has a place on one time line: its extended RTP time stamp. The playing position moves with what is played;
how long packets wait for it is the delay. It adapts in whole frames. Up: when the buffer runs dry the position waits
instead of moving on, so that what comes late is heard late and not lost; and when packets come behind their turn twice
in a short while. Down: when for some seconds even the latest packet came with more than a frame to spare, frames are
left out, in a pause if there is one.

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


class Due(Enum):
    """What the clock gets beside payloads."""

    LOST = "lost"
    """A packet is missing: conceal it."""
    NOTHING = "nothing"
    """Nothing has been sent for this time, or nothing came yet."""


@dataclass(slots=True)
class JitterCounters:
    """What passed through; `lost` counts gaps that were played as such, `late` packets that came after their time."""

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
    """Orders one stream. `clock` is its RTP clock in Hz; times are monotonic seconds."""

    def __init__(self, clock: int) -> None:
        self.clock = clock
        self.counters = JitterCounters()
        self.jitter = 0.0  # seconds, RFC 3550 §6.4.1
        self.first = (0, 0)
        """Sequence number of the source's first packet, and how many packets other sources had sent before."""
        self._frame = clock // FRAMES_PER_SECOND
        self._jump = JUMP_SECONDS * clock
        self._packets: dict[int, Packet] = {}  # by extended time stamp
        self._highest: tuple[int, int] | None = None  # sequence number and extended time stamp of the newest
        self._ssrc: int | None = None
        self._position = 0
        self._last_sequence: int | None = None  # of what was played last
        self._ticked_at = 0.0
        self._started = False
        self._wait = 0
        self._transit: float | None = None
        self._spare = 0  # least time to spare of the packets in this window, in samples
        self._window = 0
        self._spares = 0.0
        self._late_run = 0
        self._dry = 0  # samples concealed since the buffer ran dry
        self._hold = 0  # samples to be concealed before the position moves on
        self._delay = START_MS / 1000

    @property
    def delay(self) -> float:
        """Seconds that a packet waits here on average, in the present window of at most some seconds."""
        return self._spares / self._window / self.clock if self._window >= 25 else self._delay

    @property
    def waiting(self) -> int:
        """Packets that wait."""
        return len(self._packets)

    @property
    def source(self) -> int | None:
        """The SSRC that is played, once something came."""
        return self._ssrc

    @property
    def highest_sequence(self) -> int:
        """The newest sequence number, 16 bits."""
        return 0 if self._highest is None else self._highest[0]

    def following(self) -> bytes | None:
        """After a LOST: the payload that comes next, if it has come."""
        packet = self._packets.get(self._position)
        return None if packet is None else packet.payload

    def put(self, packet: Packet, now: float) -> bool:
        """Take a packet; False when it is of no use (late, twice, thrown away)."""
        counters = self.counters
        counters.received += 1
        place = self._place(packet)
        transit = now - place / self.clock
        if self._transit is not None:  # interarrival jitter (RFC 3550 appendix A.8)
            self.jitter += (abs(transit - self._transit) - self.jitter) / 16
        self._transit = transit
        if not self._started and not self._packets:
            self._position, self._ticked_at = place, now
            self._wait, self._dry, self._hold = START_MS * self.clock // 1000, 0, 0
        if self._dry and place > self._position:
            # What has been concealed meanwhile stood for what is missing before this packet.
            stood = min(place - self._position, self._dry)
            self._position += stood
            self._dry -= stood
        if self._started and place < self._position:
            self._came_late(self._position - place)
            return False
        if place in self._packets:
            counters.duplicate += 1
            return False
        counters.grown += self._dry // self._frame
        self._dry = 0
        self._packets[place] = packet
        ahead = place - self._position + self._wait + self._hold
        self._watch(ahead + self._frame - round((now - self._ticked_at) * self.clock))
        limit = HARD_MS * self.clock // 1000
        if self._started and place - self._position > limit:
            self._skip_to(place - limit)
        return True

    def take(self, now: float, advance: int) -> Packet | Due:
        """What is due at the position. `advance` is how many samples a gap lasts (one frame).

        The caller keeps asking until it has a frame, and says with `played` how long each payload was.
        """
        self._ticked_at = now
        if not self._started:
            if not self._packets:
                return Due.NOTHING
            self._wait -= advance
            if self._wait > 0:
                return Due.NOTHING
            self._started, self._wait = True, 0
            self._position = min(self._packets)
        if self._hold > 0:
            self._hold -= advance
            return Due.LOST
        packet = self._packets.pop(self._position, None)
        if packet is not None:
            self._last_sequence = packet.sequence
            self.counters.played += 1
            return packet
        if not self._packets:
            return self._run_dry(advance)
        following = min(self._packets)
        waits = self._packets[following]
        self._position += min(advance, following - self._position)
        if self._last_sequence is not None and later(waits.sequence, self._last_sequence, 16) == 1:
            return Due.NOTHING  # nothing is missing: the sender was silent (RFC 3551 §4.1)
        self.counters.lost += 1
        return Due.LOST

    def played(self, samples: int) -> None:
        """The payload given last lasts this long."""
        self._position += samples

    @property
    def unsettled(self) -> bool:
        """Whether it has watched long enough to be asked to `settle`."""
        return self._window >= QUIET_WINDOW

    def settle(self, *, silent: bool) -> bool:
        """Let the delay shrink if it can: in a pause by all that is to spare, in speech by a frame. Whether it did."""
        patience = QUIET_WINDOW if silent else 4 * QUIET_WINDOW
        if self._window < patience:
            return False
        frames = (self._spare - SPARE_MS * self.clock // 1000) // self._frame
        if frames > 0:
            frames = frames if silent else 1
            self._skip_to(self._position + frames * self._frame)
            self.counters.shrunk += frames
        self._new_window()
        return frames > 0

    # inside -----------------------------------------------------------------------------------------------------

    def _place(self, packet: Packet) -> int:
        """The packet's place on the time line; a new source or a jump begins another line after what waits."""
        highest = self._highest
        if highest is not None and packet.ssrc == self._ssrc:
            step = packet.timestamp - (highest[1] & 0xFFFFFFFF)
            if 0 < step <= self._jump:  # the next one, as it should be
                place = highest[1] + step
                self._highest = (packet.sequence, place)
                return place
        step = 0 if highest is None else later(packet.timestamp, highest[1] & 0xFFFFFFFF, 32)
        if highest is None or packet.ssrc != self._ssrc or abs(step) > self._jump:
            if highest is not None:
                self.counters.restarts += 1
                self.counters.dropped += len(self._packets)
            self._packets.clear()
            if packet.ssrc != self._ssrc:
                self.first = (packet.sequence, self.counters.received - 1)
            self._ssrc, self._started, self._last_sequence, self._transit = packet.ssrc, False, None, None
            self._highest = (packet.sequence, packet.timestamp)
            self._new_window()
            return packet.timestamp
        place = highest[1] + step
        if step > 0:
            self._highest = (packet.sequence, place)
        return place

    def _run_dry(self, advance: int) -> Due:
        """Nothing is there: wait where we are, which makes the delay longer, as long as it may."""
        self._dry += advance
        if self.delay >= TARGET_MS / 1000:
            self._position += advance
        if self._dry > CONCEAL_FRAMES * advance:
            return Due.NOTHING
        return Due.LOST

    def _watch(self, spare: int) -> None:
        self._spare = spare if not self._window else min(self._spare, spare)
        self._window += 1
        self._spares += spare
        if self._window % 64 == 0:
            self._late_run = 0

    def _new_window(self) -> None:
        self._delay = self.delay
        self._window, self._spares, self._spare, self._late_run = 0, 0.0, 0, 0

    def _came_late(self, by: int) -> None:
        """The second late packet within about a second: wait longer, so that the next like it is in time."""
        self.counters.late += 1
        self._late_run += 1
        room = TARGET_MS * self.clock // 1000 - round(self.delay * self.clock)
        step = min(-(-by // self._frame), max(room // self._frame, 0))
        if self._late_run >= 2 and step:
            self._hold += step * self._frame
            self.counters.grown += step
            self._new_window()

    def _skip_to(self, position: int) -> None:
        """Throw away what is before a position."""
        for place in [place for place in self._packets if place < position]:
            del self._packets[place]
            self.counters.dropped += 1
        self._position = position
