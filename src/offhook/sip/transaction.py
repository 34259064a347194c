"""Transactions: retransmission, matching and absorption, as four tables (RFC 3261 §17, RFC 6026).

A row is (state, input) -> (next state, what is done). Timers of a state end with it. Over reliable transports
nothing is repeated and nothing lingers (RFC 3261 §17: timers A, E, G are off, D, I, J and K are zero).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from offhook.errors import SipError
from offhook.sip.grammar import Via, parse_uri, parse_via
from offhook.sip.message import (
    BRANCH,
    Message,
    Request,
    Response,
    call_id,
    cseq,
    encode,
    request,
    tag,
    vias,
)
from offhook.sip.timers import Timer, Timers

T1 = 0.5  # seconds: round-trip estimate
T2 = 4.0  # longest pause between repetitions
T4 = 5.0  # how long a message may stay in the network
PATIENCE = 64 * T1  # timers B, F, H, J, L, M
LINGER = 32.0  # timer D

Row = tuple[str, tuple[str, ...]]
Table = dict[tuple[str, str], Row]

# RFC 3261 §17.1.1 with the Accepted state of RFC 6026 §7.2.
CLIENT_INVITE: Final[Table] = {
    ("new", "start"): ("calling", ("send", "repeat", "patience")),
    ("calling", "repeat"): ("", ("send", "repeat")),
    ("calling", "patience"): ("over", ("timeout",)),
    ("calling", "1xx"): ("proceeding", ("up",)),
    ("calling", "2xx"): ("accepted", ("up", "patience")),
    ("calling", "final"): ("completed", ("ack", "up", "linger")),
    ("calling", "broken"): ("over", ("fail",)),
    ("proceeding", "1xx"): ("", ("up",)),
    ("proceeding", "2xx"): ("accepted", ("up", "patience")),
    ("proceeding", "final"): ("completed", ("ack", "up", "linger")),
    ("proceeding", "broken"): ("over", ("fail",)),
    ("completed", "final"): ("", ("ack",)),
    ("completed", "linger"): ("over", ()),
    ("completed", "broken"): ("over", ()),
    ("accepted", "2xx"): ("", ("up",)),
    ("accepted", "patience"): ("over", ()),
}

# RFC 3261 §17.1.2.
CLIENT: Final[Table] = {
    ("new", "start"): ("trying", ("send", "repeat", "patience")),
    ("trying", "repeat"): ("", ("send", "repeat")),
    ("trying", "patience"): ("over", ("timeout",)),
    ("trying", "1xx"): ("", ("up", "slow")),
    ("trying", "2xx"): ("completed", ("up", "settle")),
    ("trying", "final"): ("completed", ("up", "settle")),
    ("trying", "broken"): ("over", ("fail",)),
    ("completed", "settle"): ("over", ()),
}

# RFC 3261 §17.2.1 with the Accepted state of RFC 6026 §7.1. 2xx are repeated by the dialog, not here (§13.3.1.4).
SERVER_INVITE: Final[Table] = {
    ("new", "start"): ("proceeding", ()),
    ("proceeding", "again"): ("", ("send",)),
    ("proceeding", "1xx"): ("", ("send",)),
    ("proceeding", "2xx"): ("accepted", ("send", "patience")),
    ("proceeding", "final"): ("completed", ("send", "repeat", "patience")),
    ("proceeding", "broken"): ("over", ("fail",)),
    ("completed", "again"): ("", ("send",)),
    ("completed", "repeat"): ("", ("send", "repeat")),
    ("completed", "patience"): ("over", ("timeout",)),
    ("completed", "ack"): ("confirmed", ("settle",)),
    ("completed", "broken"): ("over", ("fail",)),
    ("confirmed", "settle"): ("over", ()),
    ("accepted", "2xx"): ("", ("send",)),
    ("accepted", "ack"): ("", ("acknowledged",)),
    ("accepted", "patience"): ("over", ()),
}

# RFC 3261 §17.2.2.
SERVER: Final[Table] = {
    ("new", "start"): ("trying", ()),
    ("trying", "1xx"): ("proceeding", ("send",)),
    ("trying", "2xx"): ("completed", ("send", "patience")),
    ("trying", "final"): ("completed", ("send", "patience")),
    ("proceeding", "again"): ("", ("send",)),
    ("proceeding", "1xx"): ("", ("send",)),
    ("proceeding", "2xx"): ("completed", ("send", "patience")),
    ("proceeding", "final"): ("completed", ("send", "patience")),
    ("completed", "again"): ("", ("send",)),
    ("completed", "patience"): ("over", ()),
}


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a socket. `flow` is the number of a TCP or TLS connection, 0 over UDP.

    `name`: the domain that was asked for, which a TLS certificate must show (RFC 5922 §7.2); empty: the address.
    """

    transport: str  # udp, tcp or tls
    host: str
    port: int
    flow: int = 0
    name: str = field(default="", compare=False)

    @property
    def reliable(self) -> bool:
        """Whether the transport repeats by itself."""
        return self.transport != "udp"

    def __str__(self) -> str:
        return f"{self.transport}:{self.host}:{self.port}"


