"""StopAudio to silence at the caller's ear: from the moment the app sends it to the last frame with the app's audio.

A whole `offhook dev`, a real app socket, a caller that hears. The caller's frames come down its console socket, so the
figure holds the way of the message, at most one tick of waiting, the ramp, and the way down. The bound in the same run
is one ptime (20 ms): the message cannot act on a frame that has left.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # also when run as a script

from bench.load import Load, app

TONE = base64.b64encode(b"\x00\x20" * 16000).decode("ascii")
AUDIO = json.dumps({"Kind": "AudioData", "AudioData": {"Data": TONE}, "StopAudio": None})
STOP = json.dumps({"Kind": "StopAudio", "AudioData": None, "StopAudio": {}})


class App:
    """The app's socket of the one call."""

    def __init__(self) -> None:
        self.socket: web.WebSocketResponse | None = None
        self.opened = asyncio.Event()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        self.socket = web.WebSocketResponse()
        await self.socket.prepare(request)
        self.opened.set()
        async for _ in self.socket:
            pass
        return self.socket


async def measure(load: Load, voice: App, times: int) -> list[dict[str, float]]:
    """Say a second of tone, stop it after a while, and see when the caller hears the last of it."""
    caller = await load.call(listen=True, tone=None)
    await voice.opened.wait()
    assert voice.socket is not None
    rows = []
    for number in range(times):
        await voice.socket.send_str(AUDIO)
        await hear(caller, until_audio=True)
        await asyncio.sleep(0.2 + 0.0137 * (number % 10))  # not in step with the tick
        heard = asyncio.create_task(last_audio(caller))
        sent = time.monotonic()
        await voice.socket.send_str(STOP)
        rows.append({"ms": (await heard - sent) * 1000})
    await caller.send_json({"kind": "hangup"})
    return rows


async def hear(caller: Any, *, until_audio: bool) -> None:
    """Take frames until one has the app's audio."""
    while True:
        message = await caller.receive(timeout=10)
        if message.type == WSMsgType.BINARY and bool(message.data[4] & 1) is until_audio:
            return


async def last_audio(caller: Any) -> float:
    """When the last frame with the app's audio came, known once five came without."""
    last, without = time.monotonic(), 0
    while without < 5:
        message = await caller.receive(timeout=10)
        if message.type != WSMsgType.BINARY:
            continue
        if message.data[4] & 1:
            last, without = time.monotonic(), 0
        else:
            without += 1
    return last


def start(command: list[str]) -> subprocess.Popen[bytes]:
    """A node as a process of its own."""
    words = [sys.executable, "-m", "offhook.cli", *command]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


async def run(times: int) -> dict[str, Any]:
    voice = App()
    with tempfile.TemporaryDirectory() as state:
        site = web.Application()
        site.add_routes([web.get("/", voice.serve)])
        runner = web.AppRunner(site, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        events = web.AppRunner(web.Application())
        process: subprocess.Popen[bytes] | None = None
        try:
            load = Load("", b"", 0, f"ws://127.0.0.1:{port}/")
            events = web.AppRunner(app(load), access_log=None)
            await events.setup()
            await web.TCPSite(events, "127.0.0.1", 0).start()
            hook = f"http://127.0.0.1:{events.addresses[0][1]}/events"
            command = ["dev", "--port", "0", "--json", "--state", state, "--incoming", hook]
            process = await asyncio.to_thread(start, command)
            assert process.stdout is not None
            info = json.loads(await asyncio.to_thread(process.stdout.readline))
            load.point(info["httpEndpoint"], base64.b64decode(info["accessKey"]), process.pid)
            async with load:
                values = sorted(row["ms"] for row in await measure(load, voice, times))
        finally:
            if process is not None:
                process.terminate()
                await asyncio.to_thread(process.wait, 12)
            await events.cleanup()
            await runner.cleanup()
    return {
        "times": times,
        "p50Ms": round(statistics.median(values), 1),
        "p95Ms": round(values[int(0.95 * (len(values) - 1))], 1),
        "maxMs": round(values[-1], 1),
        "ptimeMs": 20,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result = asyncio.run(run(options.times))
    print(json.dumps(result) if options.json else f"StopAudio to the last audible frame, ms: {result}")
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
