"""What was said between a caller and a speech model, as text: told to a new session when the old one is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LINES_KEPT: Final = 60
CHARACTERS_KEPT: Final = 8_000
"""Bounds of what is kept and told; the oldest lines go first."""


@dataclass(slots=True)
class _Line:
    by: str
    item_id: str
    text: str
    heard_only: bool = False


class History:
    """Lines of a conversation in order; a line of the model that was cut has what was heard of it."""

    def __init__(self) -> None:
        self._lines: list[_Line] = []

    def add(self, by: str, item_id: str, text: str, *, final: bool) -> None:
        """A piece of an item's words, or all of them."""
        line = self._of(item_id)
        if line is None:
            line = _Line(by, item_id, "")
            self._lines.append(line)
            del self._lines[:-LINES_KEPT]
        if not line.heard_only:
            line.text = (text if final else line.text + text)[:CHARACTERS_KEPT]

    def heard(self, item_id: str, text: str) -> None:
        """The caller heard so much of an item, and no more will be."""
        line = self._of(item_id)
        if line is not None:
            line.text, line.heard_only = text, True

    def text_of(self, item_id: str) -> str:
        """The words of an item so far."""
        line = self._of(item_id)
        return line.text if line is not None else ""

    @property
    def unanswered(self) -> bool:
        """Whether the caller has said something, or a tool has given something, that nobody has answered."""
        return bool(self._lines) and self._lines[-1].by != "agent" and bool(self._lines[-1].text)

    def lines(self) -> list[tuple[str, str]]:
        """("caller", "agent" or "tool", text) in order: the last ones, as far as they fit."""
        told: list[tuple[str, str]] = []
        room = CHARACTERS_KEPT
        for line in reversed(self._lines):
            text = line.text.strip()
            room -= len(text)
            if room < 0:
                break
            if text:
                told.append((line.by, text))
        return told[::-1]

    def _of(self, item_id: str) -> _Line | None:
        return next((line for line in reversed(self._lines) if line.item_id == item_id), None)
