"""How long the caller waited, and for what: each turn in spans that add up. No I/O; times come in.

Two clocks see a turn. What the caller did and heard is counted in the stream's frames; what the app did is on the
loop's monotonic clock. `ClockTie` ties the second to the first, so that all moments of a turn are on one axis, the
stream's, in whole milliseconds; how far the tie may be off is part of the record.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable
from typing import Final

from offhook.kit.playback import PlayQueue
from offhook.kit.stream import Stream
from offhook.kit.turns import Interrupted, Resumed, SpeechEnded, SpeechStarted, TurnEvent
from offhook.wire.turns import Outcome, TurnKind, TurnReport

log: Final = logging.getLogger("offhook.kit.turns")

FRAME_MS: Final = 20
GAP_MS: Final = 500
"""Silence of the app after which what it says is another thing, as for the node's playout buffer."""
LONGEST_REPLY_MS: Final = 15_000
"""What comes later is not an answer any more; as the node's own figures have it."""
TIE_FRAMES: Final = 50
TIE_SPANS: Final = 10


class ClockTie:
    """Where a moment of the monotonic clock is in a stream.

    A frame cannot come before it was said, only later: so the least delay of the last ten seconds is the tie. What a
    network always needs at least cannot be seen from here, and is in every figure of the app as it is for the caller.
    """

    def __init__(self) -> None:
        self._least: deque[float] = deque(maxlen=TIE_SPANS)  # of each second: ms of the clock minus ms of the stream
        self._now = math.inf
        self._frames = 0
        self._offset = math.inf

    def frame(self, stream_ms: float, now: float) -> None:
        """A frame has come: the stream's length with it, and monotonic seconds."""
        offset = now * 1000 - stream_ms
        if offset < self._now:
            self._now = offset
            self._offset = min(offset, self._offset)
        self._frames += 1
        if self._frames == TIE_FRAMES:
            self._least.append(self._now)
            self._offset = min(self._least)
            self._now, self._frames = math.inf, 0

    def stream_ms(self, now: float) -> float:
        """Milliseconds of the stream at monotonic seconds; 0 before the first frame."""
        return max(0.0, now * 1000 - self._offset) if self._offset < math.inf else 0.0

    @property
    def error_ms(self) -> int:
        """How far the tie may be off: a frame, and how much the seconds' least delays differ."""
        seen = [*self._least, self._now] if self._now < math.inf else [*self._least]
        return FRAME_MS + (math.ceil(max(seen) - min(seen) - 0.01) if seen else 0)


class _Turn:
    """A turn that is not over; moments are ms of the stream."""

    __slots__ = (
        "audio",
        "base",
        "detected",
        "first_heard",
        "idle",
        "kind",
        "last_heard",
        "playbacks",
        "resumed",
        "sent",
        "stopped",
    )

    def __init__(self, kind: TurnKind, base: float) -> None:
        self.kind = kind
        self.base = base  # what had been heard in the call when it began
        self.stopped: float | None = None
        self.detected: float | None = None
        self.audio: float | None = None
        self.sent: float | None = None
        self.first_heard: float | None = None
        self.last_heard: float | None = None
        self.idle: float | None = None  # since when nothing more is to be heard
        self.playbacks = 0
        self.resumed = 0


