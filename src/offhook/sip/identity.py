"""Who calls, and what a call carries along for the app: identity, privacy and custom headers.

RFC 3325 (P-Asserted-Identity), RFC 3323 (Privacy), the older Remote-Party-ID, RFC 7433 (User-to-User).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from offhook.errors import SipError
from offhook.sip.grammar import Address, Uri
from offhook.sip.message import Request, address, addresses

ANONYMOUS = Address(Uri("sip", "anonymous", "anonymous.invalid"), "Anonymous")
CUSTOM = re.compile(r"x-ms-custom-[a-z0-9_.!%*+`'~-]{1,64}", re.IGNORECASE)
MOST_CUSTOM = 16
LONGEST_CUSTOM = 1024
"""Custom headers of one call, and characters of one value; more are left out."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. `user` is empty when that is withheld or not said."""

    user: str
    display: str
    withheld: bool = False


def caller_of(invite: Request, *, trusted: bool) -> Caller:
    """The caller of an INVITE. `trusted`: its sender may assert an identity (a trunk of ours); else From counts."""
    named = address(invite, "from")
    # Privacy values are parted by semicolons (RFC 3323 §4.2).
    words = {word.strip().lower() for value in invite.headers.get("privacy") for word in re.split("[;,]", value)}
    private = words & {"id", "user", "header", "full"}
    found = named
    if trusted:
        for name in ("p-asserted-identity", "remote-party-id"):
            said = _readable(invite, name)
            if said is None:
                continue
            found = said
            private |= {"id"} if said.params.get("privacy", "off") not in (None, "off") else set()
            break
    user = found.uri.user or ""
    anonymous = user.lower() in ("anonymous", "restricted", "unavailable", "") or found.uri.host.endswith(".invalid")
    if private or anonymous:
        return Caller("", "", withheld=True)
    return Caller(user, found.display or named.display)


def identity_headers(number: str, host: str, *, private: bool, trusted: bool) -> tuple[Address, list[tuple[str, str]]]:
    """From and further headers for a call of ours. A withheld number is told to a trusted trunk only (RFC 3325 §5)."""
    own = Address(Uri("sip", number, host))
    asserted = [("P-Asserted-Identity", str(own))] if trusted else []
    if private:
        return ANONYMOUS, [*asserted, ("Privacy", "id")]
    return own, asserted


def custom_headers(invite: Request) -> dict[str, str]:
    """The headers that a call carries for the app, named as an IncomingCall names them (protocol.md §6.3)."""
    found: dict[str, str] = {}
    for name, values in invite.headers.items():
        text = ", ".join(values)
        if len(found) >= MOST_CUSTOM or len(text) > LONGEST_CUSTOM:
            continue
        if name.lower() == "user-to-user":
            found["userToUser"] = text
        elif CUSTOM.fullmatch(name):
            found["X-MS-Custom-" + name[len("x-ms-custom-") :]] = text
    return found


def write_custom(wanted: Mapping[str, str]) -> list[tuple[str, str]]:
    """Custom headers for a call of ours, named as SIP or `custom_headers` does. SipError names a bad one."""
    made = []
    for name, value in wanted.items():
        name = "User-To-User" if name.lower() in ("user-to-user", "usertouser") else name
        if name != "User-To-User" and not CUSTOM.fullmatch(name):
            raise SipError(f"the header {name[:80]!r} is neither User-To-User nor X-MS-Custom-<name>")
        if len(value) > LONGEST_CUSTOM or any(c in value for c in "\r\n\0"):
            raise SipError(f"the value of {name} must be one line of at most {LONGEST_CUSTOM} characters")
        made.append((name, value))
    if len(made) > MOST_CUSTOM:
        raise SipError(f"{len(made)} custom headers are more than {MOST_CUSTOM}")
    return made


def _readable(invite: Request, name: str) -> Address | None:
    """The first identity that is a SIP or tel URI (RFC 3325 §9.1: there may be one of each)."""
    try:
        return next((a for a in addresses(invite, name) if a.uri.scheme in ("sip", "sips", "tel")), None)
    except SipError:
        return None
