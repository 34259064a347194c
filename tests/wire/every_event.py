"""Every event that apps can be told of, found by itself, with an instance of each made from its fields' types."""

from __future__ import annotations

import importlib
import pkgutil
import types
import typing
from collections.abc import Iterator
from typing import Any

import msgspec

import offhook.wire
from offhook.wire.events import CallEvent
from offhook.wire.identifiers import Identifier, parse_raw_id


def event_classes() -> dict[str, type[CallEvent]]:
    """By name: each class of `wire` that is an event, and no base of others."""
    for module in pkgutil.iter_modules(offhook.wire.__path__):
        importlib.import_module(f"offhook.wire.{module.name}")
    return {kind.__name__: kind for kind in _below(CallEvent) if not kind.__name__.startswith("_")}


def _below(kind: type[CallEvent]) -> Iterator[type[CallEvent]]:
    for inner in kind.__subclasses__():
        yield inner
        yield from _below(inner)


def made(kind: type[Any]) -> Any:
    """One with every field, also those that may be left out."""
    hints = typing.get_type_hints(kind)
    return kind(**{name: _value(hints[name]) for name in kind.__struct_fields__})


def _value(hint: Any) -> Any:
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _value(next(one for one in inside if one is not type(None)))
    if origin is tuple:
        return (_value(inside[0]),)
    if origin is typing.Literal:
        return inside[0]
    if hint is Identifier:
        return parse_raw_id("4:+15550100001")
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return made(hint)
    return {str: "a text", int: 3, float: 0.5, bool: True}[hint]