Send = Callable[[bytes, Peer], None]


class Transaction:
    """One request and its answers, from either side. What it does beyond sending goes to its owner's callbacks."""

    __slots__ = (
        "_data",
        "_pause",
        "_send",
        "_timer",
        "_timers",
        "_waits",
        "key",
        "on_acknowledged",
        "on_over",
        "on_problem",
        "on_response",
        "peer",
        "request",
        "state",
        "table",
    )

    def __init__(self, table: Table, key: object, request: Request, peer: Peer, send: Send, timers: Timers) -> None:
        self.table = table
        self.key = key
        self.request = request
        self.peer = peer
        self.state = "new"
        self.on_response: Callable[[Response, float], None] | None = None
        self.on_problem: Callable[[str, float], None] | None = None
        self.on_acknowledged: Callable[[Request, float], None] | None = None
        self.on_over: Callable[[Transaction], None] | None = None
        self._send = send
        self._timers = timers
        self._waits: list[Timer] = []
        self._pause = T1
        self._data = b""

    @property
    def over(self) -> bool:
        """Whether nothing more can come of it."""
        return self.state == "over"

    def put(self, event: str, now: float, message: Message | None = None) -> bool:
        """Take one input; False when this state has no use for it."""
        row = self.table.get((self.state, event))
        if row is None:
            return False
        following, actions = row
        if following:
            self.state = following
            for wait in self._waits:
                wait.cancel()
            self._waits.clear()
        for action in actions:
            _DO[action](self, now, message)
        if self.state == "over" and self.on_over is not None:
            done, self.on_over = self.on_over, None
            done(self)
        return True

    def respond(self, response: Response, now: float) -> bool:
        """Send an answer (server side); False when it comes too late."""
        kind = _kind(response.status_code)
        if (self.state, kind) not in self.table:
            return False
        self._data = encode(response)
        return self.put(kind, now)

    # what rows do -----------------------------------------------------------------------------------------------

    def _do_send(self, now: float, message: Message | None) -> None:
        if self._data:
            self._send(self._data, self.peer)

    def _do_up(self, now: float, message: Message | None) -> None:
        if self.on_response is not None and isinstance(message, Response):
            self.on_response(message, now)

    def _do_ack(self, now: float, message: Message | None) -> None:
        """ACK of a refusal is the transaction's own (RFC 3261 §17.1.1.3)."""
        if isinstance(message, Response):
            self._send(encode(_ack(self.request, message)), self.peer)

    def _do_acknowledged(self, now: float, message: Message | None) -> None:
        if self.on_acknowledged is not None and isinstance(message, Request):
            self.on_acknowledged(message, now)

    def _do_timeout(self, now: float, message: Message | None) -> None:
        if self.on_problem is not None:
            self.on_problem("timeout", now)

    def _do_fail(self, now: float, message: Message | None) -> None:
        if self.on_problem is not None:
            self.on_problem("transport", now)

    def _do_repeat(self, now: float, message: Message | None) -> None:
        """Timers A, E and G. An INVITE's pause doubles without end, the others' up to T2."""
        if self.peer.reliable:
            return
        self._wait("repeat", now + self._pause)
        self._pause *= 2
        if self.table is not CLIENT_INVITE:
            self._pause = min(self._pause, T2)

    def _do_slow(self, now: float, message: Message | None) -> None:
        """A provisional answer: repetitions come every T2 (§17.1.2.2)."""
        self._pause = T2

    def _do_patience(self, now: float, message: Message | None) -> None:
        quiet = self.table is SERVER and self.peer.reliable
        self._wait("patience", now if quiet else now + PATIENCE)

    def _do_linger(self, now: float, message: Message | None) -> None:
        self._wait("linger", now if self.peer.reliable else now + LINGER)

    def _do_settle(self, now: float, message: Message | None) -> None:
        self._wait("settle", now if self.peer.reliable else now + T4)

    def _wait(self, event: str, when: float) -> None:
        self._waits.append(self._timers.start(when, lambda now: void(self.put(event, now))))

    def start(self, now: float) -> None:
        """Send the request (client side), or begin to wait for answers (server side)."""
        if self.table in (CLIENT, CLIENT_INVITE):
            self._data = encode(self.request)
        self.put("start", now)


def void(value: object) -> None:
    """Take a value and forget it."""


_DO: Final[dict[str, Callable[[Transaction, float, Message | None], None]]] = {
    name.removeprefix("_do_"): function for name, function in vars(Transaction).items() if name.startswith("_do_")
}


def _kind(status: int) -> str:
    return "1xx" if status < 200 else "2xx" if status < 300 else "final"


def _ack(invite: Request, answer: Response) -> Request:
    headers = [("Via", str(vias(invite)[0])), ("Max-Forwards", "70"), ("From", invite.headers.get("from")[0])]
    headers += [("To", answer.headers.get("to")[0]), ("Call-ID", call_id(invite)), ("CSeq", f"{cseq(invite)[0]} ACK")]
    headers += [("Route", value) for value in invite.headers.get("route")]
    return request("ACK", parse_uri(invite.uri), headers)


