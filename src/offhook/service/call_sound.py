"""CallSound: the sound of one call's legs as kept, for looking at and listening to; of a live call or from a folder.

Everything here may block, so it runs in a thread; an object is a snapshot and is read by one thread at a time. Files of
a folder may be anybody's: names are never taken from them, and what does not fit is left out.
"""

from __future__ import annotations

import json
import math
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from offhook.audio.capture import SIDES, Side
from offhook.audio.pcm import PTIME_MS, RATES, samples_per_frame
from offhook.audio.resample import resample
from offhook.audio.turns import Levels, levels_of
from offhook.audio.wav import sound_offset

TRACKS: Final = "tracks.json"
SERIES: Final = "series.json"
MOST_BINS: Final = 4000
MOST_SECONDS: Final = 600
"""Of sound in one piece."""
COARSE_MS: Final = 2 * PTIME_MS
"""Bins from this length on are made from the index of peaks."""
_MOST_ROWS: Final = 1024
_MOST_TRACKS_BYTES: Final = 1 << 20
_MOST_SERIES_BYTES: Final = 8 << 20
_MOST_POINTS: Final = 4000
_PIECE: Final = 1 << 20  # samples read at once
_MOST_HEADER: Final = 1 << 14
_READ: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_INT16 = np.dtype("<i2")

Samples = npt.NDArray[np.int16]


def part_name(number: int, part: int) -> str:
    """The stem of a leg's files: 01, and 01b, 01c … for where it came back."""
    if part <= 26:
        return f"{number:02d}{'' if part == 1 else chr(ord('a') + part - 1)}"
    return f"{number:02d}-{part}"


@dataclass(frozen=True, slots=True)
class Segment:
    """One side of one leg's stretch on the bridge. Sample n is at `begin_ms` + n * 1000 / `rate` of the call's axis.

    `waiting`: pieces that may not be in the file yet, each with the byte of sound at which it begins.
    """

    leg_id: str
    number: int
    part: int
    side: Side
    begin_ms: float
    rate: int
    samples: int
    path: Path
    waiting: tuple[tuple[int, bytes], ...] = ()

    @property
    def end_ms(self) -> float:
        """Where it ends on the call's axis."""
        return self.begin_ms + self.samples * 1000 / self.rate

    def read(self, first: int, last: int) -> Samples:
        """Samples from `first` up to `last`; silence where nothing was kept."""
        first, last = max(first, 0), min(last, self.samples)
        out = np.zeros(max(last - first, 0), _INT16)
        if not len(out):
            return out
        self._read_file(out, first)
        for place, data in self.waiting:
            begin = place // 2
            piece = np.frombuffer(data, _INT16)
            low, high = max(begin, first), min(begin + len(piece), last)
            if low < high:
                out[low - first : high - first] = piece[low - begin : high - begin]
        return out

    def pieces(self, first: int, multiple: int) -> Iterator[Samples]:
        """All from a sample on, in pieces that are a multiple of so many samples long; a rest is left out."""
        step = _PIECE - _PIECE % multiple
        last = self.samples - (self.samples - first) % multiple
        for at in range(first, last, step):
            yield self.read(at, min(at + step, last))

    def _read_file(self, out: Samples, first: int) -> None:
        """Fill in what the file has. It must be a regular file with the header that we write, or it has nothing."""
        try:
            fd = os.open(self.path, _READ)
        except OSError:
            return
        try:
            offset = _offset(fd, self.rate)
            if offset is None:
                return
            view, place = out.data.cast("B"), offset + 2 * first
            while view and (count := os.preadv(fd, [view], place)) > 0:
                view, place = view[count:], place + count
        except OSError:
            return
        finally:
            os.close(fd)


def _offset(fd: int, rate: int) -> int | None:
    """Where the sound of a file of ours begins, whatever length its header states; None for any other file."""
    return sound_offset(os.pread(fd, _MOST_HEADER, 0), rate) if stat.S_ISREG(os.fstat(fd).st_mode) else None


