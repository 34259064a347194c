"""Sounds: play sources fetched over http and https, decoded beside the loop, kept for a while (protocol.md §3.9, §5.8).

An app must not make the node reach what only the node can reach: every connection, each redirect's too, is opened
under the rule of `Targets`.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urljoin, urlsplit

import aiohttp
import numpy as np

from offhook.audio.pcm import Frame
from offhook.audio.resample import resample
from offhook.audio.wav import read_wav
from offhook.errors import AudioError, PromptError
from offhook.service.origins import Origins
from offhook.service.posting import describe, request_url, shown
from offhook.service.prompt_folder import PromptFolder, is_local
from offhook.service.targets import Targets
from offhook.wire.playing import PlaySource

log = logging.getLogger("offhook.sounds")

MOST_BYTES: Final = 32 * 1024 * 1024  # of one file
MOST_SECONDS: Final = 600.0  # of all sources of one play
FETCH_TIMEOUT: Final = 15.0  # seconds for one file, redirects included
MOST_REDIRECTS: Final = 5
FETCHES: Final = 64  # at once; further ones wait, within their time
FETCHES_OF_HOST: Final = 8  # so that a slow one holds up nobody but itself
KEPT_BYTES: Final = 64 * 1024 * 1024  # of decoded sound that nobody need be playing
KEPT_BY_URL: Final = 10.0  # seconds; a file may change
KEPT_BY_ID: Final = 3600.0  # seconds; the app says by playSourceCacheId that it does not
_REDIRECTS: Final = (301, 302, 303, 307, 308)

Loaded = Frame | PromptError


class Loader(Protocol):
    """Where prompts come from."""

    def load(self, sources: tuple[PlaySource, ...], rate: int, done: Callable[[Loaded], None]) -> Callable[[], None]:
        """Load all sources as one sound at `rate`; `done` is called later, on the loop. Gives back what cancels it."""


@dataclass(slots=True, eq=False)
class _Kept:
    task: asyncio.Task[Frame]
    life: float
    until: float = 0.0
    size: int = 0


class Sounds:
    """The `Loader` of a node. Who asks for the same file at the same time shares one fetch."""

    def __init__(
        self,
        tls: ssl.SSLContext | None = None,
        origins: Origins | None = None,
        targets: Targets | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        fetch_timeout: float = FETCH_TIMEOUT,
        folder: Path | None = None,
    ) -> None:
        """`folder`: of the files that may be played by name."""
        self._folder = PromptFolder(folder, MOST_BYTES)
        self._tls = tls
        self._origins = origins or Origins()
        self._targets = targets or Targets()
        self._clock = clock
        self._fetch_timeout = fetch_timeout
        self._session: aiohttp.ClientSession | None = None
        # One thread: decoding must not take the processor from the media clock twice over.
        self._pool = ThreadPoolExecutor(1, "sounds")
        self._tasks: set[asyncio.Task[Frame]] = set()
        self._kept: OrderedDict[tuple[str, str, int], _Kept] = OrderedDict()
        self._kept_bytes = 0

    def load(self, sources: tuple[PlaySource, ...], rate: int, done: Callable[[Loaded], None]) -> Callable[[], None]:
        """See `Loader`. PromptError names the first source that cannot be used."""
        task = self._spawn(self._load(sources, rate))

        def finished(task: asyncio.Task[Frame]) -> None:
            if not task.cancelled():
                error = task.exception()
                done(task.result() if error is None else _told(error))

        def cancel() -> None:
            task.cancel()

        task.add_done_callback(finished)
        return cancel

    async def close(self) -> None:
        """Give up what is under way, and close the connections."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    # one play ---------------------------------------------------------------------------------------------------

    async def _load(self, sources: tuple[PlaySource, ...], rate: int) -> Frame:
        under_way = [self._begin(source, rate) if source.kind == "file" else None for source in sources]
        sounds: list[Frame] = []
        for index, (source, task) in enumerate(zip(sources, under_way, strict=True)):
            if task is None:
                raise PromptError("speech_not_set_up" if source.words.strip() else "play_source_empty", "", index)
            try:
                sounds.append(await asyncio.shield(task))
            except PromptError as error:
                raise PromptError(error.outcome, error.detail, index) from None
            if sum(map(len, sounds)) > MOST_SECONDS * rate:
                raise PromptError("play_bad_format", _too_long("The sources together are"), index)
        if len(sounds) == 1:
            return sounds[0]
        return await asyncio.get_running_loop().run_in_executor(self._pool, np.concatenate, sounds)

    def _begin(self, source: PlaySource, rate: int) -> asyncio.Task[Frame]:
        """The fetch of a file, or the one that is under way or was done a short time ago."""
        # Behind an id the query may change, for it often holds a signature that expires.
        uri = source.uri if source.cache_id is None else source.uri.partition("?")[0]
        key = (source.cache_id or "", uri, rate)
        kept = self._kept.get(key)
        if kept is not None and (not kept.task.done() or self._clock() < kept.until):
            self._kept.move_to_end(key)
            return kept.task
        if kept is not None:
            self._forget(key, kept)
        life = KEPT_BY_URL if source.cache_id is None else KEPT_BY_ID
        kept = self._kept[key] = _Kept(self._spawn(self._make(source.uri, rate)), life)
        kept.task.add_done_callback(lambda task: self._made(key, kept))
        return kept.task

    def _made(self, key: tuple[str, str, int], kept: _Kept) -> None:
        if self._kept.get(key) is not kept:
            return
        if kept.task.cancelled() or kept.task.exception() is not None:
            self._forget(key, kept)
            return
        kept.until, kept.size = self._clock() + kept.life, kept.task.result().nbytes
        self._kept_bytes += kept.size
        for other, old in list(self._kept.items()):
            if self._kept_bytes <= KEPT_BYTES:
                break
            if old.task.done():
                self._forget(other, old)

    def _forget(self, key: tuple[str, str, int], kept: _Kept) -> None:
        del self._kept[key]
        self._kept_bytes -= kept.size

    def _spawn(self, work: Coroutine[Any, Any, Frame]) -> asyncio.Task[Frame]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # one file ---------------------------------------------------------------------------------------------------

    async def _make(self, uri: str, rate: int) -> Frame:
        try:
            async with asyncio.timeout(self._fetch_timeout):
                data = await self._fetch(uri)
        except TimeoutError:
            raise _not_downloaded(uri, f"was not there within {self._fetch_timeout:g} s") from None
        except aiohttp.ServerDisconnectedError:
            raise _not_downloaded(uri, "was not answered: the server closed the connection") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _not_downloaded(uri, f"could not be fetched: {describe(error, True)}") from None
        return await asyncio.get_running_loop().run_in_executor(self._pool, decoded, data, uri, rate)

    async def _fetch(self, uri: str) -> bytearray:
        """The body, behind at most `MOST_REDIRECTS` redirects; or a file of the folder."""
        if is_local(uri):
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._folder.read, uri)
        url = uri
        for _ in range(MOST_REDIRECTS + 1):
            async with self._sessions().get(
                request_url(self._origins.dial(url)),
                headers=self._origins.headers(url),
                allow_redirects=False,
                ssl=self._tls if self._tls is not None else True,
            ) as response:
                target = response.headers.get("Location")
                if response.status in _REDIRECTS and target:
                    url = urljoin(url, target)
                    if urlsplit(url).scheme.lower() not in ("http", "https"):
                        raise _not_downloaded(uri, "is redirected to what is no http or https URL")
                    continue
                if response.status != 200:
                    raise _not_downloaded(uri, f"was answered with HTTP {response.status}")
                return await _body(response, uri)
        raise _not_downloaded(uri, f"is redirected more than {MOST_REDIRECTS} times")

    def _sessions(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=FETCHES,
                limit_per_host=FETCHES_OF_HOST,
                force_close=True,
                socket_factory=self._targets.open_socket,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"User-Agent": "offhook", "Accept-Encoding": "identity"},
            )
        return self._session


