"""A SIP endpoint: bytes and the time in, bytes and events out (RFC 3261 §§8, 10, 11, 18).

It owns the transactions and the sessions of a node, answers what needs no call, and asks its `guard` before anything
becomes one. It opens no socket: `drain_packets` are put on the network by whoever has one.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from offhook.errors import SipError
from offhook.sip.agent import Headers
from offhook.sip.auth import Account, credentials_for
from offhook.sip.body import unreadable
from offhook.sip.capabilities import ALLOW, EXTENSIONS, SUPPORTED
from offhook.sip.dialog import Dialog, DialogId, dialog_id
from offhook.sip.events import Event
from offhook.sip.grammar import Address, Uri, Via, parse_params
from offhook.sip.message import (
    BRANCH,
    Fault,
    Message,
    Request,
    Response,
    call_id,
    encode,
    parse,
    reason_phrase,
    request,
    response,
    tag,
    tokens,
    vias,
)
from offhook.sip.nat import hidden, literal, same_host
from offhook.sip.registration import Registration, RegistrationState
from offhook.sip.sdp import KIND
from offhook.sip.session import Session
from offhook.sip.session_timer import INTERVAL, MIN_SE
from offhook.sip.timers import Timers
from offhook.sip.transaction import DEFAULT_PORTS, Peer, Transaction, Transactions, stamp, void

KNOWN_METHODS = {"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REGISTER", "INFO", "UPDATE", "PRACK", "SUBSCRIBE"}
KNOWN_METHODS |= {"NOTIFY", "REFER", "MESSAGE", "PUBLISH"}
log = logging.getLogger("offhook.sip")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a guard says of a new request: `status` 0 lets it in; -1 is no answer at all.

    `context` stays with the session: what the guard knows of who calls.
    """

    status: int = 0
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    context: object = None


class Guard(Protocol):
    """Decides what may become a call or a registration, before anything of it is kept."""

    def hears(self, peer: Peer, now: float) -> bool:
        """Whether anything of this source is looked at; asked before it is read."""

    def admit(self, request: Request, peer: Peer, now: float) -> Verdict:
        """An INVITE that begins a call, or OPTIONS outside of any: what is not let in gets no answer."""

    def register(self, request: Request, peer: Peer, now: float) -> Response:
        """The answer to a REGISTER."""


@dataclass(slots=True)
class Settings:
    """How the endpoint shows itself: `local` is host and port by transport, as peers are to reach it."""

    local: dict[str, tuple[str, int]]
    user: str = "offhook"
    agent: str = "Offhook"


@dataclass(slots=True)
class Counters:
    """What came in."""

    requests: int = 0
    responses: int = 0
    garbage: int = 0
    refused: int = 0
    stray: int = 0
    unheard: int = 0
    failed: int = 0
    """Messages that a mistake of ours kept from being served."""


