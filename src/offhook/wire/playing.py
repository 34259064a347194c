"""Body of `:play` and the sources in it, which recognise and hold have too (protocol.md §3.3).

Reading is as lenient as in `models`: enum values in any case, null for anything optional.
"""

from __future__ import annotations

from typing import Any, Final, Self

import msgspec

from offhook.wire.fields import Fields, wrong
from offhook.wire.identifiers import Identifier, read_identifier

MOST_SOURCES: Final = 20  # in one request; ours, no published limit was found

_KINDS: Final = ("file", "text", "ssml")
_URI_FIX: Final = "give the http:// or https:// URL of a WAV file, or file:///name.wav of the node's prompt folder"


class PlaySource(msgspec.Struct, frozen=True, kw_only=True):
    """One sound. `uri` is a file's URL, letter by letter; `words` are those of text or ssml, empty ones too."""

    kind: str
    uri: str = ""
    words: str = ""
    cache_id: str | None = None

    @classmethod
    def read(cls, value: Any, path: str) -> Self:
        """The source at `path`. WireError naming the field for anything that cannot be used."""
        fields = Fields(value, path)
        kind = fields.choice("kind", _KINDS)
        body = fields.part(kind, lambda inner: inner)
        if body is None:
            raise wrong(fields.at(kind), f"is required for a source of kind {kind}")
        uri = words = ""
        if kind == "file":
            body.required_text("uri", _URI_FIX)
            uri = _sound_uri(body)
        else:
            words = body.text("text" if kind == "text" else "ssmlText") or ""
        return cls(kind=kind, uri=uri, words=words, cache_id=fields.text("playSourceCacheId") or None)


def _sound_uri(file: Fields) -> str:
    """A URL of http or https, letter by letter; or `file:///…`, or a path, of the node's prompt folder."""
    uri = file.text("uri") or ""
    scheme = uri.partition(":")[0].lower() if ":" in uri else "file"
    return uri if scheme == "file" else file.url("uri", ("http", "https")) or ""


class PlayRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST :play. `to` empty: everybody in the call."""

    sources: tuple[PlaySource, ...]
    to: tuple[Identifier, ...] = ()
    interrupt: bool = False
    loop: bool = False
    operation_context: str | None = None
    operation_callback_uri: str | None = None

    @classmethod
    def read(cls, fields: Fields) -> Self:
        fields.required("playSources", "give at least one source to play")
        sources = fields.items("playSources", PlaySource.read)
        if not 0 < len(sources) <= MOST_SOURCES:
            raise wrong(fields.at("playSources"), f"holds {len(sources)} sources; give 1 to {MOST_SOURCES}")
        return cls(
            sources=sources,
            to=fields.items("playTo", read_identifier),
            interrupt=fields.flag("interruptCallMediaOperation"),
            loop=fields.part("playOptions", lambda options: options.flag("loop")) or False,
            operation_context=fields.text("operationContext"),
            operation_callback_uri=fields.url("operationCallbackUri", ("http", "https")),
        )
