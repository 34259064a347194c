"""Changing a call that is up: re-INVITE and UPDATE from either side, one at a time (RFC 3261 §14, RFC 3311)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from offhook.sip.body import description, unreadable
from offhook.sip.capabilities import ALLOW, SUPPORTED
from offhook.sip.events import Reanswered, Reoffered
from offhook.sip.message import Request, Response, cseq, response, tag
from offhook.sip.sdp import KIND
from offhook.sip.session_timer import MIN_SE
from offhook.sip.timers import Timer
from offhook.sip.transaction import Transaction

if TYPE_CHECKING:
    from offhook.sip.session import Session

RETRY = 10.0
"""Seconds after which a refresh that was refused for the moment is tried again."""


class Renegotiation:
    """The offers of one session after its first. `body` is our description that holds now."""

    def __init__(self, session: Session) -> None:
        self.body = b""
        self._session = session
        self._invite: Transaction | None = None  # theirs, that waits for our answer
        self._update: Transaction | None = None  # the same for an UPDATE
        self._asking = False  # a re-INVITE of ours is under way
        self._retry: Timer | None = None

    @property
    def busy(self) -> bool:
        """Whether a change is under way on either side."""
        return self._asking or self._invite is not None or self._update is not None

    def stop(self) -> None:
        """The session is over."""
        if self._retry is not None:
            self._retry.cancel()

    # ours -------------------------------------------------------------------------------------------------------

    def reoffer(self, body: bytes, now: float, *, told: bool = True) -> bool:
        """Send a re-INVITE; False while another change is under way. `told`: `Reanswered` is to follow."""
        session = self._session
        if session.state != "up" or session.dialog is None or self.busy or session.unacked is not None:
            return False
        self._asking = True

        def answered(answer: Response, at: float) -> None:
            if answer.status_code >= 200:
                self._answered(answer, body, told, at)

        session.ask(
            "INVITE", now, self._headers(), body, KIND, on_answer=answered,
            on_problem=lambda problem, at: session.lost(408, f"no answer to a re-INVITE: {problem}", at),
        )  # fmt: skip
        return True

    def refresh(self, now: float) -> None:
        """Say that we are still there: an UPDATE where they know it, else the same description anew (RFC 4028 §7.4)."""
        session = self._session
        if self.busy or session.dialog is None:
            session.timer.again(now, RETRY)
        elif "update" in session.dialog.allowed:
            session.ask(
                "UPDATE", now, self._headers(), on_answer=self._refreshed,
                on_problem=lambda problem, at: session.lost(408, f"no answer to UPDATE: {problem}", at),
            )  # fmt: skip
        else:
            self.reoffer(self.body, now, told=False)

    def _headers(self) -> list[tuple[str, str]]:
        session = self._session
        fixed = [("Contact", session.contact()), ("Allow", ALLOW), ("Supported", SUPPORTED)]
        return [*fixed, *session.timer.request_headers(first=False)]

    def _refreshed(self, answer: Response, now: float) -> None:
        session, status = self._session, answer.status_code
        if status < 200 or session.state != "up":
            return
        if status < 300:
            session.timer.accepted(answer, now)
        elif status in (408, 481):
            session.lost(status, answer.reason_phrase, now)
        elif status == 422 and session.timer.refused(answer):
            self.refresh(now)
        else:
            session.timer.again(now, RETRY)

    def _answered(self, answer: Response, body: bytes, told: bool, now: float) -> None:
        session, status = self._session, answer.status_code
        if status < 300:
            key = (tag(answer, "to"), cseq(answer)[0])
            if key in session.acks:
                session.agent.send(*session.acks[key])
                return
            assert session.dialog is not None
            session.dialog.refresh(answer)
            session.acknowledge(session.dialog, key)
            session.timer.accepted(answer, now)
        self._asking = False
        if session.state != "up":
            return
        if status == 491:
            self._after_glare(body, told, now)
        elif status in (408, 481):
            session.lost(status, answer.reason_phrase, now)
        elif status == 422 and session.timer.refused(answer):
            self.reoffer(body, now, told=told)
        else:
            if status >= 300:
                session.timer.again(now, RETRY)
            else:
                self.body = body
            if told:
                session.agent.emit(Reanswered(session, status, description(answer)))

    def _after_glare(self, body: bytes, told: bool, now: float) -> None:
        """Both sides changed at once; the owner of the Call-ID waits longer (§14.1)."""
        chance = self._session.agent.chance()
        pause = chance * 2.0 if self._session.inbound else 2.1 + chance * 1.9

        def again(at: float) -> None:
            self.reoffer(body, at, told=told)

        self._retry = self._session.agent.timers.start(now + pause, again)

    # theirs -----------------------------------------------------------------------------------------------------

    def invited(self, request: Request, transaction: Transaction, now: float) -> None:
        """A re-INVITE."""
        session = self._session
        if session.unacked is not None and not session.offered and session.state in ("answered", "up"):
            # Whoever changes a call has our answer: its ACK was lost. An offer of ours would still want the ACK's body.
            session.arrived_there(b"", now)
        waiting = self._invite is not None or self._update is not None or session.unacked is not None
        if session.state == "over":
            transaction.respond(response(request, 481), now)
        elif self._asking:
            transaction.respond(response(request, 491), now)
        elif waiting or session.state in ("incoming", "calling", "cancelling"):
            wait = str(int(session.agent.chance() * 10))
            transaction.respond(response(request, 500, headers=[("Retry-After", wait)]), now)
        elif not self._unfit(request, transaction, now):
            self._invite = transaction
            transaction.on_acknowledged = session.acknowledged
            transaction.respond(response(request, 100), now)
            self._offered(request)

    def updated(self, request: Request, transaction: Transaction, now: float) -> None:
        """An UPDATE: the same without ACK; without a description it only refreshes."""
        session = self._session
        status = session.may_be_offered(request)
        if self._unfit(request, transaction, now):
            return
        if not description(request):
            self._refresh_target(request)
            transaction.respond(session.answer(request, 200, b"", session.timer.accept(request, now)), now)
        elif status == 491 or self._asking or self._invite is not None:
            transaction.respond(response(request, 491), now)
        elif status or self._update is not None:
            transaction.respond(response(request, 500, headers=[("Retry-After", "1")]), now)
        else:
            self._update = transaction
            self._offered(request)

    def _unfit(self, request: Request, transaction: Transaction, now: float) -> bool:
        """Whether it is refused for what it says: a body that we cannot read, or refreshes that are too frequent."""
        wrong = [(415, unreadable(request))]
        if self._session.timer.too_brief(request):
            wrong.append((422, [("Min-SE", str(MIN_SE))]))
        status, headers = next(((s, h) for s, h in wrong if h), (0, []))
        if status:
            transaction.respond(response(request, status, headers=headers), now)
        return bool(status)

    def _offered(self, request: Request) -> None:
        self._refresh_target(request)
        self._session.agent.emit(Reoffered(self._session, description(request)))

    def _refresh_target(self, request: Request) -> None:
        dialog = self._session.dialog_of(request)
        if dialog is not None:
            dialog.refresh(request)

    def reanswer(self, status: int, body: bytes, now: float, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Our answer to what they offered."""
        session = self._session
        pending, update = self._invite, self._update
        self._invite = self._update = None
        taken = update or pending
        if taken is None:
            return
        extra = [*headers]
        if status < 300:
            self.body = body
            extra += session.timer.accept(taken.request, now)
            session.agreed_to(taken.request)
        answer = session.answer(taken.request, status, body if status < 300 else b"", extra)
        if taken is pending and status < 300:
            session.send_2xx(pending, answer, now)
        else:
            taken.respond(answer, now)
