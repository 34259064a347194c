"""Turn taking: when the caller speaks, and whether that ends what the app says. No I/O; the clock is the frames.

While the app is heard, the first sound that may be speech holds it at once. What follows decides: speech that goes on
cuts it; what is no speech, the app's own echo, or a word that only says "go on" lets it be said on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from msgspec import Struct

from offhook.audio.endpoint import RATE, Endpoint
from offhook.audio.pcm import PTIME_MS, Frame, from_bytes, level_dbfs, to_bytes
from offhook.audio.resample import StreamResampler
from offhook.errors import ConfigError
from offhook.kit.backchannel import AGREEMENTS, LIKELY_AGREES, agreement
from offhook.kit.echo import EchoReference
from offhook.kit.vad import DETECTORS, Detector, voice_detector

END_SILENCE_MS: Final = 600
_ONSET: Final = 0.2
"""How likely speech must be to hold what the app says."""
_HYSTERESIS: Final = 0.15
_GAP_MS: Final = 220
"""Without voice for so long while the app is held: that was all."""
_AUDIBLE_DBFS: Final = -40.0
"""What never gets louder is somebody in the background, as long as this caller is not known to be as soft as that."""
_SOFTEST_DBFS: Final = -55.0
_UNDER_USUAL_DB: Final = 15.0
_OVER_NOISE_DB: Final = 8.0
_ECHO: Final = 0.5
_SURELY_AGREES: Final = 0.85
_MOSTLY: Final = 0.6  # of the frames of speech have voice
_LATE_MS: Final = 40  # that a detector is behind the first sound
_NOISE_RISE: Final = 0.06  # dB a frame
_UNDECIDED_MS: Final = 400
"""Over twice `confirm_ms`: longer the app is not held by sounds that come and go and are neither speech nor silence."""
_WARY: Final = ((6, 50), (4, 3), (2, 1))
"""After so many false alarms of late only so many frames of voice hold the app, not the first sound any more; those
of `min_speech_ms` at most."""
_FORGET: Final = 500  # frames after which one false alarm is forgotten


class SpeechStarted(Struct, frozen=True):
    """The caller speaks; `at_ms`: where in the stream the first sound of it was, as far as that is known."""

    at_ms: float


class SpeechEnded(Struct, frozen=True):
    """The caller has stopped; `pcm`: what was said, PCM16 mono at 16 kHz; `at_ms`: where in the stream it ended."""

    at_ms: float
    pcm: bytes


class Interrupted(Struct, frozen=True):
    """The caller's speech has ended what the app was saying, of which they had heard `heard_ms`."""

    heard_ms: float


class Resumed(Struct, frozen=True):
    """What held the app's speech was none (a cough, "uh-huh"): it goes on from `heard_ms`."""

    heard_ms: float


TurnEvent: TypeAlias = SpeechStarted | SpeechEnded | Interrupted | Resumed


class Hold(Struct, frozen=True):
    """Stop what the app says, but keep it."""


class Cut(Struct, frozen=True):
    """It was speech: drop what the app says."""


class Resume(Struct, frozen=True):
    """It was none: say on."""


class Doubt(Struct, frozen=True):
    """Something short was said; `Turns.decide` with `number` within `decide_ms`. `pcm`: 16 kHz."""

    number: int
    pcm: bytes


Step: TypeAlias = SpeechStarted | SpeechEnded | Hold | Cut | Resume | Doubt


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnTaking:
    """How turns are taken. ConfigError for a value that cannot be used."""

    barge_in: bool = True
    """Whether the caller's speech stops the app's."""
    resume: bool = True
    """Whether the app goes on after what turns out to be no interruption. False: the first speech cuts it."""
    min_speech_ms: int = 100
    """Less voice than that within twice the time is no speech."""
    confirm_ms: int = 540
    """Speech that lasts so long over the app's is an interruption, whatever is said. Shorter is looked at closely."""
    end_silence_ms: int = END_SILENCE_MS
    """Silence that ends what the caller says."""
    detector: str = "auto"
    """"silero", "webrtc", "energy", or "auto": the first of these that is installed."""
    threshold: float = 0.5
    """How sure the detector must be of speech, 0 to 1."""
    echo: bool = True
    """Whether the app's own sound, come back from the caller's side, is told from speech."""
    rewind_ms: int = 300
    """After a false alarm at most so much is said again, from a pause in it."""
    understand: Callable[[bytes], Awaitable[str]] | None = None
    """What somebody said in at most a second (PCM16, 16 kHz), as text: then words decide, not only their sound."""
    agreements: frozenset[str] = field(default=AGREEMENTS)
    """Words that mean "go on", in lower case: what consists of them does not interrupt."""
    decide_ms: int = 900
    """How long `understand` may take; then it was an interruption."""

    def __post_init__(self) -> None:
        for name, least, most in _LIMITS:
            value = getattr(self, name)
            if not least <= value <= most:
                raise ConfigError(f"TurnTaking({name}={value}) cannot be used: set it to {least} up to {most}")
        if self.detector not in ("auto", *DETECTORS):
            raise ConfigError(f"there is no voice detector {self.detector!r}; use auto, {', '.join(DETECTORS)}")


