"""Codecs with a memory: G.722 (ITU-T G.722, RFC 3551 §4.5.2) and Opus (RFC 6716, RFC 7587), by their C libraries.

One object is one call's: it encodes one stream and decodes another.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from offhook.audio.pcm import Frame
from offhook.errors import AudioError

OPUS_RATE = 16000
"""Rate at which we code Opus: its RTP clock is 48 kHz whatever the rate (RFC 7587 §4.1)."""
OPUS_BITS = 28000
OPUS_COMPLEXITY = 5
OPUS_SIGNAL_VOICE = 3001  # of opus_defines.h
OPUS_LOSS_PERCENT = 5
"""Loss that the redundancy in our packets reckons with."""
_LONGEST = OPUS_RATE * 120 // 1000  # samples of the longest packet (RFC 7587 §4.2)


class G722:
    """16 kHz audio in 64 kbit/s; its RTP clock is 8 kHz by an old mistake that everybody keeps."""

    name = "G722"
    rate, clock = 16000, 8000
    conceal = None
    remembers = True

    def __init__(self) -> None:
        library = _library("G722", "server").G722
        self._out, self._in = library(16000, 64000), library(16000, 64000)

    def decode(self, payload: bytes) -> Frame:
        """See `Codec`."""
        return np.frombuffer(self._in.decode(payload), np.int16)

    def encode(self, frame: Frame) -> bytes:
        """See `Codec`."""
        return bytes(self._out.encode(frame))


class Opus:
    """Mono at `OPUS_RATE` with forward error correction: a lost packet is made from what the next says of it.

    The application is `audio`, for `voip` has a high-pass in front that bends the wave (RFC 6716 §2.1.9 leaves that to
    encoders). The signal is said to be voice, for without that such an encoder takes the mode that has no redundancy.
    """

    name = "OPUS"
    rate, clock = OPUS_RATE, 48000
    remembers = True

    def __init__(self) -> None:
        library = _library("opuslib_next", "opus")
        self._failure: type[Exception] = library.OpusError
        self._out = library.Encoder(OPUS_RATE, 1, "audio")
        self._out.signal = OPUS_SIGNAL_VOICE
        self._out.bitrate = OPUS_BITS
        self._out.complexity = OPUS_COMPLEXITY
        self._out.inband_fec = 1
        self._out.packet_loss_perc = OPUS_LOSS_PERCENT
        self._in = library.Decoder(OPUS_RATE, 1)
        self._decode = importlib.import_module("opuslib_next.api.decoder").decode

    def decode(self, payload: bytes) -> Frame:
        """See `Codec`."""
        if not payload:
            raise AudioError("an empty packet of Opus")
        return self._decoded(payload, _LONGEST, False)

    def encode(self, frame: Frame) -> bytes:
        """See `Codec`; frames of 2.5 to 60 ms."""
        try:
            return bytes(self._out.encode(frame.tobytes(), len(frame)))
        except self._failure as error:
            raise AudioError(f"Opus cannot encode {len(frame)} samples: {error}") from None

    def conceal(self, samples: int, following: bytes | None) -> Frame:
        """See `Codec`: by the redundancy in the packet that follows, else by going on with what was heard."""
        return self._decoded(following, samples, following is not None)

    def _decoded(self, payload: bytes | None, longest: int, redundancy: bool) -> Frame:
        size = 0 if payload is None else len(payload)
        try:
            pcm = self._decode(self._in.decoder_state, payload, size, longest, redundancy, channels=1)
        except self._failure as error:
            raise AudioError(f"{size} bytes are no packet of Opus: {error}") from None
        return np.frombuffer(pcm, np.int16)


def _library(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise AudioError(f"{name} is not there ({error}): pip install 'offhook[{extra}]'") from None
