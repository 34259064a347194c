"""The .NET SDK's two entry points for stream messages, in Python (protocol.md 2.4-2.6)."""

from __future__ import annotations

from offhook.wire.app_side import ServiceMessage, app_audio, app_stop, parse_service_message
from offhook.wire.folding import Text


class StreamingData:
    """Reads what the service sends."""

    @staticmethod
    def parse(message: Text) -> ServiceMessage:
        """One WebSocket message as AudioMetadata, AudioData, DtmfData, MarkData or Transcription*.

        `message` is text or its UTF-8 bytes. Raises WireError for everything else, kinds that are
        not known yet included; an app should go on with the next message then.
        """
        return parse_service_message(message)


class OutStreamingData:
    """Builds what an app sends."""

    @staticmethod
    def get_audio_data_for_outbound(pcm: bytes | bytearray | memoryview) -> str:
        """The text that plays `pcm` into the call: PCM16 LE mono at the stream's rate, any length.

        Raises WireError for an odd number of bytes.
        """
        return app_audio(pcm)

    @staticmethod
    def get_stop_audio_for_outbound() -> str:
        """The text that makes the service drop all audio that it has not played yet."""
        return app_stop()
