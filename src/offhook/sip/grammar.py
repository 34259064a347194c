"""The parts of a SIP header value: URIs, addresses, Via, CSeq, parameters (RFC 3261 §§19.1, 20, 25; RFC 3966).

Reads what real peers send, also where it bends the grammar; raises SipError for what cannot be understood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote

from offhook.errors import SipError

Params = dict[str, str | None]

MAX_CSEQ = 2**31 - 1
MAX_VALUE = 2048
"""Characters of one address, URI or Via; a longer one is refused, for several readers go through each."""
MAX_PARAMS = 64
"""Parameters of one value."""
HUGE = 10**18
"""What a number of more digits than any header has counts as."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_PROTOCOL = re.compile(r"\s*SIP\s*/\s*[0-9]{1,3}\.[0-9]{1,3}\s*/\s*([A-Za-z0-9.!%*_+`'~-]+)\s+")
_CSEQ = re.compile(r"\s*([0-9]{1,10})\s+([A-Za-z0-9.!%*_+`'~-]+)\s*")
_DIGITS = re.compile(r"[0-9]+")
_USER_SAFE = "-_.!~*'()&=+$,;?/#"
_TOKEN_SAFE = re.compile(r"[A-Za-z0-9.!%*_+`'~:\[\]@/-]+")


@dataclass(frozen=True, slots=True)
class Uri:
    """A SIP, SIPS or tel URI; another scheme keeps its text in `host`. `user` is unescaped, without a password."""

    scheme: str = "sip"
    user: str | None = None
    host: str = ""
    port: int | None = None
    params: Params = field(default_factory=dict, hash=False)
    headers: dict[str, str] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        if self.scheme == "tel":
            return f"tel:{self.user or ''}{_params(self.params)}"
        if self.scheme not in ("sip", "sips"):
            return f"{self.scheme}:{self.host}"
        user = "" if self.user is None else f"{quote(self.user, safe=_USER_SAFE)}@"
        port = "" if self.port is None else f":{self.port}"
        headers = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in self.headers.items())
        return f"{self.scheme}:{user}{self.host}{port}{_params(self.params)}{'?' + headers if headers else ''}"

    @property
    def transport(self) -> str:
        """The `transport` parameter in lower case; empty without one (peers write UDP in capitals too)."""
        return (self.params.get("transport") or "").lower()

    @property
    def loose(self) -> bool:
        """Whether a router there routes loosely (RFC 3261 §16.12)."""
        return "lr" in self.params

    def bare(self) -> Uri:
        """Without headers, as a Request-URI must be (RFC 3261 §19.1.1)."""
        return replace(self, headers={}) if self.headers else self


@dataclass(frozen=True, slots=True)
class Address:
    """A name-addr: `display` without its quotes, the URI, and the header's parameters."""

    uri: Uri
    display: str = ""
    params: Params = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        display = self.display.replace("\\", "\\\\").replace('"', '\\"')
        return f"{chr(34) + display + chr(34) + ' ' if display else ''}<{self.uri}>{_params(self.params)}"

    @property
    def tag(self) -> str | None:
        """The tag, when there is one."""
        return self.params.get("tag")

    def tagged(self, tag: str) -> Address:
        """The same with this tag."""
        return replace(self, params={**self.params, "tag": tag})


@dataclass(frozen=True, slots=True)
class Via:
    """One hop of a request's way. `transport` is in capitals."""

    transport: str
    host: str
    port: int | None = None
    params: Params = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/2.0/{self.transport} {self.host}{port}{_params(self.params)}"

    @property
    def branch(self) -> str:
        """The branch; empty without one."""
        return self.params.get("branch") or ""

    @property
    def sent_by(self) -> tuple[str, int | None]:
        """Host in lower case, and port."""
        return self.host.lower(), self.port


def _params(params: Params) -> str:
    return "".join(f";{key}" if value is None else f";{key}={value}" for key, value in params.items())


def number(text: str | None) -> int | None:
    """An unsigned decimal number, `HUGE` when it is longer than that; None for anything else.

    `str.isdigit` and `int` know more digits than SIP does, and `int` fails at thousands of them.
    """
    text = (text or "").strip()
    if not _DIGITS.fullmatch(text):
        return None
    return int(text) if len(text) <= 18 else HUGE


def unquoted(value: str) -> str:
    """A quoted-string without its quotes and escapes; anything else as it is."""
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL)
    return value


def split_outside(text: str, separator: str) -> list[str]:
    """Split at a character that stands outside quotes and angle brackets; parts stripped, empty ones left out."""
    if '"' not in text and "<" not in text:
        return [part for part in map(str.strip, text.split(separator)) if part]
    parts, start, quoted, deep, skip = [], 0, False, False, False
    for index, character in enumerate(text):
        if skip:
            skip = False
        elif quoted:
            skip = character == "\\"
            quoted = character != '"'
        elif character == '"':
            quoted = True
        elif character == "<":
            deep = True
        elif character == ">":
            deep = False
        elif character == separator and not deep:
            parts.append(text[start:index].strip())
            start = index + 1
    parts.append(text[start:].strip())
    return [part for part in parts if part]


