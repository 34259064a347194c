"""linphone as a real phone: its console program, a WAV for a microphone and a recorder for an ear."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

from tests.live import until

from offhook.audio.wav import Sound, read_wav

CONFIG = """[sip]
sip_port={sip}
sip_tcp_port={tcp}
sip_tls_port=0
use_ipv6=0
guess_hostname=0
[rtp]
audio_rtp_port={rtp}
[video]
enabled=0
"""


class Linphone:
    """A running linphonec; `say` types a line, `lines` are what it has printed."""

    def __init__(self, process: asyncio.subprocess.Process, recording: Path) -> None:
        self.lines: list[str] = []
        self._process = process
        self._recording = recording

    async def say(self, *lines: str) -> None:
        """Type lines, with the pause that it needs between them."""
        assert self._process.stdin is not None
        for line in lines:
            self._process.stdin.write(line.encode() + b"\n")
            await self._process.stdin.drain()
            await asyncio.sleep(0.1)  # it reads its console that often

    async def press(self, keys: str) -> None:
        """Press keys in a call, no faster than it sends them."""
        for key in keys:
            await self.say(key)
            await asyncio.sleep(0.7)

    async def told(self, pattern: str, count: int = 1) -> None:
        """Wait until it has printed something so often."""
        await until(lambda: len(self.found(pattern)) >= count, f"{pattern}; it said {self.lines[-15:]}", 20)

    def found(self, pattern: str) -> list[str]:
        """What a pattern's first group matched, over all that it printed."""
        return re.findall(pattern, "\n".join(self.lines))

    async def read(self) -> None:
        """Keep what it prints."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.lines.append(line.decode("utf-8", "replace").rstrip())

    def heard(self) -> Sound:
        """What came out of its loudspeaker."""
        return read_wav(self._recording.read_bytes())


@contextlib.asynccontextmanager
async def linphone(folder: Path, wav: Path, ports: tuple[int, int], *, tcp: bool = False) -> AsyncIterator[Linphone]:
    """Start one; `ports` are those of SIP and of RTP. Its home is in `folder`."""
    (folder / ".local/share/linphone").mkdir(parents=True)
    config, recording = folder / "linphonerc", folder / "heard.wav"
    sip, rtp = ports
    config.write_text(CONFIG.format(sip=0 if tcp else sip, tcp=sip if tcp else 0, rtp=rtp))
    process = await asyncio.create_subprocess_exec(
        "stdbuf", "-oL", "linphonec", "-c", str(config), cwd=folder, env=os.environ | {"HOME": str(folder)},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    phone = Linphone(process, recording)
    reading = asyncio.create_task(phone.read())
    try:
        await phone.say("soundcard use files", f"play {wav}", f"record {recording}")
        await phone.told("Using wav files")
        yield phone
        await phone.say("terminate", "quit")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 5)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        reading.cancel()
