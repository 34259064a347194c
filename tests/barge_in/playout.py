"""A caller's ear without a node: takes what the kit sends, plays it 20 ms at a time, and lets the caller be heard."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np

from offhook.audio.pcm import Frame
from offhook.kit.barge_in import BargeIn
from offhook.kit.playback import Playback, PlayQueue
from offhook.kit.session import StreamSession
from offhook.kit.turns import TurnEvent, Turns, TurnTaking


class Ear:
    """What the service does with the messages of a session: it plays, and StopAudio drops what waits.

    What is sent is heard one frame later, and a stop lets the frame that is leaving and a ramp of 5 ms through, as
    StreamSession has it.
    """

    def __init__(self, session: StreamSession, rate: int) -> None:
        self.session = session
        self.rate = rate
        self.heard = bytearray()
        """All that the caller has heard, silence where there was nothing, without ramps."""
        self.said = bytearray()
        """The same without the silence, with ramps as they would have been."""
        self.stops = 0
        self._waiting = bytearray()
        self._arriving: list[str] = []
        self._playing = False
        session.receive(_metadata(rate))

    def send(self) -> None:
        """What the session wants sent is on its way: it arrives when the frame that is leaving has left."""
        self._arriving += self.session.drain()

    def tick(self, caller: Frame | None = None) -> bytes:
        """20 ms: they are heard, and the caller's frame is sent to the app. Gives the frame as the app has it."""
        size = self.rate // 25
        now = bytes(self._waiting[:size])
        del self._waiting[:size]
        self.heard += now + bytes(size - len(now))
        self.said += now
        self._playing = bool(now)
        for text in self._arriving:
            self._arrive(json.loads(text))
        self._arriving.clear()
        pcm = caller.tobytes() if caller is not None else bytes(size)
        self.session.receive(_audio(pcm))
        return pcm

    def _arrive(self, message: dict[str, Any]) -> None:
        if message["Kind"] == "StopAudio":
            if self._playing:
                self.said += self._waiting[: self.rate // 200 * 2]
            self._waiting.clear()
            self._playing = False
            self.stops += 1
        else:
            self._waiting += base64.b64decode(message["AudioData"]["Data"])


class Conversation:
    """A queue, turns and an ear: what a call is but for its sockets."""

    def __init__(self, settings: TurnTaking, rate: int = 16000, make: Callable[..., Turns] = Turns) -> None:
        self.session = StreamSession()
        self.ear = Ear(self.session, rate)
        self.queue = PlayQueue(self.session, rewind_ms=settings.rewind_ms)
        self.events: list[tuple[int, TurnEvent]] = []
        self.frames = 0
        self.held: list[int] = []
        self.turns = make(settings, rate)
        """Of who is heard first."""
        turns = chain([self.turns], iter(lambda: make(settings, rate), None))
        self.barge_in = BargeIn(self.queue, settings, self._tell, lambda: None, lambda got: got(next(turns)))

    def play(self, pcm: Frame, *, interruptible: bool = True) -> Playback:
        playback = Playback(interruptible=interruptible)
        self.queue.add(playback)
        self.queue.put(playback, pcm.tobytes())
        self.queue.end(playback)
        self.ear.send()
        return playback

    def hear(self, frame: Frame) -> None:
        """The next 20 ms of the caller."""
        pcm = self.ear.tick(frame)
        self.frames += 1
        before = self.queue.held
        self.barge_in.hear(pcm)
        if self.queue.held and not before:
            self.held.append(self.frames)
        self.ear.send()

    def _tell(self, event: TurnEvent) -> None:
        self.events.append((self.frames, event))


def _metadata(rate: int) -> str:
    inner = {"subscriptionId": "s", "encoding": "PCM", "sampleRate": rate, "channels": 1, "length": rate // 25}
    return json.dumps({"kind": "AudioMetadata", "audioMetadata": inner})


def _audio(pcm: bytes) -> str:
    inner = {"data": base64.b64encode(pcm).decode(), "timestamp": "2026-01-01T00:00:00Z", "silent": False}
    return json.dumps({"kind": "AudioData", "audioData": {**inner, "participantRawID": None}})


def silence(ms: int, rate: int = 16000, dbfs: float = -68.0, seed: int = 0) -> Frame:
    """A quiet line."""
    rng = np.random.default_rng(seed)
    return np.rint(rng.standard_normal(ms * rate // 1000) * 32768 * 10 ** (dbfs / 20)).astype(np.int16)
