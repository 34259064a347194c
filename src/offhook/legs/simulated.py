"""The simulated caller or phone: speaks what it is given, presses keys and hangs up at exact frames, hears all.

All times count from the answer, in frames of 20 ms: what it says and what it hears share one time base, so a
recording of the one is sample-aligned to the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from offhook.audio.bridge import Member
from offhook.audio.buffers import PlayoutBuffer
from offhook.audio.pcm import FRAMES_PER_SECOND, PTIME_MS, Frame, samples_per_frame, silence
from offhook.audio.tones import ToneSource
from offhook.legs.key_events import KeySender
from offhook.legs.leg import Dtmf, Ended, KeySent, LegEnd, LegEvent, Pace

GAP_FRAMES = 500 // PTIME_MS


@dataclass(frozen=True, slots=True)
class Script:
    """What a simulated endpoint does, in seconds from the answer."""

    lead: float = 0.5
    duration: float | None = None
    tone: float | None = None
    dtmf: tuple[tuple[float, str], ...] = ()
    live: bool = False
    rate: int | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """What a simulated endpoint counted; frames are 20 ms."""

    frames: int = 0
    sent: int = 0
    heard: int = 0
    gaps: int = 0
    late: int = 0
    first_heard: int | None = None
    spoke_at: int | None = None


@dataclass(slots=True)
class Hooks:
    """Where a leg's outputs go; each is called inside a tick and must only take note."""

    event: Callable[[str, LegEvent], None]
    hear: Callable[[int, Frame | None], None] | None = None
    answered: Callable[[int], None] | None = None
    spoke: Callable[[int], None] | None = None
    key: Callable[[str], None] | None = None
    ended: Callable[[LegEnd, Figures], None] | None = None
    pace: Pace = field(default_factory=Pace)


