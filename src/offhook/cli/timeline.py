"""A call as one picture: both waveforms and every event of the trace on one time axis, as SVG text.

Written by hand, without a drawing library. Labels never overlap: they are placed from the last event to the first,
each in the highest row that is free, so no leader line crosses a label either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from offhook.cli.voice import Samples

WIDTH = 1200
LEFT, RIGHT = 132, 216
PLOT = WIDTH - LEFT - RIGHT
WAVE_TOP, WAVE_HEIGHT, WAVE_SPACE = 62, 112, 14
AXIS_HEIGHT = 30
ROW, LANE_PAD, LANE_SPACE = 16, 10, 8
CHAR = 6.5
MAX_ROWS = 14
MAX_HINT = 200
MAX_NAME = 44

LANES = (
    ("leg", "phone line", "#6d4c9f"),
    ("rest", "app's requests", "#a35200"),
    ("callback", "events to the app", "#1f6f8b"),
    ("delivery", "app's answers", "#7a6a2a"),
    ("stream", "stream", "#2e6b34"),
    ("media", "media", "#5b6470"),
    ("keys", "keys, stop", "#b3261e"),
)
_LANE_OF = {"dtmf": "keys", "stopAudio": "keys", "call": "leg"}
_INK, _QUIET, _GRID, _PAPER = "#20242a", "#69717c", "#dfe3e8", "#fcfcfb"
_SPOKEN, _HEARD = "#3d8b5a", "#2b6cb0"


@dataclass(frozen=True)
class Picture:
    """What is drawn: both recordings start at the answer; `figures` are the rows of the panel on the right."""

    title: str
    rate: int
    spoken: Samples
    heard: Samples
    events: Sequence[Mapping[str, Any]]
    figures: Sequence[tuple[str, str]] = ()


@dataclass
class _Mark:
    """One event (or several at the same place) with its label and the row it was given."""

    x: float
    text: str
    when: str
    hint: str
    row: int = 0

    @property
    def label(self) -> str:
        return f"{self.text}  {self.when}"


@dataclass
class _Axis:
    """Milliseconds from the answer to pixels."""

    first_ms: float
    last_ms: float
    ticks: list[float] = field(default_factory=list)

    def x(self, at_ms: float) -> float:
        return LEFT + (at_ms - self.first_ms) / (self.last_ms - self.first_ms) * PLOT


def draw(picture: Picture) -> str:
    """The whole SVG document, 1200 px wide."""
    axis = _axis(picture)
    lanes, bottom = _lanes(picture, axis)
    axis_y = WAVE_TOP + 2 * WAVE_HEIGHT + WAVE_SPACE
    height = bottom + 14
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
        f'height="{height:.0f}" font-family="DejaVu Sans, Verdana, Arial, sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height:.0f}" fill="{_PAPER}"/>',
        _text(16, 30, picture.title, size=17, weight="bold"),
        *_grid(axis, axis_y, bottom),
        *_wave("caller speaks", picture.spoken, picture, axis, WAVE_TOP, _SPOKEN),
        *_wave("caller hears", picture.heard, picture, axis, WAVE_TOP + WAVE_HEIGHT + WAVE_SPACE, _HEARD),
        *lanes,
        *_panel(picture.figures),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _axis(picture: Picture) -> _Axis:
    times = [float(event.get("atMs", 0.0)) for event in picture.events]
    longest = max(len(picture.spoken), len(picture.heard)) * 1000 / picture.rate
    first, last = min([0.0, *times]), max([longest, 1000.0, *times])
    axis = _Axis(first - (last - first) * 0.01, last)
    step = next((size for size in (1, 2, 5, 10, 30, 60, 300, 600) if (last - first) / 1000 / size <= 24), 3600)
    begin = int(np.ceil(axis.first_ms / 1000 / step)) * step
    axis.ticks = [float(at) for at in range(begin, int(last // 1000) + 1, step)]
    return axis


def _ticks(axis: _Axis, top: float, height: float) -> Iterator[str]:
    for tick in axis.ticks:
        x = axis.x(tick * 1000)
        yield f'<path d="M{x:.1f} {top:.1f}v{height:.1f}" stroke="{_GRID}"/>'
    yield f'<path d="M{axis.x(0.0):.1f} {top:.1f}v{height:.1f}" stroke="{_QUIET}" stroke-dasharray="4 3"/>'


def _grid(axis: _Axis, axis_y: float, bottom: float) -> Iterator[str]:
    for tick in axis.ticks:
        x = axis.x(tick * 1000)
        yield f'<path d="M{x:.1f} {WAVE_TOP}V{bottom:.1f}" stroke="{_GRID}"/>'
        yield _text(x, axis_y + 18, f"{tick:g} s", anchor="middle", fill=_QUIET)
    yield f'<path d="M{LEFT} {axis_y + 3}H{LEFT + PLOT}" stroke="{_QUIET}"/>'
    x = axis.x(0.0)
    yield f'<path d="M{x:.1f} {WAVE_TOP - 8}V{bottom:.1f}" stroke="{_QUIET}" stroke-dasharray="4 3"/>'
    yield _text(x + 4, WAVE_TOP - 3, "answered", fill=_QUIET)


def _wave(name: str, samples: Samples, picture: Picture, axis: _Axis, top: float, fill: str) -> Iterator[str]:
    middle = top + WAVE_HEIGHT / 2
    yield _text(16, middle + 4, name, weight="bold", fill=fill)
    end = axis.x(len(samples) * 1000 / picture.rate)
    yield f'<path d="M{axis.x(0.0):.1f} {middle:.1f}H{end:.1f}" stroke="{fill}" stroke-width="1"/>'
    columns = int(end - axis.x(0.0))
    if columns < 2 or len(samples) < columns:
        return
    loudest = max(int(np.abs(line.astype(np.int32)).max(initial=0)) for line in (picture.spoken, picture.heard))
    scale = (WAVE_HEIGHT / 2 - 3) / max(loudest, 328)
    edges = np.linspace(0, len(samples), columns, endpoint=False).astype(int)
    upper = middle - np.maximum.reduceat(samples, edges).astype(float) * scale
    lower = middle - np.minimum.reduceat(samples, edges).astype(float) * scale
    xs = np.linspace(axis.x(0.0), end, columns)
    there = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, upper, strict=True))
    back = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs[::-1], lower[::-1], strict=True))
    yield f'<polygon points="{there} {back}" fill="{fill}" stroke="{fill}" stroke-width="0.4"/>'


def _lanes(picture: Picture, axis: _Axis) -> tuple[list[str], float]:
    parts: list[str] = []
    y = WAVE_TOP + 2 * WAVE_HEIGHT + WAVE_SPACE + AXIS_HEIGHT
    known = {kind for kind, _, _ in LANES}
    for kind, title, color in LANES:
        events = [event for event in picture.events if _lane_of(event, known) == kind]
        if not events:
            continue
        marks = _marks(events, axis)
        rows = _place(marks)
        height = rows * ROW + LANE_PAD
        parts.append(
            f'<rect x="{LEFT}" y="{y:.1f}" width="{WIDTH - LEFT - 16}" height="{height}" fill="{_tint(color)}"/>'
        )
        parts.append(_text(16, y + 17, title, weight="bold", fill=color))
        parts.extend(_ticks(axis, y, height))
        parts.extend(_leader(mark, y, color) for mark in marks)
        for mark in marks:
            parts.extend(_draw_mark(mark, y, color))
        y += height + LANE_SPACE
    return parts, y


def _lane_of(event: Mapping[str, Any], known: set[str]) -> str:
    kind = str(event.get("kind", "media"))
    kind = _LANE_OF.get(kind, kind)
    return kind if kind in known else "media"


def _label(event: Mapping[str, Any]) -> str:
    """An event's name with the one detail that tells how it went."""
    name, detail = str(event.get("name", "?")), event.get("detail") or {}
    if event.get("kind") == "call":
        name = f"call {name}"
    if event.get("kind") == "dtmf":
        name = f"key {detail.get('tone', '')}"
    if event.get("kind") in ("rest", "delivery"):
        name = f"{name} {detail.get('status') or detail.get('error') or ''}"
    if detail.get("endedBy"):
        name = f"{name} by the {detail['endedBy']}"
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"


