"""What a trace keeps of bodies and messages, and what it never shows: keys, tokens, signatures (docs/trace.md).

Bodies stay as the bytes that they came as until somebody looks: nothing is decoded while a call waits. `plain` makes a
detail fit for JSON, and covers in it what opens doors: values in queries of URLs that are named like secrets or are
signed tokens, users of URLs, the headers that carry credentials in SIP (RFC 3261 §22, RFC 8224), keys of media
(RFC 4568 §9.1, RFC 8839 §5.4).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

MAX_BODY: Final = 16 * 1024
"""Bytes that are kept of one body or message; the rest is cut off."""
COVER: Final = "***"
_DEEP: Final = 64

_SECRET: Final = re.compile(
    r"token|secret|key|code|sig|passw|pwd|auth|cred|jwt|session|^sv$|^se$|^st$|^sp$|^skoid$", re.IGNORECASE
)
_JWT: Final = re.compile(r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]*")
_URL: Final = re.compile(r"(?i)\b((?:https?|wss?)://)([^\s\"'<>/?#]*@)?([^\s\"'<>?]*)(\?[^\s\"'<>#]*)?")
_PART: Final = re.compile(r"([?&;])([^=&;]*)=([^&;]*)")
_SIP_HEADER: Final = re.compile(
    rb"(?im)^((?:proxy-)?authorization|authentication-info|identity|y)[ \t]*:(?:[^\r\n]|\r?\n[ \t])*"
)
_SIP_KEY: Final = re.compile(rb"(?im)^(a=crypto:[^\r\n]*?inline:)[^\s|;]+")
_ICE_KEY: Final = re.compile(rb"(?im)^(a=ice-pwd:)\S+")


@dataclass(frozen=True, slots=True)
class Body:
    """A body as it went over the wire, its first 16 KiB. `cut`: there was more."""

    data: bytes
    cut: bool = False

    @classmethod
    def of(cls, data: bytes) -> Body | None:
        """None for an empty one."""
        if not data:
            return None
        return cls(data) if len(data) <= MAX_BODY else cls(data[:MAX_BODY], True)

    def shown(self) -> Any:
        """The JSON value that it is, else its text; secrets covered."""
        if not self.cut:
            try:
                return covered(msgspec.json.decode(self.data))
            except (ValueError, RecursionError):
                pass
        return mask_text(self.data.decode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class SipText:
    """A SIP message as it went over the wire; `cut` as for `Body`."""

    data: bytes
    cut: bool = False

    @classmethod
    def of(cls, data: bytes) -> SipText:
        """Its first 16 KiB."""
        return cls(data) if len(data) <= MAX_BODY else cls(data[:MAX_BODY], True)

    def shown(self) -> str:
        """The text, without what answers a challenge and without keys of media."""
        text = _SIP_HEADER.sub(rb"\1: " + COVER.encode(), self.data)
        text = _SIP_KEY.sub(rb"\1" + COVER.encode(), text)
        text = _ICE_KEY.sub(rb"\1" + COVER.encode(), text)
        return mask_text(text.decode("utf-8", "replace"))


def plain(detail: Mapping[str, Any]) -> dict[str, Any]:
    """A detail as JSON values, with secrets covered; `cut` true where a body is not whole."""
    made: dict[str, Any] = {}
    for name, value in detail.items():
        if isinstance(value, Body | SipText):
            made[name] = value.shown()
            if value.cut:
                made["cut"] = True
        else:
            made[name] = covered(value)
    return made


def covered(value: Any, depth: int = 0) -> Any:
    """A JSON value with every text masked; what is nested too deep becomes text."""
    if isinstance(value, str):
        return mask_text(value)
    if depth >= _DEEP:
        return COVER
    if isinstance(value, Mapping):
        return {mask_text(str(name)): covered(each, depth + 1) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [covered(each, depth + 1) for each in value]
    if isinstance(value, bool | int | float) or value is None:
        return value
    return str(value)


def mask_text(text: str) -> str:
    """A text without the secrets of the URLs in it, and fit for UTF-8."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    if "://" in text:
        text = _URL.sub(_mask_url, text)
    return text


def weight(detail: Mapping[str, Any]) -> int:
    """About how many bytes a detail holds."""
    total = 200
    for value in detail.values():
        if isinstance(value, str | bytes):
            total += len(value)
        elif isinstance(value, Body | SipText):
            total += len(value.data)
        else:
            total += 16
    return total


def _mask_url(match: re.Match[str]) -> str:
    scheme, user, rest, query = match.groups()
    if query:
        query = _PART.sub(_mask_part, query)
    return f"{scheme}{COVER + '@' if user else ''}{rest}{query or ''}"


def _mask_part(match: re.Match[str]) -> str:
    separator, name, value = match.groups()
    secret = value and (_SECRET.search(name) or _JWT.search(value))
    return f"{separator}{name}={COVER if secret else value}"
