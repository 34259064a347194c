"""Transcriptions of one call: for each app its socket, and a hearing of every participant (protocol.md §2.11)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Protocol

from offhook.audio.bridge import Member
from offhook.audio.pcm import FRAMES_PER_SECOND
from offhook.calls.actions import OpenTranscription, UpdateTranscription
from offhook.calls.transcribing import Fact
from offhook.errors import SpeechError
from offhook.service.clock import Clock, Handle
from offhook.service.hearings import Heard, Hearings, try_language
from offhook.service.speech import Speech
from offhook.service.stream_port import Batch
from offhook.service.streaming import TEXT, AppStream
from offhook.wire.transcription import TranscriptionRequest, transcription_data, transcription_metadata

if TYPE_CHECKING:
    from offhook.service.operations import Asked, CallControl

END_SILENCE: Final = 0.7
"""Seconds without voice that end an utterance."""
BACKLOG: Final = 1024 * 1024
"""Bytes that wait for an app that reads too slowly; the newest message is dropped beyond."""
MOST_FAILURES: Final = 3
"""Utterances one after another that cannot be recognised, after which the transcription has failed."""
LAST_WORDS: Final = 10.0
"""Seconds for which what was said before the end is waited for and told, if it takes that long."""
_UNREAD: Final = Batch(TEXT)
_UNREAD.came = deque(maxlen=0)
_FOR_GOOD: Final = frozenset({"speech_not_set_up", "speech_language"})


def transcribe(control: CallControl, asked: Asked, body: TranscriptionRequest) -> None:
    """Start, stop or update the transcription of a call."""
    control.ask(asked.connection, lambda call, now: call.transcribe(asked.connection, body, now))


class TranscriptStream(AppStream):
    """The socket that carries recognised text to one app; what the app sends is ignored."""

    # While nobody speaks nothing is sent: proxies close such a socket, and that the app is gone shows in no other way.
    ping_after = 20.0

    def __init__(self, *where: str, locale: str, correlation_id: str, **dialling: Any) -> None:
        super().__init__(*where, backlog=BACKLOG, batch=_UNREAD, **dialling)
        self.locale = locale
        self.sent = 0
        self.dropped = 0
        self._correlation_id = correlation_id
        self._has_room: Callable[[int], bool] | None = None

    def greeting(self) -> bytes:
        """See `AppStream`."""
        return transcription_metadata(self.subscription_id, self.locale, self.connection_id, self._correlation_id)

    def down(self) -> None:
        """See `AppStream`."""
        self._has_room = None

    def behind(self, has_room: Callable[[int], bool] | None) -> None:
        """See `AppStream`."""
        self._has_room = has_room

    def send(self, message: bytes) -> None:
        """One message, if there is a socket that has room for it; it is counted either way."""
        push = None if self._socket is None else self._socket.push
        if push is None or (self._has_room is not None and not self._has_room(len(message))):
            self.dropped += 1
            return
        push(TEXT, message)
        self.sent += 1


class Scene(Protocol):
    """The call in which somebody is heard."""

    rate: int

    @property
    def stopping(self) -> bool:
        """Whether the node ends, so that nothing can be waited for."""

    def transcription(self, connection_id: str, fact: Fact, outcome: str = "", detail: str = "") -> None:
        """What became of a transcription, for the machine."""

    def dial_transcript(self, action: OpenTranscription, owner: Transcript) -> TranscriptStream:
        """The socket to the app, not dialled yet."""

    def note(self, kind: str, name: str, **detail: Any) -> None:
        """Something for the trace."""


class Transcript:
    """The transcription of one app: it has started when its socket is open and the recogniser knows the language."""

    _numbers = count()

    def __init__(
        self, scene: Scene, action: OpenTranscription, hearings: Hearings, seats: Mapping[str, Member],
        clock: Clock, speech: Callable[[], Speech], over: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.connection_id = action.connection_id
        self._scene = scene
        self._partials = action.options.intermediate_results
        self._hearings = hearings
        self._seats = seats
        self._clock = clock
        self._speech = speech
        self._over = over
        # By the id of a hearing that goes on or finishes: raw id, seconds from the start to its beginning.
        self._people: dict[str, tuple[str, float]] = {}
        self._heard: dict[str, str] = {}  # by leg, its hearing
        self._began = 0.0
        self._open = self._tried = self._started = self._closed = False
        self._failures = 0
        self._updates: list[str] = []
        self._ending: Handle | None = None
        self.stream = scene.dial_transcript(action, self)
        self._trial: Callable[[], None] | None = try_language(speech(), action.locale, self._ready)
        self.stream.open()

    def update(self, locale: str) -> None:
        """Another language, if the recogniser knows it: one after another, once it has started."""
        self._updates.append(locale)
        self._try_next()

    def reseat(self) -> None:
        """Somebody came or left."""
        if not self._started:
            return
        for leg_id, seat in self._seats.items():
            if leg_id not in self._heard and seat.label is not None:
                self._hear(leg_id, seat.label)
        for leg_id in [leg_id for leg_id in self._heard if leg_id not in self._seats]:
            self._finish(self._heard.pop(leg_id))

    def finish(self) -> None:
        """It is over for its call; the app is still told what was said before."""
        self._stop_trying()
        self._heard.clear()
        self._ending = self._clock.call_at(self._clock.monotonic() + LAST_WORDS, self.close)
        for hearing_id in list(self._people):
            self._finish(hearing_id)
        if not self._people or self._scene.stopping:
            self.close()

    def close(self) -> None:
        """Nothing more is said to the app."""
        if self._closed:
            return
        self._closed = True
        self._stop_trying()
        if self._ending is not None:
            self._ending.cancel()
        for hearing_id in self._people:
            self._hearings.stop(hearing_id)
        self._people.clear()
        self._heard.clear()
        self.stream.close()
        self._scene.note("media", "transcription closed", sent=self.stream.sent, dropped=self.stream.dropped)

    # stream owner -----------------------------------------------------------------------------------------------

    def stream_opened(self, stream: TranscriptStream) -> None:
        """See `StreamOwner`."""
        self._scene.note("media", "transcription opened", url=stream.url)
        self._open = True
        self._begin()

    def stream_reestablished(self, stream: TranscriptStream) -> None:
        """See `StreamOwner`."""
        self._scene.note("media", "transcription reestablished", url=stream.url)
        self._tell("reestablished")

    def stream_failed(self, stream: TranscriptStream, outcome: str, detail: str) -> None:
        """See `StreamOwner`."""
        self._fail(outcome, detail)

    def stream_closed_by_app(self, stream: TranscriptStream) -> None:
        """See `StreamOwner`."""
        self._scene.note("media", "transcription closed by the app", url=stream.url)
        self._tell("closed_by_app")

    def stream_note(self, stream: TranscriptStream, name: str, detail: dict[str, object]) -> None:
        """See `StreamOwner`."""
        self._scene.note("media", f"transcription {name}", **detail)

    # listener ---------------------------------------------------------------------------------------------------

    def began(self, hearing_id: str) -> None:
        """See `Listener`; apps are not told."""

    def partly(self, hearing_id: str, heard: Heard) -> None:
        """See `Listener`."""
        self._write(hearing_id, heard, final=False)

    def heard(self, hearing_id: str, heard: Heard) -> None:
        """See `Listener`."""
        self._failures = 0
        self._write(hearing_id, heard, final=True)

    def failed(self, hearing_id: str, error: SpeechError) -> None:
        """See `Listener`: one utterance is left out; a recogniser that goes on failing ends the transcription."""
        self._failures += 1
        self._scene.note("media", "transcription not recognised", reason=str(error))
        if self._failures >= MOST_FAILURES or error.outcome in _FOR_GOOD:
            self._fail(error.outcome, error.detail)

    def lost(self, hearing_id: str, error: SpeechError) -> None:
        """See `Listener`."""
        self._fail(error.outcome, error.detail)

    # inside -----------------------------------------------------------------------------------------------------

    def _ready(self, error: SpeechError | None) -> None:
        self._trial = None
        if error is not None:
            self._fail(error.outcome, error.detail)
            return
        self._tried = True
        self._begin()

    def _changed(self, locale: str, error: SpeechError | None) -> None:
        self._trial = None
        if error is not None:
            self._tell("update_failed", error.outcome, error.detail)
        else:
            self.stream.locale = locale
            for hearing_id in self._people:
                self._hearings.change_language(hearing_id, locale)
            self._tell("updated")
        self._try_next()

    def _try_next(self) -> None:
        if self._started and self._trial is None and self._updates:
            locale = self._updates.pop(0)
            self._trial = try_language(self._speech(), locale, partial(self._changed, locale))

    def _stop_trying(self) -> None:
        self._updates.clear()
        if self._trial is not None:
            self._trial()
            self._trial = None

    def _begin(self) -> None:
        if not (self._open and self._tried) or self._started:
            return
        self._started = True
        self._began = self._clock.monotonic()
        self.reseat()
        self._tell("opened")
        self._try_next()

    def _finish(self, hearing_id: str) -> None:
        self._hearings.finish(hearing_id, partial(self._finished, hearing_id))

    def _finished(self, hearing_id: str) -> None:
        self._people.pop(hearing_id, None)
        if self._ending is not None and not self._people:
            self.close()

    def _hear(self, leg_id: str, raw_id: str) -> None:
        hearing_id = self._heard[leg_id] = f"{self.connection_id}/{next(self._numbers)}"
        frames = round((self._clock.monotonic() - self._began) * FRAMES_PER_SECOND)
        self._people[hearing_id] = (raw_id, frames / FRAMES_PER_SECOND)
        self._hearings.start(
            hearing_id,
            leg_id,
            self._scene.rate,
            self,
            language=self.stream.locale,
            end_silence=END_SILENCE,
            partials=self._partials,
        )

    def _write(self, hearing_id: str, heard: Heard, *, final: bool) -> None:
        recognised, (raw_id, since) = heard.recognised, self._people[hearing_id]
        if not recognised.text:
            return
        start = since + heard.start
        words = [(word.text, start + word.start_ms / 1000, word.duration_ms / 1000) for word in recognised.words]
        self.stream.send(
            transcription_data(recognised.text, recognised.confidence, start, heard.seconds, words, raw_id, final=final)
        )

    def _fail(self, outcome: str, detail: str) -> None:
        self._scene.note("media", "transcription failed", outcome=outcome, reason=detail)
        self._tell("failed", outcome, detail)

    def _tell(self, fact: Fact, outcome: str = "", detail: str = "") -> None:
        ended = fact in ("failed", "closed_by_app")
        if ended:
            self.close()
        if self._ending is not None:
            return  # its call knows of its end already
        if ended:
            self._over(self.connection_id)
        self._scene.transcription(self.connection_id, fact, outcome, detail)


class Transcriptions:
    """The transcriptions of one call, by connection."""

    def __init__(
        self, scene: Scene, hearings: Hearings, seats: Mapping[str, Member], clock: Clock, speech: Callable[[], Speech]
    ) -> None:
        self._scene = scene
        self._shared = (hearings, seats, clock, speech, self._forget)
        self._transcripts: dict[str, Transcript] = {}

    def __contains__(self, connection_id: str) -> bool:
        """Whether an app has one."""
        return connection_id in self._transcripts

    def open(self, action: OpenTranscription) -> None:
        """Begin one."""
        self._transcripts[action.connection_id] = Transcript(self._scene, action, *self._shared)

    def update(self, action: UpdateTranscription) -> None:
        """Change the language of one."""
        self._transcripts[action.connection_id].update(action.locale)

    def close(self, connection_id: str) -> None:
        """End one, if it runs."""
        transcript = self._transcripts.pop(connection_id, None)
        if transcript is not None:
            transcript.finish()

    def _forget(self, connection_id: str) -> None:
        self._transcripts.pop(connection_id, None)

    def reseat(self) -> None:
        """Somebody came or left."""
        for transcript in self._transcripts.values():
            transcript.reseat()

    def close_all(self) -> None:
        """The call is over."""
        for connection_id in list(self._transcripts):
            self.close(connection_id)
