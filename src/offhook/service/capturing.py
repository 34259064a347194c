"""Captures: what a node keeps of the sound of its calls, in a folder for each, and of their figures over time.

A call's folder holds `NN-said.wav` and `NN-heard.wav` of each leg, numbered in order of joining (`NNb-…` for a leg that
comes back), `tracks.json` that says whose they are and where on the call's axis they begin, and `series.json`.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from offhook.audio.bridge import Member
from offhook.audio.capture import BLOCK_TICKS, SIDES, Block, Capture, Side, Track
from offhook.audio.pcm import samples_per_frame
from offhook.legs.rtp import RtpPort
from offhook.service.call_folder import write_file
from offhook.service.call_series import CallSeries
from offhook.service.call_sound import SERIES, TRACKS, CallSound, Segment, part_name, read_folder
from offhook.service.clock import LATE, Clock, MediaClock
from offhook.service.sound_writer import SoundFile, SoundWriter, sound_of

if TYPE_CHECKING:
    from offhook.service.live import LiveCall

log = logging.getLogger("offhook.sound")

MOST_SEGMENTS: Final = 512
"""Stretches of legs that are kept of one call; who comes later is not kept."""
LATE_EVERY: Final = 1.0
MOST_LATE: Final = 300
"""Events of lateness in one call's trace; the series has the rest."""
_CALL_ID = re.compile(r"[0-9A-Za-z_-]{1,100}")


@dataclass(slots=True, eq=False)
class _Kept:
    """One leg's stretch on the bridge, with its files."""

    leg_id: str
    number: int
    part: int
    begin_ms: float
    rate: int
    track: Track
    files: dict[Side, SoundFile]

    def ticks(self, now: int) -> int:
        """How long it is, in frames, at a tick."""
        return (now if self.track.end is None else self.track.end) - self.track.begin

    def segments(self, now: int, blocks: list[Block]) -> list[Segment]:
        """Both sides as they are at a tick; what is in blocks may not be in the files yet."""
        samples = self.ticks(now) * samples_per_frame(self.rate)
        return [
            Segment(self.leg_id, self.number, self.part, side, self.begin_ms, self.rate, samples, file.path,
                    tuple(sound_of(self.track.said if side == "said" else self.track.heard, blocks)))
            for side, file in self.files.items()
        ]  # fmt: skip

    def row(self) -> dict[str, Any]:
        """As `tracks.json` has it."""
        end = self.track.end
        return {
            "legId": self.leg_id,
            "number": self.number,
            "part": self.part,
            "beginMs": self.begin_ms,
            "rate": self.rate,
            "samples": None if end is None else self.ticks(end) * samples_per_frame(self.rate),
            "leftOut": sum(file.left_out for file in self.files.values()),
        }


@dataclass(slots=True)
class _Counts:
    """What was counted up to the last event of lateness."""

    at: float
    slow_ticks: int = 0
    legs: dict[str, tuple[int, int]] = field(default_factory=dict)
    told: int = 0


