"""StreamPort: the app's seat on a bridge; frames become stream messages, the app's audio becomes frames.

Hot path (architecture.md): nothing is awaited; each frame is one unfragmented text message (protocol.md §0.1 #8).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, MutableSequence, Sequence
from dataclasses import dataclass
from typing import Any

from offhook.audio.bridge import Member
from offhook.audio.buffers import Cut, PlayedMark, PlayoutBuffer
from offhook.audio.pcm import Frame, level_dbfs, samples_per_frame, silence
from offhook.audio.resample import StreamResampler
from offhook.wire.streaming import AppAudio, FrameWriter

log = logging.getLogger("offhook.stream")

DOMINANT_SPEAKERS = 4
LEVEL_DECAY = 0.9
SILENT = -120.0

Convert = Callable[[Frame], Frame]
"""Changes the rate of a frame; it remembers the one before."""

Push = Callable[[Any, bytes], None]
"""Puts one text message into a socket without waiting: `push(TEXT, message)`."""


class Batch:
    """The messages of all streams of one tick: what came since the last is read at its start, what goes is built
    first and then pushed together, under one time stamp.

    Python's work and the kernel's are kept apart because each runs faster with its own caches warm.
    """

    __slots__ = ("_kind", "came", "going", "stamp")

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self.stamp = b""
        self.came: MutableSequence[tuple[Callable[[bytes], None], bytes]] = []
        self.going: list[tuple[Push, bytes]] = []

    def read(self) -> None:
        """Hand every message that came to its stream, in order; one that fails costs only itself."""
        if not self.came:
            return
        came, self.came = self.came, []
        for receive, message in came:
            try:
                receive(message)
            except Exception:
                log.exception("a stream message could not be read")

    def flush(self) -> None:
        """Push everything; a socket that fails costs only its own message."""
        kind = self._kind
        for push, message in self.going:
            try:
                push(kind, message)
            except Exception:
                log.exception("a stream message could not be pushed")
        self.going.clear()


class RateEdge:
    """Where the audio of an app and that of its call have different rates: what goes through is resampled.

    Only a second app of a call can need it, for the first one's stream decides the rate of the call.
    """

    __slots__ = ("_rates", "_read", "_up")

    def __init__(self, read: Callable[[], Frame | None], rate: int, bridge_rate: int) -> None:
        self._read = read
        self._rates = (bridge_rate, rate)
        self._up = StreamResampler(rate, bridge_rate)

    def read(self) -> Frame | None:
        """The app's next 20 ms at the rate of the call."""
        frame = self._read()
        return None if frame is None else self._up.process(frame)

    def outwards(self) -> Convert:
        """What gives each 20 ms of one speaker, or of the mix, at the rate of the app."""
        return StreamResampler(*self._rates).process


class Speaker:
    """What a port keeps of one participant whom it sends apart. `level` is smoothed, in dBFS."""

    __slots__ = ("convert", "level", "writer")

    def __init__(self, label: str, convert: Convert | None) -> None:
        self.writer = FrameWriter(label)
        self.convert = convert
        self.level = SILENT


@dataclass(slots=True)
class StreamCounters:
    """What a stream carried; frames are 20 ms."""

    sent: int = 0
    dropped: int = 0
    messages_in: int = 0
    bad_messages: int = 0
    ignored_messages: int = 0