class SimulatedLeg:
    """A leg whose endpoint is a script. Silent before `lead`; then says what `say` queued, or its tone."""

    def __init__(self, leg_id: str, script: Script, hooks: Hooks) -> None:
        self.leg_id = leg_id
        self.rate = script.rate
        self._script = script
        self._hooks = hooks
        self._hear = hooks.hear
        self._pace = hooks.pace
        self._said: PlayoutBuffer | None = None
        self._source: Callable[[], Frame | None] | None = None
        self._pending: list[bytes] = []
        self._quiet: Frame = silence(8000)
        self._lead_rest = 0  # samples
        self._offset = 0  # of the first word in its frame
        self._agenda: list[tuple[int, LegEvent | None]] = []
        self._next = -1
        self._index = 0
        self._heard = self._gaps = self._late = 0
        self._first_heard: int | None = None
        self._spoke_at: int | None = None
        self._keys = KeySender(self._key_sent)
        self._dry = GAP_FRAMES + 1
        self._over = False

    @property
    def port(self) -> SimulatedLeg:
        """The leg is its own port."""
        return self

    @property
    def answered(self) -> bool:
        """Whether frame 0 has been set."""
        return self._said is not None

    @property
    def ended(self) -> bool:
        """Whether the leg has been left, from either side."""
        return self._over

    @property
    def figures(self) -> Figures:
        """The counts so far."""
        index = self._index
        return Figures(index, index, self._heard, self._gaps, self._late, self._first_heard, self._spoke_at)

    def answer(self, rate: int) -> None:
        """Frame 0 is the next tick. The leg speaks at its own rate, or at the bridge's when it has none."""
        if self.rate is None:
            self.rate = rate
        rate = self.rate
        script = self._script
        self._quiet = silence(rate)
        self._said = PlayoutBuffer(rate, restart_ms=40 if script.live else 0)
        speak_from, self._lead_rest = divmod(round(script.lead * rate), samples_per_frame(rate))
        for pcm in self._pending:
            self.say(pcm)
        self._pending.clear()
        agenda: list[tuple[int, LegEvent | None]] = [(speak_from, None)]
        agenda += [(round(at * FRAMES_PER_SECOND), Dtmf(tone)) for at, tone in script.dtmf]
        if script.duration is not None:
            # The event is acted on after the tick that raises it, so the last frame of the call raises it.
            agenda.append((max(round(script.duration * FRAMES_PER_SECOND) - 1, 0), Ended()))
        self._agenda = sorted(agenda, key=lambda item: item[0])
        self._next = self._agenda[0][0]
        if self._hooks.answered is not None:
            self._hooks.answered(rate)

    def say(self, pcm: bytes) -> int:
        """Queue PCM16 at the leg's rate (before the answer too); gives back the bytes accepted."""
        if self._said is None:
            self._pending.append(pcm)
            return len(pcm)
        if self._lead_rest and self._source is None and pcm:
            # The first words, in good time: the rest of the lead, less than a frame, stands before them.
            self._offset, self._lead_rest = self._lead_rest, 0
            self._said.write(bytes(2 * self._offset))
        return self._said.write(pcm)

    def press(self, tone: str) -> None:
        """Press a key now."""
        if not self._over:
            self._hooks.event(self.leg_id, Dtmf(tone))

    def send_key(self, key: str) -> None:
        """See `Leg`: the endpoint hears its two tones instead of the call."""
        self._keys.press(key)

    def drop_keys(self) -> None:
        """See `Leg`."""
        self._keys.drop()

    def leave(self) -> None:
        """The endpoint hangs up, or gives up before the answer."""
        if not self._over:
            self._hooks.event(self.leg_id, Ended())

    def hang_up(self, end: LegEnd) -> None:
        """The other side ended it; figures go out once."""
        if self._over:
            return
        self._over = True
        if self._hooks.ended is not None:
            self._hooks.ended(end, self.figures)

    def read(self) -> Frame | None:
        """What the endpoint says in this frame; never None while it is there, for a pause is not an absence."""
        if self._index == self._next:
            self._act(self._index)
        source = self._source
        if source is None:
            return self._quiet
        frame = source()
        return self._quiet if frame is None else frame

    def write(self, mix: Frame | None, heard: Sequence[Member]) -> None:
        """What the endpoint hears in this frame."""
        index = self._index
        self._index = index + 1
        if self._keys:
            assert self.rate is not None
            mix = self._keys.sound(self.rate)
        if mix is None:
            self._dry += 1
        else:
            self._heard += 1
            if self._dry:
                self._resume(index)
        if self._pace.late:
            self._late += 1
        if self._hear is not None:
            self._hear(index, mix)

    def _key_sent(self, key: str) -> None:
        if self._hooks.key is not None:
            self._hooks.key(key)
        self._hooks.event(self.leg_id, KeySent(key))

    def _resume(self, index: int) -> None:
        """Audio of the app after none: its first, a gap mended, or the next utterance."""
        if self._dry <= GAP_FRAMES:
            self._gaps += 1
        self._dry = 0
        if self._first_heard is None:
            self._first_heard = index

    def _speak(self) -> None:
        """The lead is over."""
        assert self.rate is not None and self._said is not None
        if self._script.tone is not None:
            self._source = ToneSource(self._script.tone, self.rate).next
            self._note_speech(0)
        else:
            self._source = self._first_words

    def _first_words(self) -> Frame | None:
        """The source until something is there to be said."""
        assert self._said is not None
        frame = self._said.read()
        if frame is not None:
            self._source = self._said.read
            self._note_speech(self._offset)
        return frame

    def _note_speech(self, offset: int) -> None:
        assert self.rate is not None
        self._spoke_at = self._index * samples_per_frame(self.rate) + offset
        if self._hooks.spoke is not None:
            self._hooks.spoke(self._spoke_at)

    def _act(self, index: int) -> None:
        """Do what the script has at this frame."""
        while self._agenda and self._agenda[0][0] <= index:
            event = self._agenda.pop(0)[1]
            if event is None:
                self._speak()
            else:
                self._hooks.event(self.leg_id, event)
        self._next = self._agenda[0][0] if self._agenda else -1
