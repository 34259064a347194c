"""An app on the kit that can be interrupted: `python -m tests.soak.barge_in_app`, run by tests/soak/barge_in.py.

It says one coded sound after another (tests/ear.py), the next when the caller has ended what interrupted the last. How
it hands them over is the fourth last digit of the caller's number. Each turn event is a JSON line.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
from tests.ear import Samples, coded

from offhook.audio.wav import write_wav
from offhook.kit import (
    Call,
    Interrupted,
    OutStreamingData,
    Playback,
    Resumed,
    SpeechEnded,
    SpeechStarted,
    StreamSession,
    VoiceApp,
)

SECONDS = 25.0
"""Length of each sound, but those of callers who get theirs RUSHED: `RUSHED_S` in `RUSH_S`."""
RUSHED_S, RUSH_S = 9.5, 0.85
STALL_S = 0.015
BURST, STREAMED, PACED, FILE, RUSHED = "0", "1", "2", "3", "4"
RATE = int(os.environ.get("BARGE_IN_RATE") or 24000)

app = VoiceApp(rate=RATE)


def sound(caller: str, turn: int, rate: int = RATE) -> Samples:
    """What is said to a caller in a turn."""
    return coded(int(caller[-2:]) * 100 + turn, rate, RUSHED_S if caller[-4] == RUSHED else SECONDS)


async def pieces(pcm: bytes, ms: int, pause: float) -> AsyncIterator[bytes]:
    """A source that makes `ms` of sound every `pause` seconds."""
    size = RATE * ms // 1000 * 2
    began = time.monotonic()
    for number, start in enumerate(range(0, len(pcm), size)):
        await asyncio.sleep(max(0.0, began + number * pause - time.monotonic()))
        yield pcm[start : start + size]


async def say(call: Call, turn: int) -> Playback:
    """The sound of a turn, handed over in the caller's way."""
    samples, way = await asyncio.to_thread(sound, call.caller, turn), call.caller[-4]
    pcm = samples.tobytes()
    if way == STREAMED:
        return call.play(pieces(pcm, 100, 0.02))
    if way == PACED:
        return call.play(pieces(pcm, 20, 0.02))
    if way == RUSHED:
        return call.play(pieces(pcm, 100, RUSH_S * 0.1 / RUSHED_S))
    if way == FILE:
        path = f"{os.environ['BARGE_IN_FOLDER']}/{call.caller[2:]}-{turn}.wav"
        await asyncio.to_thread(Path(path).write_bytes, write_wav(samples, RATE))
        return call.play(path)
    return call.play(pcm)


@app.on_call
async def agent(call: Call) -> None:
    """Speak until interrupted, hear the caller out, and speak again."""
    turns, turn, cut = call.turns, 0, False

    def tell(event: str, **more: Any) -> None:
        print(json.dumps({"event": event, "caller": call.caller, "turn": turn, "at": time.time(), **more}), flush=True)

    note_stops(call, tell)
    canary = asyncio.create_task(note_stalls(tell))
    said = await say(call, turn)
    frames = asyncio.create_task(followed(call, said)) if call.caller[-4] == RUSHED else None
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
                    await say(call, turn)
    if frames is not None:
        tell("followed", **await frames)
    canary.cancel()
    tell("over")


def note_stops(call: Call, tell: Callable[..., None]) -> None:
    """Tell of each StopAudio of a call in the moment in which it is sent."""
    tells[call.stream.session] = tell


def noted(session: StreamSession) -> str | None:
    """In the place of `next_text`."""
    text = next_text(session)
    if text == stop and session in tells:
        tells[session]("stop")
    return text


tells: dict[StreamSession, Callable[..., None]] = {}
next_text, stop = StreamSession.next_text, OutStreamingData.get_stop_audio_for_outbound()
StreamSession.next_text = noted  # type: ignore[method-assign, assignment]


async def note_stalls(tell: Callable[..., None]) -> None:
    """Tell of each time at which this process did not run when it wanted to."""
    while True:
        began = time.monotonic()
        await asyncio.sleep(0.005)
        if (late := time.monotonic() - began - 0.005) > STALL_S:
            tell("stalled", ms=late * 1000)


async def followed(call: Call, said: Playback) -> dict[str, Any]:
    """For each frame: ms of the sound that were handed over, ms that were heard, and whether the call is speaking.

    And the loudest frame, its number first, so that they can be found on the caller's axis.
    """
    frames: list[tuple[int, int, bool]] = []
    loudest = (0, 0, b"")
    async for frame in call.audio:
        loudness = int(np.abs(np.frombuffer(frame.pcm, "<i2").astype(np.int32)).sum())
        loudest = max(loudest, (loudness, len(frames), frame.pcm))
        frames.append((round(said.length_ms), round(call.heard), call.speaking))
    return {"frames": frames, "loudest": (loudest[1], loudest[2].hex())}


if __name__ == "__main__":
    app.run()
