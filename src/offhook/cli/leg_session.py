"""One simulated leg over the console socket: speaks up to the node, collects what comes down, reports each step.

Times count from the answer. Audio goes up at most 30 s ahead of the call, so that a long file neither floods the
node nor arrives late.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np

from offhook.audio.tones import ToneSource
from offhook.cli.heard import Heard, HeardFrame
from offhook.cli.voice import Samples, Voice, load_sounddevice

AHEAD_SECONDS = 30.0
PIECE_SECONDS = 1.0
_HANGUP_WAIT = 5.0
RATES = (8000, 16000, 24000, 48000)

Report = Callable[[dict[str, Any]], None]
OnFrame = Callable[[HeardFrame, "LegSession"], None]


@dataclass
class LegSession:
    """The state of one leg; filled while `run` or `run_one` reads the socket."""

    socket: aiohttp.ClientWebSocketResponse
    voice: Voice | None
    report: Report
    on_frame: OnFrame | None = None
    lead: float = 0.0
    engaged: bool = True  # False for a phone that waits for an invite
    stopping: bool = False
    placed: dict[str, Any] = field(default_factory=dict)
    rang: bool = False
    rate: int = 0
    answer_ms: int | None = None
    spoke_at: int | None = None
    heard: Heard | None = None
    spoken: Samples = field(default_factory=lambda: np.zeros(0, np.int16))
    ended: dict[str, Any] | None = None
    error: str | None = None
    _upload: asyncio.Task[None] | None = None
    _frame_came: asyncio.Event = field(default_factory=asyncio.Event)
    _tone: Samples | None = None  # one frame of what the node makes

    @property
    def answered(self) -> bool:
        return self.heard is not None

    async def run(self) -> None:
        """Reads until the leg has ended, an error came, or the node went away."""
        try:
            while self.ended is None and self.error is None:
                message = await self.socket.receive()
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._take_text(message.data)
                elif message.type is aiohttp.WSMsgType.BINARY:
                    self._take_frame(message.data)
                elif self.stopping and not self.engaged:
                    return
                else:
                    self.error = "the node closed the connection"
        finally:
            await self._stop_upload()

    async def hang_up(self) -> None:
        """Asks the node to end the leg and gives it a moment to say so; a waiting phone just goes."""
        self.stopping = True
        if not self.engaged:
            await self.socket.close()
            return
        with suppress(ConnectionError):
            await self.socket.send_json({"kind": "hangup"})
        for _ in range(int(_HANGUP_WAIT * 20)):
            if self.ended is not None or self.error is not None:
                return
            await asyncio.sleep(0.05)
        self.error = "the node did not end the call"

    @property
    def spoken_start(self) -> int:
        """The sample, from the answer, at which the voice begins."""
        return self.spoke_at if self.spoke_at is not None else round(self.lead * self.rate)

    def spoken_during(self, frame: HeardFrame) -> Samples:
        """What was said while `frame` was heard; may be shorter than the frame."""
        if self._tone is not None:
            return self._tone if frame.index * len(frame.samples) >= self.spoken_start else self._tone[:0]
        start = frame.index * len(frame.samples) - self.spoken_start
        return self.spoken[max(0, start) : max(0, start + len(frame.samples))]

    def spoken_line(self) -> Samples:
        """What was said, from the answer: the silence before the first word, then the voice."""
        return np.concatenate([np.zeros(self.spoken_start, np.int16), self.spoken]).astype(np.int16)

    def _take_frame(self, message: bytes) -> None:
        if self.heard is None:
            return
        frame = self.heard.add(message)
        self._frame_came.set()
        if frame is not None and self.on_frame is not None:
            self.on_frame(frame, self)

    def _take_text(self, text: str) -> None:
        try:
            said = json.loads(text)
            kind = said["kind"]
        except (ValueError, TypeError, KeyError):
            self.error = "the node sent something that is no console message: is it an Offhook node of this version?"
            return
        if kind == "answered":
            self._answer(said)
        elif kind == "ended":
            self.ended = said
        elif kind == "error":
            self.error = str(said.get("message", "the node reported an error"))
        elif kind == "spoke":
            self.spoke_at = int(said["atSample"])
        elif kind in ("placed", "invite"):
            self.placed, self.engaged = said, True
        elif kind == "ringing":
            self.rang = True
        self.report(said)

    def _answer(self, said: dict[str, Any]) -> None:
        self.rate = int(said.get("rate", 0))
        if self.rate not in RATES:
            self.error = f"the node answered with an unknown rate {self.rate}"
            return
        self.answer_ms = said.get("answerMs")
        self.heard = Heard(self.rate)
        if self.voice is not None and self.voice.tone is not None:
            self._tone = ToneSource(self.voice.tone, self.rate).next()
        elif self.voice is not None:
            self._upload = asyncio.create_task(self._speak(self.voice))

    async def _speak(self, voice: Voice) -> None:
        try:
            if voice.microphone:
                await self._speak_live()
            self.spoken = voice.at(self.rate)
            await self._upload_samples(self.spoken)
            await self.socket.send_json({"kind": "eof"})
        except ConnectionError:
            pass  # the reader reports a lost node
        except Exception as why:  # a sound device raises classes of its own; the reader stops at `error`
            self.error = f"the caller cannot speak: {why}"

    async def _upload_samples(self, samples: Samples) -> None:
        step = int(PIECE_SECONDS * self.rate)
        for start in range(0, len(samples), step):
            while start / self.rate + self.lead - self._call_seconds() > AHEAD_SECONDS:
                self._frame_came.clear()
                await self._frame_came.wait()
            await self.socket.send_bytes(samples[start : start + step].astype("<i2").tobytes())

    def _call_seconds(self) -> float:
        return len(self.heard) / 50 if self.heard is not None else 0.0

    async def _speak_live(self) -> None:
        """Microphone up and, on the same device, what is heard down, until the leg ends."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[bytes] = asyncio.Queue()
        speaker = _Speaker(self.heard)

        def device(indata: Any, outdata: Any, frames: int, _times: Any, _flags: Any) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, bytes(indata))
            outdata[:] = speaker.next(frames)

        stream: Any = load_sounddevice()(
            samplerate=self.rate, channels=1, dtype="int16", blocksize=self.rate // 50, callback=device
        )
        with stream:
            while True:
                await self.socket.send_bytes(await pieces.get())

    async def _stop_upload(self) -> None:
        if self._upload is None:
            return
        self._upload.cancel()
        with suppress(asyncio.CancelledError):
            await self._upload


@contextmanager
def hanging_up_on_signals(session: LegSession) -> Iterator[None]:
    """While open, Ctrl-C or SIGTERM hangs up; the second one stops waiting for the node."""
    loop = asyncio.get_running_loop()
    asked: list[asyncio.Task[None]] = []

    def on_signal(*_: object) -> None:
        loop.call_soon_threadsafe(hang_up)

    def hang_up() -> None:
        if not asked:
            asked.append(asyncio.ensure_future(session.hang_up()))
        elif session.error is None:
            session.error = "interrupted before the node ended the call"

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Speaker:
    """Plays what is heard a little late, so that the device's pace and the call's never cut a frame in two."""

    def __init__(self, heard: Heard | None) -> None:
        self._heard = heard
        self._at = 0

    def next(self, frames: int) -> bytes:
        """The next `frames` samples as PCM16; silence while they have not come."""
        quiet = bytes(frames * 2)
        if self._heard is None:
            return quiet
        newest = len(self._heard) * (self._heard.rate // 50)
        if newest - self._at > self._heard.rate // 2:  # half a second behind: catch up
            self._at = newest - self._heard.rate // 10
        piece = self._heard.window(self._at, frames)
        if piece is None:
            return quiet
        self._at += frames
        return piece
