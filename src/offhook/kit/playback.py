"""What the app says into a call, piece after piece: how much of each was heard, cut, held and said on. No I/O.

A StreamSession counts one utterance; here several follow each other, and a barge-in that turns out to be none goes on
where the caller heard it stop. Positions are samples of the stream; the only clock is the session's (its frames).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from itertools import islice
from typing import Any, Final

import numpy as np

from offhook.audio.pcm import PTIME_MS
from offhook.kit.session import PlayQueueFull, StreamSession

LONGEST_AHEAD_MS: Final = 600_000
"""Most that is kept unheard, held or not; what would be more raises PlayQueueFull."""
_REFERENCE_BYTES: Final = 24_000 // 5  # of what was heard and nobody has taken
_BLOCK_MS: Final = 10  # of sound, in which a pause is looked for
_LEAST_BLOCKS: Final = 2


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
        self._ahead: deque[memoryview] = deque()  # what was not heard
        self._past = bytearray()  # the last of what was, as far as it may be said again
        self._length = 0
        self._heard = 0
        self._again_at: int | None = None  # from where it was last said on
        self._odd = b""
        self._whole = False  # nothing more will be put
        self._live = False  # the session has what was put
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

    def _take(self, samples: int) -> list[memoryview]:
        """So much of what was ahead has been heard."""
        taken = []
        self._heard += samples
        size = samples * 2
        while size:
            first = self._ahead.popleft()
            if len(first) > size:
                self._ahead.appendleft(first[size:])
                first = first[:size]
            taken.append(first)
            size -= len(first)
        return taken

    def _give_back(self, samples: int) -> None:
        """So much of what was heard last is ahead again."""
        if samples:
            self._ahead.appendleft(memoryview(bytes(self._past[-2 * samples :])))
            del self._past[-2 * samples :]
            self._heard -= samples


class PlayQueue:
    """The playbacks of a call in order, on one session. What it wants sent waits in the session (`next_text`).

    `rewind_ms`: after a hold at most so much is said again, from the quietest place in it.
    """

    def __init__(self, session: StreamSession, *, rewind_ms: int = 0) -> None:
        self._session = session
        self._rewind_ms = rewind_ms
        self._line: deque[Playback] = deque()
        self._live = 0  # so many of the first in line have been given to the session, and give it what they get
        self._unheard = 0
        self._settled = 0  # samples of the session's count that are in the playbacks' `_heard` already
        self._heard_in_all = 0
        self.on_sound: Callable[[], None] | None = None
        """Told when the first sound of a playback is put."""
        self._own = bytearray()  # heard, and not taken as reference yet
        self.held = False
        """Nothing is sent until `resume` or `cut`; what is put meanwhile waits."""

    @property
    def rate(self) -> int:
        """Hz of the stream."""
        return self._session.sample_rate

    @property
    def stream_ms(self) -> float:
        """How long the stream has run, by its frames."""
        return self._session.stream_ms

    @property
    def current(self) -> Playback | None:
        """What is being heard, or is next."""
        return self._line[0] if self._line else None

    @property
    def speaking(self) -> bool:
        """Whether the caller hears something of it now; what is only sent and not heard yet counts too."""
        return self._unheard > 0 and not self.held

    @property
    def unheard_ms(self) -> float:
        """Length of all that was put and not heard."""
        return self._unheard * 1000 / self._session.sample_rate

    @property
    def heard_in_all_ms(self) -> float:
        """How much the caller has heard of all playbacks so far, what was said again twice."""
        return self._heard_in_all * 1000 / self._session.sample_rate

    def add(self, playback: Playback) -> None:
        """Behind all that is there."""
        playback._rate = self._session.sample_rate
        self._line.append(playback)
        self._open()

    def put(self, playback: Playback, pcm: bytes | bytearray | memoryview) -> None:
        """More of it: PCM16 at the stream's rate, cut anywhere. Nothing when it has been cut. PlayQueueFull.

        What is put while one before it has not ended waits for that.
        """
        if playback.done:
            return
        data = playback._odd + bytes(pcm)
        samples = len(data) >> 1
        if (self._unheard + samples) * 1000 > LONGEST_AHEAD_MS * self._session.sample_rate:
            raise PlayQueueFull(f"more than {LONGEST_AHEAD_MS} ms of audio are queued and not heard")
        playback._odd = data[samples * 2 :]
        if not samples:
            return
        whole = memoryview(data)[: samples * 2]
        playback._ahead.append(whole)
        if not playback._length and self.on_sound is not None:
            self.on_sound()
        playback._length += samples
        self._unheard += samples
        if playback._live:
            self._session.play(whole)

    def end(self, playback: Playback) -> None:
        """Nothing more will be put."""
        playback._whole = True
        self._open()
        self.advance()

    def advance(self) -> None:
        """To be called with every frame: what was heard by now is heard."""
        if not self.held:
            self._settle(self._session.heard_ms)
        self._pass_on()

    def take_heard(self) -> bytes:
        """The next 20 ms of what the caller has heard, or as much as there is: the reference for echo."""
        size = self._session.sample_rate // 25
        frame = bytes(self._own[:size])
        del self._own[:size]
        return frame

    def hold(self) -> float:
        """Stop what is being heard, keep the rest; ms of the current playback that were heard."""
        if not self.held:
            self._settle(self._session.stop())
            self._pass_on()
            self._settled = 0
            self.held = True
            for one in islice(self._line, self._live):
                one._live = False
            self._live = 0
        return self._line[0].heard_ms if self._line else 0.0

    def resume(self) -> float:
        """Say on from where it was held, less the rewind; from which ms of the current playback."""
        if self.held and self._line:
            back = self._pause_before(self._line[0])
            self._line[0]._give_back(back)
            self._line[0]._again_at = self._line[0]._heard
            self._unheard += back
        self.held = False
        self._open()
        return self._line[0].heard_ms if self._line else 0.0

    def cut(self, *, also_protected: bool = True) -> list[Playback]:
        """Stop, and drop what was not heard; what was dropped, in order.

        Without `also_protected` those that are not interruptible stay, and are said next.
        """
        self.hold()
        line, self._line = self._line, deque()
        dropped = []
        for one in line:
            if one.interruptible or also_protected:
                dropped.append(one)
                self._unheard -= one._length - one._heard
                one._ahead.clear()
                one.cut = True
                one._ended.set()
            else:
                self._line.append(one)
        self.held = False
        self._open()
        return dropped

    def _open(self) -> None:
        """Give the session what is next, up to the first that has not ended."""
        while not self.held and self._live < len(self._line):
            if self._live and not self._line[self._live - 1]._whole:
                break
            one = self._line[self._live]
            one._live = True
            self._live += 1
            for piece in one._ahead:
                self._session.play(piece)

    def _pass_on(self) -> None:
        while self._line and self._line[0]._whole and not self._line[0]._ahead:
            self._line.popleft()._ended.set()
            self._live = max(0, self._live - 1)

    def _settle(self, heard_ms: float) -> None:
        heard = round(heard_ms * self._session.sample_rate / 1000)
        new, self._settled = max(0, heard - self._settled), max(heard, self._settled)
        for one in islice(self._line, self._live):
            if not new:
                break
            taken = min(new, one._length - one._heard)
            if taken:
                new -= taken
                self._unheard -= taken
                self._heard_in_all += taken
                self._note(one, one._take(taken))

    def _note(self, one: Playback, heard: list[memoryview]) -> None:
        for piece in heard:
            self._own += piece[-_REFERENCE_BYTES:]
        if len(self._own) > 2 * _REFERENCE_BYTES:
            del self._own[:-_REFERENCE_BYTES]
        if self._rewind_ms:
            keep = self._rewind_ms * self._session.sample_rate // 500
            for piece in heard:
                one._past += piece[-keep:]
            if len(one._past) > 2 * keep:
                del one._past[: -keep & ~1]

    def _pause_before(self, one: Playback) -> int:
        """How many samples to go back: to the quietest place of the last `rewind_ms`, and by a frame at least.

        How much was heard is known to a frame, and nothing may be left out. Of what was said since it went back last
        only half is said again: it gets on however often it is held.
        """
        rate = self._session.sample_rate
        most = self._rewind_ms * rate // 1000
        if one._again_at is not None:
            most = min(most, max(rate * PTIME_MS // 1000, (one._heard - one._again_at) // 2))
        past = np.frombuffer(bytes(one._past[-2 * most :]), "<i2") if most else np.zeros(0, np.int16)
        size = rate * _BLOCK_MS // 1000
        blocks = past[len(past) % size :].reshape(-1, size).astype(np.float32)
        if len(blocks) < _LEAST_BLOCKS:
            return len(blocks) * size
        places = blocks[: len(blocks) - _LEAST_BLOCKS + 1]
        return (len(blocks) - int((places**2).sum(axis=1).argmin())) * size
