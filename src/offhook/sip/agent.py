"""What a session needs of the endpoint that it belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from offhook.sip.auth import Account
from offhook.sip.dialog import Dialog, DialogId
from offhook.sip.events import Event
from offhook.sip.message import Request, Response
from offhook.sip.timers import Timers
from offhook.sip.transaction import Peer, Transaction

if TYPE_CHECKING:
    from offhook.sip.session import Session

Headers = Iterable[tuple[str, str]]


class Agent(Protocol):
    """What a session needs of its endpoint."""

    timers: Timers

    def emit(self, event: Event) -> None:
        """Tell what happened."""

    def send(self, data: bytes, peer: Peer) -> None:
        """Put a message on its way."""

    def via(self, peer: Peer) -> str:
        """A Via with a fresh branch."""

    def contact(self, peer: Peer, *, secure: bool = False) -> str:
        """Our Contact as that peer can reach it; `secure`: for a dialog of sips (RFC 3261 §12.1.1)."""

    def route(self, dialog: Dialog) -> Peer:
        """Where a request of a dialog goes."""

    def begin(self, request: Request, peer: Peer) -> Transaction:
        """A client transaction."""

    def credentials(
        self, request: Request, answer: Response, attempt: int, account: Account | None
    ) -> tuple[str, str] | None:
        """A header that meets a challenge; None when there is none to give, or it was refused already."""

    def known(self, session: Session, dialog: DialogId) -> None:
        """The session is to be found by this dialog id."""

    def forget(self, session: Session) -> None:
        """Nothing of it is left."""

    def chance(self) -> float:
        """From 0 to 1."""
