"""What a speech model says, item by item: its sound on the way into the call, and how much of it was heard."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import AsyncIterator
from typing import Final

from offhook.audio.pcm import PTIME_MS
from offhook.kit.call import SoundFrame
from offhook.kit.converter import RateConverter
from offhook.kit.playback import Playback
from offhook.kit.realtime_settings import MODEL_RATE

log: Final = logging.getLogger("offhook.kit")

LONGEST_ITEM_MS: Final = 600_000
"""Sound of one item that is kept; what is beyond is dropped, and the log says so."""


class Heard:
    """The caller on the way to the model: each frame at the model's rate. At that rate no sample changes."""

    def __init__(self, rate: int) -> None:
        self._converter = RateConverter(rate, MODEL_RATE)
        self._bytes = rate * PTIME_MS // 1000 * 2
        self._speaker: str | None = None
        self._others_told = False

    def take(self, frame: SoundFrame) -> bytes:
        """20 ms of PCM16 at 24 kHz; of an unmixed stream the first who is heard, and nothing for others."""
        pcm = frame.pcm
        if frame.speaker is not None and frame.speaker != (self._speaker or frame.speaker):
            if not self._others_told:
                log.warning("the stream is unmixed: the model hears %s, and not %s", self._speaker, frame.speaker)
            self._others_told = True
            return b""
        self._speaker = self._speaker or frame.speaker
        if len(pcm) != self._bytes:  # silence may come without samples
            pcm = pcm[: self._bytes].ljust(self._bytes, b"\0")
        return self._converter.process(pcm)


class Spoken:
    """One audio part of one item. Deltas go in, `pieces` come out at the stream's rate, `playback` says what was heard.

    Deltas may be cut within a sample: the odd byte waits for its other half.
    """

    def __init__(self, item_id: str, content_index: int, response_id: str, rate: int) -> None:
        self.item_id = item_id
        self.content_index = content_index
        self.response_id = response_id
        self.whole = False
        """Nothing more comes."""
        self.playback: Playback | None = None
        self._converter = RateConverter(MODEL_RATE, rate)
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._odd = b""
        self._received = 0

    @property
    def received_ms(self) -> float:
        """How much of it has come."""
        return (self._received & ~1) * 500 / MODEL_RATE

    @property
    def heard_ms(self) -> float:
        """How much of it the caller has heard, never more than has come."""
        return min(self.playback.heard_ms, self.received_ms) if self.playback is not None else 0.0

    def heard_of(self, text: str) -> str:
        """About what of its words was heard: as large a share as of the sound, up to the end of a word."""
        received = self.received_ms
        if not received or self.heard_ms >= received:
            return text
        upto = round(len(text) * self.heard_ms / received)
        head = text[:upto]
        cut_within = upto < len(text) and head[-1:].isalnum() and text[upto].isalnum()
        return (head.rpartition(" ")[0] if cut_within else head).rstrip()

    def put(self, delta: str) -> None:
        """One delta, base64. Nothing after `end`."""
        if self.whole or (self.playback is not None and self.playback.done):
            return
        try:
            data = base64.b64decode(delta, validate=True)
        except binascii.Error as error:
            log.warning("item %s: a delta that is no base64 was left out: %s", self.item_id, error)
            return
        if self.received_ms > LONGEST_ITEM_MS:
            log.warning("item %s is longer than %g s: the rest is not said", self.item_id, LONGEST_ITEM_MS / 1000)
            self.end()
            return
        self._received += len(data)
        data = self._odd + data
        whole = len(data) & ~1
        self._odd = data[whole:]
        if piece := self._converter.process(data[:whole]):
            self._pieces.put_nowait(piece)

    def end(self) -> None:
        """Nothing more comes; what is there is still heard."""
        if self.whole:
            return
        self.whole = True
        if piece := self._converter.flush():
            self._pieces.put_nowait(piece)
        self._pieces.put_nowait(None)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Its sound at the stream's rate, as it comes."""
        while (piece := await self._pieces.get()) is not None:
            yield piece
