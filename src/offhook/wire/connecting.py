"""Connect: the body by which an app joins a call that is there, and its event (protocol.md §3.3, §5.5)."""

from __future__ import annotations

from typing import Final, Self

import msgspec

from offhook.wire.events import CallEvent
from offhook.wire.exclusions import excluded
from offhook.wire.fields import Fields, wrong
from offhook.wire.models import MediaStreamingOptions, TranscriptionOptions

__all__ = ["CallLocator", "ConnectFailed", "ConnectRequest"]

_IDS: Final = {
    "groupCallLocator": "groupCallId",
    "serverCallLocator": "serverCallId",
    "roomCallLocator": "roomId",
}
_LONGEST_GROUP: Final = 128


class CallLocator(msgspec.Struct, frozen=True):
    """Which call is meant. `kind`: groupCallLocator or serverCallLocator; `id` is of that kind.

    The id of a group call, which is a GUID as a rule, is in lower case.
    """

    kind: str
    id: str

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """WireError for no id, that of another kind, or a group's that is too long. Without a kind the id tells it.

        UnsupportedError for rooms.
        """
        named = [kind for kind, name in _IDS.items() if fields.raw(name) is not None]
        kind = fields.choice("kind", tuple(_IDS), named[0] if len(named) == 1 else None)
        if kind == "roomCallLocator":
            raise excluded(kind, fields.at("kind"))
        id = fields.required_text(_IDS[kind], f"{kind} goes by it")
        if kind == "groupCallLocator":
            if len(id) > _LONGEST_GROUP:
                raise wrong(fields.at("groupCallId"), f"must have at most {_LONGEST_GROUP} characters; take a GUID")
            id = id.lower()
        return cls(kind, id)


class ConnectRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST callConnections:connect: join the call that `locator` names, with callbacks and a stream of one's own."""

    locator: CallLocator
    callback_uri: str
    operation_context: str | None = None
    cognitive_services_endpoint: str | None = None
    media_streaming_options: MediaStreamingOptions | None = None
    transcription_options: TranscriptionOptions | None = None

    @classmethod
    def read(cls, fields: Fields) -> Self:
        fields.required("callLocator", "name the call by its serverCallId or groupCallId")
        fields.required_text("callbackUri", "give the absolute http:// or https:// URL that events are posted to")
        return cls(
            locator=CallLocator.read(Fields(fields.raw("callLocator"), fields.at("callLocator"))),
            callback_uri=fields.url("callbackUri", ("http", "https")) or "",
            operation_context=fields.text("operationContext"),
            cognitive_services_endpoint=fields.part(
                "callIntelligenceOptions", lambda options: options.text("cognitiveServicesEndpoint")
            ),
            media_streaming_options=fields.part("mediaStreamingOptions", MediaStreamingOptions.read),
            transcription_options=fields.part("transcriptionOptions", TranscriptionOptions.read),
        )


class ConnectFailed(CallEvent, frozen=True, kw_only=True):
    """The call that an app was joining ended before it was established."""
