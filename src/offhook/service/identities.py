"""Who somebody on SIP is to an app, and what of that a phone or a carrier is shown (protocol.md §1.2, §3.6).

A user part of digits is a phone number; any other user has a stable `8:acs:…` id of this resource. Ids of that kind
mean nothing outside, so nobody is shown one.
"""

from __future__ import annotations

import re
import uuid

from offhook.errors import SipError, WireError
from offhook.service.routing import Table, TrunkRule, User
from offhook.sip.grammar import parse_uri
from offhook.sip.identity import Caller, caller_of
from offhook.sip.message import Request, address, addresses
from offhook.wire.identifiers import (
    PHONE_NUMBER,
    Identifier,
    communication_user,
    parse_raw_id,
    phone_number,
    resolve_target,
)

_DIGITS = re.compile(r"\+?\d{2,20}", re.ASCII)
_SEPARATORS = str.maketrans("", "", "-.() ")
_NAMESPACE = uuid.UUID("6d0b6c1e-8e1f-5d8e-9a54-0f3f0f6a2b11")
WITHHELD = parse_raw_id("4:anonymous")


class Identities:
    """The identifiers of one resource."""

    def __init__(self, resource_id: str, table: Table) -> None:
        self._resource_id = resource_id
        self._table = table

    def identify(self, user: str) -> Identifier:
        """The identifier of a SIP user: of a number without its parameters and separators (RFC 3966 §5.1, RFC 4694)."""
        user = user.partition(";")[0]
        bare = user.translate(_SEPARATORS)
        if _DIGITS.fullmatch(bare):
            return phone_number("+" + bare.lstrip("+"))
        try:
            return resolve_target(user)
        except WireError:
            return communication_user(f"8:acs:{self._resource_id}_{uuid.uuid5(_NAMESPACE, user.lower())}")

    def of(self, name: str) -> Identifier:
        """The identifier that a registered user has: its number, if it was given one."""
        known = self._table.user_of(name)
        return self.identify(known.number if known is not None and known.number else name)

    def caller(self, invite: Request, trunk: TrunkRule | None, user: User | None) -> tuple[Identifier, str]:
        """Who calls, and the name to show: a user is who its password says, whatever its From."""
        if user is not None:
            return self.of(user.name), caller_of(invite, trusted=False).display
        said: Caller = caller_of(invite, trusted=trunk is None or trunk.trusted)
        return (self.identify(said.user), said.display) if said.user else (WITHHELD, "")


def called(invite: Request, trunk: TrunkRule | None) -> str:
    """The user that is called; empty when none is named.

    A registrar's calls come to the contact that we have registered, whatever was dialled: the number is in
    P-Called-Party-ID then (RFC 7315 §4.2), or in To.
    """
    user = parse_uri(invite.uri).user or ""
    if trunk is None or not trunk.register or user != trunk.username:
        return user
    try:
        named = [each.uri.user for each in addresses(invite, "p-called-party-id")]
    except SipError:
        named = []
    return next(filter(None, [*named, address(invite, "to").uri.user]), user)


def number_of(caller: Identifier | None) -> str:
    """The number that a caller can be shown by; empty without one."""
    if caller is None or caller.kind != PHONE_NUMBER or caller.is_anonymous:
        return ""
    return caller.id
