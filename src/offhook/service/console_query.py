"""The parameters of a console request: each is checked, and one that there is not is refused, not overlooked."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Final

from aiohttp import web

from offhook.service.console_guard import Problem, invalid

MOST_ID: Final = 200
"""Characters of the id of a call, a connection or a leg."""


class Query:
    """The query of a request. Every method raises the `Problem` that the asker is told, with the parameter's name."""

    def __init__(self, request: web.Request, *known: str) -> None:
        for name in request.query:
            if name not in known:
                there = f"use {', '.join(known)}" if known else "there are none"
                raise invalid(f"There is no parameter {name[:40]!r} here: {there}.")
            if len(request.query.getall(name)) > 1:
                raise invalid(f"{name} is given more than once.")
        self._values = request.query

    def text(self, name: str, most: int = MOST_ID) -> str:
        """A text, empty when it is not given."""
        found = self._values.get(name, "")
        if len(found) > most:
            raise invalid(f"{name} is longer than {most} characters.")
        return found

    def one_of(self, name: str, options: Collection[str], *, needed: bool = True) -> str:
        """One of some words; empty when it is neither given nor needed."""
        found = self._values.get(name, "")
        if found in options or not (found or needed):
            return found
        raise invalid(f"{name} must be {' or '.join(options)}, not {found[:40]!r}.")

    def whole(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number."""
        found = self._values.get(name)
        if found is None and default is not None:
            return default
        return checked_whole(name, found or "", low, high)

    def number(self, name: str, low: float, high: float) -> float:
        """A number that must be given."""
        found = self._values.get(name, "")
        try:
            value = float(found)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise invalid(f"{name} must be a number from {low:g} to {high:g}, not {found[:40]!r}.")
        return value


def checked_whole(name: str, text: str, low: int, high: int) -> int:
    """A whole number of plain digits."""
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and low <= int(text) <= high):
        raise invalid(f"{name} must be a whole number from {low} to {high}, not {text[:40]!r}.")
    return int(text)


def checked_id(request: web.Request) -> str:
    """The id in a path."""
    found = request.match_info["id"]
    if len(found) > MOST_ID:
        raise Problem(404, "8522", f"An id has at most {MOST_ID} characters.")
    return found
