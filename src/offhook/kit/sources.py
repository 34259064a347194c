"""What can be played, and pulling it: samples, WAV files, and iterators of samples, one after the other.

A source is pulled no further than `AHEAD_MS` before the caller's ear, so an endless one costs no memory; it is closed
as soon as its playback is cut. What a source raises fails its own playback, and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

from offhook.audio.pcm import to_bytes
from offhook.audio.resample import resample
from offhook.audio.wav import read_wav
from offhook.kit.playback import LONGEST_AHEAD_MS, Playback, PlayQueue
from offhook.kit.session import PlayQueueFull

log: Final = logging.getLogger("offhook.kit")

AHEAD_MS: Final = 30_000
"""How much of an iterator's sound is kept unheard; it is not asked for more then."""
MOST_WAITING: Final = 1000
"""Sources that wait for the one before them."""
CLOSE_S: Final = 5.0
"""How long a source may take to close."""

Pcm: TypeAlias = bytes | bytearray | memoryview
Source: TypeAlias = Pcm | str | Path | AsyncIterable[Pcm] | Iterable[Pcm]
"""PCM16 LE mono at the stream's rate; a WAV file of any rate, as its path or its bytes; or an iterator of such PCM."""

_PCM: Final = (bytes, bytearray, memoryview)


def is_pcm(source: Source) -> bool:
    """Whether it can be played as it is. TypeError when it cannot be played at all."""
    if isinstance(source, _PCM):
        return not (bytes(source[:4]) in (b"RIFF", b"RF64") and bytes(source[8:12]) == b"WAVE")
    if not isinstance(source, str | Path | AsyncIterable | Iterable) or hasattr(source, "read"):
        raise TypeError(
            "play() takes PCM16 as bytes, the path or the bytes of a WAV file, or an iterator of PCM16, "
            f"not {type(source).__name__}"
        )
    return False


async def pieces(source: Source, rate: int) -> AsyncIterator[Pcm]:
    """The source at `rate`. OSError for a file that cannot be read, AudioError for one that is no WAV, TypeError."""
    if isinstance(source, _PCM):
        yield source if is_pcm(source) else await asyncio.to_thread(_decode, source, rate)
    elif isinstance(source, str | Path):
        yield await asyncio.to_thread(_read, Path(source), rate)
    elif isinstance(source, AsyncIterable):
        async for piece in source:
            yield _checked(piece)
    else:
        for piece in source:
            yield _checked(piece)
            await asyncio.sleep(0)


def _checked(piece: Pcm) -> Pcm:
    if not isinstance(piece, _PCM):
        raise TypeError(f"a source of sound gives PCM16 as bytes, not {type(piece).__name__}")
    return piece


def _read(path: Path, rate: int) -> bytes:
    return _decode(path.read_bytes(), rate)


def _decode(wav: Pcm, rate: int) -> bytes:
    sound = read_wav(wav)
    return to_bytes(resample(sound.samples, sound.rate, rate))


class Puller:
    """Pulls what the playbacks of a call are made of; `sent` is called when there is something to send."""

    def __init__(self, queue: PlayQueue, rate: int, call_id: str, sent: Callable[[], None]) -> None:
        self._queue = queue
        self._rate = rate
        self._call_id = call_id
        self._sent = sent
        self._waiting: deque[tuple[Playback, Source]] = deque()
        self._bytes = 0  # of the PCM among what waits
        self._woken = asyncio.Event()
        self._room = asyncio.Event()
        self.busy = False
        """Something is pulled, or waits; what is played now comes behind it."""

    def add(self, playback: Playback, source: Source) -> None:
        """Pull it behind those that wait. PlayQueueFull."""
        size = len(source) if isinstance(source, _PCM) else 0
        most = LONGEST_AHEAD_MS * self._rate // 500
        if len(self._waiting) >= MOST_WAITING or self._bytes + size > most:
            raise PlayQueueFull(
                f"{len(self._waiting)} sources of sound wait behind one that has not ended: "
                "stop() it, or wait for what you play"
            )
        self._waiting.append((playback, source))
        self._bytes += size
        self.busy = True
        self._woken.set()

    def heard(self) -> None:
        """Called with every frame: an iterator that waits for room goes on."""
        if not self._room.is_set() and self._queue.unheard_ms <= AHEAD_MS:
            self._room.set()

    async def run(self) -> None:
        """Pull until cancelled."""
        while True:
            while not self._waiting:
                self.busy = False
                self._woken.clear()
                await self._woken.wait()
            playback, source = self._waiting.popleft()
            self._bytes -= len(source) if isinstance(source, _PCM) else 0
            if playback.done:
                await _close(source)
                continue
            await self._pull(playback, source)
            self._queue.end(playback)

    async def _pull(self, playback: Playback, source: Source) -> None:
        pulling = asyncio.ensure_future(self._put_all(playback, source))
        ended = asyncio.ensure_future(over(playback))
        try:
            await asyncio.wait({pulling, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            pulling.cancel()
            await asyncio.wait({pulling}, timeout=CLOSE_S)
            await _close(source)
        error = None if not pulling.done() or pulling.cancelled() else pulling.exception()
        if isinstance(error, Exception):
            log.error("call %s: a source of sound failed, and its playback ends", self._call_id, exc_info=error)
            playback.error = error

    async def _put_all(self, playback: Playback, source: Source) -> None:
        async for piece in pieces(source, self._rate):
            self._queue.put(playback, piece)
            self._sent()
            if self._queue.unheard_ms > AHEAD_MS:
                self._room.clear()
                await self._room.wait()


async def over(playback: Playback) -> None:
    """Wait until it was heard or cut, whatever its source did."""
    with suppress(Exception):
        await playback


async def _close(source: Source) -> None:
    """Close a generator, so that its `finally` runs now and not when it is collected."""
    close: Any = getattr(source, "aclose", None) or getattr(source, "close", None)
    if close is None or isinstance(source, str | Path | bytes | bytearray | memoryview):
        return
    try:
        closing = close()
        if closing is not None:
            await asyncio.wait_for(closing, CLOSE_S)
    except Exception:
        log.debug("a source of sound could not be closed", exc_info=True)
