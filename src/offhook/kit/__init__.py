"""The app side: typed reading and building of stream messages, sessions and adapters.

Adapters import the server they are for only when they are used; docs/kit.md has an example of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
from offhook.wire.turns import TurnReport

if TYPE_CHECKING:
    from offhook.kit.app import VoiceApp
    from offhook.kit.call import Call, CallEnded, SoundFrame, TransferFailed
    from offhook.kit.cascade import Conversation, Message, converse
    from offhook.kit.decisions import Ignore, Redirect, Reject
    from offhook.kit.life import DialFailed
    from offhook.kit.playback import Playback
    from offhook.kit.realtime import relay
    from offhook.kit.realtime_events import Reconnected, RelayEvent, Said, ServiceError, ToolCalled, Truncated
    from offhook.kit.realtime_link import Reconnect, RelayFailed
    from offhook.kit.realtime_services import AzureOpenAI, OpenAI, VoiceLive
    from offhook.kit.speech import LocalSpeech, local_speech, understand_locally
    from offhook.kit.turns import Interrupted, Resumed, SpeechEnded, SpeechStarted, TurnTaking

# What needs numpy is imported when it is first asked for: an app that only parses messages does not pay for it.
_LATER = {
    "VoiceApp": "app",
    "Call": "call",
    "CallEnded": "call",
    "SoundFrame": "call",
    "TransferFailed": "call",
    "DialFailed": "life",
    "Ignore": "decisions",
    "Redirect": "decisions",
    "Reject": "decisions",
    "Conversation": "cascade",
    "Message": "cascade",
    "converse": "cascade",
    "LocalSpeech": "speech",
    "local_speech": "speech",
    "understand_locally": "speech",
    "Playback": "playback",
    "Interrupted": "turns",
    "Resumed": "turns",
    "SpeechEnded": "turns",
    "SpeechStarted": "turns",
    "TurnTaking": "turns",
    "relay": "realtime",
    "Reconnected": "realtime_events",
    "RelayEvent": "realtime_events",
    "Said": "realtime_events",
    "ServiceError": "realtime_events",
    "ToolCalled": "realtime_events",
    "Truncated": "realtime_events",
    "Reconnect": "realtime_link",
    "RelayFailed": "realtime_link",
    "AzureOpenAI": "realtime_services",
    "OpenAI": "realtime_services",
    "VoiceLive": "realtime_services",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)


__all__ = [
    "Audio",
    "AudioData",
    "AudioMetadata",
    "AzureOpenAI",
    "Call",
    "CallEnded",
    "ConfigError",
    "DialFailed",
    "Conversation",
    "Dtmf",
    "DtmfData",
    "Event",
    "Handler",
    "Ignore",
    "Interrupted",
    "LocalSpeech",
    "MarkData",
    "MarkReached",
    "Message",
    "OffhookError",
    "OpenAI",
    "Opened",
    "OutStreamingData",
    "PlainServer",
    "PlayQueueFull",
    "Playback",
    "Reconnect",
    "Reconnected",
    "RelayEvent",
    "RelayFailed",
    "Redirect",
    "Reject",
    "Resumed",
    "Said",
    "ServiceError",
    "SoundFrame",
    "SpeechEnded",
    "SpeechStarted",
    "Stream",
    "StreamApp",
    "StreamClosed",
    "StreamSession",
    "StreamingData",
    "TokenCheck",
    "TokenError",
    "ToolCalled",
    "Transcript",
    "TranscriptionData",
    "TranscriptionMetadata",
    "Truncated",
    "TransferFailed",
    "TurnReport",
    "TurnTaking",
    "UnknownKeyError",
    "Unreadable",
    "VoiceApp",
    "VoiceLive",
    "WireError",
    "WordData",
    "accept_stream",
    "relay",
    "converse",
    "local_speech",
    "serve",
    "stream_app",
    "stream_handler",
    "understand_locally",
]
