"""RtpPort: an endpoint's audio over RTP as a port of a bridge: jitter buffer, codec, packets (RFC 3550, RFC 3551)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from offhook.audio import rtp
from offhook.audio.bridge import Member
from offhook.audio.codecs import Codec
from offhook.audio.conceal import Concealer
from offhook.audio.jitter import Due, JitterBuffer
from offhook.audio.pcm import FRAMES_PER_SECOND, Frame, samples_per_frame, silence
from offhook.errors import AudioError
from offhook.legs.srtp import Srtp

Address = tuple[str, int]
QUIET_LEVEL = 200
"""Samples below this are a pause in which a frame may be left out."""
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
    """What was agreed for a stream: payload types each way, those of telephone-event, and whether each side speaks."""

    codec: Codec
    send: int
    receive: int
    send_event: int | None = None
    receive_events: frozenset[int] = frozenset()
    speaks: bool = True
    hears: bool = True


class RtpPort:
    """One stream each way. `transmit` puts a datagram on the wire; `clock` gives monotonic seconds.

    `on_key` is called inside a tick for every key that the other side presses.
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
        self._format: RtpFormat | None = None
        self._jitter = JitterBuffer(8000)
        self._concealer = Concealer(8000)
        self._rest: Frame = np.zeros(0, np.int16)
        self._size, self._step, self._scale = samples_per_frame(8000), 160, 1
        self._quiet = silence(8000)
        self._quiet_payload = b""
        self._ssrc = ssrc
        self._sequence = sequence
        self._timestamp = timestamp
        self._talking = False
        self._srtp: Srtp | None = None
        self._key_seen: tuple[int, str] | None = None
        self._keys: list[str] = []
        self._key: tuple[str, int, int, int] | None = None  # key, its time stamp, ticks so far, ends sent

    @property
    def jitter(self) -> JitterBuffer:
        """The jitter buffer, for its figures."""
        return self._jitter

    def use(self, fmt: RtpFormat, remote: Address) -> None:
        """Speak this from now on, to this address; for a changed session too."""
        before = self._format
        self._format = fmt
        if self.remote != remote:
            self.remote, self._latched = remote, False
        if before is None or before.codec.clock != fmt.codec.clock or before.codec.rate != fmt.codec.rate:
            self.rate = fmt.codec.rate
            self._jitter = JitterBuffer(fmt.codec.clock)
            self._concealer = Concealer(fmt.codec.rate)
            self._rest = self._rest[:0]
            self._quiet = silence(fmt.codec.rate)
            self._size, self._step = samples_per_frame(fmt.codec.rate), fmt.codec.clock // FRAMES_PER_SECOND
            self._scale = fmt.codec.rate // fmt.codec.clock
        self._quiet_payload = fmt.codec.encode(np.asarray(self._quiet))

    def secure(self, srtp: Srtp | None) -> None:
        """Encrypt what is sent, and take only what is encrypted; None: plain media."""
        self._srtp = srtp

    def datagram(self, data: bytes, source: Address, now: float) -> None:
        """Take one datagram from the network."""
        if self._srtp is not None:
            data = self._srtp.unprotect(data) or b""
        packet, fmt = rtp.parse(data), self._format
        if packet is None or fmt is None or not self._trusted(source):
            self.counters.strange += 1
            return
        if packet.payload_type == fmt.receive:
            self.counters.received += 1
            self.heard_at = now
            self._jitter.put(packet, now)
        elif packet.payload_type in fmt.receive_events:
            self.heard_at = now
            self._event(packet)
        else:
            self.counters.strange += 1

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
        return frame

    def write(self, mix: Frame | None, heard: Sequence[Member]) -> None:
        """Send the endpoint what it hears in this frame."""
        fmt, remote = self._format, self.remote
        self.frames += 1
        if fmt is None or remote is None or not fmt.speaks:
            return
        if self._keys or self._key is not None:
            self._send_key(fmt, remote, self._step)
        elif not self._talking:
            self._talking = True
            payload = self._quiet_payload if mix is None else fmt.codec.encode(mix)
            self._send(fmt.send, payload, self._timestamp, True, remote)
        else:
            payload = self._quiet_payload if mix is None else fmt.codec.encode(mix)
            self._send(fmt.send, payload, self._timestamp, False, remote)
        self._timestamp += self._step

    # inside -----------------------------------------------------------------------------------------------------

    def _part(self, fmt: RtpFormat, now: float) -> Frame:
        """What is due: a packet's samples, or a frame in the place of a missing one."""
        due = self._jitter.take(now, self._step)
        if due is Due.NOTHING:
            return self._quiet
        if due is Due.LOST:
            return self._concealer.conceal()
        samples = self._decode(fmt, due.payload)
        self._jitter.played(len(samples) // self._scale)
        return samples

    def _decode(self, fmt: RtpFormat, payload: bytes) -> Frame:
        try:
            samples = fmt.codec.decode(payload)
        except AudioError:
            return self._concealer.conceal()
        return self._concealer.heard(samples) if len(samples) else samples

    def _trusted(self, source: Address) -> bool:
        """Whether a packet is of the signalled peer, or of whom that turned out to be (symmetric RTP, RFC 4961)."""
        remote = self.remote
        if remote is None:
            return False
        if source == remote:
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