class TurnLog:
    """Told of what happens in a call; tells of each turn when it is over.

    A turn begins where the caller stops speaking while the app is not heard (what is said into the app's own words and
    does not end them is none). What the app says then is its answer, one playback or several, until it has been silent
    for `GAP_MS`. Sound without a turn is a `greeting` before the caller's first words, and `more` after an answer.
    """

    def __init__(self, tell: Callable[[TurnReport], None]) -> None:
        self._tell = tell
        self._tie = ClockTie()
        self._open: _Turn | None = None
        self._number = 0
        self._spoken = False  # the caller has had a turn
        self._speaks = False  # the caller has begun to speak since it stopped last
        self._noticed: float | None = None  # when somebody else has noticed that it stopped, place of the stream
        self._at = 0.0
        self._heard = 0.0

    def frame(self, stream_ms: float, now: float, heard_ms: float, busy: bool) -> None:
        """20 ms: the stream's length, monotonic seconds, how much the caller has heard of all that the app has said in
        the call, and whether there is more to come."""
        self._tie.frame(stream_ms, now)
        turn, more = self._open, heard_ms > self._heard
        self._at, self._heard = stream_ms, heard_ms
        if turn is None:
            return
        if more:
            turn.last_heard = stream_ms
        if turn.first_heard is None:
            if heard_ms > turn.base:
                turn.first_heard = stream_ms - (heard_ms - turn.base)
            elif turn.audio is None and turn.stopped is not None and stream_ms - turn.stopped > LONGEST_REPLY_MS:
                self._close("unanswered")
            return
        if busy:
            turn.idle = None
        elif turn.idle is None:
            turn.idle = stream_ms
        elif stream_ms - turn.idle >= GAP_MS:
            self._close("heard")

    def speech_started(self) -> None:
        """The caller speaks."""
        self._speaks = True
        self._noticed = None

    def noticed(self, now: float) -> None:
        """A model's service has noticed that the caller stopped; where that was is told by `caller_stopped` later."""
        if self._noticed is None:
            self._noticed = self._tie.stream_ms(now)

    def caller_stopped(self, at_ms: float, now: float) -> None:
        """The caller has stopped at a place of the stream, which is noticed now. Told twice, the first counts."""
        turn = self._open
        if turn is not None and turn.stopped is None and self._silent_at(turn, at_ms):
            self._claim(turn, at_ms, now)  # the model was quicker than whoever told of the end
        elif not self._speaks:
            return
        elif turn is not None and turn.first_heard is None:
            self._close("abandoned")
            self._begin(at_ms, now)
        elif turn is None or (turn.idle is not None and turn.idle <= at_ms):
            if turn is not None:
                self._close("heard")
            self._begin(at_ms, now)
        self._speaks = False

    def sound(self, now: float) -> None:
        """The first sound of a playback is there to be sent."""
        turn = self._open
        if turn is None:
            turn = self._open = _Turn("more" if self._spoken else "greeting", self._heard)
        turn.playbacks += 1
        turn.idle = None
        if turn.audio is None:
            turn.audio = self._tie.stream_ms(now)

    def sent(self, now: float) -> None:
        """A message of sound was sent."""
        turn = self._open
        if turn is not None and turn.sent is None and turn.audio is not None:
            turn.sent = self._tie.stream_ms(now)

    @property
    def waits_for_sending(self) -> bool:
        """Whether `sent` would say something new."""
        return self._open is not None and self._open.sent is None and self._open.audio is not None

    def resumed(self) -> None:
        """What had held the app's sound was no speech: it goes on."""
        if self._open is not None:
            self._open.resumed += 1

    def cut(self, outcome: Outcome, heard_ms: float | None = None) -> None:
        """The app's sound was cut: `interrupted` by the caller, or `stopped` by the app itself."""
        if heard_ms is not None:
            self._heard = max(self._heard, heard_ms)
        if outcome == "stopped" and self._speaks:
            outcome = "interrupted"  # the app has stopped because the caller speaks
        if self._open is not None and self._open.audio is not None:
            self._close("heard" if self._open.idle is not None else outcome)

    def end(self) -> None:
        """The call is over."""
        if self._open is not None:
            self._close("heard" if self._open.idle is not None else "ended")

    # ------------------------------------------------------------------ inside

    def _silent_at(self, turn: _Turn, at_ms: float) -> bool:
        """Whether nothing of it was heard yet at a place of the stream."""
        return turn.audio is not None and (turn.first_heard is None or at_ms <= turn.first_heard)

    def _detected(self, at_ms: float, now: float) -> float:
        """When the end was noticed, by whoever was first."""
        here, noticed = self._tie.stream_ms(now), self._noticed
        self._noticed = None
        return here if noticed is None or not at_ms <= noticed <= here else noticed

    def _claim(self, turn: _Turn, at_ms: float, now: float) -> None:
        turn.kind, turn.stopped = "answer", at_ms
        assert turn.audio is not None  # `_silent_at` has seen to that
        turn.detected = min(self._detected(at_ms, now), turn.audio)
        self._spoken = True

    def _begin(self, at_ms: float, now: float) -> None:
        turn = self._open = _Turn("answer", self._heard)
        turn.stopped, turn.detected = at_ms, self._detected(at_ms, now)
        self._spoken = True

    def _close(self, outcome: Outcome) -> None:
        turn, self._open = self._open, None
        assert turn is not None
        if turn.first_heard is None and self._heard > turn.base:
            turn.first_heard = self._at - (self._heard - turn.base)
        ended = turn.last_heard if turn.last_heard is not None else self._at
        moments: list[int | None] = []
        last = 0
        for moment in (turn.stopped, turn.detected, turn.audio, turn.sent, turn.first_heard, ended):
            # The tie may be off by its error; what happened later is not told as earlier for that.
            last = last if moment is None else max(last, round(moment))
            moments.append(None if moment is None else last)
        stopped, detected, audio, sent, first_heard, _ = moments
        self._number += 1
        self._tell(
            TurnReport(
                number=self._number,
                kind=turn.kind,
                outcome=outcome,
                stopped_ms=stopped,
                detected_ms=detected,
                audio_ms=audio,
                sent_ms=sent,
                first_heard_ms=first_heard,
                ended_ms=last,
                heard_ms=round(self._heard - turn.base),
                playbacks=turn.playbacks,
                resumed=turn.resumed,
                error_ms=self._tie.error_ms,
            )
        )


