"""One stream as its app sees it, without I/O: texts in, events out; audio in, texts out.

The only clock is the stream itself: the service sends a frame each 20 ms (protocol.md 2.7), so
counting frames tells how much of what was played can have been heard.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeAlias

from msgspec import Struct

from offhook.errors import OffhookError, WireError
from offhook.wire.app_side import (
    AudioData,
    AudioMetadata,
    DtmfData,
    MarkData,
    ServiceMessage,
    TranscriptionData,
    TranscriptionMetadata,
    app_audio,
    app_audio_bytes,
    app_stop,
    parse_service_message,
)
from offhook.wire.folding import Text

MESSAGE_MS: Final = 200
GONE_MS: Final = 25
"""What a stop cannot take back of what is being heard: the frame that is leaving, and a ramp of 5 ms behind it."""
_SPEAKERS_KEPT: Final = 64
_SLOWEST_RATE: Final = 16000
_NOBODY: Final = object()


class Opened(Struct, frozen=True):
    """The stream runs; `metadata` says the rate and frame length both ways."""

    metadata: AudioMetadata


class Audio(Struct, frozen=True, gc=False):
    """20 ms of a speaker, or of the mix."""

    frame: AudioData

    @property
    def pcm(self) -> bytes:
        """The samples, PCM16 LE mono at the stream's rate."""
        return self.frame.data


class Dtmf(Struct, frozen=True):
    """Somebody pressed a key: `tone` is one of 0-9 * # A-D."""

    tone: str
    data: DtmfData


class MarkReached(Struct, frozen=True):
    """A mark of the app was played or thrown away."""

    mark: MarkData


class Transcript(Struct, frozen=True):
    """A message of a transcription socket."""

    data: TranscriptionData | TranscriptionMetadata


class Unreadable(Struct, frozen=True):
    """A message that could not be used, a kind not known here included; `reason` says why. Go on."""

    reason: str


Event: TypeAlias = Opened | Audio | Dtmf | MarkReached | Transcript | Unreadable


class _Sizes:
    """What follows from a rate, in samples; one for all streams of it, which is then in the processor's cache."""

    __slots__ = ("delay", "frame", "frame_ahead", "frame_bytes", "most_ahead", "most_taken", "rate")

    def __init__(self, rate: int, max_ahead_ms: int, delay_ms: int) -> None:
        self.rate = rate
        self.delay = delay_ms * rate // 1000
        self.most_ahead = max_ahead_ms * rate // 1000
        self.most_taken = MESSAGE_MS * rate // 1000
        self.frame = rate // 50
        self.frame_bytes = self.frame * 2 if self.frame <= self.most_ahead else -1
        self.frame_ahead = self.most_ahead - self.frame


_sizes: Final = lru_cache(maxsize=16)(_Sizes)


class PlayQueueFull(OffhookError):
    """More audio was played ahead than the session's limit; nothing of this call was queued."""


