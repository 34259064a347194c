"""A session: one INVITE dialog from its first request to its BYE, on either side (RFC 3261 §§13-15, RFC 3311).

It carries session descriptions and does not read them. Each public method takes `now`; what happens comes out as the
events below, in order, through the endpoint.
"""

from __future__ import annotations

from collections.abc import Callable

from offhook.errors import SipError
from offhook.sip.agent import Agent, Headers
from offhook.sip.auth import Account
from offhook.sip.body import content_type, description
from offhook.sip.capabilities import ALLOW, SUPPORTED
from offhook.sip.dialog import Dialog, DialogId
from offhook.sip.events import Answered, Confirmed, Incoming, Over, Progress, Told
from offhook.sip.forks import Forks
from offhook.sip.grammar import Address, Uri
from offhook.sip.message import (
    Request,
    Response,
    addresses,
    cseq,
    encode,
    response,
    tag,
    tokens,
)
from offhook.sip.reliable import Acknowledger, ReliableProvisionals
from offhook.sip.renegotiation import Renegotiation
from offhook.sip.sdp import KIND
from offhook.sip.session_timer import MIN_SE, SessionTimer
from offhook.sip.timers import Timer
from offhook.sip.transaction import PATIENCE, T1, T2, Peer, Transaction
from offhook.sip.transfer import Transfer


