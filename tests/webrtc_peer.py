"""A browser as our side sees one: a full ICE agent that controls (aioice), a DTLS client, SRTP, and its description.

Its addresses are those of loopback only, which aioice leaves out by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from unittest import mock

import aioice
from aioice import ice as aioice_agent

from offhook.audio import rtcp, rtp
from offhook.legs.dtls import Handshake, Identity
from offhook.legs.srtp import Srtp

CODECS = {
    "opus": (111, "opus/48000/2", 960),
    "pcmu": (0, "PCMU/8000", 160),
    "pcma": (8, "PCMA/8000", 160),
    "g722": (9, "G722/8000", 160),
}
"""Payload type, rtpmap and time stamps of 20 ms."""
EVENTS = {48000: 110, 8000: 126}


class WebRtcPeer:
    """`offer`, then `connect` with the answer; then `say` and what came in `heard`, `reports` and `packets`."""

    def __init__(self, *codecs: str) -> None:
        self.codecs = codecs or ("opus", "pcmu")
        self.identity = Identity()
        self.packets: list[bytes] = []
        """RTP that came, decrypted, in order."""
        self.heard: list[rtp.Packet] = []
        self.reports: list[bytes] = []
        self.forged = 0
        self.payload = self.step = 0
        self.event = 0
        self.ssrc = secrets.randbits(31)
        self.sequence, self.timestamp = secrets.randbits(15), secrets.randbits(31)
        self.ice: aioice.Connection | None = None
        self.srtp: Srtp | None = None
        self._handshake: Handshake | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._sent: set[asyncio.Task[None]] = set()

    async def offer(self, direction: str = "sendrecv", *, more: str = "") -> str:
        """A description as browsers write it; `more` stands behind its audio."""
        with mock.patch.object(aioice_agent, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"]):
            self.ice = aioice.Connection(ice_controlling=True)
            await self.ice.gather_candidates()
        payloads = [str(CODECS[name][0]) for name in self.codecs] + [str(each) for each in EVENTS.values()]
        lines = [
            "v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0",
            f"m=audio 9 UDP/TLS/RTP/SAVPF {' '.join(payloads)}", "c=IN IP4 0.0.0.0", "a=mid:0", f"a={direction}",
            "a=rtcp-mux", "a=setup:actpass", f"a=ice-ufrag:{self.ice.local_username}",
            f"a=ice-pwd:{self.ice.local_password}", f"a=fingerprint:sha-256 {self.identity.fingerprint}",
            *(f"a=rtpmap:{CODECS[name][0]} {CODECS[name][1]}" for name in self.codecs),
            *(f"a=rtpmap:{payload} telephone-event/{clock}" for clock, payload in EVENTS.items()),
        ]  # fmt: skip
        return "\r\n".join(lines) + "\r\n" + more

    async def connect(self, answer: str, deadline: float = 10.0) -> None:
        """Checks and handshake with who has answered; returns once there are keys."""
        lines = [line.partition("=")[2] for line in answer.split("\r\n")]
        values = dict(line.partition(":")[::2] for line in lines if ":" in line)
        assert self.ice is not None
        self.ice.remote_is_lite = "ice-lite" in lines
        self.ice.remote_username, self.ice.remote_password = values["ice-ufrag"], values["ice-pwd"]
        for line in lines:
            if line.startswith("candidate:"):
                await self.ice.add_remote_candidate(aioice.Candidate.from_sdp(line.partition(":")[2]))
        await self.ice.add_remote_candidate(None)
        audio = next(line for line in answer.split("\r\n") if line.startswith("m=audio "))
        self.payload = int(audio.split()[3])
        self.step = next(step for payload, _, step in CODECS.values() if payload == self.payload)
        self.event = EVENTS[48000 if self.step == 960 else 8000]
        async with asyncio.timeout(deadline):
            await self.ice.connect()
            theirs = values["fingerprint"].split()[1]
            self._handshake = Handshake(self.identity, theirs, self.send, client=True)
            self._tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._repeat(self._handshake))]
            self._handshake.begin()
            while self._handshake.keys is None:
                assert not self._handshake.failed, self._handshake.failed
                await asyncio.sleep(0.005)

    def send(self, data: bytes) -> None:
        """One datagram on the pair that was chosen."""
        assert self.ice is not None
        task = asyncio.create_task(self._send(data))
        self._sent.add(task)
        task.add_done_callback(self._sent.discard)

    async def _send(self, data: bytes) -> None:
        assert self.ice is not None
        with contextlib.suppress(ConnectionError):
            await self.ice.send(data)

    def say(self, payload: bytes) -> None:
        """One packet of sound."""
        assert self.srtp is not None
        self.send(self.srtp.protect(rtp.build(self.payload, self.sequence, self.timestamp, self.ssrc, payload)))
        self.sequence, self.timestamp = self.sequence + 1, self.timestamp + self.step

    def press(self, key: str) -> None:
        """A key as a telephone event, with its end three times."""
        assert self.srtp is not None
        for number in range(8):
            payload = rtp.build_event(key, min(number + 1, 5) * self.step, end=number >= 5)
            data = rtp.build(self.event, self.sequence, self.timestamp, self.ssrc, payload, marker=number == 0)
            self.send(self.srtp.protect(data))
            self.sequence += 1
        self.timestamp += 8 * self.step

    def report(self, data: bytes) -> None:
        """A report of ours."""
        assert self.srtp is not None
        self.send(self.srtp.protect_control(data))

    async def close(self) -> None:
        """Be gone without a word."""
        for task in self._tasks:
            task.cancel()
        if self.ice is not None:
            await self.ice.close()

    async def _receive(self) -> None:
        assert self.ice is not None and self._handshake is not None
        with contextlib.suppress(ConnectionError):
            while True:
                data = await self.ice.recv()
                if 20 <= data[0] <= 63:
                    self._handshake.take(data)
                    if self.srtp is None and (keys := self._handshake.keys) is not None:
                        self.srtp = Srtp(keys.suite, keys.ours, keys.theirs)
                elif self.srtp is not None:
                    self._media(data)

    def _media(self, data: bytes) -> None:
        assert self.srtp is not None
        plain = self.srtp.unprotect_control(data) if rtcp.is_rtcp(data) else self.srtp.unprotect(data)
        if plain is None:
            self.forged += 1
        elif rtcp.is_rtcp(plain):
            self.reports.append(plain)
        else:
            packet = rtp.parse(plain)
            assert packet is not None
            self.packets.append(plain)
            self.heard.append(packet)

    async def _repeat(self, handshake: Handshake) -> None:
        while not handshake.over:
            await asyncio.sleep(0.2)
            handshake.look()