class CallTelemetry:
    """A `TurnLog` at work in one call: hears of turns, playbacks and what is sent; logs, tells the app, tells the node.

    The node is told when `share` is set and the node has said that it is Offhook, else not one byte is sent.
    """

    def __init__(
        self,
        call_id: str,
        queue: PlayQueue,
        clock: Callable[[], float],
        *,
        share: bool,
        told: Callable[[TurnReport], None],
        send: Callable[[], None],
    ) -> None:
        """`clock`: monotonic seconds; `told`: is given each turn; `send`: have what waits in the session sent."""
        self._call_id = call_id
        self._stream: Stream | None = None
        self._queue = queue
        self._clock = clock
        self._share = share
        self._told = told
        self._send = send
        self._log = TurnLog(self._over)
        queue.on_sound = self._sound

    def attach(self, stream: Stream) -> None:
        """The stream from now on; its session goes on counting where the former stopped."""
        self._stream = stream
        self._watch()

    def frame(self) -> None:
        """A frame of the stream has been counted."""
        stream, queue = self._stream, self._queue
        if stream is not None:
            self._log.frame(stream.session.stream_ms, self._clock(), queue.heard_in_all_ms, queue.current is not None)

    def event(self, event: TurnEvent) -> None:
        """Something changed in who speaks."""
        match event:
            case SpeechStarted():
                self._log.speech_started()
            case SpeechEnded(at_ms):
                self._log.caller_stopped(at_ms, self._clock())
            case Interrupted():
                self._log.cut("interrupted", self._queue.heard_in_all_ms)
            case Resumed():
                self._log.resumed()

    def noticed(self, *, speaking: bool) -> None:
        """A model's service says that the caller speaks, or has stopped."""
        if speaking:
            self._log.speech_started()
        else:
            self._log.noticed(self._clock())

    def stopped(self) -> None:
        """The app has cut itself."""
        self._log.cut("stopped", self._queue.heard_in_all_ms)

    def end(self) -> None:
        """The call is over, or is about to be; harmless twice."""
        self._log.end()

    def _sound(self) -> None:
        self._log.sound(self._clock())
        self._watch()

    def _watch(self) -> None:
        """Look at what is sent only where it says something: one message of a turn."""
        if self._stream is not None and self._log.waits_for_sending:
            self._stream.on_sent = self._sent

    def _sent(self, sound: bool) -> None:
        if sound:
            self._log.sent(self._clock())
        if self._stream is not None and not self._log.waits_for_sending:
            self._stream.on_sent = None

    def _over(self, turn: TurnReport) -> None:
        if log.isEnabledFor(logging.INFO):
            log.info("call %s: %s", self._call_id, words(turn))
        if self._share and self._stream is not None:
            self._stream.tell(turn)
            self._send()
        self._told(turn)


def words(turn: TurnReport) -> str:
    """A turn as one line."""
    spans = " + ".join(f"{name} {ms}" for name, ms in turn.spans.items())
    response = turn.response_ms
    waited = "" if response is None else f", response {response} ms"
    made = f" = {spans}" if response is not None and spans else f", {spans} ms" if spans else ""
    heard = f"{turn.heard_ms} ms heard" + (f", resumed {turn.resumed}x" if turn.resumed else "")
    return f"turn {turn.number} ({turn.kind}) {turn.outcome}{waited}{made} (±{turn.error_ms}), {heard}"
