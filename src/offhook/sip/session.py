"""A session: one INVITE dialog from its first request to its BYE, on either side (RFC 3261 §§13-15, RFC 3311).

It carries session descriptions and does not read them. Each public method takes `now`; what happens comes out as the
events below, in order, through the endpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from offhook.errors import SipError
from offhook.sip.dialog import Dialog, DialogId
from offhook.sip.events import Answered, Confirmed, Event, Incoming, Over, Progress, Reanswered, Reoffered, Told
from offhook.sip.grammar import Address
from offhook.sip.message import (
    Request,
    Response,
    addresses,
    content_type,
    cseq,
    encode,
    response,
    tag,
    tokens,
)
from offhook.sip.sdp import KIND
from offhook.sip.timers import Timer, Timers
from offhook.sip.transaction import PATIENCE, T1, T2, Peer, Transaction

Headers = Iterable[tuple[str, str]]
ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE"


class Agent(Protocol):
    """What a session needs of its endpoint."""

    timers: Timers

    def emit(self, event: Event) -> None:
        """Tell what happened."""

    def send(self, data: bytes, peer: Peer) -> None:
        """Put a message on its way."""

    def via(self, peer: Peer) -> str:
        """A Via with a fresh branch."""

    def contact(self, peer: Peer) -> str:
        """Our Contact as that peer can reach it."""

    def route(self, dialog: Dialog) -> Peer:
        """Where a request of a dialog goes."""

    def begin(self, request: Request, peer: Peer) -> Transaction:
        """A client transaction."""

    def credentials(self, request: Request, answer: Response, attempt: int) -> tuple[str, str] | None:
        """A header that meets a challenge; None when there is none to give, or it was refused already."""

    def known(self, session: Session, dialog: DialogId) -> None:
        """The session is to be found by this dialog id."""

    def forget(self, session: Session) -> None:
        """Nothing of it is left."""

    def chance(self) -> float:
        """From 0 to 1."""


class Session:
    """One call leg's signalling. States: incoming, calling, cancelling, answered (no ACK yet), up, over."""

    def __init__(self, agent: Agent, invite: Request, peer: Peer, local_tag: str, *, inbound: bool) -> None:
        self.invite = invite
        self.peer = peer
        self.local_tag = local_tag
        self.inbound = inbound
        self.state = "incoming" if inbound else "calling"
        self.dialog: Dialog | None = None
        self._agent = agent
        self._transaction: Transaction | None = None
        self._reinvite: Transaction | None = None  # theirs, that waits for our answer
        self._update: Transaction | None = None  # the same for an UPDATE
        self._ours: Transaction | None = None  # a re-INVITE of ours under way
        self._repeat: Timer | None = None
        self._give_up: Timer | None = None
        self._unacked: int | None = None  # CSeq of the 2xx that waits for its ACK
        self._bye_wanted = False
        self._acks: dict[tuple[str, int], tuple[bytes, Peer]] = {}
        self._attempts = 0
        self._retry: Timer | None = None

    # the called side --------------------------------------------------------------------------------------------

    def arrived(self, transaction: Transaction, dialog: Dialog, now: float) -> None:
        """A new INVITE is here: 100 goes out, and the owner is told."""
        self._transaction, self.dialog = transaction, dialog
        transaction.on_problem = self._answer_lost
        transaction.on_acknowledged = self.acknowledged
        transaction.respond(response(self.invite, 100), now)
        self._agent.known(self, dialog.id)
        self._agent.emit(Incoming(self, _description(self.invite)))

    def ring(self, now: float, status: int = 180, body: bytes = b"", headers: Headers = ()) -> None:
        """Say that it rings, or with 183 and a description that something is to be heard."""
        if self.state == "incoming" and self._transaction is not None:
            self._transaction.respond(self._answer(self.invite, status, body, headers), now)

    def accept(self, body: bytes, now: float, headers: Headers = ()) -> None:
        """Take the call: 200 with our description, repeated until its ACK comes (§13.3.1.4)."""
        if self.state != "incoming" or self._transaction is None or self.dialog is None:
            return
        self.state = "answered"
        self.dialog.confirmed = True
        self._send_2xx(self._transaction, self._answer(self.invite, 200, body, headers), now)

    def refuse(self, status: int, now: float, headers: Headers = ()) -> None:
        """Do not take the call."""
        if self.state == "incoming" and self._transaction is not None:
            self._transaction.respond(self._answer(self.invite, status, b"", headers), now)
            self._end(status, "", theirs=False)

    def cancelled(self, now: float) -> None:
        """They gave up before our answer (§9.2)."""
        if self.state == "incoming" and self._transaction is not None:
            self._transaction.respond(self._answer(self.invite, 487, b"", ()), now)
            self._end(487, "the caller gave up", theirs=True)

    def acknowledged(self, ack: Request, now: float) -> None:
        """The ACK of a 2xx of ours."""
        if self._unacked is None or cseq(ack)[0] != self._unacked:
            return
        self._stop_repeating()
        first = self.state == "answered"
        if first:
            self.state = "up"
        if self._bye_wanted:
            self.hang_up(now)
            return
        if first or _description(ack):
            self._agent.emit(Confirmed(self, _description(ack)))

    def _answer_lost(self, problem: str, now: float) -> None:
        """The ACK of a refusal never came, or the way is broken: there is nobody to tell."""
        if self.state == "incoming":
            self._end(408, f"{problem} before the answer", theirs=True)

    def _send_2xx(self, transaction: Transaction, answer: Response, now: float) -> None:
        self._stop_repeating()
        self._unacked = cseq(answer)[0]
        transaction.respond(answer, now)
        self._plan_repeat(encode(answer), transaction.peer, now, T1)
        self._give_up = self._agent.timers.start(now + PATIENCE, self._never_acknowledged)

    def _plan_repeat(self, data: bytes, peer: Peer, now: float, pause: float) -> None:
        def again(at: float) -> None:
            self._agent.send(data, peer)
            self._plan_repeat(data, peer, at, min(2 * pause, T2))

        self._repeat = self._agent.timers.start(now + pause, again)

    def _stop_repeating(self) -> None:
        self._unacked = None
        for timer in (self._repeat, self._give_up):
            if timer is not None:
                timer.cancel()

    def _never_acknowledged(self, now: float) -> None:
        self._stop_repeating()
        if self.state == "over":
            return
        self.state = "up"
        self._bye(now)
        self._end(408, "no ACK came for the answer", theirs=False)

    # the calling side -------------------------------------------------------------------------------------------

    def call(self, now: float) -> None:
        """Send the INVITE."""
        transaction = self._transaction = self._agent.begin(self.invite, self.peer)
        transaction.on_response = self._answered
        transaction.on_problem = self._unanswered
        transaction.start(now)

    def _unanswered(self, problem: str, now: float) -> None:
        if self.state in ("calling", "cancelling"):
            self._end(408 if problem == "timeout" else 503, f"no answer: {problem}", theirs=True)

    def _answered(self, answer: Response, now: float) -> None:
        status = answer.status_code
        if status < 200:
            self._provisional(answer, now)
        elif status < 300:
            self._taken(answer, now)
        elif self.state in ("calling", "cancelling"):
            if self.state == "calling" and status in (401, 407) and self._try_again(answer, now):
                return
            contacts = tuple(str(a.uri) for a in _contacts(answer)) if status < 400 else ()
            self._end(status, answer.reason_phrase, theirs=True, contacts=contacts)

    def _provisional(self, answer: Response, now: float) -> None:
        if self.state == "cancelling":
            self._send_cancel(now)
        elif answer.status_code > 100 and self.state == "calling":
            if tag(answer, "to") and self.dialog is None:
                self.dialog = Dialog.of_response(self.invite, answer, self.peer)
                self._agent.known(self, self.dialog.id)
            self._agent.emit(Progress(self, answer.status_code, _description(answer)))

    def _try_again(self, answer: Response, now: float) -> bool:
        """Answer a challenge with the same call once more (§22.2)."""
        self._attempts += 1
        header = self._agent.credentials(self.invite, answer, self._attempts)
        if header is None:
            return False
        again = self.invite
        again.headers.set_single(*header)
        again.headers.set_single("CSeq", f"{cseq(again)[0] + 1} INVITE")
        again.headers.set_single("Via", self._agent.via(self.peer))
        self.dialog = None
        self.call(now)
        return True

    def _taken(self, answer: Response, now: float) -> None:
        """A 2xx: the first one makes the call; repetitions get their ACK again; other forks are hung up (§13.2.2.4)."""
        key = (tag(answer, "to"), cseq(answer)[0])
        if key in self._acks:
            self._agent.send(*self._acks[key])
            return
        dialog = self.dialog
        if dialog is not None and not dialog.confirmed and dialog.remote.tag == key[0]:
            dialog.follow(answer)
        elif dialog is None or not dialog.confirmed:
            dialog = Dialog.of_response(self.invite, answer, self.peer)
        else:
            other = Dialog.of_response(self.invite, answer, self.peer)
            self._acknowledge(other, key)
            self._bye_of(other, now)
            return
        self.dialog = dialog
        dialog.confirmed = True
        dialog.supported = tokens(answer, "supported")
        self._agent.known(self, dialog.id)
        self._acknowledge(dialog, key)
        if self.state == "calling":
            self.state = "up"
            self._agent.emit(Answered(self, _description(answer)))
        else:  # our CANCEL crossed their answer, or we have left already
            self._bye(now)
            self._end(487, "cancelled as it was answered", theirs=False)

    def _acknowledge(self, dialog: Dialog, key: tuple[str, int]) -> None:
        peer = self._agent.route(dialog)
        # The ACK of a 2xx takes the credentials of its INVITE along (§22.1).
        headers = [
            (name.title(), value)
            for name in ("authorization", "proxy-authorization")
            for value in self.invite.headers.get(name)
        ]
        data = encode(dialog.request("ACK", self._agent.via(peer), headers, number=key[1]))
        self._acks[key] = (data, peer)
        self._agent.send(data, peer)

    def _send_cancel(self, now: float) -> None:
        """CANCEL has the INVITE's own branch, and waits for a first answer (§9.1)."""
        headers = [(n, v) for n in ("Via", "From", "To", "Call-ID", "Route") for v in self.invite.headers.get(n)]
        headers += [("CSeq", f"{cseq(self.invite)[0]} CANCEL"), ("Max-Forwards", "70")]
        cancel = Request(method="CANCEL", uri=self.invite.uri)
        for name, value in headers:
            cancel.headers.append(name, value)
        if not self._bye_wanted:
            self._bye_wanted = True
            self._agent.begin(cancel, self.peer).start(now)
            self._give_up = self._agent.timers.start(now + PATIENCE, self._cancel_ignored)

    def _cancel_ignored(self, now: float) -> None:
        if self.state == "cancelling":
            self._end(487, "the called side never confirmed the cancellation", theirs=False)

    # both sides -------------------------------------------------------------------------------------------------

    def hang_up(self, now: float, status: int = 480) -> None:
        """End it whatever its state: refuse, cancel, or BYE; `status` is for a call that is not answered yet."""
        if self.state == "incoming":
            self.refuse(status, now)
        elif self.state == "calling":
            self.state = "cancelling"
            if self._transaction is not None and self._transaction.state == "proceeding":
                self._send_cancel(now)
        elif self.state == "answered":
            self._bye_wanted = True  # not before the ACK (§15)
        elif self.state == "up":
            self._bye(now)
            self._end(0, "", theirs=False)

    def _bye(self, now: float) -> None:
        if self.dialog is not None:
            self._bye_of(self.dialog, now)

    def _bye_of(self, dialog: Dialog, now: float) -> None:
        peer = self._agent.route(dialog)
        bye = self._agent.begin(dialog.request("BYE", self._agent.via(peer)), peer)
        attempts = 0

        def answered(answer: Response, at: float) -> None:
            nonlocal attempts
            attempts += 1
            if answer.status_code in (401, 407):
                header = self._agent.credentials(bye.request, answer, attempts)
                if header is not None:
                    again = dialog.request("BYE", self._agent.via(peer), [header])
                    self._agent.begin(again, peer).start(at)

        bye.on_response = answered
        bye.start(now)

    def reoffer(self, body: bytes, now: float) -> bool:
        """Change the media by a re-INVITE; False while another change is under way (glare would follow)."""
        if self.state != "up" or self.dialog is None or self._ours or self._reinvite or self._unacked is not None:
            return False
        peer = self._agent.route(self.dialog)
        headers = [("Contact", self._agent.contact(peer)), ("Allow", ALLOW)]
        again = self.dialog.request("INVITE", self._agent.via(peer), headers, body, KIND)
        transaction = self._ours = self._agent.begin(again, peer)
        attempts = 0

        def answered(answer: Response, at: float) -> None:
            nonlocal attempts
            status = answer.status_code
            if status < 200:
                return
            if status < 300:
                key = (tag(answer, "to"), cseq(answer)[0])
                if key in self._acks:
                    self._agent.send(*self._acks[key])
                    return
                assert self.dialog is not None
                self.dialog.refresh(answer)
                self._acknowledge(self.dialog, key)
            self._ours = None
            if status in (401, 407):
                attempts += 1
                header = self._agent.credentials(again, answer, attempts)
                if header is not None and self.dialog is not None:
                    self.reoffer(body, at)
                    return
            if status == 491 and self.state == "up":
                self._after_glare(body, at)
                return
            if status in (408, 481):
                self._lost(status, answer.reason_phrase, at)
                return
            self._agent.emit(Reanswered(self, status, _description(answer)))

        transaction.on_response = answered
        transaction.on_problem = lambda problem, at: self._lost(408, f"no answer to a re-INVITE: {problem}", at)
        transaction.start(now)
        return True

    def _after_glare(self, body: bytes, now: float) -> None:
        """Both sides changed at once; the owner of the Call-ID waits longer (§14.1)."""
        chance = self._agent.chance()
        pause = chance * 2.0 if self.inbound else 2.1 + chance * 1.9
        self._retry = self._agent.timers.start(now + pause, lambda at: _ignore(self.reoffer(body, at)))

    def _lost(self, status: int, reason: str, now: float) -> None:
        """The other side knows nothing of this dialog any more (§12.2.1.2)."""
        if self.state == "up":
            self._bye(now)
            self._end(status, reason, theirs=True)

    def reanswer(self, status: int, body: bytes, now: float, headers: Headers = ()) -> None:
        """Answer `Reoffered`: 200 with our description, or a refusal that leaves everything as it was."""
        pending, update = self._reinvite, self._update
        self._reinvite = self._update = None
        if update is not None:
            update.respond(self._answer(update.request, status, body, headers), now)
        elif pending is not None and status < 300:
            self._send_2xx(pending, self._answer(pending.request, status, body, headers), now)
        elif pending is not None:
            pending.respond(self._answer(pending.request, status, b"", headers), now)

    def tell(self, kind: str, body: bytes, now: float) -> None:
        """Send an INFO."""
        if self.state == "up" and self.dialog is not None:
            peer = self._agent.route(self.dialog)
            info = self.dialog.request("INFO", self._agent.via(peer), (), body, kind)
            self._agent.begin(info, peer).start(now)

    def received(self, request: Request, transaction: Transaction, now: float) -> None:
        """A request within the dialog, with its transaction; everything gets an answer."""
        dialog = self.dialog
        if dialog is None or not dialog.in_order(request):
            transaction.respond(response(request, 500, reason="CSeq Out Of Order"), now)
            return
        dialog.peer = transaction.peer if dialog.behind_nat or transaction.peer.reliable else dialog.peer
        handler = _IN_DIALOG.get(request.method)
        if handler is None:
            transaction.respond(response(request, 405, headers=[("Allow", ALLOW)]), now)
            return
        handler(self, request, transaction, now)

    def _got_bye(self, request: Request, transaction: Transaction, now: float) -> None:
        transaction.respond(response(request, 200), now)
        if self.state == "incoming" and self._transaction is not None:
            self._transaction.respond(self._answer(self.invite, 487, b"", ()), now)
        self._end(0, _reason(request), theirs=True)

    def _got_invite(self, request: Request, transaction: Transaction, now: float) -> None:
        busy = self._reinvite is not None or self._update is not None or self._unacked is not None
        if self._ours is not None:
            transaction.respond(response(request, 491), now)
        elif busy or self.state in ("incoming", "calling", "cancelling"):
            wait = str(int(self._agent.chance() * 10))
            transaction.respond(response(request, 500, headers=[("Retry-After", wait)]), now)
        else:
            assert self.dialog is not None
            self.dialog.refresh(request)
            self._reinvite = transaction
            transaction.on_acknowledged = self.acknowledged
            transaction.respond(response(request, 100), now)
            self._agent.emit(Reoffered(self, _description(request)))

    def _got_update(self, request: Request, transaction: Transaction, now: float) -> None:
        """RFC 3311: the same without ACK; without a description it only refreshes."""
        assert self.dialog is not None
        if not _description(request):
            self.dialog.refresh(request)
            transaction.respond(self._answer(request, 200, b"", ()), now)
        elif self._ours is not None or self._reinvite is not None:
            transaction.respond(response(request, 491), now)
        elif self._update is not None or self.state in ("incoming", "calling"):
            transaction.respond(response(request, 500, headers=[("Retry-After", "1")]), now)
        else:
            self.dialog.refresh(request)
            self._update = transaction
            self._agent.emit(Reoffered(self, _description(request)))

    def _got_info(self, request: Request, transaction: Transaction, now: float) -> None:
        transaction.respond(response(request, 200), now)
        if request.body:
            self._agent.emit(Told(self, content_type(request), request.body))

    def _got_options(self, request: Request, transaction: Transaction, now: float) -> None:
        transaction.respond(response(request, 200, headers=[("Allow", ALLOW), ("Accept", KIND)]), now)

    # inside -----------------------------------------------------------------------------------------------------

    def _answer(self, request: Request, status: int, body: bytes, headers: Headers) -> Response:
        extra = [*headers]
        if status < 300 and request.method in ("INVITE", "UPDATE"):
            extra += [("Contact", self._agent.contact(self.peer)), ("Allow", ALLOW)]
        return response(request, status, to_tag=self.local_tag, headers=extra, body=body, kind=KIND)

    def _end(self, status: int, reason: str, *, theirs: bool, contacts: tuple[str, ...] = ()) -> None:
        if self.state == "over":
            return
        self.state = "over"
        self._stop_repeating()
        if self._retry is not None:
            self._retry.cancel()
        self._agent.emit(Over(self, status, reason, theirs, contacts))
        self._agent.forget(self)


_Handler = Callable[[Session, Request, Transaction, float], None]
_IN_DIALOG: dict[str, _Handler] = {
    "BYE": Session._got_bye,
    "INVITE": Session._got_invite,
    "UPDATE": Session._got_update,
    "INFO": Session._got_info,
    "OPTIONS": Session._got_options,
}


def _description(message: Request | Response) -> bytes:
    """The session description of a message; empty without one."""
    return message.body if message.body and content_type(message) in (KIND, "") else b""


def _contacts(answer: Response) -> list[Address]:
    try:
        return addresses(answer, "contact")
    except SipError:
        return []


def _reason(request: Request) -> str:
    return request.headers.get_first("reason") or ""


def _ignore(value: object) -> None:
    """Take a value and forget it."""

