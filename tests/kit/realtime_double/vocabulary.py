"""The two vocabularies, from the `openai` package's types: which class reads an event, and what it is called."""

from __future__ import annotations

import typing
from typing import Any

from pydantic import BaseModel, ValidationError


class Refused(Exception):
    """A client event is wrong; as the service's `error` says it."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.param = code, message, param


# What the double says in the general release's words, in the preview's.
_BEFORE = {
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "conversation.item.added": "conversation.item.created",
    "conversation.item.done": "",
}


class Vocabulary:
    """One of them. `loose`: session settings that the package does not know are taken (Voice Live)."""

    def __init__(self, *, preview: bool, loose: bool = False) -> None:
        self.preview, self.loose = preview, loose
        types: Any
        if preview:
            from openai.types.beta import realtime as types
        else:
            from openai.types import realtime as types
        self._client = _by_type(types.RealtimeClientEvent)
        self._server = _by_type(types.RealtimeServerEvent)

    def read(self, event: Any) -> dict[str, Any]:
        """A client event, checked. Refused."""
        if not isinstance(event, dict) or event.get("type") not in self._client:
            raise Refused("invalid_value", f"Invalid value: {event!r:.200}. Unknown event type.", "type")
        if self.loose and event["type"] == "session.update":
            return event
        try:
            model = self._client[event["type"]].model_validate(event)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise Refused("invalid_type", f"{where}: {first['msg']}", where) from None
        for path in _unknown(model, ""):
            raise Refused("unknown_parameter", f"Unknown parameter: '{path}'.", path)
        return event

    def name(self, kind: str) -> str:
        """The event's name here; empty when this vocabulary has none."""
        return _BEFORE.get(kind, kind) if self.preview else kind

    def check(self, event: dict[str, Any]) -> None:
        """A server event that the double is about to send must be one that the package knows."""
        self._server[event["type"]].model_validate(event)


def _by_type(union: Any) -> dict[str, type[BaseModel]]:
    found: dict[str, type[BaseModel]] = {}
    for part in typing.get_args(union):
        if isinstance(part, type) and issubclass(part, BaseModel):
            for name in typing.get_args(part.model_fields["type"].annotation):
                found[name] = part
        elif typing.get_args(part):
            found |= _by_type(part)
    return found


def _unknown(model: Any, path: str) -> list[str]:
    """Where a model has fields that its type does not."""
    if isinstance(model, list):
        return [name for index, one in enumerate(model) for name in _unknown(one, f"{path}[{index}]")]
    if not isinstance(model, BaseModel):
        return []
    at = f"{path}." if path else ""
    found = [f"{at}{name}" for name in model.model_extra or {}]
    for name in type(model).model_fields:
        found += _unknown(getattr(model, name), f"{at}{name}")
    return found
