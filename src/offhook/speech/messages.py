"""What the node and its speech process say to each other: msgpack, each message behind its length (4 bytes, little)."""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from offhook.speech.provider import Recognised, Words

HEAD: Final = struct.Struct("<I")
LONGEST: Final = 64 * 1024 * 1024  # bytes of one message; a longer one is a mistake of ours


class Speak(msgspec.Struct, frozen=True, tag=True):
    """To the process: speak. Answers: `Piece` several times, then `Spoken`; or `Failed` at any time."""

    number: int
    words: Words
    rate: int


class Recognise(msgspec.Struct, frozen=True, tag=True):
    """To the process: recognise PCM16 of `LISTENING_RATE`. Answer: `Heard` or `Failed`."""

    number: int
    pcm: bytes
    language: str
    phrases: tuple[str, ...]


class Forget(msgspec.Struct, frozen=True, tag=True):
    """To the process: nobody waits for it any more. Answer: `Forgotten`, also when it has been answered already."""

    number: int


class Piece(msgspec.Struct, frozen=True, tag=True):
    """From the process: the next samples, PCM16."""

    number: int
    pcm: bytes


class Spoken(msgspec.Struct, frozen=True, tag=True):
    """From the process: that was all."""

    number: int


class Heard(msgspec.Struct, frozen=True, tag=True):
    """From the process: what was understood."""

    number: int
    recognised: Recognised


class Failed(msgspec.Struct, frozen=True, tag=True):
    """From the process: a SpeechError."""

    number: int
    outcome: str
    detail: str


class Forgotten(msgspec.Struct, frozen=True, tag=True):
    """From the process: no more answers with this number. So a process that is stuck is noticed whoever waits."""

    number: int


Request = Speak | Recognise | Forget
Answer = Piece | Spoken | Heard | Failed | Forgotten

_encoder: Final = msgspec.msgpack.Encoder()
requests: Final = msgspec.msgpack.Decoder(Request)
answers: Final = msgspec.msgpack.Decoder(Answer)


def packed(message: Request | Answer) -> bytes:
    """A message with its length before it."""
    body = _encoder.encode(message)
    return HEAD.pack(len(body)) + body