class Session:
    """One call leg's signalling. States: incoming, calling, cancelling, answered (no ACK yet), up, over."""

    def __init__(self, agent: Agent, invite: Request, peer: Peer, local_tag: str, *, inbound: bool) -> None:
        self.invite = invite
        self.peer = peer
        self.local_tag = local_tag
        self.inbound = inbound
        self.state = "incoming" if inbound else "calling"
        self.context: object = None
        """What its owner knows of it."""
        self.account: Account | None = None
        """What challenges of this call are met with."""
        self.dialog: Dialog | None = None
        self.dialog_ids: set[DialogId] = set()
        self.agent = agent
        self.timer = SessionTimer(agent.timers, self._refresh, self._expired)
        self.change = Renegotiation(self)
        self.transfer = Transfer(self)
        self.unacked: int | None = None  # CSeq of the 2xx that waits for its ACK
        self.offered = False  # whether that 2xx made an offer, which the ACK answers
        self.acks: dict[tuple[str, int], tuple[bytes, Peer]] = {}
        self._transaction: Transaction | None = None
        self._repeat: Timer | None = None
        self._give_up: Timer | None = None
        self._bye_wanted = False
        self._attempts = 0
        self.forks = Forks()
        self._acknowledger = Acknowledger()
        self._reliable = ReliableProvisionals(
            agent.timers, agent.send, self._never_confirmed, int(agent.chance() * 10000)
        )
        self._taking: tuple[bytes, Headers] | None = None  # our answer, that waits for a PRACK

    # the called side --------------------------------------------------------------------------------------------

    def arrived(self, transaction: Transaction, dialog: Dialog, now: float, replaces: Session | None = None) -> None:
        """A new INVITE is here: 100 goes out, and the owner is told."""
        self._transaction, self.dialog = transaction, dialog
        transaction.on_problem = self._answer_lost
        transaction.on_acknowledged = self.acknowledged
        transaction.respond(response(self.invite, 100), now)
        self.agent.known(self, dialog.id)
        if self.timer.too_brief(self.invite):
            self.refuse(422, now, [("Min-SE", str(MIN_SE))])
            return
        self.agent.emit(Incoming(self, description(self.invite), replaces))

    def ring(self, now: float, status: int = 180, body: bytes = b"", headers: Headers = ()) -> None:
        """Say that it rings, or with 183 and a description that something is to be heard."""
        if self.state != "incoming" or self._transaction is None or self._taking is not None:
            return
        answer = self.answer(self.invite, status, body, headers)
        if self._reliable.wanted(self.invite, body):
            self._reliable.send(answer, self._transaction, now)
        else:
            self._transaction.respond(answer, now)

    def accept(self, body: bytes, now: float, headers: Headers = ()) -> None:
        """Take the call: 200 with our description, repeated until its ACK comes (§13.3.1.4)."""
        if self.state != "incoming" or self._transaction is None or self.dialog is None:
            return
        if self._reliable.holds_answer:
            self._taking = (body, [*headers])
            return
        self._reliable.stop()
        self._taking = None
        self.state = "answered"
        self.dialog.confirmed = True
        self.dialog.supported = tokens(self.invite, "supported")
        if self.change.body:
            body = b""  # an UPDATE has changed already what our first answer said (RFC 3311 §5.2)
        self.change.body = self.change.body or body
        more = [*headers, *self.timer.accept(self.invite, now)]
        self.send_2xx(self._transaction, self.answer(self.invite, 200, body, more), now)

    def refuse(self, status: int, now: float, headers: Headers = ()) -> None:
        """Do not take the call."""
        if self.state == "incoming" and self._transaction is not None:
            self._transaction.respond(self.answer(self.invite, status, b"", headers), now)
            self._end(status, "", theirs=False)

    def cancelled(self, now: float) -> None:
        """They gave up before our answer (§9.2)."""
        if self.state == "incoming" and self._transaction is not None:
            self._transaction.respond(self.answer(self.invite, 487, b"", ()), now)
            self._end(487, "the caller gave up", theirs=True)

    def acknowledged(self, ack: Request, now: float) -> None:
        """The ACK of a 2xx of ours. Its body counts when that 2xx made the offer."""
        if self.unacked is not None and cseq(ack)[0] == self.unacked:
            self.arrived_there(description(ack) if self.offered else b"", now)

    def arrived_there(self, body: bytes, now: float) -> None:
        """Our 2xx has arrived, as its ACK or a later request says."""
        self._stop_repeating()
        first = self.state == "answered"
        if first:
            self.state = "up"
        if self._bye_wanted:
            self.hang_up(now)
            return
        if first or self.offered:
            self.agent.emit(Confirmed(self, body, first))

    def _never_confirmed(self, now: float) -> None:
        """A provisional answer that must arrive did not (RFC 3262 §3)."""
        self.refuse(504, now)

    def _answer_lost(self, problem: str, now: float) -> None:
        """The ACK of a refusal never came, or the way is broken: there is nobody to tell."""
        if self.state == "incoming":
            self._end(408, f"{problem} before the answer", theirs=True)

    def send_2xx(self, transaction: Transaction, answer: Response, now: float) -> None:
        """Send the answer to an INVITE, and again until its ACK comes."""
        self._stop_repeating()
        self.unacked = cseq(answer)[0]
        self.offered = not description(transaction.request)
        transaction.respond(answer, now)
        self._plan_repeat(encode(answer), transaction, now, T1)
        self._give_up = self.agent.timers.start(now + PATIENCE, self._never_acknowledged)

    def _plan_repeat(self, data: bytes, transaction: Transaction, now: float, pause: float) -> None:
        def again(at: float) -> None:
            self.agent.send(data, transaction.peer)
            self._plan_repeat(data, transaction, at, min(2 * pause, T2))

        self._repeat = self.agent.timers.start(now + pause, again)

    def _stop_repeating(self) -> None:
        self.unacked = None
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
        transaction = self._transaction = self.agent.begin(self.invite, self.peer)
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
            if self.state == "calling" and self._try_again(answer, now):
                return
            contacts = tuple(str(a.uri) for a in _contacts(answer)) if status < 400 else ()
            self._end(status, answer.reason_phrase, theirs=True, contacts=contacts)

    def _provisional(self, answer: Response, now: float) -> None:
        if self.state == "cancelling":
            self._send_cancel(now)
        elif answer.status_code > 100 and self.state == "calling":
            early, body = self.forks.heard(self.invite, answer, self.peer), description(answer)
            if early is not None and early.id not in self.dialog_ids:
                self.dialog = self.dialog or early
                self.agent.known(self, early.id)
            theirs = tag(answer, "to")
            confirm = self._acknowledger.due(answer, theirs) if early is not None else ""
            if confirm is None:
                return
            if confirm:
                self.ask("PRACK", now, [("RAck", confirm)], dialog=early)
            if early is not None:
                self.forks.described(theirs, body, settled=bool(confirm))
            self.agent.emit(Progress(self, answer.status_code, body))

    def _try_again(self, answer: Response, now: float) -> bool:
        """Answer a challenge, or a wish for longer refreshes, with the same call once more (§22.2, RFC 4028 §7.3)."""
        if answer.status_code in (401, 407):
            self._attempts += 1
            header = self.agent.credentials(self.invite, answer, self._attempts, self.account)
            if header is None:
                return False
            self.invite.headers.set_single(*header)
        elif answer.status_code == 422 and self.timer.refused(answer):
            for name, value in self.timer.request_headers(first=True):
                self.invite.headers.set_single(name, value)
        else:
            return False
        self.invite.headers.set_single("CSeq", f"{cseq(self.invite)[0] + 1} INVITE")
        self.invite.headers.set_single("Via", self.agent.via(self.peer))
        self.dialog, self.forks = None, Forks()
        self.call(now)
        return True

    def _taken(self, answer: Response, now: float) -> None:
        """A 2xx: the first one makes the call; repetitions get their ACK again; other forks are hung up (§13.2.2.4)."""
        key = (tag(answer, "to"), cseq(answer)[0])
        if key in self.acks:
            self.agent.send(*self.acks[key])
            return
        dialog = self._of(answer)
        if self.state == "over" or (self.dialog is not None and self.dialog.confirmed):
            self.acknowledge(dialog, key)
            self._bye_of(dialog, now)
            return
        self.dialog = dialog
        dialog.confirmed = True
        dialog.supported = tokens(answer, "supported")
        self.agent.known(self, dialog.id)
        self.acknowledge(dialog, key)
        if self.state == "calling":
            self.state = "up"
            self.change.body = self.change.body or self.invite.body  # unless an early UPDATE has changed it
            self.timer.accepted(answer, now)
            self.agent.emit(Answered(self, description(answer) or self.forks.answer(key[0])))
        else:  # our CANCEL crossed their answer
            self._bye(now)
            self._end(487, "cancelled as it was answered", theirs=False)

    def _of(self, answer: Response) -> Dialog:
        """The dialog of a 2xx, which an earlier answer may have begun."""
        dialog = self.forks.get(tag(answer, "to"))
        if dialog is None:
            return Dialog.of_response(self.invite, answer, self.peer)
        dialog.follow(answer)
        return dialog

    def acknowledge(self, dialog: Dialog, key: tuple[str, int]) -> None:
        """Send the ACK of a 2xx, and keep it for repetitions of that."""
        peer = self.agent.route(dialog)
        # The ACK of a 2xx takes the credentials of its INVITE along (§22.1).
        headers = [
            (name.title(), value)
            for name in ("authorization", "proxy-authorization")
            for value in self.invite.headers.get(name)
        ]
        data = encode(dialog.request("ACK", self.agent.via(peer), headers, number=key[1]))
        self.acks[key] = (data, peer)
        self.agent.send(data, peer)

    def _send_cancel(self, now: float) -> None:
        """CANCEL has the INVITE's own branch, and waits for a first answer (§9.1)."""
        headers = [(n, v) for n in ("Via", "From", "To", "Call-ID", "Route") for v in self.invite.headers.get(n)]
        headers += [("CSeq", f"{cseq(self.invite)[0]} CANCEL"), ("Max-Forwards", "70")]
        cancel = Request(method="CANCEL", uri=self.invite.uri)
        for name, value in headers:
            cancel.headers.append(name, value)
        if not self._bye_wanted:
            self._bye_wanted = True
            self.agent.begin(cancel, self.peer).start(now)
            self._give_up = self.agent.timers.start(now + PATIENCE, self._cancel_ignored)

    def _cancel_ignored(self, now: float) -> None:
        if self.state == "cancelling" and self._transaction is not None:
            self._transaction.put("abandon", now)
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
        self.ask("BYE", now, dialog=dialog)

    def ask(
        self,
        method: str,
        now: float,
        headers: Headers = (),
        body: bytes = b"",
        kind: str = "",
        *,
        dialog: Dialog | None = None,
        on_answer: Callable[[Response, float], None] | None = None,
        on_problem: Callable[[str, float], None] | None = None,
        attempt: int = 1,
    ) -> None:
        """Send a request within the dialog; a challenge is met, and whatever else comes goes to the callbacks."""
        dialog = dialog or self.dialog
        if dialog is None:
            return
        peer, plain = self.agent.route(dialog), [*headers]
        request = dialog.request(method, self.agent.via(peer), plain, body, kind)
        transaction = self.agent.begin(request, peer)

        def answered(answer: Response, at: float) -> None:
            if answer.status_code in (401, 407):
                header = self.agent.credentials(request, answer, attempt, self.account)
                if header is not None:
                    again = [*(pair for pair in plain if pair[0] != header[0]), header]
                    self.ask(
                        method, at, again, body, kind,
                        dialog=dialog, on_answer=on_answer, on_problem=on_problem, attempt=attempt + 1,
                    )  # fmt: skip
                    return
            if on_answer is not None:
                on_answer(answer, at)

        transaction.on_response = answered
        transaction.on_problem = on_problem
        transaction.start(now)

    def reoffer(self, body: bytes, now: float) -> bool:
        """Change the media by a re-INVITE; False while another change is under way (glare would follow)."""
        return self.change.reoffer(body, now)

    def reanswer(self, status: int, body: bytes, now: float, headers: Headers = ()) -> None:
        """Answer `Reoffered`: 200 with our description, or a refusal that leaves everything as it was."""
        self.change.reanswer(status, body, now, headers)

    def refer(self, target: Uri, now: float, replaces: DialogId | None = None, referrer: Address | None = None) -> bool:
        """Ask the other side to call somebody else; see `Transfer.ask`."""
        return self.transfer.ask(target, now, replaces, referrer)

    def _refresh(self, now: float) -> None:
        if self.state == "up":
            self.change.refresh(now)

    def _expired(self, now: float) -> None:
        self.lost(408, "the session was not refreshed in time", now)

    def lost(self, status: int, reason: str, now: float) -> None:
        """The other side knows nothing of this dialog any more (§12.2.1.2)."""
        if self.state == "up":
            self._bye(now)
            self._end(status, reason, theirs=True)

    def tell(self, kind: str, body: bytes, now: float) -> None:
        """Send an INFO."""
        if self.state == "up":
            self.ask("INFO", now, (), body, kind)

    @property
    def dialogs(self) -> list[Dialog]:
        """All of its dialogs: that of the call, and early ones."""
        early = self.forks.dialogs
        return early if self.dialog is None or self.dialog in early else [self.dialog, *early]

    def dialog_of(self, request: Request) -> Dialog | None:
        """The dialog that a request of theirs is in: that of the call, or an early one while none is taken."""
        theirs = tag(request, "from")
        if self.dialog is not None and (self.dialog.remote.tag or "") == theirs:
            return self.dialog
        return self.forks.get(theirs) if self.state in ("calling", "cancelling") else None

    def received(self, request: Request, transaction: Transaction, now: float) -> None:
        """A request within a dialog, with its transaction; everything gets an answer."""
        dialog = self.dialog_of(request)
        if dialog is None:
            transaction.respond(response(request, 481), now)
            return
        if not dialog.in_order(request):
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
        if self.dialog_of(request) is not self.dialog:
            return  # one side of a forked call leaves; the others may still take it
        if self.state == "incoming" and self._transaction is not None:
            self._transaction.respond(self.answer(self.invite, 487, b"", ()), now)
        elif self.state in ("calling", "cancelling") and self._transaction is not None:
            self._transaction.put("abandon", now)
        self._end(0, _reason(request), theirs=True)

    def _got_invite(self, request: Request, transaction: Transaction, now: float) -> None:
        self.change.invited(request, transaction, now)

    def may_be_offered(self, request: Request) -> int:
        """0 when an offer of theirs may come, else the status that it gets: 491 while one of ours is open, 500 while
        one of theirs is (RFC 3311 §5.2)."""
        if self.state in ("calling", "cancelling"):
            return 0 if self.forks.settled(tag(request, "from")) else 491
        return 500 if self.state == "incoming" and not self._reliable.settled else 0

    def agreed_to(self, request: Request) -> None:
        """An offer of theirs is accepted: before the call is up, it takes the place of their answer."""
        if self.state == "calling" and description(request):
            self.forks.changed(tag(request, "from"), description(request))

    def _got_update(self, request: Request, transaction: Transaction, now: float) -> None:
        self.change.updated(request, transaction, now)

    def _got_prack(self, request: Request, transaction: Transaction, now: float) -> None:
        """A provisional answer of ours has arrived; an answer that waited for it goes out (RFC 3262 §3)."""
        if self._transaction is None or not self._reliable.confirmed(request, self._transaction, now):
            transaction.respond(response(request, 481), now)
            return
        if description(request):
            # A second offer before the call is answered: we have nothing to change yet.
            transaction.respond(response(request, 488), now)
        else:
            transaction.respond(response(request, 200), now)
        if self._taking is not None:
            self.accept(self._taking[0], now, self._taking[1])

    def _got_notify(self, request: Request, transaction: Transaction, now: float) -> None:
        self.transfer.notified(request, transaction, now)

    def _got_refer(self, request: Request, transaction: Transaction, now: float) -> None:
        self.transfer.asked(request, transaction, now)

    def _got_info(self, request: Request, transaction: Transaction, now: float) -> None:
        transaction.respond(response(request, 200), now)
        if request.body:
            self.agent.emit(Told(self, content_type(request), request.body))

    def _got_options(self, request: Request, transaction: Transaction, now: float) -> None:
        transaction.respond(
            response(request, 200, headers=[("Allow", ALLOW), ("Accept", KIND), ("Supported", SUPPORTED)]), now
        )

    # inside -----------------------------------------------------------------------------------------------------

    def contact(self) -> str:
        """Our Contact, as the other side can reach it."""
        return self.agent.contact(self.peer, secure=secure(self.invite))

    def answer(self, request: Request, status: int, body: bytes, headers: Headers) -> Response:
        """An answer within the dialog."""
        extra = [*headers]
        if status < 300 and request.method in ("INVITE", "UPDATE"):
            extra += [("Contact", self.contact()), ("Allow", ALLOW), ("Supported", SUPPORTED)]
        return response(request, status, to_tag=self.local_tag, headers=extra, body=body, kind=KIND)

    def _end(self, status: int, reason: str, *, theirs: bool, contacts: tuple[str, ...] = ()) -> None:
        if self.state == "over":
            return
        self.state = "over"
        self._stop_repeating()
        self._reliable.stop()
        self.timer.stop()
        self.change.stop()
        self.transfer.stop()
        self.agent.emit(Over(self, status, reason, theirs, contacts))
        self.agent.forget(self)


_Handler = Callable[[Session, Request, Transaction, float], None]
_IN_DIALOG: dict[str, _Handler] = {
    "BYE": Session._got_bye,
    "INVITE": Session._got_invite,
    "UPDATE": Session._got_update,
    "PRACK": Session._got_prack,
    "NOTIFY": Session._got_notify,
    "REFER": Session._got_refer,
    "INFO": Session._got_info,
    "OPTIONS": Session._got_options,
}


def secure(invite: Request) -> bool:
    """Whether a call is to go by TLS at each hop: it asks for sips, or came by such a route (§12.1.1)."""
    routes = addresses(invite, "record-route")
    return invite.uri[:5].lower() == "sips:" or bool(routes and routes[0].uri.scheme == "sips")


def _contacts(answer: Response) -> list[Address]:
    try:
        return addresses(answer, "contact")
    except SipError:
        return []


def _reason(request: Request) -> str:
    return request.headers.get_first("reason") or ""
