"""Speech by a service that speaks the OpenAI audio API: audio/speech and audio/transcriptions (docs/speech.md).

Its address comes from who runs the node, and is dialled under the same rule as those of apps. The key is in the
requests and nowhere else.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import aiohttp
import numpy as np

from offhook.audio.pcm import Frame, from_bytes, samples_per_frame
from offhook.audio.resample import StreamResampler, resample
from offhook.audio.wav import read_wav, write_wav
from offhook.errors import AudioError, SpeechError
from offhook.service.posting import describe, request_url
from offhook.service.speech import SpeechPlan
from offhook.service.targets import Targets
from offhook.speech.provider import LISTENING_RATE, Recognised, RecognisedWord, Words
from offhook.speech.requests import MOST_WAITING, HeardDone, PieceTaken, SpokenDone, too_many
from offhook.speech.ssml import Segment, segments

log = logging.getLogger("offhook.speech")

PCM_RATE: Final = 24000
"""Hz of `response_format` pcm: mono, 16 bits, little."""
CONNECT_SECONDS: Final = 5.0
MOST_BYTES: Final = 600 * 2 * PCM_RATE  # of one text
MOST_ANSWER: Final = 1024 * 1024  # bytes of one transcription
LEAST: Final = LISTENING_RATE // 10  # samples; services refuse shorter sound, which holds no word
_NO_PCM: Final = re.compile(r"(text|video)/|application/(.*\+)?(json|xml)|audio/(aac|flac|mp3|mp4|mpeg|ogg|opus|webm)")
"""Content types of what is neither PCM nor a WAV file, and would be heard as noise."""


class RemoteSpeech:
    """A `Provider` on the loop: it mostly waits. What it has to convert is converted in a thread."""

    glances = MOST_WAITING // 2

    def __init__(self, plan: SpeechPlan, targets: Targets, tls: ssl.SSLContext) -> None:
        self._plan = plan
        self._targets = targets
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self._speaking: set[asyncio.Task[None]] = set()
        self._hearing: set[asyncio.Task[None]] = set()
        self._pool = ThreadPoolExecutor(1, "speech")
        self._verbose = True
        """Whether the model tells of words and likelihoods; some refuse to."""

    # Provider ---------------------------------------------------------------------------------------------------

    def speak(self, words: Words, rate: int, piece: PieceTaken, done: SpokenDone) -> Callable[[], None]:
        """See `Provider`."""
        too_many(len(self._speaking), speaks=True)

        async def work() -> None:
            error: SpeechError | None = None
            try:
                for segment in segments(words):
                    async for samples in self._segment(segment, rate):
                        piece(samples)
            except SpeechError as caught:
                error = caught
            except Exception as caught:
                error = _failed(caught)
            done(error)

        return self._spawn(work(), self._speaking)

    def recognise(self, pcm: Frame, language: str, phrases: Sequence[str], done: HeardDone) -> Callable[[], None]:
        """See `Provider`."""
        too_many(len(self._hearing), speaks=False)

        async def work() -> None:
            result: Recognised | SpeechError
            try:
                result = await self._transcribed(pcm, language, phrases)
            except SpeechError as caught:
                result = caught
            except Exception as caught:
                result = _failed(caught)
            done(result)

        return self._spawn(work(), self._hearing)

    async def close(self) -> None:
        """See `Provider`."""
        tasks = [*self._speaking, *self._hearing]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    # inside -----------------------------------------------------------------------------------------------------

    async def _segment(self, segment: Segment, rate: int) -> AsyncIterator[Frame]:
        if not segment.text:
            yield np.zeros(segment.pause_ms * rate // 1000, np.int16)
            return
        plan, loop = self._plan, asyncio.get_running_loop()
        body: dict[str, Any] = {"model": plan.voice_model, "voice": plan.voice, "input": segment.text}
        body |= {"response_format": "pcm"} | ({} if segment.speed == 1.0 else {"speed": segment.speed})
        sound = _Arriving(rate, segment.gain)
        async with self._post("audio/speech", json=body) as response:
            await _accepted(response)
            if _NO_PCM.match(response.content_type):
                what = f"The speech service sent {response.content_type} instead of pcm or wav."
                raise SpeechError("speech_failed", what)
            async for data in response.content.iter_any():
                samples = await loop.run_in_executor(self._pool, sound.more, data)
                if len(samples):
                    yield samples
        rest = await loop.run_in_executor(self._pool, sound.rest)
        if len(rest):
            yield rest

    async def _transcribed(self, pcm: Frame, language: str, phrases: Sequence[str]) -> Recognised:
        if len(pcm) < LEAST:
            return Recognised(text="")
        wave = write_wav(pcm, LISTENING_RATE)
        verbose = self._verbose
        while True:
            form = aiohttp.FormData()
            form.add_field("file", wave, filename="speech.wav", content_type="audio/wav")
            form.add_field("model", self._plan.recogniser_model)
            form.add_field("response_format", "verbose_json" if verbose else "json")
            if verbose:
                form.add_field("timestamp_granularities[]", "word")
                form.add_field("timestamp_granularities[]", "segment")
            if language:
                form.add_field("language", language.replace("_", "-").partition("-")[0].lower())
            if phrases:
                form.add_field("prompt", ", ".join(phrases))
            async with self._post("audio/transcriptions", data=form) as response:
                if response.status == 400 and verbose:
                    verbose = False  # or it was refused for another reason: then it is refused again
                    continue
                await _accepted(response)
                self._verbose = verbose
                return _recognised(await _limited(response))

    def _post(self, path: str, **body: Any) -> Any:
        if self._session is None:
            seconds = self._plan.timeout
            headers = {"User-Agent": "offhook"}
            if self._plan.key:
                headers["Authorization"] = f"Bearer {self._plan.key}"
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=2 * MOST_WAITING, socket_factory=self._targets.open_socket),
                timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_read=seconds),
                headers=headers,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        url = request_url(f"{self._plan.base_url.rstrip('/')}/{path}")
        return self._session.post(url, ssl=self._tls, allow_redirects=False, **body)

    def _spawn(self, work: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> Callable[[], None]:
        task = asyncio.get_running_loop().create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

        def cancel() -> None:
            task.cancel()

        return cancel


class _Arriving:
    """Bytes of PCM, or of a WAV file for servers that know nothing else, as samples at a rate."""

    def __init__(self, rate: int, gain: float) -> None:
        self._rate, self._gain = rate, gain
        self._resampler = StreamResampler(PCM_RATE, rate)
        self._size = 2 * samples_per_frame(PCM_RATE)
        self._data = bytearray()
        self._came = 0

    def more(self, data: bytes) -> Frame:
        """What can be made of it so far. SpeechError when it is too much."""
        self._came += len(data)
        if self._came > MOST_BYTES:
            raise SpeechError("speech_failed", "The speech service sent more than 600 s of speech for one text.")
        self._data += data
        if self._file:
            return np.zeros(0, np.int16)
        whole = len(self._data) // self._size * self._size
        return self._frames(whole)

    def rest(self) -> Frame:
        """What is left at the end."""
        if self._file:
            sound = read_wav(self._data)
            return self._louder(resample(sound.samples, sound.rate, self._rate))
        self._data += bytes(-len(self._data) % self._size)
        return self._frames(len(self._data))

    @property
    def _file(self) -> bool:
        return self._came == len(self._data) and (self._came < 4 or self._data[:4] == b"RIFF")

    def _frames(self, size: int) -> Frame:
        samples = from_bytes(bytes(self._data[:size])).reshape(-1, self._size // 2)
        del self._data[:size]
        return self._louder(np.concatenate([*map(self._resampler.process, samples), np.zeros(0, np.int16)]))

    def _louder(self, samples: Frame) -> Frame:
        if self._gain == 1.0:
            return samples
        louder: Frame = np.clip(samples * self._gain, -32768, 32767).astype(np.int16)
        return louder


async def _accepted(response: aiohttp.ClientResponse) -> None:
    """SpeechError unless it is a good answer; of the service's own words only its code, for they may hold the key."""
    if response.status == 200:
        return
    try:
        error = json.loads(await _limited(response))["error"]
        code = str(error.get("code") or error.get("type") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        code = ""
    told = f" ({code})" if re.fullmatch(r"[a-z_]{1,40}", code) else ""
    raise SpeechError("speech_failed", f"The speech service answered with HTTP {response.status}{told}.")


async def _limited(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for data in response.content.iter_any():
        body += data
        if len(body) > MOST_ANSWER:
            raise SpeechError("speech_failed", "The speech service sent an answer of more than 1 MiB.")
    return bytes(body)


def _recognised(body: bytes) -> Recognised:
    """An answer in either form. Confidence is 1 where it tells of no likelihoods."""
    try:
        answer = json.loads(body)
        chances = [(float(one["avg_logprob"]), len(str(one["text"]))) for one in answer.get("segments") or ()]
        letters = sum(size for _, size in chances)
        mean = sum(chance * size for chance, size in chances) / letters if letters else 0.0
        words = tuple(
            RecognisedWord(
                text=str(word["word"]).strip(),
                start_ms=round(float(word["start"]) * 1000),
                duration_ms=max(round((float(word["end"]) - float(word["start"])) * 1000), 0),
            )
            for word in answer.get("words") or ()
        )
        text = answer["text"]
        if not isinstance(text, str):
            raise ValueError("its text is none")
        return Recognised(text=text.strip(), confidence=min(1.0, math.exp(mean)) if text.strip() else 0.0, words=words)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        what = f"{type(error).__name__}: {error}"
        raise SpeechError("speech_failed", f"The speech service's answer cannot be read ({what}).") from None


def _failed(error: Exception) -> SpeechError:
    """What went wrong on the way, or a mistake of ours, which is logged."""
    if isinstance(error, TimeoutError):
        return SpeechError("speech_failed", "The speech service did not answer in time.")
    if isinstance(error, AudioError):
        return SpeechError("speech_failed", f"The speech service sent what is no sound: {error}.")
    if isinstance(error, aiohttp.ClientConnectorError):
        return SpeechError("speech_failed", f"The speech service: {describe(error, False)}.")
    if isinstance(error, aiohttp.ClientError | OSError):
        return SpeechError("speech_failed", f"The connection to the speech service broke ({type(error).__name__}).")
    log.error("speech by a service failed", exc_info=error)
    return SpeechError("speech_failed")
