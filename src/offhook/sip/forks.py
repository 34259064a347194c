"""The sides of a call of ours that answer it before one of them takes it (RFC 3261 §§12.1.2, 13.2.2.1; RFC 3262 §5)."""

from __future__ import annotations

from offhook.sip.dialog import Dialog
from offhook.sip.message import Request, Response, tag
from offhook.sip.transaction import Peer

MOST = 16
"""Sides that are told apart; what further ones say is passed over until one of them takes the call."""


class Forks:
    """By the To tag of each side: its early dialog, and what it has said of its media."""

    def __init__(self) -> None:
        self._dialogs: dict[str, Dialog] = {}
        self._answers: dict[str, bytes] = {}
        self._settled: set[str] = set()

    @property
    def dialogs(self) -> list[Dialog]:
        """Every early dialog, the oldest first."""
        return [*self._dialogs.values()]

    def get(self, to_tag: str) -> Dialog | None:
        """The early dialog of a side."""
        return self._dialogs.get(to_tag)

    def heard(self, invite: Request, answer: Response, peer: Peer) -> Dialog | None:
        """The early dialog of a provisional answer, begun if need be; None without a tag, or for one side too many."""
        to_tag = tag(answer, "to")
        if to_tag and to_tag not in self._dialogs and len(self._dialogs) < MOST:
            self._dialogs[to_tag] = Dialog.of_response(invite, answer, peer)
        return self._dialogs.get(to_tag)

    def described(self, to_tag: str, body: bytes, *, settled: bool) -> None:
        """A side has described its media. The first description counts (§13.2.1); one that is `settled`, because it
        came reliably, before any other."""
        if body and (to_tag not in self._answers or (settled and to_tag not in self._settled)):
            self._answers[to_tag] = body
        if body and settled:
            self._settled.add(to_tag)

    def changed(self, to_tag: str, body: bytes) -> None:
        """What a side has described anew, by an UPDATE that we agreed to (RFC 3311 §5.2)."""
        self._answers[to_tag] = body

    def answer(self, to_tag: str) -> bytes:
        """What counts as a side's answer when its 2xx has no description; empty without any."""
        return self._answers.get(to_tag, b"")

    def settled(self, to_tag: str) -> bool:
        """Whether offer and answer are complete with a side, so that either may offer anew (RFC 3311 §5.1)."""
        return to_tag in self._settled
