"""MediaPath: one browser's way to us: checks, handshake, encryption, and whether it is still there.

Everything comes by the one port of `WebRtcSockets`. Datagrams of a source count only once a check of it was good.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from aioice import stun

from offhook.legs.dtls import Handshake, Identity
from offhook.legs.ice import Credentials, IceLite
from offhook.legs.latch import Address
from offhook.legs.srtp import Srtp

log = logging.getLogger("offhook.webrtc")

CONSENT_SECONDS = 30.0
"""Without a good check for so long, the other side does not want our packets any more (RFC 7675 §5.1)."""
SET_UP_SECONDS = 15.0
"""How long checks and handshake may take."""
NO_CHECK = "no connectivity check of the browser has come"
MOST_SOURCES = 8
"""Addresses of one browser that are heard: it has a few networks, and each may change."""


class Exchange(Protocol):
    """The port that paths share."""

    identity: Identity

    def name(self, ufrag: str, path: MediaPath) -> None:
        """Checks for this name are for this path."""

    def forget(self, ufrag: str) -> None:
        """They are for nobody any more."""

    def know(self, source: Address, path: MediaPath) -> None:
        """What comes from there is for this path."""

    def lose(self, source: Address, path: MediaPath) -> None:
        """It is not any more."""

    def send(self, data: bytes, to: Address) -> None:
        """Put a datagram on the wire."""


class MediaPath:
    """`ready` gets what encrypts, `packet` each datagram of media (RTP and RTCP, RFC 5761). `failed` gets the row of
    the results table and the reason: it is told once, and then the path says nothing more. `note` gets each step, with
    what is to be known of it."""

    def __init__(
        self,
        exchange: Exchange,
        clock: Callable[[], float],
        *,
        ready: Callable[[Srtp], None],
        packet: Callable[[bytes, float], None],
        failed: Callable[[str, str], None],
        note: Callable[[str, dict[str, object]], None],
    ) -> None:
        self.up = False
        self.remote: Address | None = None
        """Where media goes: the pair that was nominated last."""
        self._exchange = exchange
        self._clock = clock
        self._ready, self._packet, self._failed, self._note = ready, packet, failed, note
        self._fingerprint = ""
        self._handshake: Handshake | None = None
        self._ices: list[IceLite] = []  # the last is the newest; one before it serves until that is used
        self._sources: dict[Address, None] = {}
        self._noted: Address | None = None  # where media went when that was noted last
        self._since: float | None = None  # when media was expected first, or anew
        self._was_up = self._closed = False

    def agree(self, ufrag: str, fingerprint: str) -> Credentials:
        """What the other side has described, at first or anew (an ICE restart); what we describe."""
        ice = IceLite(Credentials.fresh(), ufrag)
        for old in self._ices[:-1]:
            self._exchange.forget(old.ours.ufrag)
        self._ices = [*self._ices[-1:], ice]
        self._exchange.name(ice.ours.ufrag, self)
        if fingerprint != self._fingerprint:  # another certificate, so another association (RFC 8842 §4)
            self._fingerprint, self.up = fingerprint, False
            if self._since is not None:
                self.expect()
            self._handshake = Handshake(self._exchange.identity, fingerprint, self._transmit)
        return ice.ours

    def expect(self) -> None:
        """The other side knows our description by now: its media is to come up within `SET_UP_SECONDS`."""
        self._since = self._clock()

    def send(self, data: bytes | memoryview, to: Address | None = None) -> None:
        """Send media to where the other side is; `to` is not looked at."""
        if self.remote is not None:
            self._exchange.send(bytes(data), self.remote)

    def close(self) -> None:
        """Hear and say nothing more."""
        self._closed = True
        for ice in self._ices:
            self._exchange.forget(ice.ours.ufrag)
        for source in self._sources:
            self._exchange.lose(source, self)
        self._sources.clear()

    # what comes -------------------------------------------------------------------------------------------------

    def check(self, ufrag: str, message: stun.Message, source: Address, now: float) -> None:
        """A check for one of our names."""
        ice = next((each for each in self._ices if each.ours.ufrag == ufrag), None)
        answer = None if ice is None else ice.answer(message, source, now)
        if ice is None or answer is None:
            return
        self._exchange.send(answer, source)
        if ice.checked_at != now:
            return  # an error was said
        self._know(source)
        newest = self._ices[-1]
        if ice is newest or newest.selected is None:
            self.remote = ice.selected
            if self._noted is None:
                self._note_remote()
        while len(self._ices) > 1 and newest.nominated:
            self._exchange.forget(self._ices.pop(0).ours.ufrag)

    def handshake(self, data: bytes) -> None:
        """A datagram of DTLS from a known source."""
        handshake = self._handshake
        if handshake is None or self._closed:
            return
        handshake.take(data)
        self._settle(handshake)

    def media(self, data: bytes, now: float) -> None:
        """A datagram of RTP or RTCP from a known source."""
        if self.up:
            self._packet(data, now)

    def look(self, now: float) -> None:
        """What is due: repeats of the handshake, and whether the other side is still there."""
        handshake = self._handshake
        if handshake is not None and not handshake.over:
            handshake.look()
            self._settle(handshake)
        if self._closed:
            return
        self._note_remote()
        if self._since is None:
            return
        checked = max((ice.checked_at or 0.0 for ice in self._ices), default=0.0)
        if not self.up and now - self._since >= SET_UP_SECONDS:
            step = "no keys were agreed on" if checked else NO_CHECK
            self._fail("set_up_timeout", f"media was not set up in {SET_UP_SECONDS:g} s: {step}")
        elif self.up and now - max(checked, self._since) >= CONSENT_SECONDS:
            self._fail("media_lost", f"no check of the browser for {CONSENT_SECONDS:g} s")

    # inside -----------------------------------------------------------------------------------------------------

    def _transmit(self, data: bytes) -> None:
        self.send(data)

    def _note_remote(self) -> None:
        """Say where media goes, if that is new. Not for each check that moves it: who moves on and on is not to fill a
        trace with that."""
        before, now = self._noted, self.remote
        if now != before and now is not None:
            self._noted = now
            more = {} if before is None else {"before": _shown(before)}
            self._note("ICE connected" if before is None else "ICE path changed", {"address": _shown(now), **more})

    def _know(self, source: Address) -> None:
        self._exchange.know(source, self)
        self._sources[source] = None
        while len(self._sources) > MOST_SOURCES:
            oldest = next(each for each in self._sources if each != self.remote)
            del self._sources[oldest]
            self._exchange.lose(oldest, self)

    def _settle(self, handshake: Handshake) -> None:
        """Take what a handshake has come to."""
        if handshake.failed:
            self._fail("leg_failed", handshake.failed)
        elif handshake.keys is not None and not self.up:
            keys = handshake.keys
            self.up = self._was_up = True
            if self._since is not None:
                self.expect()
            self._note_remote()
            self._note("DTLS connected", {"suite": keys.suite})
            self._ready(Srtp(keys.suite, keys.ours, keys.theirs))

    def _fail(self, outcome: str, reason: str) -> None:
        if not self._closed:
            self.close()
            self._failed("media_lost" if self._was_up else outcome, reason)


def _shown(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