def parse_params(text: str) -> Params:
    """`;a=b;c` to a dict with names in lower case; a repeated name keeps its first value. SipError for too many."""
    params: Params = {}
    parts = split_outside(text, ";")
    if len(parts) > MAX_PARAMS:
        raise SipError(f"{len(parts)} parameters are more than {MAX_PARAMS}: {text[:40]!r}")
    for part in parts:
        name, equals, value = part.partition("=")
        params.setdefault(name.strip().lower(), value.strip() if equals else None)
    return params


def parse_host_port(text: str) -> tuple[str, int | None]:
    """`host`, `host:port` or `[v6]:port`; SipError for anything else."""
    text = text.strip()
    found = _HOST.match(text)
    if found is None:
        raise SipError(f"no host in {text[:80]!r}")
    rest = text[found.end() :].strip()
    if not rest:
        return found.group(), None
    port = number(rest[1:])
    if rest[0] != ":" or port is None or port > 65535:
        raise SipError(f"no port in {text[:80]!r}")
    return found.group(), port


def _bounded(text: str) -> str:
    if len(text) > MAX_VALUE:
        raise SipError(f"a value of {len(text)} characters is longer than {MAX_VALUE}: {text[:40]!r}")
    return text.strip()


def parse_uri(text: str) -> Uri:
    """A URI by its scheme; SipError when a sip, sips or tel URI is broken."""
    text = _bounded(text)
    scheme, colon, rest = text.partition(":")
    if not colon or not _SCHEME.fullmatch(scheme):
        raise SipError(f"no URI: {text[:80]!r}")
    scheme = scheme.lower()
    if scheme == "tel":
        number, _, params = rest.partition(";")
        return Uri("tel", re.sub(r"[-.() ]", "", number), "", None, parse_params(params))
    if scheme not in ("sip", "sips"):
        return Uri(scheme, None, rest)
    # Everything before the first @ is the user part: it may hold ; and ? (number portability, RFC 4694).
    userinfo, at, host_part = rest.partition("@")
    if not at:
        userinfo, host_part = "", rest
    host_part, _, header_part = host_part.partition("?")
    host_port, _, params = host_part.partition(";")
    host, port = parse_host_port(host_port)
    headers = {}
    for pair in header_part.split("&"):
        name, _, value = pair.partition("=")
        if name:
            headers[unquote(name)] = unquote(value)
    user = unquote(userinfo.partition(":")[0]) if at else None
    return Uri(scheme, user, host, port, parse_params(params), headers)


def parse_address(text: str) -> Address:
    """A name-addr or addr-spec; without brackets every parameter is the header's (RFC 3261 §20.10)."""
    text = _bounded(text)
    display = ""
    if text.startswith('"'):
        end = _closing_quote(text)
        display, text = unquoted(text[: end + 1]), text[end + 1 :].strip()
        if not text.startswith("<"):
            raise SipError(f"no URI after the display name in {text[:80]!r}")
    before, bracket, rest = text.partition("<")
    if bracket:
        uri, closed, params = rest.partition(">")
        if not closed:
            raise SipError(f"no closing bracket in {text[:80]!r}")
        return Address(parse_uri(uri), display or before.strip(), parse_params(params))
    if "?" in text:
        raise SipError(f"a URI with a question mark needs brackets (RFC 3261 §20): {text[:80]!r}")
    head, at, tail = text.partition("@")
    if at:
        host, _, params = tail.partition(";")
        return Address(parse_uri(f"{head}@{host}"), "", parse_params(params))
    head, _, params = text.partition(";")
    return Address(parse_uri(head), "", parse_params(params))


def _closing_quote(text: str) -> int:
    skip = False
    for index, character in enumerate(text[1:], 1):
        if skip:
            skip = False
        elif character == "\\":
            skip = True
        elif character == '"':
            return index
    raise SipError(f"no closing quote in {text[:80]!r}")


def parse_via(text: str) -> Via:
    """One Via value, with blanks round its slashes and its colon if need be."""
    text = _bounded(text)
    found = _PROTOCOL.match(text)
    if found is None:
        raise SipError(f"no Via: {text[:80]!r}")
    sent_by, _, params = text[found.end() :].partition(";")
    host, port = parse_host_port(sent_by)
    return Via(found.group(1).upper(), host, port, parse_params(params))


def parse_cseq(text: str) -> tuple[int, str]:
    """The number and the method (RFC 3261 §8.1.1.5: below 2**31)."""
    found = _CSEQ.fullmatch(text)
    if found is None or int(found.group(1)) > MAX_CSEQ:
        raise SipError(f"no CSeq: {text[:80]!r}")
    return int(found.group(1)), found.group(2)


def is_token(text: str) -> bool:
    """Whether a value may stand in a header without quotes."""
    return bool(_TOKEN_SAFE.fullmatch(text))
