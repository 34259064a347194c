"""Transfer by REFER, from both sides: one asks the other to call somebody else, and hears how that goes.

RFC 3515 (REFER and its NOTIFY), RFC 3891 (Replaces, for an attended transfer), RFC 5589.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from offhook.errors import SipError
from offhook.sip.body import content_type
from offhook.sip.dialog import DialogId
from offhook.sip.events import TransferAsked, Transferred
from offhook.sip.grammar import Address, Uri
from offhook.sip.message import REASONS, Request, Response, address, response
from offhook.sip.timers import Timer
from offhook.sip.transaction import Transaction

if TYPE_CHECKING:
    from offhook.sip.session import Session

PATIENCE = 120.0
"""How long the last NOTIFY may take, in seconds: that long a phone may ring."""


class Transfer:
    """The one REFER of a session that is under way from each side.

    Each step of ours is a `Transferred` event, the last one `final`; theirs is a `TransferAsked`, which `decide` and
    `report` are for.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._under_way = False
        self.taken = False
        """Whether the other side has agreed to our last REFER."""
        self._patience: Timer | None = None
        self._asked: Transaction | None = None
        self._reporting = False

    # ours -------------------------------------------------------------------------------------------------------

    def ask(self, target: Uri, now: float, replaces: DialogId | None = None, referrer: Address | None = None) -> bool:
        """Send the REFER; False while one is under way or there is no call.

        `referrer`: on whose behalf, ourselves for None (RFC 3892 §2.1). `replaces`: Call-ID, remote and local tag, as
        the target of an attended transfer has them (RFC 3891 §3).
        """
        session = self._session
        if self._under_way or session.state != "up" or session.dialog is None:
            return False
        if replaces is not None:
            call, to_tag, from_tag = replaces
            wanted = f"{call};to-tag={to_tag};from-tag={from_tag}"
            target = Uri(target.scheme, target.user, target.host, target.port, target.params, {"Replaces": wanted})
        headers = [
            ("Contact", session.contact()),
            ("Refer-To", str(Address(target))),
            ("Referred-By", str(referrer or Address(session.dialog.local.uri))),
        ]
        self._under_way, self.taken = True, False
        self._patience = session.agent.timers.start(now + PATIENCE, lambda at: self._tell(408, "no word", final=True))
        session.ask("REFER", now, headers, on_answer=self._answered, on_problem=self._unanswered)
        return True

    def notified(self, notify: Request, transaction: Transaction, now: float) -> None:
        """A NOTIFY: what the other side has reached so far, as the first line of a response (RFC 3515 §2.4.5)."""
        event = (notify.headers.get_first("event") or "").partition(";")[0].strip().lower()
        if event != "refer" or not self._under_way:
            transaction.respond(response(notify, 489 if event != "refer" else 481), now)
            return
        transaction.respond(response(notify, 200), now)
        over = (notify.headers.get_first("subscription-state") or "").strip().lower().startswith("terminated")
        status, reason = 0, ""
        if content_type(notify) == "message/sipfrag":
            words = notify.body.decode("utf-8", "replace").strip().splitlines()[:1]
            parts = words[0].split(None, 2) if words else []
            if len(parts) >= 2 and parts[1].isascii() and parts[1].isdigit() and len(parts[1]) == 3:
                status, reason = int(parts[1]), parts[2] if len(parts) > 2 else ""
        if status >= 200 or over:
            # A subscription that ends without a word of the outcome leaves it unknown: nothing says that it worked.
            self._tell(status if status >= 200 else 500, reason or "ended without an outcome", final=True)
        elif status:
            self._tell(status, reason, final=False)

    def stop(self) -> None:
        """The session is over: whoever waits is told, for a transfer that worked often ends in a BYE first."""
        if self._under_way:
            self._tell(0, "the call ended before the outcome came", final=True)

    # theirs -----------------------------------------------------------------------------------------------------

    def asked(self, refer: Request, transaction: Transaction, now: float) -> None:
        """A REFER: the owner decides (RFC 3515 §2.4.2)."""
        if self._asked is not None or self._reporting:
            transaction.respond(response(refer, 491), now)
            return
        try:
            target = address(refer, "refer-to")
        except SipError:
            target = None
        if target is None or len(refer.headers.get("refer-to")) != 1:
            transaction.respond(response(refer, 400, reason="One Refer-To Is Needed"), now)
            return
        self._asked = transaction
        self._session.agent.emit(TransferAsked(self._session, target))

    def decide(self, status: int, now: float) -> None:
        """Answer their REFER: 202, after which `report` says how it goes, or a refusal."""
        pending, self._asked = self._asked, None
        if pending is None:
            return
        headers = [("Contact", self._session.contact())] if status < 300 else []
        pending.respond(response(pending.request, status, headers=headers), now)
        if status < 300:
            self._reporting = True
            self.report(100, now)

    def report(self, status: int, now: float) -> None:
        """Say how the new call goes, by a NOTIFY; a final status is the last."""
        if not self._reporting:
            return
        self._reporting = status < 200
        state = f"active;expires={int(PATIENCE)}" if self._reporting else "terminated;reason=noresource"
        headers = [("Contact", self._session.contact()), ("Event", "refer"), ("Subscription-State", state)]
        body = f"SIP/2.0 {status} {REASONS.get(status, 'Status')}\r\n".encode()
        self._session.ask("NOTIFY", now, headers, body, "message/sipfrag;version=2.0")

    # inside -----------------------------------------------------------------------------------------------------

    def _answered(self, answer: Response, now: float) -> None:
        if answer.status_code >= 300:
            self._tell(answer.status_code, answer.reason_phrase, final=True, refused=True)
        else:
            self.taken = True

    def _unanswered(self, problem: str, now: float) -> None:
        self._tell(408, f"no answer to REFER: {problem}", final=True, refused=True)

    def _tell(self, status: int, reason: str, *, final: bool, refused: bool = False) -> None:
        if not self._under_way:
            return
        if final:
            self._under_way = False
            if self._patience is not None:
                self._patience.cancel()
        self._session.agent.emit(Transferred(self._session, status, reason, final, refused))
