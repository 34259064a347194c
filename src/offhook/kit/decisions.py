"""What an app may do with a call that rings, other than answer it: what an `@app.on_incoming` filter gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Reject:
    """The caller is refused; `reason` is what they are told."""

    reason: Literal["none", "busy", "forbidden"] = "none"


@dataclass(frozen=True, slots=True)
class Redirect:
    """The call rings at `target` instead: a phone number or a raw id."""

    target: str


@dataclass(frozen=True, slots=True)
class Ignore:
    """The call goes on ringing: somebody else answers it."""


Decision: TypeAlias = Reject | Redirect | Ignore | None
"""None: it is answered."""
