"""SIP messages, read and written: the one place that knows the parser underneath (RFC 3261 §7).

`parse` raises SipError and nothing else. A request that can be understood well enough to be answered is given back
even when it breaks the rules, with the answer that it then gets.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TypeAlias

from aiosipua.message import SipMessage, SipRequest, SipResponse

from offhook.errors import SipError
from offhook.sip.grammar import (
    Address,
    Uri,
    Via,
    number,
    parse_address,
    parse_cseq,
    parse_uri,
    parse_via,
    split_outside,
)

Request: TypeAlias = SipRequest
Response: TypeAlias = SipResponse
Message: TypeAlias = SipRequest | SipResponse

MAX_MESSAGE = 64 * 1024
MAX_HEAD = 16 * 1024
MAX_LINE = 8 * 1024
MAX_VALUES = 256
"""Bytes of a message, of all its header, and of one header line; values of all header lines."""
BRANCH = "z9hG4bK"

# The parser complains of bodies that are longer than they say; what to do about one is decided here.
logging.getLogger("aiosipua.message").setLevel(logging.ERROR)

# Compact forms that the parser leaves alone (RFC 3515, 3892, 4028, 6665, 3841, 8224).
_COMPACT = {
    "r": "Refer-To",
    "b": "Referred-By",
    "x": "Session-Expires",
    "o": "Event",
    "u": "Allow-Events",
    "a": "Accept-Contact",
    "j": "Reject-Contact",
    "d": "Request-Disposition",
    "y": "Identity",
}

_ANSWERED = {b"via", b"v", b"from", b"f", b"to", b"t", b"call-id", b"i", b"cseq"}
_LISTS = ("via", "contact", "route", "record-route")
_ONCE = ("from", "to", "call-id", "cseq", "max-forwards", "content-length")

REASONS = {
    100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued", 183: "Session Progress",
    200: "OK", 202: "Accepted", 204: "No Notification",
    300: "Multiple Choices", 301: "Moved Permanently", 302: "Moved Temporarily", 305: "Use Proxy",
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    406: "Not Acceptable", 407: "Proxy Authentication Required", 408: "Request Timeout", 410: "Gone",
    412: "Conditional Request Failed", 413: "Request Entity Too Large", 414: "Request-URI Too Long",
    415: "Unsupported Media Type", 416: "Unsupported URI Scheme", 420: "Bad Extension", 421: "Extension Required",
    422: "Session Interval Too Small", 423: "Interval Too Brief", 480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist", 482: "Loop Detected", 483: "Too Many Hops", 484: "Address Incomplete",
    486: "Busy Here", 487: "Request Terminated", 488: "Not Acceptable Here", 489: "Bad Event", 491: "Request Pending",
    493: "Undecipherable", 500: "Server Internal Error", 501: "Not Implemented", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Server Time-out", 505: "Version Not Supported", 513: "Message Too Large",
    600: "Busy Everywhere", 603: "Decline", 604: "Does Not Exist Anywhere", 606: "Not Acceptable",
}  # fmt: skip


Fault: TypeAlias = tuple[int, str] | None
"""Why a request cannot be served, as status and reason phrase; None for a sound one."""


def parse(data: bytes) -> tuple[Message, Fault]:
    """One whole message. SipError when it cannot even be answered, or is a response that breaks the rules."""
    if len(data) > MAX_MESSAGE:
        raise SipError(f"{len(data)} bytes are more than {MAX_MESSAGE}")
    data = data.lstrip(b"\r\n")
    start, _, _ = data.partition(b"\r\n")
    words = start[:MAX_LINE].split(None, 8)
    if len(words) < 3 and not (len(words) == 2 and words[0] == b"SIP/2.0"):
        raise SipError(f"no SIP message: {start[:60]!r}")
    head = _head(data)
    lines = head.split(b"\n")
    large = len(head) > MAX_HEAD or len(lines) > MAX_VALUES or max(map(len, lines)) > MAX_LINE
    message = _read(_outline(lines) if large else data)
    if not large and sum(len(values) for _, values in message.headers.items()) > MAX_VALUES:
        large, message = True, _read(_outline(lines))
    if isinstance(message, SipResponse):
        if large:
            raise SipError(f"a response whose header is too large: {len(head)} bytes")
        if words[0].upper() != b"SIP/2.0" or not 100 <= message.status_code <= 699:
            raise SipError(f"no response of SIP/2.0: {start[:60]!r}")
        _check(message)
        return message, None
    if not words[-1].upper().startswith(b"SIP/") or not words[0].isascii():
        raise SipError(f"no request of SIP: {start[:60]!r}")
    # Without this nothing can be sent back (RFC 3261 §8.2.6).
    parse_via(message.headers.get_first("via") or "")
    return message, (513, REASONS[513]) if large else _fault(message, words, data)


def _head(data: bytes) -> bytes:
    """All before the body, cut as the parser cuts it."""
    for end in (b"\r\n\r\n", b"\n\n"):
        if end in data:
            return data.partition(end)[0]
    return data


def _outline(lines: list[bytes]) -> bytes:
    """Of a request that is too large to be read, as much as an answer needs (RFC 3261 §8.2.6.2)."""
    kept = [line for line in lines[1:] if line.partition(b":")[0].strip().lower() in _ANSWERED and len(line) <= 1024]
    return b"\n".join([lines[0][:1024], *kept[:16]])


def _read(data: bytes) -> Message:
    """By the parser underneath, and mended where it is known to go wrong."""
    try:
        message = SipMessage.parse(data)
    except (ValueError, IndexError, KeyError) as error:
        raise SipError(f"no SIP message: {error}") from None
    headers = message.headers
    for short, name in _COMPACT.items():
        if short in headers:
            values = list(headers.get(short))
            headers.remove(short)
            for value in values:
                headers.append(name, value)
    for name in _LISTS:
        values = headers.get(name)
        if any("\\" in value for value in values):
            # It takes an escaped quote for the end of the quotes, and cuts at the next comma.
            values = split_outside(", ".join(values), ",")
            headers.remove(name)
            for value in values:
                headers.append(name.title(), value)
    return message


def _fault(request: Request, words: list[bytes], data: bytes) -> Fault:
    if words[-1].upper() != b"SIP/2.0":
        return 505, REASONS[505]
    if len(words) != 3:
        return 400, "Malformed Request-Line"
    for name in _ONCE:
        if len(request.headers.get(name)) > 1:
            return 400, f"More Than One {name.title()}"
    for name in ("from", "to", "call-id", "cseq"):
        if not request.headers.get_first(name):
            return 400, f"Missing {name.title()}"
    try:
        _check(request)
        scheme = parse_uri(request.uri).scheme
    except SipError as error:
        return 400, reason_phrase(error)
    if scheme not in ("sip", "sips", "tel"):
        return 416, REASONS[416]
    if cseq(request)[1] != request.method:
        return 400, "CSeq Names Another Method"
    if not _fits(data):
        return 400, "Content-Length Does Not Fit"
    hops = request.headers.get_first("max-forwards")
    left = number(hops)
    if hops is not None and (left is None or left > 255):
        return 400, "Bad Max-Forwards"
    return None


def _check(message: Message) -> None:
    """The headers that every message needs, and those that must be readable if they are there."""
    vias(message)
    for name in ("from", "to"):
        address(message, name)
    if not message.headers.get_first("call-id"):
        raise SipError("no Call-ID")
    cseq(message)
    for name in ("contact", "record-route", "route"):
        addresses(message, name)


def reason_phrase(error: SipError) -> str:
    """An error as a reason phrase: one line of plain characters."""
    text = "".join(c if " " <= c <= "~" else "?" for c in str(error))
    return f"Bad Request: {text}"[:120]


def _fits(data: bytes) -> bool:
    """Whether the body is as long as its Content-Length says, or longer, which is cut (RFC 3261 §18.3)."""
    head, _, body = data.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() in (b"content-length", b"l"):
            text = value.strip()
            return text.isdigit() and len(text) <= 7 and int(text) <= len(body)
    return True


# reading ------------------------------------------------------------------------------------------------------------


def vias(message: Message) -> list[Via]:
    """All Via values, the nearest first; SipError when there is none or one is broken."""
    found = [parse_via(value) for value in message.headers.get("via")]
    if not found:
        raise SipError("no Via")
    return found


def address(message: Message, name: str) -> Address:
    """The one address of From, To, Refer-To, Referred-By …; SipError when it is missing or broken."""
    value = message.headers.get_first(name)
    if not value:
        raise SipError(f"no {name}")
    return parse_address(value)


def addresses(message: Message, name: str) -> list[Address]:
    """Every address of Contact, Route, Record-Route, P-Asserted-Identity, in their order."""
    return [
        parse_address(part) for value in message.headers.get(name) for part in split_outside(value, ",") if part != "*"
    ]


def cseq(message: Message) -> tuple[int, str]:
    """Number and method of CSeq."""
    return parse_cseq(message.headers.get_first("cseq") or "")


def call_id(message: Message) -> str:
    """The Call-ID; empty without one."""
    return message.headers.get_first("call-id") or ""


def tag(message: Message, name: str) -> str:
    """The tag of From or To; empty without one."""
    return address(message, name).tag or ""


def tokens(message: Message, name: str) -> set[str]:
    """The words of a list header such as Supported, Require or Allow, in lower case."""
    return {part.lower() for value in message.headers.get(name) for part in split_outside(value, ",")}


# building -----------------------------------------------------------------------------------------------------------


def request(method: str, uri: Uri, headers: Iterable[tuple[str, str]], body: bytes = b"", kind: str = "") -> Request:
    """A request with its headers in the order given. `kind` is the body's Content-Type."""
    built = SipRequest(method=method, uri=str(uri.bare()))
    _fill(built, headers, body, kind)
    return built


