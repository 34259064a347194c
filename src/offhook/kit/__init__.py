"""The app side: typed reading and building of stream messages, sessions and adapters.

Adapters import the server they are for only when they are used; docs/kit.md has an example of each.
"""

from __future__ import annotations

from offhook.errors import ConfigError, OffhookError, WireError
from offhook.kit.aiohttp import stream_handler
from offhook.kit.asgi import StreamApp, accept_stream, stream_app
from offhook.kit.plain import PlainServer, serve
from offhook.kit.session import (
    Audio,
    Dtmf,
    Event,
    MarkReached,
    Opened,
    PlayQueueFull,
    StreamSession,
    Transcript,
    Unreadable,
)
from offhook.kit.stream import Handler, Stream, StreamClosed
from offhook.kit.streaming import OutStreamingData, StreamingData
from offhook.kit.tokens import TokenCheck, TokenError, UnknownKeyError
from offhook.wire.app_side import (
    AudioData,
    AudioMetadata,
    DtmfData,
    MarkData,
    TranscriptionData,
    TranscriptionMetadata,
    WordData,
)

__all__ = [
    "Audio",
    "AudioData",
    "AudioMetadata",
    "ConfigError",
    "Dtmf",
    "DtmfData",
    "Event",
    "Handler",
    "MarkData",
    "MarkReached",
    "OffhookError",
    "Opened",
    "OutStreamingData",
    "PlainServer",
    "PlayQueueFull",
    "Stream",
    "StreamApp",
    "StreamClosed",
    "StreamSession",
    "StreamingData",
    "TokenCheck",
    "TokenError",
    "Transcript",
    "TranscriptionData",
    "TranscriptionMetadata",
    "UnknownKeyError",
    "Unreadable",
    "WireError",
    "WordData",
    "accept_stream",
    "serve",
    "stream_app",
    "stream_handler",
]
