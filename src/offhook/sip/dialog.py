"""A dialog: who talks to whom, by which way, and with which numbers (RFC 3261 §12)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from offhook.sip.grammar import Address, Uri
from offhook.sip.message import (
    Request,
    Response,
    address,
    addresses,
    call_id,
    cseq,
    request,
    tag,
    tokens,
)
from offhook.sip.nat import hidden
from offhook.sip.transaction import Peer

DialogId = tuple[str, str, str]
"""Call-ID, our tag, their tag."""


@dataclass(slots=True)
class Dialog:
    """One side's view. `target` is where requests go in the end, `routes` the way there."""

    call_id: str
    local: Address
    remote: Address
    target: Uri
    routes: list[Address]
    local_seq: int
    remote_seq: int | None
    peer: Peer
    confirmed: bool = False
    behind_nat: bool = False
    """Whether the peer's own addresses cannot be reached: requests go back where its packets come from."""
    supported: set[str] = field(default_factory=set)
    allowed: set[str] = field(default_factory=set)
    """Methods in lower case that they say they know."""

    def __post_init__(self) -> None:
        self._look()

    def _look(self) -> None:
        self.behind_nat = self.behind_nat or hidden(self.next_hop().host, self.peer.host)

    @classmethod
    def of_request(cls, invite: Request, local_tag: str, peer: Peer, *, behind_nat: bool) -> Dialog:
        """The called side's, from the INVITE (§12.1.1). SipError without a usable Contact."""
        contacts = addresses(invite, "contact")
        return cls(
            call_id(invite),
            address(invite, "to").tagged(local_tag),
            address(invite, "from"),
            contacts[0].uri if contacts else address(invite, "from").uri,
            addresses(invite, "record-route"),
            0,
            cseq(invite)[0],
            peer,
            behind_nat=behind_nat,
            allowed=tokens(invite, "allow"),
        )

    @classmethod
    def of_response(cls, invite: Request, answer: Response, peer: Peer) -> Dialog:
        """The calling side's, from an answer with a To tag (§12.1.2)."""
        contacts = addresses(answer, "contact")
        return cls(
            call_id(invite),
            address(invite, "from"),
            address(answer, "to"),
            contacts[0].uri if contacts else address(invite, "to").uri,
            addresses(answer, "record-route")[::-1],
            cseq(invite)[0],
            None,
            peer,
            allowed=tokens(answer, "allow"),
        )

    @property
    def id(self) -> DialogId:
        """By what messages of it are known."""
        return self.call_id, self.local.tag or "", self.remote.tag or ""

    def refresh(self, message: Request | Response) -> None:
        """A new Contact in a target refresh request or its answer (§12.2)."""
        contacts = addresses(message, "contact")
        if contacts:
            self.target = contacts[0].uri
            self._look()
        self.allowed |= tokens(message, "allow")

    def follow(self, answer: Response) -> None:
        """The 2xx of a dialog that an earlier answer began: its route set counts (§13.2.2.4)."""
        self.routes = addresses(answer, "record-route")[::-1]
        self.refresh(answer)
        self.remote = address(answer, "to")

    def next_hop(self) -> Uri:
        """Whom requests are sent to first."""
        return self.routes[0].uri if self.routes else self.target

    def request(
        self,
        method: str,
        via: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        kind: str = "",
        number: int | None = None,
    ) -> Request:
        """A request within the dialog (§12.2.1.1). `number`: the CSeq of an ACK, which is its INVITE's."""
        if number is None:
            self.local_seq += 1
            number = self.local_seq
        uri, routes = self.target, [str(route) for route in self.routes]
        if self.routes and not self.routes[0].uri.loose:
            uri, routes = self.routes[0].uri, [*routes[1:], f"<{self.target}>"]
        basics = [("Via", via), ("Max-Forwards", "70"), *(("Route", route) for route in routes)]
        basics += [("From", str(self.local)), ("To", str(self.remote)), ("Call-ID", self.call_id)]
        basics += [("CSeq", f"{number} {method}"), *headers]
        return request(method, uri, basics, body, kind)

    def in_order(self, incoming: Request) -> bool:
        """Whether a request is newer than all before it (§12.2.2); remembers its number."""
        number = cseq(incoming)[0]
        if self.remote_seq is not None and number <= self.remote_seq:
            return False
        self.remote_seq = number
        return True


def dialog_id(message: Request | Response, *, theirs: bool) -> DialogId:
    """The id of the dialog that a message names. `theirs`: it is a request of the other side."""
    ours, other = ("to", "from") if theirs else ("from", "to")
    return call_id(message), tag(message, ours), tag(message, other)
