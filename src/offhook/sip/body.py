"""What a message carries: its session description, and whether its body can be read (RFC 3261 §7.4, RFC 5621)."""

from __future__ import annotations

from offhook.errors import SipError
from offhook.sip.grammar import Params, parse_params, unquoted
from offhook.sip.message import Message
from offhook.sip.sdp import KIND

MAX_PARTS = 16
"""Parts of a multipart body that are looked at."""


def content_type(message: Message) -> str:
    """The media type in lower case without its parameters; empty without a body's header."""
    return _kind(message.headers.get_first("content-type") or "")


def description(message: Message) -> bytes:
    """The session description of a message, also as a part of several (RFC 5621 §3.1); empty without one."""
    if not message.body or _encoding(message):
        return b""
    kind = content_type(message)
    if kind in (KIND, ""):
        return message.body
    return _part(message) if kind.startswith("multipart/") else b""


def unreadable(message: Message) -> list[tuple[str, str]]:
    """Headers of the 415 that a request gets whose body we cannot read (§8.2.3); none for one that we can, or that
    may be passed over (`handling=optional`, §20.11)."""
    if not message.body or description(message):
        return []
    if _params(message, "content-disposition").get("handling") == "optional":
        return []
    return [("Accept-Encoding", "identity")] if _encoding(message) else [("Accept", f"{KIND}, multipart/mixed")]


def _kind(value: str) -> str:
    return value.partition(";")[0].strip().lower()


def _params(message: Message, name: str) -> Params:
    try:
        return parse_params((message.headers.get_first(name) or "").partition(";")[2])
    except SipError:
        return {}


def _encoding(message: Message) -> str:
    named = (message.headers.get_first("content-encoding") or "").strip().lower()
    return "" if named == "identity" else named


def _part(message: Message) -> bytes:
    """The first part of a multipart body that is a session description (RFC 2046 §5.1)."""
    boundary = unquoted(_params(message, "content-type").get("boundary") or "")
    if not boundary:
        return b""
    for part in message.body.split(b"--" + boundary.encode(), MAX_PARTS)[1:]:
        # Line ends as they should be, and as some write them.
        head, blank, body = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if not blank:
            head, _, body = part.partition(b"\n\n")
        for line in head.split(b"\n"):
            name, _, kind = line.partition(b":")
            named = name.strip().lower() in (b"content-type", b"c")
            if named and _kind(kind.decode("ascii", "replace")) == KIND:
                return body.rstrip(b"\r\n") + b"\r\n"
    return b""
