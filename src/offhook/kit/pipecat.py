"""Pipecat on the media stream: a serializer for pipecat's own WebSocket transports, and a transport on our calls.

`AcsFrameSerializer` speaks the stream's messages (protocol.md 2.4, 2.6) for FastAPIWebsocketTransport and the like.
`AcsTransport` is the quicker one, and knows what the caller has heard. pip install 'offhook[pipecat]'.
"""

from __future__ import annotations

from offhook.errors import ConfigError

try:
    import pipecat.frames.frames  # noqa: F401
except ModuleNotFoundError as error:
    raise ConfigError(
        f"offhook.kit.pipecat needs the package pipecat-ai ({error}): pip install 'offhook[pipecat]'"
    ) from error

from offhook.kit.pipecat_serializer import AcsFrameSerializer
from offhook.kit.pipecat_transport import AcsParams, AcsTransport

__all__ = ["AcsFrameSerializer", "AcsParams", "AcsTransport"]