def response(
    to: Request,
    status: int,
    *,
    to_tag: str = "",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    kind: str = "",
    reason: str = "",
) -> Response:
    """An answer: Via, From, To, Call-ID and CSeq are the request's (RFC 3261 §8.2.6.2)."""
    built = SipResponse(status_code=status, reason_phrase=reason or REASONS.get(status, "Status"))
    for name in ("Via", "From", "To", "Call-ID", "CSeq"):
        for value in to.headers.get(name):
            built.headers.append(name, value)
    if to_tag and status > 100:
        target = built.headers.get_first("to") or ""
        try:
            if not parse_address(target).tag:
                built.headers.set_single("To", f"{target};tag={to_tag}")
        except SipError:
            pass  # a 400 for that very header goes back as it came
    for value in to.headers.get("Record-Route") if 100 < status < 300 else ():
        built.headers.append("Record-Route", value)
    _fill(built, headers, body, kind)
    return built


def _fill(built: Message, headers: Iterable[tuple[str, str]], body: bytes, kind: str) -> None:
    for name, value in headers:
        built.headers.append(name, value)
    if body:
        built.headers.set_single("Content-Type", kind)
    built.body = body


def encode(message: Message) -> bytes:
    """The message as it goes out, with the right Content-Length."""
    return bytes(message)
