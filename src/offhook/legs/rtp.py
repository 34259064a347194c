"""RtpPort: an endpoint's audio over RTP as a port of a bridge: jitter buffer, codec, packets (RFC 3550, RFC 3551)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from offhook.audio import rtcp, rtp
from offhook.audio.bridge import Member
from offhook.audio.codecs import Codec
from offhook.audio.comfort import ComfortNoise
from offhook.audio.conceal import Concealer
from offhook.audio.dtmf import KeyDetector
from offhook.audio.jitter import Due, JitterBuffer
from offhook.audio.pcm import FRAMES_PER_SECOND, Frame, samples_per_frame, silence
from offhook.errors import AudioError
from offhook.legs.rtcp import INTERVAL_FRAMES, RtcpReports
from offhook.legs.srtp import Srtp

Address = tuple[str, int]
QUIET_LEVEL = 200
"""Samples below this are a pause in which a frame may be left out."""
FORMER_SECONDS = 2.0
"""How long packets from the place before are left out when the other side has moved."""
EVENT_MS = 160
"""How long a key of ours is held."""
EVENT_ENDS = 3
"""How often the end of a key is sent (RFC 4733 §2.5.1.4)."""


@dataclass(slots=True)
class RtpCounters:
    """What passed; `strange` came from somebody else or was no packet of ours."""

    sent: int = 0
    received: int = 0
    strange: int = 0
    octets_sent: int = 0
    events: int = 0


@dataclass(frozen=True, slots=True)
class RtpFormat:
    """What was agreed for a stream: payload types each way, those of telephone-event, and whether each side speaks.

    `comfort`: payload type of comfort noise. `listens`: keys are to be heard in the sound too.
    """

    codec: Codec
    send: int
    receive: int
    send_event: int | None = None
    receive_events: frozenset[int] = frozenset()
    speaks: bool = True
    hears: bool = True
    comfort: int | None = None
    listens: bool = False


class RtpPort:
    """One stream each way. `transmit` puts a datagram on the wire; `clock` gives monotonic seconds.

    `on_key` is called inside a tick for every key that the other side presses. `transmit_control` sends reports (RTCP),
    from their own socket; `name` is who we are in them.
    """

    def __init__(
        self,
        transmit: Callable[[bytes, Address], None],
        clock: Callable[[], float],
        *,
        ssrc: int,
        sequence: int,
        timestamp: int,
        on_key: Callable[[str], None],
        latch: bool = False,
        transmit_control: Callable[[bytes, Address], None] | None = None,
        name: str = "offhook",
    ) -> None:
        self.rate = 8000
        self.counters = RtpCounters()
        self.remote: Address | None = None
        self.heard_at: float | None = None
        """When the last packet came."""
        self.frames = 0
        """Frames that were sent to the endpoint: what it has heard, on the time line of the call."""
        self._transmit = transmit
        self._clock = clock
        self._on_key = on_key
        self._latch = latch
        self._latched = False
        self._signalled: Address | None = None
        self._former: Address | None = None
        self._former_until = 0.0
        self._format: RtpFormat | None = None
        self._jitter = JitterBuffer(8000)
        self._concealer = Concealer(8000)
        self._noise: ComfortNoise | None = None
        self._detector: KeyDetector | None = None
        self._rest: Frame = np.zeros(0, np.int16)
        self._size, self._step = samples_per_frame(8000), 160
        self._quiet = silence(8000)
        self._quiet_payload = b""
        self._ssrc = ssrc
        self._sequence = sequence
        self._timestamp = timestamp
        self._talking = False
        self._srtp: Srtp | None = None
        self._transmit_control = transmit_control
        self._reports = RtcpReports(ssrc, name)
        self._control: Address | None = None
        # The first report after 1 to 5 s, by the SSRC: streams that begin together do not report together (§6.2).
        self._report_at = FRAMES_PER_SECOND + ssrc % (INTERVAL_FRAMES - FRAMES_PER_SECOND)
        self._sent_before = 0
        self._key_seen: tuple[int, str] | None = None
        self._keys: list[str] = []
        self._key: tuple[str, int, int, int] | None = None  # key, its time stamp, ticks so far, ends sent

    @property
    def jitter(self) -> JitterBuffer:
        """The jitter buffer, for its figures."""
        return self._jitter

    @property
    def reports(self) -> RtcpReports:
        """What both sides report, for its figures."""
        return self._reports

    def describe(self) -> dict[str, object]:
        """The stream's figures: what was spoken, what came, how even, and what the other side says of ours."""
        counters, jitter, there = self.counters, self._jitter, self._reports.figures
        return {
            "codec": "" if self._format is None else self._format.codec.name,
            "sent": counters.sent,
            "received": counters.received,
            "lost": jitter.counters.lost,
            "late": jitter.counters.late,
            "strange": counters.strange,
            "jitterMs": round(jitter.jitter * 1000, 1),
            "delayMs": round(jitter.delay * 1000, 1),
            "roundTripMs": None if there.round_trip is None else round(there.round_trip * 1000, 1),
            "lostTherePercent": None if there.lost_there is None else round(there.lost_there * 100, 1),
        }

    def use(self, fmt: RtpFormat, remote: Address, control: Address | None = None) -> None:
        """Speak this from now on, to this address; for a changed session too. `control`: where reports go."""
        before = self._format
        if before is not None and (before.codec.name, before.codec.clock) == (fmt.codec.name, fmt.codec.clock):
            fmt = replace(fmt, codec=before.codec)  # it goes on with what it remembers
        elif before is None or (before.codec.clock, before.codec.rate) != (fmt.codec.clock, fmt.codec.rate):
            self._begin(fmt.codec)
        self._format = fmt
        if self._signalled != remote:
            # What comes from where they were before is late; it must not draw us back.
            self._former, self._former_until = self.remote, self._clock() + FORMER_SECONDS
            self.remote, self._signalled, self._latched = remote, remote, False
        self._control = control
        self._noise = None
        if not fmt.listens:
            self._detector = None
        elif self._detector is None:
            self._detector = KeyDetector(fmt.codec.rate)
        self._quiet_payload = b"" if fmt.codec.remembers else fmt.codec.encode(self._quiet)

    def _begin(self, codec: Codec) -> None:
        """Another rate: nothing of what was before can be used."""
        self.rate = codec.rate
        self._jitter = JitterBuffer(codec.clock)
        self._concealer = Concealer(codec.rate)
        self._detector = None
        self._rest = self._rest[:0]
        self._quiet = silence(codec.rate)
        self._size, self._step = samples_per_frame(codec.rate), codec.clock // FRAMES_PER_SECOND

    def secure(self, srtp: Srtp | None) -> None:
        """Encrypt what is sent, and take only what is encrypted; None: plain media."""
        self._srtp = srtp

    def datagram(self, data: bytes, source: Address, now: float) -> None:
        """Take one datagram from the network."""
        if self._srtp is not None and not rtcp.is_rtcp(data):
            data = self._srtp.unprotect(data) or b""
        packet, fmt = rtp.parse(data), self._format
        if packet is None and rtcp.is_rtcp(data):
            self.control(data, source, now)
            return
        if packet is None or fmt is None or not self._trusted(source, now):
            self.counters.strange += 1
            return
        if packet.payload_type == fmt.receive:
            self.counters.received += 1
            self.heard_at = now
            self._jitter.put(packet, now)
        elif packet.payload_type in fmt.receive_events:
            self.heard_at = now
            self._event(packet)
        elif packet.payload_type == fmt.comfort:
            self.heard_at = now
            self._jitter.put(packet, now)
        else:
            self.counters.strange += 1

    def control(self, data: bytes, source: Address, now: float) -> None:
        """Take one datagram of reports, from the port beside or from the same (RFC 5761)."""
        fmt = self._format
        if self._srtp is not None:
            data = self._srtp.unprotect_control(data) or b""
        known = self.remote is not None and source[0] in (self.remote[0], self._control and self._control[0])
        if fmt is None or not known or not self._reports.take(data, now, fmt.codec.clock):
            self.counters.strange += 1
            return
        self.heard_at = now
        if self._latch:
            self._control = source

    def farewell(self) -> None:
        """Say that we leave (RFC 3550 §6.6)."""
        if self._format is not None and self.frames:
            self._report(self._format, bye=True)

    def press(self, key: str) -> None:
        """Send a key as a telephone event; keys queue up."""
        self._keys.append(key)

    # Port -------------------------------------------------------------------------------------------------------

    def read(self) -> Frame | None:
        """What the endpoint says in this frame; silence when nothing is there, for it has not left."""
        fmt = self._format
        if fmt is None:
            return self._quiet
        size, jitter, rest = self._size, self._jitter, self._rest
        if not len(rest) and len(frame := self._part(fmt, self._clock())) == size:
            pass  # packets of 20 ms, as nearly all send
        else:
            # Packets of another length: what is left over comes first the next time.
            rest = rest if len(rest) else frame
            while len(rest) < size:
                rest = np.concatenate((rest, self._part(fmt, self._clock())))
            frame, self._rest = rest[:size], rest[size:]
        if jitter.unsettled and jitter.waiting:
            jitter.settle(silent=int(frame.max(initial=0)) < QUIET_LEVEL)
        if self._detector is not None and (key := self._detector.hear(frame)):
            self._on_key(key)
        return frame

    def write(self, mix: Frame | None, heard: Sequence[Member]) -> None:
        """Send the endpoint what it hears in this frame."""
        fmt, remote = self._format, self.remote
        self.frames += 1
        if self.frames >= self._report_at and fmt is not None:
            self._report(fmt)
        if fmt is None or remote is None or not fmt.speaks:
            return
        if self._keys or self._key is not None:
            self._send_key(fmt, remote, self._step)
        else:
            if mix is None:
                payload = self._quiet_payload or fmt.codec.encode(self._quiet)
            else:
                payload = fmt.codec.encode(mix)
            self._send(fmt.send, payload, self._timestamp, not self._talking, remote)
            self._talking = True
        self._timestamp += self._step

    # inside -----------------------------------------------------------------------------------------------------

    def _part(self, fmt: RtpFormat, now: float) -> Frame:
        """What is due: a packet's samples, or a frame in the place of a missing one."""
        due = self._jitter.take(now, self._step)
        if type(due) is not rtp.Packet:  # the quickest way to ask, fifty times a second
            return self._absent(fmt, due)
        if due.payload_type != fmt.receive:
            self._jitter.played(self._step)
            if due.payload_type == fmt.comfort:
                return self._begin_noise(due.payload)
            return self._absent(fmt, Due.LOST)  # of the codec before
        if self._noise is not None:
            self._noise.on = False
        samples = self._decode(fmt, due.payload)
        self._jitter.played(len(samples) * self._step // self._size)
        return samples

    def _absent(self, fmt: RtpFormat, due: object) -> Frame:
        """A frame for a packet that is missing, and for one that was never sent."""
        if self._noise is not None and self._noise.on:
            return self._noise.next(self._size)
        if due is Due.NOTHING:
            return self._quiet
        if fmt.codec.conceals:
            return fmt.codec.conceal(self._size, self._jitter.following())
        return self._concealer.conceal()

    def _begin_noise(self, payload: bytes) -> Frame:
        """The endpoint is silent from here on, with this much noise (RFC 3389)."""
        if self._noise is None:
            self._noise = ComfortNoise(self.rate)
        self._noise.level(payload)
        return self._noise.next(self._size)

    def _decode(self, fmt: RtpFormat, payload: bytes) -> Frame:
        try:
            samples = fmt.codec.decode(payload)
        except AudioError:
            return self._absent(fmt, Due.LOST)
        return self._concealer.heard(samples) if len(samples) and not fmt.codec.conceals else samples

    def _report(self, fmt: RtpFormat, *, bye: bool = False) -> None:
        """Send a report, on time or as good-bye."""
        self._report_at = self.frames + INTERVAL_FRAMES
        counters, sent, now = self.counters, None, self._clock()
        if counters.sent != self._sent_before:
            self._sent_before = counters.sent
            # The moment of the report on the line of the time stamps: the next packet's.
            sent = rtcp.Sent(rtcp.middle(now), self._timestamp, counters.sent, counters.octets_sent)
        to = self._control
        if to is None or self._transmit_control is None:
            return
        data = self._reports.report(now, sent, self._jitter, bye=bye)
        self._transmit_control(data if self._srtp is None else self._srtp.protect_control(data), to)

    def _trusted(self, source: Address, now: float) -> bool:
        """Whether a packet is of the signalled peer, or of whom that turned out to be (symmetric RTP, RFC 4961)."""
        remote = self.remote
        if source == remote:
            return True
        if remote is None or (source == self._former and now < self._former_until):
            return False
        if source == self._signalled:
            self.remote, self._latched = source, False  # who was told of is right before any other
            return True
        if not self._latch or self._latched:
            # Another port of the same host is common; what is sent still goes where it was told to go.
            return source[0] == remote[0] and not self._latched
        self.remote, self._latched = source, True
        return True

    def _event(self, packet: rtp.Packet) -> None:
        """Report each key once, when its first packet comes: the rest repeat it (RFC 4733 §2.5.2.2)."""
        event = rtp.parse_event(packet.payload)
        if event is None:
            return
        self.counters.events += 1
        mark = (packet.timestamp, event.key)
        if mark != self._key_seen:
            self._key_seen = mark
            self._on_key(event.key)

    def _send_key(self, fmt: RtpFormat, remote: Address, step: int) -> None:
        """One packet of the key that is pressed: it grows until its end, which is sent three times."""
        if self._key is None:
            self._key = (self._keys.pop(0), self._timestamp, 0, 0)
        key, began, ticks, ends = self._key
        ticks += 1
        last = ticks * 1000 // FRAMES_PER_SECOND >= EVENT_MS
        if fmt.send_event is not None:
            payload = rtp.build_event(key, ticks * step, end=last)
            self._send(fmt.send_event, payload, began, ticks == 1, remote)
        if last:
            ticks -= 1  # the duration stays, the end is said again
            ends += 1
        self._key = None if ends >= EVENT_ENDS else (key, began, ticks, ends)
        self._talking = False

    def _send(self, kind: int, payload: bytes, timestamp: int, marker: bool, remote: Address) -> None:
        data = rtp.build(kind, self._sequence, timestamp, self._ssrc, payload, marker=marker)
        self._transmit(data if self._srtp is None else self._srtp.protect(data), remote)
        self._sequence += 1
        self.counters.sent += 1
        self.counters.octets_sent += len(payload)
