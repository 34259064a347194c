"""BrowserLeg: a browser's audio over WebRTC as a leg of a call; what is agreed on comes from its signalling."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from offhook.audio.codecs import codec
from offhook.legs import webrtc_sdp
from offhook.legs.latch import Address
from offhook.legs.leg import Answered, Dtmf, Ended, KeySent, LegEnd, LegEvent, RateChanged, Refused
from offhook.legs.rtp import RtpFormat, RtpPort
from offhook.legs.srtp import Srtp
from offhook.legs.webrtc_path import NO_CHECK, MediaPath
from offhook.legs.webrtc_sockets import WebRtcSockets

log = logging.getLogger("offhook.webrtc")

PEER: Final[Address] = ("browser", 0)
"""The other end of every stream: where that is, its path knows, and follows."""

ELSEWHERE: Final = (
    "Firefox sends none to 127.0.0.1, and a browser on another machine cannot: run the node with "
    "--webrtc-host 0.0.0.0 (offhook dev), or with another host in [webrtc]"
)


@dataclass(frozen=True, slots=True)
class Told:
    """What a leg tells the signalling of its browser: that its call was taken, with our description; a key that the app
    has sent; what is wrong with its media; the end. `note`: a step of its media, for the trace of its call."""

    taken: Callable[[str], None]
    key: Callable[[str], None]
    problem: Callable[[str], None]
    ended: Callable[[LegEnd], None]
    note: Callable[[str, dict[str, object]], None]


class BrowserLeg:
    """One call of a browser. `inbound`: the browser calls; else it is rung, and is up once its media is."""

    def __init__(
        self,
        leg_id: str,
        event: Callable[[str, LegEvent], None],
        sockets: WebRtcSockets,
        clock: Callable[[], float],
        random_bits: Callable[[int], int],
        told: Told,
        *,
        inbound: bool,
    ) -> None:
        self.leg_id = leg_id
        self.rate: int | None = None
        self.held = False
        self.inbound = inbound
        self.up = False
        """Whether the call is: both sides took it."""
        self.description = ""
        """Our answer to what the browser described last."""
        self.path = MediaPath(
            sockets, clock, ready=self._ready, packet=self._packet, failed=self._failed, note=told.note
        )
        self._event = event
        self._sockets = sockets
        self._told = told
        self._format: RtpFormat | None = None
        self._session, self._version = random_bits(62), 0
        self._over = False
        self._ssrc = random_bits(32)
        self._port = RtpPort(
            self.path.send,
            clock,
            ssrc=self._ssrc,
            sequence=random_bits(15),
            timestamp=random_bits(31),
            on_key=self.press,
            on_key_sent=self._key_sent,
            transmit_control=self.path.send,
        )

    @property
    def port(self) -> RtpPort:
        """The leg's place on a bridge."""
        return self._port

    # signalling -------------------------------------------------------------------------------------------------

    def agree(self, offer: webrtc_sdp.Offer) -> None:
        """Answer a description, the first or a later one (an ICE restart, or a page that was loaded anew)."""
        chosen = codec(offer.format.name, offer.format.clock)
        credentials = self.path.agree(offer.ufrag, offer.fingerprint)
        self._version += 1
        sockets = self._sockets
        side = webrtc_sdp.Side(
            sockets.candidates, credentials, sockets.identity.fingerprint, self._ssrc, self._session, self._version
        )
        if not self.inbound and not self.description:
            self.path.expect()
        changed = self.rate not in (None, chosen.rate)
        self.rate = chosen.rate
        self._format = RtpFormat(
            chosen,
            offer.format.payload,
            offer.format.payload,
            offer.events.get(chosen.clock),
            frozenset(offer.events.values()),
            offer.we_send,
            offer.we_hear,
        )
        self._use()
        self.description = webrtc_sdp.answer(offer, side)
        if changed and self.up:
            self._event(self.leg_id, RateChanged())

    def hold(self, held: bool) -> None:
        """The browser's user holds the call: nothing is sent there, and nothing is heard of it but its keys."""
        if held != self.held:
            self.held = held
            self._told.note("hold" if held else "unhold", {})
        self._use()

    def press(self, key: str) -> None:
        """A key of the browser's user, by its media or by its signalling."""
        if self.up and not self._over:
            self._event(self.leg_id, Dtmf(key))

    def refuse(self, outcome: str) -> None:
        """The browser does not take the call that it is rung for."""
        if not self._over:
            self._event(self.leg_id, Refused(outcome))

    def leave(self, outcome: str = "") -> None:
        """The browser hangs up, or is gone: then `outcome` names a row of the results table."""
        if self._over:
            return
        if self.up or self.inbound:
            self._event(self.leg_id, Ended(outcome if self.up else ""))
        else:
            self._event(self.leg_id, Refused("unreachable" if outcome else "declined"))

    # Leg --------------------------------------------------------------------------------------------------------

    def answer(self, rate: int) -> None:
        """See `Leg`."""
        if not self.up and not self._over:
            self.up = True
            self.path.expect()
            if self.inbound:  # else it has our description since it accepted
                self._told.taken(self.description)

    def send_key(self, key: str) -> None:
        """See `Leg`: as a telephone event, and the page is told, for browsers show nobody what comes so."""
        self._port.press(key)

    def drop_keys(self) -> None:
        """See `Leg`."""
        self._port.drop_keys()

    def hang_up(self, end: LegEnd) -> None:
        """See `Leg`."""
        if not self._over:
            self._over = True
            self._port.farewell()
            self.path.close()
            self._told.ended(end)

    # media ------------------------------------------------------------------------------------------------------

    def _use(self) -> None:
        """Speak and hear as agreed, as far as there are keys and nobody holds."""
        fmt = self._format
        if fmt is not None:
            flows = self.path.up and not self.held
            self._port.use(replace(fmt, speaks=fmt.speaks and flows, hears=fmt.hears and not self.held), PEER, PEER)

    def _ready(self, srtp: Srtp) -> None:
        self._port.secure(srtp)
        self._use()
        if not self.inbound and not self.up and not self._over:
            self._event(self.leg_id, Answered())

    def _packet(self, data: bytes, now: float) -> None:
        if self.up:  # what is said while it rings nobody hears
            self._port.datagram(data, PEER, now)

    def _failed(self, outcome: str, reason: str) -> None:
        if self._over:
            return
        if NO_CHECK in reason and all(ipaddress.ip_address(host).is_loopback for host, _ in self._sockets.candidates):
            reason += f". {ELSEWHERE}"
        log.info("media of leg %s: %s", self.leg_id, reason)
        self._told.note("media failed", {"reason": reason})
        self._told.problem(reason)
        self._event(self.leg_id, Ended(outcome) if self.up or self.inbound else Refused(outcome, reason))

    def _key_sent(self, key: str) -> None:
        if not self._over:
            self._told.key(key)
            self._event(self.leg_id, KeySent(key))
