"""Keys as telephone events, received and sent (RFC 4733)."""

from __future__ import annotations

from collections.abc import Callable

from offhook.audio import rtp
from offhook.audio.pcm import FRAMES_PER_SECOND, Frame, samples_per_frame
from offhook.audio.tones import dtmf_tone

KEY_MS, PAUSE_MS = 160, 60
"""How long a key of ours is held, and the pause after it in sound."""
ENDS = 3
"""How often the end of a key is sent (RFC 4733 §2.5.1.4)."""
MOST_WAITING = 256
_SEGMENT = 0xFFFF  # the longest duration of one event packet
_SLACK = 0x1000


class KeyReceiver:
    """Tells each key once, when its first packet comes: the rest repeat it (§2.5.2.2)."""

    __slots__ = ("_duration", "_ended", "_key", "_ssrc", "_stamp")

    def __init__(self) -> None:
        self._ssrc: int | None = None
        self._stamp = 0
        self._key = ""
        self._duration = 0
        self._ended = False

    def take(self, packet: rtp.Packet) -> str:
        """The key that a packet begins, else nothing: it repeats one, comes late, or is no key."""
        event = rtp.parse_event(packet.payload)
        if event is None:
            return ""
        if packet.ssrc == self._ssrc:
            step = rtp.later(packet.timestamp, self._stamp, 32)
            if step < 0:
                return ""  # of a key before
            if step == 0:
                self._duration = max(self._duration, event.duration)
                self._ended = self._ended or event.end
                return ""
            # A key held longer than a packet can say goes on in another segment (§2.5.1.3).
            goes_on = event.key == self._key and not self._ended and not packet.marker
            if goes_on and self._duration >= _SEGMENT - _SLACK and abs(step - _SEGMENT) <= _SLACK:
                self._stamp, self._duration, self._ended = packet.timestamp, event.duration, event.end
                return ""
        self._ssrc, self._stamp, self._key = packet.ssrc, packet.timestamp, event.key
        self._duration, self._ended = event.duration, event.end
        return event.key


class KeySender:
    """Keys wait their turn, at most `MOST_WAITING`; each is sent as events, or as sound where those are not known.

    `on_sent` is called for each key when its last packet is made, and for one that is cut.
    """

    __slots__ = ("_began", "_ends", "_key", "_sound", "_ticks", "_waiting", "on_sent")

    def __init__(self, on_sent: Callable[[str], None] | None = None) -> None:
        self.on_sent = on_sent
        self._waiting: list[str] = []
        self._key = ""
        self._began = self._ticks = self._ends = 0
        self._sound: list[Frame] = []

    def __bool__(self) -> bool:
        """Whether there is something to send."""
        return bool(self._key or self._waiting)

    def press(self, key: str) -> bool:
        """Have a key sent; False when too many wait already."""
        if len(self._waiting) >= MOST_WAITING:
            return False
        self._waiting.append(key)
        return True

    def cut(self) -> None:
        """Leave the key that is being sent: the other side knows keys in another way now."""
        self._sound.clear()
        self._end()

    def drop(self) -> None:
        """Leave the key that is being sent, and those that wait; nobody is told of them."""
        self._key = ""
        self._sound.clear()
        self._waiting.clear()

    def event(self, timestamp: int, step: int) -> tuple[bytes, int, bool]:
        """This frame's event: payload, time stamp, whether it is the key's first. It grows until its end (§2.5.1.2)."""
        if not self._key:
            self._key, self._began, self._ticks, self._ends = self._waiting.pop(0), timestamp, 0, 0
        last = (self._ticks + 1) * 1000 // FRAMES_PER_SECOND >= KEY_MS
        if not last or not self._ends:
            self._ticks += 1
        payload = rtp.build_event(self._key, self._ticks * step, end=last)
        found = payload, self._began, self._ticks == 1
        if last:
            self._ends += 1
            if self._ends >= ENDS:
                self._end()
        return found

    def sound(self, rate: int) -> Frame:
        """This frame of the keys' tones, with a pause after each (ITU-T Q.24)."""
        if not self._sound:
            size = samples_per_frame(rate)
            self._key = self._waiting.pop(0)
            tone = dtmf_tone(self._key, rate, KEY_MS)
            self._sound.extend(tone[at : at + size] for at in range(0, len(tone), size))
            self._sound.extend([tone[:size] * 0] * (PAUSE_MS * FRAMES_PER_SECOND // 1000))
        frame = self._sound.pop(0)
        if not self._sound:
            self._end()
        return frame

    def _end(self) -> None:
        key, self._key = self._key, ""
        if key and self.on_sent is not None:
            self.on_sent(key)