class Transactions:
    """All transactions of an endpoint, by their keys (RFC 3261 §§17.1.3, 17.2.3)."""

    def __init__(self, send: Send, timers: Timers) -> None:
        self._send = send
        self._timers = timers
        self._clients: dict[object, Transaction] = {}
        self._servers: dict[object, Transaction] = {}
        self._merged: dict[tuple[str, str, int, str], Transaction] = {}

    def __len__(self) -> int:
        return len(self._clients) + len(self._servers)

    @property
    def unanswered(self) -> int:
        """Requests of ours without a final answer."""
        return sum(t.state in ("calling", "proceeding", "trying") for t in self._clients.values())

    def client(self, request: Request, peer: Peer) -> Transaction:
        """A transaction for our request; its top Via is ours already. `start` sends it."""
        key = (vias(request)[0].branch, request.method)
        table = CLIENT_INVITE if request.method == "INVITE" else CLIENT
        transaction = Transaction(table, key, request, peer, self._send, self._timers)
        transaction.on_over = lambda done: void(self._clients.pop(done.key, None))
        self._clients[key] = transaction
        return transaction

    def answered(self, response: Response, now: float) -> bool:
        """Give a response to its transaction; False for one that nobody asked for."""
        try:
            transaction = self._clients.get((vias(response)[0].branch, cseq(response)[1]))
        except SipError:
            return False
        return transaction is not None and transaction.put(_kind(response.status_code), now, response)

    def server(self, request: Request, peer: Peer, now: float) -> Transaction | None:
        """A transaction for a new request. None for a repetition, which is answered here, and for an ACK taken."""
        top = vias(request)[0]
        key = _server_key(request, top)
        known = self._servers.get(key)
        if known is not None:
            known.put("ack" if request.method == "ACK" else "again", now, request)
            return None
        table = SERVER_INVITE if request.method == "INVITE" else SERVER
        transaction = Transaction(table, key, request, peer, self._send, self._timers)
        if request.method == "ACK":
            return transaction  # of a 2xx: nothing answers it, and nothing is kept
        self._servers[key] = transaction
        merged = _merge_key(request)
        self._merged.setdefault(merged, transaction)

        def forget(done: Transaction) -> None:
            self._servers.pop(done.key, None)
            if self._merged.get(merged) is done:
                del self._merged[merged]

        transaction.on_over = forget
        transaction.start(now)
        return transaction

    def merged(self, transaction: Transaction) -> bool:
        """Whether the same request is here already by another way (RFC 3261 §8.2.2.2)."""
        request = transaction.request
        return not tag(request, "to") and self._merged.get(_merge_key(request)) is not transaction

    def drop(self, transaction: Transaction) -> None:
        """Keep nothing of a request that gets no answer at all."""
        transaction.state = "over"
        if transaction.on_over is not None:
            transaction.on_over(transaction)

    def invite_of(self, cancel: Request) -> Transaction | None:
        """The INVITE that a CANCEL means (RFC 3261 §9.2)."""
        key = _server_key(cancel, vias(cancel)[0], "INVITE")
        return self._servers.get(key)

    def broken(self, peer: Peer, now: float) -> None:
        """A connection failed, or a datagram was refused: its transactions fail (RFC 3261 §17.1.4)."""
        for transaction in [*self._clients.values(), *self._servers.values()]:
            if transaction.peer == peer:
                transaction.put("broken", now)


def _server_key(request: Request, top: Via, method: str = "") -> object:
    method = method or ("INVITE" if request.method == "ACK" else request.method)
    if top.branch.startswith(BRANCH) and top.branch != BRANCH:
        return top.branch, top.sent_by, method
    # RFC 2543 peers have no unique branches (RFC 3261 §17.2.3).
    return call_id(request), tag(request, "from"), cseq(request)[0], top.sent_by, method


def _merge_key(request: Request) -> tuple[str, str, int, str]:
    return call_id(request), tag(request, "from"), cseq(request)[0], request.method


def reply_to(via: Via, peer: Peer) -> tuple[Via, Peer]:
    """The top Via with `received` and `rport` filled in, and where answers go (RFC 3261 §18.2, RFC 3581)."""
    params = dict(via.params)
    if "rport" in params:
        params["rport"] = str(peer.port)
    if via.host.strip("[]").lower() != peer.host.strip("[]").lower() or "rport" in params:
        params["received"] = peer.host
    stamped = Via(via.transport, via.host, via.port, params)
    if peer.reliable:
        return stamped, peer
    port = peer.port if "rport" in params else via.port or 5060
    return stamped, Peer(peer.transport, peer.host, port, peer.flow)


def stamp(request: Request, peer: Peer) -> Peer:
    """Write `received` and `rport` into a request's top Via; gives back where its answers go."""
    values = list(request.headers.get("via"))
    stamped, back = reply_to(parse_via(values[0]), peer)
    request.headers.remove("Via")
    for value in [str(stamped), *values[1:]]:
        request.headers.append("Via", value)
    return back