def _marks(events: Sequence[Mapping[str, Any]], axis: _Axis) -> list[_Mark]:
    """Events in order of time; equal names closer than three pixels become one mark with a count."""
    marks: list[_Mark] = []
    counts: list[tuple[str, int]] = []
    for event in sorted(events, key=lambda each: float(each.get("atMs", 0.0))):
        at, name = float(event.get("atMs", 0.0)), _label(event)
        x = axis.x(at)
        if marks and counts[-1][0] == name and x - marks[-1].x < 3:
            counts[-1] = (name, counts[-1][1] + 1)
            marks[-1].text = f"{name} ×{counts[-1][1]}"
            continue
        hint = ", ".join(f"{key}: {value}" for key, value in (event.get("detail") or {}).items() if _short(value))
        marks.append(_Mark(x, name, f"{at / 1000:.3f}", hint))
        counts.append((name, 1))
    return marks


def _short(value: object) -> bool:
    """Whether a detail is no body and no message, which would fill the picture."""
    return not isinstance(value, dict | list) and len(str(value)) <= MAX_HINT


def _place(marks: Sequence[_Mark]) -> int:
    """Gives every mark a row and returns how many rows there are; beyond the last row a mark has no label."""
    starts: list[float] = []
    for mark in reversed(marks):
        end = mark.x + 8 + len(mark.label) * CHAR
        row = next((index for index, start in enumerate(starts) if end < start), len(starts))
        if row == len(starts) and row >= MAX_ROWS:
            mark.row = -1
            continue
        if row == len(starts):
            starts.append(mark.x)
        starts[row] = mark.x
        mark.row = row
    return max(1, len(starts))


