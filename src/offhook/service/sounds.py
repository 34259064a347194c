"""Sounds: play sources fetched and decoded beside the loop, or spoken, kept for a while (protocol.md §3.9, §5.8).

An app must not make the node reach what only the node can reach: every connection, each redirect's too, is opened
under the rule of `Targets`.
"""

from __future__ import annotations

import asyncio
import logging
import math
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

from offhook.audio.pcm import Frame
from offhook.audio.resample import resample
from offhook.audio.sound import Sound
from offhook.audio.wav import read_wav
from offhook.errors import AudioError, PromptError
from offhook.service.origins import Origins
from offhook.service.posting import describe, request_url, shown
from offhook.service.prompt_folder import PromptFolder, is_local
from offhook.service.speech import Speech
from offhook.service.spoken import SpokenSource, joined
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
KEPT_BY_URL: Final = 10.0  # seconds, or by its text; a file may change
KEPT_BY_ID: Final = 3600.0  # seconds; the app says by playSourceCacheId that it does not
_REDIRECTS: Final = (301, 302, 303, 307, 308)

Loaded = Sound | PromptError


class Loader(Protocol):
    """Where prompts come from."""

    def load(self, sources: tuple[PlaySource, ...], rate: int, done: Callable[[Loaded], None]) -> Callable[[], None]:
        """Load all sources as one sound at `rate`; `done` is called later, on the loop, with one that may grow yet.

        Gives back what says that nobody waits for it or hears it any more; then it is not loaded on, nor spoken on.
        """


_Key = tuple[str, str, str, str, int]


@dataclass(slots=True, eq=False)
class _Kept:
    """A source on its way, or there: for `life` seconds from the end of its making, `until` then."""

    key: _Key
    task: asyncio.Task[Sound]
    life: float
    spoken: SpokenSource | None
    until: float = math.inf
    size: int = 0
    users: int = 0


class Sounds:
    """The `Loader` of a node. Who asks for the same file at the same time shares one fetch."""

    def __init__(
        self,
        tls: ssl.SSLContext | None = None,
        origins: Origins | None = None,
        targets: Targets | None = None,
        speech: Speech | None = None,
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
        self._speech = speech or Speech()
        self._clock = clock
        self._fetch_timeout = fetch_timeout
        self._session: aiohttp.ClientSession | None = None
        # One thread: decoding must not take the processor from the media clock twice over.
        self._pool = ThreadPoolExecutor(1, "sounds")
        self._tasks: set[asyncio.Task[Sound]] = set()
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._kept_bytes = 0

    def load(self, sources: tuple[PlaySource, ...], rate: int, done: Callable[[Loaded], None]) -> Callable[[], None]:
        """See `Loader`. PromptError names the first source that cannot be used."""
        used: list[_Kept] = []
        task = self._spawn(self._load(sources, rate, used))

        def finished(task: asyncio.Task[Sound]) -> None:
            if not task.cancelled():
                error = task.exception()
                done(task.result() if error is None else _told(error))

        def let_go() -> None:
            task.cancel()
            while used:
                self._leave(used.pop())

        task.add_done_callback(finished)
        return let_go

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

    async def _load(self, sources: tuple[PlaySource, ...], rate: int, used: list[_Kept]) -> Sound:
        """All files are there whole then, and of each text the first words; so a bad source is heard of in time."""
        for source in sources:
            used.append(self._begin(source, rate))
            used[-1].users += 1
        sounds: list[Sound] = []
        for index, task in enumerate([kept.task for kept in used]):
            try:
                sounds.append(await asyncio.shield(task))
            except PromptError as error:
                raise PromptError(error.outcome, error.detail, index) from None
        too_long = _too_long("The sources together are")
        sound = joined(sounds, MOST_SECONDS * rate, lambda index: PromptError("play_bad_format", too_long, index))
        if sound.error is not None:
            raise sound.error
        return sound

    def _begin(self, source: PlaySource, rate: int) -> _Kept:
        """A source that is being made from now on, or already, or was a short time ago."""
        # Behind an id the query may change, for it often holds a signature that expires.
        uri = source.uri if source.cache_id is None else source.uri.partition("?")[0]
        voice = f"{source.kind}/{source.voice}/{source.language}/{source.custom_voice}"
        key = (source.cache_id or "", uri, source.words, voice, rate)
        kept = self._kept.get(key)
        if kept is not None and self._clock() < kept.until:
            self._kept.move_to_end(key)
            return kept
        if kept is not None:
            self._forget(kept)
        life = KEPT_BY_URL if source.cache_id is None else KEPT_BY_ID
        spoken = None if source.kind == "file" else SpokenSource(source, self._speech, rate)
        task = self._spawn(self._make(source.uri, rate) if spoken is None else spoken.begin())
        kept = self._kept[key] = _Kept(key, task, life, spoken)
        task.add_done_callback(lambda task: self._made(kept))
        return kept

    def _made(self, kept: _Kept) -> None:
        """It is there, at least its beginning."""
        if kept.task.cancelled() or kept.task.exception() is not None:
            self._forget(kept)
        else:
            kept.task.result().listen(lambda: self._grown(kept))
            self._grown(kept)

    def _grown(self, kept: _Kept) -> None:
        sound = kept.task.result()
        if self._kept.get(kept.key) is not kept or not sound.over:
            return
        if sound.error is not None:
            self._forget(kept)
            return
        kept.until, kept.size = self._clock() + kept.life, 2 * sound.length
        self._kept_bytes += kept.size
        for old in list(self._kept.values()):
            if self._kept_bytes <= KEPT_BYTES:
                break
            if old.until < math.inf:
                self._forget(old)

    def _leave(self, kept: _Kept) -> None:
        """One hearer less; what nobody waits for or hears is not loaded on, nor spoken on."""
        kept.users -= 1
        over = kept.task.done() if kept.spoken is None else kept.spoken.sound.over
        if not kept.users and not over:
            self._forget(kept)
            kept.task.cancel()
            if kept.spoken is not None:
                kept.spoken.stop()

    def _forget(self, kept: _Kept) -> None:
        if self._kept.get(kept.key) is kept:
            del self._kept[kept.key]
            self._kept_bytes -= kept.size

    def _spawn(self, work: Coroutine[Any, Any, Sound]) -> asyncio.Task[Sound]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # one file ---------------------------------------------------------------------------------------------------

    async def _make(self, uri: str, rate: int) -> Sound:
        try:
            async with asyncio.timeout(self._fetch_timeout):
                data = await self._fetch(uri)
        except TimeoutError:
            raise _not_downloaded(uri, f"was not there within {self._fetch_timeout:g} s") from None
        except aiohttp.ServerDisconnectedError:
            raise _not_downloaded(uri, "was not answered: the server closed the connection") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _not_downloaded(uri, f"could not be fetched: {describe(error, True)}") from None
        return Sound.of(await asyncio.get_running_loop().run_in_executor(self._pool, decoded, data, uri, rate))

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
