"""A call for people, as tables in a terminal. Its texts may be anybody's: what moves the cursor is not printed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from offhook.cli.report import harmless
from offhook.wire.turns import SPANS

MAX_DETAIL = 400
_WIDE = 2000
"""Columns where no terminal sets them: a line of a pipe or a file is one event."""
MAX_PARTY = 24
_HIDDEN = ("leg", "connection", "text", "body", "requestBody", "responseBody")


def show_rows(rows: Iterable[Mapping[str, Any]]) -> None:
    """A list of calls, one a line."""
    drawn = _table("id", "began (UTC)", "from", "to", "state", "length", "events")
    for row in rows:
        length = row["durationMs"]
        cells = (
            row["callId"],
            str(row["startedAt"])[:19].replace("T", " "),
            _known_as(row["from"]),
            _known_as(row["to"]),
            row["state"],
            "-" if length is None else f"{length / 1000:.1f} s",
            row["events"],
        )
        drawn.add_row(*(Text(harmless(cell)) for cell in cells))
    _print(drawn)


def show_call(page: Mapping[str, Any], figures: Any) -> None:
    """A call: who, when and how, its figures, its legs, what happened."""
    _print(_header(page))
    if isinstance(figures, Mapping) and figures:
        _print(_figures(figures))
    if page["legs"]:
        _print(_legs(page["legs"]))
    if turns := [event for event in page["events"] if event["kind"] == "turn"]:
        _print(_turns(turns))
    _print(_events(page["events"], {leg["legId"]: leg["number"] for leg in page["legs"]}))


def _header(page: Mapping[str, Any]) -> Table:
    result = page["result"] or {}
    ended = f"{result.get('code')}/{result.get('subCode')} {result.get('message')}" if result else "-"
    if page["endedBy"]:
        ended = f"by the {page['endedBy']}: {ended}"
    rows = [
        ("call", page["callId"]),
        ("connections", ", ".join(page["callConnectionIds"]) or "-"),
        ("from", _party(page["from"])),
        ("to", _party(page["to"])),
        ("began", page["startedAt"]),
        ("answered", page["answeredAt"] or "-"),
        ("ended", page["endedAt"] or page["state"]),
        ("how", ended),
        ("rate", f"{page['rate']} Hz" if page["rate"] else "-"),
    ]
    if page["interrupted"]:
        rows.append(("note", "its node ended while it was live"))
    if page["droppedEvents"]:
        rows.append(("left out", f"{page['droppedEvents']} events"))
    drawn = Table(show_header=False, box=None, pad_edge=False)
    drawn.add_column(style="dim", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in rows:
        drawn.add_row(Text(name), Text(harmless(value)))
    return drawn


def _figures(figures: Mapping[str, Any]) -> Table:
    """The figures that are measured; how, is for the page and for --json."""
    drawn = _table("figure", "value")
    rows = figures.get("figures")
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, Mapping):
            value = row.get("value")
            shown = "-" if value is None else f"{_short(value)} {row.get('unit') or ''}".strip()
            drawn.add_row(Text(harmless(row.get("label") or row.get("name") or "")), Text(harmless(shown)))
    return drawn


def _legs(legs: Sequence[Mapping[str, Any]]) -> Table:
    drawn = _table("leg", "who", "kind", "joined", "left", "sound")
    for leg in legs:
        sound = sum(track["samples"] / max(track["rate"], 1) for track in leg["audio"] if track["side"] == "said")
        cells = (
            leg["number"],
            _party(leg),
            leg["kind"],
            _seconds(leg["joinedMs"]),
            _seconds(leg["leftMs"]),
            f"{sound:.1f} s" if sound else "-",
        )
        drawn.add_row(*(Text(harmless(cell)) for cell in cells))
    return drawn


def _turns(turns: Iterable[Mapping[str, Any]]) -> Table:
    """What the app told of its turns (docs/kit.md, "Telemetry"): seconds of the call, and spans in ms that add up."""
    drawn = _table("turn", "what", "outcome", "from", *SPANS, "response", "heard ms", "± ms")
    for column in drawn.columns[3:]:
        column.justify = "right"
    for event in turns:
        detail = event["detail"]
        spans = detail.get("spans")
        moments = (detail.get(name) for name in ("stoppedMs", "detectedMs", "audioMs"))
        begin = next((at for at in moments if isinstance(at, int | float)), None)
        cells = [
            detail.get("number"),
            detail.get("turn"),
            event["name"],
            _seconds(begin),
            *((spans.get(name) if isinstance(spans, Mapping) else None) for name in SPANS),
            *(detail.get(name) for name in ("responseMs", "heardMs", "errorMs")),
        ]
        drawn.add_row(*(Text(harmless("-" if cell is None else _short(cell))) for cell in cells))
    return drawn


def _events(events: Iterable[Mapping[str, Any]], numbers: Mapping[str, int]) -> Table:
    drawn = _table("seq", "s", "kind", "name", "leg", "detail")
    drawn.columns[1].justify = "right"
    for event in events:
        detail = event["detail"]
        words = [
            f"{name}={_short(value)}" for name, value in detail.items() if name not in _HIDDEN and value is not None
        ]
        if isinstance(detail.get("text"), str):
            words.append(detail["text"].partition("\r\n")[0])
        cells = (
            event["seq"],
            _seconds(event["atMs"]),
            event["kind"],
            event["name"],
            numbers.get(event["leg"] or "", ""),
            " ".join(words),
        )
        drawn.add_row(*(Text(harmless(cell)) for cell in cells))
    return drawn


def _party(party: Mapping[str, Any]) -> str:
    name = party.get("displayName")
    return f"{party['rawId'] or '-'}{f' ({name})' if name else ''}"


def _known_as(party: Mapping[str, Any]) -> str:
    """A party in a list: its name, its number, or both ends of a long id."""
    text = str(party.get("displayName") or party["rawId"] or "-").removeprefix("4:")
    return text if len(text) <= MAX_PARTY else f"{text[:6]}…{text[7 - MAX_PARTY :]}"


def _seconds(ms: float | None) -> str:
    return "-" if ms is None else f"{ms / 1000:.3f}"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_DETAIL else text[: MAX_DETAIL - 1] + "…"


def _table(*heads: str) -> Table:
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        drawn.add_column(head, overflow="fold", no_wrap=head in ("id", "seq", "s", "kind", "leg"))
    return drawn


def _print(drawn: Table) -> None:
    console = Console(highlight=False, markup=False, soft_wrap=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _WIDE
    console.print(drawn)
    console.print()