class CallCapture:
    """What is kept of one live call. On the loop, outside ticks."""

    def __init__(self, live: LiveCall, captures: Captures, folder: Path) -> None:
        self.call_id = live.call.call_id
        self.folder = folder
        self.series: CallSeries | None = None
        self._live = live
        self._captures = captures
        self._kept: list[_Kept] = []
        self._now: dict[str, _Kept] = {}
        self._streams: set[str] = set()
        self._counts = _Counts(0.0)

    def join(self, leg_id: str, member: Member) -> None:
        """A leg has taken its seat: from the next tick on it is kept."""
        captures, answered = self._captures, self._live.trace.answered
        next_tick = captures.media.next_tick
        if self.series is None:
            now = captures.clock.monotonic()
            self.series = CallSeries(now)
            self._counts = _Counts(now, captures.slow_ticks)
        leg = self._live.legs.get(leg_id)
        if leg is not None and isinstance(leg.port, RtpPort):
            self.series.add_leg(leg_id, leg.port.jitter)
        if captures.keeps_sound and answered is not None:
            self._listen(leg_id, member, round((next_tick - answered) * 1000, 3))

    def part(self, leg_id: str) -> None:
        """It has left its seat."""
        if self.series is not None:
            self.series.drop_leg(leg_id)
        kept = self._now.pop(leg_id, None)
        if kept is not None:
            self._captures.capture.part(kept.track)
            self._finish(kept)

    def look(self, now: float, late: float) -> None:
        """Read what changes over time; `late`: of the worst tick since the last look."""
        series, live = self.series, self._live
        if series is None:
            return
        if live.streams.keys() != self._streams:
            self._streams = set(live.streams)
            series.playing({key: (one.port.playout, one.port.rate) for key, one in live.streams.items()})
        series.look(now, late)
        if now - self._counts.at >= LATE_EVERY:
            self._tell_late(now)

    def close(self) -> None:
        """The call is over."""
        for leg_id in [*self._now]:
            self.part(leg_id)
        self._describe()
        for leg_id, audio in self.audio().items():
            if leg_id in self._live.trace.legs:
                self._live.trace.legs[leg_id].audio = audio
        page = self.series_page()
        if page is not None and self._captures.keeps_series:
            self._captures.writer.call(lambda: self._save(SERIES, page))
        self._captures.close(self)

    def series_page(self) -> dict[str, Any] | None:
        """See `CallSeries`."""
        answered = self._live.trace.answered
        if self.series is None or answered is None:
            return None
        return self.series.page((self.series.began - answered) * 1000)

    def audio(self) -> dict[str, list[dict[str, Any]]]:
        """See `Captures`."""
        now, found = self._captures.capture.ticks, dict[str, list[dict[str, Any]]]()
        for kept in self._kept:
            samples = kept.ticks(now) * samples_per_frame(kept.rate)
            found.setdefault(kept.leg_id, []).extend(
                {"side": side, "beginMs": kept.begin_ms, "rate": kept.rate, "samples": samples} for side in SIDES
            )
        return found

    def sound(self) -> Callable[[], CallSound]:
        """What there is up to now; what is called may block."""
        captures, rtp = self._captures, dict[str, dict[str, object]]()
        blocks = [*captures.writer.waiting(), *captures.capture.blocks()]
        segments = [one for kept in self._kept for one in kept.segments(captures.capture.ticks, blocks)]
        for leg_id, leg in self._live.legs.items():
            if isinstance(leg.port, RtpPort):
                rtp[leg_id] = leg.port.describe()
        series = self.series_page()
        return lambda: CallSound(segments, series, rtp=rtp)

    # inside -----------------------------------------------------------------------------------------------------

    def _listen(self, leg_id: str, member: Member, begin_ms: float) -> None:
        capture, rate = self._captures.capture, self._live.bridge.rate
        before = [kept for kept in self._kept if kept.leg_id == leg_id]
        if before and before[-1].track.end == capture.ticks:
            kept = before[-1]  # it has only changed its codec
            capture.rejoin(kept.track, member, rate)
        elif len(self._kept) >= MOST_SEGMENTS:
            return
        else:
            number, part = self._number(leg_id), len(before) + 1
            stem, lead = part_name(number, part), -capture.ticks % BLOCK_TICKS * 2 * samples_per_frame(rate)
            files = {side: SoundFile(self.folder / f"{stem}-{side}.wav", rate, lead) for side in SIDES}
            track = capture.join(member, rate, (files["said"], files["heard"]))
            kept = _Kept(leg_id, number, part, begin_ms, rate, track, files)
            self._kept.append(kept)
        self._now[leg_id] = kept
        self._describe()

    def _number(self, leg_id: str) -> int:
        """As the call's page numbers it."""
        known = self._live.trace.legs.get(leg_id)
        return known.number if known is not None else len({kept.leg_id for kept in self._kept}) + 1

    def _finish(self, kept: _Kept) -> None:
        """After the frames that were not handed on yet."""
        capture, writer = self._captures.capture, self._captures.writer
        length = kept.ticks(capture.ticks) * 2 * samples_per_frame(kept.rate)
        for file in kept.files.values():
            capture.after(lambda file=file: writer.call(lambda: writer.finish(file, length)))  # type: ignore[misc]

    def _describe(self) -> None:
        rows = [kept.row() for kept in self._kept]
        if rows:
            self._captures.writer.call(lambda: self._save(TRACKS, {"tracks": rows}))

    def _save(self, name: str, page: Any) -> None:
        """In the thread."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_file(self.folder / name, json.dumps(page).encode())
        except OSError as error:
            log.error("%s cannot be written: %s", self.folder / name, error.strerror or error)

    def _tell_late(self, now: float) -> None:
        """One event for what came late in about a second."""
        counts, slow = self._counts, self._captures.slow_ticks
        ticks, counts.slow_ticks = slow - counts.slow_ticks, slow
        counts.at = now
        for leg_id, leg in self._live.legs.items():
            if not isinstance(leg.port, RtpPort):
                continue
            jitter = leg.port.jitter.counters
            lost, late = counts.legs.get(leg_id, (jitter.lost, jitter.late))
            counts.legs[leg_id] = (jitter.lost, jitter.late)
            if jitter.lost > lost or jitter.late > late:
                self._tell("packets", leg=leg_id, lost=jitter.lost - lost, late=jitter.late - late)
        if ticks:
            self._tell("ticks", ticks=ticks, overMs=round(LATE * 1000))

    def _tell(self, name: str, **detail: Any) -> None:
        if self._counts.told < MOST_LATE:
            self._counts.told += 1
            self._live.note("late", name, **detail)


class Captures:
    """All of a node's. `keeps_sound` False: figures over time only, nothing of what was said;
    `keeps_series` False: nothing once a call is over."""

    def __init__(
        self, clock: Clock, media: MediaClock, root: Path, *, keeps_sound: bool = True, keeps_series: bool = True
    ) -> None:
        self.clock = clock
        self.media = media
        self.root = root
        self.keeps_sound = keeps_sound
        self.keeps_series = keeps_series
        self.writer = SoundWriter()
        self.capture = Capture(self.writer.put, self.writer.full)
        self._live: dict[str, CallCapture] = {}
        self._ending: dict[str, CallCapture] = {}

    @property
    def slow_ticks(self) -> int:
        """Ticks that began over 10 ms late, so far."""
        return sum(self.media.lateness[4:])

    def start(self) -> None:
        """Begin to write."""
        self.writer.start()

    def stop(self, seconds: float = 2.0) -> None:
        """Write what there is. No tick comes any more. Blocks."""
        self.capture.hand_on()
        self.writer.stop(seconds)

    def begin(self, live: LiveCall) -> CallCapture:
        """A call lives."""
        call_id = live.call.call_id
        capture = self._live[call_id] = CallCapture(live, self, self.root / call_id)
        return capture

    def close(self, capture: CallCapture) -> None:
        """It is over; found here until its files are whole."""
        call_id = capture.call_id
        self._live.pop(call_id, None)
        self._ending[call_id] = capture
        self.capture.after(lambda: self.writer.call(lambda: self._gone(call_id)))

    def tick(self) -> None:
        """The tick of all calls is over. Where the grid has slipped since the last one nobody heard anything."""
        slipped = self.media.place - self.capture.ticks
        if slipped:
            self.capture.skip(slipped)
        self.capture.tick()

    def look(self, now: float) -> None:
        """Ten times a second, outside the tick."""
        late, self.media.worst_of_late = self.media.worst_of_late, 0.0
        for capture in self._live.values():
            capture.look(now, late)

    def audio(self, call_id: str) -> dict[str, list[dict[str, Any]]]:
        """What there is of each leg of a live call: `{side, beginMs, rate, samples}`, by leg id."""
        capture = self._live.get(call_id) or self._ending.get(call_id)
        return {} if capture is None else capture.audio()

    def find(self, call_id: str) -> Callable[[], CallSound | None]:
        """What is kept of a call, live or over: to be called where it may block, for a call that is over is read."""
        capture = self._live.get(call_id) or self._ending.get(call_id)
        if capture is not None:
            return capture.sound()
        folder = self.root / call_id
        return lambda: read_folder(folder) if _CALL_ID.fullmatch(call_id) else None

    def _gone(self, call_id: str) -> None:
        """In the thread; removing a key is one step under the interpreter's lock."""
        self._ending.pop(call_id, None)
