"""Registrations: which user can be reached where, and until when (RFC 3261 §10.3)."""

from __future__ import annotations

from dataclasses import dataclass

from offhook.sip.grammar import Uri, parse_address
from offhook.sip.message import Request, Response, address, call_id, cseq, response
from offhook.sip.transaction import Peer

DEFAULT_EXPIRES = 3600
SHORTEST = 30
LONGEST = 7200
CONTACTS = 10
"""Contacts of one user; the one that registered longest ago gives way to one more."""


@dataclass(frozen=True, slots=True)
class Binding:
    """One contact of a user. `peer` is where its REGISTER came from, which is the way back through a NAT."""

    contact: Uri
    peer: Peer
    expires_at: float
    call_id: str
    sequence: int
    behind_nat: bool
    since: float = 0.0
    """When it was registered last."""


class Registrar:
    """The bindings of all users; `register` answers a REGISTER that may be obeyed."""

    def __init__(self) -> None:
        self._users: dict[str, dict[str, Binding]] = {}

    def __len__(self) -> int:
        return len(self._users)

    def users(self, now: float) -> list[str]:
        """Who can be reached."""
        return [user for user in list(self._users) if self.bindings(user, now)]

    def bindings(self, user: str, now: float) -> list[Binding]:
        """The contacts of a user that still hold, the newest first."""
        known = self._users.get(user)
        if known is None:
            return []
        for contact in [contact for contact, binding in known.items() if binding.expires_at <= now]:
            del known[contact]
        if not known:
            del self._users[user]
        return sorted(known.values(), key=lambda binding: -binding.since)

    def peers(self) -> list[Peer]:
        """Where everybody registered from."""
        return [binding.peer for known in self._users.values() for binding in known.values()]

    def knows(self, peer: Peer) -> bool:
        """Whether somebody registered from there."""
        return peer in self.peers()

    def forget(self, peer: Peer) -> None:
        """A connection is gone, and with it what was reached by it."""
        for user in list(self._users):
            kept = {contact: b for contact, b in self._users[user].items() if b.peer != peer}
            if kept:
                self._users[user] = kept
            else:
                del self._users[user]

    def register(self, user: str, request: Request, peer: Peer, to_tag: str, now: float) -> Response:
        """Do what a REGISTER says, all of it or nothing, and answer with what holds now."""
        known = {binding_key(b.contact): b for b in self.bindings(user, now)}
        number, call = cseq(request)[0], call_id(request)
        values = request.headers.get("contact")
        if values == ["*"]:
            if request.headers.get_first("expires") != "0":
                return response(request, 400, to_tag=to_tag, reason="A Contact of * Needs Expires: 0")
            self._users.pop(user, None)
            return self._answer(user, request, to_tag, now)
        for value in values:
            if value == "*":
                return response(request, 400, to_tag=to_tag, reason="A Contact of * Stands Alone")
            contact = parse_address(value)
            seconds = _expires(request, contact.params.get("expires"))
            if 0 < seconds < SHORTEST:
                headers = [("Min-Expires", str(SHORTEST))]
                return response(request, 423, to_tag=to_tag, headers=headers)
            key = binding_key(contact.uri)
            before = known.get(key)
            if before is not None and before.call_id == call and number <= before.sequence:
                return response(request, 500, to_tag=to_tag, reason="CSeq Out Of Order")
            if seconds == 0:
                known.pop(key, None)
                continue
            nat = contact.uri.host.strip("[]") != peer.host
            until = now + min(seconds, LONGEST)
            known[key] = Binding(contact.uri, peer, until, call, number, nat or peer.reliable, now)
        for key in sorted(known, key=lambda key: known[key].since)[: max(len(known) - CONTACTS, 0)]:
            del known[key]
        if known:
            self._users[user] = known
        else:
            self._users.pop(user, None)
        return self._answer(user, request, to_tag, now)

    def _answer(self, user: str, request: Request, to_tag: str, now: float) -> Response:
        headers = [
            ("Contact", f"<{b.contact}>;expires={max(round(b.expires_at - now), 0)}") for b in self.bindings(user, now)
        ]
        return response(request, 200, to_tag=to_tag, headers=headers)


def user_of(request: Request) -> str:
    """The user that a REGISTER is about: that of To (§10.3 step 5)."""
    return address(request, "to").uri.user or ""


def binding_key(contact: Uri) -> str:
    """Contacts are equal when this is (§19.1.4, as far as phones go)."""
    return f"{contact.scheme}:{contact.user or ''}@{contact.host.lower()}:{contact.port or ''};{contact.transport}"


def _expires(request: Request, param: str | None) -> int:
    for text in (param, request.headers.get_first("expires")):
        if text is not None:
            text = text.strip()
            return min(int(text), 2**31) if text.isascii() and text.isdigit() else DEFAULT_EXPIRES
    return DEFAULT_EXPIRES
