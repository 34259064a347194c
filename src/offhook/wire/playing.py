"""Body of `:play` and the sources in it, which recognise and hold have too (protocol.md §3.3).

Reading is as lenient as in `models`: enum values in any case, null for anything optional.
"""

from __future__ import annotations

from typing import Any, Final, Self

import msgspec

from offhook.wire.fields import Fields, wrong
from offhook.wire.identifiers import Identifier, read_identifier

MOST_SOURCES: Final = 20  # in one request; ours, no published limit was found
MOST_WORDS: Final = 4000  # characters of one text or SSML (protocol.md §7)

_KINDS: Final = ("file", "text", "ssml")
_URI_FIX: Final = "give the http:// or https:// URL of a WAV file, or file:///name.wav of the node's prompt folder"


class PlaySource(msgspec.Struct, frozen=True, kw_only=True):
    """One sound. `uri` is a file's URL, letter by letter; `words` are those of text or ssml, empty ones too.

    `language` (BCP 47), `voice` and `custom_voice` (an id of the app's own) say how they are to be spoken.
    """

    kind: str
    uri: str = ""
    words: str = ""
    language: str = ""
    voice: str = ""
    custom_voice: str = ""
    cache_id: str | None = None

    @classmethod
    def read(cls, value: Any, path: str) -> Self:
        """The source at `path`. WireError naming the field for anything that cannot be used."""
        fields = Fields(value, path)
        kind = fields.choice("kind", _KINDS)
        body = fields.part(kind, lambda inner: inner)
        if body is None:
            raise wrong(fields.at(kind), f"is required for a source of kind {kind}")
        cache_id = fields.text("playSourceCacheId") or None
        if kind == "file":
            body.required_text("uri", _URI_FIX)
            return cls(kind=kind, uri=_sound_uri(body), cache_id=cache_id)
        name = "text" if kind == "text" else "ssmlText"
        words = body.text(name) or ""
        if len(words) > MOST_WORDS:
            raise wrong(body.at(name), f"has {len(words)} characters; give at most {MOST_WORDS}")
        body.choice("voiceKind", ("male", "female"), "female")
        return cls(
            kind=kind,
            words=words,
            language=body.text("sourceLocale") or "",
            voice=body.text("voiceName") or "",
            custom_voice=body.text("customVoiceEndpointId") or "",
            cache_id=cache_id,
        )


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
