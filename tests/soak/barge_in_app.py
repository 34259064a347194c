"""An app on the kit that can be interrupted: `python -m tests.soak.barge_in_app`, run by tests/soak/barge_in.py.

It says one coded sound after another (tests/ear.py), the next when the caller has ended what interrupted the last. How
it hands them over is the fourth last digit of the caller's number. Each turn event is a JSON line.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from tests.ear import Samples, coded

from offhook.audio.wav import write_wav
from offhook.kit import Call, Interrupted, Playback, Resumed, SpeechEnded, SpeechStarted, VoiceApp

SECONDS = 12.0
"""Length of each sound."""
BURST, STREAMED, PACED, FILE = "0", "1", "2", "3"
RATE = int(os.environ.get("BARGE_IN_RATE") or 24000)

app = VoiceApp(rate=RATE)


def sound(caller: str, turn: int, rate: int = RATE) -> Samples:
    """What is said to a caller in a turn."""
    return coded(int(caller[-2:]) * 100 + turn, rate, SECONDS)


async def pieces(pcm: bytes, ms: int, pause: float) -> AsyncIterator[bytes]:
    """A source that makes `ms` of sound every `pause` seconds."""
    size = RATE * ms // 1000 * 2
    began = time.monotonic()
    for number, start in enumerate(range(0, len(pcm), size)):
        await asyncio.sleep(max(0.0, began + number * pause - time.monotonic()))
        yield pcm[start : start + size]


def say(call: Call, turn: int) -> Playback:
    """The sound of a turn, handed over in the caller's way."""
    samples, way = sound(call.caller, turn), call.caller[-4]
    pcm = samples.tobytes()
    if way == STREAMED:
        return call.play(pieces(pcm, 100, 0.02))
    if way == PACED:
        return call.play(pieces(pcm, 20, 0.02))
    if way == FILE:
        path = f"{os.environ['BARGE_IN_FOLDER']}/{call.caller[2:]}-{turn}.wav"
        with open(path, "wb") as file:
            file.write(write_wav(np.asarray(samples), RATE))
        return call.play(path)
    return call.play(pcm)


@app.on_call
async def agent(call: Call) -> None:
    """Speak until interrupted, hear the caller out, and speak again."""
    turns, turn, cut = call.turns, 0, False

    def tell(event: str, **more: Any) -> None:
        print(json.dumps({"event": event, "caller": call.caller, "turn": turn, "at": time.time(), **more}), flush=True)

    say(call, turn)
    async for event in turns:
        match event:
            case SpeechStarted(at_ms):
                tell("started", atMs=at_ms)
            case Interrupted(heard_ms):
                cut = True
                tell("interrupted", heardMs=heard_ms, speaking=call.speaking)
            case Resumed(heard_ms):
                tell("resumed", heardMs=heard_ms)
            case SpeechEnded():
                tell("ended")
                if cut:
                    turn, cut = turn + 1, False
                    say(call, turn)


if __name__ == "__main__":
    app.run()
