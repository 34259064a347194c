"""What a trace keeps of bodies and messages, and what it never shows: keys, tokens, signatures (docs/trace.md).

Bodies stay as the bytes that they came as until somebody looks: nothing is decoded while a call waits. `plain` makes a
detail fit for JSON, and covers in it what opens doors: values in queries and fragments of URLs that are named like
secrets or are signed tokens, users of URLs, fields of bodies and headers of SIP that are named like tokens and
passwords, the headers that carry credentials in SIP (RFC 3261 §22, RFC 8224), keys of media (RFC 4568 §9.1, RFC 4566
§5.12, RFC 4567 §3, RFC 8839 §5.4).

Every pattern has one way to match each byte, for texts may be anybody's: none takes longer than its text is long.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import msgspec

MAX_BODY: Final = 16 * 1024
"""Bytes that are kept of one body or message; the rest is cut off."""
COVER: Final = "***"
_DEEP: Final = 64

_SECRET: Final = re.compile(
    r"token|secret|key|code|sig|hmac|passw|passphrase|pwd|auth|cred|jwt|bearer|session|ticket|^pass$|^sas$|^pin$|^otp$"
    r"|^sv$|^se$|^st$|^sp$|^skoid$",
    re.IGNORECASE,
)
"""Names of values in URLs; better one too many."""
_SECRET_FIELD: Final = re.compile(
    r"(?:token|secret|passw(?:or)?d|passphrase|pwd|authori[sz]ation|bearer|credentials?|signature|jwt|cookie"
    r"|api[-_]?key|(?:access|private|account|shared|subscription)[-_]?key|(?:^|[-_])pin)$",
    re.IGNORECASE,
)
"""Names of texts in JSON, and of headers of SIP, that are nothing but a secret."""
_SIP_SECRETS: Final = frozenset((b"authentication-info", b"identity", b"y"))
"""Headers whose names do not say so: RFC 3261 §20.6, RFC 8224 §4."""
_JWT: Final = re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]+\.[\w-]*")
_NESTED: Final = re.compile(r"(?i)(?:%3F|%26)[\w.-]{0,40}?(?:token|secret|key|sig|passw|auth)[\w.-]{0,40}%3D")
"""A secret of a URL that is itself a value."""
_URL: Final = re.compile(r"(?i)\b((?:https?|wss?)://)([^\s\"'<>/?#]*@)?([^\s\"'<>]*)")
_PART: Final = re.compile(r"([?&;#])([^=?&;#]*)=([^?&;#]*)")
_SIP_USER: Final = re.compile(r"(?i)\b(sips?:[^\s\"'<>:@;?]*):[^\s\"'<>:@;?]*@")
_SIP_LINE: Final = re.compile(rb"(?m)^([A-Za-z0-9.!%*_+`'~-]+)[ \t]*:(?:[^\r\n]|\r(?!\n)|\r?\n[ \t])*")
_SDP_KEY: Final = re.compile(rb"(?im)^(a=crypto:|a=ice-pwd:|a=key-mgmt:|k=)([^\r\n]*)")
_INLINE: Final = re.compile(rb"(inline:)[^\s|;]+")
_JSON_FIELD: Final = re.compile(r'"([^"\\]{1,80})"\s*:\s*"(?:[^"\\]|\\.)*')


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
        text = self.data.decode("utf-8", "replace").replace("\\/", "/").replace("\\u0026", "&")
        return mask_text(_JSON_FIELD.sub(_mask_field, text))


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
        text = _SDP_KEY.sub(_mask_key, _SIP_LINE.sub(_mask_line, self.data))
        return _SIP_USER.sub(rf"\1:{COVER}@", mask_text(text.decode("utf-8", "replace")))


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
        return {mask_text(str(name)): _covered_field(str(name), each, depth + 1) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [covered(each, depth + 1) for each in value]
    if isinstance(value, bool | int | float) or value is None:
        return value
    return str(value)


def mask_text(text: str) -> str:
    """A text without the secrets of the URLs in it, and fit for UTF-8; one that begins with / is a path."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    if "://" in text:
        text = _URL.sub(_mask_url, text)
    elif text.startswith("/") and "?" in text:
        text = _PART.sub(_mask_part, text)
    return text


def weight(detail: Mapping[str, Any]) -> int:
    """About how many bytes a detail holds."""
    return 200 + sum(map(_size, detail.values()))


def _size(value: Any) -> int:
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, Body | SipText):
        return len(value.data)
    if isinstance(value, list | tuple | set | frozenset):
        return 16 + sum(map(_size, value))
    if isinstance(value, Mapping):
        return 16 + sum(map(_size, value)) + sum(map(_size, value.values()))
    return 16


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    """Whether a field or header is nothing but a secret; the same names come again and again."""
    return _SECRET_FIELD.search(name) is not None


def _covered_field(name: str, value: Any, depth: int) -> Any:
    if isinstance(value, str | int | float) and value and not isinstance(value, bool) and _is_secret(name[-40:]):
        return COVER
    return covered(value, depth)


def _mask_url(match: re.Match[str]) -> str:
    scheme, user, rest = match.groups()
    return f"{scheme}{COVER + '@' if user else ''}{_JWT.sub(COVER, _PART.sub(_mask_part, rest))}"


def _mask_part(match: re.Match[str]) -> str:
    separator, name, value = match.groups()
    secret = value and (_SECRET.search(name) or _JWT.search(value) or _NESTED.search(value))
    return f"{separator}{name}={COVER if secret else value}"


def _mask_field(match: re.Match[str]) -> str:
    """Of JSON that is not whole, or none."""
    return f'"{match[1]}": "{COVER}' if _is_secret(match[1][-40:]) else match[0]


def _mask_line(match: re.Match[bytes]) -> bytes:
    secret = match[1].lower() in _SIP_SECRETS or _is_secret(match[1][-40:].decode("ascii"))
    return match[1] + b": " + COVER.encode() if secret else match[0]


def _mask_key(match: re.Match[bytes]) -> bytes:
    head, key = match.groups()
    if b"inline:" in key:
        return head + _INLINE.sub(rb"\1" + COVER.encode(), key)
    return head + COVER.encode()
