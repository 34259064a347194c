"""What the app says into a call, piece after piece: how much of each was heard, cut, held and said on. No I/O.

A StreamSession counts one utterance; here several follow each other, and a barge-in that turns out to be none goes on
where the caller heard it stop. Positions are samples of the stream; the only clock is the session's (its frames).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Final

from offhook.kit.session import PlayQueueFull, StreamSession

LONGEST_AHEAD_MS: Final = 600_000
"""Most that is kept unheard, held or not; what would be more raises PlayQueueFull."""


class Playback:
    """One thing that is said; `await playback` waits until it was heard to its end or cut, and gives itself back.

    Where its source failed (a file that is not there), it raises that error; nothing else raises.
    """

    def __init__(self, *, interruptible: bool = True) -> None:
        self.interruptible = interruptible
        """Whether the caller's speech cuts it."""
        self.cut = False
        """It ended before it was heard whole: by speech, `stop`, or the end of the call."""
        self.error: Exception | None = None
        """What its source raised; what came before that is still heard."""
        self._rate = 0
        self._chunks: deque[bytes] = deque()  # from `_kept` on: what was not heard, and the last of what was
        self._kept = 0
        self._length = 0
        self._heard = 0
        self._odd = b""
        self._whole = False  # nothing more will be put
        self._ended = asyncio.Event()

    @property
    def length_ms(self) -> float:
        """As much as is known of it: a source that goes on makes it longer."""
        return self._length * 1000 / self._rate if self._rate else 0.0

    @property
    def heard_ms(self) -> float:
        """How much of it has been heard."""
        return self._heard * 1000 / self._rate if self._rate else 0.0

    @property
    def done(self) -> bool:
        """Heard to its end, or cut."""
        return self._ended.is_set()

    def __await__(self) -> Generator[Any, None, Playback]:
        yield from self._ended.wait().__await__()
        if self.error is not None:
            raise self.error
        return self


class PlayQueue:
    """The playbacks of a call in order, on one session. What it wants sent waits in the session (`next_text`)."""

    def __init__(self, session: StreamSession, *, rewind_ms: int = 0) -> None:
        self._session = session
        self._rewind_ms = rewind_ms
        self._line: deque[Playback] = deque()
        self._settled = 0  # samples of the session's count that are in the playbacks' `_heard` already
        self._heard_in_all = 0
        self.on_sound: Callable[[], None] | None = None
        """Told when the first sound of a playback is put."""
        self.held = False
        """Nothing is sent until `resume` or `cut`; what is put meanwhile waits."""

    @property
    def current(self) -> Playback | None:
        """What is being heard, or is next."""
        return self._line[0] if self._line else None

    @property
    def speaking(self) -> bool:
        """Whether the caller hears something of it now; what is only sent and not heard yet counts too."""
        return not self.held and any(one._heard < one._length for one in self._line)

    def add(self, playback: Playback) -> None:
        """Behind all that is there."""
        playback._rate = self._session.sample_rate
        self._line.append(playback)

    def put(self, playback: Playback, pcm: bytes | bytearray | memoryview) -> None:
        """More of it: PCM16 at the stream's rate, cut anywhere. Nothing when it has been cut. PlayQueueFull."""
        if playback.done:
            return
        data = playback._odd + bytes(pcm)
        whole = len(data) & ~1
        if self.unheard_ms + whole * 500 / self._session.sample_rate > LONGEST_AHEAD_MS:
            raise PlayQueueFull(f"more than {LONGEST_AHEAD_MS} ms of audio are queued and not heard")
        playback._odd = data[whole:]
        if whole:
            playback._chunks.append(data[:whole])
            if not playback._length and self.on_sound is not None:
                self.on_sound()
            playback._length += whole >> 1
            if not self.held:
                self._session.play(playback._chunks[-1])

    def end(self, playback: Playback) -> None:
        """Nothing more will be put."""
        playback._whole = True
        self.advance()

    @property
    def unheard_ms(self) -> float:
        """Length of all that was put and not heard."""
        return sum(one._length - one._heard for one in self._line) * 1000 / self._session.sample_rate

    @property
    def heard_in_all_ms(self) -> float:
        """How much the caller has heard of all playbacks so far, what was said again twice."""
        return self._heard_in_all * 1000 / self._session.sample_rate

    def advance(self) -> None:
        """To be called with every frame: what was heard by now is heard."""
        if not self.held:
            self._settle(self._session.heard_ms)
        while self._line and self._line[0]._whole and self._line[0]._heard >= self._line[0]._length:
            self._line.popleft()._ended.set()

    def hold(self) -> float:
        """Stop what is being heard, keep the rest; ms of the current playback that were heard."""
        if not self.held:
            self._settle(self._session.stop())
            self._settled = 0
            self.held = True
        return self._line[0].heard_ms if self._line else 0.0

    def resume(self) -> None:
        """Say on from where it was held, less the rewind."""
        if not self.held:
            return
        self.held = False
        back = self._rewind_ms * self._session.sample_rate // 1000
        for index, one in enumerate(self._line):
            if index == 0:
                one._heard = max(one._kept, one._heard - back)
            rest = b"".join(one._chunks)[(one._heard - one._kept) * 2 :]
            if rest:
                self._session.play(rest)

    def cut(self) -> list[Playback]:
        """Stop, and drop all that was not heard; what was cut, the one that was being heard first."""
        self.hold()
        self.held = False
        dropped = list(self._line)
        self._line.clear()
        for one in dropped:
            one.cut = True
            one._chunks.clear()
            one._ended.set()
        return dropped

    def _settle(self, heard_ms: float) -> None:
        heard = round(heard_ms * self._session.sample_rate / 1000)
        new, self._settled = max(0, heard - self._settled), max(heard, self._settled)
        for one in self._line:
            taken = min(new, one._length - one._heard)
            one._heard += taken
            self._heard_in_all += taken
            new -= taken
            self._forget(one)
            if not new:
                break

    def _forget(self, one: Playback) -> None:
        keep_from = one._heard - self._rewind_ms * self._session.sample_rate // 1000
        while one._chunks and one._kept + (len(one._chunks[0]) >> 1) <= keep_from:
            one._kept += len(one._chunks.popleft()) >> 1