class StreamPort:
    """The app's place on the bridge. `send` is the socket's; without one, frames are not built at all."""

    def __init__(
        self, rate: int, *, mixed: bool, bidirectional: bool, batch: Batch, restart_ms: int, bridge_rate: int = 0
    ) -> None:
        """`rate` is that of the app's audio; `bridge_rate` that of the call, where it is another."""
        self.rate = rate
        self.mixed = mixed
        self.bidirectional = bidirectional
        self.counters = StreamCounters()
        self.playout = PlayoutBuffer(rate, restart_ms=restart_ms)
        self.has_room: Callable[[int], bool] | None = None  # set while the socket is behind
        self.batch = batch
        self._push: Push | None = None
        self._quiet = silence(rate).data
        self._frame_samples = samples_per_frame(rate)
        self._writer = FrameWriter(None)
        self._speakers: dict[str, Speaker] = {}
        self._edge = None if bridge_rate in (0, rate) else RateEdge(self.playout.read, rate, bridge_rate)
        self._convert = None if self._edge is None else self._edge.outwards()
        self.read: Callable[[], Frame | None] = self.playout.read if self._edge is None else self._edge.read
        """The app's next 20 ms; None while it has nothing to say."""

    def connect(self, push: Push) -> None:
        """Frames go to this socket from the next tick on."""
        self._push = push

    def disconnect(self) -> None:
        """No socket: frames are not built, what the app queued plays on."""
        self._push = None
        self.has_room = None
        self.playout.on_fired = None

    def close(self) -> None:
        """The stream is over: nobody is told of anything any more."""
        self.disconnect()
        self.playout.on_refused = None

    @property
    def connected(self) -> bool:
        """Whether a socket takes frames."""
        return self._push is not None

    def on_marks(self, report: Callable[[list[PlayedMark]], None]) -> None:
        """Where marks go that were reached or thrown away."""
        self.playout.on_fired = report

    def accept(self, audio: AppAudio) -> int:
        """Queue what the app wants heard; gives back how many messages came so far.

        Without `enableBidirectional` the audio is ignored (protocol.md §2.6).
        """
        counters = self.counters
        counters.messages_in = count = counters.messages_in + 1
        if self.bidirectional:
            self.playout.write(audio.pcm)
            if audio.mark is not None:
                self.playout.mark(audio.mark.id)
        return count

    def stop(self) -> Cut:
        """StopAudio: at most one more frame, a ramp, carries the app's audio."""
        return self.playout.clear()

    def write(self, mix: Frame | None, heard: Sequence[Member]) -> None:
        """Send the app this tick's audio: one message (mixed), or one for each participant (unmixed)."""
        push = self._push
        if push is None:
            return
        if not self.mixed:
            self._write_unmixed(push, heard)
            return
        batch = self.batch
        if mix is None:
            message = self._writer.build(self._quiet, batch.stamp, True)
        else:
            if self._convert is not None:
                mix = self._convert(mix)
            message = self._writer.build(mix.data, batch.stamp, False)
        if self.has_room is not None and not self.has_room(len(message)):
            self.counters.dropped += 1
            return
        self.counters.sent += 1
        batch.going.append((push, message))

    def _write_unmixed(self, push: Push, heard: Sequence[Member]) -> None:
        batch = self.batch
        speakers = [m for m in heard if m.label is not None]
        if len(speakers) > DOMINANT_SPEAKERS:
            speakers = self._dominant(speakers)
        for member in speakers:
            speaker = self._speakers.get(member.label or "") or self._met(member, heard)
            frame = member.frame
            if frame is not None and speaker.convert is not None:
                frame = speaker.convert(frame)
            pcm = self._quiet if frame is None else frame.data
            message = speaker.writer.build(pcm, batch.stamp, frame is None)
            if self.has_room is not None and not self.has_room(len(message)):
                self.counters.dropped += 1
                continue
            batch.going.append((push, message))
            self.counters.sent += 1

    def _met(self, member: Member, heard: Sequence[Member]) -> Speaker:
        """Somebody new; who is not there any more is forgotten, for a call may see many come and go."""
        there = {other.label for other in heard}
        self._speakers = {label: known for label, known in self._speakers.items() if label in there}
        label = member.label or ""
        speaker = self._speakers[label] = Speaker(label, None if self._edge is None else self._edge.outwards())
        return speaker

    def _dominant(self, speakers: list[Member]) -> list[Member]:
        """The loudest few by smoothed level (protocol.md §2.8: at most 4), in their order of joining."""
        levels: dict[Member, float] = {}
        for member in speakers:
            known = self._speakers.get(member.label or "") or self._met(member, speakers)
            now = SILENT if member.frame is None else level_dbfs(member.frame)
            levels[member] = known.level = max(now, LEVEL_DECAY * known.level + (1 - LEVEL_DECAY) * now)
        ranked = sorted(speakers, key=levels.__getitem__, reverse=True)[:DOMINANT_SPEAKERS]
        return [m for m in speakers if m in ranked]