class SipEndpoint:
    """The signalling of a node; see `Agent` for what its sessions ask of it."""

    def __init__(
        self,
        settings: Settings,
        guard: Guard,
        mint: Callable[[], str],
        chance: Callable[[], float],
    ) -> None:
        """`mint` gives fresh words for tags, branches and Call-IDs; `chance` numbers from 0 to 1."""
        self.settings = settings
        self.guard = guard
        self.timers = Timers()
        self.counters = Counters()
        self._mint = mint
        self._chance = chance
        self._word = mint()
        self._packets: list[tuple[bytes, Peer]] = []
        self._events: list[Event] = []
        self._transactions = Transactions(self.send, self.timers)
        self._sessions: dict[DialogId, Session] = {}
        self._early: dict[tuple[str, str], Session] = {}  # ours, by Call-ID and our tag, until a dialog is there
        self._invites: dict[object, Session] = {}

    # network ----------------------------------------------------------------------------------------------------

    def received(self, data: bytes, peer: Peer, now: float) -> None:
        """One datagram, or one message of a stream. Never raises."""
        if not data.strip(b"\r\n\x00 "):
            return  # a keep-alive
        if not self.guard.hears(peer, now):
            self.counters.unheard += 1
            return
        message: Message | None = None
        try:
            message, fault = parse(data)
            if isinstance(message, Response):
                self._response(message, now)
            else:
                self._request(message, fault, peer, now)
        except Exception as error:
            if isinstance(message, Request):
                self._once(message, self._mishap(error), stamp(message, peer))
            elif isinstance(error, SipError):
                self.counters.garbage += 1
            else:
                self._mishap(error)

    def broken(self, peer: Peer, now: float) -> None:
        """A connection is gone or cannot be made, or a datagram could not be sent."""
        for session in {*self._sessions.values(), *self._early.values()} if peer.flow else ():
            for dialog in session.dialogs:
                if dialog.peer.flow == peer.flow:
                    dialog.peer = self._without_connection(dialog)
        self._transactions.broken(peer, now)

    def advance(self, now: float) -> None:
        """Let timers fire. One that fails by a mistake of ours keeps none of the others from it."""
        while True:
            try:
                self.timers.advance(now)
                return
            except Exception as error:
                self._mishap(error)

    def next_deadline(self) -> float | None:
        """When `advance` is wanted next."""
        return self.timers.next()

    def drain_packets(self) -> list[tuple[bytes, Peer]]:
        """What is to be sent, in order."""
        packets, self._packets = self._packets, []
        return packets

    def drain_events(self) -> list[Event]:
        """What has happened, in order."""
        events, self._events = self._events, []
        return events

    @property
    def idle(self) -> bool:
        """Whether nothing is kept: no session and no transaction."""
        return not self._sessions and not self._early and not len(self._transactions)

    @property
    def awaiting_answers(self) -> int:
        """Requests of ours that the other side has not answered yet."""
        return self._transactions.unanswered

    # calls ------------------------------------------------------------------------------------------------------

    def invite(
        self,
        target: Uri,
        peer: Peer,
        caller: Address,
        offer: bytes,
        now: float,
        headers: Headers = (),
        callee: Address | None = None,
        account: Account | None = None,
    ) -> Session:
        """Call somebody. `caller` is the From without a tag; `account` meets the challenges of the other side."""
        local_tag, call = self._mint(), f"{self._mint()}@{self.settings.local[peer.transport][0].strip('[]')}"
        basics = [
            ("Via", self.via(peer)),
            ("Max-Forwards", "70"),
            ("From", str(caller.tagged(local_tag))),
            ("To", str(callee or Address(Uri(target.scheme, target.user, target.host)))),
            ("Call-ID", call),
            ("CSeq", "1 INVITE"),
            ("Contact", self.contact(peer, secure=target.scheme == "sips")),
            ("Allow", ALLOW),
            ("Supported", SUPPORTED),
            ("Session-Expires", str(INTERVAL)),
            ("Min-SE", str(MIN_SE)),
            ("User-Agent", self.settings.agent),
            *headers,
        ]
        session = Session(self, request("INVITE", target, basics, offer, KIND), peer, local_tag, inbound=False)
        session.account = account
        self._early[call, local_tag] = session
        session.call(now)
        return session

    def register(
        self,
        record: Uri,
        registrar: Uri,
        peer: Peer,
        account: Account | None,
        on_change: Callable[[RegistrationState], None],
    ) -> Registration:
        """Register `record` there; `start` it to begin."""
        host = self.settings.local[peer.transport][0].strip("[]")
        words = (f"{self._mint()}@{host}", self._mint())
        return Registration(self, record, registrar, peer, account, words, on_change)

    # Agent ------------------------------------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """See `Agent`."""
        self._events.append(event)

    def send(self, data: bytes, peer: Peer) -> None:
        """See `Agent`."""
        self._packets.append((data, peer))

    def via(self, peer: Peer) -> str:
        """See `Agent`."""
        host, port = self.settings.local[peer.transport]
        return str(Via(peer.transport.upper(), host, port, {"rport": None, "branch": f"{BRANCH}{self._mint()}"}))

    def contact(self, peer: Peer, user: str | None = None, *, secure: bool = False) -> str:
        """See `Agent`; `user`: another than the settings'."""
        host, port = self.settings.local[peer.transport]
        user = user or self.settings.user
        if secure:
            host, port = self.settings.local.get("tls", (host, port))
            return f"<{Uri('sips', user, host, port)}>"
        params: dict[str, str | None] = {} if peer.transport == "udp" else {"transport": peer.transport}
        return f"<{Uri('sip', user, host, port, params)}>"

    def route(self, dialog: Dialog) -> Peer:
        """See `Agent`: by the route set or the target when that names an address, else the way its packets come."""
        named = self._named(dialog)
        # A connection that is there is used on (RFC 5923).
        stays = dialog.behind_nat or named is None or (named.reliable and named.transport == dialog.peer.transport)
        return dialog.peer if stays or named is None else named

    def _named(self, dialog: Dialog) -> Peer | None:
        """The place that the next hop names; None when that is no address, or by a transport that we do not speak."""
        hop, peer = dialog.next_hop(), dialog.peer
        transport = "tls" if hop.scheme == "sips" else hop.transport or ("udp" if not peer.reliable else peer.transport)
        if transport not in self.settings.local or literal(hop.host) is None:
            return None
        return Peer(transport, hop.host.strip("[]"), hop.port or DEFAULT_PORTS[transport], name=peer.name)

    def _without_connection(self, dialog: Dialog) -> Peer:
        """Where a dialog goes on when its connection is gone: where its next hop says; behind a NAT there is nothing
        but the place where it was."""
        named = self._named(dialog)
        lost = replace(dialog.peer, flow=0)
        return lost if named is None or hidden(named.host, lost.host) else named

    def begin(self, request: Request, peer: Peer) -> Transaction:
        """See `Agent`."""
        return self._transactions.client(request, peer)

    def credentials(
        self, request: Request, answer: Response, attempt: int, account: Account | None
    ) -> tuple[str, str] | None:
        """See `Agent`."""
        return None if account is None else credentials_for(request, answer, account, attempt, self._mint())

    def known(self, session: Session, dialog: DialogId) -> None:
        """See `Agent`."""
        self._early.pop(dialog[:2], None)
        self._sessions[dialog] = session
        session.dialog_ids.add(dialog)

    def forget(self, session: Session) -> None:
        """See `Agent`."""
        self._early.pop((call_id(session.invite), session.local_tag), None)
        for dialog in session.dialog_ids:
            if self._sessions.get(dialog) is session:
                del self._sessions[dialog]

    def chance(self) -> float:
        """See `Agent`."""
        return self._chance()

    # what comes in ----------------------------------------------------------------------------------------------

    def _response(self, answer: Response, now: float) -> None:
        self.counters.responses += 1
        if not self._transactions.answered(answer, now):
            self.counters.stray += 1

    def _request(self, request: Request, fault: Fault, peer: Peer, now: float) -> None:
        self.counters.requests += 1
        back = stamp(request, peer)
        if fault is not None:
            status, reason = fault
            self._once(request, Verdict(status, reason), back)
        elif self._transactions.repeated(request, now):
            return
        elif request.method == "ACK":
            session = self._sessions.get(dialog_id(request, theirs=True))
            if session is not None:
                session.acknowledged(request, now)
        elif request.method == "CANCEL":
            self._cancel(request, back, now)
        elif (refusal := self._refusal(request)).status:
            self._once(request, refusal, back)
        elif tag(request, "to"):
            self._in_dialog(request, back, now)
        else:
            self._new(request, peer, back, now)

    def _once(self, request: Request, verdict: Verdict, back: Peer) -> None:
        """Answer, and keep nothing: whoever sends one packet under another's address brings that one packet
        (RFC 3261 §8.2.7). A repetition gets the same answer, under the same tag; an ACK of it is of nothing here."""
        self.counters.refused += verdict.status >= 300 or verdict.status < 0
        if request.method != "ACK" and verdict.status > 0:
            named = f"{self._word} {call_id(request)} {request.headers.get_first('cseq')}"
            to_tag = hashlib.sha256(named.encode("utf-8", "replace")).hexdigest()[:16]
            answer = response(request, verdict.status, to_tag=to_tag, headers=verdict.headers, reason=verdict.reason)
            self.send(encode(answer), back)

    def _refusal(self, request: Request) -> Verdict:
        """What every request is looked at for (§8.2.1 to §8.2.2); an INVITE's requirements wait for the guard."""
        if request.method not in KNOWN_METHODS:
            return Verdict(501, headers=(("Allow", ALLOW),))
        if self._transactions.merged(request):
            return Verdict(482)
        return Verdict() if request.method == "INVITE" and not tag(request, "to") else _required(request)

    def _serve(self, request: Request, back: Peer, now: float, serve: Callable[[Transaction], None]) -> None:
        """Do what a request asks for, within its transaction, which gets an answer whatever happens."""
        transaction = self._transactions.server(request, back, now)
        try:
            serve(transaction)
        except Exception as error:
            verdict, session = self._mishap(error), self._invites.get(transaction.key)
            if session is not None:
                session.refuse(verdict.status, now)
            elif not transaction.respond(
                response(request, verdict.status, to_tag=self._mint(), reason=verdict.reason), now
            ):
                self._transactions.drop(transaction)

    def _mishap(self, error: Exception) -> Verdict:
        """What a request gets that could not be served. A mistake of ours in one must not stop the signalling of all
        others, nor fill the log."""
        if isinstance(error, SipError):
            return Verdict(400, reason_phrase(error))
        self.counters.failed += 1
        if self.counters.failed in (1, 10, 100, 1000):
            log.error("a message could not be served (%d so far)", self.counters.failed, exc_info=error)
        return Verdict(500)

    def _cancel(self, cancel: Request, back: Peer, now: float) -> None:
        invite = self._transactions.invite_of(cancel)
        if invite is None:
            self._once(cancel, Verdict(481), back)
            return
        session = self._invites.get(invite.key)

        def serve(transaction: Transaction) -> None:
            transaction.respond(response(cancel, 200, to_tag=session.local_tag if session else self._mint()), now)
            if session is not None:
                session.cancelled(now)

        self._serve(cancel, back, now, serve)

    def _in_dialog(self, request: Request, back: Peer, now: float) -> None:
        session = self._sessions.get(dialog_id(request, theirs=True))
        if session is None:
            self._once(request, Verdict(481), back)
        else:
            self._serve(request, back, now, lambda transaction: session.received(request, transaction, now))

    def _new(self, request: Request, peer: Peer, back: Peer, now: float) -> None:
        match request.method:
            case "INVITE":
                verdict = self.guard.admit(request, peer, now)
                if verdict.status:
                    self._once(request, verdict, back)
                else:
                    self._serve(request, back, now, lambda own: self._invited(request, own, verdict, peer, now))
            case "REGISTER":
                answer = self.guard.register(request, peer, now)
                if answer.status_code < 300:
                    self._serve(request, back, now, lambda own: void(own.respond(answer, now)))
                else:
                    self.counters.refused += 1
                    self.send(encode(answer), back)
            case "OPTIONS" if self.guard.admit(request, peer, now).status:
                self._once(request, Verdict(-1), back)
            case "OPTIONS":
                headers = (("Allow", ALLOW), ("Accept", KIND), ("Supported", SUPPORTED))
                self._once(request, Verdict(200, headers=headers), back)
            case "SUBSCRIBE" | "NOTIFY" | "PUBLISH":
                self._once(request, Verdict(489), back)
            case "BYE" | "INFO" | "UPDATE" | "PRACK" | "REFER":
                self._once(request, Verdict(481), back)
            case _:
                self._once(request, Verdict(405, headers=(("Allow", ALLOW),)), back)

    def _invited(self, invite: Request, transaction: Transaction, verdict: Verdict, peer: Peer, now: float) -> None:
        """An INVITE that the guard has let in becomes a session, unless it asks for what nobody here can do."""
        replaced, status = self._replaced(invite)
        wrong = next((v for v in (_required(invite), _unacceptable(invite), Verdict(status)) if v.status), None)
        if wrong is not None:
            self.counters.refused += 1
            transaction.respond(response(invite, wrong.status, to_tag=self._mint(), headers=wrong.headers), now)
            return
        local_tag = self._mint()
        session = Session(self, invite, transaction.peer, local_tag, inbound=True)
        session.context = verdict.context
        top = vias(invite)[0]
        behind_nat = "received" in top.params and not same_host(top.params["received"] or "", top.host)
        dialog = Dialog.of_request(invite, local_tag, peer, behind_nat=behind_nat)
        self._invites[transaction.key] = session
        over = transaction.on_over

        def forget(done: Transaction) -> None:
            self._invites.pop(done.key, None)
            if over is not None:
                over(done)

        transaction.on_over = forget
        session.arrived(transaction, dialog, now, replaced)

    def _replaced(self, invite: Request) -> tuple[Session | None, int]:
        """The session that an INVITE takes the place of, or the status that it is refused with (RFC 3891 §3)."""
        values = invite.headers.get("replaces")
        if not values:
            return None, 0
        if len(values) > 1:
            return None, 400
        call, _, rest = values[0].partition(";")
        params = parse_params(rest)
        wanted = (call.strip(), params.get("to-tag") or "", params.get("from-tag") or "")
        session = self._sessions.get(wanted)
        if session is None or session.state == "over":
            return None, 481
        if "early-only" in params and session.state == "up":
            return None, 486
        return (session, 0) if session.state == "up" else (None, 481)


def _required(request: Request) -> Verdict:
    unknown = tokens(request, "require") - {*EXTENSIONS}
    return Verdict(420, headers=(("Unsupported", ", ".join(sorted(unknown))),)) if unknown else Verdict()


def _unacceptable(invite: Request) -> Verdict:
    if headers := unreadable(invite):
        return Verdict(415, headers=tuple(headers))
    wanted = {value.partition(";")[0].strip() for value in tokens(invite, "accept")}
    return Verdict(406) if wanted and not wanted & {KIND, "application/*", "*/*"} else Verdict()
