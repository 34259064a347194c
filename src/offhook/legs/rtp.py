"""RtpPort: an endpoint's audio over RTP as a port of a bridge: jitter buffer, codec, packets (RFC 3550, RFC 3551)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from offhook.audio import rtcp, rtp
from offhook.audio.codecs import Codec, Law
from offhook.audio.comfort import ComfortNoise
from offhook.audio.conceal import Concealer
from offhook.audio.dtmf import KeyDetector
from offhook.audio.jitter import Due, JitterBuffer
from offhook.audio.pcm import FRAMES_PER_SECOND, Frame, samples_per_frame, silence
from offhook.errors import AudioError
from offhook.legs.key_events import KeyReceiver
from offhook.legs.latch import Address, Latch
from offhook.legs.rtcp import INTERVAL_FRAMES, RtcpReports
from offhook.legs.rtp_sender import RtpFormat as RtpFormat
from offhook.legs.rtp_sender import RtpSender
from offhook.legs.srtp import Srtp

QUIET_LEVEL = 200
"""Samples below this are a pause in which a frame may be left out."""
LAW_FRAME = 160
"""Bytes of a frame of G.711."""
PAYLOADS = 3
"""What a concealer goes on from: 60 ms."""


@dataclass(slots=True)
class RtpCounters:
    """What came; `strange` came from somebody else or was no packet of ours."""

    received: int = 0
    strange: int = 0
    events: int = 0


class RtpPort:
    """One stream each way. `transmit` puts a datagram on the wire; `clock` gives monotonic seconds.

    `on_key` is called inside a tick for every key that the other side presses, `on_key_sent` for every key of ours that
    was sent to its end. `transmit_control` sends reports (RTCP), from their own socket; `name` is who we are in them.
    `latch`: whose packets are heard and where ours go.
    """

    def __init__(
        self,
        transmit: Callable[[bytes | memoryview, Address], None],
        clock: Callable[[], float],
        *,
        ssrc: int,
        sequence: int,
        timestamp: int,
        on_key: Callable[[str], None],
        on_key_sent: Callable[[str], None] | None = None,
        latch: bool = False,
        transmit_control: Callable[[bytes, Address], None] | None = None,
        name: str = "offhook",
    ) -> None:
        self.rate = 8000
        self.law: Law | None = None
        """See `CodedPort`."""
        self.counters = RtpCounters()
        self.heard_at: float | None = None
        """When the last packet came."""
        self.latch = Latch(anywhere=latch)
        self.sender = RtpSender(transmit, self.latch, ssrc=ssrc, sequence=sequence, timestamp=timestamp)
        self.sender.keys.on_sent = on_key_sent
        self.write, self.write_packet = self.sender.write, self.sender.write_packet
        """See `Port` and `CodedPort`."""
        self._clock = clock
        self._on_key = on_key
        self._format: RtpFormat | None = None
        self._jitter = JitterBuffer(8000)
        self._concealer = Concealer(8000)
        self._payloads: list[bytes] = []  # heard last, and not yet told to the concealer
        self._noise: ComfortNoise | None = None
        self._detector: KeyDetector | None = None
        self._due: rtp.Packet | Due | None = None  # taken from the buffer, and no frame of the law
        self._made_up = False  # something in this frame is
        self._rest: Frame = np.zeros(0, np.int16)
        self._size, self._step = samples_per_frame(8000), 160
        self._quiet = silence(8000)
        self._srtp: Srtp | None = None
        self._transmit_control = transmit_control
        self._reports = RtcpReports(ssrc, name)
        self._control: Address | None = None
        # The first report after 1 to 5 s, by the SSRC: streams that begin together do not report together (§6.2).
        self._report_at = FRAMES_PER_SECOND + ssrc % (INTERVAL_FRAMES - FRAMES_PER_SECOND)
        self._sent_before = 0
        self._keys = KeyReceiver()

    @property
    def remote(self) -> Address | None:
        """Where packets go."""
        return self.latch.remote

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
            "sent": self.sender.sent,
            "received": counters.received,
            "lost": jitter.counters.lost,
            "late": jitter.counters.late,
            "strange": counters.strange,
            "jitterMs": round(jitter.jitter * 1000, 1),
            "delayMs": round(jitter.delay * 1000, 1),
            "roundTripMs": None if there.round_trip is None else round(there.round_trip * 1000, 1),
            "lostTherePercent": None if there.lost_there is None else round(there.lost_there * 100, 1),
        }

    def use(self, fmt: RtpFormat, remote: Address, control: Address | None = None, near: str = "") -> None:
        """Speak this from now on, to this address; for a changed session too. `control`: where reports go.

        `near`: the host that the signalling comes from; a phone behind a NAT speaks from there too.
        """
        before = self._format
        if before is not None and (before.codec.name, before.codec.clock) == (fmt.codec.name, fmt.codec.clock):
            fmt = replace(fmt, codec=before.codec)  # it goes on with what it remembers
        elif before is None or (before.codec.clock, before.codec.rate) != (fmt.codec.clock, fmt.codec.rate):
            self._begin(fmt.codec)
        else:
            self._know_payloads(before.codec)
        self._format = fmt
        self.law = fmt.codec if isinstance(fmt.codec, Law) else None
        self.latch.signal(remote, near, self._clock())
        self._control = control
        if fmt.comfort is None:
            self._noise = None
        if not fmt.listens:
            self._detector = None
        elif self._detector is None:
            self._detector = KeyDetector(fmt.codec.rate)
        self.sender.use(fmt)

    def _begin(self, codec: Codec) -> None:
        """Another rate: nothing of what was before can be used."""
        self.rate = codec.rate
        self._jitter.change(codec.clock)
        self._concealer = Concealer(codec.rate)
        self._payloads.clear()
        self._detector = self._noise = self._due = None
        self._rest = self._rest[:0]
        self._quiet = silence(codec.rate)
        self._size, self._step = samples_per_frame(codec.rate), codec.clock // FRAMES_PER_SECOND

    @property
    def srtp(self) -> Srtp | None:
        """What encrypts, if anything."""
        return self._srtp

    def secure(self, srtp: Srtp | None) -> None:
        """Encrypt what is sent, and take only what is encrypted; None: plain media."""
        self._srtp = self.sender.srtp = srtp

    def datagram(self, data: bytes, source: Address, now: float) -> None:
        """Take one datagram from the network."""
        if self._srtp is not None and not rtcp.is_rtcp(data):
            data = self._srtp.unprotect(data) or b""
        packet, fmt = rtp.parse(data), self._format
        if packet is None or fmt is None:
            if rtcp.is_rtcp(data):
                self.control(data, source, now)
            else:
                self.counters.strange += 1
            return
        kind = packet.payload_type
        sound = kind == fmt.receive
        if not (sound or kind in fmt.receive_events or kind == fmt.comfort):
            self.counters.strange += 1
            return
        if source != self.latch.source and not self.latch.admits(source, packet, now, self.heard_at):
            self.counters.strange += 1
            return
        self.heard_at = now
        if sound:
            self.counters.received += 1
            if fmt.hears:
                self._jitter.put(packet, now)
        elif kind == fmt.comfort:
            self._jitter.put(packet, now)
        else:
            self.counters.events += 1
            self._jitter.other(packet.sequence)
            if key := self._keys.take(packet):
                self._on_key(key)

    def waited(self, seconds: float) -> None:
        """A packet had been there for so long before it was read: part of the delay."""
        before = self._jitter.waited_before
        self._jitter.waited_before = before + (seconds - before) / 4 if before else seconds

    def control(self, data: bytes, source: Address, now: float) -> None:
        """Take one datagram of reports, from the port beside or from the same (RFC 5761)."""
        fmt, latch = self._format, self.latch
        if self._srtp is not None:
            data = self._srtp.unprotect_control(data) or b""
        known = latch.knows(source[0]) or (self._control is not None and source[0] == self._control[0])
        if fmt is None or not known or not self._reports.take(data, now, fmt.codec.clock):
            self.counters.strange += 1
            return
        self.heard_at = now
        if latch.anywhere or self._control is None or source[0] != self._control[0]:
            self._control = source

    def farewell(self) -> None:
        """Say that we leave (RFC 3550 §6.6)."""
        if self._format is not None and self.sender.frames:
            self._report(bye=True)

    def press(self, key: str) -> bool:
        """Send a key, as an event or as a tone as the other side knows them; keys queue up. False: too many wait."""
        return self.sender.keys.press(key)

    def drop_keys(self) -> None:
        """Send none of the keys that are not sent to their end."""
        self.sender.keys.drop()

    # Port -------------------------------------------------------------------------------------------------------

    def read_payload(self) -> bytes | None:
        """See `CodedPort`: what comes of an even stream without loss, as it came."""
        if self.sender.frames >= self._report_at:
            self._report()
        if self._due is not None or self._detector is not None or self._concealer.running or len(self._rest):
            return None
        jitter = self._jitter
        due = jitter.take(self._clock(), LAW_FRAME)
        if type(due) is not rtp.Packet or len(payload := due.payload) != LAW_FRAME or not self._plain(due):
            self._due = due
            return None
        jitter.played(LAW_FRAME)
        payloads = self._payloads
        payloads.append(payload)
        if len(payloads) > PAYLOADS:
            del payloads[0]
        if jitter.unsettled:
            assert self._format is not None
            self._settle(self._format.codec.decode(payload))
        return payload

    def _plain(self, due: rtp.Packet) -> bool:
        """Whether a packet is of the codec that is spoken, and nothing else is to end before it."""
        return self._format is not None and due.payload_type == self._format.receive and self._noise is None

    def read(self) -> Frame | None:
        """What the endpoint says in this frame; silence when nothing is there, for it has not left."""
        fmt = self._format
        if fmt is None:
            return self._quiet
        if self.sender.frames >= self._report_at:
            self._report()
        size, rest = self._size, self._rest
        if not len(rest) and len(frame := self._part(fmt)) == size:
            pass  # packets of 20 ms, as nearly all send
        else:
            # Packets of another length: what is left over comes first the next time.
            rest = rest if len(rest) else frame
            while len(rest) < size:
                rest = np.concatenate((rest, self._part(fmt)))
            frame, self._rest = rest[:size], rest[size:]
            self._jitter.left(len(self._rest) * self._step // size, self._clock())
        if self._jitter.unsettled:
            self._settle(frame)
        if self._detector is not None and (key := self._detector.hear(frame, real=not self._made_up)):
            self._on_key(key)
        self._made_up = False
        return frame

    # inside -----------------------------------------------------------------------------------------------------

    def _part(self, fmt: RtpFormat) -> Frame:
        """What is due: a packet's samples, or so much in the place of what is missing."""
        due, self._due = self._due, None
        if due is None:
            due = self._jitter.take(self._clock(), self._step)
        if type(due) is not rtp.Packet:  # the quickest way to ask, fifty times a second
            return self._absent(fmt, due, self._jitter.gap * self._size // self._step)
        if due.payload_type != fmt.receive:
            self._jitter.played(self._step)
            if due.payload_type == fmt.comfort:
                return self._begin_noise(due.payload)
            return self._absent(fmt, Due.LOST, self._size)  # of the codec before
        self._noise = None
        samples = self._decode(fmt, due.payload)
        self._jitter.played(len(samples) * self._step // self._size)
        return samples

    def _absent(self, fmt: RtpFormat, due: object, samples: int) -> Frame:
        """So much for a packet that is missing, and for one that was never sent."""
        if self._noise is not None:
            return self._noise.next(samples)
        if due is Due.NOTHING:
            return self._quiet[:samples]
        self._made_up = True
        conceal = fmt.codec.conceal
        if conceal is None:
            self._know_payloads(fmt.codec)
            return self._concealer.conceal(samples)
        for following in (self._jitter.following(), None):
            try:
                return conceal(samples, following)
            except AudioError:
                continue  # what follows is no packet of the codec, or the gap is of no length that it knows
        return self._quiet[:samples]

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
            return self._absent(fmt, Due.LOST, self._size)
        if fmt.codec.conceal is not None or not len(samples):
            return samples
        self._know_payloads(fmt.codec)
        return self._concealer.heard(samples)

    def _know_payloads(self, codec: Codec) -> None:
        """Tell the concealer of what was heard without it, in order."""
        for payload in self._payloads:
            self._concealer.heard(codec.decode(payload))
        self._payloads.clear()

    def _settle(self, frame: Frame) -> None:
        if self._jitter.waiting:
            self._jitter.settle(silent=int(frame.max(initial=0)) < QUIET_LEVEL)

    def _report(self, *, bye: bool = False) -> None:
        """Send a report, on time or as good-bye."""
        sender, sent, now = self.sender, None, self._clock()
        self._report_at = sender.frames + INTERVAL_FRAMES
        if sender.sent != self._sent_before:
            self._sent_before = sender.sent
            # The moment of the report on the line of the time stamps: this frame's.
            sent = rtcp.Sent(rtcp.middle(now), sender.timestamp, sender.sent, sender.octets)
        to = self._control
        if self._format is None or to is None or self._transmit_control is None:
            return
        data = self._reports.report(now, sent, self._jitter, bye=bye)
        self._transmit_control(data if self._srtp is None else self._srtp.protect_control(data), to)
