"""The leg contract: signalling and media path to one endpoint, and what a leg reports.

A leg raises nothing and calls nothing of its node from inside a tick: what happens to it is put into the
`LegEvents` list that the node drains after every tick and after every network event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from offhook.audio.bridge import Port


@dataclass(frozen=True, slots=True)
class Ringing:
    """The endpoint is ringing."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The endpoint answered."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The endpoint did not take the call; `outcome` names a row of the results table, `detail` says more of it."""

    outcome: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """The endpoint left; `outcome` names a row of the results table, or is empty for an ordinary hang-up."""

    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Dtmf:
    """The endpoint pressed a key: one of 0-9, *, #, A-D. `in_sound`: what it says holds the tones of the key, too."""

    tone: str
    in_sound: bool = False


@dataclass(frozen=True, slots=True)
class KeySent:
    """A key that the endpoint was to hear has been played to its end."""

    key: str


@dataclass(frozen=True, slots=True)
class RateChanged:
    """The endpoint's audio has another rate from now on: it has agreed on another codec."""


@dataclass(frozen=True, slots=True)
class Referred:
    """What became of asking the endpoint to call somebody else; it stays until it is hung up.

    An empty `outcome`: they talk. Else it names a row of the results table; `refused`: the endpoint has called nobody.
    """

    outcome: str = ""
    refused: bool = False
    detail: str = ""


LegEvent = Ringing | Answered | Refused | Ended | Dtmf | KeySent | RateChanged | Referred


@dataclass(frozen=True, slots=True)
class LegEnd:
    """How a call ended, as the endpoint is told."""

    code: int
    sub_code: int
    message: str
    ended_by: str


class Pace:
    """How well the clock keeps its grid, as ports see it: `late` is true in a tick over 10 ms behind."""

    __slots__ = ("late",)

    def __init__(self) -> None:
        self.late = False


class Leg(Protocol):
    """A signalling and media path to one endpoint. Its `port` is put on a bridge once the leg is answered."""

    leg_id: str
    rate: int | None

    @property
    def port(self) -> Port:
        """The leg's place on a bridge."""

    def answer(self, rate: int) -> None:
        """Take the call (an inbound leg), or be told that it is up (an outbound one); `rate` is the bridge's."""

    def send_key(self, key: str) -> None:
        """Have the endpoint hear a key; `KeySent` follows. Keys are played one after another."""

    def drop_keys(self) -> None:
        """Play none of the keys that were not played to their end; no event follows for them."""

    def hang_up(self, end: LegEnd) -> None:
        """Leave: reject when not answered yet, hang up otherwise. No event follows."""