class _Peaks:
    """The least and the greatest sample of each 20 ms of a segment, and the level in dBFS."""

    __slots__ = ("high", "level", "low")

    def __init__(self) -> None:
        self.low: Samples = np.zeros(0, np.int16)
        self.high: Samples = np.zeros(0, np.int16)
        self.level: Levels = np.zeros(0, np.float32)

    def extend(self, segment: Segment) -> _Peaks:
        """Grown to what there is of the segment now."""
        size = samples_per_frame(segment.rate)
        lows, highs, levels = [self.low], [self.high], [self.level]
        for piece in segment.pieces(len(self.low) * size, size):
            frames = piece.reshape(-1, size)
            lows.append(frames.min(axis=1))
            highs.append(frames.max(axis=1))
            levels.append(levels_of(piece, size))
        grown = _Peaks()
        grown.low, grown.high, grown.level = np.concatenate(lows), np.concatenate(highs), np.concatenate(levels)
        return grown


class PeakIndex:
    """Peaks of segments that were looked at lately: 8 bytes for 20 ms, an hour 1.4 MB; the longest unused go."""

    def __init__(self, most_bytes: int = 32_000_000) -> None:
        self._most = most_bytes
        self._known: OrderedDict[Path, _Peaks] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def of(self, segment: Segment) -> _Peaks:
        """Those of each whole frame of a segment."""
        with self._lock:
            known = self._known.get(segment.path) or _Peaks()
        frames = segment.samples // samples_per_frame(segment.rate)
        if len(known.low) > frames:
            known = _Peaks()  # another file of this name
        if len(known.low) < frames:
            known = known.extend(segment)
            with self._lock:
                before = self._known.pop(segment.path, None)
                self._size += 8 * (len(known.low) - (0 if before is None else len(before.low)))
                self._known[segment.path] = known
                while self._size > self._most and len(self._known) > 1:
                    self._size -= 8 * len(self._known.popitem(last=False)[1].low)
        return known


_INDEX = PeakIndex()


