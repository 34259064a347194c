"""What a SIP session tells its owner, in the order in which it happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from offhook.sip.grammar import Address
    from offhook.sip.session import Session


@dataclass(frozen=True, slots=True)
class Incoming:
    """Somebody calls. `offer` is empty when the description is to come from us.

    `replaces`: the session whose place this one takes, once it is accepted (RFC 3891).
    """

    session: Session
    offer: bytes
    replaces: Session | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """The called side rings (180) or lets something be heard before it answers (183 with a description)."""

    session: Session
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """The called side took our call; `body` is its answer, whether that came now or with an earlier 18x."""

    session: Session
    body: bytes


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Our 2xx has arrived. `body` is their answer when that 2xx made the offer, and empty otherwise.

    `first`: it is the one that took the call; else one to a re-INVITE without an offer, and told for those alone.
    """

    session: Session
    body: bytes
    first: bool = True


@dataclass(frozen=True, slots=True)
class Reoffered:
    """They want the media changed: `Session.reanswer` is to follow. An empty `offer` asks for ours."""

    session: Session
    offer: bytes


@dataclass(frozen=True, slots=True)
class Reanswered:
    """What became of our own re-offer."""

    session: Session
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """An INFO with a body, such as a key press."""

    session: Session
    kind: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Transferred:
    """How a transfer that we asked for goes: SIP status of the new call; 0 when the call ended before it was told.

    `refused`: the status is of the REFER itself, and nobody is called.
    """

    session: Session
    status: int
    reason: str
    final: bool
    refused: bool = False


@dataclass(frozen=True, slots=True)
class TransferAsked:
    """They ask us to call somebody else: `Transfer.decide` is to follow."""

    session: Session
    target: Address


@dataclass(frozen=True, slots=True)
class Over:
    """The session is over. `status` is the SIP status that ended it, 0 for a BYE; `theirs`: they ended it."""

    session: Session
    status: int
    reason: str
    theirs: bool
    contacts: tuple[str, ...] = ()


Event = Incoming | Progress | Answered | Confirmed | Reoffered | Reanswered | Told | Transferred | TransferAsked | Over