class StreamSession:
    """The app's half of one stream connection.

    `max_ahead_ms` bounds what is played but not yet heard. `delay_ms` is the time from sending audio
    to its first sample being heard, taken off the heard-so-far estimate (one tick by default).
    """

    __slots__ = (
        "_alone", "_clock", "_delay_ms", "_max_ahead_ms", "_odd", "_origin", "_pending", "_queue_end", "_queue_start",
        "_sizes", "_speakers", "_stop_due", "_taker", "metadata", "unsent_bytes",
    )  # fmt: skip

    def __init__(self, *, max_ahead_ms: int = 600_000, delay_ms: int = 20) -> None:
        self.metadata: AudioMetadata | None = None
        self._max_ahead_ms = max_ahead_ms
        self._delay_ms = delay_ms
        self._sizes = _sizes(_SLOWEST_RATE, max_ahead_ms, delay_ms)
        self._speakers: set[str | None] = set()
        self._alone: str | object | None = _NOBODY  # the speaker, when there is no other
        self._odd = b""
        self._pending: deque[bytes | memoryview] = deque()
        self.unsent_bytes = 0  # played, and not yet taken by `next_text` or `drain`
        self._stop_due = False
        # In samples of the stream: what the frames have counted, where on that count the queue last
        # started to play and where it ends, and where the present utterance would have begun without a gap.
        self._clock = 0
        self._queue_start = 0
        self._queue_end = 0
        self._origin = 0

    @property
    def sample_rate(self) -> int:
        """Hz, both ways; 16000 until the metadata has come."""
        return self._sizes.rate

    def receive(self, message: Text) -> list[Event]:
        """Take one message of the socket. Never raises; what cannot be used is an Unreadable event."""
        return [self.read(message)]

    def read(self, message: Text) -> Event:
        """As `receive`: the one event that a message is."""
        try:
            data = parse_service_message(message)
        except WireError as error:
            return Unreadable(str(error))
        return self._event(data)

    def feed(self, take: Callable[[Event], None]) -> Callable[[Text], None]:
        """A function that gives `take` the event of each message: as `read`, and quicker. One `take` at a time."""
        self._taker = take
        return self._give

    def _give(self, message: Text) -> None:
        try:
            data = parse_service_message(message)
        except WireError as error:
            self._taker(Unreadable(str(error)))
            return
        if type(data) is AudioData and data.participant_raw_id == self._alone and (pcm := data.data):
            self._clock += len(pcm) >> 1
            self._taker(Audio(data))
        else:
            self._taker(self._event(data))

    def _event(self, data: ServiceMessage) -> Event:
        """Count a message, and make its event."""
        if isinstance(data, AudioData):
            self._count(data)
            return Audio(data)
        if isinstance(data, AudioMetadata):
            if not 0 < data.sample_rate <= 192_000:
                return Unreadable(f"a stream cannot run at {data.sample_rate} Hz")
            self.metadata = data
            self._sizes = _sizes(data.sample_rate, self._max_ahead_ms, self._delay_ms)
            return Opened(data)
        if isinstance(data, DtmfData):
            return Dtmf(data.data, data)
        if isinstance(data, MarkData):
            return MarkReached(data)
        return Transcript(data)

    # ------------------------------------------------------------------ playing

    def play(self, pcm: bytes | bytearray | memoryview) -> None:
        """Queue audio at the stream's rate: any length, cut anywhere; an odd byte waits for its other half.

        Raises PlayQueueFull when more than `max_ahead_ms` would be played and unheard.
        """
        data = self._odd + bytes(pcm) if self._odd else bytes(pcm)
        size = len(data)
        samples, clock = size >> 1, self._clock
        if max(self._queue_end - clock, self.unsent_bytes >> 1) + samples > self._sizes.most_ahead:
            raise PlayQueueFull(f"more than {self._max_ahead_ms} ms of audio are queued and not heard")
        self._odd = data[samples * 2 :]
        if not samples:
            return
        self._pending.append(memoryview(data)[: samples * 2] if size & 1 else data)
        self.unsent_bytes += samples * 2
        if self._queue_end <= clock:
            self._start()
        self._queue_end += samples

    def _start(self) -> int:
        """The queue has run dry, and plays again from here."""
        self._queue_start = start = self._clock + self._sizes.delay
        self._origin += start - self._queue_end
        self._queue_end = start
        return start

    def play_now(self, pcm: bytes | bytearray | memoryview) -> bytes | None:
        """As `play` of one frame's length, and the message that it is, UTF-8, as taken.

        None, with nothing done, when it has another length, or something waits before it.
        """
        sizes = self._sizes
        if len(pcm) != sizes.frame_bytes or type(pcm) is not bytes or self.unsent_bytes or self._stop_due or self._odd:
            return None
        end, clock = self._queue_end, self._clock
        if end <= clock:
            end = self._start()
        elif end - clock > sizes.frame_ahead:
            return None
        self._queue_end = end + sizes.frame
        return app_audio_bytes(pcm)

    def stop(self) -> float:
        """Drop what nobody has heard yet, here and in the service; returns how many ms will have been heard.

        That is a little more than `heard_ms`: sound that has left cannot be stopped (GONE_MS). `heard_ms` and
        `played_ms` count from zero again.
        """
        heard = self._heard_when_stopped()
        self._pending.clear()
        self.unsent_bytes = 0
        self._odd = b""
        self._stop_due = True
        self._queue_end = self._origin = self._clock
        return heard

    def begin(self) -> None:
        """A new utterance: `heard_ms` and `played_ms` count from here, behind what is still queued."""
        self._odd = b""
        self._origin = self._queue_end

    @property
    def has_more(self) -> bool:
        """Whether `next_text` has something."""
        return self._stop_due or bool(self._pending)

    def next_text(self) -> str | None:
        """The next message to send, None when there is none. A stop goes before audio played after it."""
        if self._stop_due:
            self._stop_due = False
            return app_stop()
        if not self._pending:
            return None
        return app_audio(self._take())

    def next_bytes(self) -> bytes | None:
        """As `next_text`, in UTF-8; a socket that sends bytes as a text message saves a copy."""
        if self._stop_due:
            text = self.next_text()
            return text.encode() if text is not None else None
        return app_audio_bytes(self._take()) if self._pending else None

    def drain(self) -> list[str]:
        """All messages to send now, in order; audio in pieces of at most 200 ms."""
        texts = []
        while (text := self.next_text()) is not None:
            texts.append(text)
        return texts

    def _take(self) -> bytes | memoryview:
        most = self._sizes.most_taken * 2
        taken = self._cut(most)
        if self._pending and len(taken) < most:
            parts, room = [taken], most - len(taken)
            while room > 0 and self._pending:
                parts.append(self._cut(room))
                room -= len(parts[-1])
            taken = b"".join(parts)
        self.unsent_bytes -= len(taken)
        return taken

    def _cut(self, most: int) -> bytes | memoryview:
        first = self._pending.popleft()
        if len(first) <= most:
            return first
        view = memoryview(first)
        self._pending.appendleft(view[most:])
        return view[:most]

    # ------------------------------------------------------------------ heard so far

    @property
    def played_ms(self) -> float:
        """Length of all audio played since the last `stop` or `begin`."""
        return (self._queue_end - self._origin) * 1000 / self.sample_rate

    @property
    def heard_ms(self) -> float:
        """How much of `played_ms` can have been heard by now: an estimate, exact to about a frame.

        Only what was played since the last `stop` or `begin` counts. Running dry does not reset it.
        """
        heard = min(self._queue_end, max(self._clock, self._queue_start))
        return max(0, heard - self._origin) * 1000 / self.sample_rate

    def _heard_when_stopped(self) -> float:
        if self._clock < self._queue_start:
            return self.heard_ms  # it has not begun
        heard = min(self._queue_end, self._clock + GONE_MS * self.sample_rate // 1000)
        return max(0, heard - self._origin) * 1000 / self.sample_rate

    @property
    def stream_ms(self) -> float:
        """How long the stream has run, by its frames."""
        return self._clock * 1000 / self.sample_rate

    def _count(self, frame: AudioData) -> None:
        # Unmixed streams send one frame per speaker and tick; a tick is over when a speaker comes again.
        speaker, speakers = frame.participant_raw_id, self._speakers
        self._alone = _NOBODY
        if speaker not in speakers:
            if speakers and len(speakers) < _SPEAKERS_KEPT:
                speakers.add(speaker)
                return
            self._speakers = {speaker}
        elif len(speakers) != 1:
            self._speakers = {speaker}
        else:
            self._alone = speaker
        self._clock += len(frame.data) >> 1 or self._sizes.frame
