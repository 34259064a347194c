"""An announcer that can be interrupted: it stops when the caller speaks, and goes on when that was only a cough.

    offhook exec -- python examples/announcer.py [one.wav two.wav ...]

Keys: 1 to 9 choose an announcement, * says the same one again, # ends the call.
"""

from __future__ import annotations

import asyncio
import sys

import numpy as np

from offhook.assets import speech_wav
from offhook.kit import Call, Interrupted, Resumed, SpeechEnded, VoiceApp

RATE = 24000
app = VoiceApp(rate=RATE)


def bells(*notes: float, apart: float = 0.3) -> bytes:
    """Bells at these frequencies (Hz), one every `apart` seconds: PCM16 at the rate of the calls."""
    ring = np.arange(int(1.2 * RATE)) / RATE
    sound = np.zeros(int((len(notes) * apart + 1.2) * RATE))
    for number, hz in enumerate(notes):
        start = int(number * apart * RATE)
        sound[start : start + len(ring)] += np.sin(2 * np.pi * hz * ring) * np.exp(-4 * ring)
    return bytes((sound * 6000).astype("<i2"))


SCALE = (523.3, 587.3, 659.3, 698.5, 784.0, 880.0, 987.8, 1046.5)
YOUR_TURN = bells(1046.5, apart=0.1)
ANNOUNCEMENTS: list[str | bytes] = [*sys.argv[1:]] or [speech_wav(), bells(*SCALE, *SCALE[::-1], *SCALE[::2])]


async def follow(call: Call) -> None:
    """Say what became of the caller's interruptions, and let them know when they have been heard out."""
    interrupted = False
    async for event in call.turns:
        match event:
            case Interrupted(heard_ms):
                interrupted = True
                print(f"{call.caller} cut in: {heard_ms / 1000:.2f} s of the announcement were heard", flush=True)
            case Resumed(heard_ms):
                print(f"{call.caller} only coughed at {heard_ms / 1000:.2f} s: the announcement goes on", flush=True)
            case SpeechEnded() if interrupted:
                interrupted = False
                call.play(YOUR_TURN, interruptible=False)


@app.on_call
async def agent(call: Call) -> None:
    """Say an announcement, and others by key, until # is pressed or the caller hangs up."""
    following = asyncio.create_task(follow(call))
    chosen = 0
    call.play(ANNOUNCEMENTS[chosen])
    async for key in call.dtmf:
        if key == "#":
            break
        if key.isdigit() and 1 <= int(key) <= len(ANNOUNCEMENTS):
            chosen = int(key) - 1
        elif key != "*":
            continue
        await call.stop()  # at once, and what was not heard yet is gone
        call.play(ANNOUNCEMENTS[chosen])
    following.cancel()


if __name__ == "__main__":
    app.run()
