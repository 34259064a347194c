"""JSON objects read without regard to the case of their keys, values left unread (protocol.md 2.6).

A member that nobody asks for is never decoded, so a huge number or deep value beside it does no harm.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec
from msgspec import Raw

Text: TypeAlias = str | bytes | bytearray | memoryview

UNREADABLE: Final = (msgspec.DecodeError, ValueError, RecursionError, BufferError)
"""All that a decoder can raise for bytes or text of any content."""

_decode_members: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_text: Final = msgspec.json.Decoder(str).decode


def members(data: Text | Raw) -> dict[str, Raw] | None:
    """The members of a JSON object under lower-case names, the last of equals; None if it is none."""
    try:
        return {name.lower(): value for name, value in _decode_members(data).items()}
    except UNREADABLE:
        return None


def string(raw: Raw | None) -> str | None:
    """The text that a member holds; None if there is no member or no text in it."""
    if raw is None:
        return None
    try:
        return _decode_text(raw)
    except UNREADABLE:
        return None
