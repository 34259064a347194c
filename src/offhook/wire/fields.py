"""Reading decoded JSON objects field by field, with errors that name the field's path; writing structs as wire JSON.

A decoded body is `dict[str, Any]`; null and a missing field mean the same (protocol.md §3.1).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from offhook.errors import WireError

T = TypeVar("T")

_UNPRINTABLE: Final = frozenset(chr(c) for c in (*range(0x21), 0x7F))


def wrong(field: str, problem: str) -> WireError:
    """The error for one field: its path is both in the message and in `WireError.field`."""
    return WireError(f"{field}: {problem}", field)


def shown(value: object, limit: int = 60) -> str:
    """A value from outside, short enough and safe to put into an error message."""
    text = ascii(value)
    return text if len(text) <= limit else text[:limit] + "..."


def decode_json(data: bytes, what: str) -> Any:
    """Strict JSON of any type. WireError for bytes that are no JSON, nested too deep or not UTF-8."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"{what} is not valid JSON: {error}") from None


def decode_object(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object; WireError for anything else."""
    value = decode_json(data, what)
    if not isinstance(value, dict):
        raise WireError(f"{what} must be a JSON object, not {json_type(value)}")
    return value


def json_type(value: object) -> str:
    """How JSON calls the type of a decoded value."""
    if isinstance(value, bool):
        return "a boolean"
    names: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (dict, "an object"),
        (list, "an array"),
        (str, "a string"),
        ((int, float), "a number"),
        (type(None), "null"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), type(value).__name__)


class Fields:
    """One decoded JSON object at a path; every reader returns a value or raises WireError naming the path."""

    def __init__(self, value: Any, path: str = "") -> None:
        if not isinstance(value, dict):
            raise wrong(path or "body", f"must be an object, not {json_type(value)}")
        self._value: Mapping[str, Any] = value
        self.path = path

    def at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def names(self) -> tuple[str, ...]:
        """What it holds, for an object that is a map."""
        return tuple(self._value)

    def raw(self, name: str) -> Any:
        return self._value.get(name)

    def required(self, name: str, fix: str = "") -> Any:
        value = self.raw(name)
        if value is None:
            raise wrong(self.at(name), "is required" + (f"; {fix}" if fix else ""))
        return value

    def text(self, name: str) -> str | None:
        value = self.raw(name)
        if value is not None and not isinstance(value, str):
            raise wrong(self.at(name), f"must be a string, not {json_type(value)}")
        return value

    def required_text(self, name: str, fix: str = "") -> str:
        self.required(name, fix)
        value = self.text(name)
        if not value:
            raise wrong(self.at(name), "must not be empty" + (f"; {fix}" if fix else ""))
        return value

    def flag(self, name: str) -> bool:
        """A boolean; false if absent, as everywhere in this API."""
        value = self.raw(name)
        if value is not None and not isinstance(value, bool):
            raise wrong(self.at(name), f"must be true or false, not {json_type(value)}")
        return bool(value)

    def choice(self, name: str, choices: tuple[str, ...], default: str | None = None) -> str:
        """One of `choices` in any letter case, given back in the spelling of `choices`."""
        if default is None:
            self.required(name, f"one of {', '.join(choices)}")
        value = self.text(name)
        if value is None:
            return default or ""
        for choice in choices:
            if choice.lower() == value.lower():
                return choice
        only = "one of " if len(choices) > 1 else ""
        raise wrong(self.at(name), f"{shown(value)} is not {only}{', '.join(choices)}")

    def whole(self, name: str, least: int, most: int | None = None) -> int | None:
        """A whole number within bounds, or None if absent."""
        value = self.raw(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong(self.at(name), f"must be a whole number, not {json_type(value)}")
        if value < least or (most is not None and value > most):
            bounds = f"at least {least}" if most is None else f"{least} to {most}"
            raise wrong(self.at(name), f"{shown(value)} must be {bounds}")
        return value

    def part(self, name: str, read: Callable[[Fields], T]) -> T | None:
        """A nested object read by `read`, or None."""
        value = self.raw(name)
        return None if value is None else read(Fields(value, self.at(name)))

    def items(self, name: str, read: Callable[[Any, str], T]) -> tuple[T, ...]:
        """An array, each item read by `read(item, path)`; empty if absent."""
        value = self.raw(name)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise wrong(self.at(name), f"must be an array, not {json_type(value)}")
        return tuple(read(item, f"{self.at(name)}[{index}]") for index, item in enumerate(value))

    def url(self, name: str, schemes: tuple[str, ...]) -> str | None:
        """An absolute URL with one of `schemes` and a host, given back letter by letter as it came."""
        value = self.text(name)
        return None if value is None else check_url(value, self.at(name), schemes)


def check_url(value: str, field: str, schemes: tuple[str, ...]) -> str:
    """`value` unchanged if it can be dialled; WireError naming `field` and the fix otherwise."""
    wanted = " or ".join(f"{scheme}://" for scheme in schemes)
    if not _UNPRINTABLE.isdisjoint(value):
        raise wrong(field, f"{shown(value)} holds a space or control character; percent-encode it")
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise wrong(field, f"{shown(value)} is not a URL: {error}") from None
    if parts.scheme.lower() not in schemes:
        raise wrong(field, f"{shown(value)} must be an absolute URL that starts with {wanted}")
    if not host or port == 0:
        raise wrong(field, f"{shown(value)} names no {'host' if not host else 'port to dial'}; write {wanted}host/path")
    return value


class WireStruct(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A body that we write: camelCase names, None left out. `wire_as` holds writers for special fields."""

    wire_as: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}

    def to_wire(self) -> dict[str, Any]:
        """The JSON object of this struct."""
        wire: dict[str, Any] = {}
        for name, encoded in zip(self.__struct_fields__, self.__struct_encode_fields__, strict=True):
            value = getattr(self, name)
            if value is not None:
                write = self.wire_as.get(name, plain)
                wire[encoded] = write(value)
        return wire


def plain(value: Any) -> Any:
    """JSON-ready form of a value: structs become objects, sequences arrays."""
    if hasattr(value, "to_wire"):
        return value.to_wire()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def encode(value: Any) -> bytes:
    """Compact UTF-8 JSON of a struct, mapping or sequence that we built."""
    try:
        return msgspec.json.encode(plain(value))
    except UnicodeEncodeError:
        # A lone surrogate from an app's JSON has no UTF-8 form; its escape is still JSON.
        return json.dumps(plain(value), separators=(",", ":")).encode("ascii")