def decoded(data: bytes | bytearray, uri: str, rate: int) -> Frame:
    """A WAV file as read-only mono PCM16 at `rate`. PromptError `play_bad_format`."""
    try:
        sound = read_wav(data)
        if len(sound.samples) > MOST_SECONDS * sound.rate:
            raise AudioError(_too_long("it is"))
        samples = resample(sound.samples, sound.rate, rate)
    except AudioError as error:
        raise PromptError("play_bad_format", f"{shown(uri)}: {error}") from None
    samples.flags.writeable = False
    return samples


async def _body(response: aiohttp.ClientResponse, uri: str) -> bytearray:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MOST_BYTES:
            raise _not_downloaded(uri, f"has more than {MOST_BYTES >> 20} MiB; play a shorter file, or 16 kHz mono")
    return body


def _not_downloaded(uri: str, why: str) -> PromptError:
    return PromptError("play_not_downloaded", f"{shown(uri)} {why}.")


def _too_long(what: str) -> str:
    return f"{what} longer than {MOST_SECONDS:g} s, the most that one play may hold"


def _told(error: BaseException) -> PromptError:
    """What the app is told of a load that ended badly; a mistake of ours is logged."""
    if isinstance(error, PromptError):
        return error
    log.error("a play source could not be loaded", exc_info=error)
    return PromptError("play_failed")