class CallSound:
    """What the legs of a call said and heard."""

    def __init__(
        self,
        segments: Sequence[Segment],
        series: dict[str, Any] | None,
        *,
        rtp: dict[str, dict[str, object]] | None = None,
        index: PeakIndex = _INDEX,
    ) -> None:
        """`rtp`: figures of the RTP legs that there are now, by leg id (`RtpPort.describe`)."""
        self.segments = tuple(segments)
        self.rtp = rtp or {}
        self._series = series
        self._index = index

    def tracks(self) -> list[dict[str, Any]]:
        """What there is: `{legId, number, part, side, beginMs, rate, samples, file}`, in order of joining."""
        return [
            {
                "legId": one.leg_id,
                "number": one.number,
                "part": one.part,
                "side": one.side,
                "beginMs": one.begin_ms,
                "rate": one.rate,
                "samples": one.samples,
                "file": one.path.name,
            }
            for one in self.segments
        ]

    def audio(self) -> dict[str, list[dict[str, Any]]]:
        """What a call's page says of its legs: `{side, beginMs, rate, samples}`, by leg id."""
        found: dict[str, list[dict[str, Any]]] = {}
        for track in self.tracks():
            kept = {key: track[key] for key in ("side", "beginMs", "rate", "samples")}
            found.setdefault(track["legId"], []).append(kept)
        return found

    def series(self) -> dict[str, Any] | None:
        """See `CallSeries.page`; None when nothing was read."""
        return self._series

    def of(self, leg: str, side: str) -> list[Segment]:
        """The stretches of a leg, by its id or its number, in order. ValueError for a side that there is not."""
        if side not in SIDES:
            raise ValueError(f"side {side!r}: use said or heard")
        return [one for one in self.segments if one.side == side and leg in (one.leg_id, str(one.number))]

    def levels(self, segment: Segment) -> Levels:
        """The level of each 20 ms of a segment, in dBFS."""
        return self._index.of(segment).level

    def peaks(self, leg: str, side: str, from_ms: float, to_ms: float, bins: int) -> dict[str, Any] | None:
        """The wave of a stretch: for each bin the least and the greatest sample as -127..127; None for no such leg.

        `from` and `to`: the first bin in which the leg was there, and the first after the last. ValueError names what
        cannot be asked.
        """
        _check_range(from_ms, to_ms)
        if not 1 <= bins <= MOST_BINS:
            raise ValueError(f"bins {bins}: use 1 to {MOST_BINS}")
        segments, bin_ms = self.of(leg, side), (to_ms - from_ms) / bins
        if not segments:
            return None
        low, high = np.zeros(bins, np.int16), np.zeros(bins, np.int16)
        first, last = bins, 0
        for segment in segments:
            covered = self._draw(segment, from_ms, bin_ms, low, high)
            if covered is not None:
                first, last = min(first, covered[0]), max(last, covered[1])
        drawn = np.empty(2 * bins, np.int16)
        drawn[0::2] = low.astype(np.int32) * 127 // 32768
        drawn[1::2] = -(-high.astype(np.int32) * 127 // 32768)
        return {
            "fromMs": from_ms,
            "toMs": to_ms,
            "binMs": bin_ms,
            "rate": segments[0].rate,
            "peaks": drawn.tolist(),
            "from": min(first, last),
            "to": last,
        }

    def pcm(self, leg: str, side: str, from_ms: float, to_ms: float) -> tuple[int, bytes] | None:
        """Rate and PCM16 of a stretch, silence where the leg was not there; `both`: said and heard, interleaved.

        It ends where the last leg's sound does. None for no such leg; ValueError names what cannot be asked.
        """
        _check_range(from_ms, to_ms)
        if side == "both":
            said, heard = self.pcm(leg, "said", from_ms, to_ms), self.pcm(leg, "heard", from_ms, to_ms)
            if said is None or heard is None:
                return None
            pair = np.stack([np.frombuffer(said[1], _INT16), np.frombuffer(heard[1], _INT16)], axis=1)
            return said[0], pair.tobytes()
        segments = self.of(leg, side)
        if not segments:
            return None
        to_ms = min(to_ms, max(one.end_ms for one in self.segments))
        if to_ms - from_ms > MOST_SECONDS * 1000:
            raise ValueError(f"{(to_ms - from_ms) / 1000:.0f} s of sound: ask for {MOST_SECONDS} s at most")
        rate = segments[0].rate
        out = np.zeros(max(round((to_ms - from_ms) * rate / 1000), 0), _INT16)
        for segment in segments:
            place = round((segment.begin_ms - from_ms) * rate / 1000)
            first, last = (at * segment.rate // rate for at in (-place, len(out) - place))
            piece = resample(segment.read(first, last), segment.rate, rate)
            place = max(place, 0)
            piece = piece[: max(len(out) - place, 0)]
            out[place : place + len(piece)] = piece
        return rate, out.tobytes()

    def _draw(
        self, segment: Segment, from_ms: float, bin_ms: float, low: Samples, high: Samples
    ) -> tuple[int, int] | None:
        """Add a segment to the bins; which of them it covers, None: none."""
        coarse = bin_ms >= COARSE_MS
        unit = samples_per_frame(segment.rate) if coarse else 1
        count = segment.samples // unit
        edges = (from_ms + bin_ms * np.arange(len(low) + 1) - segment.begin_ms) * (segment.rate / 1000 / unit)
        covered = np.flatnonzero((edges[1:] > 0) & (edges[:-1] < count))
        if not count or not len(covered):
            return None
        first, last = int(covered[0]), int(covered[-1]) + 1
        places = np.clip(np.floor(edges[first:last]).astype(np.int64), 0, count - 1)
        begin, end = int(places[0]), min(max(math.ceil(edges[last]), int(places[-1]) + 1), count)
        if coarse:
            peaks = self._index.of(segment)
            lows, highs = peaks.low[begin:end], peaks.high[begin:end]
        else:
            lows = highs = segment.read(begin, end)
        bins = slice(first, last)
        low[bins] = np.minimum(low[bins], np.minimum.reduceat(lows, places - begin))
        high[bins] = np.maximum(high[bins], np.maximum.reduceat(highs, places - begin))
        return first, last


def _check_range(from_ms: float, to_ms: float) -> None:
    if not (math.isfinite(from_ms) and math.isfinite(to_ms) and abs(from_ms) < 1e12 and from_ms < to_ms < 1e12):
        raise ValueError(f"from {from_ms} to {to_ms} ms: the second must be greater than the first")


# kept calls ---------------------------------------------------------------------------------------------------------


def read_folder(folder: Path) -> CallSound | None:
    """The sound of a call that is over; None when the folder has none."""
    page = _read_json(folder / TRACKS, _MOST_TRACKS_BYTES)
    rows = page.get("tracks") if isinstance(page, dict) else None
    segments: list[Segment] = []
    files = set[Path]()
    for row in (rows if isinstance(rows, list) else [])[:_MOST_ROWS]:
        pair = _read_row(folder, row)
        if not files.intersection(one.path for one in pair):  # each file is of one row, and is read once
            segments += pair
            files.update(one.path for one in pair)
    series = _read_series(_read_json(folder / SERIES, _MOST_SERIES_BYTES))
    return CallSound(segments, series) if segments or series is not None else None


def audio_of_folder(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What is kept of the sound of a call that is over, as `CallSound.audio`."""
    sound = read_folder(folder)
    return {} if sound is None else sound.audio()


def _read_row(folder: Path, row: Any) -> list[Segment]:
    """Both sides of a row of `tracks.json`; none when it does not fit."""
    if not isinstance(row, dict):
        return []
    leg_id, number, part, begin, rate = (row.get(key) for key in ("legId", "number", "part", "beginMs", "rate"))
    fits = (
        isinstance(leg_id, str)
        and len(leg_id) <= 256
        and _whole(number, 1, 9999)
        and _whole(part, 1, 9999)
        and isinstance(begin, int | float)
        and math.isfinite(begin)
        and abs(begin) < 1e12
        and rate in RATES
    )
    if not fits:
        return []
    paths = {side: folder / f"{part_name(number, part)}-{side}.wav" for side in SIDES}  # type: ignore[arg-type]
    longest = max(_samples_of(path, rate) for path in paths.values())  # type: ignore[arg-type]
    samples = row.get("samples")
    if not _whole(samples, 0, longest):
        samples = longest  # the process ended before it could be told
    return [
        Segment(leg_id, number, part, side, float(begin), rate, samples, path)  # type: ignore[arg-type]
        for side, path in paths.items()
    ]


def _samples_of(path: Path, rate: int) -> int:
    """How long a file is."""
    try:
        fd = os.open(path, _READ)
    except OSError:
        return 0
    try:
        offset = _offset(fd, rate)
        return 0 if offset is None else max(os.fstat(fd).st_size - offset, 0) // 2
    except OSError:
        return 0
    finally:
        os.close(fd)


def _whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _read_series(page: Any) -> dict[str, Any] | None:
    """A page as `CallSeries` writes it, with nothing else in it; None for anything else."""
    if not isinstance(page, dict) or not _whole(page.get("stepMs"), 1, 1 << 32):
        return None
    start = page.get("startMs")
    if not isinstance(start, int | float) or not math.isfinite(start):
        return None

    def lines(found: Any, names: tuple[str, ...]) -> dict[str, list[Any]]:
        return {name: _numbers(found.get(name)) for name in names} if isinstance(found, dict) else {}

    def each(found: Any, names: tuple[str, ...]) -> dict[str, dict[str, list[Any]]]:
        known = list(found.items())[:_MOST_ROWS] if isinstance(found, dict) else []
        return {str(key)[:256]: lines(value, names) for key, value in known}

    return {
        "stepMs": page["stepMs"],
        "startMs": start,
        "legs": each(page.get("legs"), ("jitterMs", "lost", "late")),
        "streams": each(page.get("streams"), ("queuedMs",)),
        "clock": lines(page.get("clock"), ("lateMs",)),
    }


def _numbers(found: Any) -> list[int | None]:
    values = found[:_MOST_POINTS] if isinstance(found, list) else []
    return [value if _whole(value, 0, 1 << 32) else None for value in values]


def _read_json(path: Path, most: int) -> Any:
    """The JSON of a regular file of ours; None for anything else."""
    try:
        fd = os.open(path, _READ)
    except OSError:
        return None
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > most:
            return None
        try:
            return json.loads(file.read(most + 1))
        except (ValueError, RecursionError, OSError):
            return None
