"""baresip as a real phone: one process for one call, with a WAV for a microphone and a recorder for an ear."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

from tests.live import until

from offhook.audio.wav import Sound, read_wav


def module_path() -> Path:
    """Where Debian keeps baresip's modules."""
    listed = subprocess.run(["dpkg", "-L", "baresip-core"], capture_output=True, text=True, check=True).stdout
    return next(Path(line).parent for line in listed.splitlines() if line.endswith("/g711.so"))


class Baresip:
    """A running baresip; `command` is what its menu takes, by its control port."""

    def __init__(self, folder: Path, control: int) -> None:
        self.folder = folder
        self.log: list[str] = []
        self._control = control
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self.events: list[str] = []
        self.keys: list[str] = []
        """Keys that it has heard."""

    async def connect(self) -> None:
        """Reach the control port."""
        for _ in range(100):
            with contextlib.suppress(OSError):
                self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._control)
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"baresip has no control port: {self.log}")

    async def command(self, name: str, params: str = "") -> None:
        """Send one command as a netstring (the ctrl_tcp module)."""
        assert self._writer is not None
        text = json.dumps({"command": name, "params": params, "token": "t"})
        self._writer.write(f"{len(text)}:{text},".encode())
        await self._writer.drain()

    async def read(self) -> None:
        """Keep the events that it tells."""
        assert self._reader is not None
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ValueError):
            while True:
                size = int((await self._reader.readuntil(b":"))[:-1])
                told = json.loads((await self._reader.readexactly(size + 1))[:-1])
                if told.get("event"):
                    self.events.append(str(told["type"]))
                    if told["type"] == "CALL_DTMF_START":
                        self.keys.append(str(told["param"]))

    async def told(self, kind: str) -> None:
        """Wait for an event such as CALL_ESTABLISHED."""
        await until(lambda: kind in self.events, f"{kind}; so far {self.events}, {self.log[-15:]}")

    def heard(self) -> Sound:
        """What came out of its loudspeaker."""
        return read_wav(max(self.folder.glob("dump*-dec.wav")).read_bytes())

    def said(self) -> Sound:
        """What went into its microphone."""
        return read_wav(max(self.folder.glob("dump*-enc.wav")).read_bytes())


@contextlib.asynccontextmanager
async def baresip(
    folder: Path, wav: Path, ports: tuple[int, int, int], account: str, settings: str, ca: Path | None = None
) -> AsyncIterator[Baresip]:
    """Start one with an account. `ports` are those of SIP, of RTP (the first of some) and of its control."""
    folder.mkdir(parents=True, exist_ok=True)
    sip, rtp, control = ports
    lines = ["poll_method epoll", f"sip_listen 127.0.0.1:{sip}", "net_interface 127.0.0.1"]
    lines += ["audio_player aubridge,x", f"audio_source aufile,{wav}", f"rtp_ports {rtp}-{rtp + 40}"]
    lines += [f"module_path {module_path()}", f"snd_path {folder}", f"ctrl_tcp_listen 127.0.0.1:{control}"]
    if ca is not None:
        lines += [f"sip_cafile {ca}"]
    modules = ("g711", "srtp", "aufile", "aubridge", "sndfile", "account", "menu", "ctrl_tcp")
    lines += [f"module {name}.so" for name in modules]
    (folder / "config").write_text("\n".join(lines) + "\n")
    (folder / "accounts").write_text(f"<{account}>;{settings};audio_codecs=PCMU/8000/1\n")
    (folder / "contacts").write_text("")
    process = await asyncio.create_subprocess_exec(
        "baresip", "-f", str(folder), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        cwd=folder,
    )  # fmt: skip
    phone = Baresip(folder, control)

    async def keep() -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            phone.log.append(line.decode("utf-8", "replace").rstrip())

    tasks = [asyncio.create_task(keep())]
    try:
        await phone.connect()
        tasks.append(asyncio.create_task(phone.read()))
        yield phone
        await phone.command("hangup")
        await phone.command("quit")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 5)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        for task in tasks:
            task.cancel()
        if phone._writer is not None:
            phone._writer.close()
