"""What can be played, as pieces of PCM16 at a stream's rate: samples, WAV files, and async iterators of samples."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import TypeAlias

from offhook.audio.pcm import to_bytes
from offhook.audio.resample import resample
from offhook.audio.wav import read_wav

Pcm: TypeAlias = bytes | bytearray | memoryview
Source: TypeAlias = Pcm | str | Path | AsyncIterable[Pcm]
"""PCM16 mono at the stream's rate; the path of a WAV file of any rate; or an async iterator of such PCM."""


async def pieces(source: Source, rate: int) -> AsyncIterator[Pcm]:
    """The source at `rate`. OSError or WireError for a file that cannot be read."""
    if isinstance(source, bytes | bytearray | memoryview):
        yield source
    elif isinstance(source, str | Path):
        yield await asyncio.to_thread(_read, Path(source), rate)
    else:
        async for piece in source:
            yield piece


def _read(path: Path, rate: int) -> bytes:
    sound = read_wav(path.read_bytes())
    return to_bytes(resample(sound.samples, sound.rate, rate))
