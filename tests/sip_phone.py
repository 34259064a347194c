"""A SIP phone for tests on real sockets: our own trunk turned round. It calls, answers, registers, speaks and hears."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from tests.live import until

from offhook.audio.pcm import Frame
from offhook.audio.tones import ToneSource
from offhook.legs.leg import Answered, Ended, LegEnd, LegEvent, Refused
from offhook.legs.rtp_sockets import RtpSockets
from offhook.legs.sip import MediaRules, SipLeg
from offhook.legs.sip_trunk import SipTrunk
from offhook.sip.auth import Account, Challenger
from offhook.sip.endpoint import Settings, SipEndpoint, Verdict
from offhook.sip.events import Over
from offhook.sip.grammar import Address, Uri, parse_uri
from offhook.sip.message import Request, Response, cseq, request, response
from offhook.sip.session import Session
from offhook.sip.transaction import Peer

BYE = LegEnd(0, 0, "", "phone")


@dataclass
class Line:
    """One call of the phone: its leg, what was heard frame by frame, and what happened to it."""

    leg: SipLeg
    heard: list[Frame] = field(default_factory=list)
    events: list[LegEvent] = field(default_factory=list)
    tone: float | None = 440.0
    speech: Frame | None = None
    """What it says instead of a tone, at 8 kHz; silence after that."""

    @property
    def up(self) -> bool:
        return self.leg.session is not None and self.leg.session.state in ("up", "answered")

    @property
    def over(self) -> bool:
        return any(isinstance(event, Ended | Refused) for event in self.events)

    @property
    def samples(self) -> Frame:
        return np.concatenate(self.heard) if self.heard else np.zeros(0, np.int16)

    def peak(self) -> tuple[int, float]:
        """Frequency in Hz and amplitude of the loudest tone in the last second heard."""
        rate = self.leg.rate or 8000
        last = np.concatenate(self.heard[-50:]).astype(float)
        spectrum = np.abs(np.fft.rfft(last * np.hanning(len(last))))
        at = int(np.argmax(spectrum))
        return round(at * rate / len(last)), float(np.abs(last).max())


class TestPhone:
    """Everything runs on the test's loop; `answers` says what becomes of an incoming call."""

    __test__ = False

    def __init__(
        self, user: str = "15550100007", host: str = "127.0.0.1", account: Account | None = None, asks: str = ""
    ) -> None:
        """`account` meets the node's challenges; `asks`: the password that it wants of whoever calls it."""
        self.user, self.host, self.account = user, host, account
        self.challenger = Challenger("carrier", b"key", {"offhook": asks}) if asks else None
        self.invites: list[Request] = []
        self.lines: list[Line] = []
        self.answers: int | None = 200
        """Status of its answer to a call; None lets it ring."""
        self.registers = 403
        """Status of its answer to a registration."""
        self.contacts: list[str] = []
        """What has registered with it."""
        self.moved_to = ""
        """Where it says that it has moved to, if anywhere."""
        chance = random.Random(user)
        words = itertools.count()
        self._node = "::1" if ":" in host else "127.0.0.1"
        self._shown = f"[{self._node}]" if ":" in host else self._node
        shown = f"[{host}]" if ":" in host else host
        settings = Settings({"udp": (shown, 0), "tcp": (shown, 0)}, user=user)
        endpoint = SipEndpoint(settings, self, lambda: f"{user}{next(words)}x{chance.random()}", chance.random)
        self.trunk = SipTrunk(
            endpoint,
            RtpSockets(host),
            self,
            random_bits=chance.getrandbits,
            random_bytes=chance.randbytes,
            rules=MediaRules(("PCMU", "PCMA")),
        )
        self._made: Line | None = None

    @contextlib.asynccontextmanager
    async def running(self, tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None) -> AsyncIterator[TestPhone]:
        await self.trunk.start(self.host, 0, tls)
        media = asyncio.create_task(self._media())
        try:
            yield self
        finally:
            for line in self.lines:
                line.leg.hang_up(BYE)
            media.cancel()
            await self.trunk.close()

    async def _media(self) -> None:
        tones: dict[tuple[int, int], ToneSource] = {}
        due = time.monotonic()
        while True:
            due += 0.02
            await asyncio.sleep(max(due - time.monotonic(), 0))
            self.trunk.sockets.receive(time.monotonic())
            for line in self.lines:
                if line.up and line.leg.rate:
                    frame = line.leg.port.read()
                    assert frame is not None
                    line.heard.append(np.copy(frame))
                    mix = None
                    if line.speech is not None:
                        said, line.speech = line.speech[:160], line.speech[160:]
                        mix = np.pad(said, (0, 160 - len(said)))
                    elif line.tone is not None:
                        mix = tones.setdefault((id(line), line.leg.rate), ToneSource(line.tone, line.leg.rate)).next()
                    line.leg.port.write(mix, ())

    def call(
        self,
        node: int,
        to: str = "15550100002",
        transport: str = "udp",
        change: Callable[[bytes], bytes] = bytes,
        headers: Iterable[tuple[str, str]] = (),
        uri: str = "",
        caller: str = "",
    ) -> Line:
        """Call a user of a node by its SIP port; `change` may bend our offer, `uri` be another than To's."""
        line = self._line("call")
        leg = line.leg
        offer = change(leg.offer(encrypted=transport == "tls"))
        peer = Peer(transport, self._node, node, 0)
        source = Address(Uri("sip", caller or self.user, self._shown), "Test Phone")
        callee = parse_uri(f"sip:{to}@{self._shown}:{node}")
        leg.session = self.trunk.endpoint.invite(
            parse_uri(uri) if uri else callee,
            peer,
            source,
            offer,
            time.monotonic(),
            headers,
            Address(Uri("sip", callee.user, callee.host)),
            self.account,
        )
        self.trunk._legs[leg.session] = leg
        self.trunk.pump()
        return line

    async def answered(self, line: Line) -> None:
        await until(lambda: any(isinstance(event, Answered) for event in line.events), f"answer; {line.events}")

    async def enrol(self, node: int, transport: str = "udp", expires: int = 60) -> int:
        """Register with a node; the status of its answer."""
        peer = Peer(transport, self._node, node, 0)
        endpoint, got = self.trunk.endpoint, list[int]()
        headers = [
            ("Via", endpoint.via(peer)),
            ("Max-Forwards", "70"),
            ("From", f"<sip:{self.user}@{self._shown}>;tag=r{len(endpoint.via(peer))}"),
            ("To", f"<sip:{self.user}@{self._shown}>"),
            ("Call-ID", f"register-{self.user}"),
            ("CSeq", f"{time.monotonic_ns() // 1000 % 2**31} REGISTER"),
            ("Contact", endpoint.contact(peer)),
            ("Expires", str(expires)),
        ]
        register = request("REGISTER", parse_uri(f"sip:{self._shown}:{node}"), headers)

        def answered(answer: Response, now: float) -> None:
            if answer.status_code == 401 and "authorization" not in register.headers:
                header = endpoint.credentials(register, answer, 1, self.account)
                if header is not None:
                    register.headers.set_single(*header)
                    register.headers.set_single("Via", endpoint.via(peer))
                    register.headers.set_single("CSeq", f"{cseq(register)[0] + 1} REGISTER")
                    begin()
                    return
            got.append(answer.status_code)

        def begin() -> None:
            transaction = endpoint.begin(register, peer)
            transaction.on_response = answered
            transaction.start(time.monotonic())

        begin()
        self.trunk.pump()
        await until(lambda: got, "an answer to REGISTER")
        return got[-1]

    # Guard, TrunkOwner ------------------------------------------------------------------------------------------

    def hears(self, peer: Peer, now: float) -> bool:
        return True

    def over(self, session: Session) -> None:
        pass

    def elsewhere(self, over: Over) -> tuple[Uri, Peer] | None:
        return None

    def admit(self, request: Request, peer: Peer, now: float) -> Verdict:
        self.invites.append(request)
        if self.challenger is not None and not self.challenger.check(request, now)[0]:
            return Verdict(401, headers=tuple(self.challenger.challenge(now)))
        return Verdict()

    def register(self, request: Request, peer: Peer, now: float) -> Response:
        self.contacts = request.headers.get("contact")
        headers = [("Contact", f"{contact};expires=60") for contact in self.contacts]
        return response(request, self.registers, to_tag="r", headers=headers if self.registers == 200 else [])

    def incoming(self, trunk: SipTrunk, session: Session, make_leg: Callable[..., SipLeg]) -> int:
        if self.moved_to:
            session.refuse(302, time.monotonic(), [("Contact", f"<{self.moved_to}>")])
            return 0
        if self.answers is not None and self.answers >= 300:
            return self.answers
        line = Line(None)  # type: ignore[arg-type]
        line.leg = make_leg("incoming", lambda leg, event: line.events.append(event))
        self.lines.append(line)
        if self.answers == 200:
            line.leg.answer(8000)
        return 0

    def connection_lost(self, peer: Peer) -> None:
        pass

    def registered(self) -> Iterable[Peer]:
        return ()

    def _line(self, leg_id: str) -> Line:
        line = Line(None)  # type: ignore[arg-type]
        line.leg = self.trunk._leg(leg_id, lambda leg, event: line.events.append(event))
        self.lines.append(line)
        return line
