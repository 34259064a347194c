"""Hearings: what is said by one participant of a call, from their seat on the bridge to recognised words.

The tap of the bridge only copies frames into a block of fixed size. The pass after it, on the loop but outside ticks,
changes the rate and looks for utterances (some 10 µs a frame); recognising runs elsewhere (`Speech`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

import numpy as np

from offhook.audio.bridge import Bridge, Member
from offhook.audio.endpoint import RATE, Endpoint, Utterance, voice_detector
from offhook.audio.pcm import samples_per_frame
from offhook.audio.resample import StreamResampler
from offhook.errors import SpeechError
from offhook.service.clock import Clock, Handle
from offhook.service.speech import Speech
from offhook.speech.provider import Recognised

log = logging.getLogger("offhook.hearing")

BLOCK_FRAMES: Final = 25
"""Frames that wait for the pass; the newest is dropped beyond, which a loop that is alive never sees."""
PASS_EVERY: Final = 3
"""Ticks between looks at one hearing. Those of one call are looked at in turn, so that many make no tick late."""
PARTIAL_EVERY: Final = 0.7
"""Seconds between partial results, or twice what the last one took, whichever is more."""
_TRIAL: Final = np.zeros(RATE // 4, np.int16)
MOST_LANGUAGES: Final = 100
"""That are remembered: apps can name as many as they like."""
MOST_WAITING: Final = 4
"""Utterances of one hearing that wait to be recognised; the oldest is given up beyond."""


@dataclass(frozen=True, slots=True)
class Heard:
    """An utterance, or its beginning: `start` in seconds since its hearing began, `seconds` its length.

    `cut`: it was too long for one, and goes on as the next.
    """

    recognised: Recognised
    start: float
    seconds: float
    cut: bool = False


class Listener(Protocol):
    """Who is told; each is called on the loop, outside ticks, and nothing after the hearing was stopped."""

    def began(self, hearing_id: str) -> None:
        """Somebody speaks."""

    def partly(self, hearing_id: str, heard: Heard) -> None:
        """What was understood so far."""

    def heard(self, hearing_id: str, heard: Heard) -> None:
        """What was said; the text is empty when nothing was understood."""

    def failed(self, hearing_id: str, error: SpeechError) -> None:
        """One utterance could not be recognised; the hearing goes on."""

    def lost(self, hearing_id: str, error: SpeechError) -> None:
        """Nothing is heard any more: the hearing is over."""


def try_language(speech: Speech, language: str, then: Callable[[SpeechError | None], None]) -> Callable[[], None]:
    """Whether a language would be understood: a moment of silence is recognised, which also loads what it takes.

    `then` is called later than the return; gives back what cancels that.
    """
    if language in speech.understood:
        return speech.later(partial(then, None))

    def tried(result: Recognised | SpeechError) -> None:
        if isinstance(result, Recognised):
            if len(speech.understood) >= MOST_LANGUAGES:
                speech.understood.clear()
            speech.understood.add(language)
        then(result if isinstance(result, SpeechError) else None)

    return speech.recognise(_TRIAL, language, (), tried)


@dataclass(slots=True)
class Hearing:
    """One participant, heard for one listener. `language` may change between utterances."""

    hearing_id: str
    leg_id: str
    language: str
    phrases: Sequence[str]
    partials: bool
    listener: Listener
    endpoint: Endpoint
    resampler: StreamResampler
    block: np.ndarray[tuple[int, int], np.dtype[np.int16]]
    waits: int = 0
    due: int = PASS_EVERY
    """How many frames wait when it is looked at."""
    dropped: int = 0
    waiting: list[Utterance] = field(default_factory=list)
    cancel: Callable[[], None] | None = None
    whole: bool = False
    """Whether what is being recognised now is a whole utterance."""
    then: Callable[[], None] | None = None
    """Called when the utterances that wait are told, with which it ends; None: it goes on."""
    asked: float = 0.0
    again: float = 0.0
    """When the next partial result is due."""


class Hearings:
    """The hearings of one call: a `Tap` of its bridge while there are any. `seats`: who sits where, by leg."""

    def __init__(self, bridge: Bridge, seats: Mapping[str, Member], clock: Clock, speech: Callable[[], Speech]) -> None:
        self._bridge = bridge
        self._seats = seats
        self._clock = clock
        self._speech = speech
        self._hearings: dict[str, Hearing] = {}
        self._ticks = 0
        self._pass: Handle | None = None

    def start(
        self,
        hearing_id: str,
        leg_id: str,
        rate: int,
        listener: Listener,
        *,
        language: str,
        end_silence: float,
        phrases: Sequence[str] = (),
        partials: bool = False,
    ) -> None:
        """Hear a leg from the next tick on; `rate` is the bridge's, `end_silence` in seconds ends an utterance."""
        if not self._hearings:
            self._bridge.tap(self)
        self._hearings[hearing_id] = Hearing(
            hearing_id,
            leg_id,
            language,
            phrases,
            partials,
            listener,
            Endpoint(voice_detector(), end_silence=end_silence),
            StreamResampler(rate, RATE),
            np.zeros((BLOCK_FRAMES, samples_per_frame(rate)), np.int16),
        )

    def stop(self, hearing_id: str) -> None:
        """End it; its listener is told nothing more."""
        hearing = self._hearings.pop(hearing_id, None)
        if hearing is None:
            return
        if hearing.cancel is not None:
            hearing.cancel()
        if hearing.dropped:
            log.warning("hearing %s: %d frames came while nobody looked at them", hearing_id, hearing.dropped)
        if not self._hearings:
            self._bridge.untap(self)

    def finish(self, hearing_id: str, then: Callable[[], None]) -> None:
        """Nothing more will be said: what was said is still recognised, then it ends and `then` is called."""
        hearing = self._hearings.get(hearing_id)
        if hearing is None or hearing.then is not None:
            return
        self._look_at(hearing)
        if self._hearings.get(hearing_id) is not hearing:
            return
        hearing.then = then
        last = hearing.endpoint.finish()
        if last is not None:
            self._over(hearing, last)
        self._end_if_done(hearing)

    def change_language(self, hearing_id: str, language: str) -> None:
        """Recognise what is said from now on, and what is still being said, in another language."""
        if hearing_id in self._hearings:
            self._hearings[hearing_id].language = language

    def close(self) -> None:
        """The call is over: what was said is still told by those that finish."""
        for hearing in list(self._hearings.values()):
            if hearing.then is None:
                self.stop(hearing.hearing_id)
        if self._pass is not None:
            self._pass.cancel()

    def hear(self, members: Sequence[Member]) -> None:
        """See `Tap`: copy what each seat said. Nobody there, muted or held is silence."""
        due = False
        for hearing in self._hearings.values():
            if hearing.waits == BLOCK_FRAMES:
                hearing.dropped += 1
                due = True
                continue
            seat = self._seats.get(hearing.leg_id)
            frame = None if seat is None else seat.frame
            hearing.block[hearing.waits] = 0 if frame is None else frame
            hearing.waits += 1
            due = due or hearing.waits >= hearing.due
        self._ticks += 1
        if due and self._pass is None:
            self._pass = self._clock.call_at(self._clock.monotonic(), self._look)

    def failed(self, error: Exception) -> None:
        """See `Tap`: nobody is heard any more, and who listens is told after the tick."""
        log.error("what is said in a call can be heard no more", exc_info=error)
        self._clock.call_at(self._clock.monotonic(), self._lost)

    # outside ticks ----------------------------------------------------------------------------------------------

    def _lost(self) -> None:
        while self._hearings:
            hearing = next(iter(self._hearings.values()))
            self.stop(hearing.hearing_id)
            hearing.listener.lost(hearing.hearing_id, SpeechError("speech_failed", "Nobody can be heard any more."))

    def _look(self) -> None:
        self._pass = None
        for index, hearing in enumerate(list(self._hearings.values())):
            if hearing.waits >= hearing.due:
                hearing.due = PASS_EVERY + (index - self._ticks) % PASS_EVERY
                self._look_at(hearing)

    def _look_at(self, hearing: Hearing) -> None:
        waits, hearing.waits = hearing.waits, 0
        for index in range(waits):
            if hearing.then is not None or hearing.hearing_id not in self._hearings:
                return
            frame = hearing.resampler.process(hearing.block[index])
            change = hearing.endpoint.feed(frame.copy())
            if change == "began":
                hearing.again = self._clock.monotonic() + PARTIAL_EVERY
                hearing.listener.began(hearing.hearing_id)
            elif change is not None:
                self._over(hearing, hearing.endpoint.take())
        if hearing.partials and hearing.endpoint.speaking and hearing.cancel is None:
            if self._clock.monotonic() >= hearing.again and self._speech().may_glance:
                self._recognise(hearing, hearing.endpoint.so_far(), whole=False)

    def _over(self, hearing: Hearing, utterance: Utterance) -> None:
        """An utterance has ended: it is recognised when the one before has been; a partial result gives way."""
        hearing.waiting.append(utterance)
        if len(hearing.waiting) > MOST_WAITING:
            del hearing.waiting[0]
            error = SpeechError("speech_failed", "More was said than could be recognised in time; some was left out.")
            hearing.listener.failed(hearing.hearing_id, error)
        if hearing.cancel is not None and not hearing.whole:
            hearing.cancel()
            hearing.cancel = None
        self._next(hearing)

    def _next(self, hearing: Hearing) -> None:
        if hearing.cancel is None and hearing.waiting:
            self._recognise(hearing, hearing.waiting.pop(0), whole=True)

    def _recognise(self, hearing: Hearing, utterance: Utterance, *, whole: bool) -> None:
        hearing.whole, hearing.asked = whole, self._clock.monotonic()
        done = partial(self._recognised, hearing, utterance, whole)
        ask = self._speech().recognise if whole else self._speech().glance
        hearing.cancel = ask(utterance.pcm, hearing.language, hearing.phrases, done)

    def _recognised(
        self, hearing: Hearing, utterance: Utterance, whole: bool, result: Recognised | SpeechError
    ) -> None:
        if self._hearings.get(hearing.hearing_id) is not hearing:
            return
        hearing.cancel = None
        now = self._clock.monotonic()
        hearing.again = now + max(PARTIAL_EVERY - (now - hearing.asked), now - hearing.asked)
        listener, hearing_id = hearing.listener, hearing.hearing_id
        if isinstance(result, Recognised):
            heard = Heard(result, utterance.start_seconds, utterance.seconds, utterance.cut)
            (listener.heard if whole else listener.partly)(hearing_id, heard)
        elif whole:
            listener.failed(hearing_id, result)
        if self._hearings.get(hearing_id) is hearing:
            self._next(hearing)
            self._end_if_done(hearing)

    def _end_if_done(self, hearing: Hearing) -> None:
        if hearing.then is not None and hearing.cancel is None and not hearing.waiting:
            self.stop(hearing.hearing_id)
            hearing.then()
