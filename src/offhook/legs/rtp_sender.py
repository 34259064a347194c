"""RtpSender: what an endpoint hears, as RTP packets (RFC 3550 §5.1): a packet a frame, keys in their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from offhook.audio import rtp
from offhook.audio.bridge import Member
from offhook.audio.codecs import Codec
from offhook.audio.pcm import FRAMES_PER_SECOND, Frame, silence
from offhook.legs.key_events import KeySender
from offhook.legs.latch import Address, Latch
from offhook.legs.srtp import Srtp


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


class RtpSender:
    """One stream out. `transmit` puts a datagram on the wire, to the place that the latch knows.

    Says nothing until it has a format.
    """

    def __init__(
        self,
        transmit: Callable[[bytes | memoryview, Address], None],
        latch: Latch,
        *,
        ssrc: int,
        sequence: int,
        timestamp: int,
    ) -> None:
        self.ssrc = ssrc
        self.frames = 0
        """Frames that were sent to the endpoint: what it has heard, on the time line of the call."""
        self.sent = self.octets = 0
        self.timestamp = timestamp - 160
        """Of the newest packet; it goes on while nothing is sent."""
        self.srtp: Srtp | None = None
        self.keys = KeySender()
        self._transmit = transmit
        self._latch = latch
        self._format: RtpFormat | None = None
        self._sequence = sequence
        self._step = 160
        self._quiet = silence(8000)
        self._quiet_payload = b""
        self._talking = False

    def use(self, fmt: RtpFormat) -> None:
        """Speak this from now on."""
        before, self._format = self._format, fmt
        if before is not None and (before.send_event is None) != (fmt.send_event is None):
            self.keys.cut()
        self._step = fmt.codec.clock // FRAMES_PER_SECOND
        self._quiet = silence(fmt.codec.rate)
        self._quiet_payload = b"" if fmt.codec.remembers else fmt.codec.encode(self._quiet)

    def write(self, mix: Frame | None, heard: Sequence[Member]) -> None:
        """See `Port`."""
        fmt, remote = self._format, self._turn()
        if fmt is None or remote is None:
            return
        if self.keys:
            if fmt.send_event is not None:
                self._send_key(fmt.send_event, remote)
                return
            mix = self.keys.sound(fmt.codec.rate)
        if mix is None:
            self._send(fmt.send, self._quiet_payload or fmt.codec.encode(self._quiet), remote)
        else:
            self._send(fmt.send, fmt.codec.encode(mix), remote)

    def write_packet(self, packet: memoryview, heard: Sequence[Member]) -> None:
        """See `CodedPort`."""
        if self.keys:
            self.write(None, heard)
            return
        fmt, remote = self._format, self._turn()
        if fmt is None or remote is None:
            return
        if self.srtp is not None:
            self._send(fmt.send, bytes(packet[rtp.HEAD_SIZE :]), remote)
            return
        rtp.put_head(packet, fmt.send, self._sequence, self.timestamp, self.ssrc, marker=not self._talking)
        self._talking = True
        self._transmit(packet, remote)
        self._sequence += 1
        self.sent += 1
        self.octets += len(packet) - rtp.HEAD_SIZE

    def _turn(self) -> Address | None:
        """Begin a frame: where to, or None when nothing is to be sent. Time goes on all the same (§5.1)."""
        self.frames += 1
        self.timestamp += self._step
        if self._format is None or not self._format.speaks:
            self._talking = False
            return None
        return self._latch.remote

    def _send_key(self, kind: int, remote: Address) -> None:
        payload, began, first = self.keys.event(self.timestamp, self._step)
        self._talking = False
        self._put(rtp.build(kind, self._sequence, began, self.ssrc, payload, marker=first), len(payload), remote)

    def _send(self, kind: int, payload: bytes, remote: Address) -> None:
        marker, self._talking = not self._talking, True
        data = rtp.build(kind, self._sequence, self.timestamp, self.ssrc, payload, marker=marker)
        self._put(data, len(payload), remote)

    def _put(self, data: bytes, octets: int, remote: Address) -> None:
        self._transmit(data if self.srtp is None else self.srtp.protect(data), remote)
        self._sequence += 1
        self.sent += 1
        self.octets += octets
