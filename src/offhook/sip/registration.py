"""Our registration with a trunk: made, kept fresh, tried again, taken back (RFC 3261 §10.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from offhook.errors import SipError
from offhook.sip.auth import Account
from offhook.sip.grammar import Address, Uri
from offhook.sip.message import Request, Response, addresses, request
from offhook.sip.timers import Timer, Timers
from offhook.sip.transaction import Peer, Transaction

EXPIRES = 600
"""What we ask for, in seconds."""
LEAST_RETRY = 15.0
MOST_RETRY = 900.0
"""Seconds between tries that fail: doubled each time, up to the latter."""


class Registrant(Protocol):
    """What a registration needs of its endpoint."""

    timers: Timers

    def via(self, peer: Peer) -> str:
        """A Via with a fresh branch."""

    def contact(self, peer: Peer, user: str | None = None) -> str:
        """Our Contact as that peer can reach it, with this user: calls from there come to it."""

    def begin(self, request: Request, peer: Peer) -> Transaction:
        """A client transaction."""

    def credentials(
        self, request: Request, answer: Response, attempt: int, account: Account | None
    ) -> tuple[str, str] | None:
        """A header that meets a challenge."""


@dataclass(frozen=True, slots=True)
class RegistrationState:
    """How it stands. `until` is when it runs out, `retry_at` when it is tried again; reason and fix are for people."""

    registered: bool
    status: int
    reason: str
    until: float = 0.0
    retry_at: float = 0.0


class Registration:
    """One account at one registrar. `on_change` hears each outcome."""

    def __init__(
        self,
        agent: Registrant,
        record: Uri,
        registrar: Uri,
        peer: Peer,
        account: Account | None,
        words: tuple[str, str],
        on_change: Callable[[RegistrationState], None],
    ) -> None:
        """`record` is the address of record, `registrar` the Request-URI; `words`: Call-ID and tag, for good."""
        self.state = RegistrationState(False, 0, "not tried yet")
        self.peer = peer
        self._agent = agent
        self._record = record
        self._registrar = registrar
        self._account = account
        self._call_id, self._tag = words
        self._on_change = on_change
        self._sequence = 0
        self._expires = EXPIRES
        self._failures = 0
        self._timer: Timer | None = None
        self._leaving = False
        self._round = 0

    def start(self, now: float) -> None:
        """Register now, or anew."""
        if not self._leaving:
            self._send(now, self._expires)

    def stop(self, now: float) -> None:
        """Take it back; nothing is tried any more."""
        self._leaving = True
        if self._timer is not None:
            self._timer.cancel()
        if self.state.registered:
            self._send(now, 0)

    def lost(self, now: float) -> None:
        """The connection to the registrar is gone, and with it the way back: register anew (RFC 5626 §4.4)."""
        if not self._leaving and self.state.registered:
            self._failed(503, "the connection is gone", now, None)

    # inside -----------------------------------------------------------------------------------------------------

    def _send(self, now: float, expires: int, attempt: int = 1, credential: tuple[str, str] | None = None) -> None:
        self._sequence += 1
        self._round += 1
        this, peer = self._round, self.peer
        headers = [
            ("Via", self._agent.via(peer)),
            ("Max-Forwards", "70"),
            ("From", str(Address(self._record).tagged(self._tag))),
            ("To", str(Address(self._record))),
            ("Call-ID", self._call_id),
            ("CSeq", f"{self._sequence} REGISTER"),
            ("Contact", self._agent.contact(peer, self._record.user)),
            ("Expires", str(expires)),
        ]
        if credential is not None:
            headers.append(credential)
        register = request("REGISTER", self._registrar, headers)
        transaction = self._agent.begin(register, peer)

        def answered(answer: Response, at: float) -> None:
            if this == self._round and answer.status_code >= 200:
                self._answered(register, answer, expires, attempt, at)

        def problem(what: str, at: float) -> None:
            if this == self._round and expires:
                self._failed(408 if what == "timeout" else 503, f"no answer: {what}", at, None)

        transaction.on_response, transaction.on_problem = answered, problem
        transaction.start(now)

    def _answered(self, register: Request, answer: Response, expires: int, attempt: int, now: float) -> None:
        status = answer.status_code
        if status in (401, 407):
            header = self._agent.credentials(register, answer, attempt, self._account)
            if header is not None:
                self._send(now, expires, attempt + 1, header)
                return
        if not expires:
            self._tell(RegistrationState(False, status, "taken back"))
        elif status < 300:
            self._failures = 0
            granted = self._granted(answer, expires)
            # A refresh needs time for its own repetitions; short registrations are refreshed half-way.
            self._plan(now + (granted - 32 if granted > 120 else granted / 2))
            self._tell(RegistrationState(True, status, "registered", until=now + granted))
        elif status == 423 and (least := _number(answer, "min-expires")) and self._expires < least <= 86400:
            self._expires = least
            self._send(now, least)
        else:
            self._failed(status, answer.reason_phrase, now, _number(answer, "retry-after"))

    def _granted(self, answer: Response, asked: int) -> int:
        """For how long: the Contact's own figure, or the header's, or what we asked for (§10.2.4)."""
        mine = self._agent.contact(self.peer, self._record.user).strip("<>").partition(";")[0]
        try:
            contacts = addresses(answer, "contact")
        except SipError:
            contacts = []
        for contact in contacts:
            value = contact.params.get("expires") or ""
            same = str(Uri(contact.uri.scheme, contact.uri.user, contact.uri.host, contact.uri.port)) == mine
            if (same or len(contacts) == 1) and value.isascii() and value.isdigit():
                return max(1, min(int(value), 86400))
        return max(1, min(_number(answer, "expires") or asked, 86400))

    def _failed(self, status: int, reason: str, now: float, wait: int | None) -> None:
        self._failures += 1
        pause = min(LEAST_RETRY * 2 ** min(self._failures - 1, 10), MOST_RETRY)
        if wait is not None:
            pause = max(pause, min(float(wait), 4 * MOST_RETRY))
        if self._leaving:
            return
        self._plan(now + pause)
        self._tell(RegistrationState(False, status, reason, retry_at=now + pause))

    def _plan(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._agent.timers.start(when, self.start)

    def _tell(self, state: RegistrationState) -> None:
        self.state = state
        self._on_change(state)


def _number(answer: Response, name: str) -> int | None:
    text = (answer.headers.get_first(name) or "").partition(";")[0].partition("(")[0].strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None
