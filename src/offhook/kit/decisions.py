"""What an app may do with a call that rings, other than answer it: what an `@app.on_incoming` filter gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from offhook.errors import WireError
from offhook.wire.identifiers import resolve_target

Reason: TypeAlias = Literal["none", "busy", "forbidden"]
_REASONS: Final = get_args(Reason)


@dataclass(frozen=True, slots=True)
class Reject:
    """The caller is refused; `reason` is what they are told. WireError for another."""

    reason: Reason = "none"

    def __post_init__(self) -> None:
        if self.reason not in _REASONS:
            raise WireError(f"Reject({self.reason!r}): a reason is one of {', '.join(_REASONS)}", "reason")


@dataclass(frozen=True, slots=True)
class Redirect:
    """The call rings at `target` instead: a phone number or a raw id. WireError for what is neither."""

    target: str

    def __post_init__(self) -> None:
        resolve_target(self.target)


@dataclass(frozen=True, slots=True)
class Ignore:
    """The call goes on ringing: somebody else answers it."""


Decision: TypeAlias = Reject | Redirect | Ignore | None
"""None: it is answered."""
