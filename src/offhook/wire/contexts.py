"""`customCallingContext`: what an app sends along to whom it has called (protocol.md §3.3)."""

from __future__ import annotations

import re
from typing import Any, Final

from offhook.wire.exclusions import excluded
from offhook.wire.fields import Fields, wrong

__all__ = ["Headers", "calling_context", "sip_headers", "voip_headers"]

Headers = tuple[tuple[str, str], ...]
"""Names and values, in the order of the request."""

_CUSTOM: Final = "X-MS-Custom-"
_CUSTOM_NAME: Final = re.compile(r"[A-Za-z0-9_.!%*+`'~-]{1,64}")
_MOST_CUSTOM, _LONGEST_CUSTOM = 16, 1024
_MOST_VOIP, _LONGEST_NAME = 64, 64


def calling_context(fields: Fields) -> dict[str, Headers]:
    """`sip_headers` and `voip_headers` of a request that may have a `customCallingContext`."""
    context = fields.part("customCallingContext", lambda part: part)
    if context is None:
        return {"sip_headers": (), "voip_headers": ()}
    if context.raw("teamsPhoneCallDetails") is not None:
        raise excluded("teamsPhoneCallDetails", context.at("teamsPhoneCallDetails"))
    return {"sip_headers": sip_headers(context), "voip_headers": voip_headers(context)}


def sip_headers(context: Fields) -> Headers:
    """`sipHeaders`: User-To-User and X-MS-Custom-<name>, each one line; they go to phones and apps."""
    made = []
    given = Fields(context.raw("sipHeaders") or {}, context.at("sipHeaders"))
    for name in given.names():
        value, bare = given.text(name), name
        while bare.lower().startswith(_CUSTOM.lower()):
            bare = bare[len(_CUSTOM) :]  # the JavaScript SDK puts one more in front
        if name.lower() == "user-to-user":
            sent = "User-To-User"
        elif bare != name and _CUSTOM_NAME.fullmatch(bare):
            sent = _CUSTOM + bare
        else:
            raise wrong(given.at(name[:80]), f"must be User-To-User, or {_CUSTOM} and a word of at most 64 letters")
        if value is None or len(value) > _LONGEST_CUSTOM or not value.isprintable():
            raise wrong(given.at(name[:80]), f"must be one line of at most {_LONGEST_CUSTOM} characters")
        made.append((sent, value))
    if len(made) > _MOST_CUSTOM:
        raise wrong(given.path, f"holds {len(made)} headers; give at most {_MOST_CUSTOM}")
    return tuple(made)


def voip_headers(context: Fields) -> Headers:
    """`voipHeaders`: any names; they go to apps alone, for SIP has no place for them."""
    given = Fields(context.raw("voipHeaders") or {}, context.at("voipHeaders"))
    if len(given.names()) > _MOST_VOIP:
        raise wrong(given.path, f"holds {len(given.names())} headers; give at most {_MOST_VOIP}")
    return tuple((name, _voip_value(given, name)) for name in given.names())


def _voip_value(given: Fields, name: str) -> str:
    value: Any = given.text(name)
    if not 0 < len(name) <= _LONGEST_NAME:
        raise wrong(given.at(name[:80]), f"a name must have 1 to {_LONGEST_NAME} characters")
    if value is None or len(value) > _LONGEST_CUSTOM:
        raise wrong(given.at(name[:80]), f"must be a text of at most {_LONGEST_CUSTOM} characters")
    return str(value)