_LIMITS: Final = (
    ("min_speech_ms", 20, 1000),
    ("confirm_ms", 0, 5000),
    ("end_silence_ms", 100, 10_000),
    ("threshold", 0.05, 0.95),
    ("rewind_ms", 0, 5000),
    ("decide_ms", 0, 10_000),
)


class Turns:
    """One speaker. Fed with each 20 ms; says what changed."""

    def __init__(self, settings: TurnTaking, rate: int, detector: Detector | None = None) -> None:
        """May load a model: make it in a thread. `rate`: Hz of the stream."""
        self.settings = settings
        self._detector = detector or voice_detector(settings.detector)
        self._guard = guard = max(1, settings.min_speech_ms // PTIME_MS)
        self._endpoint = Endpoint(
            lambda _: self._voiced, end_silence=settings.end_silence_ms / 1000, guard=(guard, 2 * guard)
        )
        self._down = StreamResampler(rate, RATE) if rate != RATE else None
        self._echo = EchoReference(rate) if settings.echo else None
        self._frame_bytes = rate * PTIME_MS // 500
        self._rest = b""  # of a service whose frames are not 20 ms
        self._now = 0  # frames
        self._voiced = False
        self._own = 0.0  # how much of the sound was echo of late
        self._noise = -60.0
        self._level = -120.0
        self._loudest = -120.0  # of the voice in the present utterance
        self._usual: float | None = None  # how loud the caller's utterances are; None: there was none
        self._told = False  # SpeechStarted of the present utterance
        self._first = 0  # frame of the first voice of the present utterance
        self._last = -1000  # frame of the last voice
        self._frames = 0  # with voice since the first
        self._held = 0  # frame since which the app is held for this speaker; 0: it is not
        self._extended = False  # what sounds like a long "yeah" has twice the time
        self._alarms = 0  # false ones of late
        self._over: SpeechEnded | None = None  # what was said while the app is held, and has ended
        self._doubt = 0  # number of the open doubt; 0: none
        self._doubts = 0
        self._doubt_since = 0

    @property
    def fed_ms(self) -> float:
        """How much it has heard; its events' places are counted from there."""
        return self._now * PTIME_MS

    @property
    def _length(self) -> int:
        """Frames from the first to the last voice."""
        return self._last - self._first + 1

    @property
    def _dense(self) -> bool:
        return self._frames >= self._length * _MOSTLY

    @property
    def holding(self) -> bool:
        """Whether the app is held for this speaker, and it is not decided what that was."""
        return bool(self._held)

    def close(self) -> None:
        """Not fed any more."""
        self._detector.close()

    def feed(self, pcm: bytes, own: bytes | None, playing: bool) -> list[Step]:
        """`pcm`: the next of the caller at the stream's rate, 20 ms as a rule; `own`: what of the app's they heard
        meanwhile. `playing`: something that may be interrupted is being said, or held.
        """
        if len(pcm) == self._frame_bytes and not self._rest:
            return self._feed(pcm, own, playing)
        steps, size = list[Step](), self._frame_bytes
        whole = self._rest + pcm
        for at in range(0, len(whole) - size + 1, size):
            steps += self._feed(whole[at : at + size], own if not at else None, playing)
        self._rest = whole[len(whole) // size * size :]
        return steps

    def _feed(self, pcm: bytes, own: bytes | None, playing: bool) -> list[Step]:
        steps: list[Step] = []
        self._now += 1
        if self._now % _FORGET == 0:
            self._alarms = max(0, self._alarms - 1)
        playing = playing and self.settings.barge_in
        likely, frame = self._listen(pcm, own, self._audible(playing))
        if self._held and not playing:
            self._release(steps)
        elif not self._held and playing and self.settings.resume and self._alarming(likely):
            self._held = self._now
            steps.append(Hold())
        self._follow(frame, steps)
        if self._held:
            self._judge(steps)
        elif playing and self._voiced and self._endpoint.speaking:
            steps.append(Cut())
        return steps

    def _alarming(self, likely: float) -> bool:
        """Whether what is heard holds the app. The oftener that was for nothing, the more voice it takes."""
        for alarms, frames in _WARY:
            if self._alarms >= alarms:
                return self._voiced and self._frames >= min(frames, self._guard) and self._dense
        return likely >= _ONSET

    def decide(self, number: int, agreed: bool) -> list[Step]:
        """The answer to a `Doubt`: whether it only meant "go on". Nothing when that was decided meanwhile."""
        steps: list[Step] = []
        if number == self._doubt:
            self._settle(steps, cut=not agreed)
        return steps

    def _audible(self, playing: bool) -> float:
        """dBFS over which it is the caller. Until they have said something the app's silence is listened to closely."""
        if self._usual is None:
            return _AUDIBLE_DBFS if playing else _SOFTEST_DBFS
        return max(_SOFTEST_DBFS, min(_AUDIBLE_DBFS, self._usual - _UNDER_USUAL_DB))

    def _listen(self, pcm: bytes, own: bytes | None, audible: float) -> tuple[float, Frame]:
        """How likely it is that the caller speaks, and the frame at 16 kHz."""
        whole = from_bytes(pcm)
        frame = self._down.process(whole).copy() if self._down is not None else whole.copy()
        likely = self._detector.feed(frame)
        level = level_dbfs(frame)
        self._noise = max(-75.0, min(level, self._noise + _NOISE_RISE))
        self._level = max(level, self._level - 1.5)
        if self._echo is not None:
            share = self._echo.feed(whole, from_bytes(own) if own else None)
            self._own += (share - self._own) * 0.6
        if self._own > _ECHO or self._level < max(audible, self._noise + _OVER_NOISE_DB):
            likely = 0.0
        self._voiced = likely >= self.settings.threshold - (_HYSTERESIS if self._voiced else 0)
        if self._voiced:
            if not self._endpoint.speaking and (self._now - self._last) * PTIME_MS > _GAP_MS:
                self._first, self._frames = self._now, 0
            self._last = self._now
            self._frames += 1
            self._loudest = max(self._loudest, level)
        return likely, frame

    def _follow(self, frame: Frame, steps: list[Step]) -> None:
        """Where an utterance begins and ends."""
        change = self._endpoint.feed(frame)
        if change == "began":
            if self._over is not None:
                self._settle(steps, cut=True)
            self._told = False
            if not self._held:
                self._tell(steps)
        elif change is not None:
            said = self._endpoint.take()
            if self._told:
                self._usual = max(self._loudest, self._usual - 3 if self._usual is not None else _SOFTEST_DBFS)
            self._loudest = -120.0
            ended = SpeechEnded((said.start - said.tail) * PTIME_MS + said.seconds * 1000, to_bytes(said.pcm))
            if self._told:
                steps.append(ended)
                self._told = change == "cut"
                if change == "cut":
                    steps.append(SpeechStarted(ended.at_ms))
            elif self._held:
                self._over = ended

    def _judge(self, steps: list[Step]) -> None:
        """Whether what has been heard since the app is held ends it."""
        speech = self._endpoint.speaking or self._over is not None
        length = self._length
        confirm_ms = self.settings.confirm_ms * (1 + self._extended)
        if speech and length * PTIME_MS >= confirm_ms and self._dense:
            if not self._extended and not self._told and agreement(from_bytes(self._said())) > _SURELY_AGREES:
                self._extended = True  # a laugh, "yeah yeah yeah"
            else:
                self._settle(steps, cut=True)
        elif self._doubt:
            if (self._now - self._doubt_since) * PTIME_MS >= self.settings.decide_ms:
                self._settle(steps, cut=True)
        elif (self._now - self._held) * PTIME_MS >= 2 * self.settings.confirm_ms + _UNDECIDED_MS:
            self._settle(steps, cut=speech)
        elif (self._now - max(self._last, self._held)) * PTIME_MS >= _GAP_MS:
            if not speech:
                self._settle(steps, cut=False)
            elif self.settings.understand is not None:
                self._doubts += 1
                self._doubt, self._doubt_since = self._doubts, self._now
                steps.append(Doubt(self._doubt, self._said()))
            else:
                long = length * PTIME_MS >= self.settings.confirm_ms
                enough = _SURELY_AGREES if long else LIKELY_AGREES
                self._settle(steps, cut=agreement(from_bytes(self._said())) < enough)

    def _said(self) -> bytes:
        return self._over.pcm if self._over is not None else to_bytes(self._endpoint.so_far().pcm)

    def _settle(self, steps: list[Step], *, cut: bool) -> None:
        """What the app is held for is known."""
        self._held = self._doubt = 0
        self._extended = False
        if cut:
            if not self._told:
                self._tell(steps)
            steps.append(Cut())
            if self._over is not None:
                steps.append(self._over)
                self._told = False
        else:
            self._alarms = min(self._alarms + 1, _WARY[0][0])
            if not self._told:
                self._endpoint.finish()
                self._loudest = -120.0
            steps.append(Resume())
        self._over = None

    def _release(self, steps: list[Step]) -> None:
        """The app was stopped by something else: what was said is what anybody says."""
        self._held = self._doubt = 0
        self._extended = False
        if self._endpoint.speaking and not self._told:
            self._tell(steps)
        elif self._over is not None:
            self._tell(steps)
            steps.append(self._over)
            self._told = False
        self._over = None

    def _tell(self, steps: list[Step]) -> None:
        self._told = True
        steps.append(SpeechStarted(max(0, (self._first - 1) * PTIME_MS - _LATE_MS)))