def _leader(mark: _Mark, top: float, color: str) -> str:
    bottom = top + LANE_PAD / 2 + max(0, mark.row) * ROW + ROW / 2
    return f'<path d="M{mark.x:.1f} {top:.1f}V{bottom:.1f}" stroke="{color}" stroke-opacity="0.55"/>'


def _draw_mark(mark: _Mark, top: float, color: str) -> Iterator[str]:
    hint = f"<title>{_clean(mark.hint)}</title>" if mark.hint else ""
    if mark.row < 0:
        yield f'<circle cx="{mark.x:.1f}" cy="{top + 3:.1f}" r="2.5" fill="{color}">{hint}</circle>'
        return
    y = top + LANE_PAD / 2 + mark.row * ROW + ROW / 2
    width = len(mark.label) * CHAR
    yield (
        f'<rect x="{mark.x + 5:.1f}" y="{y - ROW / 2 + 1:.1f}" width="{width:.1f}" height="{ROW - 2}" '
        f'fill="{_tint(color)}"/>'
    )
    yield f'<circle cx="{mark.x:.1f}" cy="{y:.1f}" r="3" fill="{color}">{hint}</circle>'
    yield _text(mark.x + 7, y + 4, mark.text, after=mark.when)


def _panel(figures: Sequence[tuple[str, str]]) -> Iterator[str]:
    x = WIDTH - RIGHT + 22
    for index, (name, value) in enumerate(figures):
        y = WAVE_TOP + 16 + index * 22
        yield _text(x, y, name, fill=_QUIET)
        yield _text(WIDTH - 18, y, value, anchor="end", weight="bold")


def _tint(color: str) -> str:
    """The colour of a lane's ground: a little of its own on paper, opaque, so that labels hide the lines below."""
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(252 + (part - 252) * 0.07):02x}" for part in (red, green, blue))


def _clean(text: str) -> str:
    """Text for XML, which has no place for control characters."""
    return escape("".join(char if char.isprintable() else "?" for char in text))


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 11,
    anchor: str = "start",
    weight: str = "normal",
    fill: str = _INK,
    after: str = "",
) -> str:
    quiet = f' <tspan fill="{_QUIET}" dx="3">{_clean(after)}</tspan>' if after else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor={quoteattr(anchor)} font-weight="{weight}" '
        f'fill="{fill}">{_clean(text)}{quiet}</text>'
    )
