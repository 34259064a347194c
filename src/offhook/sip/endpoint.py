"""A SIP endpoint: bytes and the time in, bytes and events out (RFC 3261 §§8, 10, 11, 18).

It owns the transactions and the sessions of a node, answers what needs no call, and asks its `guard` before anything
becomes one. It opens no socket: `drain_packets` are put on the network by whoever has one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from offhook.errors import SipError
from offhook.sip.auth import Account, credentials_for
from offhook.sip.capabilities import ALLOW, EXTENSIONS, SUPPORTED
from offhook.sip.dialog import Dialog, DialogId, dialog_id
from offhook.sip.events import Event
from offhook.sip.grammar import Address, Uri, Via, parse_params
from offhook.sip.message import (
    BRANCH,
    Fault,
    Request,
    Response,
    call_id,
    encode,
    parse,
    request,
    response,
    tag,
    tokens,
    vias,
)
from offhook.sip.registration import Registration, RegistrationState
from offhook.sip.sdp import KIND
from offhook.sip.session import Headers, Session
from offhook.sip.session_timer import INTERVAL, MIN_SE
from offhook.sip.timers import Timers
from offhook.sip.transaction import Peer, Transaction, Transactions, stamp

KNOWN_METHODS = {"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REGISTER", "INFO", "UPDATE", "PRACK", "SUBSCRIBE"}
KNOWN_METHODS |= {"NOTIFY", "REFER", "MESSAGE", "PUBLISH"}
DEFAULT_PORTS = {"udp": 5060, "tcp": 5060, "tls": 5061}


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
        try:
            message, fault = parse(data)
            if isinstance(message, Response):
                self._response(message, now)
            else:
                self._request(message, fault, peer, now)
        except SipError:
            self.counters.garbage += 1

    def broken(self, peer: Peer, now: float) -> None:
        """A connection is gone, or a datagram could not be sent."""
        self._transactions.broken(peer, now)

    def advance(self, now: float) -> None:
        """Let timers fire."""
        self.timers.advance(now)

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
            ("Contact", self.contact(peer)),
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

    def contact(self, peer: Peer, user: str | None = None) -> str:
        """See `Agent`; `user`: another than the settings'."""
        host, port = self.settings.local[peer.transport]
        params: dict[str, str | None] = {} if peer.transport == "udp" else {"transport": peer.transport}
        return f"<{Uri('sip', user or self.settings.user, host, port, params)}>"

    def route(self, dialog: Dialog) -> Peer:
        """See `Agent`: by the route set or the target when that names an address, else the way its packets come."""
        hop, peer = dialog.next_hop(), dialog.peer
        transport = "tls" if hop.scheme == "sips" else hop.transport or ("udp" if not peer.reliable else peer.transport)
        host = hop.host.strip("[]")
        if dialog.behind_nat or transport not in self.settings.local or not _literal(host):
            return peer
        port = hop.port or DEFAULT_PORTS[transport]
        if transport != "udp" and transport == peer.transport:
            return peer  # the connection that is there (RFC 5923)
        return Peer(transport, host, port)

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
            self.counters.refused += 1
            if request.method != "ACK":
                status, reason = fault
                self.send(encode(response(request, status, to_tag=self._mint(), reason=reason)), back)
            return
        transaction = self._transactions.server(request, back, now)
        if transaction is None:
            return
        if request.method == "ACK":
            session = self._sessions.get(dialog_id(request, theirs=True))
            if session is not None:
                session.acknowledged(request, now)
            return
        if request.method == "CANCEL":
            self._cancel(request, transaction, now)
            return
        refusal = self._refusal(request, transaction)
        if refusal is not None:
            self.counters.refused += 1
            transaction.respond(refusal, now)
        elif tag(request, "to"):
            self._in_dialog(request, transaction, now)
        else:
            self._new(request, transaction, peer, now)

    def _refusal(self, request: Request, transaction: Transaction) -> Response | None:
        """What every request is looked at for (§8.2.1 to §8.2.2)."""
        if request.method not in KNOWN_METHODS:
            return response(request, 501, to_tag=self._mint(), headers=[("Allow", ALLOW)])
        if self._transactions.merged(transaction):
            return response(request, 482, to_tag=self._mint())
        unknown = tokens(request, "require") - {*EXTENSIONS}
        if unknown:
            headers = [("Unsupported", ", ".join(sorted(unknown)))]
            return response(request, 420, to_tag=self._mint(), headers=headers)
        return None

    def _cancel(self, cancel: Request, transaction: Transaction, now: float) -> None:
        invite = self._transactions.invite_of(cancel)
        if invite is None:
            transaction.respond(response(cancel, 481, to_tag=self._mint()), now)
            return
        session = self._invites.get(invite.key)
        transaction.respond(response(cancel, 200, to_tag=session.local_tag if session else self._mint()), now)
        if session is not None:
            session.cancelled(now)

    def _in_dialog(self, request: Request, transaction: Transaction, now: float) -> None:
        session = self._sessions.get(dialog_id(request, theirs=True))
        if session is None:
            transaction.respond(response(request, 481), now)
        else:
            session.received(request, transaction, now)

    def _new(self, request: Request, transaction: Transaction, peer: Peer, now: float) -> None:
        match request.method:
            case "INVITE":
                self._invited(request, transaction, peer, now)
            case "OPTIONS" if self.guard.admit(request, peer, now).status:
                self.counters.refused += 1
                self._transactions.drop(transaction)
            case "OPTIONS":
                headers = [("Allow", ALLOW), ("Accept", KIND), ("Supported", SUPPORTED)]
                transaction.respond(response(request, 200, to_tag=self._mint(), headers=headers), now)
            case "REGISTER":
                transaction.respond(self.guard.register(request, peer, now), now)
            case "SUBSCRIBE" | "NOTIFY" | "PUBLISH":
                transaction.respond(response(request, 489, to_tag=self._mint()), now)
            case "BYE" | "INFO" | "UPDATE" | "PRACK" | "REFER":
                transaction.respond(response(request, 481, to_tag=self._mint()), now)
            case _:
                transaction.respond(response(request, 405, to_tag=self._mint(), headers=[("Allow", ALLOW)]), now)

    def _invited(self, invite: Request, transaction: Transaction, peer: Peer, now: float) -> None:
        kind = invite.headers.get_first("content-type")
        if invite.body and kind and kind.partition(";")[0].strip().lower() != KIND:
            headers = [("Accept", KIND)]
            transaction.respond(response(invite, 415, to_tag=self._mint(), headers=headers), now)
            return
        wanted = {value.partition(";")[0].strip() for value in tokens(invite, "accept")}
        if wanted and not wanted & {KIND, "application/*", "*/*"}:
            transaction.respond(response(invite, 406, to_tag=self._mint()), now)
            return
        verdict = self.guard.admit(invite, peer, now)
        replaced, status = self._replaced(invite)
        if status and not verdict.status:
            verdict = Verdict(status)
        if verdict.status:
            self.counters.refused += 1
            if verdict.status < 0:
                self._transactions.drop(transaction)
            else:
                answer = response(
                    invite, verdict.status, to_tag=self._mint(), headers=verdict.headers, reason=verdict.reason
                )
                transaction.respond(answer, now)
            return
        local_tag = self._mint()
        session = Session(self, invite, transaction.peer, local_tag, inbound=True)
        session.context = verdict.context
        top = vias(invite)[0]
        behind_nat = "received" in top.params and top.params["received"] != top.host
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


def _literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
